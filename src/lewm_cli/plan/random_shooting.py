"""Random shooting: draw, and take the cheapest."""

from lewm_cli.plan.search import IterativeSolver, Search


class RandomShooting(IterativeSolver):
    """Plans with the cheapest of all candidates, none of which depends on the others; the first is the initial mean.

    It takes candidates per iteration, iterations, horizon, standard deviation.
    """

    def run(self, search: Search) -> None:
        """Draw around the initial mean in every iteration."""
        config, mean = self.config, search.mean
        for number in search.iterations(config.iterations, config.candidates):
            candidates = search.sample(config.candidates, mean, search.std)
            if number == 0:
                candidates[:, 0] = mean
            evaluated = search.evaluate(candidates)
            search.update(search.best, search.best_cost, evaluated.costs.argmin(dim=1, keepdim=True))
