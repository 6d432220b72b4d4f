"""`lewm rm` removes what it showed and nothing else, and a kill in the middle leaves something that can be used."""

import io
import itertools
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import PATIENCE, Done, environment, flat, lewm, lewm_here, wait_until
from lewm_cli.files import is_locked, lock_path, locked
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.store import Home, RunFiles, load_run, save_derived, save_run
from synthetic import write_recording

pytest_plugins = ("recordings",)

RUN, DATASET = "tworoom/lewm", "robot/pick"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def run(home: Path, small_model: JEPA, small_card: Callable[[JEPA], RunCard]) -> RunFiles:
    """A run with everything that a run can have."""
    files = RunFiles(home / RUN)
    fill(files, small_model, small_card(small_model))
    return files


@pytest.fixture
def dataset(home: Path) -> Path:
    """A recording."""
    return write_recording(home / f"{DATASET}.h5")


def fill(files: RunFiles, model: JEPA, card: RunCard) -> None:
    with locked(files.weights, "busy"):
        save_run(files, model, card)
        save_derived(files, model, "lewm")
    files.results.mkdir(parents=True)
    for path in (files.resume, files.config, files.log, files.results / "eval-1.json", files.results / "eval-2.json"):
        path.write_bytes(b"0123456789")


def everything(home: Path) -> set[str]:
    return {path.relative_to(home).as_posix() for path in home.rglob("*")}


def listed(home: Path) -> set[str]:
    tree = lewm_here(home, "ls", "--json").json()
    return {entry["name"] for kind in ("runs", "datasets") for entry in tree[kind]}


# What goes


def test_run_goes_with_all_that_belongs_to_it(home: Path, run: RunFiles, small_model: JEPA, small_card):
    fill(RunFiles(home / "tworoom" / "lewm-2"), small_model, small_card(small_model))
    others = {path for path in everything(home) if "lewm-2" in path} | {"tworoom"}
    (home / "tworoom" / ".lewm.safetensors.77.part").write_bytes(b"half")
    done = lewm_here(home, "rm", RUN, "--yes")
    assert done.code == 0, done.err
    assert everything(home) == others
    assert "removed tworoom/lewm (9 files, " in done.err
    assert lewm_here(home, "rm", "tworoom/lewm-2", "--yes").code == 0
    assert everything(home) == set()
    assert home.is_dir()


def test_dataset_goes(home: Path, dataset: Path):
    write_recording(home / "other.h5", noise=1)
    done = lewm_here(home, "rm", DATASET, "--yes", "--json")
    assert done.code == 0, done.err
    tree = done.json()
    assert (tree["removed"], len(tree["removals"][0]["files"])) == (True, 1)
    assert not dataset.parent.exists()
    assert listed(home) == {"other"}


def test_damaged_things_can_be_removed(home: Path, run: RunFiles, dataset: Path):
    run.weights.write_bytes(bytes(100))
    dataset.write_bytes(b"no HDF5")
    assert lewm_here(home, "rm", RUN, DATASET, "--yes").code == 0
    assert listed(home) == set()


def test_folders_that_say_what_layout_the_home_has_stay(home: Path, small_model: JEPA, small_card):
    fill(RunFiles(home / "checkpoints" / "a" / "b" / "c"), small_model, small_card(small_model))
    write_recording(home / "datasets" / "d" / "e.h5")
    assert lewm_here(home, "rm", "a/b/c", "d/e", "--yes").code == 0
    assert everything(home) == {"checkpoints", "datasets"}


def test_folder_left_by_a_training_that_saved_nothing(home: Path, run: RunFiles):
    for path in (run.weights, run.state_dict, run.object):
        path.unlink()
    assert lewm_here(home, "rm", RUN, "--yes").code == 0
    assert everything(home) == set()


@pytest.mark.slow
def test_real_run_and_recording(trained: Path, tmp_path: Path):
    home = tmp_path / "home"
    shutil.copytree(trained, home)
    done = lewm(home, "rm", "tworoom/lewm", "tworoom/demos", "--yes")
    assert done.code == 0, done.err
    assert everything(home) == set()


