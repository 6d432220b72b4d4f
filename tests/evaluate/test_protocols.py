"""Named protocols: what they say, which pairs they draw, what they count as reached, and what is stored of it."""

import json
import shutil
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lewm_cli.tasks
from commands import Done, flat, lewm_here
from lewm_cli.config import EvalProtocol, Layer, PlannerConfig, RunCard, parse_setting
from lewm_cli.control import Planner
from lewm_cli.data import Dataset, open_dataset
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.evaluate import (
    EvalResult,
    EvalSeries,
    PairManifest,
    PooledRate,
    Rate,
    choose_pairs,
    evaluate,
    find_protocol,
    freeze,
    read_manifest,
    remarks,
    task_protocols,
    thaw,
)
from lewm_cli.model import LeWM
from lewm_cli.plan import CEM, Plan, Problem
from lewm_cli.store import Home, Run, RunFiles, load_run, save_run
from lewm_cli.tasks import PUSHT, TASKS, TWOROOM, Simulator, Task, find_task
from lewm_cli.tasks.tworoom.walls import Walls
from synthetic import join_recordings, write_recording

pytest_plugins = ("recordings",)

NAMES = {"heldout", "release", "paper", "website", "moderate", "strict"}
FILES = sorted(Path(lewm_cli.tasks.__file__).parent.glob("*/protocols.toml"))
RUN = "tworoom/lewm"

every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)


def settings(*texts: str) -> tuple[Layer, ...]:
    return tuple(parse_setting(text) for text in texts)


# Their files


def of_file(file: Path) -> dict[str, EvalProtocol]:
    tables = tomllib.loads(file.read_text(encoding="utf-8"))["protocols"]
    return {name: EvalProtocol.build(table | {"name": name}, f"{file}") for name, table in tables.items()}


def test_the_four_tasks_of_the_paper_have_protocols():
    assert {file.parent.name for file in FILES} >= {"tworoom", "pusht", "cube", "reacher"}


@every_file
def test_every_task_has_the_same_protocols_which_say_what_they_are_for(file: Path):
    protocols = of_file(file)
    assert protocols.keys() == NAMES
    assert all(protocol.purpose for protocol in protocols.values())
    assert all((one.pairs, one.offset, one.budget, one.seed) == (50, 25, 50, 42) for one in protocols.values())


@every_file
def test_release_is_what_the_authors_ran(file: Path):
    release = of_file(file)["release"]
    assert (release.sampler, release.episodes, release.gate) == ("rows-original", "all", "simulator")
    assert release.solved_starts == "count"
    assert release.planner == PlannerConfig(
        candidates=300, elites=30, iterations=30, horizon=5, receding=5, std=1.0, result="mean"
    )


@every_file
def test_other_protocols_differ_from_the_release_in_what_they_are_named_for(file: Path):
    protocols, task = of_file(file), file.parent.name
    paper = 30 if task == "pusht" else 10
    assert protocols["paper"].planner == PlannerConfig(iterations=paper)
    assert protocols["website"].planner == PlannerConfig(receding=1, result="best")
    assert (protocols["heldout"].episodes, protocols["heldout"].sampler) == ("unseen", "episodes")
    corrected = [protocols[name] for name in ("moderate", "strict")]
    assert all(one.solved_starts == "redraw" for one in corrected)
    gates = {"tworoom": ["swept", "route"], "reacher": ["wrapped", "wrapped"]}
    assert [one.gate for one in corrected] == gates.get(task, ["simulator", "tight"])
    assert all(one.only == ("other room" if task == "tworoom" else None) for one in corrected)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_every_protocol_of_a_task_can_be_used_in_its_simulator(task: Task):
    assert {protocol.name for protocol in task_protocols(task)} == NAMES
    assert all(protocol.changed == () for protocol in task_protocols(task))


# Finding and changing them


def test_a_changed_protocol_says_what_was_changed():
    layers = settings("planner.iterations=10", "pairs=50", "offset=30")
    protocol = find_protocol(TWOROOM, "release", layers)
    assert protocol.changed == ("offset", "planner.iterations")  # 50 pairs are what it has
    assert str(protocol) == "release 1 (changed: offset, planner.iterations)"
    assert str(find_protocol(TWOROOM, "release")) == "release 1"


