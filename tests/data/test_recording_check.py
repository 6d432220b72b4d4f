"""What is missing or doubtful in a recording is said before it is used, by one rule for every command."""

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from commands import lewm_here
from lewm_cli.config import ActionStats
from lewm_cli.data import open_dataset, require_usable
from lewm_cli.errors import LewmError
from lewm_cli.plural import counted
from synthetic import TINY, write_recording

LENGTHS = (20, 20, 20, 20)
ROWS = sum(LENGTHS)
SIZE = 8
PIXELS = np.random.default_rng(0).integers(0, 256, (ROWS, SIZE, SIZE, 3), dtype=np.uint8)
ACTIONS = np.random.default_rng(1).normal(0.5, 2.0, (ROWS, 3)).astype(np.float32)


def said(path: Path) -> str:
    """What is said before a recording is used; or the sentence that refuses it."""
    lines: list[str] = []
    try:
        require_usable(open_dataset(path, path.stem), lines.append)
    except LewmError as error:
        return f"refused: {error}"
    return "\n".join(lines)


def write(path: Path, pixels: np.ndarray | None = PIXELS, action: np.ndarray | None = ACTIONS) -> Path:
    return write_recording(path, LENGTHS, columns={"pixels": pixels, "action": action})


def with_pixels(path: Path, **made: object) -> Path:
    """A recording whose pixels are made like this."""
    write(path, pixels=None)
    with h5py.File(path, "r+") as file:
        file.create_dataset("pixels", **({"shape": PIXELS.shape, "dtype": "u1"} | made))
    return path


def fill(path: Path, rows: slice, pixels: np.ndarray = PIXELS) -> Path:
    with h5py.File(path, "r+") as file:
        file["pixels"][rows] = pixels[rows]
    return path


def test_whole_recording_is_used_in_silence(tmp_path: Path):
    assert said(write(tmp_path / "a.h5")) == ""
    assert said(write_recording(tmp_path / "b.h5")) == ""


# What was never written


