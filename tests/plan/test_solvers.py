"""Every solver finds what there is to find, within its bounds and its budget, and for each environment by itself."""

import itertools
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

import lewm_cli
from commands import flat, lewm_here
from lewm_cli.config import RANKING, ActionBounds, Layer, ModelConfig, PlannerConfig
from lewm_cli.control import ImaginedPlan, Planner, task_planner
from lewm_cli.diagnose import FilmResult
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.evaluate import EvalResult
from lewm_cli.methods import JEPA
from lewm_cli.model import PlanFlops
from lewm_cli.plan import Bounds, LatentCost, PerEnvironment, Plan, Prior, Problem, WarmStart, find_solver
from lewm_cli.plan.cost import cost_and_gradient
from lewm_cli.plan.icem import ColoredNoise
from lewm_cli.plan.solvers import SOLVERS
from lewm_cli.store import Home, Run
from lewm_cli.tasks import find_task

pytest_plugins = ("recordings", "untrained")

EVERY = sorted(set(SOLVERS) - set(RANKING))
"""Those that draw."""

FEW = {
    "cem": {"elites": 5},
    "icem": {"elites": 5},
    "mppi": {},
    "random-shooting": {},
    "gradient": {},
    "cem-gd": {"elites": 5, "descents": 3, "refined": 3},
}
"""Settings that make every solver small."""

HORIZON, WIDTH = 3, 4


@dataclass(frozen=True)
class Bowl:
    """A cost with one minimum per environment, that remembers what it was asked."""

    target: torch.Tensor
    asked: list[torch.Tensor] = field(default_factory=list)

    @property
    def environments(self) -> int:
        return len(self.target)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def of(self, number: int) -> "Bowl":
        return Bowl(self.target[number : number + 1], self.asked)

    def __call__(self, candidates: torch.Tensor) -> torch.Tensor:
        self.asked.append(candidates.detach().clone())
        return (candidates - self.target.unsqueeze(1)).square().sum(dim=(2, 3))


@dataclass(frozen=True)
class Rugged(Bowl):
    """One with many dents, over which solvers take different ways."""

    def __call__(self, candidates: torch.Tensor) -> torch.Tensor:
        return super().__call__(candidates) - torch.cos(5 * candidates).sum(dim=(2, 3))

    def of(self, number: int) -> "Rugged":
        return Rugged(self.target[number : number + 1], self.asked)


@dataclass(frozen=True)
class Torn(Bowl):
    """One that costs no number, nor has a gradient, wherever a sequence begins with more than `edge`."""

    edge: float = 0.0
    beyond: float = torch.nan

    def __call__(self, candidates: torch.Tensor) -> torch.Tensor:
        torn = torch.where(candidates[:, :, 0, 0] > self.edge, self.beyond, 1.0)
        return super().__call__(candidates) * torn

    def of(self, number: int) -> "Torn":
        return replace(self, target=self.target[number : number + 1])


@dataclass(frozen=True)
class Late(Bowl):
    """One that costs no number the first time it is asked."""

    def __call__(self, candidates: torch.Tensor) -> torch.Tensor:
        costs = super().__call__(candidates)
        return costs if len(self.asked) > 1 else costs * torch.nan


def few(solver: str, **settings: object) -> PlannerConfig:
    small = {"candidates": 24, "iterations": 6, "horizon": HORIZON, "receding": 1}
    return PlannerConfig(solver=solver, **(small | FEW[solver] | settings))


def targets(count: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(count, HORIZON, WIDTH, generator=torch.Generator().manual_seed(3))


def ask_of(cost: Bowl, **more: object) -> Problem:
    generators = [torch.Generator().manual_seed(seed) for seed in range(cost.environments)]
    return Problem(cost, WIDTH, generators, **more)


def same(one: Plan, other: Plan) -> bool:
    """Bit for bit, apart from the time they took."""
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("actions", "cost", "iterations"))


def imagined(model: JEPA, start: torch.Tensor, sequences: torch.Tensor) -> torch.Tensor:
    """The last latent (N, D) of sequences (N, T, block_dim) from latents (N, D): every window whole."""
    blocks, latents = model.embed_actions(sequences), [start]
    for end in range(1, sequences.shape[1] + 1):
        seen = slice(max(0, end - model.history), end)
        latents.append(model.predict(torch.stack(latents[seen], dim=1), blocks[:, seen])[:, -1])
    return latents[-1]


# What they find


@pytest.mark.parametrize("solver", EVERY)
def test_every_solver_finds_the_minimum_of_a_bowl(solver: str):
    bowl = Bowl(targets(3, scale=0.7))
    config = PlannerConfig(solver=solver, horizon=HORIZON, receding=1, iterations=60)
    plan = find_solver(config).solve(ask_of(bowl))
    away = (plan.actions - bowl.target).square().sum(dim=(1, 2))
    standing = bowl.target.square().sum(dim=(1, 2))
    # Random shooting knows nothing of what it tried before, and MPPI never draws closer.
    within = {"random-shooting": 0.8, "mppi": 0.1}.get(solver, 0.01)
    assert (away < within * standing).all()
    assert plan.actions.shape == (3, HORIZON, WIDTH)
    assert plan.iterations.tolist() == [len(bowl.asked)] * 3
    assert plan.seconds > 0


