"""Evaluations while training disturb nothing, and the best state stands beside the last one as RUN@best."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from commands import lewm_here
from lewm_cli.config import EvalProtocol
from lewm_cli.control import Planner
from lewm_cli.errors import LewmError
from lewm_cli.flows import validation
from lewm_cli.methods import JEPA, RunCard, Validated
from lewm_cli.simulate import InProcess, RunActor
from lewm_cli.statistics import Rate
from lewm_cli.store import RunFiles, read_card
from lewm_cli.train import SuccessMeasured, read_log
from lewm_cli.train.evaluated import BestState
from synthetic import write_recording

pytest_plugins = ("recordings",)

STEPS, EVERY, PAIRS = 20, 8, 6
RUN = "tworoom/run"
EVALUATED = ["--eval-every", EVERY, "--set", f"eval.pairs={PAIRS}", "--set", "eval.candidates=4"]
EVALUATED += ["--set", "eval.iterations=1"]


@pytest.fixture
def home(demos: Path, tmp_path: Path) -> Path:
    shutil.copytree(demos, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture(scope="module")
def evaluated(demos: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run that was evaluated on the way; not to be written to."""
    home = tmp_path_factory.mktemp("evaluated") / "home"
    shutil.copytree(demos, home)
    done = lewm_here(home, *train(tiny, *EVALUATED))
    assert done.code == 0, done.err
    assert done.err.count("evaluated at") == 3
    assert done.err.splitlines()[-1] == f"next: lewm eval {RUN}@best"
    assert f"{RUN}@best: step" in done.out
    return home


def train(tiny: Path, *arguments: object) -> list[object]:
    half = ["--set", "data.validation=0.5"]
    return ["train", "tworoom", "--config", tiny, "--steps", STEPS, "--name", RUN, *half, *arguments]


def files(home: Path) -> RunFiles:
    return RunFiles(home / RUN)


def assert_same_weights(ours: Path, theirs: Path) -> None:
    one, other = load_file(ours), load_file(theirs)
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


def measured(home: Path) -> tuple[SuccessMeasured, ...]:
    return read_log(files(home).log).evaluated


def without_seconds(home: Path) -> list[tuple]:
    return [(one.step, one.success, one.random, one.positions, one.best) for one in measured(home)]


@pytest.mark.slow
def test_training_computes_the_same_with_evaluations_and_without(evaluated: Path, home: Path, tiny: Path):
    plain = lewm_here(home, *train(tiny))
    assert plain.code == 0, plain.err
    assert_same_weights(files(home).weights, files(evaluated).weights)
    ours, theirs = (torch.load(files(one).resume, weights_only=True)["rng"] for one in (home, evaluated))
    assert torch.equal(ours, theirs)
    assert measured(home) == ()
    assert not files(home).best.weights.exists()


@pytest.mark.slow
def test_best_state_says_what_it_was_chosen_by(evaluated: Path):
    found, card = measured(evaluated), read_card(files(evaluated).best.weights)
    assert [one.step for one in found] == [8, 16, 20]
    assert {one.random for one in found} == {found[0].random}
    assert set(found[0].positions) == {"agent x", "agent y"}
    most = max(one.success.rate for one in found)
    best = [one for one in found if one.success.rate == most][-1]
    made, last = card.provenance, read_card(files(evaluated).weights).provenance
    assert (made.step, made.chosen_by.success, made.chosen_by.random) == (best.step, best.success, best.random)
    assert last.chosen_by is None
    assert len(made.chosen_by.pairs) == PAIRS
    assert {episode for episode, _, _ in made.chosen_by.pairs} <= set(made.held_out)
    assert made.chosen_by.protocol.planner.candidates == 4


@pytest.mark.slow
def test_commands_take_the_best_state_for_a_run_of_its_own(evaluated: Path, tmp_path: Path):
    home = tmp_path / "home"
    shutil.copytree(evaluated, home)
    best = f"{RUN}@best"
    quick = ["--episodes", 2, "--set", "planner.candidates=4", "--set", "planner.elites=2", "--record", 0]
    done = lewm_here(home, "eval", best, *quick, "--set", "planner.iterations=1", "--workers", 1)
    assert done.code == 0, done.err
    assert "this state was chosen by its success on 6 other pairs" in done.err
    assert len(list(files(home).best.results.glob("eval-*.json"))) == 1
    assert not files(home).results.exists()
    shown = lewm_here(home, "show", best, "--json").json()
    assert (shown["name"], len(shown["evaluations"])) == (best, 1)
    assert "validation pairs" in lewm_here(home, "show", best).out
    assert {run["name"] for run in lewm_here(home, "ls", "--json").json()["runs"]} == {RUN, best}
    assert lewm_here(home, "convert", best, "--to", "object").code == 0
    assert lewm_here(home, "verify", best).code == 0
    assert lewm_here(home, "compare", best, best).code == 0
    child = lewm_here(home, "train", "tworoom", "--name", "tworoom/child", "--init-from", best, "--steps", 1)
    assert "other sizes" in child.sentence()  # those of the preset, so it was found
    assert lewm_here(home, "rm", best, "--yes").code == 0
    assert "no best state of tworoom/run is kept" in lewm_here(home, "show", best).sentence()
    assert files(home).weights.exists()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["rm", "overwrite"])
