"""The contract of an environment, which is a folder beside this file and a line in `tasks/__init__.py`: its `Task`."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from lewm_cli.tasks.probe_target import ProbeTarget


@dataclass(frozen=True)
class Episode:
    """Rows of one episode; row t holds what was seen at step t and the action taken then.

    Args:
        pixels: (T, H, W, 3) uint8 frames, the reset frame first.
        action: (T, A) float32; the last row is NaN, for no action was taken there.
        columns: further recorded quantities by released column name, each (T, ...).
    """

    pixels: np.ndarray
    action: np.ndarray
    columns: Mapping[str, np.ndarray]

    @classmethod
    def of_rows(cls, rows: Sequence[Mapping[str, Any]], actions: Sequence[np.ndarray]) -> Self:
        """Stack T rows, each the frame `pixels` and a value for every column, and the T - 1 actions between them."""
        columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        taken = np.stack([*actions, np.full_like(actions[0], np.nan)]).astype(np.float32)
        return cls(columns.pop("pixels"), taken, columns)

    def __len__(self) -> int:
        return len(self.pixels)


class Approach(NamedTuple):
    """A start (S,), and an action (A,) that, repeated from there, leads to the place."""

    start: np.ndarray
    action: np.ndarray


class Simulator(Protocol):
    """One environment, driven by plain arrays in the environment's own units."""

    def demonstrate(self, seed: np.random.SeedSequence, *, any_start: bool, vary_color: bool = False) -> Episode:
        """Record one episode of the demonstrator; the same seed gives the same episode in any process.

        With `any_start` it takes the simulator's own resets instead of the task's selection of starts. With
        `vary_color` the thing that the perturbation `color` recolors has a color of the episode's own, which may be the
        usual one; all but the frames is as without.
        """

    def demonstrate_by(self, policy: str) -> None:
        """Choose one of the task's demonstrators for all that is recorded from now on; without it, the first."""

    def reset(self, seed: np.random.SeedSequence) -> None:
        """Begin where `demonstrate` does with this fresh seed, in a start of the task's selection; there is no goal."""

    def judge_by(self, criterion: str) -> None:
        """Choose one of the task's success criteria from the next `begin` on; without it, the simulator's own rule."""

    def begin(self, start: np.ndarray, goal: np.ndarray) -> None:
        """Put the simulator into a recorded state with a recorded goal: the task's start and goal columns, joined.

        Raises:
            LewmError: the simulator did not take the state.
        """

    def step(self, action: np.ndarray) -> None:
        """Advance one environment step; action (A,)."""

    def frame(self) -> np.ndarray:
        """The camera's frame: (H, W, 3) uint8."""

    def goal_frame(self) -> np.ndarray:
        """The camera's frame if the goal were reached: (H, W, 3) uint8."""

    def proprio(self) -> np.ndarray | None:
        """The recorded column `proprio` as it is now: (P,); None where the task's recordings have none."""
        return None

    def goal_proprio(self) -> np.ndarray | None:
        """The same as it would be if the goal were reached."""
        return None

    def perturb(self, name: str, generator: np.random.Generator, size: float | None = None) -> float:
        """Stage one of the task's own perturbations until the next `begin`; returns how large it is, in its unit.

        Args:
            size: that it shall have, if it has an arena and this is at most half of it; else it is drawn.
        """

    def approach(self, name: str, start: np.ndarray, steps: int) -> Approach:
        """Choose how to come to where an approached perturbation counts, near a recorded start, in so many steps."""
        raise NotImplementedError(name)

    def position(self) -> np.ndarray:
        """The place of the controlled thing: (2,) x and y in pixels of the frame."""

    def distance(self) -> float:
        """Distance to the goal, in the task's units."""

    def solved(self) -> bool:
        """Tell if the goal is reached now, by the success criterion that was chosen."""

    def random_action(self, generator: np.random.Generator) -> np.ndarray:
        """A uniform draw (A,) from the action space."""

    def groups(self, start: np.ndarray, goal: np.ndarray) -> tuple[str, ...]:
        """Named subsets of pairs that this pair belongs to, reported apart."""

    def route_valid(self, path: np.ndarray) -> bool | None:
        """Tell if a path of positions (T, 2) respects the walls; None where the task has none."""
        return None


@dataclass(frozen=True)
class Perturbation:
    """A violation of what the actions explain.

    Args:
        name: as typed.
        title: what happens, as a clause.
        unit: of its size.
        lasts: model steps in which it is seen; of a sudden change the one to the first frame after it.
        arena: length of what it happens in, in the unit, where its size can be chosen; else 0.
        approached: it breaks a law that counts only at some place, to which one action leads instead of recorded ones.
    """

    name: str
    title: str
    unit: str
    lasts: int = 1
    arena: float = 0.0
    approached: bool = False