@pytest.mark.parametrize("fillvalue", [0, 255])
@pytest.mark.parametrize("chunks", [(10, SIZE, SIZE, 3), (10, 4, 4, 1), (7, SIZE, SIZE, 3)])
def test_chunks_that_were_never_written(tmp_path: Path, chunks: tuple[int, ...], fillvalue: int):
    path = fill(with_pixels(tmp_path / "a.h5", chunks=chunks, fillvalue=fillvalue), slice(0, 40))
    first = -(-40 // chunks[0]) * chunks[0]
    assert f"{ROWS - first} rows of pixels were never written: rows {first} to {ROWS - 1}; record" in said(path)


def test_hole_in_the_middle_and_part_of_a_frame(tmp_path: Path):
    path = with_pixels(tmp_path / "a.h5", chunks=(5, 4, SIZE, 3))
    with h5py.File(path, "r+") as file:
        for rows in (slice(0, 30), slice(50, ROWS)):
            file["pixels"][rows] = PIXELS[rows]
        file["pixels"][30:40, :4] = PIXELS[30:40, :4]
    assert "20 rows of pixels were never written: rows 30 to 49" in said(path)


def test_actions_that_were_never_written(tmp_path: Path):
    path = write(tmp_path / "a.h5", action=None)
    with h5py.File(path, "r+") as file:
        file.create_dataset("action", (ROWS, 3), "f4")
    assert f"refused: {path}: 80 rows of action were never written: rows 0 to 79" in said(path)


def test_what_was_allocated_for_more_than_was_recorded_is_usable(tmp_path: Path):
    path = with_pixels(tmp_path / "a.h5", shape=(500, SIZE, SIZE, 3), chunks=(20, SIZE, SIZE, 3))
    with h5py.File(path, "r+") as file:
        file["pixels"][:ROWS] = PIXELS
        del file["action"]
        file.create_dataset("action", (500, 3), "f4", chunks=(10, 3))[:ROWS] = ACTIONS
    assert said(path) == "note: 420 rows outside of all episodes, first row 80"


@pytest.mark.parametrize("made", [{}, {"chunks": (80, SIZE, SIZE, 3)}])
def test_part_of_what_was_allocated(tmp_path: Path, made: dict[str, object]):
    """No table says so: the frames themselves show it."""
    path = fill(with_pixels(tmp_path / "a.h5", **made), slice(0, 35))
    assert "all frames are the same in 2 episodes: 2, 3" in said(path)
    assert "frames of one even color, as what was never written looks, in 1 row: 39" in said(path)


@pytest.mark.parametrize("frozen", [(), (1,), (0, 1, 2, 3)])
def test_frozen_camera(tmp_path: Path, frozen: tuple[int, ...]):
    pixels = PIXELS.copy()
    for episode in frozen:
        pixels[episode * 20 : episode * 20 + 20] = pixels[episode * 20]
    pixels[[40, 49, 59]] = pixels[40]  # looks so where it is looked at first
    named = ", ".join(map(str, frozen[:3])) + (", ..." if len(frozen) > 3 else "")
    expected = f"note: all frames are the same in {counted(len(frozen), 'episode')}: {named}" if frozen else ""
    assert said(write(tmp_path / "a.h5", pixels)) == expected


# Frames in other files


def virtual(path: Path, change: Callable[[Path], None] = lambda folder: None, rows: int = ROWS) -> Path:
    """A recording whose frames lie in one file per episode, something of which is changed afterwards."""
    layout = h5py.VirtualLayout(PIXELS.shape, "u1")
    for episode in range(rows // 20):
        part = slice(episode * 20, episode * 20 + 20)
        with h5py.File(path.parent / f"s{episode}.h5", "w") as file:
            file["frames"] = PIXELS[part]
        layout[part] = h5py.VirtualSource(f"s{episode}.h5", "frames", (20, SIZE, SIZE, 3))
    write(path, pixels=None)
    with h5py.File(path, "r+") as file:
        file.create_virtual_dataset("pixels", layout)
    change(path.parent)
    return path


def shorten(folder: Path, rows: int = 12) -> None:
    with h5py.File(folder / "s2.h5", "w") as file:
        file["frames"] = PIXELS[40 : 40 + rows]


def hollow(folder: Path) -> None:
    with h5py.File(folder / "s2.h5", "w") as file:
        file.create_dataset("frames", (20, SIZE, SIZE, 3), "u1", chunks=(5, SIZE, SIZE, 3))[:10] = PIXELS[40:50]


def rename(folder: Path) -> None:
    with h5py.File(folder / "s2.h5", "r+") as file:
        file.move("frames", "images")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda folder: (folder / "s2.h5").unlink(), "which is gone (s2.h5): rows 40 to 59; put that file back"),
        (lambda folder: [(folder / f"s{k}.h5").unlink() for k in (1, 3)], "(s1.h5, s3.h5): rows 20 to 39, 60 to 79"),
        (lambda folder: (folder / "s2.h5").write_text("x"), "which cannot be read as HDF5 (s2.h5): rows 40 to 59"),
        (shorten, "8 rows of pixels are missing in the file they lie in, which is too short (s2.h5): rows 52 to 59"),
        (hollow, "10 rows of pixels were never written (s2.h5): rows 50 to 59"),
        (rename, "which has no frames (s2.h5): rows 40 to 59"),
    ],
)
def test_sources_that_are_gone(tmp_path: Path, change: Callable[[Path], None], expected: str):
    assert said(virtual(tmp_path / "whole.h5")) == ""
    text = said(virtual(tmp_path / "a.h5", change))
    assert text.startswith("refused: ")
    assert expected in text


def test_rows_that_no_source_fills(tmp_path: Path):
    assert "20 rows of pixels have no source in this virtual dataset: rows 60 to 79" in said(
        virtual(tmp_path / "a.h5", rows=60)
    )


def test_one_file_per_frame_and_virtual_within_virtual(tmp_path: Path):
    layout = h5py.VirtualLayout(PIXELS.shape, "u1")
    for row in range(ROWS):
        with h5py.File(tmp_path / f"f{row}.h5", "w") as file:
            file["frame"] = PIXELS[row]
        layout[row] = h5py.VirtualSource(f"f{row}.h5", "frame", (SIZE, SIZE, 3))
    with h5py.File(tmp_path / "inner.h5", "w") as file:
        file.create_virtual_dataset("all", layout)
    outer = h5py.VirtualLayout(PIXELS.shape, "u1")
    outer[:] = h5py.VirtualSource("inner.h5", "all", PIXELS.shape)
    path = write(tmp_path / "a.h5", pixels=None)
    with h5py.File(path, "r+") as file:
        file.create_virtual_dataset("pixels", outer)
    assert said(path) == ""
    (tmp_path / "f7.h5").unlink()
    assert "which is gone (f7.h5): rows 7;" in said(path)


