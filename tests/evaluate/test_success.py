"""What counts as success goes from the protocol to the simulator and into the result, in a world that is a line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from line import LINE, Line, recording

from lewm_cli.config import EvalProtocol
from lewm_cli.control import Planner
from lewm_cli.errors import LewmError
from lewm_cli.evaluate import EvalResult, choose_pairs, evaluate
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.plan import Plan, Problem
from lewm_cli.store import Home, Run, RunFiles, load_run, save_run
from lewm_cli.tasks import TWOROOM

RUN = "tworoom/lewm"


@dataclass(frozen=True)
class Always:
    """A solver that plans the same moves for everyone, in the environment's units."""

    run: Run
    moves: tuple[float, ...]

    def solve(self, problem: Problem) -> Plan:
        actions = np.zeros((5 * 5, 2))
        actions[: len(self.moves), 0] = self.moves
        blocks = torch.from_numpy(self.run.card.inputs.actions.normalize(actions).reshape(1, 5, problem.block_dim))
        environments = problem.cost.environments
        return Plan(blocks.expand(environments, -1, -1), torch.zeros(environments), 0.01, torch.ones(environments))


@pytest.fixture
def run(home: Home, small_model: JEPA, small_card: Callable[[JEPA], RunCard]) -> Run:
    files = RunFiles(home.run_stem(RUN))
    files.weights.parent.mkdir(parents=True, exist_ok=True)
    save_run(files, small_model, small_card(small_model))
    return load_run(home, RUN)


def follow(
    run: Run,
    tmp_path: Path,
    moves: Sequence[float],
    *,
    offset: int = 3,
    solver: Always | None = None,
    **protocol: object,
) -> EvalResult:
    """Plan for the pair that starts at 0 and whose goal lies `offset` units away, as states are row numbers."""
    dataset = recording(tmp_path / "line.h5", [60])
    asked = EvalProtocol(**{"pairs": 1, "offset": offset, "budget": 50, **protocol})
    pairs = choose_pairs(dataset, TWOROOM, np.array([0]), EvalProtocol(pairs=57, offset=offset))[:1]
    assert pairs[0].start_row == 0
    return evaluate(
        run,
        LINE,
        dataset,
        pairs,
        asked,
        Planner(run, asked.planner, solver=solver or Always(run, tuple(moves))),
        held_out=True,
        advance=lambda done: None,
    )


@pytest.mark.parametrize(
    ("moves", "first_hit", "held", "final"),
    [
        ([1, 1, 1], 3, True, 0),  # and stays
        ([1, 1, 1, 1], 3, False, 0),  # and runs past it
        ([1, 1, 1, 0.2, 0.2, 0.2], 3, False, 0),  # and creeps past it in the third step
        ([1, 1, 1, 0.2, 0.2, 0, 0.9], 3, True, 0),  # and leaves after the third
        ([0.125] * 24, 20, True, 0.5),  # past the goal and out again is later than three steps
        ([-1], None, None, 4),
        ([0] * 24 + [3], 25, True, 0),  # with the last move of a plan: nothing is done after it
    ],
)
def test_held_is_said_of_the_three_steps_after_the_first_hit(
    run: Run, tmp_path: Path, moves: list[float], first_hit: int | None, held: bool | None, final: float
):
    result = follow(run, tmp_path, moves, budget=25)
    (one,) = result.episodes
    assert (one.success, one.first_hit, one.held) == (first_hit is not None, first_hit, held)
    assert one.final_distance == pytest.approx(final, abs=1e-6)
    assert result.overall.held.successes == bool(held)
    assert result.overall.first_hit == first_hit
    assert result.overall.final_distance == pytest.approx(final, abs=1e-6)


def test_budget_ends_before_what_is_held_is_looked_at(run: Run, tmp_path: Path):
    (one,) = follow(run, tmp_path, [1, 1, 1, 1], budget=3).episodes
    assert (one.success, one.first_hit, one.held) == (True, 3, False)
    (one,) = follow(run, tmp_path, [1, 1, 1, 1], budget=2).episodes
    assert (one.success, one.first_hit, one.held) == (False, None, None)


