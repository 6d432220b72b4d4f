"""What keeps a robot safe: bounds, small steps, frames that are refused, and plans that come too late."""

import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import CancelledError
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lewm_cli
from lewm_cli.config import ActionBounds, ActionStats, Inputs, PlannerConfig
from lewm_cli.control import ActionLimits, Planner, Policy, RealTime
from lewm_cli.data import FrameAlarm, coarse
from lewm_cli.errors import LateError, LewmError, UnlikeError, UsageError
from lewm_cli.statistics import Rate
from lewm_cli.store import Home, Run, RunFiles, load_run, save_run
from places import PICK, QUICK

pytest_plugins = ("untrained",)
pytestmark = pytest.mark.filterwarnings("ignore:no alarm of")

PLANNER = PlannerConfig(**QUICK)
BOUNDS = ActionBounds(low=(-0.1,) * 7, high=(0.2,) * 7)

Bounded = Callable[..., Run]


@pytest.fixture
def bounded(home: Home, pick_run: Run) -> Bounded:
    """Gives the run of the robot these inputs too."""

    def build(**update: object) -> Run:
        inputs = pick_run.card.inputs.model_copy(update=update)
        save_run(RunFiles(home.run_stem(PICK)), pick_run.model, pick_run.card.model_copy(update={"inputs": inputs}))
        return load_run(home, PICK)

    return build


def taken(policy: Policy, frame: np.ndarray, count: int = 20) -> np.ndarray:
    """Actions (count, A) of a policy that sees the same frame again and again."""
    return np.stack([policy.act(frame) for _ in range(count)])


# Bounds


def test_actions_are_clipped_to_the_recorded_ones(bounded: Bounded, frames):
    run = bounded(bounds=BOUNDS)
    policy, free = Policy(run, frames[1], planner=PLANNER), Policy(run, frames[1], planner=PLANNER, clip=False)
    clipped, whole = taken(policy, frames[0], 10), taken(free, frames[0], 10)
    np.testing.assert_allclose(clipped, np.clip(whole, -0.1, 0.2), atol=1e-7)
    assert clipped.astype(float).min() >= -0.1  # which is not float32
    assert clipped.astype(float).max() <= 0.2
    assert policy.limited.actions == 10
    assert policy.limited.clipped == tuple((clipped != whole).sum(axis=0).tolist())
    assert sum(policy.limited.clipped) > 0
    assert free.limited.clipped == policy.limited.slowed == (0,) * 7
    assert "actions clipped to the recording" in repr(policy)
    assert "actions not clipped" in repr(free)
    policy.reset(frames[1])
    assert policy.limited.actions == 0


def test_action_space_of_a_task_comes_before_the_recorded_actions(home: Home, tworoom_run: Run, frames):
    policy = Policy(tworoom_run, frames[1], planner=PLANNER)
    assert (policy.limits.origin, policy.limits.high.tolist()) == ("the action space", [1, 1])


@pytest.mark.parametrize(("clip", "low", "high"), [((-0.5, 0.5), -0.5, 0.5), (([0.0] * 7, [np.inf] * 7), 0, np.inf)])
def test_own_bounds_are_taken(bounded: Bounded, frames, clip: object, low: float, high: float):
    actions = taken(Policy(bounded(bounds=BOUNDS), frames[1], planner=PLANNER, clip=clip), frames[0])
    assert actions.min() == low
    assert actions.max() == pytest.approx(high) if np.isfinite(high) else actions.max() > 1


def test_run_without_bounds_says_that_nothing_is_clipped(pick_run: Run, frames):
    with pytest.warns(UserWarning, match=r"robot/pick does not know the bounds of its actions, so none is clipped"):
        policy = Policy(pick_run, frames[1], planner=PLANNER)
    assert np.array_equal(
        taken(policy, frames[0]), taken(Policy(pick_run, frames[1], planner=PLANNER, clip=False), frames[0])
    )


# Steps