MATCHED = Perturbation("matched", "a color changes, and as much of the picture as by the teleport", "RGB levels")
FROZEN = Perturbation("frozen", "the world stands still while actions go on", "model steps", lasts=2)
REVERSED = Perturbation("reversed", "time runs backward while actions go on", "model steps", lasts=2)
EVERYWHERE = (MATCHED, FROZEN, REVERSED)
"""Violations that can be staged in any simulator that knows `teleport` and `color`."""


@dataclass(frozen=True)
class Fidelity:
    """Bounds on the mean absolute difference between a recorded frame and the same state drawn again, RGB levels.

    Up to `alike` frames count as the same; beyond `refused` the simulator is refused as another world.
    """

    alike: float
    refused: float


def prepare_nothing() -> None:
    """Do nothing: most simulators come with lewm-cli."""


def import_simulator(path: str, prepare: Callable[[], None] = prepare_nothing) -> Simulator:
    """Build a simulator from the path of its class, `module:class`; late, because importing it takes seconds."""
    prepare()
    simulator: Simulator = resolve_name(path)()
    return simulator


@dataclass(frozen=True)
class Task:
    """One environment, everything particular to it reachable from here.

    Args:
        name: canonical name, as typed on the command line.
        folder: of its `task.toml` (presets), `protocols.toml` and, if something is published for it, `catalog.toml`.
        aliases: other names people use for it.
        title: a few words for tables.
        released_dataset: file name, without suffix, of the released recording; None if there is none.
        demonstrators: policies that episodes can be recorded with, by the name that is typed, the usual one first, and
            in the words of the file's attributes.
        episode_column: what the released recording calls the column of episode numbers.
        start_columns: recorded columns that, joined, are the state to start from.
        goal_columns: recorded columns that, joined, are the goal.
        probe_targets: physical quantities that latents are probed for.
        perturbations: violations of expectation that the simulator can stage.
        recognized_by: recorded columns and their widths by which a recording that names no task is known.
        success_criteria: the rules by which the simulator can tell that a goal is reached; its own first.
        goal_radius: pixels of the frame between the controlled thing and its goal, within which the goal counts as
            reached; None where something else decides.
        action_bounds: lowest and highest value of every action dimension; empty for recordings without a simulator.
        fps: steps, and so frames, in a second of the simulator's time; None for recordings without one.
        prepare: checks that the simulator can be built here, and sets what its worker processes inherit.
        fidelity: how closely the simulator draws a recorded state again.
        make_simulator: imports and builds the simulator; None for recordings without one.
    """

    name: str
    folder: Path
    title: str
    aliases: tuple[str, ...] = ()
    released_dataset: str | None = None
    demonstrators: Mapping[str, str] = field(default_factory=dict, hash=False)
    episode_column: str = "ep_idx"
    start_columns: tuple[str, ...] = ()
    goal_columns: tuple[str, ...] = ()
    probe_targets: tuple[ProbeTarget, ...] = ()
    perturbations: tuple[Perturbation, ...] = ()
    recognized_by: tuple[tuple[str, int], ...] = ()
    success_criteria: tuple[str, ...] = ("simulator",)
    goal_radius: float | None = None
    action_bounds: tuple[tuple[float, float], ...] = ()
    fps: float | None = None
    prepare: Callable[[], None] = field(default=prepare_nothing, repr=False)
    # Edges may be smoothed otherwise, but nothing is elsewhere.
    fidelity: Fidelity = Fidelity(alike=0.1, refused=1.0)
    make_simulator: Callable[[], Simulator] | None = field(default=None, repr=False)

    @cached_property
    def presets(self) -> dict[str, dict[str, Any]]:
        """Training presets by name: the tables `presets.<name>` of `task.toml`, validated by whoever uses them."""
        return dict(self._toml("task.toml")["presets"])

    @property
    def protocols(self) -> dict[str, dict[str, Any]]:
        """Evaluation protocols by name, as TOML gives them; there is none without a simulator."""
        return dict(self._evaluation.get("protocols", {}))

    @property
    def references(self) -> dict[str, Any]:
        """Settings of the references that are measured beside an evaluation, as TOML gives them."""
        return dict(self._evaluation.get("references", {}))

    @property
    def expectations(self) -> list[dict[str, Any]]:
        """Known facts about unusual protocols, as TOML gives them."""
        return list(self._evaluation.get("expectations", []))

    @cached_property
    def _evaluation(self) -> dict[str, Any]:
        return self._toml("protocols.toml") if self.make_simulator else {}

    def _toml(self, name: str) -> dict[str, Any]:
        return tomllib.loads((self.folder / name).read_text(encoding="utf-8"))