@pytest.mark.parametrize(
    ("name", "texts", "said"),
    [
        ("moderat", [], "tworoom has no protocol 'moderat'; did you mean 'moderate'?"),
        ("x", [], "choose one of heldout, release, paper, website, moderate, strict"),
        ("release", ["name=paper"], "choose another protocol with --protocol"),
        ("release", ["version=2"], "a protocol's version is its own"),
        ("release", ["gate=tight"], "tworoom has no gate 'tight'; choose simulator or swept or route"),
        ("release", ["gate=loose"], "gate = 'loose'"),
        ("release", ["only=other room"], "sampler 'rows-original' takes pairs as they come"),
        ("release", ["solved_starts=redraw"], "choose among them with 'episodes'"),
        ("heldout", ["ofset=30"], "did you mean 'offset'?"),
    ],
)
def test_what_is_no_protocol_is_refused(name: str, texts: list[str], said: str):
    with pytest.raises(UsageError) as refused:
        find_protocol(TWOROOM, name, settings(*texts))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], []),
        (["offset=100", "budget=150"], ["10 to 40 %", "plans reach 25 steps ahead and goals lie 100 ahead"]),
        (["offset=20", "budget=10"], ["10 steps are allowed for goals 20 steps ahead"]),
        (["offset=10", "budget=20"], []),
    ],
)
def test_unusual_protocols_are_remarked_on(texts: list[str], said: list[str]):
    found = list(remarks(TWOROOM, find_protocol(TWOROOM, "heldout", settings(*texts)), 5))
    assert len(found) == len(said)
    assert all(words in remark for words, remark in zip(said, found, strict=True))


# Samplers


def recording(path: Path, lengths: Sequence[int]) -> Dataset:
    """Every state is the number of its row, twice."""
    rows = sum(lengths)
    steps = np.concatenate([np.arange(length) for length in lengths])
    columns = {
        "proprio": np.repeat(np.arange(rows, dtype=np.float32), 2).reshape(rows, 2),
        "step_idx": steps,
        "ep_idx": np.repeat(np.arange(len(lengths)), lengths),
    }
    return open_dataset(write_recording(path, lengths, dims=2, size=1, columns=columns), path.stem)


def by_columns(dataset: Dataset, offset: int, count: int, seed: int, *, original: bool) -> list[int]:
    """Start rows as the authors' code draws them, from the columns of the recording."""
    every = slice(None)
    steps, episodes = dataset.read("step_idx", every), dataset.read("ep_idx", every)
    valid = np.nonzero(steps <= dataset.lengths[episodes] - offset - 1)[0]
    among = len(valid) - 1 if original else len(valid)
    return np.sort(valid[np.random.default_rng(seed).choice(among, size=count, replace=False)]).tolist()


@given(data=st.data(), offset=st.integers(1, 12), seed=st.integers(0, 99), original=st.booleans())
def test_row_samplers_draw_what_the_authors_code_draws(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, offset: int, seed: int, original: bool
):
    lengths = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=6))
    dataset = recording(tmp_path_factory.mktemp("rows") / "x.h5", lengths)
    available = sum(max(0, length - offset) for length in lengths) - original
    count = data.draw(st.integers(1, max(1, available) + 1))
    sampler = "rows-original" if original else "rows"
    protocol = EvalProtocol(pairs=count, offset=offset, seed=seed, sampler=sampler)
    every = np.arange(dataset.episodes)
    if count > available:
        with pytest.raises(LewmError, match=f"hold {max(0, available)} starts"):
            choose_pairs(dataset, TWOROOM, every, protocol)
        return
    pairs = choose_pairs(dataset, TWOROOM, every, protocol)
    assert [pair.start_row for pair in pairs] == by_columns(dataset, offset, count, seed, original=original)
    owners = dataset.read("ep_idx", slice(None))
    for pair in pairs:
        assert pair.goal_row == pair.start_row + offset
        assert owners[pair.start_row] == owners[pair.goal_row] == pair.episode
        assert (pair.start[0], pair.goal[0]) == (pair.start_row, pair.goal_row)


