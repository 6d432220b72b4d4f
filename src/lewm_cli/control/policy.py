"""One frame in, one action out: a run that drives a robot or a simulator towards a goal image."""

import warnings
from collections import deque
from collections.abc import Callable
from concurrent.futures import TimeoutError as NotYetError
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lewm_cli.config import PlannerConfig
from lewm_cli.control.actor import Actions, Actor, ActorEpisode, Frame, Observation
from lewm_cli.control.limits import ActionLimits, Clip, Limited, known_action
from lewm_cli.control.real_time import RealTime
from lewm_cli.control.run_actor import find_actor
from lewm_cli.control.run_planner import PlannedEpisode, Planner, embed_observations
from lewm_cli.data import FrameAlarm, checked_frame, read_image
from lewm_cli.errors import LateError, UnlikeError, UsageError
from lewm_cli.plan import Plan
from lewm_cli.store import Run
from lewm_cli.store.load import load

Seen = Frame | Observation
"""A frame (size, size, 3) uint8, or one as the camera of an imported recording gave them, (height, width, 3); with
proprioception beside it, for a run that takes it."""

Goal = Seen | str | Path
"""The same, or the path of an image file."""

OnUnlike = Literal["raise", "ignore"]
"""Refuse frames that are unlike those of the recording, or plan from them all the same."""


@dataclass(frozen=True)
class Look:
    """A frame that was looked at.

    Args:
        latent: (D,) on the run's device; None of a run that is a policy.
        score: how unlike the recorded frames it is; None where nothing is calibrated.
        distance: latent cost to the goal; None of a run that is a policy.
    """

    seen: Observation
    latent: Tensor | None = None
    score: float | None = None
    distance: float | None = None


@dataclass(frozen=True)
class LimitCounts:
    """The actions since the last `reset`, and how many of them were limited.

    Args:
        clipped: (A,) in which a dimension was clipped to its bounds.
        slowed: (A,) in which it changed by no more than `max_step`, and was to change by more.
    """

    actions: int
    clipped: tuple[int, ...]
    slowed: tuple[int, ...]


