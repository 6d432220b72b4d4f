"""The base of every kind of head: its fit, its result, and the table of its scores."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self

from pydantic import PositiveInt
from torch import Tensor, nn, optim

from lewm_cli.heads.latents import LatentSplit
from lewm_cli.store import Measurement

FITTED, SHUFFLED = "head", "shuffled"
"""Names of the networks in a file: the fitted one, and its control that was fitted to shuffled labels."""


class HeadFit(Measurement, ABC):
    """A head fitted to frozen latents; `held_out` describes the episodes that it was tested on."""

    usual_steps: ClassVar[int] = 2500
    most_fitted: ClassVar[int] = 100_000
    most_tested: ClassVar[int] = 25_000
    """Frames encoded, in whole episodes: all there are of most recordings."""

    format: Literal[1] = 1
    kind: str
    """The value of `--kind`, under which the head is stored beside the run."""
    latent: PositiveInt
    hidden: PositiveInt
    """Width of the hidden layers."""
    steps: PositiveInt
    seed: int
    recipe: str
    fitted_episodes: PositiveInt
    fitted_frames: PositiveInt
    tested_episodes: PositiveInt
    tested_frames: PositiveInt

    @classmethod
    @abstractmethod
    def fit(
        cls, split: LatentSplit, *, seed: int, steps: int, advance: Callable[[int], None]
    ) -> tuple[nn.ModuleDict, Self]:
        """Fits the networks of a head to some episodes and tests them on others.

        Args:
            split: latents of these and of those.
            seed: of everything random; the same seed gives the same head.
            steps: of the optimizer.
            advance: called with the number of steps done since the last call, `total_steps` in all.

        Raises:
            LewmError: nothing in these episodes can be fitted.
        """

    @classmethod
    def total_steps(cls, steps: int) -> int:
        """Steps of the optimizer with those of the head's controls, if its own are so many."""
        return steps

    @classmethod
    def fitted_to(cls, split: LatentSplit, *, begun: float, **found: Any) -> Self:
        """Builds the result of a fit whose test ends now, from the fields that do not follow from the latents."""
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
    def table(self) -> tuple[tuple[str, ...], ...]:
        """The scores beside those of the references, one row each; the headings are the first row."""

    @property
    @abstractmethod
    def remarks(self) -> tuple[str, ...]:
        """Sentences that belong below the table."""


def optimize(network: nn.Module, loss: Callable[[], Tensor], steps: int, advance: Callable[[int], None]) -> None:
    """Fits a network, one batch a step, whose loss is drawn anew each time."""
    optimizer = optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        value = loss()
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        advance(1)