def test_the_fix_changed_the_draw(tmp_path: Path):
    dataset = recording(tmp_path / "x.h5", [40, 60])
    drawn = [
        [
            pair.start_row
            for pair in choose_pairs(dataset, TWOROOM, np.arange(2), EvalProtocol(pairs=8, sampler=sampler))
        ]
        for sampler in ("rows-original", "rows")
    ]
    assert drawn[0] != drawn[1]


def test_rows_are_drawn_from_the_episodes_that_may_be_used(tmp_path: Path):
    dataset = recording(tmp_path / "x.h5", [40, 60, 50])
    pairs = choose_pairs(dataset, TWOROOM, np.array([0, 2]), EvalProtocol(pairs=40, sampler="rows"))
    assert sorted(pair.start_row for pair in pairs) == [*range(15), *range(100, 125)]  # all there are


@pytest.mark.parametrize("columns", [{}, {"proprio": np.zeros((80, 3), np.float32)}])
def test_recordings_without_states_are_refused(tmp_path: Path, columns: dict[str, np.ndarray]):
    dataset = open_dataset(write_recording(tmp_path / "x.h5", [40, 40], dims=2, size=1, columns=columns), "mine")
    with pytest.raises(LewmError, match=r"^mine has (no column|3 numbers in column) 'proprio'"):
        choose_pairs(dataset, TWOROOM, np.arange(2), EvalProtocol(pairs=1))


# What goes on after the goal was reached, in a world that is a line


@dataclass
class Line:
    """A simulator: the first action dimension moves along a line; a goal is reached within half a unit."""

    begun: list[str] = field(default_factory=list)
    gate: str = "simulator"
    at: float = 0.0
    goal: float = 0.0

    def judge_by(self, gate: str) -> None:
        self.gate = gate

    def begin(self, start: np.ndarray, goal: np.ndarray) -> None:
        self.begun.append(self.gate)
        self.at, self.goal = float(start[0]), float(goal[0])

    def step(self, action: np.ndarray) -> None:
        self.at += round(float(action[0]), 3)

    def frame(self) -> np.ndarray:
        return np.zeros((64, 64, 3), np.uint8)

    goal_frame = frame

    def position(self) -> np.ndarray:
        return np.array([self.at, 0.0])

    def distance(self) -> float:
        return abs(self.at - self.goal)

    def solved(self) -> bool:
        return self.distance() <= 0.5

    def random_action(self, generator: np.random.Generator) -> np.ndarray:
        return generator.uniform(-1, 1, 2).astype(np.float32)

    def groups(self, start: np.ndarray, goal: np.ndarray) -> tuple[str, ...]:
        return ("even",) if start[0] % 2 == 0 else ()

    def route_valid(self, path: np.ndarray) -> None:
        return None


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


LINE = replace(TWOROOM, make_simulator=Line)


@pytest.fixture
def run(home: Home, small_model: LeWM, small_card: Callable[[LeWM], RunCard]) -> Run:
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


# The best candidate


class Bowl:
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
    bowl = Bowl(3)
    plan = CEM(config).solve(Problem(bowl, 3, [torch.Generator().manual_seed(seed) for seed in (1, 2, 3)]))
    costs, candidates = torch.cat(bowl.costs, dim=1), torch.cat(bowl.candidates, dim=1)
    for environment in range(3):
        assert torch.equal(plan.actions[environment], candidates[environment, costs[environment].argmin()])
    mean = CEM(config.model_copy(update={"result": "mean"})).solve(
        Problem(Bowl(3), 3, [torch.Generator().manual_seed(seed) for seed in (1, 2, 3)])
    )
    assert not torch.equal(plan.actions, mean.actions)
    assert torch.equal(plan.cost, mean.cost)


# Pooled over seeds


