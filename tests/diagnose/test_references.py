"""What stands beside a rate: true costs are those of the simulator, and blame is laid where intervals support it."""

import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from commands import Done, ended, flat, lewm_here, running, wait_until
from drawing import drawing_simulator
from lewm_cli.config import ActionStats, EvalProtocol, Inputs, PlannerConfig, ReferencesConfig, parse_setting
from lewm_cli.control import NoActionActor, Planner
from lewm_cli.data import open_dataset
from lewm_cli.diagnose import ReferenceDiagnostics, find_references, planned_by, reference_planner
from lewm_cli.diagnose.reference_diagnostics import rank_plan
from lewm_cli.diagnose.true_cost import FrameCost, StateCost, TrueRollout
from lewm_cli.errors import UsageError
from lewm_cli.evaluate import EvalResult, Reference, References, evaluate
from lewm_cli.model import PositionHead, ReachHead
from lewm_cli.plan import Iteration, LastLatent, Plan, ProbedPosition, Problem, Reachability
from lewm_cli.plan.cem import CEM
from lewm_cli.report import evaluation_tables, report_tree
from lewm_cli.simulate import InProcess, Pair, Rollouts, RunActor, simulator_pool
from lewm_cli.statistics import Difference, Rate
from lewm_cli.store import Home, Run
from lewm_cli.tasks import TASKS, find_task
from places import RUN
from reports import full_report
from synthetic import write_recording
from toys import toy

pytest_plugins = ("recordings", "untrained")

WIDE = Inputs(task="tworoom", frameskip=5, actions=ActionStats(mean=(0.0, 0.0), std=(1.0, 1.0)))
"""Normalized actions are those of the environment."""

FEW = ReferencesConfig(candidates=24, elites=5, iterations=4)
SOLVED, PAIRS = 2, 12


def between(start: tuple[float, float], goal: tuple[float, float], number: int = 0) -> Pair:
    return Pair(number, 7, 32, np.array(start, np.float32), np.array(goal, np.float32))


@pytest.fixture(scope="module")
def easy() -> list[Pair]:
    """Pairs in one room of TwoRoom, the first of which are solved already."""
    generator, pairs = np.random.default_rng(0), list[Pair]()
    while len(pairs) < PAIRS:
        start, goal = generator.uniform((25, 25), (85, 200), (2, 2))
        apart = float(np.linalg.norm(start - goal))
        if apart < 10 if len(pairs) < SOLVED else 25 < apart < 70:
            pairs.append(replace(between(tuple(start), tuple(goal), len(pairs)), start_row=30 * len(pairs)))
    return pairs


@pytest.fixture
def wide_run(tworoom_run: Run) -> Run:
    """It was never trained, and its candidates go anywhere."""
    return replace(tworoom_run, card=tworoom_run.card.model_copy(update={"inputs": WIDE}))


Measure = Callable[..., tuple[ReferenceDiagnostics, EvalResult]]


@pytest.fixture
def measure(wide_run: Run, tmp_path: Path) -> Measure:
    """Evaluate, and have a referee for it."""
    write_recording(tmp_path / "noise.h5")
    dataset = open_dataset(tmp_path / "noise.h5", "noise")

    def apply(
        pairs: list[Pair], config: ReferencesConfig = FEW, where=None, **changes
    ) -> tuple[ReferenceDiagnostics, EvalResult]:
        task = find_task("tworoom")
        where = where or InProcess(task)
        planner = PlannerConfig(candidates=8, elites=2, iterations=2)
        protocol = EvalProtocol(**{"pairs": len(pairs), "planner": planner} | changes)
        actor = Planner(wide_run, protocol.planner)
        given = {"held_out": True, "advance": silent, "simulators": where}
        result = evaluate(wide_run, task, dataset, pairs, protocol, actor, **given)
        return ReferenceDiagnostics(wide_run, pairs, result, config, where), result

    return apply


def silent(done: int) -> None:
    pass


# Costs


@pytest.fixture
def way(tworoom_run: Run) -> TrueRollout:
    """From a start of TwoRoom, some actions ahead of it."""
    before = np.random.default_rng(1).uniform(-1, 1, (10, 2)).astype(np.float32)
    return TrueRollout(InProcess(find_task("tworoom")), WIDE, "simulator", between((60, 50), (80, 170)), before)


