"""The behavior prior: tells what recorded behavior would do next on the way to a goal (arXiv 2609.35603)."""

import time
from collections.abc import Callable
from typing import Literal, Self

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from lewm_cli.config import PlannerConfig
from lewm_cli.errors import LewmError
from lewm_cli.heads.head_fit import FITTED, SHUFFLED, HeadFit, optimize
from lewm_cli.heads.imagination import ImaginedLatents, imagine_along
from lewm_cli.heads.latents import LatentEpisodes, LatentSplit
from lewm_cli.model import HIDDEN, PriorHead
from lewm_cli.statistics import Estimate, estimate_r2

BATCH = 512
IMAGINED = 0.5
"""Share of the latents that are imagined ones, as planning asks the head for the later blocks of a plan."""

HORIZON = PlannerConfig().horizon
"""Model steps that are imagined."""

TESTED_PAIRS = 4000

RECIPE = (
    f"pairs of frames, earlier and later, of one episode, {IMAGINED:.0%} of the earlier ones imagined; latents "
    f"z-scored; two hidden layers of {HIDDEN} with GELU to mean and standard deviation of the action block that "
    f"follows, Gaussian likelihood, AdamW 2e-3 with cosine, weight decay 1e-4, batches of {BATCH}; shuffled: the same "
    "with the action blocks of every batch permuted"
)


class PriorFit(HeadFit):
    """A behavior prior beside one that learned from permuted actions."""

    kind: Literal["prior"] = "prior"
    block_dim: PositiveInt
    head: Estimate
    """R2 of the mean action block on other episodes, goals up to the planner's horizon away."""
    shuffled: Estimate

    @classmethod
    def fit(
        cls, split: LatentSplit, *, seed: int, steps: int, advance: Callable[[int], None]
    ) -> tuple[nn.ModuleDict, Self]:
        """Fits the head and its control, and scores them on other episodes.

        Raises:
            LewmError: no episode is longer than the planner's horizon.
        """
        begun, fitted = time.monotonic(), Behavior.of(split, split.fitted)
        imagined = imagine_along(split.run, split.dataset, split.fitted, HORIZON, seed)
        heads = {
            name: _train_head(fitted, imagined, seed, steps, advance, shuffled=name == SHUFFLED)
            for name in (FITTED, SHUFFLED)
        }
        tested = Behavior.of(split, split.tested)
        here, there = tested.draw(TESTED_PAIRS, torch.Generator().manual_seed(seed), HORIZON * tested.block)
        taken, owners = tested.blocks[here].numpy(), tested.episodes.owners[here.numpy()]

        def score(head: PriorHead) -> Estimate:
            with torch.inference_mode():
                mean, _ = head(tested.episodes.latents[here], tested.episodes.latents[there])
            return estimate_r2(mean.double().numpy(), taken.astype(np.float64), owners, seed)

        return nn.ModuleDict(heads), cls.fitted_to(
            split,
            begun=begun,
            hidden=HIDDEN,
            steps=steps,
            seed=seed,
            recipe=RECIPE,
            block_dim=fitted.blocks.shape[1],
            head=score(heads[FITTED]),
            shuffled=score(heads[SHUFFLED]),
        )

    @classmethod
    def total_steps(cls, steps: int) -> int:
        return 2 * steps

    def networks(self) -> nn.ModuleDict:
        return nn.ModuleDict({name: PriorHead(self.latent, self.block_dim, self.hidden) for name in (FITTED, SHUFFLED)})

    @property
    def summary(self) -> str:
        return f"R2 of actions {self.head}, shuffled {self.shuffled}"

    @property
    def table(self) -> tuple[tuple[str, ...], ...]:
        rows = {"behavior prior": self.head, "shuffled labels": self.shuffled}
        return ("action block told by", "R2"), *((name, str(score)) for name, score in rows.items())

    @property
    def remarks(self) -> tuple[str, ...]:
        better = self.head.low > self.shuffled.high
        return (
            f"R2: of the next action block, goals up to {HORIZON} model steps away; the rest is what the recording "
            "does at random.",
            f"The prior is {'' if better else 'NOT '}shown to know the way better than shuffled labels do.",
        )


