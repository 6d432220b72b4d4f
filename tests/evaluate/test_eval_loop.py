"""The evaluation loop: the same outcome in any process and any batch, after deaths, and after interruptions."""

import itertools
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commands import alive, descendants, ended, flat, lewm_here, running, wait_until
from lewm_cli.config import DatasetIdentity, EvalProtocol, PlannerConfig
from lewm_cli.control import Planner, RandomActor, TimeSplit
from lewm_cli.data import Dataset, open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.evaluate import EvalResult, Journal, choose_pairs, evaluate
from lewm_cli.evaluate.eval_result import EpisodeResult
from lewm_cli.evaluate.journal import Entry, Journaled
from lewm_cli.methods import JEPA
from lewm_cli.plan import LatentCost, PerEnvironment, Problem
from lewm_cli.plan.cem import CEM
from lewm_cli.simulate import (
    Begin,
    EpisodeProgress,
    Follow,
    InProcess,
    Pair,
    Render,
    Rollouts,
    RunActor,
    SimulatorPool,
    gather,
    simulator_pool,
)
from lewm_cli.simulate.pool import WorkerPool
from lewm_cli.simulate.requests import Request
from lewm_cli.store import Home, Run, load_run
from lewm_cli.tasks import find_task
from toys import DEADLY, toy

pytest_plugins = ("recordings",)

RUN = "tworoom/lewm"
QUICK = {"candidates": 32, "elites": 8, "iterations": 3}
SETTINGS = [word for key, value in QUICK.items() for word in ("--set", f"planner.{key}={value}")]
PAIRS = 6
EPISODES = 40


@pytest.fixture(scope="module")
def world(trained: Path, other_demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run and a recording that it was not trained on, `tworoom/test`."""
    home = tmp_path_factory.mktemp("world") / "home"
    shutil.copytree(trained, home)
    shutil.copy(other_demos / "tworoom" / "demos.h5", home / "tworoom" / "test.h5")
    return home


@pytest.fixture
def apart(world: Path, tmp_path: Path) -> Path:
    """The same in a home of its own."""
    return Path(shutil.copytree(world, tmp_path / "home"))


@pytest.fixture(scope="module")
def run(world: Path) -> Run:
    return load_run(Home(world, (world,)), RUN)


@pytest.fixture(scope="module")
def dataset(world: Path) -> Dataset:
    return open_dataset(world / "tworoom" / "test.h5", "tworoom/test")


@pytest.fixture(scope="module")
def pairs(dataset: Dataset) -> list[Pair]:
    return choose_pairs(dataset, find_task("tworoom"), np.arange(dataset.episodes), EvalProtocol(pairs=PAIRS))


Measure = Callable[..., EvalResult]


@pytest.fixture(scope="module")
def measure(run: Run, dataset: Dataset) -> Measure:
    protocol = EvalProtocol(planner=PlannerConfig(**QUICK), pairs=PAIRS)

    def apply(pairs: list[Pair], **options) -> EvalResult:
        given = {"held_out": True, "advance": lambda done: None} | options
        return evaluate(run, find_task("tworoom"), dataset, pairs, protocol, Planner(run, protocol.planner), **given)

    return apply


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What the fleet had to say."""
    return []


@pytest.fixture(scope="module")
def fleet(said: list[str]) -> Iterator[SimulatorPool]:
    """SimulatorPool in two processes."""
    with simulator_pool(find_task("tworoom"), 2, said.append) as started:
        yield started


@pytest.fixture(scope="module")
def here(measure: Measure, pairs: list[Pair]) -> EvalResult:
    """In this process, all pairs together, without interruption."""
    return measure(pairs)


# Planning


def test_plan_is_the_same_in_any_batch_bit_for_bit(small_model: JEPA):
    starts, goals = torch.randn(5, 1, 8), torch.randn(5, 8)

    def plan(numbers: list[int]) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(number) for number in numbers]
        cost = LatentCost(small_model, starts[numbers], goals[numbers])
        return PerEnvironment(CEM(PlannerConfig(**QUICK))).solve(Problem(cost, 10, generators)).actions

    together = plan([0, 1, 2, 3, 4])
    for numbers in ([0], [4, 2], [3, 2, 1]):
        assert torch.equal(plan(numbers), together[numbers])


# Any process, any batch


