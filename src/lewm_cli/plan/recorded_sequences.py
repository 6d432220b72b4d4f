"""Ranking of recorded action sequences: the model judges what was done in places like this one (arXiv 2609.30036)."""

import torch

from lewm_cli.plan.search import IterativeSolver, Search


class Recorded(IterativeSolver):
    """Plans with the cheapest of the recorded sequences that the problem brings; it draws nothing."""

    def run(self, search: Search) -> None:
        """Evaluate every sequence once."""
        candidates = torch.stack(list(search.problem.recorded)).to(search.problem.cost.device)
        for _ in search.iterations(1, candidates.shape[1]):
            evaluated = search.evaluate(candidates)
            search.update(search.best, search.best_cost, evaluated.costs.argmin(dim=1, keepdim=True))
