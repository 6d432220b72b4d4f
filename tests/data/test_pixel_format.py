"""Frames and actions that are stored in other ways are read as recordings have them, or refused with what converts."""

from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from commands import flat, lewm_here
from lewm_cli.data import DecodedFrames, open_dataset
from lewm_cli.errors import LewmError
from synthetic import write_recording

LENGTHS = (5, 4, 6)
ROWS = sum(LENGTHS)

FRAMES = np.random.default_rng(0).integers(0, 256, (ROWS, 12, 12, 3), dtype=np.uint8)
FRAMES[0, 0, 0] = 0, 255, 0  # so that every range is whole
GRAY = FRAMES[..., :1].repeat(3, -1)
ACTIONS = np.random.default_rng(1).normal(size=(ROWS, 3)).astype(np.float32)


def png(frame: np.ndarray) -> bytes:
    return cv2.imencode(".png", frame[..., ::-1])[1].tobytes()


def webp(frame: np.ndarray) -> bytes:
    lossless = [cv2.IMWRITE_WEBP_QUALITY, 101]
    return cv2.imencode(".webp", frame[..., ::-1], lossless)[1].tobytes() + b"."  # NumPy cuts zeros off


def images() -> np.ndarray:
    return np.array([png(frame) for frame in FRAMES], dtype=object)


def padded() -> np.ndarray:
    longest = max(map(len, images()))
    return np.array([np.frombuffer(row.ljust(longest, b"\0"), np.uint8) for row in images()])


STORED = {
    "as recordings have them": (FRAMES, FRAMES),
    "channels first": (FRAMES.transpose(0, 3, 1, 2), FRAMES),
    "gray": (FRAMES[..., 0], GRAY),
    "gray with a channel": (FRAMES[..., :1], GRAY),
    "gray with a channel first": (FRAMES[:, None, ..., 0], GRAY),
    "with transparency": (np.concatenate([FRAMES, FRAMES[..., :1]], -1), FRAMES),
    "with transparency first": (np.concatenate([FRAMES, FRAMES[..., :1]], -1).transpose(0, 3, 1, 2), FRAMES),
    "float32 to 1": ((FRAMES / 255).astype(np.float32), FRAMES),
    "float16 to 1": ((FRAMES / 255).astype(np.float16), FRAMES),
    "float64 to 255": (FRAMES.astype(">f8"), FRAMES),
    "floats with a last digit too much": ((FRAMES * (1.0001 / 255) - 1e-5).astype(np.float32), FRAMES),
    "floats, channels first": ((FRAMES.transpose(0, 3, 1, 2) / 255).astype(np.float32), FRAMES),
    "int64": (FRAMES.astype(np.int64), FRAMES),
    "uint16 up to 255": (FRAMES.astype(">u2"), FRAMES),
    "bool": (FRAMES > 99, np.where(FRAMES > 99, 255, 0)),
    "images of fixed length": (images().astype(bytes), FRAMES),
    "padded images": (padded(), FRAMES),
    "padded images with an axis of one": (padded()[:, None], FRAMES),
    "padded images of signed bytes": (padded().view(np.int8), FRAMES),
    "images of no type": (padded().view(f"V{padded().shape[1]}")[:, 0], FRAMES),
    "WebP images": (np.array([webp(frame) for frame in FRAMES]), FRAMES),
}


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("chunks", [None, 4])
def test_stored_frames_are_read_as_rgb_of_8_bits(tmp_path: Path, kind: str, chunks: int | None):
    stored, meant = STORED[kind]
    path = write_recording(tmp_path / "x.h5", LENGTHS, columns={"pixels": None})
    with h5py.File(path, "a") as file:
        shape = chunks and (chunks, *stored.shape[1:])
        file.create_dataset("pixels", data=stored, chunks=shape)
    dataset = open_dataset(path, "x")
    for rows in (np.array([14, 0, 3, 3, 7]), slice(2, 9), np.array([], int), slice(None), slice(None, None, 3)):
        frames = dataset.read("pixels", rows)
        assert frames.dtype == np.uint8
        assert np.array_equal(frames, meant[rows])
    assert [(column.shape, column.dtype) for column in dataset.columns if column.name == "pixels"] == [
        ((12, 12, 3), "uint8")
    ]
    assert DecodedFrames(dataset, 8).rows(np.array([1, 2])).shape == (2, 8, 8, 3)
    assert len(dataset.notes) == (stored is not FRAMES)
    if np.array_equal(meant, FRAMES):
        plain = open_dataset(write_recording(tmp_path / "plain.h5", LENGTHS, columns={"pixels": FRAMES}), "x")
        assert dataset.identity == plain.identity


