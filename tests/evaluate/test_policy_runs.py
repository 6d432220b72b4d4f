"""A run that is a policy: trained, evaluated, compared, shown and reported like any other, and refused by planners."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

import lewm_cli
from commands import Done, flat, lewm_here
from lewm_cli.config import PlannerConfig
from lewm_cli.control import Observation, PolicyActor, find_actor
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.evaluate import EvalResult
from lewm_cli.report.page.figures import draw_training
from lewm_cli.report.page.style import house_style
from lewm_cli.store import read_card
from lewm_cli.train import HeldOut, HeldOutMeasured, StepsTaken, TrainingHistory, read_curves, read_log
from toy_policy import POLICY, add_imitation

pytest_plugins = ("recordings",)

RUN = "tworoom/imitation"
PAIRS = ("--dataset", "tworoom/demos", "--episodes", 4, "--workers", 1)
QUICK = ("--set", "planner.candidates=8", "--set", "planner.elites=2", "--set", "planner.iterations=1", "--record", 0)


@pytest.fixture(scope="module")
def imitation() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        add_imitation(patch)
        yield


@pytest.fixture(scope="module")
def policy_training(trained: Path, imitation: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A home with a policy beside a world model, and the command that trained it, with evaluations on the way."""
    home = tmp_path_factory.mktemp("policies") / "home"
    shutil.copytree(trained, home)
    settings = home.parent / "policy.toml"
    settings.write_text(POLICY, encoding="utf-8")
    evaluating = ("--eval-every", 10, "--set", "eval.pairs=2", "--set", "data.validation=0.5")
    done = lewm_here(home, "train", "tworoom/demos", "--config", settings, "--steps", 20, *evaluating)
    assert done.code == 0, done.err
    return home, done


@pytest.fixture(scope="module")
def world(policy_training: tuple[Path, Done]) -> Path:
    return policy_training[0]