def test_pooled_rate_of_one_seed_is_the_rate():
    one = np.array([True, True, False, True, False, False])
    clusters = np.array([0, 0, 1, 1, 2, 2])
    pooled, rate = PooledRate.of(one[None], clusters), Rate.of(one, clusters)
    assert (pooled.rate, pooled.low, pooled.high) == (rate.rate, rate.low, rate.high)
    assert (pooled.pairs, pooled.seeds) == (6, (0.5,))
    assert str(pooled) == str(rate)


@given(data=st.data(), seeds=st.integers(2, 4), pairs=st.integers(1, 12))
def test_pooled_interval_holds_the_rate(data: st.DataObject, seeds: int, pairs: int):
    outcomes = np.array(
        data.draw(st.lists(st.lists(st.booleans(), min_size=pairs, max_size=pairs), min_size=seeds, max_size=seeds))
    )
    clusters = np.array(data.draw(st.lists(st.integers(0, 5), min_size=pairs, max_size=pairs)))
    pooled = PooledRate.of(outcomes, clusters)
    assert 0 <= pooled.low <= pooled.rate <= pooled.high <= 1
    assert pooled.low < pooled.high  # however well they agree
    assert pooled.rate == pytest.approx(outcomes.mean())
    assert pooled == PooledRate.of(outcomes, clusters)


def test_seeds_that_differ_widen_the_interval_and_seeds_that_agree_do_not_narrow_it():
    generator = np.random.default_rng(0)
    pairs = np.arange(200)
    one = generator.random(200) < 0.6
    alike = PooledRate.of(np.stack([one] * 5), pairs)
    alone = Rate.of(one, pairs)
    assert alike.high - alike.low == pytest.approx(alone.high - alone.low, abs=0.01)
    differing = np.stack([generator.random(200) < rate for rate in (0.3, 0.9, 0.6, 0.45, 0.75)])
    wide = PooledRate.of(differing, pairs)
    assert wide.high - wide.low > 1.5 * (alone.high - alone.low)
    fresh = PooledRate.of(generator.random((5, 200)) < 0.6, pairs)  # five times the data
    assert fresh.high - fresh.low < 0.8 * (alone.high - alone.low)


# Manifests


@pytest.fixture
def frozen(tmp_path: Path) -> tuple[Path, Dataset, EvalProtocol]:
    dataset = recording(tmp_path / "x.h5", [40, 60])
    protocol = find_protocol(TWOROOM, "release", settings("pairs=5"))
    path = tmp_path / "pairs.json"
    freeze(path, TWOROOM, dataset, protocol, choose_pairs(dataset, TWOROOM, np.arange(2), protocol))
    return path, dataset, protocol


def test_manifest_gives_the_very_pairs_back(frozen: tuple[Path, Dataset, EvalProtocol]):
    path, dataset, protocol = frozen
    said: list[str] = []
    other = find_protocol(TWOROOM, "website", settings("seed=7"))  # that would draw others
    pairs, origin = thaw(path, read_manifest(path), TWOROOM, dataset, other, said.append)
    drawn = choose_pairs(dataset, TWOROOM, np.arange(2), protocol)
    assert [(one.episode, one.start_row, one.goal_row) for one in pairs] == [
        (one.episode, one.start_row, one.goal_row) for one in drawn
    ]
    assert all((one.start == other.start).all() for one, other in zip(pairs, drawn, strict=True))
    assert origin.protocol == "release 1 (changed: pairs)"
    assert said == [f"pairs: the 5 of {path}, drawn by release 1 (changed: pairs)"]


def test_manifest_of_another_recording_is_refused(frozen: tuple[Path, Dataset, EvalProtocol], tmp_path: Path):
    path, _, protocol = frozen
    other = recording(tmp_path / "other.h5", [60, 40])
    with pytest.raises(LewmError, match=r"of another recording \(x, 2 episodes, \w{8}\) than other"):
        thaw(path, read_manifest(path), TWOROOM, other, protocol, print)


def test_manifest_of_other_goals_is_refused(frozen: tuple[Path, Dataset, EvalProtocol]):
    path, dataset, _ = frozen
    protocol = find_protocol(TWOROOM, "release", settings("offset=30"))
    with pytest.raises(LewmError, match="are 25 steps ahead, and 30 were asked for"):
        thaw(path, read_manifest(path), TWOROOM, dataset, protocol, print)