@pytest.mark.slow
def test_true_costs_are_those_of_a_simulator_driven_apart(way: TrueRollout, tworoom_run: Run):
    candidates = torch.randn(1, 19, 3, 10)  # more than are asked for together
    simulator = find_task("tworoom").make_simulator()
    goal = torch.randn(1, 8)
    states = StateCost((way,))(candidates)
    seen = FrameCost((way,), tworoom_run, LastLatent(tworoom_run.model), goal)(candidates)
    assert states.shape == seen.shape == (1, 19)
    for number, sequence in enumerate(candidates[0].numpy()):
        simulator.begin(way.pair.start, way.pair.goal)
        for action in (*way.before, *sequence.reshape(-1, 2)):
            simulator.step(action)
        assert states[0, number].item() == pytest.approx(simulator.distance(), rel=1e-6)
        latent = tworoom_run.embed(simulator.frame()[None])
        assert seen[0, number].item() == pytest.approx((latent - goal).square().sum().item(), rel=1e-4)


@pytest.mark.parametrize("kind", ["probe", "reach"])
def test_true_frames_are_judged_by_the_objective_that_imagined_ones_are_judged_by(
    way: TrueRollout, tworoom_run: Run, kind: str
):
    torch.manual_seed(0)
    head = ReachHead(8, 6) if kind == "reach" else PositionHead(8, 2)
    for values in (*head.parameters(), *head.buffers()):
        values.data.uniform_(0.1, 1)
    objective = Reachability(head) if kind == "reach" else ProbedPosition(head)
    ways = way, replace(way, pair=between((150, 60), (190, 90)))
    candidates, goals = torch.randn(2, 9, 2, 10), torch.randn(2, 8)
    found = FrameCost(ways, tworoom_run, objective, goals)(candidates)
    for number, (each, goal) in enumerate(zip(ways, goals, strict=True)):
        frames = np.concatenate([one.result().frames for one in each.submit(candidates[number], rendered=True)])
        with torch.inference_mode():
            latents, goal = tworoom_run.embed(frames), goal.expand(9, -1)
            expected = head(latents, goal) if kind == "reach" else (head(latents) - head(goal)).square().sum(dim=1)
        torch.testing.assert_close(found[number], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_costs_of_one_environment_are_those_it_has_among_others(way: TrueRollout, tworoom_run: Run):
    ways = way, replace(way, pair=between((150, 60), (190, 90)), before=way.before[:0])
    candidates, goals = torch.randn(2, 9, 2, 10), torch.randn(2, 8)
    for cost in (StateCost(ways), FrameCost(ways, tworoom_run, LastLatent(tworoom_run.model), goals)):
        assert cost.environments == 2
        together = cost(candidates)
        for number in range(2):
            assert torch.equal(cost.of(number)(candidates[number : number + 1])[0], together[number])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tworoom", "pusht", "reacher"])
def test_every_task_is_followed_to_where_its_actions_lead(name: str):
    simulator, task = drawing_simulator(name), find_task(name)
    simulator.reset(np.random.SeedSequence(5))
    start = simulator.position() if name == "tworoom" else simulator._state.copy()
    actions = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 10, 2)).astype(np.float32)
    simulator.begin(start, start)
    for action in actions[0]:
        simulator.step(action)
    goal = simulator.position() if name == "tworoom" else simulator._state.copy()
    expected, frames = [], []
    for sequence in actions:
        simulator.begin(start, goal)
        for action in sequence:
            simulator.step(action)
        expected.append(simulator.distance())
        frames.append(simulator.frame())
    pair = Pair(0, 0, 10, start, goal)
    answer = InProcess(task).submit(0, Rollouts(pair, "simulator", actions[0, :0], actions, rendered=True)).result()
    assert np.array_equal(answer.found.distances, expected)
    assert np.array_equal(answer.frames, frames)
    assert (
        answer.found.distances[0] < 0.05 < answer.found.distances[1]
    )  # the very actions lead there; Reacher stops as it arrives
    split = Rollouts(pair, "simulator", actions[0, :4], actions[:1, 4:], rendered=False)
    assert InProcess(task).submit(0, split).result().found.distances[0] == pytest.approx(expected[0], abs=1e-6)


# Success


@pytest.mark.slow
def test_true_dynamics_and_a_true_cost_reach_what_can_be_reached(measure: Measure, easy: list[Pair]):
    referee, result = measure(easy)
    assert result.solved_at_start.successes == SOLVED
    assert referee.unsolved == list(range(SOLVED, PAIRS))
    steps = []
    found = referee.plan("true state", steps.append)
    assert found.success.rate >= 0.95
    assert sum(steps) == PAIRS * 50
    ran = np.array([one.success for one in result.episodes])
    assert found.above_run == Difference.of(np.array(found.reached), ran, np.arange(PAIRS))
    still = referee.no_action(steps.append)
    assert still.reached == tuple(one.solved_at_start for one in result.episodes)
    assert sum(steps) == 2 * PAIRS * 50
    assert still.success == result.solved_at_start