@pytest.fixture(scope="module")
def evaluated(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    videos = tmp_path_factory.mktemp("videos")
    return lewm_here(world, "eval", RUN, *PAIRS, "--video", videos, "--json"), videos


@pytest.fixture(scope="module")
def result(evaluated: tuple[Done, Path]) -> EvalResult:
    assert evaluated[0].code == 0, evaluated[0].err
    return EvalResult.model_validate(evaluated[0].json())


def files(home: Path) -> set[Path]:
    return {path for path in home.rglob("*") if path.suffix != ".lock"}


@pytest.mark.slow
def test_training_measures_losses_and_success_and_no_latents(policy_training: tuple[Path, Done]):
    home, done = policy_training
    assert "held out at 10: imitation " in done.err
    assert "evaluated at 20: success " in done.err
    for word in ("latent", "copying", "cosine", "R2"):
        assert word not in done.err
        assert word not in done.out
    log = home / f"{RUN}.run" / "log.jsonl"
    history = read_log(log)
    assert [type(one.held_out) for one in history.held_out] == [HeldOut, HeldOut]
    assert history.held_out[-1].held_out.parts.keys() == {"imitation"}
    assert not history.evaluated[-1].positions
    curves = read_curves(log)
    assert not [name for name in curves if name.startswith("latents/")]
    assert len(curves["held_out/imitation"].values) == 2
    assert "held_out_imitation" in lewm_cli.load(RUN, cache_dir=home).log().columns
    chosen = read_card(home / f"{RUN}@best.safetensors").provenance.chosen_by
    assert chosen.protocol.planner is None


@pytest.mark.slow
def test_policy_is_evaluated_by_forward_passes(world: Path, evaluated: tuple[Done, Path], result: EvalResult):
    assert result.protocol.planner is None
    assert result.iterations_per_plan is None
    assert result.plans == sum(50 if one.first_hit is None else one.first_hit for one in result.episodes)
    # Two frames of 16 x 16 to 8 numbers each, and 16 numbers to 2: a multiply-add counts two.
    passes = 2 * (2 * 3 * 16 * 16 * 8 + 16 * 2)
    assert result.flops_per_plan == pytest.approx(passes)
    assert result.split.encoder == 0
    assert len(list(evaluated[1].glob("*.mp4"))) == 4
    assert not list((world / f"{RUN}.run" / "results").glob("films-*"))
    again = lewm_here(world, "eval", RUN, *PAIRS, "--seeds", 2)
    assert again.code == 0, again.err
    assert "one forward pass, 0.0246 MFLOPs and " in flat(again.out)
    assert "encoder" not in again.out
    assert f"note: {RUN} draws nothing, so another seed only changes the random actions" in again.err


@pytest.mark.slow
def test_policy_is_compared_with_a_planner_on_the_same_pairs(world: Path, result: EvalResult):
    planned = lewm_here(world, "eval", "tworoom/lewm", *PAIRS, *QUICK, "--protocol", "release", "--json")
    assert planned.code == 0, planned.err
    found = lewm_here(world, "eval", RUN, *PAIRS, "--protocol", "release", "--json")
    assert found.code == 0, found.err
    done = lewm_here(world, "compare", "tworoom/lewm", RUN)
    assert done.code == 0, done.err
    assert f"{RUN} acts in one forward pass per step, and tworoom/lewm plans" in flat(done.out)
    tree = lewm_here(world, "compare", RUN, "tworoom/lewm", "--json").json()
    assert [one["protocol"]["planner"] is None for one in tree["results"]] == [True, False]
    assert tree["pairs"] == 4


@pytest.mark.slow
def test_interrupted_evaluation_of_a_policy_goes_on(world: Path, result: EvalResult, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise LewmError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("lewm_cli.flows.evaluate.keep_result", full)
        assert "its episodes are kept" in lewm_here(world, "eval", RUN, *PAIRS, "--seed", 5).sentence()
    resumed = lewm_here(world, "eval", RUN, *PAIRS, "--seed", 5, "--resume")
    assert resumed.code == 0, resumed.err
    assert "resuming: 4 of 4 episodes are done" in resumed.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "named"),
    [
        (("--solver", "icem"), "--solver"),
        (("--history", 1), "--history"),
        (("--plan-flops", 1e9), "--plan-flops"),
        (("--set", "planner.iterations=3"), "planner.iterations"),
        (("--references",), "--references"),
    ],
)
def test_options_of_planning_mean_nothing_to_a_policy(world: Path, typed: tuple[object, ...], named: str):
    before = files(world)
    sentence = lewm_here(world, "eval", RUN, *typed).sentence(code=2)
    assert f"{RUN} is a policy: it acts in one forward pass per step and plans nothing, so " in sentence
    assert named in sentence
    assert files(world) == before
    with pytest.raises(UsageError, match="plans nothing, so solver='icem' means nothing to it"):
        lewm_cli.evaluate(lewm_cli.load(RUN, cache_dir=world), solver="icem", quiet=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "typed",
    [
        ("plan", RUN, "--start", "{image}", "--goal", "{image}", "--output", "{home}/plan.json"),
        ("eval", RUN, "--goal-image", "{image}"),
        ("eval", RUN, "--actor", "prior"),
        ("fit", RUN),
        ("probe", RUN),
        ("latent", RUN),
        ("decode", RUN),
        ("surprise", "tworoom/demos", "--run", RUN),
        ("convert", RUN, "--to", "onnx", "--output", "{home}/onnx"),
        ("convert", RUN, "--to", "hub", "--output", "{home}/hub"),
        ("convert", RUN, "--to", "swm-object", "--output", "{home}/other_object.ckpt"),
    ],
    ids=lambda typed: f"{typed[0]} {typed[-1]}",
)
def test_what_needs_latents_refuses_a_policy_in_a_sentence(world: Path, typed: tuple[str, ...]):
    image = world.parent / "goal.png"
    imageio.imwrite(image, np.zeros((16, 16, 3), np.uint8))
    before = files(world)
    sentence = lewm_here(world, *(word.format(image=image, home=world) for word in typed)).sentence()
    assert f"{RUN} is a policy (imitation)" in sentence
    if typed[0] == "plan":
        assert sentence.endswith(f"lewm_cli.Policy('{RUN}', '{image}').act(frame)")
    assert files(world) == before


@pytest.mark.slow
def test_python_refuses_what_needs_latents_too(world: Path):
    run = lewm_cli.load(RUN, cache_dir=world)
    for ask in (lambda: lewm_cli.SwmSolver(run), lambda: lewm_cli.AutoCostModel(RUN, cache_dir=world)):
        with pytest.raises(LewmError, match="is a policy"):
            ask()