def test_manifest_of_pairs_that_a_protocol_does_not_ask_for_is_refused(frozen: tuple[Path, Dataset, EvalProtocol]):
    path, dataset, _ = frozen
    protocol = EvalProtocol(name="moderate", only="even")
    with pytest.raises(LewmError, match=r"moderate asks for pairs of the group 'even', and \d of the 5 in .* are not"):
        thaw(path, read_manifest(path), LINE, dataset, protocol, print)


@pytest.mark.parametrize("change", [{"episode": 9}, {"start_row": 38, "goal_row": 63}, {"goal_row": 1000}])
def test_manifest_with_rows_that_are_no_pairs_is_refused(
    frozen: tuple[Path, Dataset, EvalProtocol], change: dict[str, int]
):
    path, dataset, protocol = frozen
    tree = json.loads(path.read_text())
    tree["pairs"][0] |= change
    path.write_text(json.dumps(tree))
    with pytest.raises(LewmError, match="names rows that are no pairs of x"):
        thaw(path, read_manifest(path), TWOROOM, dataset, protocol, print)


@given(content=st.one_of(st.text(max_size=20), st.just('{"format": 2, "pairs": []}')))
def test_what_is_no_manifest_is_refused(tmp_path_factory: pytest.TempPathFactory, content: str):
    path = tmp_path_factory.mktemp("manifest") / "pairs.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(LewmError, match="is no manifest of pairs"):
        read_manifest(path)


# Gates of TwoRoom

WALL = Walls(center=112.0, thickness=10, door=49.0, half_door=14.0, radius=7.0)

places = st.tuples(st.floats(20, 204), st.floats(20, 204)).map(np.array)


@given(start=places, step=st.tuples(st.floats(-10, 10), st.floats(-10, 10)).map(np.array))
def test_solid_wall_is_never_overlapped_and_stops_nothing_else(start: np.ndarray, step: np.ndarray):
    if not WALL.free(start[None]):
        return
    end = WALL.slide(start, start + step)
    assert WALL.free(np.stack([start, end]))
    assert np.linalg.norm(end - start) <= np.linalg.norm(step) + 1e-9
    if WALL._clearance(np.stack([start, start + step])) > WALL.radius + 0.01:
        assert (end == start + step).all()


@pytest.mark.parametrize(
    ("start", "step", "end"),
    [
        ((95, 150), (10, 0), (100, 150)),  # head on
        ((100, 150), (5, 5), (100, 155)),  # along it
        ((129, 150), (-10, 0), (124, 150)),  # from the other side
        ((95, 49), (10, 0), (105, 49)),  # through the door
        ((112, 56), (0, 10), (112, 56)),  # at the door's edge
    ],
)
def test_disk_stops_at_a_solid_wall_or_goes_along_it(start: tuple, step: tuple, end: tuple):
    reached = WALL.slide(np.array(start, float), np.array(start, float) + step)
    assert reached == pytest.approx(end, abs=0.01)


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return TWOROOM.make_simulator()


def walk(simulator: Simulator, gate: str, start: tuple, goal: tuple, actions: Sequence[tuple]) -> list[bool]:
    """Whether the goal is reached after each action."""
    simulator.judge_by(gate)
    simulator.begin(np.array(start, np.float32), np.array(goal, np.float32))
    reached = []
    for action in actions:
        simulator.step(np.array(action, np.float32))
        reached.append(simulator.solved())
    return reached


@pytest.mark.slow
def test_gates_of_tworoom_tell_a_clipped_edge_from_a_clean_way(simulator: Simulator):
    right = [(1, 0)] * 10
    clean, clipping = ((90, 49), (140, 49)), ((90, 39), (140, 39))
    for gate in ("simulator", "swept", "route"):
        assert walk(simulator, gate, *clean, right)[-1]
    assert walk(simulator, "simulator", *clipping, right)[-1]  # which the simulator lets through
    assert not walk(simulator, "swept", *clipping, right)[-1]
    assert simulator.position()[0] < 112
    assert not walk(simulator, "route", *clipping, right)[-1]
    # In the swept world, too, what goes around the edge gets there.
    assert walk(simulator, "swept", *clipping, [(0, 1), (0, 1), *right])[-1]


