"""Ranking of recorded action sequences: the model judges what was done in places like this one (arXiv 2609.30036)."""

import torch

from lewm_cli.plan.search import IterativeSolver, Search


class Recorded(IterativeSolver):
    """Plans with the cheapest of the recorded sequences that the problem brings; it draws nothing.

    It takes candidates per iteration, iterations, horizon.
    """

    def run(self, search: Search) -> None:
        """Evaluate some more of them in every iteration, in their order."""
        sequences = torch.stack(list(search.problem.recorded)).to(search.problem.cost.device)
        parts = sequences.split(self.config.candidates, dim=1)  # type: ignore[no-untyped-call]
        for number in search.iterations(min(len(parts), self.config.iterations), parts[0].shape[1]):
            evaluated = search.evaluate(parts[number])
            search.update(search.best, search.best_cost, evaluated.costs.argmin(dim=1, keepdim=True))