class Behavior:
    """Recorded behavior to imitate: latents of episodes, and the action blocks that were taken.

    Attributes:
        blocks: (N, block_dim) normalized, from each frame on; the mean action where some are not known.
        known: (K,) places of frames whose whole block is known.
        ends: (N,) place of the last frame of the episode of each.
        block: actions in a block.
    """

    def __init__(self, episodes: LatentEpisodes, blocks: Tensor, known: Tensor, block: int) -> None:
        self.episodes, self.blocks, self.known, self.block = episodes, blocks, known, block
        self.ends = torch.from_numpy(np.repeat(episodes.starts + episodes.lengths - 1, episodes.lengths))

    @classmethod
    def of(cls, split: LatentSplit, episodes: LatentEpisodes) -> Self:
        """The behavior in some of the episodes; raises LewmError if there is none."""
        inputs, count = split.run.card.inputs, len(episodes.rows)
        ends = np.repeat(episodes.starts + episodes.lengths, episodes.lengths)
        places = np.arange(count)[:, None] + np.arange(inputs.frameskip)
        actions = split.dataset.actions[episodes.rows[np.minimum(places, count - 1)]]
        inside = (places < ends[:, None]) & np.isfinite(actions).all(axis=-1)
        known = np.flatnonzero(inside.all(axis=1) & (np.arange(count) + inputs.frameskip < ends))
        if not len(known):
            raise LewmError(
                f"no episode of {split.dataset.name} holds a whole action block ({inputs.frameskip} actions) and a "
                "frame after it; record longer ones, and train on them"
            )
        blocks = inputs.blocks_of(actions.reshape(-1, inputs.actions.dim))
        return cls(episodes, torch.from_numpy(blocks), torch.from_numpy(known), inputs.frameskip)

    def draw(self, count: int, generator: torch.Generator, farthest: int | None = None) -> tuple[Tensor, Tensor]:
        """Places (P,) of frames whose next block is known, and of later frames of their episodes."""
        here = self.known[torch.randint(len(self.known), (count,), generator=generator)]
        return here, self.later(here, generator, farthest)

    def later(self, here: Tensor, generator: torch.Generator, farthest: int | None = None) -> Tensor:
        """Places of later frames in the episodes of these, at most so many rows later."""
        left = self.ends[here] - here
        within = left if farthest is None else left.clamp(max=farthest)
        return here + 1 + (torch.rand(len(here), generator=generator, dtype=torch.float64) * within).long()


def _train_head(
    behavior: Behavior,
    imagined: ImaginedLatents,
    seed: int,
    steps: int,
    advance: Callable[[int], None],
    *,
    shuffled: bool,
) -> PriorHead:
    latents, generator = behavior.episodes.latents, torch.Generator().manual_seed(seed)
    known = torch.zeros(len(latents), dtype=torch.bool)
    known[behavior.known] = True
    usable = known[imagined.places].nonzero()[:, 0]
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        head = PriorHead(latents.shape[1], behavior.blocks.shape[1])
    head.scale.fit(latents)
    asked = int(IMAGINED * BATCH) if len(usable) else 0

    def loss() -> Tensor:
        here, there = behavior.draw(BATCH - asked, generator)
        drawn = usable[torch.randint(max(1, len(usable)), (asked,), generator=generator)]
        places = imagined.places[drawn]
        goals = torch.cat([there, behavior.later(places, generator)])
        blocks = behavior.blocks[torch.cat([here, places])]
        if shuffled:
            blocks = blocks[torch.randperm(BATCH, generator=generator)]
        mean, std = head(torch.cat([latents[here], imagined.latents[drawn]]), latents[goals])
        likelihood: Tensor = (((blocks - mean) / std).square() / 2 + std.log()).mean()
        return likelihood

    optimize(head, loss, steps, advance)
    return head.eval()
