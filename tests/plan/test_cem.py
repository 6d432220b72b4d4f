"""The cross-entropy method finds a minimum, for each environment by itself."""

import pytest
import torch

from lewm_cli.config import PlannerConfig
from lewm_cli.plan import Problem
from lewm_cli.plan.cem import CEM


class Bowl:
    """A cost with its minimum at a target (E, horizon, block_dim); remembers what it was asked."""

    def __init__(self, target: torch.Tensor) -> None:
        self.target = target
        self.asked: list[torch.Tensor] = []

    @property
    def environments(self) -> int:
        return len(self.target)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def __call__(self, candidates: torch.Tensor) -> torch.Tensor:
        self.asked.append(candidates.clone())
        return (candidates - self.target.unsqueeze(1)).square().sum(dim=(2, 3))


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_planner_finds_the_minimum():
    target = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(1))
    plan = CEM(PlannerConfig(horizon=2, receding=2)).solve(Problem(Bowl(target), 4, generators(1, 2, 3)))
    assert torch.allclose(plan.actions, target, atol=1e-2)
    assert plan.actions.shape == (3, 2, 4)
    assert plan.cost.shape == (3,)
    assert (plan.cost < 1e-2).all()


def test_first_candidate_is_the_mean_of_the_last_elites():
    config = PlannerConfig(candidates=20, elites=5, iterations=4, horizon=2, receding=1, std=0.5)
    bowl = Bowl(torch.ones(2, 2, 3))
    plan = CEM(config).solve(Problem(bowl, 3, generators(1, 2)))
    assert len(bowl.asked) == 4
    assert (bowl.asked[0][:, 0] == 0).all()
    assert bowl.asked[0][:, 1:].std().item() == pytest.approx(0.5, rel=0.2)
    means = []
    for candidates in bowl.asked:
        costs = (candidates - 1).square().sum(dim=(2, 3))
        best = costs.argsort(dim=1)[:, :5]
        means.append(torch.stack([candidates[environment, best[environment]].mean(dim=0) for environment in range(2)]))
    for mean, candidates in zip(means[:-1], bowl.asked[1:], strict=True):
        assert torch.allclose(candidates[:, 0], mean, atol=1e-6)
    assert torch.allclose(plan.actions, means[-1], atol=1e-6)


def test_plan_of_an_environment_does_not_depend_on_the_others():
    target = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(1))
    solver = CEM(PlannerConfig(candidates=30, elites=5, iterations=3, horizon=2, receding=2))
    together = solver.solve(Problem(Bowl(target), 4, generators(1, 2, 3))).actions
    alone = solver.solve(Problem(Bowl(target[[2, 0]]), 4, generators(3, 1))).actions
    assert torch.equal(alone, together[[2, 0]])
    other = solver.solve(Problem(Bowl(target[[2, 0]]), 4, generators(3, 9))).actions
    assert torch.equal(other[0], together[2])
    assert not torch.equal(other[1], together[0])


class Dented:
    """A cost with many minima; remembers what it was asked."""

    def __init__(self, environments: int) -> None:
        self.environments = environments
        self.device = torch.device("cpu")
        self.candidates: list[torch.Tensor] = []
        self.costs: list[torch.Tensor] = []

    def __call__(self, candidates: torch.Tensor) -> torch.Tensor:
        self.candidates.append(candidates.clone())
        self.costs.append((torch.cos(5 * candidates) + candidates.square()).sum(dim=(2, 3)))
        return self.costs[-1]


def test_best_candidate_is_the_cheapest_that_was_ever_tried():
    config = PlannerConfig(candidates=20, elites=5, iterations=4, horizon=2, receding=1, result="best")
    bowl = Dented(3)
    plan = CEM(config).solve(Problem(bowl, 3, [torch.Generator().manual_seed(seed) for seed in (1, 2, 3)]))
    costs, candidates = torch.cat(bowl.costs, dim=1), torch.cat(bowl.candidates, dim=1)
    for environment in range(3):
        assert torch.equal(plan.actions[environment], candidates[environment, costs[environment].argmin()])
    mean = CEM(config.model_copy(update={"result": "mean"})).solve(
        Problem(Dented(3), 3, [torch.Generator().manual_seed(seed) for seed in (1, 2, 3)])
    )
    assert not torch.equal(plan.actions, mean.actions)
    assert torch.equal(plan.cost, mean.cost)
