"""stable_worldmodel's environments, imported late and without their warnings, and the base of their simulators."""

import logging
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np

from lewm_cli.errors import LewmError
from lewm_cli.tasks.task import Episode, Simulator

Row = dict[str, Any]
"""The frame `pixels` of a step, and a value for every other recorded column."""

OTHER_COLOR = 128.0
"""The least distance, RGB levels, between two colors that are easy to tell apart."""

MOST_TRIES = 10_000
"""Places that a jump is tried to."""


class SwmSimulator(Simulator):
    """The part that the simulators of all tasks share.

    Private members of the environments are used throughout: there is no public way to put them into a given state.

    Args:
        environment: stable_worldmodel's, without wrappers.
    """

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._criterion, self._demonstrator = "simulator", ""

    def demonstrate(self, seed: np.random.SeedSequence, *, any_start: bool, vary_color: bool = False) -> Episode:
        reset_seed, policy_seed, color_seed = seed.spawn(3)
        began = self._reset(reset_seed, any_start=any_start)
        if vary_color:
            self._recolor(np.random.default_rng(color_seed), from_any=True)
        return Episode.of_rows(*self._demonstrated(began, policy_seed))

    def reset(self, seed: np.random.SeedSequence) -> None:
        reset_seed, _ = seed.spawn(2)
        self._reset(reset_seed, any_start=False)

    def demonstrate_by(self, policy: str) -> None:
        self._demonstrator = policy

    def judge_by(self, criterion: str) -> None:
        self._criterion = criterion

    def frame(self) -> np.ndarray:
        return np.asarray(self._environment.render())

    def perturb(self, name: str, generator: np.random.Generator, size: float | None = None) -> float:
        """Stage `teleport` or `color` now, until the next `begin`; returns how large the change is."""
        return self._recolor(generator) if name == "color" else self._teleport(generator, size)

    def random_action(self, generator: np.random.Generator) -> np.ndarray:
        space = self._environment.action_space
        return np.asarray(generator.uniform(space.low, space.high), np.float32)

    @abstractmethod
    def _reset(self, seed: np.random.SeedSequence, *, any_start: bool) -> Any: ...

    @abstractmethod
    def _demonstrated(self, began: Any, seed: np.random.SeedSequence) -> tuple[list[Row], list[np.ndarray]]:
        """Rows of an episode of the demonstrator, the reset frame first, and its actions; `began` is from `_reset`."""

    @abstractmethod
    def _teleport(self, generator: np.random.Generator, size: float | None) -> float: ...

    @abstractmethod
    def _recolor(self, generator: np.random.Generator, *, from_any: bool = False) -> float: ...

    def _recolor_part(self, generator: np.random.Generator, part: str, *others: str, from_any: bool) -> float:
        """Recolor a part of the environment; returns the distance from its color before, RGB levels.

        With `from_any` the color may be near the one before, as long as it is far from those of the others.
        """
        spaces = self._environment.variation_space
        color = spaces[part]["color"]
        before = color.value.astype(float)
        around = [spaces[other]["color"].value for other in others]
        after = other_color(generator, *around, *([] if from_any else [before]))
        color.set_value(after.astype(np.uint8))
        return float(np.linalg.norm(after - before))


def other_color(generator: np.random.Generator, *known: np.ndarray) -> np.ndarray:
    """Draw a color (3,) of RGB levels, 0 to 255, that lies far from every known one, each (3,)."""
    while True:
        color = generator.integers(256, size=3)
        if min(float(np.linalg.norm(color - other.astype(float))) for other in known) >= OTHER_COLOR:
            return color


def tries() -> Iterator[int]:
    """Count tries to find a free place; raises LewmError after so many that there seems to be none."""
    yield from range(MOST_TRIES)
    raise LewmError(
        f"the simulator found no free place to jump to in {MOST_TRIES:,} tries; another --seed draws other episodes"
    )


def direction(generator: np.random.Generator) -> np.ndarray:
    """Draw a direction in the plane (2,), of length 1."""
    angle = generator.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])


def refused_state(problem: str) -> LewmError:
    """The error of a simulator that did not take a recorded state."""
    return LewmError(
        f"{problem}; the simulator differs from the one that recorded it: reinstall stable-worldmodel==0.1.1"
    )


def make_environment(gym_id: str, **settings: Any) -> Any:
    """Build one of stable_worldmodel's environments with its settings, without wrappers."""
    import_stable_worldmodel()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gymnasium.make(gym_id, **settings).unwrapped


def import_stable_worldmodel() -> None:
    """Import it, which registers its environments.

    It takes seconds and warns about environments that are not installed; neither matters here.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The shadow of its import: a gymnasium logger that repeats the same warnings on stderr.
        gymnasium.logger.min_level = logging.ERROR
        import stable_worldmodel  # noqa: F401
