"""File systems as they are: without locks, fsync or permissions, full, shared, gone; and users without a home."""

import errno
import fcntl
import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from commands import left_behind, lewm_here
from lewm_cli.data import open_dataset, recording
from lewm_cli.data.unwritten import find_gaps
from lewm_cli.doctor import State, disk
from lewm_cli.errors import LewmError, TakenError, UsageError
from lewm_cli.files import atomic_folder, is_locked, locked, try_writing, write_text
from lewm_cli.flows import results
from lewm_cli.store import Home
from lewm_cli.store.names import check_name, is_name
from lewm_cli.system_errors import CAUSES, explain, number_of
from lewm_cli.tasks import Episode
from synthetic import write_recording

pytest_plugins = ("recordings",)

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def refuse(monkeypatch: pytest.MonkeyPatch, call: str, code: int, folders: bool = True, files: bool = True) -> None:
    """Lets a function of fcntl or os fail, for an open folder or an open file."""
    module = fcntl if call == "flock" else os
    real = getattr(module, call)

    def refusing(file: object, *arguments: object, **options: object) -> object:
        folder = isinstance(file, int) and os.path.isdir(f"/proc/self/fd/{file}")
        if folders if folder else files:
            raise OSError(code, os.strerror(code))
        return real(file, *arguments, **options)

    monkeypatch.setattr(module, call, refusing)


# Without locks


@pytest.mark.parametrize("code", WITHOUT_LOCKS)
def test_without_locks_a_second_writer_is_refused_all_the_same(tmp_path: Path, monkeypatch, code):
    refuse(monkeypatch, "flock", code)
    path = tmp_path / "run.safetensors"
    with locked(path, "busy") as alone:
        assert alone
        assert is_locked(path)
        with pytest.raises(TakenError, match=r"^busy \(if it has died, remove .*writer"), locked(path, "busy"):
            pytest.fail("two at once")
    assert not is_locked(path)
    assert [file.name for file in tmp_path.iterdir()] == [".run.safetensors.lock"]
    with locked(path, busy=None) as alone:
        assert not alone  # it cannot wait, and others may be at it


def test_without_locks_the_guard_of_a_dead_writer_is_taken_over(tmp_path: Path, monkeypatch):
    refuse(monkeypatch, "flock", errno.ENOLCK)
    path = tmp_path / "run.safetensors"
    die = f"""
import os, fcntl
from pathlib import Path
from lewm_cli import files
fcntl.flock = lambda *_: (_ for _ in ()).throw(OSError({errno.ENOLCK}, ""))
with files.locked(Path({str(path)!r}), "busy"):
    os._exit(0)
"""
    subprocess.run([sys.executable, "-c", die], check=True)
    assert (tmp_path / ".run.safetensors.writer").exists()
    assert not is_locked(path)
    with locked(path, "busy"):
        pass
    (tmp_path / ".run.safetensors.writer").write_text("another-machine 1")
    assert is_locked(path)


def test_without_locks_recordings_are_fetched_and_read(home: Home, tmp_path: Path, monkeypatch):
    recorded = write_recording(tmp_path / "recorded.h5", (30, 24))
    virtual = h5py.VirtualLayout((54, 20, 20, 3), np.uint8)
    virtual[:] = h5py.VirtualSource(str(recorded), "pixels", (54, 20, 20, 3))
    joined = write_recording(tmp_path / "joined.h5", (30, 24), columns={"pixels": None})
    with h5py.File(joined, "a") as file:
        file.create_virtual_dataset("pixels", virtual)
    real = h5py.File

    def without_locks(*arguments: object, locking: object = None, **options: object) -> h5py.File:
        if locking is not False:
            raise OSError(errno.ENOLCK, "Unable to synchronously open file (unable to lock file, errno = 37)")
        return real(*arguments, locking=locking, **options)

    monkeypatch.setattr(h5py, "File", without_locks)
    refuse(monkeypatch, "flock", errno.ENOLCK)
    fetched = lewm_here(home.write, "fetch", "robot", "--dataset", "--source", recorded.as_uri())
    assert fetched.code == 0, fetched.err
    assert lewm_here(home.write, "show", "robot").code == 0
    with open_dataset(joined, "joined").opened() as file:
        assert list(find_gaps(file["pixels"], 0)) == []


def test_lock_file_of_another_user_locks_too(tmp_path: Path, monkeypatch):
    path, real = tmp_path / "run.safetensors", Path.open

    def not_mine(path: Path, mode: str = "r", **options: object) -> object:
        if mode == "a":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, mode, **options)

    with locked(path, "busy"):
        monkeypatch.setattr(Path, "open", not_mine)
        with pytest.raises(TakenError, match="busy"), locked(path, "busy"):
            pytest.fail("two at once")
    with locked(path, "busy"):
        pass
    with pytest.raises(LewmError, match="you may not write there"), locked(tmp_path / "new", "busy"):
        pass


def test_lock_that_fails_for_another_reason_is_a_sentence(tmp_path: Path, monkeypatch):
    refuse(monkeypatch, "flock", errno.EIO)
    with pytest.raises(LewmError, match=r"cannot be locked .*: the disk or"), locked(tmp_path / "x", None):
        pass


