"""A loop at a fixed rate: actions come on time, plans begin where others end, and the robot holds when in doubt."""

import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

import lewm_cli
from lewm_cli.config import PlannerConfig
from lewm_cli.control import (
    Clipped,
    ControlLoop,
    Drive,
    Held,
    Late,
    LoopEvent,
    Observation,
    Overrun,
    Planned,
    Planner,
    Policy,
    RealTime,
    Unlike,
)
from lewm_cli.data import FrameAlarm, coarse
from lewm_cli.errors import LateError, LewmError, UnlikeError, UsageError
from lewm_cli.statistics import Rate
from lewm_cli.store import Home, Run
from lewm_cli.tasks.tworoom.simulator import TwoRoomSimulator
from places import GOAL, PICK, QUICK, START
from toy_policy import ToyPolicy, ToySizes

pytest_plugins = ("untrained",)

PAGE = Path(__file__).parents[2] / "docs" / "robot.md"
RATE = 10
PLANNER = PlannerConfig(**QUICK, receding=2)
BLOCK = 5
"""Actions in a model step."""


class FakeTime(RealTime):
    """A clock that only moves when it is slept on; plans take as long as they are told to, the last time for ever."""

    def __init__(self, takes: float | list[float] = 0.25) -> None:
        self.moment, self._takes = 0.0, deque(np.atleast_1d(takes).tolist())
        self._running: list[tuple[float, Future[Any], Any]] = []

    def now(self) -> float:
        return self.moment

    def sleep_until(self, moment: float) -> None:
        self.moment = max(moment, self.moment)
        for due, future, found in [one for one in self._running if one[0] <= self.moment + 1e-9]:
            future.set_exception(found) if isinstance(found, Exception) else future.set_result(found)
            self._running.remove((due, future, found))

    def start(self, work: Callable[[], Any]) -> Future[Any]:
        found: Any
        try:
            found = work()
        except LewmError as error:
            found = error
        takes = self._takes.popleft() if len(self._takes) > 1 else self._takes[0]
        self._running.append((self.moment + takes, future := Future(), found))
        return future


@dataclass
class Arm:
    """The simulator of TwoRoom as a robot that remembers what was asked of it, and when."""

    simulator: TwoRoomSimulator
    time: RealTime
    sent: list[tuple[float, np.ndarray]] = field(default_factory=list)
    held: list[float] = field(default_factory=list)
    looks: list[tuple[float, np.ndarray]] = field(default_factory=list)
    disconnected: int = 0

    def observe(self) -> np.ndarray:
        self.looks.append((self.time.now(), self.simulator.frame()))
        return self.looks[-1][1]

    def send(self, action: np.ndarray) -> None:
        self.simulator.step(action)
        self.sent.append((self.time.now(), action))

    def hold(self) -> None:
        self.held.append(self.time.now())

    def disconnect(self) -> None:
        self.disconnected += 1

    @property
    def ticks(self) -> list[int]:
        """The ticks at which an action was sent."""
        return [round(moment * RATE) for moment, _ in self.sent]


