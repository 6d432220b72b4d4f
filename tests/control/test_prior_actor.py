"""A behavior prior acts alone, and plans begin at it; both are refused where they mean nothing."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import lewm_cli
from commands import flat, lewm_here
from lewm_cli.config import EvalProtocol, PlannerConfig
from lewm_cli.control import Observation, Planner, PriorActor, find_prior, find_protocol_actor
from lewm_cli.control.run_planner import RunPrior, roll_prior
from lewm_cli.errors import MissingError, UsageError
from lewm_cli.evaluate import EvalResult, Journaled
from lewm_cli.heads.prior import PriorFit
from lewm_cli.model import PriorHead
from lewm_cli.plan import LastLatent
from lewm_cli.store import Home, Run, RunFiles, load_run, save_run, weights_digest

pytest_plugins = ("untrained", "recordings")

RUN = "tworoom/lewm"
PAIRS = ("--protocol", "release", "--episodes", 3, "--workers", 1)
QUICK = ("--set", "planner.candidates=8", "--set", "planner.elites=2", "--set", "planner.iterations=1", "--record", 0)


def seen(count: int) -> list[Observation]:
    return [Observation(one) for one in np.random.default_rng(0).integers(0, 256, (count, 40, 40, 3), dtype=np.uint8)]


def test_actions_are_the_mean_of_the_head_whatever_else_is_asked(tworoom_run: Run):
    torch.manual_seed(0)
    head, views = PriorHead(8, 10).eval(), seen(6)
    actor = PriorActor(tworoom_run, RunPrior(head, "1" * 64))
    assert (actor.steps, actor.prior_sha256, actor.head_sha256) == (5, "1" * 64, None)
    episodes = actor.begin(views[3:], [1, 2, 3])
    together = actor.act(episodes, views[:3])
    with torch.inference_mode():
        latents = tworoom_run.embed(np.stack([one.frame for one in views]))
        blocks, _ = head(latents[:3], latents[3:])
    stats = tworoom_run.card.inputs.actions
    for number, (chosen, block) in enumerate(zip(together, blocks, strict=True)):
        wanted = block.numpy().reshape(5, 2) * np.array(stats.std) + np.array(stats.mean)
        np.testing.assert_allclose(chosen, wanted, rtol=1e-4, atol=1e-5)
        (alone,) = actor.act(actor.begin([views[3 + number]], [7]), [views[number]])
        assert np.array_equal(alone, chosen)
    head_flops = 2 * (16 * 256 + 256 * 256 + 256 * 20)
    assert episodes[0].flops > head_flops
    actor.act(episodes, views[:3])
    assert episodes[0].flops == 2 * episodes[1].flops / 2 > 2 * head_flops


def test_prior_that_was_not_fitted_is_asked_for(tworoom_run: Run):
    asked = f"{RUN} has no prior head; fit one to its latents: lewm fit {RUN} --kind prior"
    with pytest.raises(MissingError, match=asked):
        Planner(tworoom_run, PlannerConfig(prior=True))
    with pytest.raises(MissingError, match=asked):
        find_protocol_actor(tworoom_run, EvalProtocol(actor="prior", planner=None))
    assert find_prior(tworoom_run, False) is None


def test_policy_of_stable_worldmodel_that_goes_on_with_plans_is_refused_beside_a_prior(
    tworoom_run: Run, monkeypatch: pytest.MonkeyPatch
):
    found = RunPrior(PriorHead(8, 10).eval(), "1" * 64)
    monkeypatch.setattr("lewm_cli.control.run_planner.find_prior", lambda run, name: found if name else None)
    space, sizes = SimpleNamespace(shape=(1, 2)), {"horizon": 5, "action_block": 5}
    solver = lewm_cli.SwmSolver(tworoom_run, PlannerConfig(prior=True))
    for receding, warm_start in ((2, False), (5, True)):
        config = SimpleNamespace(receding_horizon=receding, warm_start=warm_start, **sizes)
        solver.configure(action_space=space, n_envs=1, config=config)
    config = SimpleNamespace(receding_horizon=2, warm_start=True, **sizes)
    with pytest.raises(UsageError, match="warm_start and prior both say where a plan begins; give PlanConfig"):
        solver.configure(action_space=space, n_envs=1, config=config)


@pytest.mark.parametrize(
    ("more", "seconds", "iterations"),
    [({"prior": True}, 0.0, 6), ({"prior": True}, 0.15, 1), ({"anchors": "tworoom/demos"}, 0.1, 3)],
)
def test_time_of_a_plan_begins_before_prior_and_anchors_are_asked(
    tworoom_run: Run, monkeypatch: pytest.MonkeyPatch, more: dict, seconds: float, iterations: int
):
    now = [0.0]  # on a clock on which asking takes so long, and every evaluation of candidates 30 ms

    def taking(seconds: float, function: Callable) -> Callable:
        def called(*arguments: object, **named: object) -> object:
            now[0] += seconds
            return function(*arguments, **named)

        return called

    found = RunPrior(PriorHead(8, 10).eval(), "1" * 64)
    anchors = SimpleNamespace(index=SimpleNamespace(dataset=None), aim=taking(seconds, lambda here, goal, ahead: goal))
    planning = "lewm_cli.control.run_planner"
    monkeypatch.setattr(f"{planning}.find_prior", lambda run, name: found if name else None)
    monkeypatch.setattr(f"{planning}.find_anchors", lambda run, name: anchors)
    monkeypatch.setattr(f"{planning}.roll_prior", taking(seconds, roll_prior))
    monkeypatch.setattr(LastLatent, "__call__", taking(0.03, LastLatent.__call__))
    config = PlannerConfig(candidates=8, elites=2, iterations=20, milliseconds=200, **more)
    planner, (view, goal) = Planner(tworoom_run, config), seen(2)
    (episode,) = planner.begin([goal], [1])
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    planner.act([episode], [view])
    assert episode.iterations == iterations
    assert episode.plan.seconds == pytest.approx(seconds + 0.03 * iterations)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--set", "planner.prior=shuffle"), "planner.prior = 'shuffle': input should be a valid boolean, unable to"),
        (("--actor", "prior", "--horizon", 3), "the prior alone acts in one forward pass per step and plans nothing"),
        (("--actor", "prior", "--set", "planner.prior=true"), "so --set planner.prior=true means nothing to it"),
        (("--actor", "pilot"), "actor"),
        (("--actor", "prior", "--goal-image", "goal.png"), "--actor does not go with --goal-image"),
        (("--actor", "prior", "--offline"), "--actor does not go with --offline"),
        (("--set", "planner.prior=true", "--set", "planner.warm_start=true", "--receding", 2), "leave one of them out"),
    ],
)
def test_what_means_nothing_beside_a_prior_is_refused(tworoom_run: Run, home: Home, typed: tuple, said: str):
    before = set(home.write.rglob("*"))
    assert said in lewm_here(home.write, "eval", RUN, *typed).sentence(code=2)
    assert set(home.write.rglob("*")) == before


@pytest.fixture(scope="module")
def fitted(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run of TwoRoom, hardly trained, and its prior."""
    home = tmp_path_factory.mktemp("prior") / "home"
    shutil.copytree(trained, home)
    done = lewm_here(home, "fit", RUN, "--kind", "prior", "--steps", 20, "--json")
    assert done.code == 0, done.err
    fit = PriorFit.model_validate(done.json())
    assert (fit.kind, fit.block_dim, fit.steps) == ("prior", 10, 20)
    assert done.err.splitlines()[-1] == f"next: lewm eval {RUN} --set planner.prior=true"
    return home