@pytest.mark.slow
def test_outcome_does_not_depend_on_processes_or_batch(
    here: EvalResult, measure: Measure, pairs: list[Pair], fleet: SimulatorPool, monkeypatch: pytest.MonkeyPatch
):
    filmed, filmed_here = {}, {}
    apart = measure(pairs, simulators=fleet, film=lambda film: filmed.update({film.number: film}))
    assert apart.episodes == here.episodes
    assert (apart.workers, here.workers) == (2, 1)
    with monkeypatch.context() as monkeypatch:
        monkeypatch.setattr("lewm_cli.control.run_planner.EPISODES_PER_CORE", 1)
        again = measure(pairs[::-1], film=lambda film: filmed_here.update({film.number: film}))
    assert again.episodes == here.episodes[::-1]
    for number in range(PAIRS):
        one, other = filmed[number], filmed_here[PAIRS - 1 - number]
        assert np.array_equal(one.frames, other.frames)
        assert np.array_equal(one.path, other.path)
        assert len(one.frames) == len(one.path)
    for subset in ([0], [5, 2]):
        assert measure([pairs[number] for number in subset]).episodes == tuple(here.episodes[n] for n in subset)


@pytest.mark.slow
def test_time_is_split_and_adds_up(here: EvalResult):
    split = here.split
    assert 0 < split.total <= here.seconds
    assert min(split.simulator, split.encoder, split.planner, split.random) > 0
    assert split.total <= here.seconds_per_episode * PAIRS
    assert here.seconds_per_plan == pytest.approx(split.planner / here.plans)


@pytest.mark.slow
def test_killed_simulator_is_started_again_and_nothing_changes(
    here: EvalResult, measure: Measure, pairs: list[Pair], fleet: SimulatorPool, said: list[str]
):
    calls = itertools.count()

    def kill(done: int) -> None:
        if next(calls) == PAIRS // 2:  # all have begun and followed a plan, and few have ended
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    assert measure(pairs, simulators=fleet, advance=kill).episodes == here.episodes
    assert len(said) == 1
    assert said[0].startswith("a simulator process of tworoom was killed (SIGKILL)")
    assert said[0].endswith("starting another")


# Deaths in a toy world


def between(start: float, goal: float) -> Pair:
    return Pair(0, 7, 32, np.array([start, 0.0]), np.array([goal, 0.0]))


@pytest.fixture
def fleet_of(tmp_path: Path) -> Iterator[Callable[[Path | None], WorkerPool]]:
    started = []

    def start(fuse: Path | None = None) -> WorkerPool:
        started.append(WorkerPool(toy(fuse), 2, lambda message: None))
        return started[-1]

    yield start
    for fleet in started:
        fleet.close()


@pytest.mark.slow
def test_requests_are_answered_alike_here_and_there(fleet_of: Callable[[], WorkerPool]):
    fleet, here, pair, gate = fleet_of(), InProcess(toy()), between(3, 9), "simulator"
    right, none = np.tile([1.0, 0.0], (4, 1)), np.empty((0, 2))
    requests = [
        Render(pair),
        Begin(0, pair, gate),
        Follow(0, pair, gate, none, right, none, last=False, filming=True),
        Follow(0, pair, gate, right, right, none, last=False, filming=False),
        Follow(1, pair, gate, right, right[:1], none, last=True, filming=False),  # never begun there
        Rollouts(pair, gate, none, np.stack([right, -right])),
        RunActor(pair, gate, 40, RandomActor, seed=3),
        *(RunActor(between(0, 2), gate, 40, RandomActor, seed=seed) for seed in range(5)),
    ]
    for request in requests:
        there, same = (where.submit(1, request).result(60) for where in (fleet, here))
        assert len(there.seen) == len(same.seen)
        for one, other in zip(there.seen, same.seen, strict=True):
            assert np.array_equal(one.frame, other.frame)
        assert repr(there.found) == repr(same.found)
    path = here.submit(1, Follow(5, pair, gate, right, right[:1], none, last=True, filming=True)).result().found.path
    assert path[:, 0].tolist() == [3, 4, 5, 6, 7, 8]


