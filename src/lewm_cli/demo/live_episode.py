"""A run in the simulator of its task, step by step as a page asks: what it sees, and plans for it."""

import base64
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, NonNegativeInt

from lewm_cli.config import PlannerConfig, Section
from lewm_cli.control import Observation, Planner
from lewm_cli.data import resize
from lewm_cli.diagnose.plan_recorder import KeptIteration
from lewm_cli.errors import LewmError
from lewm_cli.plan import Iteration, WarmStart, find_solver
from lewm_cli.simulate import Pair
from lewm_cli.store import Run
from lewm_cli.tasks import Simulator, Task

MOST_STEPS = 256
"""Environment steps that can be asked for at once: the frame of each is answered."""

MOST_TRIED = 10**6
"""Model steps that all candidates of one plan may take together."""

Packed = str
"""Of uint8 or float32 numbers, one after the other, base64."""


class Moment(Section):
    """The world at one environment step."""

    frame: Packed
    """As the camera sees it: (size, size, 3) uint8."""
    seen: Packed
    """As the encoder takes it: (image_size, image_size, 3) uint8."""
    position: tuple[float, float]
    """Of the controlled thing, in pixels of the frame."""
    distance: float
    """To the goal, in the task's units."""
    reached: bool


class Begun(Section):
    """A new episode."""

    size: int
    """Side of the camera's frames, pixels."""
    now: Moment
    goal: Moment
    """The goal reached."""


class Acted(Section):
    """The world after every step that was taken."""

    moments: tuple[Moment, ...]


class PlanBefore(Section):
    """The normalized sequences that the next plan can begin at."""

    blocks: tuple[float, ...]
    """(horizon * block_dim)."""
    carried: tuple[tuple[float, ...], ...] = ()
    """Elites that are tried again."""


class PlanRequest(Section):
    """A plan that is asked for."""

    settings: PlannerConfig
    seed: int = Field(0, ge=0, lt=2**63)
    warm: PlanBefore | None = None
    """The plan before; only looked at if the settings say so."""


class FoundCandidate(Section):
    """One candidate: actions (L, A) float32 in the units of the environment."""

    actions: Packed
    cost: float
    elite: bool


class FoundIteration(Section):
    """One iteration of the solver: cost of its candidates, and some of them, the cheapest first."""

    number: NonNegativeInt
    lowest: float
    mean: float
    candidates: tuple[FoundCandidate, ...]


class PlanFound(Section):
    """A plan as the page has it."""

    actions: Packed
    """(L, A) float32 in the units of the environment."""
    blocks: Packed
    """(horizon, block_dim) float32, normalized."""
    carried: tuple[Packed, ...]
    """Elites that the next plan can try again, like `blocks`."""
    cost: float
    milliseconds: float
    """Of the search."""
    imagined: Packed
    """(horizon + 1, D) float32 latents: what is seen now, then after every model step of the plan."""
    iterations: tuple[FoundIteration, ...]


