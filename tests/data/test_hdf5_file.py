"""Files that cannot be opened now, or are something else: every one is said in a sentence that names the way on."""

import errno
import fcntl
import os
import shutil
from pathlib import Path

import cv2
import h5py
import hdf5plugin
import numpy as np
import pytest

from commands import lewm_here
from lewm_cli.data import open_dataset
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.store import Home, dataset_task
from synthetic import write_recording

JPEG = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()

pytest_plugins = ("recordings",)

OTHER_KINDS = {
    "clip.mp4": (b"\0\0\0\x18ftypisom" + bytes(100), "it is a video"),
    "clip.h5": (b"RIFF\0\0\0\0AVI LIST" + bytes(100), "it is a video"),
    "frame.h5": (JPEG, "it is an image"),
    "data.npz": (b"PK\x05\x06" + bytes(18), "it is a zip archive"),
    "data.npy": (b"\x93NUMPY" + bytes(100), "numpy.savez, and `lewm import` that"),
    "data.parquet": (b"PAR1" + bytes(100), "this imports the videos beside it with their actions: lewm import "),
    "data.bag": (
        b"#ROSBAG V2.0\n" + bytes(100),
        "it is a ROS bag; read frames and commands of its topics with the rosbags library",
    ),
    "data.mat": (b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM", "save it there with -v7.3"),
    "data.tar.gz": (b"\x1f\x8b" + bytes(100), "unpack it"),
    "pointer.h5": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n", "git lfs pull"),
    "page.h5": (b"<!DOCTYPE html><title>Sign in</title>", "a web page"),
    "empty.h5": (b"", "an empty file"),
    "notes": (b"nothing to see", "a text file"),
    "weights.hdf5": (b"\x80\x02}q\x00.", "name a recording, not weights"),
}


@pytest.mark.parametrize("name", OTHER_KINDS)
def test_other_kinds_of_files_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    content, said = OTHER_KINDS[name]
    (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    # Of a recording that is damaged, and of a video, verify says something else.
    for command in ("show", "train", *(["verify"] if name.startswith(("data", "notes")) else [])):
        sentence = lewm_here(tmp_path / "home", command, name).sentence()
        assert said in sentence
        assert str(tmp_path / name) in sentence


@pytest.mark.parametrize(
    "name", ["ROBOT.H5", "robot.hdf", "robot.he5", "robot", "mein Roboter ü", "robot.mp4", ".robot"]
)
def test_recording_is_known_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    write_recording(tmp_path / "here" / name)
    monkeypatch.chdir(tmp_path / "here")
    for typed in (name, f"./{name}", str(tmp_path / "here" / name), f"../here/{name}"):
        shown = lewm_here(tmp_path, "show", typed, "--json")
        assert shown.code == 0, shown.err
        assert shown.json()["episodes"] == 6


def test_training_on_a_file_of_any_name_is_called_like_it(tmp_path: Path, tiny: Path):
    path = write_recording(tmp_path / "here" / "MY ROBOT.H5")
    done = lewm_here(tmp_path, "train", path, "--config", tiny, "--steps", 1)
    assert done.code == 0, done.err
    bare = path.rename(path.with_suffix(""))
    again = lewm_here(tmp_path, "train", bare, "--config", tiny, "--steps", 1)
    assert again.code == 0, again.err
    assert sorted(path.stem for path in (tmp_path / "MY ROBOT").glob("*.safetensors")) == ["lewm", "lewm-2"]


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".hdf", ".he5", ".H5"])
def test_recordings_of_the_home_have_a_known_ending(tmp_path: Path, suffix: str):
    path = write_recording(tmp_path / "robot" / f"pick{suffix}")
    home = Home(tmp_path, (tmp_path,))
    assert home.find_dataset("robot/pick").path == path
    assert list(home.dataset_files()) == [("robot/pick", path)]
    both = min(path, write_recording(tmp_path / "robot" / "pick.h5"))
    assert home.find_dataset("robot/pick").path == both
    assert list(home.dataset_files()) == [("robot/pick", both)]


def test_name_in_the_home_comes_before_what_lies_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "robot").mkdir()
    path = write_recording(tmp_path / "home" / "robot.h5")
    monkeypatch.chdir(tmp_path)
    assert Home(tmp_path / "home", (tmp_path / "home",)).find_dataset("robot").path == path


def test_near_name_is_offered(tmp_path: Path):
    write_recording(tmp_path / "robot" / "pick.h5")
    assert lewm_here(tmp_path, "surprise", "robot/pikc").sentence().endswith("did you mean 'robot/pick'?")


def sentence(path: Path) -> str:
    with pytest.raises(LewmError) as caught:
        open_dataset(path, path.name).actions  # noqa: B018
    return str(caught.value)


