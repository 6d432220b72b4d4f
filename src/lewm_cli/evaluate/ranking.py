"""How well a cost ranks what a solver tried, by where it really leads."""

import numpy as np
import torch
from scipy.stats import spearmanr

from lewm_cli.evaluate.reference_result import RankedPair
from lewm_cli.evaluate.true_cost import Onward
from lewm_cli.plan import Plan


def rank_plan(number: int, plan: Plan, way: Onward) -> RankedPair:
    """How well the costs of a plan's candidates rank them by where they lead.

    Args:
        number: of the pair.
        plan: for one environment, by a solver that was asked to remember.
        way: follows the candidates.
    """
    first, last = plan.history[0], plan.history[-1]
    distances = way.distances(torch.cat([first.actions[0], last.actions[0], plan.actions]))
    count = first.cost.shape[1]
    return RankedPair(
        number=number,
        first=_spearman(first.cost[0].numpy(), distances[:count]),
        last=_spearman(last.cost[0].numpy(), distances[count:-1]),
        distance=distances[-1],
        least=distances.min(),
    )


def _spearman(costs: np.ndarray, distances: np.ndarray) -> float | None:
    """Rank correlation; None where one of them does not differ."""
    if np.ptp(costs) == 0 or np.ptp(distances) == 0:
        return None
    return float(spearmanr(costs, distances).statistic)