# What is shown


def test_dry_run_shows_what_would_go(home: Path, run: RunFiles, dataset: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "300")
    before = everything(home)
    done = lewm_here(home, "rm", RUN, DATASET, "--dry-run")
    assert done.code == 0
    table = flat(done.out).replace(" ", "")
    for path in (run.weights, run.state_dict, run.object, dataset):
        assert str(path) in table
    assert f"{run.folder}/(5files)50bytes" in table
    tree = lewm_here(home, "rm", RUN, DATASET, "--dry-run", "--json").json()
    sizes = {file["path"]: file["bytes"] for removal in tree["removals"] for file in removal["files"]}
    assert sizes == {
        str(path): path.stat().st_size for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"
    }
    assert (tree["removed"], tree["bytes"]) == (False, sum(sizes.values()))
    assert everything(home) == before


# What is asked


class Terminal(io.StringIO):
    """What is typed on a terminal."""

    def isatty(self) -> bool:
        return True


def answered(monkeypatch: pytest.MonkeyPatch, home: Path, answer: str, *arguments: str) -> Done:
    """Run the command with a terminal as its input."""
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    return lewm_here(home, *arguments)


def test_only_yes_removes(home: Path, run: RunFiles, monkeypatch: pytest.MonkeyPatch):
    before = everything(home)
    for answer in ("\n", "n\n"):
        done = answered(monkeypatch, home, answer, "rm", RUN)
        assert (done.code, everything(home)) == (0, before)
        assert "lewm.run/ (5 files)" in flat(done.out)
        assert "remove tworoom/lewm (8 files, " in done.err
        assert "[y/N]" in done.err
        assert done.err.endswith("nothing was removed\n")
    assert answered(monkeypatch, home, "n\n", "rm", RUN, "--json").json()["removed"] is False
    assert answered(monkeypatch, home, "", "rm", RUN).code == 130  # Ctrl-D
    assert everything(home) == before
    assert answered(monkeypatch, home, "y\n", "rm", RUN, "--json", "-q").json()["removed"] is True
    assert everything(home) == set()


@pytest.mark.slow
def test_a_real_terminal_is_asked(home: Path, run: RunFiles):
    terminal, end = pty.openpty()
    try:
        os.write(terminal, b"y\n")
        done = lewm(home, "rm", RUN, stdin=end)
    finally:
        os.close(terminal)
        os.close(end)
    assert done.code == 0, done.err
    assert "[y/N]" in done.err
    assert everything(home) == set()


def test_without_a_terminal_an_answer_is_needed(home: Path, run: RunFiles, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    before = everything(home)
    done = lewm_here(home, "rm", RUN)
    assert "this is no terminal; add --yes" in done.sentence()
    assert everything(home) == before


# What is refused


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["tworoom/lew"], 1, "did you mean 'tworoom/lewm'?"),
        (["robot/pck"], 1, "did you mean 'robot/pick'?"),
        ([RUN, "nothing"], 1, "there is no run or dataset 'nothing'"),
        (["../home/tworoom/lewm"], 2, "cannot name a run"),
        (["tworoom/../tworoom/lewm"], 2, "cannot name a run"),
        (["/etc/passwd"], 2, "cannot name a run"),
        (["datasets"], 2, "cannot name a run"),
        (["tworoom"], 1, "there is no run or dataset 'tworoom'"),
        ([""], 2, "cannot name a run"),
        (["tworoom/lewm.safetensors"], 2, "'tworoom/lewm'"),
        (["robot/pick.h5"], 2, "'robot/pick'"),
        ([RUN, "--dataset"], 2, "is no dataset but a run"),
        ([DATASET, "--run"], 2, "is no run but a dataset"),
        ([DATASET, "--run", "--dataset"], 2, "exclude each other"),
        ([], 2, "NAME"),
    ],
)
def test_refused_and_nothing_touched(
    home: Path, run: RunFiles, dataset: Path, arguments: list[str], code: int, said: str
):
    before = everything(home)
    assert said in lewm_here(home, "rm", *arguments, "--yes").sentence(code)
    assert everything(home) == before