def test_images_as_arrays_of_bytes_are_decoded(tmp_path: Path):
    path = write_recording(tmp_path / "x.h5", LENGTHS, columns={"pixels": None})
    with h5py.File(path, "a") as file:
        rows = file.create_dataset("pixels", (ROWS,), h5py.vlen_dtype(np.uint8))
        for number, image in enumerate(images()):
            rows[number] = np.frombuffer(image, np.uint8)
        rows[3] = np.frombuffer(b"no image", np.uint8)
        rows[4] = np.array([], np.uint8)
        rows[5] = np.frombuffer(png(FRAMES[0, :8]), np.uint8)
    dataset = open_dataset(path, "x")
    assert np.array_equal(dataset.read("pixels", np.array([2, 0])), FRAMES[[2, 0]])
    for row, said in (
        (3, "is damaged"),
        (4, "is damaged"),
        (5, "12 x 8 pixels, and the first has 12 x 12"),
    ):
        with pytest.raises(LewmError, match=said):
            dataset.read("pixels", np.array([row]))


def test_color_jpegs_keep_their_colors(tmp_path: Path):
    red = np.zeros((ROWS, 16, 16, 3), np.uint8)
    red[..., 0] = 200
    rows = [cv2.imencode(".jpg", frame[..., ::-1])[1].tobytes() for frame in red]
    path = write_recording(tmp_path / "x.h5", LENGTHS, columns={"pixels": np.array(rows)})
    assert np.abs(open_dataset(path, "x").read("pixels", slice(None)).astype(int) - red).max() < 4


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (np.zeros((ROWS, 480, 640, 3), np.uint8), "640 x 480 pixels, and they have to be square; this crops them"),
        (np.zeros((ROWS, 3, 20, 30), np.uint8), "30 x 20 pixels"),
        (np.zeros((ROWS, 20, 30), np.float32), "30 x 20 pixels"),
        (np.array([png(FRAMES[0, :8])] * ROWS), "12 x 8 pixels"),
        (FRAMES.astype(np.uint16) * 257, "from 0 to 65535, which may mean several things"),
        (FRAMES / 250, "from 0 to 1.02, which may mean several things"),
        (FRAMES.astype(np.int32) // 128, "from 0 to 1, which may mean several things"),
        (FRAMES / 127.5 - 1, "from -1 to 1, which may mean several things"),
        (np.where(FRAMES == 255, np.nan, FRAMES / 255), "from nan to nan"),
        (FRAMES.astype(complex), "frames-of-other-shapes"),
        (FRAMES[:, None].repeat(2, 1), "frames-of-other-shapes"),
        (FRAMES[..., :2], "without an axis of 1, 3 or 4 channels"),
        (np.zeros((ROWS, 0, 0, 3), np.uint8), "0 x 0 pixels"),
        (np.zeros(ROWS), "frames-of-other-shapes"),
        (np.array([b"x"] * ROWS), "frames-of-other-shapes"),
    ],
)
def test_frames_that_may_mean_several_things_are_refused(tmp_path: Path, frames: np.ndarray, said: str):
    path = write_recording(tmp_path / "x.h5", LENGTHS, columns={"pixels": frames})
    with pytest.raises(LewmError, match=said.replace("(", r"\(")):
        open_dataset(path, "x")