def test_recorder_that_holds_the_file_is_said(tmp_path: Path):
    path = write_recording(tmp_path / "held.h5")
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        said = sentence(path)
    assert "another program has it open for writing" in said
    assert "HDF5_USE_FILE_LOCKING=FALSE" in said
    assert open_dataset(path, "held").episodes == 6


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_file_systems_without_locks_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int):
    path, file = write_recording(tmp_path / "here.h5"), h5py.File

    def without_locks(name: Path, mode: str, locking: object) -> h5py.File:
        if locking is not False:
            raise OSError(number, "no locks")
        return file(name, mode, locking=locking)

    monkeypatch.setattr("lewm_cli.data.hdf5_file.h5py.File", without_locks)
    assert open_dataset(path, "here").actions.shape == (174, 3)


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE, errno.EMFILE, errno.ENOMEM, 9999])
def test_whatever_the_system_says_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int):
    path = write_recording(tmp_path / "here.h5")

    def failing(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("lewm_cli.data.hdf5_file.h5py.File", failing)
    assert sentence(path).startswith(f"{path} cannot be read ({os.strerror(number)}): ")


def test_mark_of_a_crashed_recorder_is_said_with_its_cure(tmp_path: Path):
    with h5py.File(tmp_path / "open.h5", "w", libver="latest") as file:
        file["pixels"] = np.zeros(3)
        file.flush()
        shutil.copy(tmp_path / "open.h5", tmp_path / "a crash.h5")
    path = tmp_path / "a crash.h5"
    assert sentence(path).endswith(f": cp '{path}' '{path}.copy' && h5clear -s '{path}'")


def test_cut_short_file_says_how_much_is_there(tmp_path: Path):
    path = write_recording(tmp_path / "cut.h5")
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    assert f"{len(content) - 9:,} of its {len(content):,} bytes are there" in sentence(path)


def test_newer_file_format_is_said(tmp_path: Path):
    path = write_recording(tmp_path / "new.h5")
    content = bytearray(path.read_bytes())
    content[8] = 9
    path.write_bytes(content)
    assert f"newer HDF5 than {h5py.version.hdf5_version}" in sentence(path)


@pytest.mark.parametrize("column", ["pixels", "action"])
def test_missing_plugin_is_named(tmp_path: Path, column: str):
    values = np.ones((174, 20, 20, 3), np.uint8) if column == "pixels" else np.ones((174, 3), np.float32)
    path = write_recording(tmp_path / "packed.h5", columns={column: None})
    with h5py.File(path, "a") as file:
        file.create_dataset(column, data=values, chunks=(30, *values.shape[1:]), **hdf5plugin.Blosc())
    blosc, unknown = (number.to_bytes(2, "little") + b"\x08\0" for number in (32001, 32999))  # the name has 8 bytes
    content = path.read_bytes()
    assert content.count(blosc) == 1
    path.write_bytes(content.replace(blosc, unknown))
    dataset = open_dataset(path, "packed")
    with pytest.raises(LewmError, match=rf"{column} is packed with HDF5 filter 32999 \(blosc\), which is not here"):
        dataset.read(column, np.array([3, 5]))


@pytest.mark.parametrize(
    ("link", "said"),
    [
        (h5py.ExternalLink("gone.h5", "/frames"), "pixels is a link to /frames in gone.h5, which cannot be read"),
        (h5py.SoftLink("/frames"), "pixels is a link to /frames, which is not there"),
        (h5py.SoftLink("/pixels"), "pixels is a link to /pixels"),
    ],
)
def test_links_that_lead_nowhere_are_named(tmp_path: Path, link: object, said: str):
    path = write_recording(tmp_path / "linked.h5", columns={"pixels": None})
    with h5py.File(path, "a") as file:
        file["pixels"] = link
    assert said in sentence(path)


def test_links_that_lead_somewhere_are_followed(tmp_path: Path):
    frames = write_recording(tmp_path / "frames.h5")
    path = write_recording(tmp_path / "linked.h5", columns={"pixels": None, "proprio": np.ones((174, 2))})
    with h5py.File(path, "a") as file:
        file["pixels"] = h5py.ExternalLink("frames.h5", "/pixels")
        file["state"] = h5py.SoftLink("/proprio")
        file["lost"] = h5py.SoftLink("/nowhere")
    linked, whole = open_dataset(path, "linked"), open_dataset(frames, "frames")
    assert linked.identity.fingerprint == whole.identity.fingerprint
    assert [column.name for column in linked.columns] == ["action", "pixels", "proprio", "state"]
    frames.unlink()
    assert "link to /pixels in frames.h5" in sentence(path)


def test_missing_files_and_impossible_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "round.h5").symlink_to("round.h5")
    (tmp_path / "lost.h5").symlink_to("nowhere.h5")
    (tmp_path / "folder.h5").mkdir()
    long = "n" * 300
    for typed, said in (
        ("round.h5", "links lead round in a circle"),
        ("lost.h5", "lost.h5 is a link that leads nowhere (to nowhere.h5)"),
        ("folder.h5", "folder.h5 is a folder (empty), and a recording is one HDF5 file"),
        (f"{long}.h5", "there is no file nnn"),
        ("lost.h5/x.h5", "there is no file lost.h5/x.h5"),
    ):
        assert said in lewm_here(tmp_path / "home", "train", typed).sentence()
        checked = lewm_here(tmp_path / "home", "verify", typed)
        assert checked.code in (1, 2)
        assert "unexpected" not in checked.err
    with pytest.raises(MissingError):
        open_dataset(tmp_path / "gone.h5", "gone")


