"""Actions come to the frames that they were taken at, and gaps split episodes."""

import re
from itertools import pairwise
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lewm_cli.errors import LewmError
from lewm_cli.exchange.alignment import Segment, align
from lewm_cli.exchange.source import RawEpisode

Times = list[float]
Rows = list[tuple[list[int], list[int]]]


def episode(frame_times: Times | None, action_times: Times | None, actions: int = 0) -> RawEpisode:
    """An episode whose action k is (k, -k), so that an action tells its row."""
    rows = np.arange(len(action_times) if action_times is not None else actions, dtype=np.float64)
    return RawEpisode(
        frames=iter(()),
        actions=np.stack([rows, -rows], axis=1),
        frame_times=None if frame_times is None else np.array(frame_times),
        action_times=None if action_times is None else np.array(action_times),
        columns={"proprio": 10 * rows[:, None], "task_index": rows.astype(np.int64) // 2},
    )


def rows(segments: list[Segment]) -> Rows:
    """Numbers of the frames of every segment, and the rows of the actions of all but its last frame."""
    found = []
    for segment in segments:
        assert segment.frames.dtype == np.int64
        assert segment.actions.dtype == np.float32
        assert len(segment.frames) == len(segment.actions) >= 2
        assert np.isnan(segment.actions[-1]).all()
        known = segment.actions[:-1, 0]
        assert np.array_equal(segment.actions[:-1, 1], -known)
        assert np.array_equal(segment.columns["proprio"][:-1, 0], 10 * known)
        assert np.array_equal(segment.columns["task_index"][:-1], known.astype(int) // 2)
        assert len(segment.columns["task_index"]) == len(segment.columns["proprio"]) == len(segment.frames)
        found.append((segment.frames.tolist(), known.astype(int).tolist()))
    return found


def by_times(frame_times: Times, action_times: Times) -> Rows:
    return rows(align(len(frame_times), episode(frame_times, action_times)))


# By number


@pytest.mark.parametrize("actions", [5, 4])
def test_numbers_that_fit_need_no_times(actions: int):
    (segment,) = align(5, episode(None, None, actions))
    assert segment.frames.tolist() == [0, 1, 2, 3, 4]
    assert segment.actions[:actions, 0].tolist() == list(range(actions))
    assert np.isnan(segment.actions[actions:]).all()
    assert segment.columns["task_index"].tolist() == [0, 0, 1, 1, 2 if actions == 5 else 1]
    assert np.isnan(segment.columns["proprio"][-1, 0]) == (actions == 4)


def test_columns_may_have_a_row_for_every_frame():
    raw = RawEpisode(frames=iter(()), actions=np.zeros((3, 1)), columns={"proprio": np.arange(4.0)[:, None]})
    assert align(4, raw)[0].columns["proprio"][:, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("frames", "actions", "said"),
    [
        (10, 12, "there are 10 frames and 12 actions: as many are needed, or one action fewer; cut what is longer"),
        (10, 8, "10 frames and 8 actions"),
        (10, 30, "thin out what is recorded 3 times as often"),
        (10, 5, "thin out what is recorded 2 times as often, or give times of both"),
        (0, 3, "0 frames and 3 actions"),
    ],
)
@pytest.mark.parametrize("has_times", [False, True])
def test_numbers_that_do_not_fit(frames: int, actions: int, said: str, has_times: bool):
    times = [float(row) for row in range(actions)] if has_times else None  # of the actions alone
    with pytest.raises(LewmError, match=re.escape(said)):
        align(frames, episode(None, times, actions))


def test_column_of_another_length():
    raw = RawEpisode(frames=iter(()), actions=np.zeros((4, 1)), columns={"reward": np.zeros(9)})
    with pytest.raises(LewmError, match="reward has 9 rows, and there are 4 actions"):
        align(4, raw)


def test_single_frame_leads_nowhere():
    assert align(1, episode(None, None, 1)) == align(1, episode([0.0], [0.0])) == []


# By time


@pytest.mark.parametrize("late", [0.0, 0.4, -0.4])
def test_equal_rates_with_a_lag_below_half_a_period(late: float):
    given_at = [row + late for row in range(6)]
    assert by_times([0, 1, 2, 3, 4, 5], given_at) == [([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4])]


def test_stamps_may_jitter():
    random = np.random.default_rng(0)
    seen, commanded = (np.arange(200) / 30 + random.uniform(-0.007, 0.007, 200) for _ in range(2))
    assert by_times(seen.tolist(), commanded.tolist()) == [(list(range(200)), list(range(199)))]


def test_last_of_several_commands_before_the_next_frame():
    assert by_times([0, 3, 6, 9], [float(row) for row in range(10)]) == [([0, 1, 2, 3], [2, 5, 8])]


def test_command_is_held_until_the_next():
    assert by_times([float(row) for row in range(9)], [0, 3, 6]) == [(list(range(9)), [0, 0, 0, 1, 1, 1, 2, 2])]


def test_frames_before_the_first_and_after_the_last_action_are_cut():
    seen = [float(row) for row in range(10)]
    # Frame 7 is what the action of frame 6 led to.
    assert by_times(seen, [3, 4, 5, 6]) == [([3, 4, 5, 6, 7], [0, 1, 2, 3])]
    assert by_times([3, 4, 5], seen) == [([0, 1, 2], [3, 4])]


def test_actions_may_run_on_after_the_last_frame_and_begin_before_the_first():
    assert by_times([2, 3, 4], [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]) == [([0, 1, 2], [2, 3])]


def test_gap_between_frames_splits():
    assert by_times([0, 1, 2, 6, 7, 8], [float(row) for row in range(10)]) == [
        ([0, 1, 2], [0, 1]),
        ([3, 4, 5], [6, 7]),
    ]
    # One dropped frame is a gap, a late one is none.
    assert len(by_times([0, 1, 2, 4, 5, 6], [float(row) for row in range(7)])) == 2
    assert len(by_times([0, 1, 2, 3.5, 4, 5], [float(row) for row in range(6)])) == 1


def test_gap_between_actions_splits():
    assert by_times([float(row) for row in range(10)], [0, 1, 2, 6, 7, 8, 9]) == [
        ([0, 1, 2, 3], [0, 1, 2]),
        ([6, 7, 8, 9], [3, 4, 5]),
    ]


def test_pause_of_fast_commands_that_leaves_no_frame_without_one_is_no_gap():
    commanded = [row / 8 for row in range(40) if row not in (10, 11, 12)]
    assert len(by_times([float(row) for row in range(5)], commanded)) == 1


def test_frame_between_two_gaps_is_left_out():
    assert by_times([0, 1, 5, 9, 10, 11, 12], [float(row) for row in range(13)]) == [
        ([0, 1], [0]),
        ([3, 4, 5, 6], [9, 10, 11]),
    ]


@pytest.mark.parametrize(
    ("seen", "given_at", "said"),
    [
        ([0, 1, 1, 2], [0, 1, 2, 3], "frame 2 is at the same time as frame 1 (1.000000 s)"),
        ([0, 1, 2, 3], [0, 2, 1.5, 3], "action 2 is 0.5 s before action 1 (2.000000 s); sort the rows by time"),
        ([0, 1, float("nan"), 3], [0, 1, 2, 3], "frame 2 has no time"),
        ([0, 1, 2, 3], [0, 1, 2, float("inf")], "action 3 has no time"),
        (
            [0, 1, 2],
            [1.7e9, 1.7e9 + 1],
            "frames are from 0.000 to 2.000 s and actions from 1700000000.000 to 1700000001.000 s, and no action is at",
        ),
        ([100, 101], [0, 1, 2], "write both times by one clock"),
    ],
)
def test_times_that_cannot_be(seen: Times, given_at: Times, said: str):
    with pytest.raises(LewmError, match=re.escape(said)):
        by_times(seen, given_at)


def test_one_time_for_each():
    with pytest.raises(LewmError, match=r"there are 5 frames and 4 times of frames"):
        align(5, episode([0, 1, 2, 3], [0, 1, 2, 3]))


# In general

UNIT = 1 / 64  # sums of these are exact


@st.composite
def ascending(draw: st.DrawFn) -> Times:
    usual = draw(st.integers(4, 40))
    steps = draw(st.lists(st.one_of(st.just(usual), st.integers(1, 160)), min_size=1, max_size=25))
    first = draw(st.integers(-100, 400))
    return [(first + sum(steps[:number])) * UNIT for number in range(len(steps) + 1)]


def reference(seen: Times, given_at: Times) -> Rows:
    """The convention of the module, frame by frame."""

    def usual(times: Times) -> float:
        return median(after - before for before, after in pairwise(times))

    period, action_period = usual(seen), usual(given_at)
    jitter = min(period, action_period) / 2
    taken: list[int | None] = []
    for number, moment in enumerate(seen):
        after = seen[number + 1] if number + 1 < len(seen) else None
        following = after if after is not None and after - moment <= 1.5 * period else moment + period
        before = [row for row, at in enumerate(given_at) if at <= following - jitter]
        if not before:
            taken.append(None)
            continue
        row = before[-1]
        is_followed = row + 1 < len(given_at) and given_at[row + 1] - given_at[row] <= 1.5 * max(period, action_period)
        taken.append(row if is_followed or moment <= given_at[row] + action_period - jitter else None)
    found: Rows = []
    is_open = False
    for number in range(len(seen) - 1):
        row = taken[number]
        if row is None or seen[number + 1] - seen[number] > 1.5 * period:
            is_open = False
            continue
        if not is_open:
            found.append(([number], []))
            is_open = True
        found[-1][0].append(number + 1)
        found[-1][1].append(row)
    return found


def aligned(seen: Times, given_at: Times) -> Rows:
    try:
        return by_times(seen, given_at)
    except LewmError as error:
        if "no action is at any frame" not in str(error):
            raise
        return []


@given(ascending(), ascending())
def test_it_is_the_plain_reference(seen: Times, given_at: Times):
    assert aligned(seen, given_at) == reference(seen, given_at)


@given(ascending(), ascending())
def test_frames_ascend_and_no_command_is_taken_before_it_is_given(seen: Times, given_at: Times):
    found = aligned(seen, given_at)
    every = [number for frames, _ in found for number in frames]
    period = median(np.diff(seen))
    for frames, commands in found:
        assert np.array_equal(np.diff(frames), np.ones(len(frames) - 1))
        assert commands == sorted(commands)
        assert all(given_at[row] < seen[number] + period * 1.5 for number, row in zip(frames, commands, strict=False))
    assert every == sorted(every)


@given(ascending(), ascending(), st.integers(-(2**30), 2**30))
def test_a_shift_of_both_clocks_changes_nothing(seen: Times, given_at: Times, shift: int):
    moved = ([moment + shift for moment in times] for times in (seen, given_at))
    assert aligned(seen, given_at) == aligned(*moved)


@given(st.integers(2, 60), st.data())
def test_parts_are_aligned_as_the_whole(count: int, data: st.DataObject):
    """Cut at a frame that both parts have; rates are even, so that both parts have the same periods."""
    cut = data.draw(st.integers(1, count - 1))
    lag = data.draw(st.integers(-31, 31)) * UNIT
    seen = [float(number) for number in range(count + 1)]
    given_at = [number + lag for number in range(count)]
    ((frames, commands),) = by_times(seen, given_at)
    parts = [by_times(seen[: cut + 1], given_at), by_times(seen[cut:], given_at)]
    assert [row for part in parts for _, taken in part for row in taken] == commands
    assert parts[0][0][0][:-1] + [cut + number for number in parts[1][0][0]] == frames
