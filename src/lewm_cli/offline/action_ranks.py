"""Ranks of the recorded actions among random ones, by the cost that planning would give them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lewm_cli.data import Dataset
from lewm_cli.heads import draw_stretches, recorded_blocks
from lewm_cli.offline.offline_config import RankingConfig
from lewm_cli.offline.offline_result import ActionRanking, Drawn
from lewm_cli.statistics import Estimate, Rate
from lewm_cli.store import Run

STARTS_AT_ONCE = 16

POOLED = 2000
"""Recorded sequences that random ones are drawn from, about."""

Costs = Callable[[slice, Tensor], Tensor]
"""Costs (n, K) of candidates (n, K, T, block_dim), normalized, for the starts of a slice."""


@dataclass(frozen=True)
class Candidates:
    """Action sequences for N starts, normalized, on the run's device.

    Args:
        recorded: (N, 1, T, block_dim) those that were taken.
        random: (N, K, T, block_dim) others, by where they come from.
    """

    recorded: Tensor
    random: dict[Drawn, Tensor]


@dataclass(frozen=True)
class Ranks:
    """Places of the recorded sequence at N starts: the share of random ones that cost more, and where all do."""

    percentiles: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, costs: np.ndarray) -> "Ranks":
        """Ranks the first of the costs (N, 1 + K) among the others; a tie counts half, and is not first."""
        recorded, others = costs[:, :1], costs[:, 1:]
        percentiles = (others > recorded).mean(axis=1) + 0.5 * (others == recorded).mean(axis=1)
        return cls(percentiles, np.all(others > recorded, axis=1))


def draw_candidates(
    run: Run,
    dataset: Dataset,
    episodes: np.ndarray,
    begins: np.ndarray,
    owners: np.ndarray,
    config: RankingConfig,
    seed: int,
) -> Candidates:
    """Draws the random action sequences of every start, which all networks rank alike.

    Args:
        episodes: (E,) that recorded sequences are drawn from, at least two of which can be.
        begins: (N,) rows of the starts.
        owners: (N,) their episodes; no sequence of the same one is drawn for a start.
    """
    generator, count = np.random.default_rng(seed), (len(begins), config.candidates)
    each = -(-POOLED // len(episodes))
    pool, pool_owners = draw_stretches(run, dataset, episodes, config.horizon, per_episode=each, seed=seed)
    others = np.stack([generator.choice(pool[pool_owners != owner], config.candidates) for owner in owners])
    ahead = run.card.inputs.frameskip * np.arange(config.horizon)
    noise = torch.Generator().manual_seed(seed)
    width = config.horizon, run.card.inputs.block_dim
    return Candidates(
        recorded_blocks(run, dataset, begins[:, None, None] + ahead),
        {
            "recorded": recorded_blocks(run, dataset, others[..., None] + ahead),
            "normal": config.std * torch.randn(*count, *width, generator=noise).to(run.device),
        },
    )


@torch.inference_mode()
def rank_recorded(
    candidates: Candidates, drawn: Drawn, steps: int, costs: Costs, advance: Callable[[int], None]
) -> Ranks:
    """Ranks the first steps of the recorded sequences among those of random ones, by their cost."""
    found = []
    for begin in range(0, len(candidates.recorded), STARTS_AT_ONCE):
        part = slice(begin, begin + STARTS_AT_ONCE)
        sequences = torch.cat([candidates.recorded[part], candidates.random[drawn][part]], dim=1)[:, :, :steps]
        found.append(costs(part, sequences).double().cpu().numpy())
        advance(len(sequences))
    return Ranks.of(np.concatenate(found))


def summarize_ranks(horizon: int, drawn: Drawn, model: Ranks, untrained: Ranks, owners: np.ndarray) -> ActionRanking:
    """Puts the ranks by a model beside those by an untrained one; owners (N,) are the episodes of the starts."""
    return ActionRanking(
        horizon=horizon,
        drawn=drawn,
        percentile=Estimate.of_mean(model.percentiles, owners),
        first=Rate.of(model.first, owners),
        untrained=float(untrained.percentiles.mean()),
        above_untrained=Estimate.of_mean(model.percentiles - untrained.percentiles, owners),
        percentiles=tuple(model.percentiles.tolist()),
    )
