"""DINO-WM is trained, goes on bit for bit, and plans with latents that are large."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from commands import flat, lewm_here
from lewm_cli.accelerate import fastest_dtype
from lewm_cli.config import ActionStats, DatasetIdentity, Inputs
from lewm_cli.data import Clip
from lewm_cli.errors import UsageError
from lewm_cli.methods import METHODS, RunCard, TrainConfig, dino_wm
from lewm_cli.methods.dino_wm import DinoWM
from lewm_cli.model import PlanFlops, profile
from lewm_cli.plan import LatentCost
from lewm_cli.plan.cost import cost_and_gradient
from lewm_cli.store import Run, RunFiles, read_card
from lewm_cli.train import all_presets, compiled, read_log
from lewm_cli.train.learner import Learner
from lewm_cli.train.resume import load_state, save_state

pytest_plugins = ("recordings",)

PLANNER = "candidates=6", "elites=2", "iterations=2", "horizon=3", "receding=3"
METHOD_NAMES = "dinowm", "dinowm_noprop"
CPU, PROPRIO, WIDTH, PATCHES = torch.device("cpu"), 4, 16, 4
INPUTS = Inputs(task="generic", frameskip=2, actions=ActionStats(mean=(0.0,) * 3, std=(1.0,) * 3))
MODEL: dict[str, Any] = {
    "image_size": 16,
    "encoder": {"patch_size": 8, "width": WIDTH, "depth": 1, "heads": 2, "mlp": 32},
    "predictor": {"depth": 2, "heads": 2, "head_dim": 8, "mlp": 32},
}


@pytest.fixture(params=METHOD_NAMES)
def method(request: pytest.FixtureRequest) -> str:
    return request.param


def configured(method: str, dropout: float = 0.1, **optimizer: Any) -> TrainConfig:
    model = MODEL | ({"proprio": PROPRIO} if method == "dinowm" else {})
    model |= {"predictor": MODEL["predictor"] | {"dropout": dropout}}
    settings = {"lr": 1e-2, "weight_decay": 0.1, "batch_size": 8, "precision": "float32"} | optimizer
    return TrainConfig.build({"method": method, "model": model, "optimizer": settings}, "the test")


def a_model(method: str, dropout: float = 0.1) -> DinoWM:
    torch.manual_seed(0)
    model = METHODS[method].network(configured(method, dropout).model, INPUTS.block_dim)
    assert isinstance(model, DinoWM)
    return model


def a_learner(method: str, dropout: float = 0.1, **optimizer: Any) -> Learner:
    return Learner(configured(method, dropout, **optimizer), INPUTS, a_model(method, dropout), CPU)


def some_clips(seed: int) -> Clip:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (8, 4, 16, 16, 3), dtype=torch.uint8, generator=generator)
    blocks, proprio = (torch.randn(8, 4, width, generator=generator) for width in (INPUTS.block_dim, PROPRIO))
    return Clip(pixels, blocks, proprio)


def learned(learner: Learner, first: int, last: int) -> dict[str, Tensor]:
    """The weights after steps with these numbers."""
    for step in range(first, last):
        learner.step(some_clips(step), 1e-2)
    return {name: value.clone() for name, value in learner.model.state_dict().items()}


# Training


def test_predictor_learns_and_the_encoder_stays(method: str):
    learner = a_learner(method)
    before, first = learned(learner, 0, 0), learner.step(some_clips(0), 1e-3)[0].total.item()
    for _ in range(40):
        loss = learner.step(some_clips(0), 1e-3)[0].total.item()
    assert loss < 0.8 * first
    for name, value in learner.model.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("encoder."), name
    assert not any("mask" in name for name in before)


def test_training_goes_on_bit_for_bit(method: str, tmp_path: Path):
    learner = a_learner(method)
    learned(learner, 0, 2)
    save_state(tmp_path / "state", learner, 2)
    whole = learned(learner, 2, 4)  # dropout draws
    again = a_learner(method)
    assert load_state(tmp_path / "state", again) == 2
    parted = learned(again, 2, 4)
    assert [name for name in whole if not torch.equal(parted[name], whole[name])] == []


def test_parts_of_a_batch_make_the_step_of_the_whole(method: str):
    gradients = []
    for accumulate in (1, 4):
        learner = a_learner(method, dropout=0.0, accumulate=accumulate)
        learner.step(some_clips(0), 1e-2)
        gradients.append(torch.cat([one.grad.flatten() for one in learner.trained if one.grad is not None]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


def test_compiled_steps_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    plain, fast = (a_learner("dinowm", dropout=0.0, compile=compile) for compile in (False, True))
    fast.begin(10)
    calls = torch._dynamo.utils.counters["stats"]
    before = calls["calls_captured"]
    after, same = (learned(learner, 0, 2) for learner in (plain, fast))
    assert calls["calls_captured"] > before
    torch.testing.assert_close(same, after, rtol=1e-3, atol=1e-4)


def test_numbers_that_are_monitored_are_of_all_patches_and_features(method: str, monkeypatch: pytest.MonkeyPatch):
    model = a_model(method)
    latents = torch.arange(model.config.latent_dim)[None]
    assert torch.equal(model.monitored(latents), latents)
    monkeypatch.setattr(dino_wm, "MONITORED", model.config.latent_dim // 2)
    some = model.monitored(latents)[0]
    assert len(some) == -(-model.config.latent_dim // 3)
    assert len(set((some // model.config.token_dim).tolist())) == PATCHES
    assert len(set((some % model.config.token_dim).tolist())) > model.config.token_dim / 2


def test_lambda_means_nothing_to_it(method: str):
    with pytest.raises(UsageError, match=rf"lambda means nothing to the method {method}, .* takes no settings; it is"):
        TrainConfig.build({"method": method, "objective": {"lambda": 1}}, "the test")


def test_every_preset_trains_it_at_a_rate_that_stays():
    for preset in all_presets():
        for method in METHOD_NAMES:
            config = preset.config(method)
            optimizer = config.optimizer
            assert (optimizer.lr, optimizer.weight_decay, optimizer.clip) == (5e-4, 0, 1), str(preset)
            assert (config.schedule.decay, config.schedule.warmup) == ("never", 0), str(preset)
            assert config.schedule.stop == preset.config("lewm").schedule.stop
            release = preset.name == "release"
            assert (config.model.image_size, config.model.patches) == ((224, 256) if release else (64, 16))
            assert config.model.predictor.dropout == (0.1 if release else 0)


def test_untrained_reference_keeps_the_frozen_encoder(method: str, scramble: Callable, tmp_path: Path):
    model = scramble(a_model(method))
    recording = DatasetIdentity(name="x", episodes=1, rows=9, fingerprint="0" * 64)
    card = RunCard(method=method, model=model.config, inputs=INPUTS, statistics_from=recording)
    run = Run("x", RunFiles(tmp_path / "x"), model, method, card, tensors=1, sha256="")
    before, fresh = model.state_dict(), run.untrained(3).model.state_dict()
    for name, value in fresh.items():
        assert torch.equal(value, before[name]) == name.startswith("encoder."), name
    assert not run.untrained(3).model.training


# Planning


@pytest.fixture
def cost(method: str, scramble: Callable) -> LatentCost:
    model = scramble(a_model(method)).eval()
    start, goal = torch.randn(2, 2, model.config.latent_dim, generator=torch.Generator().manual_seed(1))
    return LatentCost(model, start[:, None], goal)


def test_candidates_in_parts_cost_what_they_cost_together(cost: LatentCost, monkeypatch: pytest.MonkeyPatch):
    candidates = torch.randn(2, 9, 5, INPUTS.block_dim, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        whole = cost_and_gradient(cost, candidates)
        asked, imagine = [], cost._imagine
        monkeypatch.setattr(cost, "_imagine", lambda emb, blocks: asked.append(len(emb)) or imagine(emb, blocks))
        for tokens, parts in ((3 * PATCHES * 4, [4, 4, 4, 4, 2]), (1, [1] * 18)):
            monkeypatch.setitem(dino_wm.TOKENS_AT_ONCE, "cpu", tokens)
            torch.testing.assert_close(cost(candidates), whole[0], rtol=1e-4, atol=1e-5)
            assert asked == parts
            asked.clear()
        costs, slopes = cost_and_gradient(cost, candidates)
    assert set(asked) == {1}
    torch.testing.assert_close(costs, whole[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(slopes, whole[1], rtol=1e-3, atol=1e-5)
    assert slopes.abs().max() > 1e-3


def test_operations_are_those_of_the_formulas(method: str):
    model = a_model(method).eval()
    width = WIDTH + 10 + 10 * (method == "dinowm")
    inner, mlp, depth = 16, 32, 2

    def window(frames: int) -> int:
        tokens = frames * PATCHES
        products = tokens * width * 3 * inner + tokens * inner * width + 2 * tokens * width * mlp
        return 2 * depth * (products + 2 * tokens * tokens * inner)

    embedded = 2 * INPUTS.block_dim * 10
    assert PlanFlops.of(model, horizon=5).candidate == sum(map(window, (1, 2, 3, 3, 3))) + 5 * embedded
    parts = {part.name: part for part in profile(model)}
    assert parts["predictor"].flops == window(3)
    assert parts["extra_encoders.action"].flops == embedded
    assert ("extra_encoders.proprio" in parts) == (method == "dinowm")
    assert sum(part.parameters for part in parts.values()) == model.parameter_count


def test_fastest_precision_is_found_with_few_sequences(method: str, monkeypatch: pytest.MonkeyPatch):
    seen, predict = [], DinoWM.predict
    monkeypatch.setattr(DinoWM, "predict", lambda self, emb, *rest: seen.append(len(emb)) or predict(self, emb, *rest))
    monkeypatch.setitem(dino_wm.TOKENS_AT_ONCE, "cpu", 3 * PATCHES * 2 * 4 * 5)
    assert fastest_dtype(a_model(method).eval()) in (torch.float32, torch.bfloat16)
    assert set(seen) == {5}


# A run


@pytest.mark.slow
def test_run_is_trained_shown_and_planned_with(trained: Path, tmp_path: Path, method: str):
    home = shutil.copytree(trained, tmp_path / "home")
    line = ("train", "tworoom", "--preset", "small", "--method", method, "--steps", 6, "--batch-size", 8)
    done = lewm_here(home, *line, "--encoder", "tworoom/lewm", "--set", "monitor.every=3", "--set", "monitor.clips=16")
    assert done.code == 0, done.err
    files = RunFiles(home / "tworoom" / method)
    ours, theirs = load_file(files.weights), load_file(home / "tworoom" / "lewm.safetensors")
    frozen = [name for name in ours if name.startswith("encoder.")]
    assert all(torch.equal(ours[name], theirs[name.replace("encoder.backbone.", "encoder.")]) for name in frozen)
    card = read_card(files.weights)
    assert (card.method, getattr(card.model, "proprio", None)) == (method, 2 if method == "dinowm" else None)
    history = read_log(files.log)
    assert history.steps[-1].parts.keys() == {"prediction"}
    shown = flat(lewm_here(home, "show", f"tworoom/{method}").out)
    assert f"method {method} " in shown
    assert "encoder frozen, of tworoom/lewm (sha256 " in shown
    assert "loss Prediction of the next patch tokens" in shown
    few = ("--episodes", 2, "--record", 1, "--workers", 1, *(f"--set=planner.{one}" for one in PLANNER))
    found = lewm_here(home, "eval", f"tworoom/{method}", *few, "--json")
    assert found.code == 0, found.err
    assert len(list(files.results.glob("films-*.json"))) == 1
    assert found.json()["flops_per_plan"] > 1e8
    image = tmp_path / "image.png"
    imageio.imwrite(image, np.zeros((64, 64, 3), np.uint8))
    line = ("plan", f"tworoom/{method}", "--start", image, "--goal", image, *few[6:-1])  # without receding
    drawn = lewm_here(home, *line)
    if method == "dinowm":
        assert "here is only a frame" in drawn.sentence()
        assert "planning:" not in drawn.err
    else:
        assert "Imagined cost, the mean squared distance of patch tokens to the goal: lower" in flat(drawn.out)
    # Embeddings of actions are narrower than latents.
    converted = lewm_here(home, "convert", f"tworoom/{method}", "--to", "onnx", "--output", tmp_path / "onnx")
    assert converted.code == 0, converted.err


@pytest.mark.slow
def test_recording_without_proprioception_is_for_the_other_method(robot: Path, tiny: Path):
    assert lewm_here(robot, "train", "robot/pick", "--config", tiny, "--steps", 1).code == 0
    line = ("train", "robot/pick", "--preset", "small", "--encoder", "robot/lewm", "--set", "model.image_size=16")
    refused = lewm_here(robot, *line, "--method", "dinowm").sentence()
    assert refused.endswith("the same command with --method dinowm_noprop")
    assert lewm_here(robot, *line, "--method", "dinowm_noprop", "--dry-run").code == 0
