"""The cross-entropy method: draw, keep the elites, refit, repeat (paper appendix; stable_worldmodel's CEMSolver)."""

from lewm_cli.plan.search import IterativeSolver, Search


class CEM(IterativeSolver):
    """Plans with the mean of the last elites, or the cheapest candidate; candidate 0 is the current mean.

    It takes candidates, elites, iterations, horizon, initial standard deviation, and which result is taken.
    """

    def run(self, search: Search) -> None:
        """Refit mean and standard deviation to the cheapest candidates of every iteration."""
        config, mean, std = self.config, search.mean, search.std
        for _ in search.iterations(config.iterations, config.candidates):
            candidates = search.sample(config.candidates, mean, std)
            candidates[:, 0] = mean
            elites, costs, numbers = search.evaluate(candidates).cheapest(config.elites)
            mean, std = elites.mean(dim=1), elites.std(dim=1)
            search.update(mean, costs.mean(dim=1), numbers)