# Without fsync, permissions, exchange


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EIO, errno.EACCES])
def test_folder_that_cannot_be_flushed_is_none_the_worse(tmp_path: Path, monkeypatch, code):
    refuse(monkeypatch, "fsync", code, files=False)
    write_text(tmp_path / "file.txt", "new")
    assert (tmp_path / "file.txt").read_text() == "new"


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_file_system_that_cannot_flush_is_written(tmp_path: Path, monkeypatch, code):
    refuse(monkeypatch, "fsync", code)
    write_text(tmp_path / "file.txt", "new")
    assert (tmp_path / "file.txt").read_text() == "new"


def test_file_that_did_not_reach_the_disk_is_none(tmp_path: Path, monkeypatch):
    write_text(tmp_path / "file.txt", "old")
    refuse(monkeypatch, "fsync", errno.EIO)
    with pytest.raises(LewmError, match=r"file\.txt cannot be written \(Input/output error\)"):
        write_text(tmp_path / "file.txt", "new")
    assert (tmp_path / "file.txt").read_text() == "old"
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_file_system_without_permissions_is_written(tmp_path: Path, monkeypatch, code):
    refuse(monkeypatch, "chmod", code)
    write_text(tmp_path / "file.txt", "new")
    assert (tmp_path / "file.txt").read_text() == "new"


def test_folder_that_can_be_neither_exchanged_nor_renamed_stays(tmp_path: Path, monkeypatch):
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "config.json").write_text("old")
    monkeypatch.setattr("lewm_cli.files.exchanged", lambda first, second: False)
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if (path / "weights.pt").exists():
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(path), None, str(target))
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(LewmError, match="Invalid cross-device link"):  # noqa: SIM117
        with atomic_folder(tmp_path / "hub", replaces=("config.json",)) as part:
            (part / "weights.pt").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["hub"]
    assert (tmp_path / "hub" / "config.json").read_text() == "old"


# Targets are tried


def test_target_is_tried_and_nothing_stays(tmp_path: Path):
    try_writing(tmp_path / "not" / "yet" / "there.json")
    assert list(tmp_path.iterdir()) == []


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def link_to_an_open_file(path: Path) -> Path:
    path.symlink_to("/proc/self/fd/1")  # as /dev/stdout is
    return path


def below_a_file(path: Path) -> Path:
    path.write_text("")
    return path / "inside" / "result.json"


def below_a_dangling_link(path: Path) -> Path:
    path.symlink_to("nowhere")
    return path / "inside" / "result.json"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (folder, "it is a folder; name a file"),
        (pipe, "is no regular file"),
        (link_to_an_open_file, "is no regular file"),
        (below_a_file, "place is a file, not a folder"),
        (below_a_dangling_link, "place is a link that leads nowhere"),
        (lambda path: path / ("x" * 250), "its name is too long"),
        (lambda path: Path("/proc/result.json"), "cannot be written"),
    ],
)
def test_target_that_cannot_be_written_is_found_by_trying(tmp_path: Path, make, said):
    target = make(tmp_path / "place")
    with pytest.raises(LewmError, match=said):
        try_writing(target)
    if make is not folder:
        with pytest.raises(LewmError, match=said):
            write_text(target, "")
    assert left_behind(tmp_path) == []


# Names


@pytest.mark.parametrize("name", ["测" * 100, "a/" + "ö" * 120 + "/b", "x" * 201])
def test_name_too_long_in_bytes_is_refused(name):
    with pytest.raises(UsageError):
        check_name(name, "run")


@pytest.mark.parametrize("name", ["a\nb", "a\x00b", "a\x1b[2Jb", "a\udcffb", "a\u202eb"])
def test_name_that_cannot_be_shown_is_none(name):
    assert not is_name(name)


def test_longest_name_leaves_room_for_every_file_of_a_run(tmp_path: Path):
    name = "测" * 73  # 219 bytes
    assert is_name(name)
    for suffix in ("_weight.ckpt", "_object.ckpt", ".safetensors", ".origin.json"):
        write_text(tmp_path / f"{name}{suffix}", "")
        with locked(tmp_path / f"{name}{suffix}", "busy"):
            pass


