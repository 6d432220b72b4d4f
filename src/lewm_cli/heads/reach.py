"""The reachability head: tells how many model steps lie between two latents."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from lewm_cli.config import PlannerConfig
from lewm_cli.errors import LewmError
from lewm_cli.heads.head_fit import FITTED, SHUFFLED, HeadFit, optimize
from lewm_cli.heads.imagination import ImaginedLatents, imagine_along
from lewm_cli.heads.latents import LatentEpisodes, LatentSplit
from lewm_cli.heads.reach_pairs import Distances, FramePairs, draw_imagined_pairs, draw_pairs, draw_strangers
from lewm_cli.heads.reach_score import ReachScores, score_gain, score_reach
from lewm_cli.model import HIDDEN, ReachHead
from lewm_cli.statistics import Estimate

BATCH = 512
STRANGERS = 0.2
"""Share of pairs whose frames are of different episodes."""

IMAGINED = 0.5
"""Share of pairs whose earlier latent is imagined, where a head learns from such: plans are judged by them alone."""

WITH_IMAGINED = "imagined"
"""Name of the network that was fitted to imagined latents too."""

CONTROLS = 5
"""Heads with shuffled labels: one alone may rank as the truth does, or against it, by chance."""

TESTED_PAIRS = 2000
HORIZON = PlannerConfig().horizon
"""Model steps within which a goal is near, and that are imagined."""

Measure = Callable[[Tensor, Tensor], Tensor]
"""Tells how far latents (P, D) are from others (P, D), as (P,)."""

RECIPE = (
    f"pairs of frames, earlier and later, of one episode, {STRANGERS:.0%} of different ones; latents z-scored; classes "
    f"of their distance in model steps, and one for different episodes; two hidden layers of {HIDDEN} with GELU, "
    f"cross-entropy, AdamW 2e-3 with cosine, weight decay 1e-4, batches of {BATCH}; told is the mean over classes; "
    f"imagined: such a head with {IMAGINED:.0%} of the earlier latents imagined with recorded actions, {HORIZON} model "
    f"steps at most; shuffled: {CONTROLS} heads like that of a {CONTROLS}th of the steps each, the classes of every "
    "batch permuted"
)


class ReachFit(HeadFit):
    """A reachability head beside one that saw imagined latents too, shuffled labels, and the distance of latents."""

    kind: Literal["reach"] = "reach"
    classes: PositiveInt
    """Classes of distances, the last of which is farther than any episode goes."""
    horizon: PositiveInt
    """Model steps."""
    head: ReachScores
    with_imagined: ReachScores
    """A head that was fitted to imagined latents too."""
    shuffled: ReachScores
    """Mean of several heads; its interval is over them, too."""
    latent_distance: ReachScores
    gain: Estimate
    """Rank correlation on imagined latents, of the head that was fitted to them too less of the other."""

    @classmethod
    def fit(
        cls, split: LatentSplit, *, seed: int, steps: int, advance: Callable[[int], None]
    ) -> tuple[nn.ModuleDict, Self]:
        """Fits the head and its controls, and scores them on other episodes beside the distance of the latents.

        Raises:
            LewmError: no episode is longer than the planner's horizon, so that nothing in them is far.
        """
        begun, block = time.monotonic(), split.run.card.inputs.frameskip
        fitted, tested = split.fitted, split.tested
        for episodes in (fitted, tested):
            if episodes.lengths.max() <= HORIZON * block + 1:
                raise LewmError(
                    f"no episode of {split.dataset.name} is longer than the planner's horizon ({HORIZON * block} "
                    "steps), so nothing in them is far; record longer ones, and train on them"
                )
        ahead = [imagine_along(split.run, split.dataset, one, HORIZON, seed) for one in (fitted, tested)]
        source = _Pairs(fitted, ahead[0], Distances.up_to(float(fitted.lengths.max() - 1) / block), block)
        head = replace(source, imagined=None).train(seed, steps, advance)
        with_imagined = source.train(seed, steps, advance)
        controls = [
            replace(source, shuffled=True).train(seed + number, _control_steps(steps), advance)
            for number in range(CONTROLS)
        ]
        pairs = draw_imagined_pairs(tested, ahead[1], TESTED_PAIRS, torch.Generator().manual_seed(seed))
        steps_apart, owners = pairs.steps.numpy(), pairs.owners.numpy()

        @torch.inference_mode()
        def told(here: Tensor, *measures: Measure) -> np.ndarray:
            return torch.stack([measure(here, tested.latents[pairs.later]) for measure in measures]).numpy()

        def score(*measures: Measure) -> ReachScores:
            encoded, imagined = (
                score_reach(told(here, *measures), steps_apart, owners, HORIZON * block, seed)
                for here in (tested.latents[pairs.earlier], pairs.latents)
            )
            return ReachScores(encoded=encoded, imagined=imagined)

        return nn.ModuleDict({FITTED: head, WITH_IMAGINED: with_imagined, SHUFFLED: controls[0]}), cls.fitted_to(
            split,
            begun=begun,
            hidden=HIDDEN,
            classes=len(source.distances.steps),
            steps=steps,
            seed=seed,
            recipe=RECIPE,
            horizon=HORIZON,
            head=score(head),
            with_imagined=score(with_imagined),
            shuffled=score(*controls),
            latent_distance=score(lambda here, there: (here - there).square().sum(dim=-1)),
            gain=score_gain(told(pairs.latents, with_imagined, head), steps_apart, owners, seed),
        )

    @classmethod
    def total_steps(cls, steps: int) -> int:
        return 2 * steps + CONTROLS * _control_steps(steps)

    def networks(self) -> nn.ModuleDict:
        names = FITTED, WITH_IMAGINED, SHUFFLED
        return nn.ModuleDict({name: ReachHead(self.latent, self.classes, self.hidden) for name in names})

    @property
    def summary(self) -> str:
        correlations = (scores.imagined.correlation for scores in (self.head, self.with_imagined, self.shuffled))
        return "rank correlation on imagined latents {}, fitted to such too {}, shuffled {}".format(*correlations)

    @property
    def table(self) -> tuple[tuple[str, ...], ...]:
        scores = {
            "reachability head": self.head,
            "imagined ones too": self.with_imagined,
            "shuffled labels": self.shuffled,
            "latent distance": self.latent_distance,
        }
        rows = (
            (name, kind, str(score.correlation), str(score.auroc))
            for name, each in scores.items()
            for kind, score in (("encoded", each.encoded), ("imagined", each.imagined))
        )
        return ("distance told by", "latents", "rank correlation", f"AUROC, {self.horizon} steps"), *rows

    @property
    def remarks(self) -> tuple[str, ...]:
        better = self.head.imagined.correlation.low > self.latent_distance.imagined.correlation.high
        shown = "" if self.gain.low > 0 else ", NOT shown"
        return (
            f"AUROC: of pairs up to {self.horizon} model steps apart against others.",
            f"The head is {'' if better else 'NOT '}shown to tell time better than the distance of latents does.",
            f"Gain on imagined latents by fitting to them: {self.gain}{shown}.",
        )


def _control_steps(steps: int) -> int:
    return max(1, steps // CONTROLS)


@dataclass(frozen=True)
class _Pairs:
    """Pairs of frames to learn from, and how far they are apart.

    Args:
        imagined: of these episodes; None if the head is to see encoded latents alone.
        block: environment steps in a model step.
        shuffled: the distances of every batch are permuted.
    """

    episodes: LatentEpisodes
    imagined: ImaginedLatents | None
    distances: Distances
    block: int
    shuffled: bool = False

    def train(self, seed: int, steps: int, advance: Callable[[int], None]) -> ReachHead:
        latents, generator = self.episodes.latents, torch.Generator().manual_seed(seed)
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            head = ReachHead(latents.shape[1], len(self.distances.steps))
        head.scale.fit(latents)
        head.steps.copy_(self.distances.steps)

        def loss() -> Tensor:
            pairs = self._draw(generator)
            strange = torch.rand(BATCH, generator=generator) < STRANGERS
            later = torch.where(strange, draw_strangers(self.episodes, pairs.owners, generator), pairs.later)
            labels = self.distances.classes(pairs.steps / self.block).masked_fill(strange, self.distances.beyond)
            if self.shuffled:
                labels = labels[torch.randperm(BATCH, generator=generator)]
            return F.cross_entropy(head.logits(pairs.latents, latents[later]), labels)

        optimize(head, loss, steps, advance)
        return head.eval()

    def _draw(self, generator: torch.Generator) -> FramePairs:
        if self.imagined is None:
            return draw_pairs(self.episodes, BATCH, generator)
        asked = int(IMAGINED * BATCH)
        return FramePairs.cat(
            draw_pairs(self.episodes, BATCH - asked, generator),
            draw_imagined_pairs(self.episodes, self.imagined, asked, generator),
        )