def measured(home: Path, *arguments: object) -> EvalResult:
    done = lewm_here(home, "eval", RUN, *PAIRS, *arguments, "--json")
    assert done.code == 0, done.err
    return EvalResult.model_validate(done.json())


@pytest.mark.slow
def test_prior_is_measured_alone_and_compared_with_plans_from_it(fitted: Path):
    digest = weights_digest(fitted / f"{RUN}.run" / "prior.safetensors")
    planned = measured(fitted, *QUICK)
    begun = measured(fitted, *QUICK, "--set", "planner.prior=true")
    control = measured(fitted, *QUICK, "--set", "planner.prior=shuffled")
    acted = measured(fitted, "--actor", "prior")
    assert [one.prior_sha256 for one in (planned, begun, control, acted)] == [None, digest, digest, digest]
    assert (acted.protocol.way, acted.protocol.planner, acted.protocol.changed) == ("prior", None, ("pairs", "actor"))
    assert (acted.iterations_per_plan, acted.head_sha256) == (None, None)
    ends = [[episode.final_distance for episode in one.episodes] for one in (planned, begun, control, acted)]
    assert len({tuple(each) for each in ends}) == 4
    assert [one.random_success for one in acted.episodes] == [one.random_success for one in planned.episodes]
    two = lewm_here(fitted, "eval", RUN, *PAIRS, "--actor", "prior", "--seeds", 2)
    assert f"note: {RUN} draws nothing, so another seed only changes the random actions" in two.err
    text = flat(two.out)
    for words in (f"{RUN} (its prior alone) on ", "one forward pass, ", "prior "):
        assert words in text
    assert "encoder" not in text
    files = sorted((fitted / f"{RUN}.run" / "results").glob("eval-*.json"))
    compared = lewm_here(fitted, "compare", files[0], files[3])
    assert "acts by its prior alone in one forward pass per step, and" in flat(compared.out), compared.err
    again = lewm_here(fitted, "compare", files[0], files[1])
    assert "prior True instead of False" in flat(again.out)
    page = fitted.parent / "page.html"
    assert lewm_here(fitted, "report", RUN, "--output", page).code == 0
    assert "The prior acts in one forward pass per step" in page.read_text(encoding="utf-8")
    refused = lewm_here(fitted, "eval", RUN, *PAIRS, "--actor", "prior", "--references")
    assert "the prior alone acts in one forward pass per step and plans nothing, so --references" in refused.sentence(2)