def test_external_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    frame = SIZE * SIZE * 3
    parts = [("a.bin", 0, 50 * frame), ("b.bin", 0, h5py.h5f.UNLIMITED)]
    path = with_pixels(tmp_path / "a.h5", data=PIXELS, external=parts)
    assert said(path) == ""
    os.truncate("b.bin", 20 * frame)
    assert "which is cut short (b.bin): rows 70 to 79" in said(path)
    os.remove("b.bin")
    assert f"which is not in {tmp_path} (b.bin): rows 50 to 79" in said(path)


# Actions


def changed(change: Callable[[np.ndarray], object]) -> np.ndarray:
    actions = ACTIONS.copy()
    change(actions)
    return actions


def dropped(rows: slice | np.ndarray | list[int], dims: object = slice(None)) -> np.ndarray:
    return changed(lambda actions: actions.__setitem__((rows, dims), np.nan))


def one_step_of_rounding() -> np.ndarray:
    actions = ACTIONS.copy()
    actions[:, 2] = 0.1
    actions[5, 2] = np.nextafter(np.float32(0.1), np.float32(1))
    return actions


FIRST = np.arange(0, ROWS, 20)


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (dropped(FIRST + 19), ""),
        (dropped([22, 23]), "note: action is NaN in 2 rows besides an episode's last, first in row 22, step 2 of ep"),
        (dropped([22], 1), "note: action is NaN in 1 row besides"),
        (dropped([0, 20]), "note: action is NaN in 2 rows besides an episode's last, first in row 0"),
        (dropped(slice(20, 39)), "note: no action is known in 1 of 4 episodes: 1"),
        (dropped(FIRST), "note: action is NaN in the first row of all 4 episodes; only an episode's last row may be"),
        (dropped(slice(None)), "refused: PATH: action is NaN in every row, and a world model needs actions"),
        (dropped(slice(None), 1), "refused: PATH: action is NaN in all rows of dimension 1, and a world model"),
        (changed(lambda a: a.__setitem__((33, 0), np.inf)), "action is infinite in 1 row, first in row 33, step 13"),
        (changed(lambda a: a.__setitem__((slice(None), 1), 0)), "note: constant action dimensions, whose standard dev"),
        (one_step_of_rounding(), "standard deviation is taken as 1: 2 (0.1)"),
        (changed(lambda a: a.__setitem__((33, 0), 1e6)), "dimension 0 is 1e+06 in row 33, step 13 of episode 1, and v"),
        (np.arange(ROWS, dtype=np.float32)[:, None] % 6, "note: action holds the whole numbers 0 to 5 only; if they"),
        (np.arange(ROWS, dtype=np.float32)[:, None] % 2, ""),
        ((np.arange(ROWS) % 40 == 3).astype(np.float32)[:, None] * 5 + ACTIONS, ""),  # a trigger, rarely pressed
        (changed(lambda a: a.__setitem__((slice(None), 1), np.arange(ROWS) % 40 == 3)), ""),
    ],
)
def test_actions(tmp_path: Path, actions: np.ndarray, expected: str):
    path = write(tmp_path / "a.h5", action=actions)
    text = said(path).replace(str(path), "PATH")
    assert expected in text
    assert expected or not text