def test_nothing_is_done_where_no_action_is_taken():
    pair = between((3, 0), (9, 0))
    here = InProcess(toy())
    assert not here.submit(0, RunActor(pair, "simulator", 50, NoActionActor)).result().found
    assert here.submit(0, RunActor(between((3, 0), (3.5, 0)), "simulator", 50, NoActionActor)).result().found
    assert not here.submit(0, RunActor(between((3, 0), (3.5, 0)), "tight", 50, NoActionActor)).result().found


def test_headline_without_solved_starts_is_that_of_its_references_too(measure: Measure, easy: list[Pair]):
    referee, _ = measure(easy[:4], solved_starts="exclude")
    still = referee.no_action(silent)
    assert (still.success.successes, still.success.trials, still.reached) == (0, 2, (True, True, False, False))


@pytest.mark.slow
def test_the_model_plans_like_an_evaluation_with_that_planner(measure: Measure, easy: list[Pair]):
    referee, _ = measure(easy)
    _, same = measure(easy, planner=referee.protocol.planner)
    assert referee.plan("model", silent).reached == tuple(one.success for one in same.episodes)
    assert (referee.protocol.planner.candidates, referee.protocol.planner.horizon) == (24, 5)
    planner = referee.evaluation.protocol.planner
    assert planned_by(planner, FEW) == ("model", "true latent", "true state")
    already = ReferencesConfig(candidates=8, elites=2, iterations=2)
    assert planned_by(planner, already) == ("true latent", "true state")


@pytest.mark.slow
def test_processes_do_not_change_a_reference(measure: Measure, easy: list[Pair]):
    pairs, config = easy[SOLVED - 1 : SOLVED + 2], ReferencesConfig(candidates=18, elites=4, iterations=2)

    def found(where=None) -> References:
        referee, _ = measure(pairs, config, where, budget=30)
        planned = [referee.plan(by, silent) for by in ("true latent", "true state")]
        return referee.result(referee.no_action(silent), None, *planned, referee.rank(silent))

    here = found()
    with simulator_pool(find_task("tworoom"), 2, silent) as fleet:
        there = found(fleet)
    assert _timeless(here) == _timeless(there)
    assert here.ranking.pairs == there.ranking.pairs


# Ranking


@dataclass(frozen=True)
class Opposite:
    """Far is cheap."""

    cost: StateCost
    environments = 1
    device = torch.device("cpu")

    def __call__(self, candidates: Tensor) -> Tensor:
        return -self.cost(candidates)

    def of(self, number: int) -> "Opposite":
        return self


@pytest.fixture
def toy_way() -> TrueRollout:
    return TrueRollout(InProcess(toy()), WIDE, "simulator", between((3, 0), (9, 5)), np.empty((0, 2), np.float32))


def planned(cost, **settings) -> Plan:
    config = PlannerConfig(candidates=30, elites=5, iterations=4, horizon=2, receding=2, **settings)
    return CEM(config, record=True).solve(Problem(cost, 10, [torch.Generator().manual_seed(3)]))


def test_perfect_cost_ranks_perfectly_and_regrets_nothing(toy_way: TrueRollout):
    right = rank_plan(4, planned(StateCost((toy_way,)), result="best"), toy_way)
    assert (right.number, right.first, right.last) == (4, pytest.approx(1), pytest.approx(1))
    assert right.regret == 0
    wrong = rank_plan(4, planned(Opposite(StateCost((toy_way,))), result="best"), toy_way)
    assert (wrong.first, wrong.last) == (pytest.approx(-1), pytest.approx(-1))
    assert wrong.regret == wrong.distance - wrong.least > 0


def test_candidates_that_all_end_alike_have_no_ranking(toy_way: TrueRollout):
    tried = Iteration(torch.zeros(1, 6, 2, 10), torch.arange(6.0)[None], torch.arange(2)[None])
    ranked = rank_plan(0, Plan(torch.zeros(1, 2, 10), torch.zeros(1), 0.0, torch.ones(1), history=(tried,)), toy_way)
    assert (ranked.first, ranked.last, ranked.regret) == (None, None, 0)