@pytest.mark.parametrize("solver", EVERY)
def test_best_is_the_cheapest_that_was_ever_tried(solver: str):
    rugged = Rugged(targets(2))
    plan = find_solver(few(solver, result="best")).solve(ask_of(rugged))
    for number in range(2):
        tried = torch.cat([candidates[number] for candidates in rugged.asked])
        costs = Rugged(rugged.target[number : number + 1])(tried[None])[0]
        assert torch.equal(plan.actions[number], tried[costs.argmin()])


def test_gradient_of_the_latent_cost_is_that_of_the_plain_rollout(small_model: JEPA):
    starts, goals = torch.randn(2, 8), torch.randn(2, 8)
    candidates = torch.randn(2, 300, 4, 10, generator=torch.Generator().manual_seed(2))  # in several parts
    cost = LatentCost(small_model, starts.unsqueeze(1), goals)
    with torch.inference_mode():  # as solvers ask
        costs, slopes = cost_and_gradient(cost, candidates)
        assert torch.allclose(costs, cost(candidates), rtol=1e-4)
    for number in range(2):
        leaf = candidates[number].clone().requires_grad_()
        plain = (imagined(small_model, starts[number].expand(300, -1), leaf) - goals[number]).square().sum(dim=1)
        (slope,) = torch.autograd.grad(plain.sum(), leaf)
        assert torch.allclose(costs[number], plain.detach(), rtol=1e-4)
        assert torch.allclose(slopes[number], slope, rtol=1e-3, atol=1e-4 * slope.abs().max().item())
    assert slopes.abs().max() > 0.1
    assert all(parameter.grad is None for parameter in small_model.parameters())


def test_gradient_steps_are_those_of_torch(small_model: JEPA):
    start, goal = torch.randn(1, 1, 8), torch.randn(1, 8)
    cost = LatentCost(small_model, start, goal)
    config = PlannerConfig(solver="gradient", candidates=5, iterations=7, step=0.05)
    plan = find_solver(config, record=True).solve(Problem(cost, 10, [torch.Generator().manual_seed(1)]))
    sequences = plan.history[0].actions.clone().requires_grad_()
    adam = torch.optim.Adam([sequences], lr=0.05)
    for iteration in plan.history:
        assert torch.allclose(iteration.actions, sequences, atol=1e-4)
        adam.zero_grad()
        (imagined(small_model, start[:, 0].expand(5, -1), sequences[0]) - goal).square().sum().backward()
        adam.step()


@pytest.mark.parametrize("solver", EVERY)
def test_history_holds_what_was_asked(solver: str):
    rugged = Rugged(targets(2))
    plan = find_solver(few(solver), record=True).solve(ask_of(rugged))
    assert len(plan.history) == len(rugged.asked) == int(plan.iterations[0])
    for iteration, asked in zip(plan.history, rugged.asked, strict=True):
        assert torch.equal(iteration.actions, asked)
        assert torch.equal(iteration.cost, Rugged(rugged.target)(asked))
        of_elites = iteration.cost.take_along_dim(iteration.elites, dim=1)
        assert torch.equal(of_elites, iteration.cost.sort(dim=1).values[:, : of_elites.shape[1]])
    assert find_solver(few(solver)).solve(ask_of(Rugged(targets(2)))).history == ()