@dataclass
class Scene:
    """A loop on a fake clock, with all that happens in it."""

    policy: Policy
    arm: Arm
    loop: ControlLoop
    events: list[LoopEvent]

    def all(self, kind: type[LoopEvent]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    def ticks(self, kind: type[LoopEvent]) -> list[int]:
        return [round(event.seconds * RATE) for event in self.all(kind)]


Staged = Callable[..., Scene]


@pytest.fixture
def stage(tworoom_run: Run, tworoom: TwoRoomSimulator) -> Staged:
    """Sets up TwoRoom, a run that was never trained, and a loop."""

    def build(
        takes: float | list[float] = 0.25,
        *,
        planner: PlannerConfig | None = PLANNER,
        run: Run = tworoom_run,
        arm: type[Arm] = Arm,
        time: RealTime | None = None,
        policy: dict[str, Any] | None = None,
        **given: Any,
    ) -> Scene:
        tworoom.begin(START, GOAL)
        made = Policy(run, tworoom.goal_frame(), planner=planner, seed=7, **(policy or {}))
        time, events = time or FakeTime(takes), list[LoopEvent]()
        robot = arm(tworoom, time)
        loop = ControlLoop(made, robot, **({"rate": RATE} | given), on_event=events.append, time=time)
        return Scene(made, robot, loop, events)

    return build


# Time


def test_actions_are_sent_at_every_tick_once_the_first_plan_is_there(stage: Staged):
    scene = stage(takes=0.25)
    drive = scene.loop.run(40)
    assert (drive.ended, drive.steps, drive.plans, drive.late, drive.overruns) == ("steps", 40, 4, 0, 0)
    assert scene.arm.ticks == list(range(3, 43))  # 0.25 s are three ticks
    assert drive.held == 3
    assert [event.why for event in scene.all(Held)] == ["planning", "end"]
    assert scene.arm.held == pytest.approx([0.0, 0.1, 0.2, 4.3])
    assert [event.ahead for event in scene.all(Planned)] == [0, 1, 1, 1]
    assert all(event.took == pytest.approx(0.3) for event in scene.all(Planned))  # seen at the next tick
    assert scene.arm.disconnected == 0


def test_rate_is_that_of_the_recording_if_none_is_given(stage: Staged, tworoom_run: Run):
    inputs = tworoom_run.card.inputs.model_copy(update={"fps": 20.0})
    run = replace(tworoom_run, card=tworoom_run.card.model_copy(update={"inputs": inputs}))
    scene = stage(run=run, rate=None)
    assert scene.loop.run(10).seconds == pytest.approx((5 + 10) / 20)
    assert np.allclose(np.diff([moment for moment, _ in scene.arm.sent]), 1 / 20)


def test_what_one_tick_takes_too_long_is_not_added_to_the_next(stage: Staged):
    class Slow(Arm):
        def send(self, action: np.ndarray) -> None:
            super().send(action)
            self.time.moment += {4: 0.12, 9: 0.37, 12: 0.05}.get(len(self.sent), 0.0)  # the last is in time

    scene = stage(takes=0.05, arm=Slow)
    drive = scene.loop.run(20)
    sent = [moment * RATE for moment, _ in scene.arm.sent]
    assert np.allclose(sent, np.round(sent))  # all on the grid
    assert min(np.diff(sent)) == pytest.approx(1)
    assert max(np.diff(sent)) == pytest.approx(5)
    assert drive.overruns == len(scene.all(Overrun)) == 2
    assert [event.late for event in scene.all(Overrun)] == pytest.approx([0.02, 0.27])


def test_first_plan_is_that_of_the_policy(stage: Staged, tworoom_run: Run, tworoom: TwoRoomSimulator):
    scene = stage()
    scene.loop.run(10)
    policy = Policy(tworoom_run, tworoom.goal_frame(), planner=PLANNER, seed=7)
    expected = [policy.act(scene.arm.looks[0][1]) for _ in range(10)]
    np.testing.assert_allclose([action for _, action in scene.arm.sent], expected, atol=1e-6)


# Plans beside the robot


@pytest.mark.parametrize("ahead", [1, 2])
def test_next_plan_begins_where_the_actions_that_are_left_lead_to(
    stage: Staged, tworoom_run: Run, monkeypatch: pytest.MonkeyPatch, ahead: int
):
    plan, starts = Planner.plan, list[torch.Tensor]()

    def spied(self: Planner, episodes: Any, latents: torch.Tensor, cancelled: Any) -> Any:
        starts.append(latents[0])
        return plan(self, episodes, latents, cancelled)

    monkeypatch.setattr(Planner, "plan", spied)
    scene = stage(takes=0.05, ahead=ahead)
    scene.loop.run(30)
    sent = np.stack([action for _, action in scene.arm.sent])
    looks = {round(moment * RATE) - 1: frame for moment, frame in scene.arm.looks}  # by the actions sent before
    begun = [10 - ahead * BLOCK, 20 - ahead * BLOCK]
    planner = Planner(tworoom_run, PLANNER)
    for start, row in zip(starts[1:], begun, strict=False):
        latent = planner.embed([Observation(looks[row])])[0]
        torch.testing.assert_close(
            start, planner.imagine(latent, sent[row : row + ahead * BLOCK]), atol=1e-4, rtol=1e-4
        )
        assert not torch.allclose(start, latent, atol=1e-3)
    assert [event.ahead for event in scene.all(Planned)] == [0, ahead, ahead]


@pytest.mark.parametrize(("takes", "ahead"), [(0.3, 1), (0.55, 2), (0.9, 3), (60.0, 5)])
def test_plans_are_begun_as_early_as_they_take_long(stage: Staged, takes: float, ahead: int):
    scene = stage(takes, planner=PlannerConfig(**QUICK), patience=100)
    drive = scene.loop.run(51)
    assert [event.ahead for event in scene.all(Planned)][1] == ahead
    assert drive.late == (2 if takes > 2.5 else 0)


def test_robot_holds_until_a_late_plan_comes_and_then_follows_all_of_it(stage: Staged):
    scene = stage([0.05, 0.95, 0.05], ahead=1)
    drive = scene.loop.run(30)
    assert (drive.steps, drive.late, drive.plans) == (30, 1, 3)
    late, gap = scene.ticks(Late), np.flatnonzero(np.diff(scene.arm.ticks) > 1)
    assert gap.tolist() == [9]
    assert late == [11]  # begun at tick 6, there at tick 16
    assert scene.arm.ticks[9:11] == [10, 16]
    assert [event.why for event in scene.all(Held)] == ["planning", "late", "end"]
    on_time = stage(0.05, ahead=1)
    on_time.loop.run(20)
    np.testing.assert_allclose(
        [action for _, action in scene.arm.sent[:20]], [action for _, action in on_time.arm.sent], atol=1e-5
    )


def test_plan_that_has_had_its_time_is_given_up_and_another_begun_from_what_is_seen(stage: Staged):
    scene = stage([0.05, 30.0, 0.05], ahead=1, policy={"seconds": 1.0})
    drive = scene.loop.run(20)
    assert [event.given_up for event in scene.all(Late)] == [False, True]
    assert drive.steps == 20
    assert scene.arm.ticks[9:11] == [10, 19]  # begun at tick 6, given up after 1 s, begun again, there a tick later
    assert [event.ahead for event in scene.all(Planned)] == [0, 0]


def test_plan_that_never_comes_ends_the_loop(stage: Staged):
    scene = stage(1e9, patience=2.0)
    with pytest.raises(LateError, match=r"no plan came within 2\.1 seconds"):
        scene.loop.run(20)
    assert scene.arm.sent == []
    assert scene.arm.disconnected == 0
    assert scene.arm.held[-1] == pytest.approx(2.1)


def test_error_of_a_plan_ends_the_loop(stage: Staged, monkeypatch: pytest.MonkeyPatch):
    def broken(*given: object) -> None:
        raise LewmError("no candidate costs a finite number")

    scene = stage()
    monkeypatch.setattr(Planner, "plan", broken)
    with pytest.raises(LewmError, match="no candidate costs"):
        scene.loop.run(20)
    assert scene.arm.held


def test_policy_that_plans_nothing_acts_within_the_tick(stage: Staged, tworoom_run: Run):
    torch.manual_seed(0)
    run = replace(tworoom_run, model=ToyPolicy(ToySizes(image_size=64), block_dim=10).eval())
    scene = stage(planner=None, run=run)
    drive = scene.loop.run(12)
    assert scene.arm.ticks == list(range(12))
    assert (drive.plans, drive.held, drive.distance) == (3, 0, None)
    with pytest.raises(UsageError, match="is a policy, which knows no distance; give steps"):
        scene.loop.run(distance=1.0)
    with pytest.raises(UsageError, match=r"ahead is 1, and tworoom/lewm can be planned with 0"):
        stage(planner=None, run=run, ahead=1)


# When it ends, and when it holds


def test_loop_ends_near_the_goal(stage: Staged):
    scene = stage()
    begun = scene.policy.distance(scene.arm.simulator.frame())
    drive = scene.loop.run(100, distance=begun * 1.01)
    assert (drive.ended, drive.steps) == ("distance", 0)
    assert drive.distance == pytest.approx(begun, rel=1e-5)
    scene = stage()
    assert scene.loop.run(7, distance=0.0).ended == "steps"
    assert len(scene.arm.sent) == 7


@pytest.fixture
def alarm(tworoom: TwoRoomSimulator) -> FrameAlarm:
    """Takes all frames of TwoRoom for like, and any that is dark for unlike."""
    tworoom.begin(START, GOAL)
    seen = coarse(tworoom.frame()[None], 64)[0]
    return FrameAlarm.of(64, seen // 4 * 3, np.full_like(seen, 255), 20.0, Rate.of(np.array([False]), np.array([0])))


def test_unlike_frames_hold_the_robot_and_a_new_plan_follows(stage: Staged, alarm: FrameAlarm):
    class Covered(Arm):
        def observe(self) -> np.ndarray:
            frame = super().observe()
            return frame // 8 if 1.3 < self.time.now() < 1.85 else frame

    scene = stage(0.05, arm=Covered, policy={"alarm": alarm})
    drive = scene.loop.run(30)
    assert drive.steps == 30
    assert scene.ticks(Unlike) == [16, 17, 18]  # looked at once per model step, then at every tick
    assert drive.unlike == 3
    assert [event.why for event in scene.all(Held)] == ["planning", "unlike", "end"]
    assert scene.arm.ticks[14:16] == [15, 20]  # seen again at 19, planned for by 20
    assert all(event.score > event.threshold == 20.0 for event in scene.all(Unlike))


def test_frames_that_stay_unlike_end_the_loop(stage: Staged, alarm: FrameAlarm):
    class Dark(Arm):
        def observe(self) -> np.ndarray:
            return super().observe() // 8

    scene = stage(arm=Dark, policy={"alarm": alarm}, patience=1.0)
    with pytest.raises(UnlikeError):
        scene.loop.run(30)
    assert scene.arm.sent == []
    assert len(scene.arm.looks) == 12


@pytest.mark.parametrize("failing", ["observe", "send", "hold"])
def test_robot_that_fails_is_held_and_disconnected(stage: Staged, failing: str):
    class Failing(Arm):
        pass

    def fail(self: Arm, *given: object) -> None:
        raise ConnectionError("the bus does not answer")

    setattr(Failing, failing, fail)
    scene = stage(arm=Failing)
    with pytest.raises(ConnectionError, match="the bus does not answer"):
        scene.loop.run(30)
    assert scene.arm.disconnected == 1
    assert bool(scene.arm.held) is (failing != "hold")
    assert scene.policy.left == 0


def test_ctrl_c_holds_the_robot_and_goes_on(stage: Staged):
    class Interrupted(Arm):
        def send(self, action: np.ndarray) -> None:
            super().send(action)
            if len(self.sent) == 8:
                raise KeyboardInterrupt

    scene = stage(arm=Interrupted)
    with pytest.raises(KeyboardInterrupt):
        scene.loop.run(30)
    assert scene.arm.held[-1] >= scene.arm.sent[-1][0]
    assert len(scene.arm.sent) == 8
    assert scene.arm.disconnected == 0
    assert scene.policy.left == 0


def test_limited_actions_are_told(stage: Staged):
    scene = stage(policy={"clip": (-0.01, 0.01), "max_step": [10.0, 0.005]})
    scene.policy.reset(scene.arm.simulator.goal_frame(), action=[0.0, 0.01])
    drive = scene.loop.run(10)
    events = scene.all(Clipped)
    assert drive.clipped == len(events) == 10
    assert any(1 in event.slowed for event in events)
    assert all(0 not in event.slowed for event in events)
    assert {dim for event in events for dim in event.clipped} == {0, 1}
    sent = np.stack([action for _, action in scene.arm.sent])
    assert np.abs(sent).max() <= np.float32(0.01)
    assert np.abs(np.diff(sent[:, 1], prepend=0.01)).max() <= 0.0051


# Goals that change, and loops that run again


@pytest.mark.parametrize(("when", "changed"), [(Planned, 10), (Clipped, 8)])
def test_plan_for_a_goal_of_before_is_never_followed(
    stage: Staged, tworoom_run: Run, when: type[LoopEvent], changed: int
):
    scene = stage([0.05, 0.05, 0.45, 0.05], policy={"clip": (-0.05, 0.05)}, ahead=1)
    start = scene.arm.simulator.frame()

    def change(event: LoopEvent) -> None:  # while the next plan is being made, or just found
        scene.events.append(event)
        if type(event) is when and event.step == changed and scene.policy.dropped == 1:
            scene.policy.reset(start)

    scene.loop.on_event = change
    drive = scene.loop.run(30)
    assert drive.steps == 30
    seen = [frame for moment, frame in scene.arm.looks if moment < scene.arm.sent[changed][0] - 0.15 / RATE]
    policy = Policy(tworoom_run, start, planner=PLANNER, seed=7, clip=(-0.05, 0.05))
    expected = [policy.act(seen[-1]) for _ in range(10)]
    sent = [action for _, action in scene.arm.sent[changed : changed + 10]]
    np.testing.assert_allclose(sent, expected, atol=1e-6)


def test_plan_that_is_there_is_dropped_by_a_reset_while_the_robot_is_looked_at(stage: Staged):
    class Asking(Arm):
        def observe(self) -> np.ndarray:
            if len(self.sent) == 10:
                reset()
            return super().observe()

    scene = stage(0.05, arm=Asking, ahead=1)

    def reset() -> None:
        if scene.policy.dropped == 1:
            scene.policy.reset(scene.arm.looks[0][1])

    drive = scene.loop.run(20)
    assert (drive.plans, drive.held) == (2, 2)  # of three that were made
    assert scene.arm.ticks[9:11] == [10, 12]


def test_loop_that_runs_again_makes_a_plan_of_its_own(stage: Staged):
    scene = stage(takes=0.05)
    scene.loop.run(7)
    assert scene.policy.left == 0
    scene.policy.act(scene.arm.simulator.frame())
    assert scene.policy.left == 9
    drive = scene.loop.run(12)
    assert (drive.steps, drive.plans, drive.held) == (12, 2, 1)
    assert len(scene.arm.sent) == 19


def test_robot_that_cannot_hold_after_ctrl_c_is_disconnected(stage: Staged):
    class Interrupted(Arm):
        def send(self, action: np.ndarray) -> None:
            raise KeyboardInterrupt

        def hold(self) -> None:
            if self.looks[1:]:  # the loop has begun to drive
                raise ConnectionError("half a packet was sent")

    scene = stage(arm=Interrupted)
    with pytest.raises(KeyboardInterrupt):
        scene.loop.run(30)
    assert scene.arm.disconnected == 1


def test_time_of_a_plan_is_known_even_if_its_thread_has_not_said_it(stage: Staged):
    class Silent(Future[Any]):
        def add_done_callback(self, called: Callable[..., Any]) -> None:
            pass

    class SilentTime(FakeTime):
        def start(self, work: Callable[[], Any]) -> Future[Any]:
            super().start(work)
            due, _, found = self._running.pop()
            self._running.append((due, future := Silent(), found))
            return future

    scene = stage(time=SilentTime(0.25))
    scene.loop.run(12)
    assert all(event.took > 0.25 for event in scene.all(Planned))


# What it is given


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rate": None}, "does not say how many rows per second it has; give the rate of the actions"),
        ({"rate": 0}, "rate is 0; give the number of actions per second"),
        ({"rate": np.nan}, "rate is nan"),
        ({"rate": np.inf}, "rate is inf"),
        ({"ahead": 3}, "ahead is 3, and tworoom/lewm can be planned with 1 to 2, the planner's receding"),
        ({"ahead": 0}, "ahead is 0"),
        ({"patience": -1}, "patience is -1"),
    ],
)
def test_choices_that_mean_nothing_are_refused(stage: Staged, given: dict, said: str):
    with pytest.raises(UsageError, match=re.escape(said)):
        stage(**given)


