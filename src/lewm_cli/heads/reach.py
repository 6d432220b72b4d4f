"""The reachability head: tells how many model steps lie between two latents."""

import time
from collections.abc import Callable
from typing import Literal, Self

import numpy as np
import torch
from pydantic import PositiveInt
from scipy.stats import rankdata
from torch import nn
from torch.nn import functional as F

from lewm_cli.config import PlannerConfig, Section
from lewm_cli.errors import LewmError
from lewm_cli.heads.head_fit import FITTED, SHUFFLED, HeadFit, optimize
from lewm_cli.heads.latents import LatentEpisodes, LatentSplit
from lewm_cli.heads.reach_pairs import Distances, draw_pairs, draw_strangers
from lewm_cli.model import HIDDEN, ReachHead
from lewm_cli.statistics import Clusters, Estimate, percentile_interval

BATCH = 512
STRANGERS = 0.2
"""Share of pairs whose frames are of different episodes."""

CONTROLS = 5
"""Heads with shuffled labels: one alone may rank as the truth does, or against it, by chance."""

TESTED_PAIRS = 2000
RESAMPLES = 300
HORIZON = PlannerConfig().horizon
"""Model steps within which a goal is near."""

RECIPE = (
    f"pairs of frames, earlier and later, of one episode, {STRANGERS:.0%} of different ones; latents z-scored; classes "
    f"of their distance in model steps, and one for different episodes; two hidden layers of {HIDDEN} with GELU, "
    f"cross-entropy, AdamW 2e-3 with cosine, weight decay 1e-4, batches of {BATCH}; told is the mean over classes; "
    f"shuffled: {CONTROLS} such heads of a {CONTROLS}th of the steps each, the classes of every batch permuted"
)


class ReachScore(Section):
    """Scores of predictions how far pairs of frames of one episode are apart."""

    correlation: Estimate
    """Spearman's, with the environment steps between them."""
    auroc: Estimate
    """AUROC of telling pairs within the planner's horizon from pairs beyond it."""


class ReachFit(HeadFit):
    """A reachability head beside heads that learned from shuffled labels, and the squared distance of the latents."""

    kind: Literal["reach"] = "reach"
    classes: PositiveInt
    """Classes of distances, the last of which is farther than any episode goes."""
    horizon: PositiveInt
    """Model steps."""
    head: ReachScore
    shuffled: ReachScore
    """Mean of several heads; its interval is over them, too."""
    latent_distance: ReachScore

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
        distances = Distances.up_to(float(fitted.lengths.max() - 1) / block)
        head = _train_head(fitted, block, distances, seed, steps, advance, shuffled=False)
        controls = [
            _train_head(fitted, block, distances, seed + number, _control_steps(steps), advance, shuffled=True)
            for number in range(CONTROLS)
        ]
        pairs = draw_pairs(tested, TESTED_PAIRS, torch.Generator().manual_seed(seed))
        here, there = tested.latents[pairs.earlier], tested.latents[pairs.later]

        def score(predicted: torch.Tensor) -> ReachScore:
            return score_reach(predicted.numpy(), pairs.steps.numpy(), pairs.owners.numpy(), HORIZON * block, seed)

        with torch.inference_mode():
            by_head, by_controls = head(here, there)[None], torch.stack([control(here, there) for control in controls])
        return nn.ModuleDict({FITTED: head, SHUFFLED: controls[0]}), cls.fitted_to(
            split,
            begun=begun,
            hidden=HIDDEN,
            classes=len(distances.steps),
            steps=steps,
            seed=seed,
            recipe=RECIPE,
            horizon=HORIZON,
            head=score(by_head),
            shuffled=score(by_controls),
            latent_distance=score((here - there).square().sum(dim=-1)[None]),
        )

    @classmethod
    def total_steps(cls, steps: int) -> int:
        return steps + CONTROLS * _control_steps(steps)

    def networks(self) -> nn.ModuleDict:
        return nn.ModuleDict({name: ReachHead(self.latent, self.classes, self.hidden) for name in (FITTED, SHUFFLED)})

    @property
    def summary(self) -> str:
        return f"rank correlation {self.head.correlation}, shuffled {self.shuffled.correlation}"

    @property
    def table(self) -> tuple[tuple[str, ...], ...]:
        scores = {
            "reachability head": self.head,
            "shuffled labels": self.shuffled,
            "latent distance": self.latent_distance,
        }
        rows = ((name, str(score.correlation), str(score.auroc)) for name, score in scores.items())
        return ("distance told by", "rank correlation", f"AUROC, {self.horizon} steps"), *rows

    @property
    def remarks(self) -> tuple[str, ...]:
        better = self.head.correlation.low > self.latent_distance.correlation.high
        return (
            f"AUROC: of pairs up to {self.horizon} model steps apart against others.",
            f"The head is {'' if better else 'NOT '}shown to tell time better than the distance of latents does.",
        )