@pytest.mark.slow
def test_free_ways_are_the_same_in_a_world_with_a_solid_wall(simulator: Simulator):
    generator = np.random.default_rng(3)
    for _ in range(20):
        start = generator.uniform((30, 30), (85, 190))
        actions = generator.uniform(-1.2, 0.6, (15, 2))
        ends = []
        for gate in ("simulator", "swept"):
            walk(simulator, gate, tuple(start), (200, 200), actions)
            ends.append(simulator.position())
        if ends[0][0] < 95:  # away from the wall
            assert ends[0] == pytest.approx(ends[1], abs=1e-3)


# Gate of PushT

GOAL = (200, 200, 300, 300, 1.0, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "own", "tight"),
    [
        (GOAL, True, True),
        ((218, 200, 300, 300, 1.0, 0, 0), True, True),  # of the agent no more is asked
        ((200, 200, 309, 300, 1.0, 0, 0), True, True),
        ((200, 200, 311, 300, 1.0, 0, 0), True, False),
        ((200, 200, 300, 300, 1.16, 0, 0), True, True),
        ((200, 200, 300, 300, 1.19, 0, 0), True, False),
        ((200, 200, 300, 300, 1.4, 0, 0), False, False),
    ],
)
def test_tight_gate_of_pusht_asks_for_the_pose_of_the_block(
    pusht: Simulator, state: tuple[float, ...], own: bool, tight: bool
):
    for gate, reached in (("simulator", own), ("tight", tight)):
        pusht.judge_by(gate)
        pusht.begin(np.array(state, float), np.array(GOAL, float))
        assert pusht.solved() == reached


@pytest.fixture(scope="module")
def pusht() -> Simulator:
    return PUSHT.make_simulator()


# Gates of Cube and Reacher


@pytest.mark.slow
def test_tight_gate_of_cube_is_three_centimeters():
    pytest.importorskip("ogbench")
    simulator = find_task("cube").make_simulator()
    state = simulator._state  # of the scene as it is built; a demonstration would take a minute without a GPU
    for apart, own, tight in ((0.0, True, True), (0.029, True, True), (0.035, True, False), (0.045, False, False)):
        goal = state.copy()
        goal[14] += apart
        for gate, reached in (("simulator", own), ("tight", tight)):
            simulator.judge_by(gate)
            simulator.begin(state, goal)
            assert simulator.distance() == pytest.approx(apart, abs=1e-6)
            assert simulator.solved() == reached


@pytest.mark.slow
def test_wrapped_gate_of_reacher_takes_a_whole_turn_for_nothing():
    pytest.importorskip("dm_control")
    simulator = find_task("reacher").make_simulator()
    goal = np.array([0.5, 1.0, 0.0, 0.0])
    for turn, wrist, own, wrapped in (
        (0.0, 0.0, True, True),
        (2 * np.pi, 0.0, False, True),
        (-4 * np.pi, 0.0, False, True),
        (np.pi, 0.0, False, False),
        (0.0, 0.1, False, False),
    ):
        for gate, reached in (("simulator", own), ("wrapped", wrapped)):
            simulator.judge_by(gate)
            simulator.begin(goal + np.array([turn, wrist, 0, 0]), goal)
            assert simulator.solved() == reached


# Through the command

QUICK = ("--set", "planner.candidates=32", "--set", "planner.elites=8", "--set", "planner.iterations=3", "--films", 0)