@pytest.mark.slow
def test_gate_judges_wherever_it_is_simulated_and_a_goal_has_to_stay_reached(fleet_of: Callable[[], WorkerPool]):
    right, none = np.tile([1.0, 0.0], (4, 1)), np.empty((0, 2))
    pair, near = between(3, 7), between(3.5, 4.0)
    for where in (InProcess(toy()), fleet_of()):

        def found(request: Request, where: SimulatorPool = where) -> EpisodeProgress:
            return where.submit(0, request).result(60).found

        def follow(rest: np.ndarray, ask: Callable[[Request], EpisodeProgress] = found) -> EpisodeProgress:
            return ask(Follow(0, pair, "simulator", none, right, rest, last=False, filming=False))

        stays, passes = follow(none), follow(right)
        assert (stays.first_hit, stays.held, passes.first_hit, passes.held) == (4, True, 4, False)
        for one in (stays, passes):  # the steps after the hit are no part of the episode
            assert (len(one.path), one.final_distance) == (5, 0)
        by_own_rule, by_another = (found(Begin(1, near, gate)) for gate in ("simulator", "tight"))
        assert (by_own_rule.first_hit, by_own_rule.held) == (0, True)
        assert (by_another.first_hit, by_another.held) == (None, None)
        assert where.submit(0, RunActor(near, "simulator", 0, RandomActor, seed=3)).result(60).found is True
        assert where.submit(0, RunActor(near, "tight", 0, RandomActor, seed=3)).result(60).found is False


@pytest.mark.slow
def test_simulator_that_dies_once_is_no_failure(fleet_of: Callable[[Path], WorkerPool], tmp_path: Path):
    fuse = tmp_path / "fuse"
    fuse.touch()
    answer = fleet_of(fuse).submit(0, Begin(0, between(DEADLY, DEADLY + 9), "simulator")).result(60)
    assert answer.found.first_hit is None
    assert not fuse.exists()


@pytest.mark.slow
def test_simulator_that_always_dies_is_named_and_what_it_raises_is_passed_on(fleet_of: Callable[[], WorkerPool]):
    fleet = fleet_of()
    deadly = fleet.submit(0, Begin(0, between(DEADLY, 0), "simulator"))
    wrong = fleet.submit(1, Begin(1, between(-1, 0), "simulator"))
    with pytest.raises(ValueError, match="this start cannot be"):
        wrong.result(60)
    with pytest.raises(LewmError, match=r"died 3 times in a row on rows 7 to 32: it crashed \(SIGABRT\)"):
        deadly.result(60)
    # Both go on.
    assert fleet.submit(1, Render(between(1, 2))).result(60).frames.shape == (2, 8, 8, 3)
    assert gather([fleet.submit(0, Render(between(1, 2)))])


# Interruptions


@pytest.mark.slow
@pytest.mark.parametrize(("how", "workers"), [(signal.SIGINT, 2), (signal.SIGKILL, 1)])
def test_interrupted_evaluation_goes_on_to_the_same_result(apart: Path, how: signal.Signals, workers: int):
    folder = apart / "tworoom" / "lewm.run" / "results"
    arguments = ["eval", RUN, "--dataset", "tworoom/test", "--episodes", EPISODES, "--record", 0, *SETTINGS]
    # Slow enough to be hit in the middle.
    arguments += ["--set", "planner.iterations=20"]
    with running(apart, *arguments, "--workers", workers) as process:
        wait_until(lambda: any(len(path.read_text().splitlines()) > 4 for path in folder.glob("*.journal")), process)
        below = descendants(process.pid)
        process.send_signal(how)
        done = ended(process)
    wait_until(lambda: not any(map(alive, below)))
    if how is signal.SIGINT:
        assert "--resume goes on" in done.sentence(code=130)
    (journal,) = folder.glob("*.journal")
    assert not list(folder.glob("*.json"))
    kept = [Entry.model_validate_json(line) for line in journal.read_text().splitlines()[1:]]
    assert 4 <= len(kept) < EPISODES
    done = lewm_here(apart, *arguments, "--workers", 1, "--resume", "--json")
    assert done.code == 0, done.err
    assert f"resuming: {len(kept)} of {EPISODES} episodes are done" in done.err
    resumed = EvalResult.model_validate(done.json())
    assert [path.suffix for path in folder.iterdir()] == [".json"]
    for entry in kept:
        assert resumed.episodes[entry.number] == entry.result
    assert resumed.split.total > max(entry.spent.total for entry in kept)
    undisturbed = EvalResult.model_validate(lewm_here(apart, *arguments, "--workers", 1, "--json").json())
    assert undisturbed.episodes == resumed.episodes
    assert undisturbed.plans == resumed.plans


