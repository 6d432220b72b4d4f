"""The base of every kind of head: its result, the table of its scores, and how it is fitted."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

from pydantic import PositiveInt
from torch import nn

from lewm_cli.heads.latents import LatentSplit
from lewm_cli.store import Measurement

FITTED, SHUFFLED = "head", "shuffled"
"""Names of the networks in a file: the fitted one, and its control that was fitted to shuffled labels."""


@dataclass(frozen=True)
class ScoreTable:
    """Scores of a head and its references; one row each, below as many headings."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class HeadFit(Measurement, ABC):
    """A head fitted to frozen latents; `held_out` describes the episodes that it was tested on."""

    format: Literal[1] = 1
    kind: str
    latent: PositiveInt
    hidden: PositiveInt
    """Width of the two hidden layers."""
    steps: PositiveInt
    seed: int
    recipe: str
    fitted_episodes: PositiveInt
    fitted_frames: PositiveInt
    tested_episodes: PositiveInt
    tested_frames: PositiveInt

    @classmethod
    def fitted_to(cls, split: LatentSplit, *, begun: float, **found: Any) -> Self:
        """Builds the result of a fit whose test ends now; see `Measurement.of`.

        Args:
            split: the latents it was fitted to and tested on.
            begun: `time.monotonic()` at the beginning.
            found: the fields that do not follow from these.
        """
        return cls.of(
            split.run,
            split.dataset,
            held_out=split.held_out,
            begun=begun,
            latent=split.fitted.latents.shape[1],
            fitted_episodes=len(split.fitted.numbers),
            fitted_frames=len(split.fitted.rows),
            tested_episodes=len(split.tested.numbers),
            tested_frames=len(split.tested.rows),
            **found,
        )

    @abstractmethod
    def networks(self) -> nn.ModuleDict:
        """Builds networks of the stored sizes; their weights are still random."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """The scores in one line."""

    @property
    @abstractmethod
    def table(self) -> ScoreTable:
        """The scores beside those of the references."""

    @property
    @abstractmethod
    def remarks(self) -> tuple[str, ...]:
        """Sentences that belong below the table."""


class Fit(Protocol):
    """Fits the networks of one kind of head, and tests them."""

    def __call__(
        self, split: LatentSplit, *, seed: int, steps: int, advance: Callable[[int], None]
    ) -> tuple[nn.ModuleDict, HeadFit]:
        """Fits to some episodes and tests on others.

        Args:
            split: latents of these and of those.
            seed: of everything random; the same seed gives the same head.
            steps: of the optimizer.
            advance: told the number of steps done since the last call, `HeadKind.total_steps` in all.

        Raises:
            LewmError: nothing in these episodes can be fitted.
        """
        ...


@dataclass(frozen=True)
class HeadKind:
    """A kind of head.

    Args:
        name: as `--kind` takes it; the head is stored under it beside the run.
        fit: fits and tests it.
        result: the type of the result.
        total_steps: steps of the optimizer, those of its controls included, if its own are so many.
    """

    name: str
    fit: Fit
    result: type[HeadFit]
    total_steps: Callable[[int], int] = lambda steps: steps