def test_actions_change_by_at_most_a_step(bounded: Bounded, frames):
    run, step = bounded(bounds=BOUNDS), [0.01 * (dim + 1) for dim in range(7)]
    policy = Policy(run, frames[1], planner=PLANNER, max_step=step)
    policy.reset(frames[1], action=np.zeros(7))
    actions = taken(policy, frames[0])
    changes = np.abs(np.diff(actions, axis=0, prepend=np.zeros((1, 7))))
    assert (changes <= np.array(step) + 1e-6).all()
    assert (changes.max(axis=0) >= np.array(step) - 1e-6).all()  # they would change by more
    assert all(policy.limited.slowed)


@pytest.mark.parametrize("again", [False, True])
def test_first_step_counts_from_an_action_that_has_to_be_told(
    bounded: Bounded, frames, monkeypatch: pytest.MonkeyPatch, again: bool
):
    policy = Policy(bounded(bounds=BOUNDS), frames[1], planner=PLANNER, max_step=[np.inf] * 6 + [0.1])
    if again:
        policy.reset(frames[1], action=np.zeros(7))
        policy.act(frames[0])
        policy.reset(frames[1])
    monkeypatch.setattr(Planner, "plan", None)
    with pytest.raises(UsageError, match=r"which that was: policy\.reset\(goal, action=\.\.\.\)"):
        policy.act(frames[0])
    assert policy.limited.actions == policy.left == 0


def limits(width: int = 2, **given: object) -> ActionLimits:
    stats = ActionStats(mean=(0.0,) * width, std=(1.0,) * width)
    return ActionLimits.of(
        Inputs(task="generic", frameskip=1, actions=stats), **{"clip": True, "max_step": None} | given
    )


numbers = st.floats(-100, 100, width=32)


@given(st.tuples(numbers, numbers), st.tuples(numbers, numbers), st.floats(0.125, 50, width=32))
def test_limited_action_is_within_reach(action: tuple, before: tuple, step: float):
    limited = limits(clip=(-10, 10), max_step=step).apply(np.array(action, np.float32), np.array(before, np.float32))
    far = np.abs(limited.action - np.array(before, np.float32))
    assert (far <= step * (1 + 1e-5) + 1e-4).all()
    inside = np.abs(before) <= 10
    assert (np.abs(limited.action[inside]) <= 10).all()
    returning = np.abs(before) > 10
    assert (np.abs(limited.action[returning]) <= np.abs(np.array(before))[returning]).all()


@given(st.floats(-4, 4), st.floats(-4, 4), numbers)
def test_bounds_hold_for_whoever_compares_them_as_they_were_given(one: float, other: float, action: float):
    low, high = sorted((one, other))
    sent = limits(width=1, clip=(low, high)).apply(np.array([action], np.float32), None).action
    assert sent.dtype == np.float32
    nearest = {float(np.float32(low)), float(np.float32(high))}  # all that is left where no float32 lies between
    assert low <= float(sent[0]) <= high or (high - low < 1e-6 and float(sent[0]) in nearest)


def test_dimension_that_never_changed_stays():
    sent = limits(clip=([0.1, -1.0], [0.1, 1.0])).apply(np.array([5.0, 0.5], np.float32), None)
    assert sent.action.tolist() == [np.float32(0.1), 0.5]
    assert sent.clipped.tolist() == [True, False]
    tenth, apart = float(np.float32(0.1)), float(np.spacing(np.float32(0.1)))
    only = limits(width=1, clip=(tenth + 0.2 * apart, tenth + 1.2 * apart)).apply(np.zeros(1, np.float32), None)
    assert float(only.action[0]) == tenth + apart  # the one float32 between


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_step": [1.0, 2.0, 3.0]}, "max_step has the shape (3,), and the run takes 2 action dimensions"),
        ({"max_step": 0.0}, "max_step is [0, 0], and a change is limited by positive numbers"),
        ({"max_step": [1.0, -1.0]}, "max_step is [1, -1]"),
        ({"max_step": np.nan}, "max_step holds NaN"),
        ({"max_step": "fast"}, "max_step cannot be read as numbers"),
        ({"clip": (np.inf, np.inf)}, "clip goes from [inf, inf] to [inf, inf], and no action lies there"),
        ({"clip": (-np.inf, -np.inf)}, "clip goes from [-inf, -inf] to [-inf, -inf], and no action lies there"),
        ({"clip": (1.0, -1.0)}, "clip goes from [1, 1] to [-1, -1]; give the lowest action first"),
        ({"clip": ([0.0] * 3, 1.0)}, "the low of clip has the shape (3,), and the run takes 2 action dimensions"),
        ({"clip": (0.0, np.nan)}, "the high of clip holds NaN"),
        ({"clip": 1.0}, "clip takes True, False, or the lowest and the highest action"),
        ({"clip": (1, 2, 3)}, "clip takes True, False, or the lowest and the highest action"),
    ],
)
def test_limits_that_mean_nothing_are_refused(given: dict, said: str):
    with pytest.raises(UsageError, match=re.escape(said)):
        limits(**given)