@pytest.mark.slow
@pytest.mark.parametrize("several", [(), ("--seeds", 2)])
def test_precision_that_is_measured_stays_what_it_was(
    apart: Path, monkeypatch: pytest.MonkeyPatch, several: tuple[str, object]
):
    arguments = ["eval", RUN, "--dataset", "tworoom/test", "--episodes", 3, "--record", 0, *SETTINGS, *several]
    arguments += ["--set", "planner.precision=auto", "--workers", 1]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    def fastest_is(dtype: torch.dtype) -> None:
        monkeypatch.setattr("lewm_cli.control.run_planner.fastest_dtype", lambda model: dtype)

    fastest_is(torch.bfloat16)
    with monkeypatch.context() as patch:
        patch.setattr("lewm_cli.flows.evaluate.keep_result", stop)
        assert "--resume goes on" in lewm_here(apart, *arguments).sentence(code=130)
    fastest_is(torch.float32)
    resumed = lewm_here(apart, *arguments, "--resume", "--json")
    assert "resuming: 3 of 3 episodes are done" in resumed.err
    assert resumed.json()["protocol"]["planner"]["precision"] == "bfloat16"
    anew = lewm_here(apart, *arguments, "--resume", "--json")
    assert anew.json()["protocol"]["planner"]["precision"] == "float32"


@pytest.mark.slow
@pytest.mark.parametrize("several", [("--seeds", 2), ("--offsets", "5,10")])
def test_interrupted_series_goes_on_and_stores_nothing_twice(apart: Path, several: tuple[str, object]):
    folder = apart / "tworoom" / "lewm.run" / "results"
    arguments = ["eval", RUN, "--dataset", "tworoom/test", "--episodes", EPISODES, "--record", 0, *SETTINGS]
    arguments += [*several, "--workers", 1, "--set", "planner.iterations=10"]

    def lengths() -> list[int]:
        return [len(path.read_text().splitlines()) for path in folder.glob("*.journal")]

    with running(apart, *arguments) as process:
        wait_until(lambda: len(lengths()) == 2 and min(lengths()) > 2, process)
        process.send_signal(signal.SIGINT)
        done = ended(process)
    kept = sum(lengths()) - 2
    assert f"stopped; {kept} of {2 * EPISODES} episodes are kept" in done.sentence(code=130)
    by_offset = several[0] == "--offsets"
    stored = list(folder.glob("eval-*.json"))
    assert len(stored) == by_offset  # one result holds all seeds of an offset
    done = lewm_here(apart, *arguments, "--resume", "--json")
    assert done.code == 0, done.err
    files = sorted(folder.glob("*.json"), reverse=True)
    assert set(stored) <= set(files)
    results = [EvalResult.model_validate_json(path.read_text()) for path in files]
    assert results == [EvalResult.model_validate(one) for one in (done.json() if by_offset else [done.json()])]
    assert not list(folder.glob("*.journal*"))
    measured = [(one.protocol.offset, list(one.success_by_seed)) for one in results]
    assert measured == ([(5, [42]), (10, [42])] if by_offset else [(25, [42, 43])])


@pytest.fixture
def about() -> Journaled:
    dataset = DatasetIdentity(name="x", episodes=3, rows=90, fingerprint="0" * 64)
    rows = tuple((10 * number, 10 * number + 5) for number in range(8))
    return Journaled(
        weights_sha256="1" * 64, dataset=dataset, protocol=EvalProtocol(pairs=8), rows=rows, device="cpu", versions={}
    )


def entry(number: int) -> Entry:
    outcome = EpisodeResult(
        seed=42,
        episode=number,
        start_row=10 * number,
        goal_row=10 * number + 5,
        groups=("Räume",),
        solved_at_start=False,
        success=number % 2 == 0,
        first_hit=7 if number % 2 == 0 else None,
        held=number % 4 == 0 if number % 2 == 0 else None,
        final_distance=number / 3,
        route_valid=None,
        random_success=False,
        iterations=10,
        flops=1e9,
    )
    return Entry(number=number, result=outcome, seconds=number + 1, spent=TimeSplit(planner=number))


def write(folder: Path, about: Journaled, numbers: list[int], *, resume: bool = False) -> list[str]:
    said: list[str] = []
    with Journal.opened(folder, about, resume=resume, say=said.append) as journal:
        for number in numbers:
            journal.add(entry(number))
    return said