@pytest.mark.slow
def test_ranking_is_of_the_first_plan_that_the_model_makes(measure: Measure, easy: list[Pair]):
    referee, _ = measure(easy[:4])
    done = []
    ranking = referee.rank(done.append)
    assert [one.number for one in ranking.pairs] == [2, 3]
    assert sum(done) == 2
    for one in ranking.pairs:
        assert -1 <= one.first <= 1
        assert one.least <= one.distance
    assert ranking.regret.value == pytest.approx(np.mean([one.regret for one in ranking.pairs]))
    assert ranking.regret.low <= ranking.regret.value <= ranking.regret.high
    nothing, _ = measure(easy[:SOLVED])
    assert nothing.rank(silent) is None


# Blame


def reached(successes: int) -> tuple[bool, ...]:
    return tuple(k < successes for k in range(40))


def concluded(model: int, true_latent: int, true_state: int) -> References:
    """Forty pairs, so many of which are reached."""

    def difference(this: int, other: int) -> Difference:
        return Difference.of(np.array(reached(this)), np.array(reached(other)), np.arange(40))

    def reference(successes: int) -> Reference:
        rate = Rate.of(np.array(reached(successes)), np.arange(40))
        return Reference(success=rate, above_run=difference(successes, 10), reached=reached(successes), seconds=1)

    return References(
        planner=reference_planner(PlannerConfig(), FEW),
        zero_action=reference(0),
        random=reference(2),
        model=reference(model),
        true_latent=reference(true_latent),
        true_state=reference(true_state),
        dynamics=difference(true_latent, model),
        cost=difference(true_state, true_latent),
        ranking=None,
    )


@pytest.mark.parametrize(
    ("successes", "blamed"),
    [((10, 30, 31), {"dynamics"}), ((10, 11, 30), {"cost"}), ((5, 20, 40), {"dynamics", "cost"}), ((9, 10, 11), set())],
)
def test_blame_is_laid_where_intervals_support_it(successes: tuple[int, int, int], blamed: set[str]):
    report = full_report()
    result = report.evaluation.model_copy(update={"references": concluded(*successes)})
    said = "\n".join(line for table in evaluation_tables([result]) for line in getattr(table, "lines", ()))
    assert set(re.findall(r"^The (\w+) (?:is|are) to blame", said, re.MULTILINE)) == blamed


def test_summary_of_a_run_has_its_references():
    report = full_report()
    result = report.evaluation.model_copy(update={"references": concluded(10, 20, 30)})
    measured = report_tree(replace(report, evaluation=result), Path("report.html"))["measured"]
    values = {line["what"]: (line["value"], line["low"], line["high"]) for line in measured}
    for what, one in (("latent cost", result.references.true_latent), ("true cost", result.references.true_state)):
        assert values[f"true dynamics, {what}"] == (one.success.rate, one.success.low, one.success.high)


# Settings


@pytest.mark.parametrize("task", [task for task in TASKS if task.protocols], ids=lambda task: task.name)
def test_every_task_has_references_that_can_be_set(task):
    config = find_references(task, ())
    assert config.elites <= config.candidates
    changed = find_references(task, (parse_setting("references.candidates=64"),))
    assert changed == config.model_copy(update={"candidates": 64})
    with pytest.raises(UsageError, match=r"did you mean 'references\.candidates'"):
        find_references(task, (parse_setting("references.candidate=64"),))
    with pytest.raises(UsageError, match="elites 90 is more than candidates"):
        find_references(task, (parse_setting("references.elites=90"), parse_setting("references.candidates=32")))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--set", "references.candidates=64"],
            "--set references.candidates=64 is about references, and there are none",
        ),
        (["--references", "--seeds", 2], "--references are of one seed of planning; leave --seeds out"),
        (["--references", "--set", "references=3"], "references is a group of settings"),
        (["--references", "--goal-image", "x.png"], "--references does not go with --goal-image"),
    ],
)
def test_what_makes_no_sense_is_refused(tworoom_run: Run, home: Home, arguments: list, said: str):
    assert said in lewm_here(home.write, "eval", RUN, *arguments).sentence(2)


# Through the command


@pytest.fixture
def world(home: Home, tworoom_run: Run, other_demos: Path) -> Path:
    """A home with a run that was never trained and a recording of TwoRoom."""
    shutil.copy(other_demos / "tworoom" / "demos.h5", home.write / "tworoom" / "test.h5")
    return home.write


PLAIN = (
    *("eval", RUN, "--dataset", "tworoom/test", "--episodes", 3, "--record", 0, "--set", "budget=30"),
    *("--set", "planner.candidates=16", "--set", "planner.elites=4", "--set", "planner.iterations=2"),
)
ARGUMENTS = (*PLAIN, "--references", "--set", "references.elites=4")
SMALL = ("--set", "references.candidates=8", "--set", "references.iterations=2")