@pytest.mark.parametrize("action", [[0.0] * 6, [np.nan] * 7, [np.inf] * 7, 0.0])
def test_action_before_that_is_none_is_refused_and_nothing_changes(bounded: Bounded, frames, action: object):
    policy = Policy(bounded(bounds=BOUNDS), frames[1], planner=PLANNER)
    first = policy.act(frames[0])
    with pytest.raises(UsageError, match="the action"):
        policy.reset(frames[0], action=action)
    assert not np.array_equal(first, policy.act(frames[0]))
    assert policy.limited.actions == 2


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_action_that_is_not_finite_never_leaves(bounded: Bounded, frames, number: float):
    policy = Policy(bounded(bounds=BOUNDS), frames[1], planner=PLANNER)
    actions = np.zeros((4, 7), np.float32)
    actions[2, 6] = number
    with pytest.raises(LewmError, match=r"the next action is \[.*\], which no robot can take"):
        policy.follow(actions)
    assert policy.left == 0  # what comes before it either


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seconds": 0}, "seconds is 0"),
        ({"seconds": np.nan}, "seconds is nan"),
        ({"tolerance": 0}, "tolerance is 0, and thresholds are multiplied by it"),
        ({"on_unlike": "hold"}, "on_unlike is 'hold'; give 'raise' or 'ignore'"),
    ],
)
def test_choices_that_mean_nothing_are_refused(tworoom_run: Run, frames, given: dict, said: str):
    with pytest.raises(UsageError, match=re.escape(said)):
        lewm_cli.Policy(tworoom_run, frames[1], **given)


# Frames that are unlike the recorded ones


@pytest.fixture
def alarm(frames) -> FrameAlarm:
    """What is calibrated on the two frames of TwoRoom."""
    seen = coarse(np.stack(frames), 64)
    return FrameAlarm.of(64, seen.min(axis=0), seen.max(axis=0), 0.5, Rate.of(np.array([False]), np.array([0])))


