"""Clips stay within episodes, and batches of them come in an order that seed and step decide."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lewm_cli.config import ActionStats, DataConfig, Inputs
from lewm_cli.data import ClipBatches, Dataset, DecodedFrames, HDF5Dataset, open_dataset, split_clips
from lewm_cli.data.clips import ClipIndex
from lewm_cli.errors import LewmError

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


def batches_of(pick: Dataset, index: ClipIndex) -> ClipBatches:
    inputs = Inputs(task="generic", frameskip=index.frameskip, actions=ActionStats.fit(pick.actions))
    return ClipBatches(index, DecodedFrames(pick, 20), pick.actions, inputs)


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