def test_frame_that_differs_from_those_looked_at_is_refused(tmp_path: Path):
    frames = np.zeros((ROWS, 12, 12, 3), np.float32)
    frames[3] = 7
    dataset = open_dataset(write_recording(tmp_path / "x.h5", LENGTHS, columns={"pixels": frames}), "x")
    with pytest.raises(LewmError, match=r"x\.h5: pixels holds values outside of 0 to 1"):
        dataset.read("pixels", slice(2, 5))


@pytest.mark.parametrize(
    "name", ["observation.images.top", "image", "rgb", "frames", "observations", "obs/camera/rgb", "a b/ü"]
)
def test_only_frames_in_a_file_are_taken_whatever_they_are_called(tmp_path: Path, name: str):
    columns = {"pixels": None, "action": None, name: FRAMES, "actions": ACTIONS, "mask": FRAMES[..., 0]}
    dataset = open_dataset(write_recording(tmp_path / "x.h5", LENGTHS, columns=columns), "x")
    assert np.array_equal(dataset.read("pixels", slice(None)), FRAMES)
    assert np.array_equal(dataset.actions, ACTIONS)
    assert dataset.notes == (f"frames are read from {name}", "actions are read from actions")
    assert {column.name for column in dataset.columns} == {"pixels", "action", "mask"}


def test_several_cameras_are_named_with_the_line_that_chooses(tmp_path: Path):
    columns = {"pixels": None, "cameras/wrist": FRAMES, "cameras/the top": FRAMES}
    path = write_recording(tmp_path / "x y.h5", LENGTHS, columns=columns)
    said = lewm_here(tmp_path, "show", path).sentence()
    assert "2 data sets that may be 'pixels': cameras/the top, cameras/wrist" in said
    program = said.partition("python -c '")[2].removesuffix("'")
    exec(program.replace("; ", "\n") + "\nf.close()", {})
    assert lewm_here(tmp_path, "show", path).code == 0


def test_columns_of_the_released_names_come_first(tmp_path: Path):
    columns = {"image": FRAMES[::-1], "actions": ACTIONS[::-1], "pixels": FRAMES, "action": ACTIONS}
    dataset = open_dataset(write_recording(tmp_path / "x.h5", LENGTHS, columns=columns), "x")
    assert np.array_equal(dataset.read("pixels", slice(None)), FRAMES)
    assert np.array_equal(dataset.actions, ACTIONS)
    assert dataset.notes == ()
    assert {column.name for column in dataset.columns} == {"pixels", "action", "image", "actions"}


def test_camera_is_chosen_out_of_a_group_of_that_name(tmp_path: Path):
    columns = {"pixels": None, "pixels/top": FRAMES, "pixels/wrist": FRAMES[::-1]}
    path = write_recording(tmp_path / "x.h5", LENGTHS, columns=columns)
    said = lewm_here(tmp_path, "show", path).sentence()
    exec(said.partition("python -c '")[2].removesuffix("'").replace("; ", "\n") + "\nf.close()", {})
    assert np.array_equal(open_dataset(path, "x").read("pixels", slice(None)), FRAMES)


def test_frames_of_matlab_are_not_taken_for_upright_ones(tmp_path: Path):
    turned = FRAMES.transpose(0, 3, 2, 1)
    path = write_recording(tmp_path / "x.h5", LENGTHS, columns={"pixels": turned, "ep_len": np.array([LENGTHS])})
    with h5py.File(path, "a") as file:
        file["pixels"].attrs["MATLAB_class"] = np.bytes_("uint8")
    with pytest.raises(LewmError, match="written by MATLAB, which turns the order of axes around"):
        open_dataset(path, "x")


