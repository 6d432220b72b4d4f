"""The ranking of a solver's candidates by their cost, compared with where they really lead."""

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import spearmanr

from lewm_cli.diagnose.true_cost import TrueRollout
from lewm_cli.evaluate import RankedPair
from lewm_cli.plan import Plan


def rank_plan(number: int, plan: Plan, rollout: TrueRollout) -> RankedPair:
    """Compare the ranking of a plan's candidates by cost with the ranking by where they lead.

    Args:
        number: of the pair.
        plan: for one environment, by a solver that records.
        rollout: follows the candidates.
    """
    first, last = plan.history[0], plan.history[-1]
    distances = rollout.distances(torch.cat([first.actions[0], last.actions[0], plan.actions]))
    count = first.cost.shape[1]
    return RankedPair(
        number=number,
        first=_spearman(first.cost[0].numpy(), distances[:count]),
        last=_spearman(last.cost[0].numpy(), distances[count:-1]),
        distance=distances[-1],
        least=distances.min(),
    )


def _spearman(costs: npt.NDArray[np.floating], distances: npt.NDArray[np.floating]) -> float | None:
    """Rank correlation; None where one of them does not differ."""
    if np.ptp(costs) == 0 or np.ptp(distances) == 0:
        return None
    return float(spearmanr(costs, distances).statistic)