@pytest.fixture(scope="module")
def world(trained: Path, other_demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run and a recording that it was not trained on, `tworoom/test`."""
    home = tmp_path_factory.mktemp("protocols") / "home"
    shutil.copytree(trained, home)
    shutil.copy(other_demos / "tworoom" / "demos.h5", home / "tworoom" / "test.h5")
    return home


def measured(world: Path, *arguments: object) -> tuple[Done, EvalResult]:
    done = lewm_here(world, "eval", RUN, *QUICK, "--json", *arguments)
    assert done.code == 0, done.err
    return done, EvalResult.model_validate(done.json())


@pytest.mark.slow
def test_default_keeps_to_held_out_episodes_and_release_does_not(world: Path):
    done, result = measured(world, "--episodes", 1, "--set", "budget=5")
    assert result.protocol.name == "heldout"
    assert result.held_out
    done, result = measured(world, "--protocol", "release", "--episodes", 40, "--set", "budget=5")
    assert (result.protocol.name, result.protocol.version) == ("release", 1)
    assert set(result.protocol.changed) >= {"pairs", "budget", "planner.iterations"}
    assert not result.held_out
    assert "whether or not the run was trained on them" in done.err
    dataset = open_dataset(world / "tworoom" / "demos.h5", "tworoom/demos")
    assert [one.start_row for one in result.episodes] == by_columns(dataset, 25, 40, 42, original=True)


@pytest.mark.slow
def test_manifest_is_written_once_and_read_from_then_on(world: Path, tmp_path: Path):
    path = tmp_path / "pairs.json"
    drawn = ("--dataset", "tworoom/test", "--set", "budget=5", "--manifest", path)
    done, first = measured(world, *drawn, "--episodes", 4)
    assert f"pairs: 4, frozen in {path}" in done.err
    content = path.read_bytes()
    manifest = PairManifest.model_validate_json(content)
    assert manifest.dataset == first.dataset
    done, again = measured(world, "--manifest", path, "--seed", 9, "--set", "budget=5")  # the recording is known
    assert path.read_bytes() == content
    rows = [[(one.episode, one.start_row, one.goal_row) for one in result.episodes] for result in (first, again)]
    assert rows[0] == rows[1] == [(one.episode, one.start_row, one.goal_row) for one in manifest.pairs]
    assert first.manifest == again.manifest is not None
    assert again.protocol.pairs == 4
    refused = lewm_here(world, "eval", RUN, *QUICK, "--manifest", path, "--episodes", 3).sentence()
    assert "holds 4 pairs, and 3 were asked for" in refused
    refused = lewm_here(world, "eval", RUN, *QUICK, "--manifest", path, "--dataset", "tworoom/demos").sentence()
    assert "of another recording (tworoom/test" in refused
    refused = lewm_here(world, "eval", RUN, *QUICK, "--manifest", path, "--offsets", "25,50").sentence(2)
    assert "leave --offsets out" in refused


@pytest.mark.slow
def test_manifest_of_episodes_trained_on_is_refused_where_held_out_ones_are_wanted(world: Path, tmp_path: Path):
    path = tmp_path / "pairs.json"
    measured(world, "--protocol", "release", "--episodes", 30, "--set", "budget=5", "--manifest", path)
    refused = lewm_here(world, "eval", RUN, *QUICK, "--manifest", path).sentence()
    assert "are from episodes that tworoom/lewm was trained on; allow that with --protocol release" in refused


@pytest.mark.slow
def test_seeds_and_offsets_are_stored_one_by_one_and_together(world: Path):
    before = set((world / "tworoom" / "lewm.run" / "results").iterdir())
    arguments = ("--dataset", "tworoom/test", "--episodes", 3, "--set", "budget=10", "--set", "offset=20")
    done = lewm_here(world, "eval", RUN, *QUICK, "--json", *arguments, "--seeds", 2, "--offsets", "20,10")
    assert done.code == 0, done.err
    series = EvalSeries.model_validate(done.json())
    files = set((world / "tworoom" / "lewm.run" / "results").iterdir()) - before
    assert [(point.offset, point.budget) for point in series.points] == [(20, 10), (10, 5)]
    assert {file.name for file in files if file.name.startswith("eval-")} == {
        name for point in series.points for name in point.results
    }
    (together,) = (file for file in files if file.name.startswith("series-"))
    assert EvalSeries.model_validate_json(together.read_text(encoding="utf-8")) == series
    for point in series.points:
        results = [
            EvalResult.model_validate_json((together.parent / name).read_text(encoding="utf-8"))
            for name in point.results
        ]
        assert [result.protocol.drawn_with for result in results] == list(point.seeds) == [42, 43]
        rows = [[(one.start_row, one.goal_row) for one in result.episodes] for result in results]
        assert rows[0] == rows[1]
        assert point.overall.success.seeds == tuple(result.overall.success.rate for result in results)
        assert point.overall.success.pairs == 3
        assert np.isclose(point.above_random.rate, np.mean([result.above_random.rate for result in results]))
    newest = max((file for file in files if file.name.startswith("eval-")), key=lambda file: file.name)
    assert newest.name == series.points[0].results[0]
    shown = lewm_here(world, "eval", RUN, *QUICK, *arguments, "--offsets", "20,10")
    assert "20 (of 10)" in flat(shown.out)
    assert "10 (of 5)" in flat(shown.out)
    assert "20, 10 steps ahead: not shown to beat random." in flat(shown.out)  # three pairs show nothing
    assert lewm_here(world, "verify", RUN).code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--protocol", "stric"], 2, "did you mean 'strict'?"),
        (["--offsets", "25,x"], 2, "--offsets '25,x' is no list of environment steps like 25,50,75,100"),
        (["--offsets", "0"], 2, "is no list of environment steps"),
        (["--protocol", "moderate", "--episodes", 900], 1, "900 pairs"),
        (["--protocol", "release", "--episodes", 90000], 1, "90000 pairs were asked for"),
        (["--manifest", "/"], 1, "the manifest / cannot be read (Is a directory)"),
    ],
)
def test_what_cannot_be_measured_is_refused(world: Path, arguments: list, code: int, said: str):
    assert said in lewm_here(world, "eval", RUN, *QUICK, *arguments).sentence(code)


@pytest.mark.slow
def test_recording_without_states_is_refused(world: Path):
    test = open_dataset(world / "tworoom" / "test.h5", "test")
    bare = replace(test, columns=tuple(one for one in test.columns if one.name != "proprio"))
    join_recordings(world / "tworoom" / "bare.h5", [(bare, range(3))], task="tworoom")
    refused = lewm_here(world, "eval", RUN, *QUICK, "--dataset", "tworoom/bare", "--episodes", 2).sentence()
    assert "tworoom/bare has no column 'proprio', from which tworoom takes starts and goals" in refused


@pytest.mark.slow
def test_run_with_another_action_width_is_refused_and_another_history_is_not(
    world: Path, small_card: Callable[[LeWM], RunCard]
):
    for name, model in {
        "wide": LeWM(small_model_config(world), block_dim=15),
        "short": LeWM(small_model_config(world, history=1), block_dim=10),
    }.items():
        save_run(RunFiles(world / "tworoom" / name), model.eval(), small_card(model))
    image = world / "goal.png"
    imageio.imwrite(image, np.zeros((64, 64, 3), np.uint8))
    for goals in (("--dataset", "tworoom/test"), ("--goal-image", image)):
        refused = lewm_here(world, "eval", "tworoom/wide", "--set", "planner.iterations=1", *goals).sentence()
        assert "tworoom/wide plans with 3 action dimensions, and the simulator of tworoom takes 2" in refused
    done = lewm_here(
        world, "eval", "tworoom/short", *QUICK, "--dataset", "tworoom/test", "--episodes", 2, "--set", "budget=5"
    )
    assert done.code == 0, done.err


def small_model_config(world: Path, **changes: int):
    return load_run(Home(world, (world,)), RUN).model.config.model_copy(update=changes)


@pytest.mark.slow
def test_unusual_settings_are_remarked_on_by_the_command(world: Path):
    unusual = ("--set", "budget=5", "--set", "offset=30")
    done = lewm_here(world, "eval", RUN, *QUICK, "--dataset", "tworoom/test", "--episodes", 1, *unusual)
    assert done.code == 0, done.err
    assert "unusual: 5 steps are allowed for goals 30 steps ahead" in done.err
    assert "unusual: plans reach 25 steps ahead and goals lie 30 ahead" in done.err


def test_protocols_are_listed(home: Home):
    listed = flat(lewm_here(home.write, "presets").out)
    assert all(f"tworoom/{name}" in listed for name in NAMES)
