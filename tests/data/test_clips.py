"""Clips stay within episodes, and batches of them come in an order that seed and step decide."""

import shutil
import threading
from contextlib import closing
from itertools import islice
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from commands import PATIENCE
from lewm_cli.config import ActionStats, DataConfig, Inputs, ProprioStats
from lewm_cli.data import (
    Clip,
    ClipBatches,
    Dataset,
    DecodedFrames,
    Frames,
    HDF5Dataset,
    MemoryFrames,
    open_dataset,
    split_clips,
)
from lewm_cli.data.clips import ClipIndex
from lewm_cli.errors import LewmError, StoppedError

pytest_plugins = ("recordings",)


def dataset_of(lengths: list[int], gaps: list[int]) -> Dataset:
    offsets = np.cumsum([gap + length for gap, length in zip(gaps, lengths, strict=True)]) - np.array(lengths)
    return HDF5Dataset(Path("x.h5"), "x", np.array(lengths), offsets, columns=(), task=None, policy=None, seed=None)


@given(data=st.data(), frames=st.integers(2, 5), frameskip=st.integers(1, 6), seed=st.integers(0, 9))
def test_clips_never_cross_an_episode(data: st.DataObject, frames: int, frameskip: int, seed: int):
    lengths = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=8))
    gaps = data.draw(st.lists(st.integers(0, 3), min_size=len(lengths), max_size=len(lengths)))
    kind = data.draw(st.sampled_from(["episode", "clip"]))
    dataset = dataset_of(lengths, gaps)
    span = frames * frameskip
    usable = [episode for episode, length in enumerate(lengths) if length >= span]
    config = DataConfig(split=kind, frameskip=frameskip)
    expected = {int(dataset.offsets[e]) + step for e in usable for step in range(lengths[e] - span + 1)}
    try:
        split = split_clips(dataset, config, frames, seed)
    except LewmError:
        # Nothing to hold out, or one clip, of which nothing can be measured.
        shortest = min((lengths[e] for e in usable), default=0)
        assert len(usable) < 2 or shortest == span or len(expected) < 15
        return
    assert split.train.span == split.held_out.span == span
    train, held_out = set(split.train.starts.tolist()), set(split.held_out.starts.tolist())
    assert train | held_out == expected
    assert not train & held_out
    if kind == "episode":
        rows = {int(dataset.offsets[e]) + row for e in split.held_out_episodes for row in range(lengths[e])}
        assert held_out == expected & rows
        assert not train & rows
        assert train
        assert held_out


@pytest.fixture
def pick(robot: Path) -> Dataset:
    return open_dataset(robot / "robot" / "pick.h5", "robot/pick")


def batches_of(
    pick: Dataset,
    index: ClipIndex,
    frames: Frames | None = None,
    *,
    felt: np.ndarray | None = None,
    pinned: bool = False,
) -> ClipBatches:
    """Of a network that takes proprioception (N, P), if that is given."""
    proprio = None if felt is None else ProprioStats.fit(felt)
    inputs = Inputs(task="generic", frameskip=index.frameskip, actions=ActionStats.fit(pick.actions), proprio=proprio)
    seen = frames or DecodedFrames(pick, 20)
    return ClipBatches(index, seen, pick.actions, inputs, proprio=felt, pinned=pinned)


def assert_equal_clips(ours: Clip, theirs: Clip) -> None:
    assert all(map(torch.equal, ours.parts, theirs.parts))
    assert len(ours.parts) == len(theirs.parts)


@pytest.fixture(params=[False, True], ids=["", "felt"])
def felt(pick: Dataset, request: pytest.FixtureRequest) -> np.ndarray | None:
    """Proprioception of all rows, or none."""
    return np.random.default_rng(0).normal(5, 2, (pick.rows, 2)).astype(np.float32) if request.param else None


def test_clip_is_every_frame_and_all_actions_between(pick: Dataset):
    batches = batches_of(pick, ClipIndex(np.array([0, 31, 56]), frames=3, frameskip=4))
    clip = batches[[2, 0]]
    pixels = pick.read("pixels", slice(None))
    assert np.array_equal(clip.pixels.numpy(), np.stack([pixels[start : start + 12 : 4] for start in (56, 0)]))
    actions = pick.actions
    finite = actions[np.isfinite(actions).all(axis=1)].astype(np.float64)
    scores = np.nan_to_num((actions - finite.mean(axis=0)) / finite.std(axis=0)).astype(np.float32)
    assert clip.blocks.shape == (2, 3, 12)
    assert np.allclose(clip.blocks.numpy(), np.stack([scores[s : s + 12].reshape(3, 12) for s in (56, 0)]), atol=1e-5)
    assert clip.proprio is None