class Policy:
    """Plans from the frame it is given, hands out the actions one by one, and plans again when they are used up.

    It plans as `lewm eval` does: from one frame, over `horizon` model steps, of which `receding` are executed. A run
    that is a policy itself (`gcbc`) does not plan, but turns the frame and the goal into the next actions directly.

    Args:
        run: name or path of a run, `tworoom/lewm`, which then computes on the CPU; or what `lewm_cli.load` returned.
        goal: a frame like those that `act` takes, or the path of an image file; an `Observation` of a frame and of
            proprioception for a run that takes both.
        planner: settings of planning; the planner of the task's protocol if not given.
        seed: of what the planner draws: the same frames give the same actions.
        clip: to the bounds of the task's action space, or else of the recorded actions (True); to none (False); or to
            own ones, `(low, high)`, each a number or one per dimension.
        max_step: largest change of a dimension from one action to the next, in the recording's units: a number, or
            one per dimension. It counts from the action that `reset` is told of, without which nothing is planned.
        seconds: that a plan may take; `act` raises LateError then, whatever the planner still does.
        on_unlike: raise UnlikeError for a frame that is unlike the frames of the recording, or ignore that.
        tolerance: times the calibrated threshold, above which a frame is unlike.
        alarm: tells how unlike a frame is; none is refused without it.

    Attributes:
        planner: the settings of planning; None for a run that is a policy.
        limits: of every action.
        dropped: times that all plans were dropped, those being made included.

    Raises:
        UsageError: settings of planning for a run that is a policy, or limits that mean nothing for its actions.
        LewmError: there is no such run, it cannot be loaded strictly, its normalization is not known, or the goal is no
            RGB image of a fitting size, or the planner's objective needs a head that is not there or does not fit.
        UnlikeError: the goal is unlike the frames of the recording.
    """

    def __init__(
        self,
        run: str | Path | Run,
        goal: Goal,
        *,
        planner: PlannerConfig | None = None,
        seed: int = 42,
        clip: Clip = True,
        max_step: npt.ArrayLike | None = None,
        seconds: float | None = None,
        on_unlike: OnUnlike = "raise",
        tolerance: float = 1.0,
        alarm: FrameAlarm | None = None,
    ) -> None:
        if on_unlike not in ("raise", "ignore"):
            raise UsageError(f"on_unlike is {on_unlike!r}; give 'raise' or 'ignore'")
        if seconds is not None and not 0 < seconds < np.inf:
            raise UsageError(f"seconds is {seconds!r}, and a plan is allowed a positive number of them; leave it out")
        if not 0 < tolerance < np.inf:
            raise UsageError(f"tolerance is {tolerance!r}, and thresholds are multiplied by it; give 1 or more")
        self.run = run if isinstance(run, Run) else load(run)
        self.limits = ActionLimits.of(self.run.card.inputs, clip, max_step)
        if clip is True and self.limits.origin == "nothing":
            warnings.warn(
                f"{self.run.name} does not know the bounds of its actions, so none is clipped; give them as "
                "clip=(low, high), or train it again",
                stacklevel=3,
            )
        self._actor: Actor = find_actor(self.run, planner)
        self.planner, self.seed = self._actor.config if isinstance(self._actor, Planner) else None, seed
        self.seconds, self.tolerance = seconds, tolerance
        self.alarm = alarm if on_unlike == "raise" else None
        self._cancelled, self.dropped = Event(), 0
        self.reset(goal)

    def __repr__(self) -> str:
        planner, origin = self.planner, self.limits.origin
        clipped = "not clipped" if origin == "nothing" else f"clipped to {origin}"
        rest = [f"actions {clipped}", f"frames {'checked' if self.alarm else 'not checked'}", f"on {self.run.device}"]
        if planner is None:
            return f"Policy({self.run.name!r}, one forward pass per step, {', '.join(rest)})"
        plans = f"{planner.solver}, {planner.candidates} candidates, {planner.iterations} iterations"
        waiting = f"{self.left} actions of the plan left" if self.plan else "no plan yet"
        return f"Policy({self.run.name!r}, {plans}, seed {self.seed}, {', '.join(rest)}, {waiting})"

    def reset(self, goal: Goal, *, action: npt.ArrayLike | None = None) -> None:
        """Take another goal, and begin anew: what is left of the plan is dropped, and the seed counts again.

        Args:
            action: (A,) that was taken last, or that keeps the robot where it is; `max_step` counts from it, and
                cannot do without.

        Raises:
            LewmError: the goal is no RGB image of a fitting size.
            UnlikeError: it is unlike the frames of the recording.
            UsageError: the action is none of this run.
        """
        inputs = self.run.card.inputs
        before = None if action is None else known_action(action, inputs)
        if isinstance(goal, str | Path):
            seen = Observation(read_image(Path(goal), inputs.framing).frame)
        else:
            seen = self._checked(goal, "the goal")
        self._refuse_unlike(seen, "the goal")
        (episode,) = self._actor.begin([seen], [self.seed])
        self._queue = deque[Limited]()
        self._cancelled.set()
        self.dropped += 1
        self._episode: ActorEpisode = episode
        self._before, self._given_up, self._cancelled = before, 0, Event()
        self._actions = 0
        self._clipped, self._slowed = np.zeros((2, inputs.actions.dim), int)

    @property
    def plan(self) -> Plan | None:
        """The newest plan, whose actions are handed out now; None before the first, and where nothing is planned."""
        return self._episode.plan if isinstance(self._episode, PlannedEpisode) else None

    @property
    def limited(self) -> LimitCounts:
        """The number of actions since the last `reset`, and how many of them were limited in which dimension."""
        return LimitCounts(self._actions, tuple(self._clipped.tolist()), tuple(self._slowed.tolist()))

    def act(self, frame: Seen) -> Actions:
        """Choose the action to take now.

        Args:
            frame: (size, size, 3) uint8, or (height, width, 3) where the run knows how its recording's camera frames
                became square; or an `Observation`. It is planned from only when no action is left.

        Returns:
            (A,) float32, in the units of the recording that the run was trained on, within the limits.

        Raises:
            UnlikeError: it is unlike the frames of the recording; the plan is dropped, for the world is not as it was.
            LateError: no plan came within the seconds that it is allowed; the next call plans anew.
            UsageError: `max_step` is given, and nobody told `reset` which action to count from.
            LewmError: it is no RGB frame of a fitting size, the planner is to respect bounds that are not known, or the
                next action is not finite.
        """
        try:
            if self._queue:
                self._refuse_unlike(self._checked(frame, "the frame"), "the frame")
            else:
                self.follow(self._planned(self.planning(self.look(frame))))
        except UnlikeError:
            self.drop()
            raise
        return self.take().action

    def distance(self, frame: Seen) -> float:
        """Latent cost of a frame, or an `Observation`, like those that `act` takes: lower is nearer to the goal.

        Raises:
            LewmError: it is no RGB frame of a fitting size, or the run is a policy, which has no latents.
        """
        self.run.require_world_model()
        return self._distance(embed_observations(self.run, [self._checked(frame, "the frame")])[0])

    # The parts of `act`, for loops that plan beside the robot; see `ControlLoop`.

    def look(self, frame: Seen) -> Look:
        """Look at a frame, which is embedded once for all that is asked of it.

        Raises:
            UnlikeError: it is unlike the frames of the recording.
            LewmError: it is no RGB frame of a fitting size.
        """
        seen = self._checked(frame, "the frame")
        score = self._refuse_unlike(seen, "the frame")
        if not isinstance(self._actor, Planner):
            return Look(seen, score=score)
        latent = self._actor.embed([seen])[0]
        return Look(seen, latent, score, self._distance(latent))

    def planning(self, look: Look) -> Callable[[], Actions]:
        """The work of the next plan, which another thread may do; it returns the actions (receding * frameskip, A).

        Actions of the plan before that are left are taken to be executed first: the model imagines from this look on
        where they lead, and there the plan begins. Once `dropped` has changed, nobody wants these actions anymore.

        Raises:
            UsageError: `max_step` is given, and nobody told `reset` which action to count from.
        """
        if self._before is None and np.isfinite(self.limits.max_step).any():
            raise UsageError(
                "max_step limits the change from the action before, and nobody has told which that was: "
                "policy.reset(goal, action=...), with the action that keeps the robot where it is"
            )
        episode, actor, steps = self._episode, self._actor, self._actor.steps
        if not isinstance(actor, Planner):
            return lambda: actor.act([episode], [look.seen])[0][:steps]
        assert look.latent is not None
        coming = np.stack([one.action for one in self._queue]) if self._queue else None
        return partial(_plan, actor, episode, look.latent, coming, self._cancelled)  # type: ignore[arg-type]

    def follow(self, actions: Actions) -> None:
        """Hand out these actions (L, A) next, within the limits; there must be none left.

        Raises:
            LewmError: a number of them is not finite.
        """
        assert not self._queue
        before, limited = self._before, list[Limited]()
        for action in actions:
            limited.append(self.limits.apply(action, before))
            before = limited[-1].action
        self._queue.extend(limited)

    @property
    def left(self) -> int:
        """Number of actions left of the plan."""
        return len(self._queue)

    def take(self) -> Limited:
        """Hand out the next action that is left."""
        limited = self._queue.popleft()
        self._before, self._actions = limited.action, self._actions + 1
        self._clipped += limited.clipped
        self._slowed += limited.slowed
        return limited

    def drop(self) -> None:
        """Drop the actions that are left, and give up a plan that is still being made in another thread."""
        self._queue.clear()
        self.dropped += 1
        self._cancelled.set()
        self._cancelled, self._given_up = Event(), self._given_up + 1
        if isinstance(self._episode, PlannedEpisode):
            # That thread may still draw: what comes next does not depend on how far it gets.
            generator = torch.Generator().manual_seed(self.seed + self._given_up)
            self._episode = replace(self._episode, generator=generator, warm_start=None)

    def _checked(self, seen: Seen, what: str) -> Observation:
        """An observation of a frame as the recording holds them; raises LewmError if it cannot become one."""
        whole = seen if isinstance(seen, Observation) else Observation(seen)
        return replace(whole, frame=checked_frame(whole.frame, what, self.run.card.inputs.framing))

    def _planned(self, work: Callable[[], Actions]) -> Actions:
        if self.seconds is None:
            return work()
        future = RealTime().start(work)
        try:
            return future.result(self.seconds)
        except NotYetError:
            self.drop()
            raise LateError(self.seconds) from None
        except KeyboardInterrupt:
            self.drop()
            raise

    def _refuse_unlike(self, seen: Observation, what: str) -> float | None:
        if self.alarm is None:
            return None
        score, threshold = self.alarm.score(seen.frame), self.tolerance * self.alarm.threshold
        if score > threshold:
            raise UnlikeError(what, score, threshold)
        return score

    @torch.inference_mode()
    def _distance(self, latent: Tensor) -> float:
        assert isinstance(self._episode, PlannedEpisode)
        return float(self.run.world_model.latent_cost(latent[None], self._episode.goal))


def _plan(actor: Planner, episode: PlannedEpisode, latent: Tensor, coming: Actions | None, cancelled: Event) -> Actions:
    """Actions (receding * frameskip, A) from where those that are coming lead to."""
    start = latent if coming is None else actor.imagine(latent, coming)
    (actions,) = actor.plan([episode], start[None], cancelled)
    return actions[: actor.steps]
