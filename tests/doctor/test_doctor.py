"""`lewm doctor` names what is there, survives whatever is broken, and says what to type."""

import errno
import fcntl
import os
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from commands import PATIENCE, Done, alive, descendants, ended, flat, lewm, lewm_here, running, wait_until
from lewm_cli.child import attempt
from lewm_cli.doctor import State, disk
from lewm_cli.doctor.checkup import Checkup
from lewm_cli.doctor.devices import devices
from lewm_cli.doctor.drawing import backend, backends
from lewm_cli.doctor.finding import Finding, guarded
from lewm_cli.doctor.packages import declared, install
from lewm_cli.errors import StoppedError
from synthetic import write_recording

SECTIONS = ("versions", "devices", "rendering", "storage", "extras")
ABORT = "import os; os.abort()"


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put a package of this name and source before the installed one, for processes started from here on."""

    def plant(package: str, source: str) -> None:
        folder = tmp_path / "planted" / package
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text(source, encoding="utf-8")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "planted"))

    return plant


@pytest.fixture
def no_simulator(plant: Callable[[str, str], None]) -> None:
    """A stable_worldmodel that cannot be imported, and says so at once."""
    plant("stable_worldmodel", "raise ImportError('torn to\\n pieces')")


def found(done: Done) -> dict[str, dict[str, Any]]:
    """The findings of a JSON checkup by their names."""
    return {finding["name"]: finding for section in SECTIONS for finding in done.json()[section]}


# The command


@pytest.mark.slow
def test_json_names_what_is_there(tmp_path: Path):
    write_recording(tmp_path / "robot" / "pick.h5")
    done = lewm(tmp_path, "doctor", "--json")
    assert done.code == 0, done.err
    assert done.json()["healthy"] is True
    there = found(done)
    assert there["torch"]["version"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert there["stable-worldmodel"]["needs"] == "==0.1.1"
    assert there["python"]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert there["cpu"]["threads"] == 1  # OMP_NUM_THREADS
    assert there["cpu"]["cores"] >= 1
    assert there["mps"]["float64"] is False
    taken = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert there["--device auto"]["device"] == taken
    for name in ("TwoRoom simulator", "video (ffmpeg)", "HDF5 Blosc filter"):
        assert (there[name]["state"], there[name]["says"]) == ("ok", "works")
    home = there["home"]
    assert (home["path"], home["layout"], home["datasets"], home["runs"]) == (str(tmp_path), "flat", 1, 0)
    assert home["exists"]
    assert home["writable"]
    assert home["free_bytes"] > 0
    assert "trying the TwoRoom simulator" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["robot"]  # nothing is left of the writing


@pytest.mark.slow
def test_simulator_that_cannot_be_built_is_the_failure(tmp_path: Path, no_simulator: None):
    done = lewm(tmp_path, "doctor")
    assert done.code == 1
    assert "TwoRoom simulator broken fails: ImportError: torn to pieces" in flat(done.out)
    assert 'pip install --force-reinstall --no-deps "stable-worldmodel==0.1.1"' in done.out
    assert done.err.splitlines()[-1] == "lewm: broken here: TwoRoom simulator; what to type is said with the result"
    assert all(len(line) <= 80 for line in done.out.partition("What to type")[0].splitlines())


@pytest.mark.slow
def test_missing_package_is_named(tmp_path: Path, plant: Callable[[str, str], None]):
    plant("stable_worldmodel", "import pymunk")
    plant("pymunk", "raise ModuleNotFoundError(\"No module named 'pymunk'\")")
    done = lewm_here(tmp_path, "doctor", "--json", "-q")
    assert done.code == 1
    assert found(done)["TwoRoom simulator"]["advice"] == 'pip install "pymunk>=7"'
    assert done.err == "lewm: broken here: TwoRoom simulator; what to type is said with the result\n"


@pytest.mark.slow
@pytest.mark.usefixtures("no_simulator")
@pytest.mark.parametrize("inside", ["", "below/it"])
def test_home_that_is_a_file(tmp_path: Path, inside: str):
    file = tmp_path / "file"
    file.write_text("no folder", encoding="utf-8")
    done = lewm_here(file / inside, "doctor", "--json")
    assert done.code == 1
    home = found(done)["home"]
    assert (home["state"], home["writable"]) == ("broken", False)
    assert f"{file}" in home["says"]
    assert "is a file" in home["says"]
    assert home["advice"] == "export STABLEWM_HOME=FOLDER"
    assert {"names": ["home"], "command": "export STABLEWM_HOME=FOLDER"} in done.json()["advice"]


@pytest.mark.slow
@pytest.mark.usefixtures("no_simulator")
def test_home_that_cannot_be_written(tmp_path: Path):
    done = lewm_here(tmp_path, "doctor", "--json", "--home", "/proc/self/nothing")
    assert done.code == 1
    there = found(done)
    assert "cannot be made: /proc/self cannot be written" in there["home"]["says"]
    assert there["home"]["advice"] == "lewm doctor --home FOLDER"
    assert there["home, only read"]["path"] == str(tmp_path)
    assert there["home, only read"]["state"] == "ok"


@pytest.mark.slow
def test_torch_that_cannot_be_imported_is_one_sentence(tmp_path: Path, plant: Callable[[str, str], None]):
    plant("torch", "raise OSError('libcudart.so.12: cannot open shared object file')")
    sentence = lewm(tmp_path, "doctor").sentence()
    assert "torch cannot be imported (OSError: libcudart.so.12" in sentence
    assert sentence.endswith("pip install --force-reinstall torch")


@pytest.mark.slow
def test_ctrl_c_leaves_no_child(tmp_path: Path, plant: Callable[[str, str], None]):
    plant("stable_worldmodel", "import time; time.sleep(600)")
    with running(tmp_path, "doctor") as process:
        assert "trying the TwoRoom simulator" in process.stderr.readline()
        wait_until(lambda: descendants(process.pid), process)
        children = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        assert ended(process).code == 130
    wait_until(lambda: not any(alive(child) for child in children))


def test_help_has_examples(tmp_path: Path):
    done = lewm_here(tmp_path, "doctor", "--help")
    assert (done.code, done.out.partition("Examples")[2].count("lewm doctor")) == (0, 3)


# Children


def test_child_that_works():
    assert attempt("print('hello')", seconds=PATIENCE).says == "works"


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (ABORT, "aborts (SIGABRT)"),
        ("raise ValueError('one\\n two')", "fails: ValueError: one two"),
        ("import sys; print('gone', file=sys.stderr); sys.exit(3)", "fails: SystemExit: 3"),
        ("import os; os._exit(3)", "fails: exit code 3"),
        ("import os; print('last words', flush=True); os._exit(3)", "fails: last words"),
        ("never closed (", "fails: SyntaxError: '(' was never closed (<string>, line 1)"),
    ],
)
def test_child_that_fails_says_how(program: str, says: str):
    assert attempt(program, seconds=PATIENCE).says == says


@pytest.mark.slow
def test_child_that_hangs_is_ended_with_its_children(tmp_path: Path):
    number = tmp_path / "number"
    program = (
        "import subprocess, time\n"
        f"open({str(number)!r}, 'w').write(str(subprocess.Popen(['sleep', 'infinity']).pid))\n"
        "time.sleep(600)"
    )
    seconds = 0.5
    while not number.exists():  # a busy machine needs longer to get this far
        seconds *= 2
        assert attempt(program, seconds=seconds).says == f"hangs: no end after {seconds:g} s"
    wait_until(lambda: not alive(int(number.read_text())))


# Back-ends


@pytest.mark.slow
def test_back_end_that_aborts_is_a_finding():
    finding = backend("egl", program=ABORT)
    assert (finding.name, finding.state, finding.says) == ("MUJOCO_GL=egl", State.OPTIONAL, "aborts (SIGABRT)")
    assert finding.advice == "apt-get install libegl1 libgl1-mesa-dri"


def test_back_end_that_hangs_is_a_finding():
    assert backend("osmesa", program="import time; time.sleep(600)", seconds=0.5).says == "hangs: no end after 0.5 s"


def test_back_end_is_told_which_one_it_is():
    program = "import os; assert os.environ['MUJOCO_GL'] == 'glfw'"
    assert backend("glfw", program=program).state is State.OK


def test_without_mujoco_nothing_is_tried(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = []
    findings = list(backends(said.append))
    assert [finding.name for finding in findings] == ["MUJOCO_GL=egl", "MUJOCO_GL=osmesa", "MUJOCO_GL=glfw"]
    assert {(finding.state, finding.says) for finding in findings} == {(State.OPTIONAL, "mujoco is not installed")}
    assert {finding.advice for finding in findings} == {'pip install "mujoco<4"'}
    assert said == []


def test_failing_back_end_gives_way_to_one_that_works(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    programs = {"egl": ABORT, "osmesa": "pass", "glfw": "raise OSError('no display')"}
    monkeypatch.setattr("lewm_cli.doctor.drawing.backend", lambda name: backend(name, program=programs[name]))
    egl, osmesa, glfw = backends(lambda message: None)
    assert (osmesa.state, osmesa.advice) == (State.OK, None)
    assert egl.advice == glfw.advice == "export MUJOCO_GL=osmesa"


# Everything else


def test_own_failure_of_a_look_is_a_finding():
    def look():
        yield Finding(name="first", state=State.OK, says="")
        raise ZeroDivisionError("of nothing")

    first, failure = guarded("numbers", look)
    assert first.name == "first"
    assert (failure.name, failure.state) == ("numbers", State.BROKEN)
    assert failure.says == "cannot be looked at: ZeroDivisionError: of nothing"


def test_request_to_stop_is_no_finding():
    def look():
        raise StoppedError("terminated", signal.SIGTERM)

    with pytest.raises(StoppedError):
        guarded("numbers", look)


def test_cpu_quota_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lewm_cli.doctor.devices.cpu_quota", lambda: 0.5)
    monkeypatch.setattr("lewm_cli.workers.cpu_quota", lambda: 0.5)
    cpu = next(iter(devices()))
    assert cpu.says.startswith(f"1 core (the container's CPU quota is 0.5 of {os.cpu_count()}), ")


def test_more_threads_than_cores_is_warned_about(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lewm_cli.doctor.devices.available_cores", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    cpu = next(iter(devices()))
    assert (cpu.state, cpu.advice) == (State.WARNING, "export OMP_NUM_THREADS=2")


class OnePretendedGpu:
    """Stands in for torch.cuda on machines without a GPU; what it says of itself is all that is asked."""

    name = "Pretended GPU"

    def __init__(self, patch: pytest.MonkeyPatch, capability: tuple[int, int], failure: str = "") -> None:
        self.major, self.minor = capability
        self.failure = failure
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: 1)
        patch.setattr(torch.cuda, "device", nullcontext)
        patch.setattr(torch.cuda, "current_device", lambda: 0)
        patch.setattr(torch.cuda, "get_device_properties", lambda number: self)
        patch.setattr(torch.cuda, "mem_get_info", lambda number: (70 * 10**9, 80 * 10**9))
        ones = torch.ones
        patch.setattr(torch, "ones", lambda *shape, device: self._checked(ones(*shape)))

    def _checked(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.failure:
            raise RuntimeError(self.failure)
        return tensor


@pytest.mark.parametrize(
    ("capability", "failure", "state", "says"),
    [
        ((9, 0), "", State.OK, "Pretended GPU, 80 GB (70 free), compute capability 9.0"),
        (
            *((7, 5), "", State.OK),
            "Pretended GPU, 80 GB (70 free), compute capability 7.5; no bf16, so training computes in float32",
        ),
        ((9, 0), "CUDA error: no kernel image\nis there", State.BROKEN, "fails: CUDA error: no kernel image"),
    ],
)
def test_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], failure: str, state: State, says: str):
    OnePretendedGpu(monkeypatch, capability, failure)
    cpu, gpu, *_ = devices()
    assert cpu.name == "cpu"
    assert (gpu.name, gpu.state, gpu.says) == ("cuda:0", state, says)
    assert (gpu.advice is None) == (state is State.OK)


@pytest.mark.parametrize(
    ("variable", "built_for", "says", "advice"),
    [
        ("-1", "12.8", "hidden by CUDA_VISIBLE_DEVICES='-1'", "unset CUDA_VISIBLE_DEVICES"),
        (None, None, "is built without CUDA", "pip install --force-reinstall torch torchvision"),
        (None, "12.8", "built for CUDA 12.8, sees no GPU", "nvidia-smi"),
    ],
)
def test_gpu_that_torch_does_not_see(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, built_for: str | None, says: str, advice: str
):
    monkeypatch.setattr("shutil.which", lambda program: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    gpu = list(devices())[1]
    assert (gpu.name, gpu.state, gpu.advice) == ("cuda", State.WARNING, advice)
    assert says in gpu.says


def test_little_space_is_warned_about(home: Any, monkeypatch: pytest.MonkeyPatch):
    usage = disk.shutil.disk_usage("/")
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: usage._replace(free=10**9))
    (own,) = disk.homes(None)
    assert own.state is State.WARNING
    assert "1.0 GB free, too little" in own.says
    assert "will be made" in own.says
    assert not home.write.exists()


def test_disk_that_takes_nothing_is_found(home: Any):
    home.write.mkdir()
    # As root no permission binds; /dev/full and read-only mounts are not to be had everywhere.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk.os, "fsync", _full)
        (own,) = disk.homes(None)
    assert own.state is State.BROKEN
    assert "cannot be written (No space left on device)" in own.says
    assert own.advice == "export LEWM_WRITE_HOME=FOLDER"
    assert list(home.write.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "call", "names", "state"),
    [
        (fcntl, "flock", {"locks"}, State.WARNING),
        (os, "fsync", {"fsync", "fsync of folders"}, State.WARNING),
        (os, "replace", {"rename over a file"}, State.BROKEN),
        (os, "chmod", {"permissions"}, State.NONE),
    ],
)
def test_what_a_file_system_lacks_is_said_with_what_follows(
    home: Any, monkeypatch: pytest.MonkeyPatch, module: Any, call: str, names: set[str], state: State
):
    [all_of_it] = disk.file_system(None)
    assert all_of_it.state is State.OK
    assert "locks, fsync, fsync of folders, rename over a file" in all_of_it.says

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    with monkeypatch.context() as patch:
        patch.setattr(module, call, refuse)
        found = list(disk.file_system(None))
    assert {finding.name for finding in found} == names
    assert found[0].state is state
    assert f"not under {home.write.parent} (Operation not supported): " in found[0].says
    assert not list(home.write.parent.glob(".lewm-doctor*"))


def test_layout_is_the_one_that_is_written(home: Any):
    (home.write / "datasets").mkdir(parents=True)
    (own,) = disk.homes(None)
    assert own.layout == "nested"


def test_commands_that_install_ask_for_the_right_version():
    assert install("stable-worldmodel") == 'pip install "stable-worldmodel==0.1.1"'
    assert install("unheard-of") == "pip install unheard-of"
    assert not {"pytest", "ruff"} & {requirement.name for requirement in declared()}


def test_advice_is_given_once_and_the_worst_first():
    ok = Finding(name="ok", state=State.OK, says="", advice=None)
    optional = replace(ok, name="a", state=State.OPTIONAL, advice="pip install x")
    broken = replace(ok, name="c", state=State.BROKEN, advice="pip install y")
    checkup = Checkup((ok,), (optional,), (replace(optional, name="b"), broken), (), ())
    assert [(advice.names, advice.command) for advice in checkup.advice] == [
        (("c",), "pip install y"),
        (("a", "b"), "pip install x"),
    ]
    assert checkup.broken == ("c",)


def _full(handle: int) -> None:
    raise OSError(28, os.strerror(28))