def test_proprioception_is_that_of_the_frames(pick: Dataset):
    felt = np.stack([np.arange(pick.rows), np.full(pick.rows, 3.0)], axis=1)
    felt[60] = np.nan
    clip = batches_of(pick, ClipIndex(np.array([0, 31, 56]), frames=3, frameskip=4), felt=felt)[[2, 0]]
    rows = np.array([[56, 60, 64], [0, 4, 8]])
    known = np.delete(felt[:, 0], 60)
    scores = np.where(rows == 60, 0, (rows - known.mean()) / known.std())
    assert clip.proprio.dtype == torch.float32
    assert np.allclose(clip.proprio.numpy(), np.stack([scores, np.zeros_like(scores)], axis=2), atol=1e-6)


@pytest.mark.parametrize("workers", [0, 1])
def test_order_of_batches_is_a_function_of_seed_and_step(pick: Dataset, workers: int):
    # As many clips as rows fit, so that two epochs pass in a dozen batches.
    batches = batches_of(pick, ClipIndex(np.arange(0, 29), frames=1, frameskip=1))

    def drawn(seed: int, first: int, number: int, workers: int = 0) -> list[np.ndarray]:
        stream = batches.stream(5, seed, first, workers)
        return [next(stream).pixels.numpy() for _ in range(number)]

    torch.manual_seed(1)
    whole = drawn(seed=3, first=0, number=12)
    before = torch.get_rng_state()
    for first in (0, 4, 5, 11):
        later = drawn(seed=3, first=first, number=12 - first, workers=workers)
        assert all(np.array_equal(a, b) for a, b in zip(later, whole[first:], strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    assert not np.array_equal(drawn(seed=4, first=0, number=1)[0], whole[0])
    for epoch in (whole[:5], whole[5:10]):
        clips = {frame.tobytes() for batch in epoch for frame in batch}
        assert len(clips) == 25  # each clip once, the rest dropped
    assert not all(np.array_equal(a, b) for a, b in zip(whole[:5], whole[5:10], strict=True))


@pytest.mark.parametrize("size", [20, 16])
def test_clips_are_the_same_however_they_are_served(pick: Dataset, tmp_path: Path, size: int, felt: np.ndarray | None):
    """By HDF5 in processes, around it in threads, and from memory."""
    shutil.copy(pick.path, tmp_path / "chunked.h5")
    with h5py.File(tmp_path / "chunked.h5", "a") as file:
        frames = file["pixels"][()]
        del file["pixels"]
        file.create_dataset("pixels", data=frames, chunks=(1, 20, 20, 3), **hdf5plugin.LZ4())
    plain, chunked = DecodedFrames(pick, size), DecodedFrames(open_dataset(tmp_path / "chunked.h5", "x"), size)
    kept = MemoryFrames.of(plain, pick.rows, lambda done: None)
    assert [frames.in_threads for frames in (plain, chunked, kept)] == [False, True, True]
    index = ClipIndex(np.arange(0, 29), frames=2, frameskip=3)
    expected = list(islice(batches_of(pick, index, plain, felt=felt).stream(8, 0, 0, workers=0), 7))
    for frames in (plain, chunked, kept):
        for workers in (0, 1, 3):
            with closing(batches_of(pick, index, frames, felt=felt).stream(8, 0, 2, workers)) as clips:
                for clip, other in zip(islice(clips, 5), expected[2:], strict=True):
                    assert_equal_clips(clip, other)
                    assert (clip.proprio is None) == (felt is None)


@pytest.mark.parametrize("workers", [0, 1])
def test_pinned_batches_hold_the_same_clips(
    pick: Dataset, monkeypatch: pytest.MonkeyPatch, workers: int, felt: np.ndarray | None
):
    """Where there is no GPU, memory is only asked to be pinned."""
    empty, asked = torch.empty, []
    monkeypatch.setattr(torch, "empty", lambda *shape, pin_memory=False, **kind: empty(*shape, **kind))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: asked.append(tensor) or tensor.clone())
    index = ClipIndex(np.arange(0, 29), frames=2, frameskip=3)
    for frames in (DecodedFrames(pick, 20), MemoryFrames.of(DecodedFrames(pick, 20), pick.rows, lambda done: None)):
        expected = next(batches_of(pick, index, frames, felt=felt).stream(8, 0, 0, 0))
        with closing(batches_of(pick, index, frames, felt=felt, pinned=True).stream(8, 0, 0, workers)) as clips:
            assert_equal_clips(next(clips), expected)
    assert asked


def test_threads_end_with_the_stream(pick: Dataset):
    before = threading.active_count()

    def stop() -> None:
        raise StoppedError("stopped", 2)

    class Slow(MemoryFrames):
        def read(self, rows: np.ndarray, frames: np.ndarray) -> None:
            go_on.wait(PATIENCE)

    go_on = threading.Event()
    frames = Slow(np.zeros((pick.rows, 20, 20, 3), np.uint8))
    stream = batches_of(pick, ClipIndex(np.arange(9), frames=2, frameskip=1), frames).stream(4, 0, 0, 2, stop)
    threading.Timer(1, go_on.set).start()
    with pytest.raises(StoppedError):
        next(stream)
    assert threading.active_count() <= before + 1