def score_reach(predicted: np.ndarray, steps: np.ndarray, episodes: np.ndarray, within: int, seed: int) -> ReachScore:
    """Compares the distances that one head or several predict with the truth; the scores are means over heads.

    Args:
        predicted: (H, P) larger is farther, in any unit.
        steps: (P,) environment steps that pairs are apart.
        episodes: (P,) of each pair; whole episodes and whole heads are drawn anew for the intervals.
        within: environment steps up to which a pair counts as within the planner's horizon.
        seed: of the bootstrap.
    """
    members = Clusters(episodes).members()
    generator = np.random.default_rng(seed)
    resamples = [
        (
            predicted[generator.integers(len(predicted), size=len(predicted))],
            np.concatenate([members[number] for number in generator.integers(len(members), size=len(members))]),
        )
        for _ in range(RESAMPLES)
    ]

    def estimate(measure: Callable[[np.ndarray, np.ndarray], float]) -> Estimate:
        def mean(heads: np.ndarray, pairs: np.ndarray) -> float:
            return float(np.mean([measure(head[pairs], steps[pairs]) for head in heads]))

        low, high = percentile_interval([mean(*resample) for resample in resamples])
        return Estimate(value=mean(predicted, np.arange(len(steps))), low=low, high=high)

    return ReachScore(
        correlation=estimate(_spearman), auroc=estimate(lambda ranked, steps: _auroc(ranked, steps > within))
    )


def _spearman(predicted: np.ndarray, steps: np.ndarray) -> float:
    """Rank correlation; 0 where either is constant."""
    ranks = rankdata(predicted), rankdata(steps)
    if min(rank.std() for rank in ranks) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def _auroc(predicted: np.ndarray, beyond: np.ndarray) -> float:
    """Chance that a pair beyond is predicted farther than one within, ties counted half; 0.5 if either is missing."""
    far, near = int(beyond.sum()), int(np.sum(~beyond))
    if not far or not near:
        return 0.5
    return float((rankdata(predicted)[beyond].sum() - far * (far + 1) / 2) / (far * near))


def _control_steps(steps: int) -> int:
    return max(1, steps // CONTROLS)


def _train_head(
    episodes: LatentEpisodes,
    block: int,
    distances: Distances,
    seed: int,
    steps: int,
    advance: Callable[[int], None],
    *,
    shuffled: bool,
) -> ReachHead:
    latents, generator = episodes.latents, torch.Generator().manual_seed(seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        head = ReachHead(latents.shape[1], len(distances.steps))
    head.scale.fit(latents)
    head.steps.copy_(distances.steps)

    def loss() -> torch.Tensor:
        pairs = draw_pairs(episodes, BATCH, generator)
        strange = torch.rand(BATCH, generator=generator) < STRANGERS
        later = torch.where(strange, draw_strangers(episodes, pairs.owners, generator), pairs.later)
        labels = distances.classes(pairs.steps / block).masked_fill(strange, distances.beyond)
        if shuffled:
            labels = labels[torch.randperm(BATCH, generator=generator)]
        return F.cross_entropy(head.logits(latents[pairs.earlier], latents[later]), labels)

    optimize(head, loss, steps, advance)
    return head.eval()