def test_name_of_both_needs_a_word(home: Path, run: RunFiles):
    path = write_recording(home / f"{RUN}.h5")
    assert "both a run and a dataset; say which with --run or --dataset" in lewm_here(home, "rm", RUN, "-y").sentence(2)
    assert lewm_here(home, "rm", RUN, "-y", "--dataset").code == 0
    assert not path.exists()
    path = write_recording(home / f"{RUN}.h5")
    assert lewm_here(home, "rm", RUN, "-y", "--run").code == 0
    assert [file.name for file in (home / "tworoom").iterdir()] == ["lewm.h5"]


@pytest.mark.slow
def test_what_is_being_written_is_refused(home: Path, run: RunFiles, dataset: Path):
    before = everything(home)
    for guard, name in ((run.weights, RUN), (dataset, DATASET)):
        with locked(guard, "busy"):
            said = lewm_here(home, "rm", name, "--yes").err
        assert f"another process is writing {name!r}; stop it first" in said
    assert everything(home) - before <= {"robot/.pick.h5.lock"}
    assert load_run(Home(home, (home,)), RUN).tensors == 104


def test_other_homes_are_not_touched(home: Path, run: RunFiles, dataset: Path, tmp_path: Path):
    before = everything(home)
    for name, path in ((RUN, run.weights), (DATASET, dataset)):
        said = lewm_here(home, "rm", name, "--yes", "--home", tmp_path / "own").sentence()
        assert f"{name} lies at {path}, outside the home that takes the writes ({tmp_path / 'own'})" in said
    assert everything(home) == before


def test_own_copy_goes_and_the_shared_one_is_named(home: Path, run: RunFiles, tmp_path: Path):
    before = everything(home)
    own = tmp_path / "own"
    shutil.copytree(home, own)
    done = lewm_here(home, "rm", RUN, "--yes", "--home", own)
    assert done.code == 0, done.err
    assert f"{RUN} is now the run at {run.weights}" in done.err
    assert (everything(own), everything(home)) == (set(), before)


def test_links_go_and_what_they_lead_to_stays(home: Path, run: RunFiles, tmp_path: Path):
    disk = tmp_path / "disk"
    recording = write_recording(disk / "large.h5")
    moved = disk / "results"
    run.results.rename(moved)
    run.results.symlink_to(moved)
    (home / "large.h5").symlink_to(recording)
    (home / "gone.h5").symlink_to(disk / "nowhere.h5")
    done = lewm_here(home, "rm", RUN, "large", "gone", "--yes")
    assert done.code == 0, done.err
    assert f"(a link to {recording}, which stays)".replace(" ", "") in flat(done.out).replace(" ", "")
    assert everything(home) == set()
    assert recording.exists()
    assert sorted(path.name for path in moved.iterdir()) == ["eval-1.json", "eval-2.json"]


def test_linked_folder_of_a_run_is_unlinked(home: Path, run: RunFiles, tmp_path: Path):
    run.folder.rename(tmp_path / "elsewhere.run")
    run.folder.symlink_to(tmp_path / "elsewhere.run")
    assert lewm_here(home, "rm", RUN, "--yes").code == 0
    assert everything(home) == set()
    assert (tmp_path / "elsewhere.run" / "resume.pt").exists()


def test_what_a_linked_folder_holds_is_refused(home: Path, tmp_path: Path):
    recording = write_recording(tmp_path / "disk" / "large.h5")
    home.mkdir()
    (home / "linked").symlink_to(tmp_path / "disk")
    said = lewm_here(home, "rm", "linked/large", "--yes").sentence()
    assert f"lies at {recording}, outside the home" in said
    assert recording.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may remove everything")