class LiveEpisode:
    """One episode of a run after another, in one simulator; to be used from one thread, as MuJoCo draws in it.

    Args:
        run: a world model, in eval mode on its device.
        task: with a simulator.
        pairs: recorded starts and goals to choose from, at least one.

    Raises:
        LewmError: the simulator cannot be built here.
    """

    def __init__(self, run: Run, task: Task, pairs: Sequence[Pair]) -> None:
        task.prepare()
        self.run, self.task, self.pairs = run, task, pairs
        self._goal: torch.Tensor | None = None
        self._latest: tuple[PlannerConfig, Planner] | None = None

    def begin(self, seed: int) -> Begun:
        """Begin with one of the pairs.

        Raises:
            LewmError: the simulator does not take a state, or cannot draw.
        """
        pair, simulator = self.pairs[seed % len(self.pairs)], self._simulator
        self._goal = None  # until all went well
        simulator.begin(pair.goal, pair.goal)
        position = simulator.position()
        simulator.begin(pair.start, pair.goal)
        frame, goal = np.array(simulator.frame()), np.array(simulator.goal_frame())
        self._goal, self._frame = self.run.embed(goal[None]), frame
        return Begun(size=len(frame), now=self._now(), goal=self._moment(goal, position, 0.0, reached=True))

    def act(self, actions: npt.NDArray[np.floating]) -> Acted:
        """Take actions (L, A) until the goal is reached.

        Raises:
            LewmError: nothing has begun; a wrong number of actions or of their dimensions, or one is not finite.
        """
        self._begun()
        dims = self.run.card.inputs.actions.dim
        with np.errstate(over="ignore"):  # what is too large is refused below
            actions = np.asarray(actions, np.float32)
        if actions.ndim != 2 or actions.shape[1] != dims or not 1 <= len(actions) <= MOST_STEPS:
            raise LewmError(
                f"actions have the shape {actions.shape}; {self.task.name} takes 1 to {MOST_STEPS} at once, of {dims} "
                "numbers each"
            )
        if not np.isfinite(actions).all():
            raise LewmError("an action is not a finite number in float32")
        moments = []
        for action in actions:
            self._simulator.step(action)
            self._frame = np.array(self._simulator.frame())
            moments.append(self._now())
            if moments[-1].reached:
                break
        return Acted(moments=tuple(moments))

    def plan(self, request: PlanRequest) -> PlanFound:
        """Plan from what is seen now.

        Raises:
            LewmError: nothing has begun, the settings ask for too much or for what is not there, or no candidate has a
                finite cost.
        """
        goal, config = self._begun(), request.settings
        tried = config.candidates * config.iterations * config.horizon
        if tried > MOST_TRIED:
            raise LewmError(
                f"{config.candidates} candidates x {config.iterations} iterations x horizon {config.horizon} are "
                f"{tried:,} model steps; ask for at most {MOST_TRIED:,}"
            )
        planner = self._planner(config)
        cost = planner.latent_cost(planner.embed([Observation(self._frame)]), goal)
        warm = self._warm_start(request.warm, config) if request.warm and config.warm_start else None
        plan = planner.solver.solve(planner.problem(cost, [torch.Generator().manual_seed(request.seed)], [warm]))
        return PlanFound(
            actions=_packed(planner.actions_of(plan.actions)),
            blocks=_packed(plan.actions.numpy()),
            carried=() if plan.carried is None else tuple(_packed(one) for one in plan.carried[0].numpy()),
            cost=float(plan.cost),
            milliseconds=1000 * plan.seconds,
            imagined=_packed(cost.imagined(plan.actions).float().cpu().numpy()),
            iterations=tuple(_found(one, number, planner) for number, one in enumerate(plan.history, start=1)),
        )

    @cached_property
    def _simulator(self) -> Simulator:
        assert self.task.make_simulator is not None
        return self.task.make_simulator()

    def _begun(self) -> torch.Tensor:
        """The latent (1, D) of the goal; raises LewmError if there is none."""
        if self._goal is None:
            raise LewmError("no episode has begun; begin one first")
        return self._goal

    def _now(self) -> Moment:
        simulator = self._simulator
        return self._moment(self._frame, simulator.position(), simulator.distance(), reached=simulator.solved())

    def _moment(
        self, frame: npt.NDArray[np.uint8], position: npt.NDArray[np.floating], distance: float, *, reached: bool
    ) -> Moment:
        x, y = position.tolist()
        seen = resize(frame[None], self.run.card.model.image_size)
        return Moment(
            frame=_packed(frame), seen=_packed(seen), position=(x, y), distance=distance, reached=bool(reached)
        )

    def _planner(self, config: PlannerConfig) -> Planner:
        """A planner with these settings; the one before if they are the same, for it has folded weights."""
        if self._latest is None or self._latest[0] != config:
            self._latest = config, Planner(self.run, config, solver=find_solver(config, record=True))
        return self._latest[1]

    def _warm_start(self, before: PlanBefore, config: PlannerConfig) -> WarmStart:
        """Shift the plan before by the blocks that were executed; the mean action follows."""
        width = self.run.card.inputs.block_dim

        def rest(numbers: Sequence[float]) -> torch.Tensor:
            left = torch.tensor(numbers[config.receding * width :][: config.horizon * width])
            return torch.cat([left, torch.zeros(config.horizon * width - len(left))]).reshape(config.horizon, width)

        carried = [rest(numbers) for numbers in before.carried]
        return WarmStart(
            rest(before.blocks), torch.stack(carried) if carried else torch.empty(0, config.horizon, width)
        )


def _found(iteration: Iteration, number: int, planner: Planner) -> FoundIteration:
    kept = KeptIteration.of(iteration, number)
    candidates = zip(planner.actions_of(kept.blocks), kept.costs.tolist(), strict=True)
    return FoundIteration(
        number=number,
        lowest=float(iteration.cost.min()),
        mean=float(iteration.cost.mean()),
        candidates=tuple(
            FoundCandidate(actions=_packed(actions), cost=cost, elite=rank < kept.elites)
            for rank, (actions, cost) in enumerate(candidates)
        ),
    )


def _packed(numbers: npt.NDArray[np.generic]) -> Packed:
    """Base64 of bytes as they are, or of other numbers in float32."""
    kept = numbers if numbers.dtype == np.uint8 else numbers.astype("<f4")
    return base64.b64encode(kept.tobytes()).decode()
