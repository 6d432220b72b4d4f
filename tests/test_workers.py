"""Worker processes hand arrays over without /dev/shm, are missed when they die, and follow the quota of a container."""

import faulthandler
import os
import resource
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from commands import PATIENCE, descendants, ended, environment, lewm_here, running, wait_until
from lewm_cli import cgroup, messages, workers
from lewm_cli.errors import LewmError, StoppedError
from lewm_cli.workers import (
    CORES_GRANTED,
    Worker,
    WorkerDiedError,
    answers,
    available_cores,
    available_memory,
    spread,
)

pytest_plugins = ("recordings",)

HOW = ("fork", "spawn")


# What a worker process runs


def die(request: object) -> object:
    faulthandler.disable()  # pytest has it print where it was
    if isinstance(request, signal.Signals):
        os.kill(os.getpid(), request)
    if request == "exit":
        os._exit(3)
    if request == "odd":
        raise TwofoldError("one", "two")
    return request


class TwofoldError(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


def deadly() -> Callable[[object], object]:
    return die


def not_there() -> Callable[[object], object]:
    raise ImportError("no module named physics")


# Messages


@pytest.mark.parametrize("memory", ["its own", "none", "refused"])
def test_arrays_of_every_size_arrive(monkeypatch: pytest.MonkeyPatch, memory: str):
    if memory == "none":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    if memory == "refused":
        monkeypatch.setattr(messages.socket, "send_fds", lambda *_: (_ for _ in ()).throw(OSError("too many")))
    sent = [np.arange(200_001, dtype=np.uint8), np.arange(100_000.0), np.ones((2, 3)), "words", np.empty((0, 8))]
    ours, theirs = workers.multiprocessing.Pipe()
    writer = threading.Thread(target=messages.send, args=(theirs, sent))
    writer.start()
    found = messages.receive(ours)
    writer.join()
    for one, other in zip(sent, found, strict=True):
        assert np.array_equal(one, other)
    found[0][:] = 0  # torch wants arrays that can be written to


def test_no_room_for_an_array_is_no_death():
    """A process that may open no more files is told so; the system drops the memory that it is sent."""
    ours, theirs = workers.multiprocessing.Pipe()
    messages.send(theirs, np.ones(messages.LARGE))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (ours.fileno() + 1, before[1]))
    try:
        with pytest.raises(LewmError, match="too many files are open"):
            messages.receive(ours)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# Deaths


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (signal.SIGKILL, "was killed (SIGKILL), as happens when memory runs out"),
        (signal.SIGBUS, "crashed (SIGBUS), as happens when a file that is in use is cut short, or /dev/shm is full"),
        (signal.SIGSEGV, "crashed (SIGSEGV), most likely in a library"),
        ("exit", "ended by itself with exit code 3"),
    ],
)
def test_death_says_how_and_why(request_: object, said: str):
    worker = Worker(deadly, "fork")
    worker.ask(request_)
    with pytest.raises(WorkerDiedError) as death:
        worker.answer()
    assert str(death.value) == said
    worker.close()


@pytest.mark.parametrize("how", HOW)
def test_failures_are_passed_on(how: str):
    worker = Worker(deadly, how)
    for request in ("one", "odd", "two"):
        worker.ask(request)
    assert worker.answer() == "one"
    with pytest.raises(RuntimeError, match="TwofoldError: one and two"):  # it could not be rebuilt here
        worker.answer()
    assert worker.answer() == "two"
    worker.close()
    worker = Worker(not_there, how)
    for _ in range(2):
        worker.ask("one")
        with pytest.raises(ImportError, match="no module named physics"):
            worker.answer()
    worker.close()


def test_worker_whose_turn_has_not_come_is_missed():
    def slow() -> Callable[[object], object]:
        return lambda request: threading.Event().wait() if request == 0 else die(signal.SIGKILL)

    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        list(answers(slow, range(9), 2, how="fork"))
    assert workers.multiprocessing.active_children() == []