@pytest.mark.parametrize(
    "task",
    [
        "tworoom",
        np.bytes_("tworoom"),
        np.bytes_("tworoom\0\0\0"),
        b"tworoom",
        np.array([b"tworoom  "]),
        np.array(["tworoom"], dtype=object),
        np.void(b"tworoom\0"),
    ],
)
def test_text_attributes_of_other_languages_are_read(tmp_path: Path, task: object):
    dataset = open_dataset(write_recording(tmp_path / "x.h5", task=task, policy=task, seed=np.array([b"7"])), "x")
    assert (dataset.task, dataset.policy, dataset.seed) == ("tworoom", "tworoom", 7)
    assert dataset_task(dataset).name == "tworoom"


@pytest.mark.parametrize(
    "value",
    [
        5,
        np.zeros(3),
        h5py.Empty("S3"),
        np.array(["a", "b"], dtype=object),
        np.bytes_(b"\xff\xfe"),
        "",
        np.nan,
        np.True_,
    ],
)
def test_attributes_that_mean_something_else_do_no_harm(tmp_path: Path, value: object):
    dataset = open_dataset(write_recording(tmp_path / "x.h5", task=value, policy=value, seed=value), "x")
    assert dataset_task(dataset).name == "generic"
    assert dataset.seed in (5, None)


def test_more_rows_than_a_file_can_hold_are_not_read(tmp_path: Path):
    path = write_recording(tmp_path / "vast.h5", columns={"pixels": None, "action": None, "ep_len": None})
    rows = 2**40
    with h5py.File(path, "a") as file:
        file.create_dataset("pixels", (rows, 8, 8, 3), "u1", chunks=(1, 8, 8, 3))
        file.create_dataset("action", (rows, 7), "f4", chunks=(100, 7))
        file.create_dataset("ep_idx", (rows,), "i8", chunks=(100,))
    assert "ep_idx claims 8,796,093,022,208 bytes" in sentence(path)
    with h5py.File(path, "a") as file:
        file["ep_len"], file["ep_offset"][:] = [rows], 0
        del file["ep_offset"]
        file["ep_offset"] = [0]
    assert "action claims" in sentence(path)


def test_column_of_very_many_chunks_takes_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    values = np.arange(24 * 7, dtype=np.float32).reshape(24, 7)
    path = write_recording(tmp_path / "x.h5", (8, 8, 8), columns={"proprio": None})
    with h5py.File(path, "a") as file:
        file.create_dataset("proprio", data=values, chunks=(2, 3))
    asked: list[int] = []
    read = h5py.Dataset.__getitem__

    def count(stored: h5py.Dataset, rows: slice) -> np.ndarray:
        if stored.name == "/proprio" and isinstance(rows, slice):
            asked.append(len(range(24)[rows]))
        return read(stored, rows)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", count)
    monkeypatch.setattr("lewm_cli.data.hdf5_file.CHUNKS_AT_ONCE", 9)  # two rows lie in three
    dataset = open_dataset(path, "x")
    np.testing.assert_array_equal(dataset.read("proprio", slice(None)), values)
    assert asked == [6, 6, 6, 6]
    asked.clear()
    np.testing.assert_array_equal(dataset.read("proprio", slice(5, 20)), values[5:20])
    assert asked == [6, 6, 3]


def test_row_of_very_many_chunks_is_refused(tmp_path: Path):
    path = write_recording(tmp_path / "x.h5", columns={"action": None})
    with h5py.File(path, "a") as file:
        file.create_dataset("action", (len(file["pixels"]), 2**18), "u1", chunks=(1, 1))
    assert "one row of action lies in 262,144 chunks" in sentence(path)