def test_no_step_at_all_is_refused(stage: Staged):
    scene = stage()
    with pytest.raises(UsageError, match="steps is 0; give at least 1"):
        scene.loop.run(0)
    with pytest.raises(UsageError, match="distance is nan; give a latent cost"):
        scene.loop.run(5, distance=np.nan)
    assert scene.arm.looks == []
    assert scene.loop.run(2.5).steps == 3


def test_frames_of_another_camera_end_the_loop_before_anything_moves(stage: Staged):
    class Wide(Arm):
        def observe(self) -> np.ndarray:
            return np.zeros((48, 64, 3), np.uint8)

    scene = stage(arm=Wide)
    with pytest.raises(LewmError, match="the frame is 64 x 48 pixels, and frames are square"):
        scene.loop.run(5)
    assert scene.arm.sent == []
    assert len(scene.arm.held) == 1


# The page, and real time


def test_loop_of_the_page_drives_a_robot(
    home: Home,
    pick_run: Run,
    tworoom_run: Run,
    tworoom: TwoRoomSimulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    robot, loop = blocks[2], blocks[3].replace("steps=200", "steps=20").replace("robot/lewm", PICK)
    home.run_stem(PICK).with_suffix(".safetensors").write_bytes(tworoom_run.files.weights.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lewm_cli.control.control_loop.RealTime", FakeTime)
    tworoom.begin(START, GOAL)
    imageio.imwrite("goal.png", tworoom.goal_frame())
    taken = list[np.ndarray]()

    def move(action: np.ndarray) -> None:
        taken.append(action)
        tworoom.step(action)

    arm = SimpleNamespace(move_to=move, position=lambda: np.zeros(2, np.float32))
    page: dict[str, Any] = {"camera": SimpleNamespace(read=tworoom.frame), "arm": arm}
    exec(robot, page)
    exec(loop, page)
    assert (page["drive"].ended, page["drive"].steps) == ("steps", 20)
    assert len(taken) == 20 + page["drive"].held + 1


@pytest.mark.filterwarnings("ignore:no alarm of")
def test_real_clock_drives_the_simulator(tworoom_run: Run, tworoom: TwoRoomSimulator):
    tworoom.begin(START, GOAL)
    policy = lewm_cli.Policy(tworoom_run, tworoom.goal_frame(), planner=PLANNER, seconds=60.0)
    arm = Arm(tworoom, RealTime())
    drive = lewm_cli.ControlLoop(policy, arm, 50, patience=60.0).run(30)
    assert isinstance(drive, Drive)
    assert (drive.ended, drive.steps, len(arm.sent)) == ("steps", 30, 30)
    assert drive.plans == 3
    assert np.isfinite(np.stack([action for _, action in arm.sent])).all()


def test_program_ends_well_in_the_middle_of_a_plan():
    program = """
import torch
from lewm_cli.control.real_time import RealTime

def work():
    numbers = torch.ones(300, 300)
    for _ in range(300):
        numbers = torch.nn.functional.normalize(numbers @ numbers)
    print("planned")

RealTime().start(work)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "planned\n", "")