ACTIONS_STORED = {
    "float64": (ACTIONS.astype(np.float64), ACTIONS),
    "big-endian": (ACTIONS.astype(">f4"), ACTIONS),
    "float16": (ACTIONS.astype(np.float16), ACTIONS.astype(np.float16)),
    "int8": (np.arange(ROWS * 3, dtype=np.int8).reshape(ROWS, 3), np.arange(ROWS * 3).reshape(ROWS, 3)),
    "one dimension": (ACTIONS[:, 0], ACTIONS[:, :1]),
    "an axis of one": (ACTIONS[:, None], ACTIONS),
    "whole numbers of one dimension": (np.arange(ROWS), np.arange(ROWS)[:, None]),
    "one fewer in every episode": (np.delete(ACTIONS, np.cumsum(LENGTHS) - 1, 0), ACTIONS),
}


@pytest.mark.parametrize("kind", ACTIONS_STORED)
def test_stored_actions_are_read_as_rows_of_floats(tmp_path: Path, kind: str):
    stored, meant = ACTIONS_STORED[kind]
    path = write_recording(tmp_path / "x.h5", LENGTHS, columns={"action": stored})
    dataset, expected = open_dataset(path, "x"), meant.astype(np.float32)
    if len(stored) < ROWS:
        expected[np.cumsum(LENGTHS) - 1] = np.nan
    assert dataset.actions.dtype == np.float32
    assert np.array_equal(dataset.actions, expected, equal_nan=True)
    rows = np.array([9, 2, 2, 4])
    assert np.array_equal(dataset.read("action", rows).astype(np.float32), expected[rows], equal_nan=True)


def counted_in_actions(file: h5py.File) -> None:
    del file["ep_len"], file["ep_offset"]
    file["ep_len"] = np.array(LENGTHS) - 1


def flagged(file: h5py.File) -> None:
    del file["ep_len"], file["ep_offset"]
    file["dones"] = np.isin(np.arange(ROWS - 3), np.cumsum(np.array(LENGTHS) - 1) - 1)


@pytest.mark.parametrize("bookkeeping", [counted_in_actions, flagged, lambda file: None])
def test_episodes_with_one_action_fewer_than_frames(tmp_path: Path, bookkeeping: Callable[[h5py.File], None]):
    fewer = np.delete(ACTIONS, np.cumsum(LENGTHS) - 1, 0)
    path = write_recording(tmp_path / "x.h5", LENGTHS, columns={"action": fewer})
    with h5py.File(path, "a") as file:
        bookkeeping(file)
    dataset = open_dataset(path, "x")
    assert dataset.lengths.tolist() == list(LENGTHS)
    assert dataset.offsets.tolist() == [0, 5, 9]
    assert np.flatnonzero(np.isnan(dataset.actions[:, 0])).tolist() == [4, 8, 14]
    assert lewm_here(tmp_path, "verify", path).code == 0


@pytest.mark.parametrize("rows", [ROWS - 1, ROWS + 1, ROWS - 4, ROWS + 3, 1])
def test_other_numbers_of_actions_are_said_with_what_to_do(tmp_path: Path, rows: int):
    path = write_recording(tmp_path / "x.h5", LENGTHS, columns={"action": np.zeros((rows, 3), np.float32)})
    said = lewm_here(tmp_path, "train", path).sentence()
    assert f"has {ROWS} frames and {rows} rows of actions" in said
    assert "write NaN in the last row of every episode" in said


def test_notes_are_said_once_where_a_recording_is_used_and_shown(tmp_path: Path):
    columns = {"pixels": FRAMES.transpose(0, 3, 1, 2)}
    path = write_recording(tmp_path / "x.h5", LENGTHS, columns=columns)
    done = lewm_here(tmp_path, "train", path)
    assert done.err.count(f"note: {path}: ") == 1
    note = "frames are read transposed from channels first"
    assert f"note: {path}: {note}\n" in done.err
    assert lewm_here(tmp_path, "show", path, "--json").json()["notes"] == [note]
    assert note in flat(lewm_here(tmp_path, "show", path).out)
