"""What the file of a head says about it: how it was fitted to a run's latents, and how good it is."""

from typing import Any, Literal, Self

from pydantic import PositiveInt

from lewm_cli.config import Section
from lewm_cli.statistics import Estimate
from lewm_cli.store.latents import LatentSplit
from lewm_cli.store.measurement import Measurement

HeadKind = Literal["reach", "probe"]


class HeadFit(Measurement):
    """A head fitted to frozen latents; `held_out` is of the episodes that it was tested on."""

    format: Literal[1] = 1
    kind: HeadKind
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
        """A head whose fit and test end now; see `Measurement.of`.

        Args:
            split: what it was fitted to and tested on.
            begun: when, as `time.monotonic()` gives it.
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


class ReachScore(Section):
    """How well something tells how far pairs of frames of one episode are apart."""

    correlation: Estimate
    """Spearman's, with the environment steps between them."""
    auroc: Estimate
    """Of telling pairs within the planner's horizon from pairs beyond it."""


class ReachFit(HeadFit):
    """A reachability head beside heads that learned from shuffled labels, and the squared distance of the latents."""

    kind: Literal["reach"] = "reach"
    classes: PositiveInt
    """Of distances, the last of which is farther than any episode goes."""
    horizon: PositiveInt
    """Model steps."""
    head: ReachScore
    shuffled: ReachScore
    """Mean of several heads; its interval is over them, too."""
    latent_distance: ReachScore


class PositionScore(Section):
    """How well one position is read off frames of test episodes."""

    name: str
    unit: str
    r2: Estimate


class ProbeFit(HeadFit):
    """A probe of positions."""

    kind: Literal["probe"] = "probe"
    positions: tuple[PositionScore, ...]
    left_out: dict[str, str]
    """Positions that could not be fitted, and why."""