# Users without a home


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number without a name, as containers have them."""
    for variable in ("HOME", "STABLEWM_HOME", "LEWM_WRITE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_242_424)


def test_user_without_a_home_names_one(nobody: None, tmp_path: Path, monkeypatch):
    with pytest.raises(LewmError, match="export STABLEWM_HOME"):
        Home.locate()
    with pytest.raises(LewmError, match="export STABLEWM_HOME"):
        Home.locate("~/lewm")
    assert Home.locate(tmp_path).read == (tmp_path,)
    monkeypatch.setenv("LEWM_WRITE_HOME", str(tmp_path / "own"))
    assert Home.locate().write == tmp_path / "own"
    assert lewm_here(tmp_path, "fetch", "--list").code == 0


def test_home_that_cannot_be_searched_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    for name, said in (("file", "cannot be read (Not a directory)"), ("link", "is a link that leads nowhere (to n")):
        assert f"{tmp_path / name} {said}" in lewm_here(tmp_path / name, "ls").err
    mend = f"{tmp_path / 'link'} is a link that leads nowhere (to nowhere); mount the disk that it leads to, or name "
    for words in (("ls",), ("show", "robot/pick"), ("rm", "robot/pick"), ("train", "tworoom"), ("train", "robot/pick")):
        done = lewm_here(tmp_path / "link", *words)
        assert mend in done.err
        assert "there yet" not in done.err
    assert mend in lewm_here(tmp_path / "link", "verify").sentence()
    own = next(disk.homes(tmp_path / "link" / "below"))
    assert (own.state, own.writable) == (State.BROKEN, False)
    assert f"cannot be made: {tmp_path / 'link'} is a link that leads nowhere (to nowhere)" in own.says


@pytest.mark.parametrize("command", [("show", "lost"), ("train", "lost"), ("show", "robot/lost")])
def test_link_that_leads_nowhere_is_said_with_where_it_leads(tmp_path: Path, command: tuple[str, str]):
    (tmp_path / "lost.h5").symlink_to("/gone/away.h5")
    (tmp_path / "robot").mkdir()
    (tmp_path / "robot" / "lost.safetensors").symlink_to("/gone/away.safetensors")
    said = lewm_here(tmp_path, *command).sentence()
    assert re.search(r"lost\.\w+ is a link that leads nowhere \(to /gone/away", said)


# Jobs that begin at once


def test_jobs_of_an_array_record_under_names_of_their_own(home: Home, monkeypatch):
    def demonstrations(*_: object):
        yield recording.packed(Episode(np.zeros((5, 8, 8, 3), np.uint8), np.ones((5, 2), np.float32), {}))

    monkeypatch.setattr(recording, "_demonstrations", demonstrations)
    collect = ("collect", "tworoom", "--episodes", 1, "--workers", 1, "-q", "--json")
    with locked(home.dataset_path("tworoom/demos"), "busy"):
        assert lewm_here(home.write, *collect).json()["name"] == "tworoom/demos-2"
        assert "another process is recording" in lewm_here(home.write, *collect, "--name", "tworoom/demos").sentence()
    assert lewm_here(home.write, *collect).json()["name"] == "tworoom/demos"
    assert lewm_here(home.write, *collect).json()["name"] == "tworoom/demos-3"


def test_jobs_of_an_array_train_under_names_of_their_own(robot: Path, tiny: Path):
    train = ("train", "robot/pick", "--config", tiny, "--steps", 2, "-q", "--json")
    with locked(robot / "robot/lewm.safetensors", "busy"):
        assert lewm_here(robot, *train).json()["run"] == "robot/lewm-2"
        assert "another training" in lewm_here(robot, *train, "--name", "robot/lewm").sentence()
    assert lewm_here(robot, *train).json()["run"] == "robot/lewm"

    surprise = ("surprise", "robot/pick", "--run", "robot/lewm", "--json")
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*_: object) -> None:
            raise LewmError("the disk is full")

        patch.setattr(results, "write_text", refuse)
        done = lewm_here(robot, *surprise)
    assert done.code == 1
    assert "lewm: the disk is full" in done.err
    assert done.json()["episodes"]
    (robot / "robot/lewm.run/results").write_text("in the way")
    done = lewm_here(robot, *surprise)
    assert "is a file, not a folder" in done.sentence()
    assert "measuring" not in done.err


# What the system says


@pytest.mark.parametrize("code", CAUSES)
def test_every_error_has_a_path_and_a_cause(code):
    said = str(explain(OSError(code, os.strerror(code), "/data/file.h5"), doing="read"))
    assert said.startswith(f"/data/file.h5 cannot be read ({os.strerror(code)}): {CAUSES[code][:10]}")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError("Unable to synchronously create file (unable to open file: errno = 28, error message = 'x')"), 28),
        (OSError("I/O error: Read-only file system (os error 30)"), 30),
        (FileNotFoundError("No such file or directory: x.safetensors"), 2),
        (RuntimeError("open file failed because of errno 13 on fopen: Permission denied, file path: x"), 13),
        (RuntimeError("unable to write to file </torch_1>: No space left on device (28)"), 28),
        (RuntimeError("CUDA error: Invalid argument"), None),
        (OSError("file signature not found"), None),
    ],
)
def test_numbers_are_found_in_the_texts_of_libraries(error, code):
    assert number_of(error) == code


def test_errors_without_a_path_are_sentences_too(tmp_path: Path, monkeypatch):
    assert "export TMPDIR" in str(explain(FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")))
    assert "no more processes" in str(explain(BlockingIOError(11, "Resource temporarily unavailable")))
    assert "no more processes" in str(explain(RuntimeError("can't start new thread")))
    assert "out of memory" in str(explain(ImportError("a.so: failed to map segment from shared object")))
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "has been removed" in str(explain(FileNotFoundError(2, "No such file or directory")))
    done = lewm_here(Path("relative"), "ls")
    assert "has been removed" in done.sentence()