def test_best_state_goes_with_its_run(evaluated: Path, tmp_path: Path, tiny: Path, way: str):
    home = tmp_path / "home"
    shutil.copytree(evaluated, home)
    files(home).best.results.mkdir(parents=True)
    (files(home).best.results / "eval-1.json").touch()
    arguments = ["rm", RUN, "--yes"] if way == "rm" else train(tiny, "--overwrite")
    done = lewm_here(home, *arguments)
    assert done.code == 0, done.err
    assert list((home / "tworoom").glob("*@best*")) == []
    assert files(home).weights.exists() == (way == "overwrite")


@pytest.mark.slow
def test_evaluation_that_is_interrupted_is_done_when_training_goes_on(
    evaluated: Path, home: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(*given: object) -> object:
        monkeypatch.setattr(Planner, "act", act)
        signal.raise_signal(signal.SIGINT)
        return act(*given)

    act = Planner.act
    monkeypatch.setattr(Planner, "act", interrupt)
    said = lewm_here(home, *train(tiny, *EVALUATED)).sentence(code=130)
    assert f"stopped after step {EVERY} of {STEPS} with everything saved" in said
    assert measured(home) == ()
    done = lewm_here(home, "train", "tworoom", "--name", RUN, "--resume")
    assert done.code == 0, done.err
    assert without_seconds(home) == without_seconds(evaluated)
    assert_same_weights(files(home).weights, files(evaluated).weights)
    assert_same_weights(files(home).best.weights, files(evaluated).best.weights)


@pytest.mark.slow
def test_weights_that_cannot_be_evaluated_stop_no_training(home: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch):
    acted, submit, score = [], InProcess.submit, validation.score_linear

    def fail_once(*given: object) -> object:
        monkeypatch.setattr(validation, "score_linear", score)
        raise LewmError("its numbers are not finite")

    def count(pool: InProcess, number: int, request: object) -> object:
        acted.extend([number] if isinstance(request, RunActor) else [])
        return submit(pool, number, request)

    monkeypatch.setattr(validation, "score_linear", fail_once)
    monkeypatch.setattr(InProcess, "submit", count)
    done = lewm_here(home, *train(tiny, *EVALUATED))
    assert done.code == 0, done.err
    assert f"warning: not evaluated at step {EVERY}: its numbers are not finite" in done.err
    assert [one.step for one in measured(home)] == [16, 20]
    assert sorted(acted) == list(range(PAIRS))  # random actions are measured once


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--set", "data.split=clip"], 2, "data.split = 'clip' holds out clips of all of them"),
        (["--set", "data.validation=0.2"], 1, "hold out more: --set data.validation=0.5"),
        (["--set", "eval.pairs=5000"], 1, "5000 pairs were asked for"),
        (["--name", f"{RUN}@best"], 2, "choose a --name without @best"),
        (["--eval-every", 0], 2, "--eval-every"),
    ],
)
def test_what_cannot_be_evaluated_on_the_way_is_refused(home: Path, tiny: Path, arguments: list, code: int, said: str):
    before = set(home.rglob("*"))
    assert said in lewm_here(home, *train(tiny, "--eval-every", 8, *arguments)).sentence(code)
    assert set(home.rglob("*")) == before


def test_recording_without_a_simulator_is_refused(robot: Path, tiny: Path):
    refused = lewm_here(robot, "train", "robot/pick", "--config", tiny, "--eval-every", 8)
    assert "no simulator belongs to robot/pick" in refused.sentence()


def test_recording_whose_colors_vary_is_refused(tiny: Path, tmp_path: Path):
    write_recording(tmp_path / "tworoom" / "demos.h5", dims=2, task="tworoom", varies="color")
    refused = lewm_here(tmp_path, *train(tiny, "--eval-every", 8)).sentence()
    assert "every episode of tworoom/demos has a color of its own" in refused
    assert refused.endswith("leave out --eval-every")


def test_of_equal_states_the_latest_is_the_best(
    tmp_path: Path, small_model: JEPA, small_card: Callable[[JEPA], RunCard]
):
    run, card = RunFiles(tmp_path / "run"), small_card(small_model)

    def at(step: int) -> RunCard:
        return card.model_copy(update={"provenance": card.provenance.model_copy(update={"step": step})})

    def rate(successes: int) -> Validated:
        found = Rate(successes=successes, trials=10, rate=successes / 10, low=0, high=1)
        return Validated(protocol=EvalProtocol(), pairs=((0, 0, 25),), success=found, random=found)

    best = BestState("run", run, resume=False)
    assert [best.offer(small_model, at(step), rate(of)) for step, of in enumerate((2, 5, 5, 4))] == [True] * 3 + [False]
    assert read_card(run.best.weights).provenance.step == 2
    assert BestState("run", run, resume=True).best == best.best
    run.best.weights.write_bytes(b"damaged")
    assert BestState("run", run, resume=True).best is None