def test_unlike_frame_gives_no_action_and_drops_the_plan(tworoom_run: Run, frames, alarm: FrameAlarm):
    policy, other = (Policy(tworoom_run, frames[1], planner=PLANNER, alarm=alarm) for _ in range(2))
    assert np.array_equal(policy.act(frames[0]), other.act(frames[0]))
    with pytest.raises(UnlikeError, match="the goal is unlike"):
        policy.reset(frames[0] // 2)
    assert np.array_equal(policy.act(frames[0]), other.act(frames[0]))
    for strange in (frames[0] // 2, frames[0][:, :, ::-1], 255 - frames[0]):
        with pytest.raises(UnlikeError, match="the frame is unlike the frames of the recording: its score") as refused:
            policy.act(strange)
        assert refused.value.score > refused.value.threshold == 0.5
        assert policy.left == 0
    assert np.isfinite(policy.act(frames[0])).all()
    assert policy.left == 24  # of a new plan
    assert policy.limited.actions == 3
    assert "frames checked" in repr(policy)
    darker = frames[0] // 32 * 31
    with pytest.raises(UnlikeError) as refused:
        policy.act(darker)
    bearing = Policy(tworoom_run, frames[1], planner=PLANNER, alarm=alarm, tolerance=refused.value.score / 0.5 + 0.01)
    assert np.isfinite(bearing.act(darker)).all()
    ignoring = Policy(tworoom_run, frames[1], planner=PLANNER, alarm=alarm, on_unlike="ignore")
    assert np.isfinite(ignoring.act(frames[0] // 2)).all()


def test_score_is_how_far_pixels_lie_outside(frames, alarm: FrameAlarm):
    assert alarm.score(frames[0]) == alarm.score(frames[1]) == 0
    brighter = np.minimum(frames[0].astype(int) + 3, 255).astype(np.uint8)
    assert 0 < alarm.score(brighter) <= 3
    assert alarm.score(255 - frames[0]) > 50
    again = FrameAlarm.model_validate_json(alarm.model_dump_json())
    assert again.score(brighter) == alarm.score(brighter)


def test_run_without_an_alarm_says_that_nothing_is_checked(tworoom_run: Run, frames):
    with pytest.warns(UserWarning, match=r"no alarm of tworoom/lewm is calibrated.*lewm surprise RECORDING --run"):
        policy = lewm_cli.Policy(tworoom_run, frames[1], planner=PLANNER)
    assert np.isfinite(policy.act(frames[0] // 2)).all()


# Plans that come too late


def test_late_plan_is_given_up_and_the_next_call_plans_anew(tworoom_run: Run, frames, monkeypatch: pytest.MonkeyPatch):
    plan, stuck, ended = Planner.plan, Event(), Event()

    def stalled(self: Planner, episodes, starts, cancelled):
        try:
            assert stuck.wait(60)
            return plan(self, episodes, starts, cancelled)
        except CancelledError:
            ended.set()
            raise

    policy = Policy(tworoom_run, frames[1], planner=PLANNER, seconds=0.01)
    with monkeypatch.context() as patched:
        patched.setattr(Planner, "plan", stalled)
        with pytest.raises(LateError, match=r"no plan came within 0\.01 seconds"):
            policy.act(frames[0])
        stuck.set()
        assert ended.wait(60)  # the search stops: nobody wants its plan
    assert policy.left == 0
    policy.seconds = 60.0
    assert np.isfinite(policy.act(frames[0])).all()
    assert policy.left == 24


def test_plan_after_one_that_was_given_up_draws_others_and_always_the_same(tworoom_run: Run, frames):
    first, second, third = (Policy(tworoom_run, frames[1], planner=PLANNER) for _ in range(3))
    for policy in (second, third):
        policy.drop()
    actions = [taken(policy, frames[0], 5) for policy in (first, second, third)]
    assert np.array_equal(actions[1], actions[2])
    assert not np.allclose(actions[0], actions[1], atol=1e-3)


def test_time_that_a_plan_is_allowed_does_not_change_it(tworoom_run: Run, frames):
    hurried, other = (Policy(tworoom_run, frames[1], planner=PLANNER, seconds=seconds) for seconds in (60.0, None))
    assert np.array_equal(taken(hurried, frames[0], 30), taken(other, frames[0], 30))


def test_error_of_a_plan_in_a_thread_is_the_callers(tworoom_run: Run, frames, monkeypatch: pytest.MonkeyPatch):
    def broken(*given: object) -> None:
        raise LewmError("no candidate costs a finite number")

    monkeypatch.setattr(Planner, "plan", broken)
    with pytest.raises(LewmError, match="no candidate costs"):
        Policy(tworoom_run, frames[1], planner=PLANNER, seconds=60.0).act(frames[0])


def test_ctrl_c_while_a_plan_is_waited_for_gives_it_up(tworoom_run: Run, frames, monkeypatch: pytest.MonkeyPatch):
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    works, policy = [], Policy(tworoom_run, frames[1], planner=PLANNER, seconds=60.0)
    with monkeypatch.context() as patched:
        waiting = SimpleNamespace(result=interrupted)
        patched.setattr(RealTime, "start", lambda self, work: works.append(work) or waiting)
        with pytest.raises(KeyboardInterrupt):
            policy.act(frames[0])
    with pytest.raises(CancelledError):
        works[0]()
    assert np.isfinite(policy.act(frames[0])).all()


def test_work_that_is_left_ends_before_the_program_does():
    script = """if True:
        import time
        from lewm_cli.control.real_time import RealTime
        RealTime().start(lambda: (time.sleep(0.3), print("it ended")))
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "it ended\n", "")