def test_wait_can_be_ended():
    def stop() -> None:
        raise StoppedError("stopped", signal.SIGINT)

    with pytest.raises(StoppedError):
        next(answers(lambda: lambda request: threading.Event().wait(), [0], 1, stop, how="fork"))
    assert workers.multiprocessing.active_children() == []


@pytest.mark.parametrize("count", [1, 2])
def test_spread_work_comes_back_in_order(count: int):
    asked: list[int] = []
    found = spread(deadly, range(5), count, lambda: asked.append(1), "counts")
    assert list(found) == list(range(5))
    assert count > 1 or len(asked) == 5


def test_death_over_spread_work_says_what_was_done_and_what_to_do_instead():
    with pytest.raises(LewmError, match=r"^a process that packs was killed \(SIGKILL\).*; try another disk$"):
        list(spread(deadly, [signal.SIGKILL] * 2, 2, lambda: None, "packs", "try another disk"))


def test_memory_of_the_container_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "memory_limit", lambda: 2 * 10**9)
    assert workers.ending(-signal.SIGKILL).endswith("(this container has 2.0 GB)")


# Cores


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets a machine of 64 cores up, whose control groups are these files."""
    for name in CORES_GRANTED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    monkeypatch.setattr(os, "process_cpu_count", lambda: 64, raising=False)
    monkeypatch.setattr(cgroup, "PROC", tmp_path)

    def set_up(group: str, mounts: str, **files: str) -> None:
        (tmp_path / "cgroup").write_text(group)
        (tmp_path / "mountinfo").write_text(
            "22 1 0:5 / /proc rw - proc proc rw\n23 1 0:6 / /caf\udce9 rw - ext4  rw\n".encode(
                errors="surrogateescape"
            ).decode(errors="replace")
            + mounts.format(tmp_path)
        )
        for name, text in files.items():
            path = tmp_path.joinpath(*name.split("__"))
            path = path.with_name(path.name.replace("DOT", "."))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return set_up


V2 = "30 22 0:26 / {0}/all rw - cgroup2 cgroup2 rw\n"
V2_OWN = "30 22 0:26 /docker/abc {0}/all rw - cgroup2 cgroup2 rw\n"
V1 = "31 22 0:29 / {0}/cpu rw - cgroup cgroup rw,cpu,cpuacct\n32 22 0:30 / {0}/memory rw - cgroup cgroup rw,memory\n"
V1_GROUP = "3:cpuset:/\n4:cpu,cpuacct:/job\n5:memory:/job\n1:name=systemd:/job\n0::/\n"


@pytest.mark.parametrize(
    ("group", "mounts", "files", "cores"),
    [
        ("0::/\n", V2, {"all__cpuDOTmax": "max 100000"}, 64),
        ("0::/a/b\n", V2, {"all__a__b__cpuDOTmax": "400000 100000"}, 4),
        ("0::/a/b\n", V2, {"all__a__b__cpuDOTmax": "max 100000", "all__a__cpuDOTmax": "150000 100000"}, 2),
        ("0::/a/b\n", V2, {"all__a__b__cpuDOTmax": "50000 100000", "all__a__cpuDOTmax": "300000 100000"}, 1),
        ("0::/docker/abc\n", V2_OWN, {"all__cpuDOTmax": "200000 100000"}, 2),
        ("0::/\n", V2_OWN, {"all__cpuDOTmax": "200000 100000"}, 2),
        *(("0::/\n", V2, {"all__cpuDOTmax": odd}, 64) for odd in ("nonsense", "", "-1", "inf 100000", "100000 0")),
        (V1_GROUP, V1, {"cpu__job__cpuDOTcfs_quota_us": "250000", "cpu__job__cpuDOTcfs_period_us": "100000"}, 3),
        (V1_GROUP, V1, {"cpu__job__cpuDOTcfs_quota_us": "-1", "cpu__job__cpuDOTcfs_period_us": "100000"}, 64),
        (V1_GROUP, V1 + V2, {"cpu__cpuDOTcfs_quota_us": "50000", "cpu__cpuDOTcfs_period_us": "100000"}, 1),
        (V1_GROUP, "", {}, 64),
    ],
)
def test_cores_follow_the_quota(machine: Callable[..., None], group: str, mounts: str, files: dict, cores: int):
    machine(group, mounts, **files)
    assert available_cores() == cores


@pytest.mark.parametrize(
    ("name", "value", "cores"),
    [("SLURM_CPUS_PER_TASK", "4", 4), ("NCPUS", "all", 64), ("NSLOTS", "0", 64), ("LSB_DJOB_NUMPROC", "2(x3)", 64)],
)
def test_cores_follow_a_batch_system(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch, name: str, value: str, cores: int
):
    machine("", "")
    monkeypatch.setenv(name, value)
    assert available_cores() == cores


def test_threads_follow_the_cores(machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch):
    machine("0::/\n", V2, all__cpuDOTmax="50000 100000")
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    for named, threads in [("7", "7"), ("4,2", "4,2"), ("", "1"), ("0", "1"), ("-2", "1"), ("many", "1")]:
        monkeypatch.setenv("OMP_NUM_THREADS", named)
        workers.limit_threads()
        assert os.environ["OMP_NUM_THREADS"] == threads
    monkeypatch.delenv("OMP_NUM_THREADS")
    workers.limit_threads()
    assert os.environ["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory__job__memoryDOTlimit_in_bytes": "9223372036854771712"}, None),
        ({"memory__job__memoryDOTlimit_in_bytes": "2000", "memory__memoryDOTlimit_in_bytes": "3000"}, 2000),
    ],
)
def test_memory_limit(machine: Callable[..., None], files: dict, limit: int | None):
    machine(V1_GROUP, V1, **files)
    assert cgroup.memory_limit() == limit
    machine("0::/a\n", V2, all__a__memoryDOTmax="max", all__memoryDOTmax="5000")
    assert cgroup.memory_limit() == 5000


V2_MEMORY = {"max": "5000", "current": "4000", "stat": "anon 700\ninactive_file 300\n"}
V1_MEMORY = {"limit_in_bytes": "5000", "usage_in_bytes": "4000", "stat": "inactive_file 1\ntotal_inactive_file 300\n"}


@pytest.mark.parametrize(
    ("group", "mounts", "folder", "files", "left"),
    [
        ("0::/a\n", V2, "all__a", V2_MEMORY, 1300),
        ("0::/a\n", V2, "all__a", V2_MEMORY | {"current": "6000"}, 0),
        ("0::/a\n", V2, "all__a", V2_MEMORY | {"max": "max"}, None),
        ("0::/a\n", V2, "all__a", {"max": "5000", "current": "4000"}, None),
        (V1_GROUP, V1, "memory__job", V1_MEMORY, 1300),
        (V1_GROUP, V1, "memory__job", V1_MEMORY | {"limit_in_bytes": "9223372036854771712"}, None),
    ],
)
def test_memory_that_a_container_has_left(
    machine: Callable[..., None], group: str, mounts: str, folder: str, files: dict, left: int | None
):
    machine(group, mounts, **{f"{folder}__memoryDOT{name}": text for name, text in files.items()})
    assert cgroup.memory_left() == left


def test_memory_of_the_machine_is_the_most(machine: Callable[..., None]):
    machine("0::/a\n", V2, **{f"all__a__memoryDOT{name}": text for name, text in V2_MEMORY.items()})
    assert available_memory() == 1300
    machine("", "")
    assert available_memory() > 2**20


# Commands


def small_shm(*command: object) -> list[str]:
    """The command where nobody can write to /dev/shm; skips where that cannot be had."""
    try:
        subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "x", "/dev/shm"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounts need user namespaces")
    script = 'mount -t tmpfs -o size=4k,mode=555 x /dev/shm && head -c 8192 /dev/zero >/dev/shm/full; exec "$@"'
    return ["unshare", "-rm", "sh", "-c", script, "sh", sys.executable, "-m", "lewm_cli", *map(str, command)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        (
            *("train", "robot/pick", "--name", "robot/run", "--steps", 3, "--batch-size", 64),
            *("--set", "data.workers=2", "--set", "data.in_memory=false"),
        ),
        pytest.param(("collect", "tworoom", "--episodes", 1), marks=pytest.mark.soak),
    ],
)
def test_dev_shm_is_not_needed(robot: Path, tiny: Path, command: tuple):
    config = ("--config", tiny) if command[0] == "train" else ()
    done = subprocess.run(
        small_shm(*command, *config), env=environment(robot), capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_killed_worker_ends_training_which_goes_on_without(robot: Path, tiny: Path):
    command = ["train", "robot/pick", "--config", tiny, "--name", "robot/run", "--set", "data.in_memory=false"]
    log = robot / "robot" / "run.run" / "log.jsonl"
    with running(robot, *command, "--steps", 10**6, "--set", "data.workers=1") as process:
        wait_until(lambda: log.exists() and '"Saved"' in log.read_text(), process)
        for worker in descendants(process.pid):
            os.kill(worker, signal.SIGKILL)
        said = ended(process).sentence()
    assert "a process that prepares batches was killed (SIGKILL), as happens when memory runs out" in said
    typed = shlex.split(said.partition("go on with: ")[2])
    assert typed[:2] == ["lewm", "train"]
    assert typed[-2:] == ["--set", "data.workers=0"]
    refused = lewm_here(robot, *typed[1:], "--set", "seed=2").sentence(code=2)
    assert "every setting but data.workers, data.in_memory and" in refused
    with running(robot, *typed[1:], "--set", "data.in_memory=true") as process:
        wait_until(lambda: log.read_text().count('"Saved"') > 1, process)
        process.send_signal(signal.SIGINT)
        assert ended(process).code == 130


@pytest.mark.slow
def test_killed_simulator_ends_the_recording(tmp_path: Path):
    with running(tmp_path, "collect", "tworoom", "--episodes", 400, "--workers", 2) as process:
        wait_until(lambda: len(simulators(process.pid)) == 2, process)
        os.kill(simulators(process.pid).pop(), signal.SIGBUS)
        said = ended(process).sentence()
    assert "a simulator process crashed (SIGBUS)" in said
    assert said.endswith("try again with --workers 1")


def simulators(pid: int) -> list[int]:
    found = []
    for one in descendants(pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # some have ended by now
            if "spawn_main" in Path(f"/proc/{one}/cmdline").read_text():
                found.append(one)
    return found


MODULE = """
import os, signal
try:
    os.kill(os.getpid(), signal.{number})
    sum(range(10**6))
except BaseException:
    pass
raise AttributeError("this module is broken")
"""


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("module", ["typer", "tomli_w"])
def test_signal_during_an_import_is_heard(tmp_path: Path, number: str, code: int, module: str):
    """Whatever the module catches or fails with, and whoever imports it: the command line, or what it called."""
    (tmp_path / f"{module}.py").write_text(MODULE.format(number=number))
    python_path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "lewm_cli", "presets", "tworoom"],
        env=environment(tmp_path) | {"PYTHONPATH": python_path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == code
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("nothing half-written was left behind\n")
    assert done.stdout == ""


def test_signal_that_python_loses_is_raised_again():
    script = """
import os, signal, time
from lewm_cli.errors import LewmError, StoppedError
from lewm_cli.stop import understand_signals
understand_signals()
class Lossy:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(10**6))
try:
    Lossy()
    time.sleep(600)
except StoppedError as stopped:
    os._exit(stopped.exit_code)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (143, "")
