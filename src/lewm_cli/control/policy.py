"""One frame in, one action out: a run that drives a robot or a simulator towards a goal image."""

from collections import deque
from dataclasses import replace
from pathlib import Path

import torch

from lewm_cli.config import PlannerConfig
from lewm_cli.control.actor import Actions, Actor, Frame, Observation
from lewm_cli.control.run_actor import find_actor
from lewm_cli.control.run_planner import PlannedEpisode, Planner, embed_observations
from lewm_cli.data import checked_frame, read_image
from lewm_cli.plan import Plan
from lewm_cli.store import Run
from lewm_cli.store.load import load

Seen = Frame | Observation
"""A frame (size, size, 3) uint8, or one as the camera of an imported recording gave them, (height, width, 3); with
proprioception beside it, for a run that takes it."""

Goal = Seen | str | Path
"""The same, or the path of an image file."""


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

    Attributes:
        planner: the settings of planning; None for a run that is a policy.

    Raises:
        UsageError: settings of planning for a run that is a policy.
        LewmError: there is no such run, it cannot be loaded strictly, its normalization is not known, or the goal is no
            RGB image of a fitting size, or the planner's objective needs a head that is not there or does not fit.
    """

    def __init__(
        self, run: str | Path | Run, goal: Goal, *, planner: PlannerConfig | None = None, seed: int = 42
    ) -> None:
        self.run = run if isinstance(run, Run) else load(run)
        self._actor: Actor = find_actor(self.run, planner)
        self.planner, self.seed = self._actor.config if isinstance(self._actor, Planner) else None, seed
        self.reset(goal)

    def __repr__(self) -> str:
        planner, on = self.planner, f"on {self.run.device}"
        if planner is None:
            return f"Policy({self.run.name!r}, one forward pass per step, {on})"
        plans = f"{planner.solver}, {planner.candidates} candidates, {planner.iterations} iterations"
        waiting = f"{len(self._queue)} actions of the plan left" if self.plan else "no plan yet"
        return f"Policy({self.run.name!r}, {plans}, seed {self.seed}, {on}, {waiting})"

    def reset(self, goal: Goal) -> None:
        """Take another goal, and begin anew: what is left of the plan is dropped, and the seed counts again.

        Raises:
            LewmError: the goal is no RGB image of a fitting size.
        """
        if isinstance(goal, str | Path):
            seen = Observation(read_image(Path(goal), self.run.card.inputs.framing).frame)
        else:
            seen = self._checked(goal, "the goal")
        (self._episode,) = self._actor.begin([seen], [self.seed])
        self._queue = deque[Actions]()

    @property
    def plan(self) -> Plan | None:
        """The plan whose actions are handed out now; None before the first, and where nothing is planned."""
        return self._episode.plan if isinstance(self._episode, PlannedEpisode) else None

    def act(self, frame: Seen) -> Actions:
        """Choose the action to take now.

        Args:
            frame: (size, size, 3) uint8, or (height, width, 3) where the run knows how its recording's camera frames
                became square; or an `Observation`. It is looked at only when no action is left.

        Returns:
            (A,) float32, in the units of the recording that the run was trained on.

        Raises:
            LewmError: it is no RGB frame of a fitting size, or the planner is to respect bounds that are not known.
        """
        seen = self._checked(frame, "the frame")
        if not self._queue:
            (actions,) = self._actor.act([self._episode], [seen])
            self._queue.extend(actions[: self._actor.steps])
        return self._queue.popleft()

    @torch.inference_mode()
    def distance(self, frame: Seen) -> float:
        """Latent cost of a frame, or an `Observation`, like those that `act` takes: lower is nearer to the goal.

        Raises:
            LewmError: it is no RGB frame of a fitting size, or the run is a policy, which has no latents.
        """
        model, latent = self.run.world_model, embed_observations(self.run, [self._checked(frame, "the frame")])
        assert isinstance(self._episode, PlannedEpisode)
        return float(model.latent_cost(latent, self._episode.goal[None]))

    def _checked(self, seen: Seen, what: str) -> Observation:
        """An observation of a frame as the recording holds them; raises LewmError if it cannot become one."""
        whole = seen if isinstance(seen, Observation) else Observation(seen)
        return replace(whole, frame=checked_frame(whole.frame, what, self.run.card.inputs.framing))