@pytest.mark.parametrize("beyond", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("solver", EVERY)
def test_what_costs_no_number_counts_as_worst(solver: str, beyond: float):
    target = targets(3, scale=0.7)
    target[:, 0, 0] = torch.tensor([-0.5, -0.1, 0.4])  # the last one beyond the edge
    torn = Torn(target, edge=0.1, beyond=beyond)
    config = PlannerConfig(solver=solver, horizon=HORIZON, receding=1, iterations=40)
    plan = find_solver(config, record=True).solve(ask_of(torn))
    assert torn(plan.actions[:, None]).isfinite().all()  # what is left of the space has no dents
    assert plan.cost.isfinite().all()
    assert all(iteration.cost.isfinite().all() for iteration in plan.history)
    away = (plan.actions - target).square().sum(dim=(1, 2)) - torch.tensor([0.0, 0.0, 0.3**2])
    within = {"random-shooting": 0.8, "mppi": 0.15, "gradient": 0.1}.get(solver, 0.02)
    assert (away < within * target.square().sum(dim=(1, 2))).all()
    for number in range(3):
        alone = replace(ask_of(torn.of(number)), generators=[torch.Generator().manual_seed(number)])
        assert same(find_solver(config).solve(alone), plan.of(number))


@pytest.mark.parametrize("solver", EVERY)
def test_few_numbers_are_enough(solver: str):
    settings = {"iterations": 20} | ({"elites": 16} if "cem" in solver else {})
    torn = Torn(targets(2) - 1)
    plan = find_solver(few(solver, **settings)).solve(ask_of(torn))
    assert torn(torn.asked[0]).isfinite().sum(dim=1).max() < 16
    assert plan.cost.isfinite().all()
    assert (torn(plan.actions[:, None])[:, 0] < 0.9 * torn.target.square().sum(dim=(1, 2))).all()  # of standing still


@pytest.mark.parametrize("solver", sorted(set(EVERY) - {"gradient", "cem-gd"}))  # those need a slope to get anywhere
def test_a_first_iteration_without_a_number_is_no_end(solver: str):
    late = Late(targets(2))
    config = PlannerConfig(solver=solver, horizon=HORIZON, receding=1, iterations=40)
    plan = find_solver(config).solve(ask_of(late))
    away = (plan.actions - late.target).square().sum(dim=(1, 2))
    assert (away < 0.8 * late.target.square().sum(dim=(1, 2))).all()


@pytest.mark.parametrize("solver", EVERY)
def test_no_number_at_all_is_said(solver: str):
    numbers = torch.cat([targets(1), torch.full((1, HORIZON, WIDTH), torch.nan)])
    with pytest.raises(LewmError, match=r"no candidate costs a finite number: .*lewm verify"):
        find_solver(few(solver)).solve(ask_of(Bowl(numbers)))


# Each environment by itself


@given(
    solver=st.sampled_from(EVERY),
    order=st.permutations(range(4)),
    count=st.integers(1, 4),
    tolerance=st.sampled_from([0.0, 0.2, 0.6]),
    warm=st.lists(st.booleans(), min_size=4, max_size=4),
    bounded=st.booleans(),
    record=st.booleans(),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_plan_does_not_depend_on_the_other_environments(
    solver: str, order: list[int], count: int, tolerance: float, warm: list[bool], bounded: bool, record: bool
):
    rugged, config = Rugged(targets(4)), few(solver, tolerance=tolerance, iterations=9)
    bounds = Bounds(torch.full((WIDTH,), -0.5), torch.full((WIDTH,), 0.8)) if bounded else None
    kept = torch.full((2, HORIZON, WIDTH), 0.1)
    guess = WarmStart(torch.full((HORIZON, WIDTH), 0.2), kept)

    def solve(numbers: list[int], *, separately: bool) -> tuple[Plan, list[torch.Tensor]]:
        generators = [torch.Generator().manual_seed(number) for number in numbers]
        guesses = [guess if warm[number] else None for number in numbers]
        cost = Rugged(rugged.target[numbers])
        solver = find_solver(config, record=record)
        problem = Problem(cost, WIDTH, generators, warm_starts=guesses, bounds=bounds, flops=PlanFlops(5, 7))
        plan = (PerEnvironment(solver) if separately else solver).solve(problem)
        return plan, [torch.randn(1, generator=generator) for generator in generators]

    together, after = solve([0, 1, 2, 3], separately=False)
    chosen = list(order[:count])
    for separately in (False, True):
        plan, drawn_next = solve(chosen, separately=separately)
        assert torch.equal(plan.actions, together.actions[chosen])
        assert torch.equal(plan.cost, together.cost[chosen])
        assert torch.equal(plan.iterations, together.iterations[chosen])
        assert torch.equal(plan.flops, together.flops[chosen])
        assert drawn_next == [after[number] for number in chosen]  # the next plan will be the same, too
        for place, number in enumerate(chosen):
            mine, theirs = plan.of(place).history, together.of(number).history
            assert len(mine) == len(theirs) == (int(plan.iterations[place]) if record else 0)
            for one, other in zip(mine, theirs, strict=True):
                assert torch.equal(one.actions, other.actions)
                assert torch.equal(one.cost, other.cost)
                assert torch.equal(one.elites, other.elites)


@pytest.mark.parametrize("solver", EVERY)
def test_separately_is_bit_for_bit_the_same_with_a_model(small_model: JEPA, solver: str):
    starts, goals = torch.randn(4, 1, 8), torch.randn(4, 8)

    def plan(numbers: list[int]) -> Plan:
        generators = [torch.Generator().manual_seed(number) for number in numbers]
        cost = LatentCost(small_model, starts[numbers], goals[numbers])
        return PerEnvironment(find_solver(few(solver))).solve(Problem(cost, 10, generators, frameskip=5))

    together = plan([0, 1, 2, 3])
    for numbers in ([0], [3, 1], [2, 3, 0]):
        alone = plan(numbers)
        for place, number in enumerate(numbers):
            assert same(alone.of(place), together.of(number))


# Priors


def guesses(count: int) -> list[Prior]:
    """A prior for each environment, wide in its first step and narrow in the others."""
    generator, std = torch.Generator().manual_seed(5), torch.full((HORIZON, WIDTH), 0.1)
    std[0] = 0.8
    return [Prior(torch.randn(HORIZON, WIDTH, generator=generator), std) for _ in range(count)]


@pytest.mark.parametrize("solver", EVERY)
def test_search_begins_at_the_prior_with_its_spread(solver: str):
    priors = guesses(2)
    plan = find_solver(few(solver, candidates=400, std=0.5), record=True).solve(
        ask_of(Rugged(targets(2)), priors=priors)
    )
    first = plan.history[0].actions
    for number, prior in enumerate(priors):
        apart = first[number] - prior.mean
        assert apart.std(dim=0)[0].mean() == pytest.approx(0.5 * 0.8, rel=0.1)
        assert apart.std(dim=0)[1:].mean() == pytest.approx(0.5 * 0.1, rel=0.1)
        assert (apart.mean(dim=0).abs() < 0.2 * prior.std).all()
        if solver != "icem":  # which tries the mean in its last iteration only
            assert torch.equal(first[number, 0], prior.mean)


@pytest.mark.parametrize("solver", EVERY)
def test_prior_of_an_environment_is_its_own(solver: str):
    priors, rugged = guesses(3), Rugged(targets(3))
    together = PerEnvironment(find_solver(few(solver))).solve(ask_of(rugged, priors=priors))
    assert same(together, find_solver(few(solver)).solve(ask_of(rugged, priors=priors)))
    for number in range(3):
        generators = [torch.Generator().manual_seed(number)]
        alone = Problem(rugged.of(number), WIDTH, generators, priors=priors[number : number + 1])
        assert same(find_solver(few(solver)).solve(alone), together.of(number))


@pytest.mark.parametrize("solver", EVERY)
def test_good_prior_shortens_the_search(solver: str):
    bowl = Bowl(targets(3, scale=1.5))
    priors = [Prior(target + 0.05, torch.full((HORIZON, WIDTH), 0.1)) for target in bowl.target]
    config = few(solver, candidates=24, iterations=2, result="best")
    cost = find_solver(config).solve(ask_of(bowl, priors=priors)).actions - bowl.target
    assert (cost.square().sum(dim=(1, 2)) < 0.05 * bowl.target.square().sum(dim=(1, 2))).all()


def test_warm_start_that_is_given_goes_before_the_prior():
    kept = torch.empty(0, HORIZON, WIDTH)
    asked = ask_of(Bowl(targets(2)), priors=guesses(2), warm_starts=[WarmStart(torch.ones(HORIZON, WIDTH), kept), None])
    assert torch.equal(asked.initial_mean(HORIZON)[0], torch.ones(HORIZON, WIDTH))
    assert torch.equal(asked.initial_mean(HORIZON)[1], guesses(2)[1].mean)


@pytest.mark.parametrize(("candidates", "iterations", "tried"), [(4, 1, 4), (4, 2, 8), (4, 9, 10), (300, 30, 10)])
def test_recorded_sequences_are_tried_in_their_order_as_many_as_there_are(candidates: int, iterations: int, tried: int):
    recorded = torch.randn(2, 10, HORIZON, WIDTH, generator=torch.Generator().manual_seed(1))
    bowl, sizes = Bowl(targets(2)), {"candidates": candidates, "iterations": iterations, "horizon": HORIZON}
    config = PlannerConfig(solver="recorded", anchors="demos", receding=1, **sizes)
    asked = ask_of(bowl, recorded=list(recorded), flops=PlanFlops(images=1000, candidate=10))
    plan = find_solver(config).solve(asked)
    assert torch.equal(torch.cat(bowl.asked, dim=1), recorded[:, :tried])
    cheapest = Bowl(bowl.target)(recorded[:, :tried]).argmin(dim=1)
    assert torch.equal(plan.actions, recorded[torch.arange(2), cheapest])
    assert plan.flops.tolist() == [1000 + 10 * min(candidates, 10) * len(bowl.asked)] * 2


# Warm starts


@pytest.mark.parametrize("solver", EVERY)
def test_warm_start_shortens_the_search(solver: str):
    bowl = Bowl(targets(4, scale=1.5))
    config = few(solver, candidates=100, iterations=40, std=0.5)
    kept = torch.empty(0, HORIZON, WIDTH)

    def needed(guesses: list[WarmStart]) -> list[int]:
        """Iterations until a candidate costs less than 2."""
        plan = find_solver(config, record=True).solve(ask_of(bowl, warm_starts=guesses))
        costs = torch.stack([iteration.cost.min(dim=1).values for iteration in plan.history])
        return [int((costs[:, number] >= 2).cumprod(dim=0).sum()) for number in range(4)]

    warm, cold = needed([WarmStart(target + 0.2, kept) for target in bowl.target]), needed([])
    assert all(one <= other for one, other in zip(warm, cold, strict=True))
    assert sum(warm) <= sum(cold) / 2


def test_what_is_left_of_a_plan_is_shifted_by_what_was_executed():
    actions = torch.arange(24.0).reshape(2, HORIZON, WIDTH)
    plan = Plan(
        actions,
        torch.zeros(2),
        0.1,
        torch.ones(2),
        carried=actions[:, None] + torch.tensor([100.0, 200.0])[:, None, None],
    )
    left = plan.warm_start(1, executed=2)
    assert torch.equal(left.mean, torch.cat([actions[1, 2:], torch.zeros(2, WIDTH)]))
    assert left.carried.shape == (2, HORIZON, WIDTH)
    assert torch.equal(left.carried[1, 0], actions[1, 2] + 200)
    assert (left.carried[:, 1:] == 0).all()
    assert not plan.warm_start(0, executed=HORIZON).mean.any()


def test_icem_tries_kept_elites_again_in_the_next_iteration_and_the_next_plan():
    bowl, config = Bowl(targets(1)), few("icem", kept=0.4, iterations=4)  # 2 of 5
    plan = find_solver(config).solve(ask_of(bowl))
    for before, after in itertools.pairwise(bowl.asked):
        costs = Bowl(bowl.target)(before)[0]
        assert torch.equal(after[0, -2:], before[0, costs.topk(2, largest=False).indices])
    guess, again = plan.warm_start(0, executed=1), Bowl(bowl.target)
    assert torch.equal(guess.carried[:, :-1], plan.carried[0, :, 1:])
    find_solver(config).solve(ask_of(again, warm_starts=[guess]))
    assert torch.equal(again.asked[0][0, -2:], guess.carried)


def test_icem_tries_the_mean_in_the_last_iteration_only():
    bowl, config = Bowl(targets(1)), few("icem", iterations=4)
    find_solver(config).solve(ask_of(bowl))
    means = [
        asked[0, Bowl(bowl.target)(asked)[0].topk(5, largest=False).indices].mean(dim=0) for asked in bowl.asked[:-1]
    ]
    first = [torch.allclose(asked[0, 0], mean, atol=1e-6) for mean, asked in zip(means, bowl.asked[1:], strict=True)]
    assert first == [False, False, True]


@pytest.mark.parametrize("color", [0.0, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("steps", [25, 64])
def test_noise_has_the_spectrum_that_was_asked_for(color: float, steps: int):
    generator = torch.Generator().manual_seed(1)
    colored = ColoredNoise(steps, color, torch.device("cpu"))
    noise = colored(torch.randn(20000, 2, colored.frequencies, generator=generator))
    assert noise.shape == (20000, steps)
    assert noise.mean().abs() < 0.02
    assert noise.var(dim=0, correction=0).numpy() == pytest.approx(np.ones(steps), abs=0.06)
    power = np.abs(np.fft.rfft(noise.numpy())).__pow__(2).mean(axis=0)[1 : (steps + 1) // 2]
    frequencies = np.fft.rfftfreq(steps)[1 : (steps + 1) // 2]
    slope, _ = np.polyfit(np.log(frequencies), np.log(power), 1)
    assert slope == pytest.approx(-color, abs=0.05)


def test_colored_noise_lasts_over_the_actions_of_a_sequence():
    bowl = Bowl(torch.zeros(1, 8, 10))
    config = PlannerConfig(solver="icem", candidates=2000, iterations=1, horizon=8)
    find_solver(config).solve(Problem(bowl, 10, [torch.Generator().manual_seed(1)], frameskip=5))
    actions = bowl.asked[0][0, 1:].reshape(-1, 40, 2)  # the mean apart
    alike = (actions[:, 1:] * actions[:, :-1]).mean(dim=(0, 1)) / actions.square().mean(dim=(0, 1))
    across = (actions[..., 0] * actions[..., 1]).mean()
    assert (alike > 0.9).all()  # from action to action, over the ends of blocks too
    assert across.abs() < 0.1  # dimensions know nothing of each other


# Bounds


@pytest.mark.parametrize("solver", EVERY)
def test_bounds_hold_exactly(solver: str):
    bounds = Bounds(torch.tensor([-0.3, -1.0, 0.0, -0.1]), torch.tensor([0.2, 1.0, 0.4, 0.1]))
    rugged = Rugged(targets(3, scale=3.0))
    plan = find_solver(few(solver)).solve(ask_of(rugged, bounds=bounds))
    for sequences in (*rugged.asked, plan.actions):
        assert (sequences >= bounds.low).all()
        assert (sequences <= bounds.high).all()
    free = find_solver(few(solver)).solve(ask_of(Rugged(rugged.target)))
    assert (free.actions > bounds.high).any()


@given(
    mean=st.lists(st.floats(-3, 3), min_size=2, max_size=2), std=st.lists(st.floats(1e-3, 30), min_size=2, max_size=2)
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_actions_within_the_bounds_are_within_the_action_space(tworoom_run: Run, mean: list[float], std: list[float]):
    actions = tworoom_run.card.inputs.actions.model_copy(update={"mean": tuple(mean), "std": tuple(std)})
    inputs = tworoom_run.card.inputs.model_copy(update={"actions": actions})
    run = replace(tworoom_run, card=tworoom_run.card.model_copy(update={"inputs": inputs}))
    problem = Planner(run, PlannerConfig(bounds=True)).problem(Bowl(torch.zeros(1, 5, 10)), [torch.Generator()])
    far = torch.tensor([[-1e6], [1e6]]).expand(2, 10)
    low, high = inputs.actions_of(problem.bounds.clip(far).numpy()).reshape(2, 5, 2)
    assert (low >= -1).all()
    assert (high <= 1).all()
    assert low == pytest.approx(-1, abs=1e-4)
    assert high == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", ["tworoom", "pusht", "reacher", "cube"])
def test_bounds_of_a_task_are_those_of_its_simulator(name: str):
    task = find_task(name)
    simulator = task.make_simulator()
    space = simulator._environment.action_space
    low, high = zip(*task.action_bounds, strict=True)
    np.testing.assert_array_equal(space.low, np.array(low, space.dtype))
    np.testing.assert_array_equal(space.high, np.array(high, space.dtype))


def test_bounds_of_a_run_without_a_simulator_are_those_of_its_recording(pick_run: Run):
    low, high = np.linspace(-2, 0.5, 7), np.linspace(0.5, 4, 7)
    inputs = pick_run.card.inputs.model_copy(update={"bounds": ActionBounds(low=tuple(low), high=tuple(high))})
    for task, sides in (("generic", (low, high)), ("cube", (low, high)), ("an arm", (low, high))):
        card = pick_run.card.model_copy(update={"inputs": inputs.model_copy(update={"task": task})})
        run = replace(pick_run, card=card)
        found = (
            Planner(run, PlannerConfig(bounds=True)).problem(Bowl(torch.zeros(1, 5, 14)), [torch.Generator()]).bounds
        )
        least, greatest = (inputs.actions_of(side.numpy()[None])[:2] for side in (found.low, found.high))
        assert (least >= sides[0].astype(np.float32)).all()
        assert (greatest <= sides[1].astype(np.float32)).all()
        np.testing.assert_allclose([least, greatest], [[side] * 2 for side in sides], atol=1e-4)


def test_bounds_that_nobody_knows_are_refused(home: Home, pick_run: Run, frames):
    policy = lewm_cli.Policy(pick_run, frames[1], planner=PlannerConfig(bounds=True))
    with pytest.raises(LewmError, match=r"robot/pick .* action space is not known .*; leave planner\.bounds out"):
        policy.act(frames[0])


# Budgets


@pytest.mark.parametrize("solver", EVERY)
def test_operations_stay_within_their_budget(solver: str):
    config = few(solver, iterations=20)
    free = find_solver(config).solve(ask_of(Bowl(targets(2)), flops=PlanFlops(images=1000, candidate=10)))
    each = 10 * 24 * (2 if solver == "gradient" else 1)
    refined = 3 * 10 * 3 * 2 if solver == "cem-gd" else 0
    assert free.flops.tolist() == [1000 + 20 * each + refined] * 2
    for iterations in (1, 2, 7):
        limit = 1000 + iterations * each
        for more, made in ((0, iterations), (each - 1, iterations), (-1, max(1, iterations - 1))):
            limited = few(solver, iterations=20, flops=limit + more)
            plan = find_solver(limited).solve(ask_of(Bowl(targets(2)), flops=PlanFlops(images=1000, candidate=10)))
            assert plan.iterations.tolist() == [made] * 2
            assert plan.flops.tolist() == [1000 + made * each] * 2
    enough = few(solver, iterations=20, flops=free.flops[0].item())
    assert find_solver(enough).solve(ask_of(Bowl(targets(2)), flops=PlanFlops(1000, 10))).flops[0] == free.flops[0]


def test_operations_that_nobody_counts_cannot_be_limited():
    with pytest.raises(LewmError, match=r"nobody counts .*; set planner\.milliseconds"):
        find_solver(few("cem", flops=100)).solve(ask_of(Bowl(targets(1))))


@pytest.mark.parametrize("solver", EVERY)
def test_time_stays_within_its_budget(solver: str, monkeypatch: pytest.MonkeyPatch):
    slow, hopeless = Bowl(targets(1)), Bowl(targets(1))
    with monkeypatch.context() as patch:  # a clock on which every evaluation takes 30 ms
        patch.setattr(time, "monotonic", lambda: 0.03 * (len(slow.asked) + len(hopeless.asked)))
        plan = find_solver(few(solver, iterations=50, milliseconds=200)).solve(ask_of(slow))
        assert int(plan.iterations) == len(slow.asked) == 6
        assert plan.seconds == pytest.approx(0.18)
        assert find_solver(few(solver, milliseconds=1)).solve(ask_of(hopeless)).iterations.tolist() == [1]
    ample = few(solver, milliseconds=1e7)
    assert same(
        find_solver(ample).solve(ask_of(Bowl(targets(2)))), find_solver(few(solver)).solve(ask_of(Bowl(targets(2))))
    )


def test_icem_knows_its_last_iteration_within_a_budget_of_operations():
    bowl = Bowl(targets(1))
    limited = few("icem", iterations=20, flops=3 * 240)
    plan = find_solver(limited).solve(ask_of(bowl, flops=PlanFlops(0, 10)))
    assert plan.iterations.tolist() == [3]
    kept = bowl.asked[-2][0, Bowl(bowl.target)(bowl.asked[-2])[0].topk(5, largest=False).indices]
    assert torch.allclose(bowl.asked[-1][0, 0], kept.mean(dim=0), atol=1e-6)


@pytest.mark.parametrize("solver", EVERY)
def test_convergence_stops(solver: str):
    bowl = Bowl(targets(3))
    config = few(solver, iterations=200, tolerance=0.5)
    plan = find_solver(config, record=True).solve(ask_of(bowl))
    made = plan.iterations
    assert (made > 3).all()
    assert (made < 200).all()
    assert len(bowl.asked) == int(made.max())
    for number in range(3):
        costs = torch.stack([iteration.cost[0].min() for iteration in plan.of(number).history])
        least = costs.cummin(dim=0).values
        saved = least[3:] < 0.5 * least[:-3]
        assert saved[:-1].all()  # three iterations had halved the cost every time but the last
        assert not saved[-1]


# What a plan takes


@pytest.mark.parametrize("width", [None, 24])
@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_operations_are_those_that_torch_counts(small_config: ModelConfig, width: int | None, horizon: int):
    predictor = small_config.predictor.model_copy(update={"width": width})
    model = JEPA(small_config.model_copy(update={"predictor": predictor}), block_dim=10).eval().requires_grad_(False)
    told = PlanFlops.of(model, horizon)
    start, candidates = torch.zeros(3, 8), torch.zeros(3, horizon, 10, requires_grad=True)

    def plainly() -> torch.Tensor:
        return imagined(model, start, candidates).square().sum()

    def counted(work: Callable[[], object]) -> int:
        with FlopCounterMode(display=False) as counter:
            work()
        return counter.get_total_flops()

    assert told.tried(3, gradient=False) == pytest.approx(counted(plainly), rel=0.02)
    differentiated = counted(lambda: plainly().backward())
    assert told.tried(3, gradient=True) == pytest.approx(differentiated, rel=0.05)
    with torch.no_grad():
        encoded = counted(lambda: model.embed(torch.zeros(1, 2, 3, 64, 64)))
    assert told.images == pytest.approx(encoded, rel=0.02)


@pytest.mark.slow
def test_release_takes_what_its_sizes_say():
    told = PlanFlops.of(JEPA(ModelConfig(), block_dim=10).eval(), horizon=5)
    # 9,000 candidates of 12 windows' tokens; about 11 million weights are used for each token.
    assert 9000 * told.candidate == pytest.approx(9000 * 12 * 2 * 11.6e6, rel=0.05)


# Settings


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"solver": "mppi", "elites": 5}, "elites means nothing to the solver mppi; leave it out, or use cem, icem or"),
        ({"color": 1.0}, "color means nothing to the solver cem; leave it out, or use icem"),
        (
            {"solver": "icem", "temperature": 1.0},
            "temperature means nothing to the solver icem; leave it out, or use mppi",
        ),
        (
            {"solver": "gradient", "descents": 3},
            "descents means nothing to the solver gradient; leave it out, or use cem-gd",
        ),
        ({"step": 0.1}, "step means nothing to the solver cem; leave it out, or use gradient or cem-gd"),
        (
            {"solver": "gradient", "result": "mean"},
            "gradient has no mean in the end; leave result out, or set it to 'best'",
        ),
        ({"warm_start": True}, "nothing is where all 5 steps are executed; set receding to fewer than horizon"),
        ({"solver": "cem-gd", "candidates": 3, "elites": 2}, "refined 4 is more than candidates 3"),
        ({"solver": "cemm"}, "solver = 'cemm': input should be 'cem', 'icem',"),
        ({"tolerance": 1.0}, "tolerance = 1.0: input should be less than 1"),
        ({"milliseconds": 0}, "milliseconds = 0: input should be greater than 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(tree: dict[str, object], says: str):
    with pytest.raises(UsageError) as refused:
        PlannerConfig.build(tree, "here")
    assert says in str(refused.value)
    assert str(refused.value).endswith("(in here)")


@pytest.mark.parametrize("solver", EVERY)
def test_settings_are_stored_and_read_again(solver: str):
    config = PlannerConfig(solver=solver)
    assert PlannerConfig.model_validate_json(config.model_dump_json()) == config
    assert task_planner("tworoom", (Layer("--solver", {"planner": {"solver": solver}}),)) == config
    own = {"color", "kept", "temperature", "step", "refined", "descents"}
    assert {name for name in own if getattr(config, name) is not None} == {
        "cem": set(),
        "icem": {"color", "kept"},
        "mppi": {"temperature"},
        "random-shooting": set(),
        "gradient": {"step"},
        "cem-gd": {"step", "refined", "descents"},
    }[solver]


# Commands

FEW_TRIES = [word for key in ("candidates=12", "elites=4", "iterations=3") for word in ("--set", f"planner.{key}")]


@pytest.mark.parametrize("solver", EVERY)
def test_plan_between_images_with_every_solver(home: Home, tworoom_run: Run, images: tuple[Path, Path], solver: str):
    start, goal = images
    settings = {"candidates": 12, "iterations": 3} | ({"elites": 4} if "cem" in solver else {})
    words = [word for key, value in settings.items() for word in ("--set", f"planner.{key}={value}")]
    line = ("plan", tworoom_run.name, "--start", start, "--goal", goal, *words, "--solver", solver)
    done = lewm_here(home.write, *line, "--horizon", 3, "--set", "planner.bounds=true", "--json")
    assert done.code == 0, done.err
    plan = ImaginedPlan.model_validate(done.json())
    assert (plan.planner.solver, plan.planner.horizon, plan.planner.receding) == (solver, 3, 3)
    assert plan.iterations_per_plan == (13 if solver == "cem-gd" else 3)
    assert plan.flops_per_plan > 3 * 12 * PlanFlops.of(tworoom_run.model, 3).candidate
    assert np.abs(plan.actions).max() <= 1
    again = lewm_here(home.write, *line, "--horizon", 3)
    assert f"planning: {solver}, 3 iterations of 12 candidates" in again.err
    assert f"One plan on cpu: {plan.iterations_per_plan} iterations, " in flat(again.out)


def test_budgets_are_options(home: Home, tworoom_run: Run, images: tuple[Path, Path]):
    start, goal = images
    line = ("plan", tworoom_run.name, "--start", start, "--goal", goal, "--json")
    told = PlanFlops.of(tworoom_run.model, 5)
    done = lewm_here(home.write, *line, "--plan-flops", told.images + 2 * told.tried(300, gradient=False))
    assert done.json()["iterations_per_plan"] == 2
    assert "unusual" not in done.err
    hurried = lewm_here(home.write, *line, "--plan-ms", 0.001)
    assert hurried.json()["iterations_per_plan"] == 1
    assert "unusual: a plan may take 0.001 ms, so how many iterations it gets" in hurried.err
    refused = lewm_here(home.write, *line, "--horizon", 3, "--set", "planner.refined=3").sentence(code=2)
    assert "refined means nothing to the solver cem" in refused
    assert "--horizon" in refused


def test_history_is_an_option_and_no_longer_than_the_models(home: Home, tworoom_run: Run, images: tuple[Path, Path]):
    between = ["plan", tworoom_run.name, "--start", images[0], "--goal", images[1], *FEW_TRIES]
    short, whole = (lewm_here(home.write, *between, "--history", steps, "--json").json() for steps in (1, 3))
    assert [made["planner"]["history"] for made in (short, whole)] == [1, 3]
    assert short["flops_per_plan"] < whole["flops_per_plan"]
    assert whole["actions"] == lewm_here(home.write, *between, "--json").json()["actions"] != short["actions"]
    refused = lewm_here(home.write, *between, "--history", 4).sentence(code=2)
    assert f"history 4 is more than the 3 steps that {tworoom_run.name} has learned to look back at" in refused


@pytest.mark.parametrize(("fastest", "used"), [(torch.bfloat16, "bfloat16"), (torch.float32, "float32")])
def test_precision_is_measured_if_it_is_left_open_and_the_result_says_which(
    home: Home, tworoom_run: Run, images: tuple[Path, Path], monkeypatch, fastest: torch.dtype, used: str
):
    between = ["plan", tworoom_run.name, "--start", images[0], "--goal", images[1], *FEW_TRIES, "--json"]
    imaginer, dtypes = JEPA.imaginer, []
    monkeypatch.setattr(JEPA, "imaginer", lambda model, *how: dtypes.append(how[0]) or imaginer(model, *how))
    monkeypatch.setattr("lewm_cli.control.run_planner.fastest_dtype", lambda model: fastest)
    left_open = lewm_here(home.write, *between, "--set", "planner.precision=auto").json()
    given = lewm_here(home.write, *between, "--set", f"planner.precision={used}").json()
    assert left_open["planner"]["precision"] == given["planner"]["precision"] == used
    assert set(dtypes) == {fastest}
    assert left_open["actions"] == given["actions"]
    dtypes.clear()
    exact = lewm_here(home.write, *between).json()
    assert set(dtypes) == {torch.float32}
    assert given["zero_action_costs"] == pytest.approx(exact["zero_action_costs"], rel=0.05)


def test_policy_begins_where_the_plan_before_ends(tworoom_run: Run, frames):
    planner = PlannerConfig(candidates=16, elites=4, iterations=2, receding=2, warm_start=True, tolerance=0.01)
    policy = lewm_cli.Policy(tworoom_run, frames[1], planner=planner)
    asked: list[WarmStart | None] = []

    def plan_again() -> Plan:
        for _ in range(10):
            policy.act(frames[0])
        return policy.plan

    first = plan_again()
    with pytest.MonkeyPatch.context() as monkeypatch:
        problem = Planner.problem
        spied = lambda planner, cost, generators, guesses, *begun: (  # noqa: E731
            asked.extend(guesses) or problem(planner, cost, generators, guesses, *begun)
        )
        monkeypatch.setattr(Planner, "problem", spied)
        plan_again()
        policy.reset(frames[1])
        plan_again()
    guess, after_reset = asked
    assert after_reset is None
    assert torch.equal(guess.mean[:3], first.actions[0, 2:])
    assert not guess.mean[3:].any()


@pytest.mark.slow
@pytest.mark.parametrize("solver", EVERY)
def test_evaluation_with_every_solver(trained: Path, tmp_path: Path, solver: str):
    home = tmp_path / "home"
    shutil.copytree(trained, home)
    settings = {"candidates": 12, "iterations": 3, "bounds": "true", "warm_start": "true"}
    settings |= {"elites": 4} if "cem" in solver else {}
    words = [word for key, value in settings.items() for word in ("--set", f"planner.{key}={value}")]
    line = ("eval", "tworoom/lewm", "--episodes", 4, *words, "--solver", solver, "--receding", 2, "--workers", 1)
    done = lewm_here(home, *line, "--record", 1, "--json")
    assert done.code == 0, done.err
    result = EvalResult.model_validate(done.json())
    assert result.protocol.planner.solver == solver
    assert result.iterations_per_plan == (13 if solver == "cem-gd" else 3)
    told = PlanFlops.of(JEPA(lewm_model(home), 10).eval(), 5)
    gradient = solver == "gradient"
    refined = told.tried(4, gradient=True) * 10 if solver == "cem-gd" else 0
    assert result.flops_per_plan == told.images + 3 * told.tried(12, gradient=gradient) + refined
    assert sum(one.iterations for one in result.episodes) == result.plans * result.iterations_per_plan
    assert " kB); look at them: lewm view tworoom/lewm" in done.err
    check_film(home, result)
    again = lewm_here(home, *line, "--record", 0)
    assert f"{result.plans} plans on cpu: {result.iterations_per_plan:g} iterations, " in flat(again.out)
    stored = sorted(home.glob("tworoom/lewm.run/results/eval-*.json"))
    first, second = (EvalResult.model_validate_json(path.read_text()) for path in stored[-2:])
    assert first.episodes == second.episodes


def check_film(home: Path, result: EvalResult) -> None:
    """Whatever the solver, a film holds every plan, some of its iterations, and their candidates by cost."""
    planner = result.protocol.planner
    (path,) = home.glob("tworoom/lewm.run/results/films-*.json")
    (film,) = FilmResult.model_validate_json(path.read_text()).films
    assert film.first_hit == result.episodes[film.number].first_hit
    taken = len(film.path.array()) - 1
    assert [plan.step for plan in film.plans] == list(range(0, taken, 10))
    for plan in film.plans:
        went = film.path.array()[plan.step :][:11]
        assert plan.path.array()[: len(went)] == pytest.approx(went, abs=0.1)
        made = 13 if planner.solver == "cem-gd" else 3
        assert len(plan.lowest) == len(plan.mean) == made
        assert (plan.iterations[0].iteration, plan.iterations[-1].iteration) == (1, made)
        for tried in plan.iterations:
            count = 4 if tried.iteration > 3 else 12
            elites = {"cem": 4, "icem": 4, "cem-gd": 4, "random-shooting": 1}.get(planner.solver, count)
            assert (len(tried.costs), tried.elites, tried.paths.shape) == (count, elites, (count, 6, 2))
            assert list(tried.costs) == sorted(tried.costs)
            assert tried.costs[0] == plan.lowest[tried.iteration - 1]


def lewm_model(home: Path) -> ModelConfig:
    """Sizes of the run in a home."""
    done = lewm_here(home, "show", "tworoom/lewm", "--json")
    return ModelConfig.model_validate(json.loads(done.out)["model"])