def result_of(done: Done) -> EvalResult:
    assert done.code == 0, done.err
    return EvalResult.model_validate(done.json())


def _timeless(found: References) -> dict:
    """Without what differs from run to run."""
    tree = found.model_dump()
    for name in ("zero_action", "random", "model", "true_latent", "true_state"):
        tree[name].pop("seconds")
    return tree


@pytest.mark.slow
def test_references_see_no_way_and_refuse_to_judge_it(world: Path):
    refused = lewm_here(world, *ARGUMENTS, *SMALL, "--set", "planner.objective=path")
    assert "--references see where plans lead and not the way there" in refused.sentence(2)


@pytest.mark.slow
def test_references_are_stored_and_printed(world: Path):
    result = result_of(lewm_here(world, *ARGUMENTS, *SMALL, "--workers", 1, "--json"))
    found = result.references
    assert (found.planner.candidates, found.planner.iterations, found.planner.horizon) == (8, 2, 5)
    assert found.random.reached == tuple(one.random_success for one in result.episodes)
    assert found.zero_action.reached == tuple(one.solved_at_start for one in result.episodes)
    assert found.random.success == result.overall.random
    for one in (found.model, found.true_latent, found.true_state):
        assert one.success.successes == sum(one.reached)
        assert len(one.reached) == 3
    (path,) = (world / "tworoom" / "lewm.run" / "results").iterdir()
    assert EvalResult.model_validate_json(path.read_text(encoding="utf-8")) == result
    series = lewm_here(world, *ARGUMENTS, *SMALL, "--workers", 1, "--offsets", "25,10", "--json")
    points = [EvalResult.model_validate(one) for one in series.json()]
    assert _timeless(points[0].references) == _timeless(found)
    assert points[1].references.zero_action.success.trials == 3
    shown = lewm_here(world, *ARGUMENTS, *SMALL, "--workers", 1)
    assert f"true dynamics, true cost {found.true_state.success}" in flat(shown.out)
    assert max(map(len, shown.out.splitlines())) <= 81


@pytest.mark.slow
def test_interrupted_series_leaves_no_journal_behind(world: Path):
    folder = world / "tworoom" / "lewm.run" / "results"
    series = (*ARGUMENTS, *SMALL, "--workers", 1, "--offsets", "25,10", "--json")
    with running(world, *series) as process:
        # The first offset is stored, and an episode of the second is kept.
        wait_until(lambda: list(folder.glob("*.json")) and len(list(folder.glob("*.journal"))) >= 5, process)
        process.send_signal(signal.SIGINT)
        ended(process)
    (stored,) = folder.glob("*.json")
    resumed = lewm_here(world, *series, "--resume")
    assert "true state: resuming: 3 of 3 episodes are done" in resumed.err
    assert EvalResult.model_validate_json(stored.read_text()) == EvalResult.model_validate(resumed.json()[1])
    assert {path.suffix for path in folder.iterdir()} == {".json"}
    assert len(list(folder.iterdir())) == 2


@pytest.mark.slow
def test_interrupted_references_lose_nothing(world: Path, tmp_path: Path):
    folder = world / "tworoom" / "lewm.run" / "results"
    dear = ("--set", "references.candidates=32", "--set", "references.iterations=4")
    with running(world, *ARGUMENTS, *dear, "--workers", 1) as process:
        wait_until(lambda: len(list(folder.glob("*.journal"))) >= 3, process)  # the run, the model, a true cost
        process.send_signal(signal.SIGINT)
        said = ended(process).sentence(130)
    assert "of 12 episodes are kept, and the same command with --resume goes on" in said
    elsewhere = shutil.copytree(world, tmp_path / "elsewhere")
    without = lewm_here(elsewhere, *PLAIN, "--workers", 1, "--resume", "--json")
    assert "resuming: 3 of 3 episodes are done" in without.err
    resumed = lewm_here(world, *ARGUMENTS, *dear, "--workers", 1, "--resume", "--json")
    assert "resuming: 3 of 3 episodes are done" in resumed.err
    assert "model: resuming: 3 of 3 episodes are done" in resumed.err
    assert [path.suffix for path in folder.iterdir()] == [".json"]
    undisturbed = result_of(lewm_here(world, *ARGUMENTS, *dear, "--workers", 1, "--json"))
    assert result_of(resumed).episodes == result_of(without).episodes == undisturbed.episodes
    assert result_of(without).references is None
    assert _timeless(result_of(resumed).references) == _timeless(undisturbed.references)
