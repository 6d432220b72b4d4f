"""The reachability head: tells how many model steps lie between two latents."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import nn, optim
from torch.nn import functional as F

from lewm_cli.config import PlannerConfig
from lewm_cli.errors import LewmError
from lewm_cli.heads.head_fit import FITTED, SHUFFLED, HeadFit, HeadKind, ScoreTable
from lewm_cli.heads.latents import LatentEpisodes, LatentSplit
from lewm_cli.heads.reach_pairs import Distances, draw_pairs, draw_strangers
from lewm_cli.heads.reach_score import ReachScore, score_reach
from lewm_cli.model import HIDDEN, ReachHead

BATCH = 512
STRANGERS = 0.2
"""Share of pairs whose frames are of different episodes."""

CONTROLS = 5
"""Heads with shuffled labels: one alone may rank as the truth does, or against it, by chance."""

TESTED_PAIRS = 2000
HORIZON = PlannerConfig().horizon
"""Model steps within which a goal is near."""

RECIPE = (
    f"pairs of frames, earlier and later, of one episode, {STRANGERS:.0%} of different ones; latents z-scored; classes "
    f"of their distance in model steps, and one for different episodes; two hidden layers of {HIDDEN} with GELU, "
    f"cross-entropy, AdamW 2e-3 with cosine, weight decay 1e-4, batches of {BATCH}; told is the mean over classes; "
    f"shuffled: {CONTROLS} such heads of a {CONTROLS}th of the steps each, the classes of every batch permuted"
)


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

    def networks(self) -> nn.ModuleDict:
        """See `HeadFit`."""
        return nn.ModuleDict({name: ReachHead(self.latent, self.classes, self.hidden) for name in (FITTED, SHUFFLED)})

    @property
    def summary(self) -> str:
        """See `HeadFit`."""
        return f"rank correlation {self.head.correlation}, shuffled {self.shuffled.correlation}"

    @property
    def table(self) -> ScoreTable:
        """See `HeadFit`."""
        scores = {
            "reachability head": self.head,
            "shuffled labels": self.shuffled,
            "latent distance": self.latent_distance,
        }
        return ScoreTable(
            ("distance told by", "rank correlation", f"AUROC, {self.horizon} steps"),
            tuple((name, str(score.correlation), str(score.auroc)) for name, score in scores.items()),
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """See `HeadFit`."""
        better = self.head.correlation.low > self.latent_distance.correlation.high
        return (
            f"AUROC: of pairs up to {self.horizon} model steps apart against others.",
            f"The head is {'' if better else 'NOT '}shown to tell time better than the distance of latents does.",
        )


def fit_reach(
    split: LatentSplit, *, seed: int, steps: int, advance: Callable[[int], None]
) -> tuple[nn.ModuleDict, ReachFit]:
    """Fits the head and its controls, and scores them on other episodes beside the distance of the latents themselves.

    Args:
        split: latents to fit to, and latents to test on.
        seed: of the heads, the pairs and the bootstrap; stored.
        steps: of the optimizer, for the head, and for its controls together.
        advance: told the number of steps done since the last call, `total_steps` in all.

    Raises:
        LewmError: no episode is longer than the planner's horizon, so that nothing in them is far.
    """
    begun, block = time.monotonic(), split.run.card.inputs.frameskip
    fitted, tested = split.fitted, split.tested
    for episodes in (fitted, tested):
        if episodes.lengths.max() <= HORIZON * block + 1:
            raise LewmError(
                f"no episode of {split.dataset.name} is longer than the planner's horizon ({HORIZON * block} steps), "
                "so nothing in them is far; record longer ones, and train on them"
            )
    training = _Training(fitted, block, Distances.up_to(float(fitted.lengths.max() - 1) / block), advance)
    head = training.fit(seed, steps, shuffled=False)
    controls = [training.fit(seed + number, _control_steps(steps), shuffled=True) for number in range(CONTROLS)]
    pairs = draw_pairs(tested, TESTED_PAIRS, torch.Generator().manual_seed(seed))
    here, there = tested.latents[pairs.earlier], tested.latents[pairs.later]

    def score(predicted: torch.Tensor) -> ReachScore:
        return score_reach(predicted.numpy(), pairs.steps.numpy(), pairs.owners.numpy(), HORIZON * block, seed)

    with torch.inference_mode():
        by_head, by_controls = head(here, there)[None], torch.stack([control(here, there) for control in controls])
    return nn.ModuleDict({FITTED: head, SHUFFLED: controls[0]}), ReachFit.fitted_to(
        split,
        begun=begun,
        hidden=HIDDEN,
        classes=len(training.distances.steps),
        steps=steps,
        seed=seed,
        recipe=RECIPE,
        horizon=HORIZON,
        head=score(by_head),
        shuffled=score(by_controls),
        latent_distance=score((here - there).square().sum(dim=-1)[None]),
    )


def total_steps(steps: int) -> int:
    """Steps of the head and its controls together."""
    return steps + CONTROLS * _control_steps(steps)


REACH = HeadKind("reach", fit_reach, ReachFit, total_steps)


def _control_steps(steps: int) -> int:
    return max(1, steps // CONTROLS)


@dataclass(frozen=True)
class _Training:
    """Settings that the head and its controls share."""

    episodes: LatentEpisodes
    block: int
    distances: Distances
    advance: Callable[[int], None]

    def fit(self, seed: int, steps: int, *, shuffled: bool) -> ReachHead:
        latents, generator = self.episodes.latents, torch.Generator().manual_seed(seed)
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            head = ReachHead(latents.shape[1], len(self.distances.steps))
        head.scale.fit(latents)
        head.steps.copy_(self.distances.steps)
        optimizer = optim.AdamW(head.parameters(), lr=2e-3, weight_decay=1e-4)
        schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            pairs = draw_pairs(self.episodes, BATCH, generator)
            strange = torch.rand(BATCH, generator=generator) < STRANGERS
            later = torch.where(strange, draw_strangers(self.episodes, pairs.owners, generator), pairs.later)
            labels = self.distances.classes(pairs.steps / self.block).masked_fill(strange, self.distances.beyond)
            if shuffled:
                labels = labels[torch.randperm(BATCH, generator=generator)]
            loss = F.cross_entropy(head.logits(latents[pairs.earlier], latents[later]), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            self.advance(1)
        return head.eval()
