"""Goals are drawn as often as their shares say, from the right places, and the same for a seed and a step."""

from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from lewm_cli.config import ActionStats, ActorGoals, DataConfig, Goals, Inputs, ValueGoals
from lewm_cli.data import ClipBatches, Dataset, DecodedFrames, MemoryFrames, open_dataset, split_clips
from lewm_cli.data.clips import ClipIndex

pytest_plugins = ("recordings",)

EPISODES = np.array([[10, 40], [60, 30], [100, 50]])
DRAWS = 40_000
LIKELY = 1e-3
"""With the seed of these tests every share has a larger p-value; a wrong share has one of practically 0."""


def drawn(goals: Goals, start: int, *, frames: int = 4, frameskip: int = 1, draws: int = DRAWS) -> np.ndarray:
    """Goals of a clip that starts at this row, drawn again and again."""
    index = ClipIndex(np.array([start]), frames, frameskip, EPISODES)
    return index.goals(goals, [0] * draws, np.random.default_rng(5))


def fits(found: np.ndarray, expected: dict[int, float]) -> bool:
    """Whether rows are drawn with these probabilities, which add up to 1."""
    assert set(found.tolist()) <= expected.keys()
    counts = [(found == row).sum() for row in expected]
    return bool(chisquare(counts, len(found) * np.array(list(expected.values()))).pvalue > LIKELY)


def only(kind: str) -> Goals:
    return Goals(**{"uniform": 0.0} | {kind: 1.0})


def test_goals_of_each_kind_are_where_they_belong():
    # The present of the clip at row 60 is row 62; its episode ends at row 89.
    later = range(63, 90)
    assert fits(drawn(only("uniform"), 60), dict.fromkeys(later, 1 / 27))
    near = {row: 0.99 ** (row - 63) * 0.01 for row in later}
    assert fits(drawn(only("geometric"), 60), near | {89: 0.99**26})  # beyond the end it is the last frame
    assert set(drawn(only("current"), 60).tolist()) == {62}
    rows = [row for first, length in EPISODES for row in range(first, first + length)]
    assert fits(drawn(only("random"), 60), dict.fromkeys(rows, 1 / 120))


def test_goals_keep_to_the_steps_of_a_model():
    # Frames at 60, 65, 70, 75: the present is 70, and 75, 80, 85 come after it.
    assert fits(drawn(only("uniform"), 60, frameskip=5), dict.fromkeys((75, 80, 85), 1 / 3))
    assert set(drawn(only("geometric"), 60, frameskip=5).tolist()) == {75, 80, 85}
    assert set(drawn(only("current"), 60, frames=2, frameskip=5).tolist()) == {60}


@pytest.mark.parametrize("goals", [Goals(), ValueGoals(), ActorGoals(), Goals(random=0.4, uniform=0.6, geometric=0)])
def test_kinds_are_drawn_as_often_as_their_shares_say(goals: Goals):
    present, end = 102, 149
    expected = dict.fromkeys((row for first, length in EPISODES for row in range(first, first + length)), 0.0)
    for row in expected:
        expected[row] += goals.random / 120
    expected[present] += goals.current
    for row in range(present + 1, end + 1):
        expected[row] += goals.uniform / 47
        expected[row] += goals.geometric * (0.99 ** (row - 103) * 0.01 if row < end else 0.99**46)
    assert fits(drawn(goals, 100), {row: share for row, share in expected.items() if share})


@given(
    lengths=st.lists(st.integers(12, 40), min_size=2, max_size=6),
    frames=st.integers(2, 4),
    frameskip=st.integers(1, 3),
    split=st.sampled_from(["episode", "clip"]),
)
def test_later_goals_are_of_the_same_episode_and_others_of_the_same_side(
    lengths: list[int], frames: int, frameskip: int, split: str
):
    offsets = np.cumsum(lengths) - np.array(lengths) + 3 * np.arange(len(lengths))  # three rows of nobody between
    dataset = _Bookkeeping(np.array(lengths), offsets)
    parts = split_clips(dataset, DataConfig(split=split, frameskip=frameskip, validation=0.3), frames, 1)
    for index, held_out in ((parts.train, False), (parts.held_out, True)):
        clips = list(range(len(index)))
        now = index.starts + (frames - 2) * frameskip
        own = np.searchsorted(offsets, now, side="right") - 1
        for kind in ("geometric", "uniform"):
            goals = index.goals(only(kind), clips, np.random.default_rng(2))
            assert (goals > now).all()
            assert ((goals - now) % frameskip == 0).all()
            assert (goals < offsets[own] + np.array(lengths)[own]).all()
        anywhere = index.goals(only("random"), clips, np.random.default_rng(2))
        episodes = np.searchsorted(offsets, anywhere, side="right") - 1
        assert (anywhere < offsets[episodes] + np.array(lengths)[episodes]).all()
        if split == "episode":
            assert (np.isin(episodes, parts.held_out_episodes) == held_out).all()


class _Bookkeeping(Dataset):
    """A recording of which nothing but the episodes is asked for."""

    def __init__(self, lengths: np.ndarray, offsets: np.ndarray) -> None:
        super().__init__(Path("x.h5"), "x", lengths, offsets, columns=(), task=None, policy=None, seed=None)

    def read(self, name: str, rows: np.ndarray | slice) -> np.ndarray:
        raise NotImplementedError


@pytest.fixture
def batches(robot: Path) -> ClipBatches:
    """Clips of a small recording, every frame of which is unlike all others."""
    dataset = open_dataset(robot / "robot" / "pick.h5", "robot/pick")
    index = split_clips(dataset, DataConfig(frameskip=2), 4, 0).train
    inputs = Inputs(task="generic", frameskip=2, actions=ActionStats.fit(dataset.actions))
    return ClipBatches(index, DecodedFrames(dataset, 20), dataset.actions, inputs)


def test_goals_come_with_their_clips_however_those_are_served(batches: ClipBatches):
    plain = list(islice(batches.stream(8, 3, 0, workers=0), 6))
    aimed = batches.toward(ValueGoals())
    expected = list(islice(aimed.stream(8, 3, 0, workers=0), 6))
    for clip, other in zip(plain, expected, strict=True):
        assert clip.goals is None
        assert (clip.pixels == other.pixels).all()  # the order of clips is the same
        assert (clip.blocks == other.blocks).all()
        assert other.goals.shape == (8, 20, 20, 3)
    kept = MemoryFrames.of(batches.frames, len(batches.actions), lambda done: None)
    assert {clip.goals[0].numpy().tobytes() for clip in expected} <= {frame.tobytes() for frame in kept.pixels}
    for frames, workers in ((batches.frames, 0), (batches.frames, 2), (kept, 2)):
        aimed.frames = frames
        with closing(aimed.stream(8, 3, 2, workers)) as stream:  # from a later step on: the same
            for clip, other in zip(islice(stream, 4), expected[2:], strict=True):
                assert all((ours == theirs).all() for ours, theirs in zip(clip.parts, other.parts, strict=True))
    again = next(aimed.stream(8, 4, 0, workers=0))
    assert not (again.goals == expected[0].goals).all()


def test_clips_that_are_asked_for_have_the_same_goals_each_time(batches: ClipBatches):
    aimed = batches.toward(ActorGoals())
    first, second = aimed[[3, 1, 4]], aimed[[3, 1, 4]]
    assert (first.goals == second.goals).all()
    assert not (first.goals == batches.toward(ValueGoals())[[3, 1, 4]].goals).all()


def test_shares_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match=r"must add up to 1, and 0.5 \+ 0 \+ 1 \+ 0 is 1.5; set all four"):
        Goals(random=0.5)