def test_frames_of_zeros_and_ones_are_said_to_be_black(tmp_path: Path):
    path = write(tmp_path / "a.h5", pixels=PIXELS // 128)
    assert "note: frames hold 0 and 1 only" in said(path)
    assert "frames hold 0 and 1 only" in lewm_here(tmp_path, "verify", path).out


def test_column_that_has_gone_since_is_a_sentence(tmp_path: Path):
    dataset = open_dataset(write(tmp_path / "a.h5"), "a")
    with h5py.File(dataset.path, "r+") as file:
        del file["pixels"]
    with pytest.raises(LewmError, match="column pixels is damaged, or has gone"):
        dataset.read("pixels", slice(None))


def test_verify_finds_the_same(tmp_path: Path):
    """Remarks stay right, problems are wrong; of the same actions every command says the same."""
    for name, actions in {"remark": dropped([22, 23]), "problem": changed(lambda a: a.fill(np.inf))}.items():
        path = write(tmp_path / f"{name}.h5", action=actions)
        done = lewm_here(tmp_path / "home", "verify", path, "--json")
        assert done.code == (name == "problem")
        (found,) = done.json()["checked"]
        lines = found["remarks"] + [f"{problem['says']}; {problem['advice']}" for problem in found["problems"]]
        assert said(path).removeprefix("note: ").removeprefix(f"refused: {path}: ") in lines


@given(arrays(np.float32, st.tuples(st.integers(2, 30), st.integers(1, 4)), elements=st.floats(-9, 9, width=16)))
def test_statistics_of_normal_actions_are_the_plain_ones(actions: np.ndarray):
    """Bit for bit, but for what never changes."""
    rows = actions.astype(np.float64)
    mean, std = ActionStats.fit(actions).mean, np.array(ActionStats.fit(actions).std)
    assert mean == tuple(rows.mean(axis=0).tolist())
    plain = rows.std(axis=0)
    lively = plain > 1e-4 * max(1, np.abs(rows).max())
    assert (std[lively] == plain[lively]).all()
    assert (std[rows.max(axis=0) == rows.min(axis=0)] == 1).all()
    assert (std > 0).all()


@pytest.mark.parametrize("noise", [1e-9, 1e-17])
def test_noise_around_zero_is_no_unit(noise: float):
    actions = ACTIONS.copy()
    actions[:, 1] *= noise
    assert ActionStats.fit(actions).std[1] == 1
    assert (ActionStats.fit(ACTIONS * np.float32(noise)).std != np.ones(3)).all()  # but a small unit is one


def test_glitch_does_not_make_the_others_constant():
    actions = ACTIONS.astype(np.float64)
    actions[7, 0] = 1e30
    assert ActionStats.fit(actions).std[1:] == ActionStats.fit(ACTIONS.astype(np.float64)).std[1:]


# Commands


def test_training_says_it_before_it_begins_or_refuses(tmp_path: Path):
    home, config = tmp_path / "home", tmp_path / "tiny.toml"
    config.write_text(TINY)
    lengths, actions = (20, 20, 20, 20, 5), np.r_[dropped([22, 23]), ACTIONS[:5]]
    pixels = np.r_[PIXELS, PIXELS[:5]]
    path = write_recording(tmp_path / "a.h5", lengths, columns={"pixels": pixels, "action": actions})
    arguments = ("--preset", "small", "--config", config, "--steps", 1, "--name", "own/a")
    done = lewm_here(home, "train", path, *arguments)
    assert done.code == 0, done.err
    assert "note: action is NaN in 2 rows besides" in done.err
    assert "left out: 1 of 5 episodes, shorter than a clip (8 rows)" in done.err
    path = virtual(tmp_path / "b.h5", lambda folder: (folder / "s2.h5").unlink())
    for command in (("train", path, *arguments, "--overwrite"), ("surprise", path, "--run", "own/a")):
        assert "(s2.h5): rows 40 to 59; put that file back" in lewm_here(home, *command).sentence()
    assert (home / "own" / "a.safetensors").exists()


@given(place=st.floats(0, 1), bit=st.integers(0, 7), source=st.booleans())
@settings(max_examples=30)
def test_flipped_bit_anywhere_is_said_or_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, place: float, bit: int, source: bool
):
    folder = tmp_path_factory.mktemp("flipped")
    path = virtual(folder / "a.h5") if source else fill(with_pixels(folder / "a.h5", chunks=(7, 8, 8, 3)), slice(0, 40))
    damaged = folder / "s2.h5" if source else path
    content = bytearray(damaged.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1 << bit
    damaged.write_bytes(content)
    assert said(path) is not None


def test_frames_that_cannot_be_decoded_are_said(tmp_path: Path):
    path = with_pixels(tmp_path / "a.h5", data=PIXELS, chunks=(20, SIZE, SIZE, 3), fletcher32=True)
    with h5py.File(path) as file:
        place = file["pixels"].id.get_chunk_info(2).byte_offset
    content = bytearray(path.read_bytes())
    content[place + 9] ^= 1
    path.write_bytes(content)
    assert "note: frames of episodes 0 to 3 cannot be read: " in said(path)
