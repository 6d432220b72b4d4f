"""Fitting a head that tells how many model steps lie between two latents, and its controls."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn, optim
from torch.nn import functional as F

from lewm_cli.config import PlannerConfig
from lewm_cli.errors import LewmError
from lewm_cli.fit_cost.distances import Distances
from lewm_cli.fit_cost.pairs import draw_pairs, draw_strangers
from lewm_cli.fit_cost.score import score_reach
from lewm_cli.model import HIDDEN, ReachHead
from lewm_cli.store import ONLY, SHUFFLED, LatentEpisodes, LatentSplit, ReachFit, ReachScore

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


def fit_reach(
    split: LatentSplit, *, seed: int, steps: int, advance: Callable[[int], None]
) -> tuple[nn.ModuleDict, ReachFit]:
    """Fit the head and its controls, and score them on other episodes, beside the distance of the latents themselves.

    Args:
        split: what to fit to, and what to test on.
        seed: of the heads, the pairs and the bootstrap; stored.
        steps: of the optimizer, for the head, and for its controls together.
        advance: told the number of steps done since the last call; see `fitting_steps`.

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

    def score(told: torch.Tensor) -> ReachScore:
        return score_reach(told.numpy(), pairs.steps.numpy(), pairs.owners.numpy(), HORIZON * block, seed)

    with torch.inference_mode():
        by_head, by_controls = head(here, there)[None], torch.stack([control(here, there) for control in controls])
    return nn.ModuleDict({ONLY: head, SHUFFLED: controls[0]}), ReachFit.fitted_to(
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


def fitting_steps(steps: int) -> int:
    """Steps of head and controls together."""
    return steps + CONTROLS * _control_steps(steps)


def _control_steps(steps: int) -> int:
    return max(1, steps // CONTROLS)


@dataclass(frozen=True)
class _Training:
    """What all heads have in common."""

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
            loss.backward()
            optimizer.step()
            schedule.step()
            self.advance(1)
        return head.eval()
