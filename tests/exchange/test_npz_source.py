"""OGBench's files and other npz with flat columns are read as far as they are asked for, never as pickles."""

import pickle
import resource
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from columns import FIXTURES, assert_moved_by_actions, frames_of, opened, places
from damage import damaged_copy, read_or_refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lewm_cli.errors import LewmError, UsageError

VISUAL = FIXTURES / "visual-square-v0.npz"

LENGTHS = (5, 4)
FRAMES = np.arange(9 * 10 * 12 * 3).reshape(9, 10, 12, 3).astype(np.uint8)
ACTIONS = np.arange(18, dtype=np.float32).reshape(9, 2)
OWN = {"image": FRAMES, "action": ACTIONS, "run": np.repeat([b"a", b"b"], LENGTHS), "joints": ACTIONS + 1}
ASKED = {"map": {"proprio": "joints"}, "episodes": "run"}


def test_ogbench_is_read_with_last_actions_unknown():
    source = opened(VISUAL)
    assert (source.kind, source.camera) == ("OGBench", "observations")
    assert [(one.name, one.frames) for one in source.episodes] == [
        ("rows 0 to 5", 6),
        ("rows 6 to 9", 4),
        ("rows 10 to 14", 5),
    ]
    assert_moved_by_actions(source)
    for number in range(3):
        actions = source.actions(number)
        assert np.isnan(actions).any(axis=1).tolist() == [False] * (len(actions) - 1) + [True]
    columns = source.read(1).columns
    assert columns.keys() == {"qpos", "qvel", "button_states", "terminals"}
    assert np.abs(columns["qpos"] - places(frames_of(source.read(1)))).max() < 1
    assert columns["button_states"].tolist() == [0, 1, 0, 1]
    assert "is taken as unknown (NaN)" in source.notes[-1]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_other_npz_are_read_in_any_order_and_from_another_process(tmp_path: Path, save):
    save(tmp_path / "own.npz", **OWN)
    source = pickle.loads(pickle.dumps(opened(tmp_path / "own.npz", **ASKED)))
    assert source.kind == "npz with flat columns"
    for number, rows in (1, slice(5, 9)), (0, slice(0, 5)), (1, slice(5, 9)):
        episode = source.read(number)
        assert np.array_equal(frames_of(episode), FRAMES[rows])
        assert np.array_equal(episode.actions, ACTIONS[rows])
        assert np.array_equal(episode.columns["proprio"], ACTIONS[rows] + 1)
    both = [source.read(number).frames for number in (0, 1)]
    for row in range(4):  # side by side
        assert np.array_equal(next(both[0]), FRAMES[row])
        assert np.array_equal(next(both[1]), FRAMES[5 + row])


def test_folder_is_all_of_its_files(tmp_path: Path):
    for number in (2, 10):
        np.savez(tmp_path / f"take{number}.npz", image=FRAMES, action=ACTIONS + number, done=np.eye(9)[-1])
    np.savez(tmp_path / "take11.npz", image=FRAMES[:1], action=ACTIONS[:1])
    source = opened(tmp_path)
    assert [one.name for one in source.episodes] == ["take2.npz", "take10.npz", "take11.npz"]
    assert source.actions(1)[0].tolist() == [10, 11]
    assert source.episodes[2].frames == 1


def claiming(path: Path, shape: tuple[int, ...], content: bytes, **columns: object) -> Path:
    """An npz file whose `image`, the first member, claims a shape."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("image.npy", "w") as member:
            np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": shape})
            member.write(content)
        for name, values in columns.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asarray(values))
    return path


def test_memory_stays_small_beside_what_a_file_holds(tmp_path: Path):
    shape, frames = (60_000, 128, 128, 3), np.full((200, 128, 128, 3), 7, np.uint8)  # 3 GB, of which 10 MB are there
    path = claiming(
        tmp_path / "big.npz", shape, frames.tobytes(), action=np.zeros((60_000, 2)), lengths=[100, 100, 59_800]
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    source = opened(path, episodes="lengths")
    assert all(np.array_equal(frame, frames[0]) for frame in source.read(1).frames)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**17  # of 1024 bytes
    with pytest.raises(LewmError, match=r"image, cannot be read as npz .it is cut short."):
        frames_of(source.read(2))


def test_the_file_is_only_read(tmp_path: Path):
    shutil.copy(VISUAL, tmp_path / "visual.npz")
    (tmp_path / "visual.npz").chmod(0o444)
    before = (tmp_path / "visual.npz").stat()
    frames_of(opened(tmp_path / "visual.npz").read(0))
    assert (tmp_path / "visual.npz").read_bytes() == VISUAL.read_bytes()
    assert (tmp_path / "visual.npz").stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in tmp_path.iterdir()] == ["visual.npz"]


class Planted:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("planted"),))


def test_pickles_are_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "own.npz", **OWN, info=np.array([Planted()] * 9, object))
    assert "info" not in opened(tmp_path / "own.npz", **ASKED).read(0).columns
    with pytest.raises(UsageError, match="no 'info'"):
        opened(tmp_path / "own.npz", map={"pixels": "info"})
    assert not Path("planted").exists()


def test_files_without_frames_are_no_source_of_their_own(tmp_path: Path):
    np.savez(tmp_path / "clip.npz", action=ACTIONS)
    with pytest.raises(UsageError, match=r"holds action, none of them color frames; .* name the frames: lewm import"):
        opened(tmp_path / "clip.npz")
    with pytest.raises(LewmError, match="of no layout that is known"):
        opened(tmp_path)


WRONG = {
    "no actions": ({"observations": FRAMES, "terminals": np.eye(9)[-1]}, {}, UsageError, "neither action nor actions"),
    "other rows": (OWN | {"action": ACTIONS[:4]}, ASKED, LewmError, "9 frames and 4 rows of actions"),
    "no episodes": (OWN, {}, LewmError, "no other column says where episodes end.*--episodes COLUMN"),
    "other numbers": (
        {"observations": FRAMES, "actions": ACTIONS, "terminals": np.arange(9)},
        {},
        LewmError,
        "than 0 and 1",
    ),
    "Fortran": (OWN | {"image": np.asfortranarray(FRAMES)}, ASKED, LewmError, "in the order of Fortran"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_read_is_said(tmp_path: Path, kind: str):
    columns, asked, error, said = WRONG[kind]
    np.savez(tmp_path / "own.npz", **columns)
    with pytest.raises(error, match=said):
        opened(tmp_path / "own.npz", **asked)


def test_cut_file_is_said(tmp_path: Path):
    (tmp_path / "own.npz").write_bytes(VISUAL.read_bytes()[:-30])
    with pytest.raises(LewmError, match=r"own.npz cannot be read as npz .File is not a zip file.; copy it"):
        opened(tmp_path / "own.npz")


@given(st.data())
@settings(max_examples=5, suppress_health_check=list(HealthCheck))
def test_cut_and_flipped_bytes_are_read_or_refused_in_a_sentence(tmp_path: Path, data: st.DataObject):
    read_or_refused(damaged_copy(VISUAL, tmp_path, data))


@pytest.mark.soak
@given(st.data())
@settings(max_examples=1_000, suppress_health_check=list(HealthCheck))
def test_many_cut_and_flipped_bytes_are_read_or_refused(tmp_path: Path, data: st.DataObject):
    read_or_refused(damaged_copy(VISUAL, tmp_path, data))
