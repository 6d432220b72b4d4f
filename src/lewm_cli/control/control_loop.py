"""A robot that follows a policy at a fixed rate, the next plan being made in a thread while the last one is followed.

A plan takes longer than a tick, and a robot should not stand still meanwhile. So the next one is begun some model steps
before the last one is used up. It does not begin at the frame that is seen then, for the robot will have moved on until
it comes: the model imagines where the actions that are left lead to, and the plan begins there. Whatever is planned is
followed from its first action to its last. Where a plan does not come in time, the robot holds until it does.
"""

import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from lewm_cli.control.actor import Actions
from lewm_cli.control.policy import Look, Policy, Seen
from lewm_cli.control.real_time import RealTime
from lewm_cli.errors import LateError, LewmError, UnlikeError, UsageError

Answer = TypeVar("Answer")

REMEMBERED = 5
"""Plans whose longest time decides how early the next one is begun."""

ALLOWANCE = 1.25
"""Times that long."""


class Robot(Protocol):
    """A robot, or what stands for one. Whatever it raises ends the loop."""

    def observe(self) -> Seen:
        """See what the camera sees now: a frame (H, W, 3) uint8, or an `Observation` with proprioception beside it."""
        ...

    def send(self, action: Actions) -> None:
        """Take an action (A,), in the units of the recording, and return at once."""
        ...

    def hold(self) -> None:
        """Stay where it is; asked again at every tick for which there is no action."""
        ...

    def disconnect(self) -> None:
        """Let go of the hardware; asked for only after a robot's own method has failed."""
        ...


@dataclass(frozen=True)
class LoopEvent:
    """Something that happened in a loop.

    Args:
        step: actions sent before.
        seconds: since the loop began.
    """

    step: int
    seconds: float


@dataclass(frozen=True)
class Planned(LoopEvent):
    """A plan is followed from now on.

    Args:
        took: seconds from its begin to where it was found.
        ahead: model steps before the end of the plan before at which it was begun.
    """

    took: float
    ahead: int


@dataclass(frozen=True)
class Late(LoopEvent):
    """The next plan is not there, and there is no action.

    Args:
        given_up: it had its time; another one is made.
    """

    given_up: bool


@dataclass(frozen=True)
class Unlike(LoopEvent):
    """A frame is unlike the frames of the recording; what was planned is dropped."""

    score: float
    threshold: float


@dataclass(frozen=True)
class Held(LoopEvent):
    """The robot holds from now on, until the next action."""

    why: Literal["planning", "late", "unlike", "end"]


@dataclass(frozen=True)
class Clipped(LoopEvent):
    """An action was limited.

    Args:
        clipped: dimensions that were clipped to their bounds.
        slowed: dimensions that were to change by more than `max_step`.
    """

    clipped: tuple[int, ...]
    slowed: tuple[int, ...]


@dataclass(frozen=True)
class Overrun(LoopEvent):
    """A tick took longer than it may.

    Args:
        late: seconds by which it went past the next one.
    """

    late: float


@dataclass(frozen=True)
class Drive:
    """A loop that ended by itself.

    Args:
        ended: what ended it.
        steps: actions sent.
        seconds: from the first look to the end.
        distance: latent cost to the goal at the last look; None of a run that is a policy.
        plans: that were followed.
        held: ticks without an action, those of the first plan included.
        late: plans that were not there in time.
        unlike: frames that were refused.
        clipped: actions that were limited.
        overruns: ticks that took too long.
    """

    ended: Literal["distance", "steps"]
    steps: int
    seconds: float
    distance: float | None
    plans: int
    held: int
    late: int
    unlike: int
    clipped: int
    overruns: int