@pytest.mark.slow
def test_policy_is_listed_shown_verified_converted_and_reported(world: Path, result: EvalResult, tmp_path: Path):
    said = {}
    listed = lewm_here(world, "ls", "--json").json()["runs"]
    assert next(run["method"] for run in listed if run["name"] == RUN) == "imitation"
    for command in (("show", RUN), ("verify", RUN), ("report", RUN, "--output", tmp_path / "page.html")):
        done = lewm_here(world, *command)
        assert done.code == 0, done.out + done.err
        said[command[0]] = flat(done.out)
    assert "model a policy, history 3, frames 16 x 16, frameskip 1, 2 action dimensions" in said["show"]
    assert "eyes 6,152 0.025 step" in said["show"].replace("┃", "").replace("  ", " ")
    assert "pairs from" in said["show"]  # not a letter per line
    assert "s/step" in said["show"]
    assert "held-out imitation" in said["report"]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for words in ("Policy run", "Reaching goals", "acts in one forward pass per step", "it imagines nothing"):
        assert words in page
    for words in ("latent", "Surprise", "Collapsed", "Planner", "lewm probe"):
        assert words not in page
        assert words not in said["show"]
    for target in ("safetensors", "object", "weights"):
        done = lewm_here(world, "convert", RUN, "--to", target, "--output", tmp_path / target)
        assert done.code == 0, done.err
    restored = torch.load(tmp_path / "object", weights_only=False)
    state = lewm_cli.load(RUN, cache_dir=world).model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in restored.state_dict().items())


@pytest.mark.slow
def test_surprise_chooses_no_policy(world: Path):
    done = lewm_here(world, "surprise", "tworoom/demos")
    assert done.code == 0, done.err
    assert "run: tworoom/lewm, the newest run of tworoom" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("frameskip", [1, 2])
def test_actions_are_those_of_the_policy_whatever_else_is_asked(world: Path, tmp_path: Path, frameskip: int):
    run = lewm_cli.load(RUN, cache_dir=world)
    if frameskip == 2:
        settings = tmp_path / "two.toml"
        settings.write_text(POLICY.replace("frameskip = 1", "frameskip = 2"), encoding="utf-8")
        done = lewm_here(world, "train", "tworoom/demos", "--config", settings, "--steps", 1, "--name", "tworoom/two")
        assert done.code == 0, done.err
        run = lewm_cli.load("tworoom/two", cache_dir=world)
    frames = list(np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), dtype=np.uint8))
    actor = find_actor(run)
    assert isinstance(actor, PolicyActor)
    assert actor.steps == frameskip
    seen = [Observation(frame) for frame in frames]
    together = actor.act(actor.begin(seen[3:], [1, 2, 3]), seen[:3])
    with torch.inference_mode():
        blocks = run.model.act(run.prepare(np.stack(frames[:3])), run.prepare(np.stack(frames[3:])))
    stats = run.card.inputs.actions
    for frame, goal, chosen, block in zip(frames[:3], frames[3:], together, blocks, strict=True):
        assert chosen.shape == (frameskip, 2)
        wanted = block.numpy().reshape(frameskip, 2) * np.array(stats.std) + np.array(stats.mean)
        np.testing.assert_allclose(chosen, wanted, rtol=1e-4, atol=1e-5)
        (alone,) = actor.act(actor.begin([Observation(goal)], [4]), [Observation(frame)])
        assert np.array_equal(alone, chosen)
        policy = lewm_cli.Policy(run, goal, clip=False)
        assert all(np.array_equal(policy.act(frame), action) for action in chosen)


@pytest.mark.slow
def test_policy_drives_one_frame_at_a_time(world: Path):
    run, frame = lewm_cli.load(RUN, cache_dir=world), np.zeros((16, 16, 3), np.uint8)
    policy = lewm_cli.Policy(run, frame)
    assert policy.planner is None
    assert policy.plan is None
    clipped = "actions clipped to the action space, frames not checked"
    assert repr(policy) == f"Policy('{RUN}', one forward pass per step, {clipped}, on cpu)"
    with pytest.raises(LewmError, match="is a policy"):
        policy.distance(frame)
    with pytest.raises(UsageError, match="plans nothing; leave the planner out"):
        lewm_cli.Policy(run, frame, planner=PlannerConfig())


def test_losses_of_every_phase_of_a_training_are_drawn():
    def taken(step: int, **parts: float) -> StepsTaken:
        return StepsTaken(step, 40, 1.0, parts, 1e-3, 1.0, 0.0, 0.0, 1.0, 0.0)

    steps = (taken(10, value=2.0), taken(20, value=1.0), taken(30, policy=-1.0), taken(40, policy=-2.0))
    held_out = (HeldOutMeasured(20, HeldOut({"value": 3.0})), HeldOutMeasured(40, HeldOut({"policy": -1.0})))
    with house_style():
        titles = [drawing.title for drawing in draw_training(TrainingHistory(steps, held_out, (), None))]
    assert titles == [
        "value falls from 2.0 to 1.0",
        "policy falls from \N{MINUS SIGN}1.0 to \N{MINUS SIGN}2.0",
        "On held-out clips, value stays at 3.0",
        "On held-out clips, policy stays at \N{MINUS SIGN}1.0",
    ]