def test_folder_that_is_read_only(home: Path, run: RunFiles):
    run.results.chmod(0o555)
    try:
        assert "read-only for you" in lewm_here(home, "rm", RUN, "--yes").sentence()
    finally:
        run.results.chmod(0o755)
    assert run.resume.exists()


@pytest.mark.slow
def test_full_disk_can_be_made_room_on(small_disk: Callable[[str], Path]):
    home = small_disk("1m") / "home"
    write_recording(home / f"{DATASET}.h5")
    with pytest.raises(OSError, match="No space left"):
        (home / "rest").write_bytes(bytes(2_000_000))
    assert lewm_here(home, "rm", DATASET, "--yes").code == 0
    assert everything(home) == {"rest"}


# A kill in the middle


def killed(home: Path, count: int, number: signal.Signals, *arguments: str) -> Done:
    """Run the command in a process of its own, which gets a signal just before its n-th file goes."""
    told = home.parent / "told"
    child = os.fork()  # what it imports is imported already
    if child == 0:
        try:
            unlink, left = Path.unlink, itertools.count(1)

            def unlink_or_die(path: Path, missing_ok: bool = False) -> None:
                if next(left) == count:
                    os.kill(os.getpid(), number)
                unlink(path, missing_ok)

            Path.unlink = unlink_or_die  # type: ignore[method-assign]
            done = lewm_here(home, *arguments)
            told.write_text(done.err, encoding="utf-8")
            os._exit(done.code)
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    return Done(os.waitstatus_to_exitcode(status), "", told.read_text(encoding="utf-8") if told.exists() else "")


@pytest.mark.slow
@pytest.mark.parametrize("unlink", [1, 3, 6, 8])
def test_killed_in_the_middle_the_run_still_loads_and_can_be_removed(home: Path, run: RunFiles, unlink: int):
    before = len(everything(home))
    done = killed(home, unlink, signal.SIGKILL, "rm", RUN, "--yes")
    assert done.code == -signal.SIGKILL
    assert len(everything(home)) < before or unlink == 1
    assert listed(home) == {RUN}
    assert load_run(Home(home, (home,)), RUN).tensors == 104
    assert not run.stopped
    assert lewm_here(home, "show", RUN).code == 0
    assert lewm_here(home, "rm", RUN, "--yes").code == 0
    assert everything(home) == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_stops_between_two_names(home: Path, run: RunFiles, dataset: Path, number: signal.Signals):
    done = killed(home, 2, number, "rm", RUN, DATASET, "--yes")
    assert done.code == 128 + number
    assert done.err.splitlines()[-1] == f"lewm: stopped; still there: {DATASET}"
    assert listed(home) == {DATASET}


def test_interrupted_at_the_last_name_it_is_done_all_the_same(home: Path, run: RunFiles):
    assert killed(home, 2, signal.SIGINT, "rm", RUN, "--yes").code == 130
    assert everything(home) == set()


# The lock


def test_removed_lock_file_does_not_let_two_in(tmp_path: Path):
    """One waits for a lock whose file its holder removes: it takes the lock of the new file, not of the old one."""
    path = tmp_path / "file"
    waiter = (
        f"from lewm_cli.files import locked\nfrom pathlib import Path\nwith locked(Path({str(path)!r}), None): input()"
    )
    with locked(path, "busy"):
        process = subprocess.Popen(
            [sys.executable, "-c", waiter], stdin=subprocess.PIPE, env=environment(tmp_path), text=True
        )
        fdinfo = Path(f"/proc/{process.pid}/fd")
        wait_until(lambda: any(link.resolve() == lock_path(path) for link in fdinfo.iterdir()), process)
        lock_path(path).unlink()
    wait_until(lambda: lock_path(path).exists(), process)
    wait_until(lambda: is_locked(path), process)
    process.communicate("\n", timeout=PATIENCE)
    assert process.returncode == 0
    assert not is_locked(path)