class ControlLoop:
    """Drives a robot by a policy at a fixed rate.

    Every `1 / rate` seconds the robot is sent one action, or asked to hold. It is looked at once per model step, that
    is, every `frameskip` actions, and at every tick while it holds because of what was seen.

    Args:
        policy: with its goal and its limits. Its `seconds`, if they are given, are the watchdog: a plan that takes
            longer, and for which the robot holds, is given up, and another one begun from what is seen then.
        robot: see `Robot`.
        rate: actions per second; that of the recording if not given.
        ahead: model steps before the end of a plan at which the next one is begun, at most the planner's `receding`;
            as many as the last plans took if not given. 0, for a run that is a policy only, plans within a tick.
        patience: seconds for which the robot holds in a row before the loop gives up with the error that explains it.
        on_event: called with every event, between two actions: it should be quick. It may call `policy.reset` with
            another goal: what is planned for the one before is dropped.
        time: for tests.

    Raises:
        UsageError: the rate is not known or not positive, or `ahead` is more than the planner executes.
    """

    def __init__(
        self,
        policy: Policy,
        robot: Robot,
        rate: float | None = None,
        *,
        ahead: int | None = None,
        patience: float = 10.0,
        on_event: Callable[[LoopEvent], None] = lambda event: None,
        time: RealTime | None = None,
    ) -> None:
        inputs = policy.run.card.inputs
        rate = rate if rate is not None else inputs.fps
        if rate is None:
            raise UsageError(
                f"the recording that {policy.run.name} was trained on does not say how many rows per second it has; "
                "give the rate of the actions: ControlLoop(policy, robot, rate=10)"
            )
        if not 0 < rate < math.inf:
            raise UsageError(f"rate is {rate!r}; give the number of actions per second, like 10")
        if not patience >= 0:
            raise UsageError(f"patience is {patience!r}; give seconds, 0 or more")
        most = policy.planner.receding if policy.planner else 0
        if ahead is not None and not min(1, most) <= ahead <= most:
            allowed = f"1 to {most}, the planner's receding" if most else "0: a policy acts at once"
            raise UsageError(f"ahead is {ahead!r}, and {policy.run.name} can be planned with {allowed}")
        self.policy, self.robot, self.rate, self.patience, self.time = policy, robot, rate, patience, time or RealTime()
        self.ahead, self.most_ahead, self.frameskip, self.on_event = ahead, most, inputs.frameskip, on_event

    def run(self, steps: int | None = None, *, distance: float | None = None) -> Drive:
        """Drive until the robot was sent so many actions or is so near to the goal; forever if neither is given.

        It begins with a plan of its own: what the policy has left of another one is dropped.

        The robot is told to hold at the end, whatever ends it: Ctrl-C and errors too, which are raised again. It is
        disconnected if it was the robot that failed.

        Args:
            steps: actions, at most.
            distance: latent cost that is near enough, as `Policy.distance` measures it.

        Raises:
            UsageError: a number that means nothing, a distance for a run that is a policy, or see `Policy.planning`.
            UnlikeError, LateError: it has held for longer than its patience.
            LewmError: a frame is none of this run, or a plan cannot be made.
        """
        if steps is not None and steps < 1:
            raise UsageError(f"steps is {steps!r}; give at least 1, or leave it out")
        if distance is not None and not distance >= 0:
            raise UsageError(f"distance is {distance!r}; give a latent cost, 0 or more, or leave it out")
        if distance is not None and not self.most_ahead:
            raise UsageError(f"{self.policy.run.name} is a policy, which knows no distance; give steps")
        if self.policy.left:
            self.policy.drop()
        driving = _Driving(self, steps, distance)
        try:
            return driving.drive()
        except BaseException:
            driving.stop()
            raise


@dataclass
class _Begun:
    """A plan that is being made."""

    future: Future[Actions]
    since: float
    ahead: int
    dropped: int
    took: float = 0.0