@pytest.mark.slow
def test_python_measures_and_plans_from_the_prior_too(fitted: Path):
    run = lewm_cli.load(RUN, cache_dir=fitted)
    result = lewm_cli.evaluate(run, 2, protocol="release", settings={"actor": "prior"}, quiet=True)
    assert result.protocol.way == "prior"
    view, goal = seen(2)
    few = PlannerConfig(candidates=8, elites=2, iterations=1)
    plans = [
        lewm_cli.Policy(run, goal.frame, planner=few.model_copy(update={"prior": name}), clip=False, on_unlike="ignore")
        for name in (False, True, "shuffled")
    ]
    assert len({tuple(policy.act(view.frame)) for policy in plans}) == 3


@pytest.mark.slow
def test_prior_fitted_to_other_weights_is_refused_and_another_begins_another_journal(fitted: Path, tmp_path: Path):
    home = tmp_path / "home"
    shutil.copytree(fitted, home)
    where = Home.locate(home)
    dataset = where.find_dataset("tworoom/demos", print)
    about = [EvalProtocol(planner=PlannerConfig(prior=True)), EvalProtocol(actor="prior", planner=None)]
    before = [Journaled.of(load_run(where, RUN), dataset, [], one) for one in about]
    assert None not in [one.prior_sha256 for one in before]
    assert lewm_here(home, "fit", RUN, "--kind", "prior", "--steps", 20, "--seed", 1).code == 0
    assert [Journaled.of(load_run(where, RUN), dataset, [], one) != old for one, old in zip(about, before, strict=True)]
    run = load_run(where, RUN)
    with torch.no_grad():
        next(iter(run.model.parameters())).add_(0.01)
    save_run(RunFiles(where.run_stem(RUN)), run.model, run.card)
    for typed in (("--actor", "prior"), ("--set", "planner.prior=true")):
        said = lewm_here(home, "eval", RUN, *PAIRS, *typed).sentence()
        assert said.endswith(
            f"the prior head of {RUN} was fitted to other weights than it has now; fit it: lewm fit {RUN} --kind prior"
        )