def found(folder: Path, about: Journaled) -> list[Entry]:
    with Journal.opened(folder, about, resume=True, say=lambda message: None) as journal:
        return list(journal.entries)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_journal_cut_anywhere_holds_what_was_finished(about: Journaled, tmp_path: Path, data: st.DataObject):
    shutil.rmtree(tmp_path / "results", ignore_errors=True)
    write(tmp_path / "results", about, [3, 0, 5])
    (path,) = (tmp_path / "results").glob("*.journal")
    whole = path.read_bytes()
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    path.write_bytes(cut + data.draw(st.sampled_from([b"", b"\0\0", b"\xff\n", b"{}\n"])) * (cut != whole))
    kept = found(tmp_path / "results", about)
    assert kept == [entry(3), entry(0), entry(5)][: len(kept)]
    assert len(kept) >= cut.count(b"\n") - 1
    # What is finished next is added to it, and both are found.
    write(tmp_path / "results", about, [7], resume=True)
    assert found(tmp_path / "results", about) == [*kept, entry(7)]


def test_journal_of_another_evaluation_is_left_alone(about: Journaled, tmp_path: Path):
    write(tmp_path, about, [1, 2])
    for change in ({"weights_sha256": "2" * 64}, {"rows": about.rows[:7]}, {"protocol": EvalProtocol(pairs=8, seed=1)}):
        assert found(tmp_path, about.model_copy(update=change)) == []
    assert found(tmp_path, about) == [entry(1), entry(2)]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".journal", ".lock"]


def test_journal_is_told_of_without_resume_and_replaced_by_the_first_episode(about: Journaled, tmp_path: Path):
    write(tmp_path, about, [1, 2])
    assert write(tmp_path, about, []) == ["an interrupted evaluation of these pairs finished 2 of 8: --resume"]
    assert found(tmp_path, about) == [entry(1), entry(2)]
    write(tmp_path, about, [4])
    assert found(tmp_path, about) == [entry(4)]


def test_same_evaluation_is_not_done_twice_at_once(about: Journaled, tmp_path: Path):
    def open_journal():
        return Journal.opened(tmp_path, about, resume=False, say=lambda message: None)

    with open_journal(), pytest.raises(LewmError, match="another process runs this very evaluation"), open_journal():
        pass
    with open_journal() as journal:
        journal.add(entry(1))
        journal.remove()
    assert list(tmp_path.iterdir()) == []


# Drawing recorded states again


def altered(home: Path, alter: Callable[[np.ndarray], np.ndarray]) -> None:
    path = home / "tworoom" / "test.h5"
    with h5py.File(path, "r+") as file:
        frames = alter(file["pixels"][:])
        del file["pixels"]
        file["pixels"] = frames


def elsewhere(frames: np.ndarray) -> np.ndarray:
    return np.roll(frames, 20, axis=1)


def fainter(frames: np.ndarray) -> np.ndarray:
    frames[:, ::10] = np.clip(frames[:, ::10].astype(int) - 1, 0, 255)
    return frames


def smaller(frames: np.ndarray) -> np.ndarray:
    import cv2

    return np.stack([cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA) for frame in frames])


EVAL = ["eval", RUN, "--dataset", "tworoom/test", "--episodes", 3, "--set", "budget=5", "--record", 0, "--workers", 1]


@pytest.mark.slow
def test_simulator_that_draws_something_else_is_refused(apart: Path):
    altered(apart, elsewhere)
    refused = lewm_here(apart, *EVAL, *SETTINGS).sentence()
    assert "is not the one that recorded it" in refused
    assert "lewm collect tworoom" in refused
    assert not list((apart / "tworoom" / "lewm.run").rglob("eval-*"))


@pytest.mark.slow
def test_small_difference_is_warned_of_and_stored(apart: Path):
    altered(apart, fainter)
    done = lewm_here(apart, *EVAL, *SETTINGS)
    assert done.code == 0, done.err
    assert "WARNING: drawn again, row" in done.err
    assert "THE SIMULATOR DRAWS RECORDED STATES OTHERWISE" in flat(done.out)
    (path,) = (apart / "tworoom" / "lewm.run" / "results").glob("eval-*.json")
    redrawn = EvalResult.model_validate_json(path.read_text(encoding="utf-8")).redrawn
    assert (redrawn.frames, redrawn.alike) == (6, False)
    assert 0.01 < redrawn.difference < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("alter", [lambda frames: frames, smaller])
def test_what_was_recorded_here_is_drawn_again_bit_for_bit_at_any_resolution(apart: Path, alter):
    altered(apart, alter)
    done = lewm_here(apart, *EVAL, *SETTINGS, "--json")
    assert done.code == 0, done.err
    assert "WARNING" not in done.err
    assert EvalResult.model_validate(done.json()).redrawn.difference == 0