class _Driving:
    """One run of a loop."""

    def __init__(self, loop: ControlLoop, steps: int | None, distance: float | None) -> None:
        self.loop, self.policy, self.time = loop, loop.policy, loop.time
        self.steps, self.near = steps, distance
        self.broken = False
        self._begun = self.time.now()
        self._plan: _Begun | None = None
        self._took = deque[float](maxlen=REMEMBERED)
        self._held_since: float | None = None
        self._distance: float | None = None
        self._sent = self._plans = self._held = self._late = self._unlike = self._clipped = self._overruns = 0

    def drive(self) -> Drive:
        """Tick until something ends it."""
        tick = 0
        while not (ended := self._tick()):
            tick = self._next(tick)
        self.policy.drop()
        self._emit(Held, why="end")
        self._ask(self.loop.robot.hold)
        return Drive(
            ended,
            self._sent,
            self.time.now() - self._begun,
            self._distance,
            self._plans,
            self._held,
            self._late,
            self._unlike,
            self._clipped,
            self._overruns,
        )

    def stop(self) -> None:
        """Hold at once, whatever has happened; a robot that does not answer is let go of."""
        try:
            with suppress(Exception):
                self._ask(self.loop.robot.hold)
        finally:
            self.policy.drop()
            if self.broken:
                with suppress(Exception):
                    self.loop.robot.disconnect()

    def _next(self, tick: int) -> int:
        """Sleep until the next tick; ticks lie on a grid, so that nothing adds up, and missed ones are left out."""
        period, passed = 1 / self.loop.rate, self.time.now() - self._begun
        tick += 1
        if passed > tick * period:
            self._overruns += 1
            self._emit(Overrun, late=passed - tick * period)
            tick = math.ceil(passed / period + 0.5)  # no two actions within half a period
        self.time.sleep_until(self._begun + tick * period)
        return tick

    def _tick(self) -> Literal["distance", "steps"] | None:
        """Send one action, or hold; says what has ended the loop."""
        policy, skip = self.policy, self.loop.frameskip
        if self.steps is not None and self._sent >= self.steps:
            return "steps"
        if policy.left % skip == 0:  # a model step begins
            if not policy.left and (plan := self._coming) and not plan.future.done():
                self._wait(plan)
                return None
            try:
                look = policy.look(self._ask(self.loop.robot.observe))
            except UnlikeError as error:
                self._refuse(error)
                return None
            self._distance = look.distance
            if self.near is not None and look.distance is not None and look.distance <= self.near:
                return "distance"
            if not policy.left and not self._find(look):
                self._hold("planning", None)
                return None
            if not self._coming and policy.left <= skip * self._ahead():
                self._begin(look)
        limited = policy.take()
        self._ask(self.loop.robot.send, limited.action)
        self._sent, self._held_since = self._sent + 1, None
        if limited.clipped.any() or limited.slowed.any():
            self._clipped += 1
            clipped, slowed = (tuple(one.nonzero()[0].tolist()) for one in (limited.clipped, limited.slowed))
            self._emit(Clipped, clipped=clipped, slowed=slowed)
        return None

    @property
    def _coming(self) -> _Begun | None:
        """The plan that is being made or just made; None if it was dropped, for another goal for example."""
        plan = self._plan
        return plan if plan and plan.dropped == self.policy.dropped else None

    def _find(self, look: Look) -> bool:
        """Follow the next plan if it is there, else begin one from what is seen now; says if there is an action."""
        if not self.loop.most_ahead:
            self.policy.follow(self.policy.planning(look)())
        elif plan := self._coming:
            self._plan = None
            self.policy.follow(plan.future.result())
            took = plan.took or self.time.now() - plan.since  # its thread may not have said it yet
            self._took.append(took)
            self._emit(Planned, took=took, ahead=plan.ahead)
        else:
            self._begin(look)
            return False
        self._plans += 1
        return self.policy.left > 0  # unless whoever was told of it has set another goal

    def _ahead(self) -> int:
        """Model steps before the end of a plan at which the next one is begun."""
        if self.loop.ahead is not None:
            return self.loop.ahead
        needed = math.ceil(ALLOWANCE * max(self._took, default=0.0) * self.loop.rate / self.loop.frameskip)
        return min(self.loop.most_ahead, max(1, needed))

    def _begin(self, look: Look) -> None:
        ahead, since = self.policy.left // self.loop.frameskip, self.time.now()
        work = self.time.start(self.policy.planning(look))
        plan = self._plan = _Begun(work, since, ahead, self.policy.dropped)

        def ended(future: Future[Actions]) -> None:
            plan.took = self.time.now() - since

        plan.future.add_done_callback(ended)

    def _wait(self, plan: _Begun) -> None:
        """Hold until a plan comes, or until it has had its time."""
        allowed, passed = self.policy.seconds, self.time.now() - plan.since
        given_up = allowed is not None and passed > allowed
        if given_up:
            self.policy.drop()
        if given_up or (plan.ahead and self._held_since is None):
            self._late += 1
            self._emit(Late, given_up=given_up)
        self._hold("late" if plan.ahead else "planning", LateError(allowed if given_up and allowed else passed))

    def _refuse(self, error: UnlikeError) -> None:
        self.policy.drop()
        self._unlike += 1
        self._emit(Unlike, score=error.score, threshold=error.threshold)
        self._hold("unlike", error)

    def _hold(self, why: Literal["planning", "late", "unlike"], error: LewmError | None) -> None:
        """Hold for this tick; raises the error that explains it once the patience is over."""
        now, self._held = self.time.now(), self._held + 1
        if self._held_since is None:
            self._held_since = now
            self._emit(Held, why=why)
        elif error and now - self._held_since > self.loop.patience:
            raise error
        self._ask(self.loop.robot.hold)

    def _ask(self, of_the_robot: Callable[..., Answer], *given: Any) -> Answer:
        try:
            return of_the_robot(*given)
        except Exception:
            self.broken = True
            raise

    def _emit(self, kind: type[LoopEvent], **found: Any) -> None:
        self.loop.on_event(kind(self._sent, self.time.now() - self._begun, **found))