def outcomes(run: Run, tmp_path: Path, solved_starts: str) -> EvalResult:
    """Goals one step away are solved at the start, within a tolerance of one and a half; half of them are reached."""
    dataset = recording(tmp_path / "line.h5", [9])

    @dataclass
    class Wide(Line):
        def solved(self) -> bool:
            return self.distance() <= (1.5 if self.at < 4 else 0.5)

    pairs = choose_pairs(dataset, TWOROOM, np.array([0]), EvalProtocol(pairs=8, offset=1))
    protocol = EvalProtocol(pairs=8, offset=1, budget=2, solved_starts=solved_starts)
    actor = Planner(run, protocol.planner, solver=Always(run, (0.0, 1.0)))
    task = replace(TWOROOM, make_simulator=Wide)
    return evaluate(run, task, dataset, pairs, protocol, actor, held_out=True, advance=lambda done: None)


def test_solved_starts_are_left_out_of_the_headline_and_stored_all_the_same(run: Run, tmp_path: Path):
    counted, excluded = (outcomes(run, tmp_path, setting) for setting in ("count", "exclude"))
    assert counted.episodes == excluded.episodes
    assert counted.solved_at_start == excluded.solved_at_start
    assert (counted.solved_at_start.successes, counted.solved_at_start.trials) == (4, 8)
    assert counted.all_pairs == excluded.all_pairs == counted.overall
    assert counted.not_solved == excluded.not_solved == excluded.overall
    assert (excluded.overall.name, excluded.overall.success.trials) == ("start not solved", 4)
    assert [group.success.trials for group in counted.groups] == [4]
    assert [group.success.trials for group in excluded.groups] == [2]
    assert [one.start_row for one in excluded.counted()] == [4, 5, 6, 7]
    assert list(counted.episodes) == counted.counted()


def test_the_gate_of_the_protocol_is_the_simulators(run: Run, tmp_path: Path):
    made: list[Line] = []

    def make() -> Line:
        made.append(Line())
        return made[-1]

    dataset = recording(tmp_path / "line.h5", [60])
    protocol = EvalProtocol(pairs=3, gate="route", only="even", solved_starts="redraw")
    task = replace(TWOROOM, make_simulator=make)
    pairs = choose_pairs(dataset, task, np.array([0]), protocol)
    assert all(pair.start_row % 2 == 0 for pair in pairs)
    actor = Planner(run, protocol.planner, solver=Always(run, ()))
    evaluate(run, task, dataset, pairs, protocol, actor, held_out=True, advance=lambda done: None)
    assert len(made) > 3  # one chose the pairs
    assert all(set(one.begun) == {"route"} for one in made)


def test_too_few_pairs_of_a_kind_are_refused(tmp_path: Path):
    dataset = recording(tmp_path / "line.h5", [60])
    protocol = EvalProtocol(pairs=20, only="even", solved_starts="redraw")
    with pytest.raises(LewmError) as refused:
        choose_pairs(dataset, LINE, np.array([0]), protocol)
    assert "20 pairs of the group 'even' and not solved at the start were asked for" in str(refused.value)
    assert "of the 35 pairs of line that were looked at only 18 are" in str(refused.value)


def test_other_planning_seeds_draw_otherwise_for_the_same_pairs(run: Run, tmp_path: Path):
    class Listening(Always):
        def solve(self, problem: Problem) -> Plan:
            drawn.append([torch.randn(2, generator=generator).tolist() for generator in problem.generators])
            return super().solve(problem)

    drawn: list[list[list[float]]] = []
    for seed in (None, 42, 43):
        follow(run, tmp_path, [], solver=Listening(run, ()), planning_seed=seed, budget=5)
    assert drawn[0] == drawn[1] != drawn[2]
