"""MPPI: the next mean weighs every candidate, the cheaper the more (model predictive path integral control)."""

from lewm_cli.plan.search import IterativeSolver, Search


class MPPI(IterativeSolver):
    """Plans with the weighted mean of the last candidates, or the cheapest of all; candidate 0 is the current mean.

    It takes candidates, iterations, horizon, standard deviation, `temperature`, and which result is taken.
    """

    def run(self, search: Search) -> None:
        """Draw with one standard deviation throughout, around the weighted mean."""
        config, mean, std = self.config, search.mean, search.std
        for _ in search.iterations(config.iterations, config.candidates):
            candidates = search.sample(config.candidates, mean, std)
            candidates[:, 0] = mean
            evaluated = search.evaluate(candidates)
            spread = evaluated.costs.std(dim=1, keepdim=True).clamp(min=1e-12)
            weights = (-evaluated.costs / (spread * config.temperature)).softmax(dim=1)
            mean = (weights[:, :, None, None] * evaluated.candidates).sum(dim=1)
            search.update(mean, (weights * evaluated.costs).sum(dim=1), evaluated.costs.argsort(dim=1))
