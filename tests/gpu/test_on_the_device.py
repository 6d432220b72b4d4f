"""What only a GPU can show: that it computes what a CPU does, in the precision that is asked for.

make gpu                                      # beside what it measures
pytest tests/gpu -m gpu                       # on a CUDA device, skipped without one
LEWM_TEST_DEVICE=cpu pytest tests/gpu -m gpu  # on a CPU, which shows that they run
"""

import copy
import os
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from commands import lewm_here
from families import AROUND_LEWM
from lewm_cli.config import PlannerConfig
from lewm_cli.data import Clip
from lewm_cli.methods import JEPA, RunCard, TrainConfig
from lewm_cli.model import rollout
from lewm_cli.plan import LatentCost, Plan, Problem, find_solver
from lewm_cli.store import Home, RunFiles, load_run
from lewm_cli.train import StepsTaken, read_log
from lewm_cli.train.learner import Learner
from synthetic import write_recording

DEVICE = torch.device(os.environ.get("LEWM_TEST_DEVICE", "cuda"))

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE.type == "cuda" and not torch.cuda.is_available(),
        reason="no CUDA device is here; LEWM_TEST_DEVICE=cpu tries the same on a CPU",
    ),
]

pytest_plugins = ("recordings",)

BLOCK_DIM = 10
CLIPS, FRAMES, SIZE = 16, 4, 64
RUN = "robot/run"
STEPS, STOPPED = 12, 5


@pytest.fixture(scope="module", autouse=True)
def no_tf32() -> Iterator[None]:
    """Convolutions are otherwise rounded to ten bits of mantissa, as cuDNN does by default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.backends.cudnn, "allow_tf32", False)
        yield


@pytest.fixture
def directions_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device has a random generator of its own: what losses draw is drawn on the CPU instead, and sent there."""
    draw = torch.randn

    def randn(*shape: int, device: object = None, generator: object = None, **more: object) -> Tensor:
        return draw(*shape, **more).to(device)

    monkeypatch.setattr(torch, "randn", randn)


def clips(seed: int, count: int = CLIPS) -> Clip:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, FRAMES, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)
    return Clip(pixels, torch.randn(count, FRAMES, BLOCK_DIM, generator=generator))


def learner(model: JEPA, card: RunCard, device: torch.device, method: str = "lewm", **optimizer: object) -> Learner:
    """A new learner of a copy of the model."""
    settings = {"batch_size": CLIPS, "precision": "float32"} | optimizer
    objective = {"projections": 64} if method == "lewm" else {}
    model_sizes = model.config.model_dump()
    tree = {"method": method, "model": model_sizes, "objective": objective, "optimizer": settings}
    torch.manual_seed(0)
    return Learner(TrainConfig.build(tree, "the test"), card.inputs, copy.deepcopy(model), device)


# Training


@pytest.mark.parametrize("method", AROUND_LEWM)
def test_float32_loss_and_gradients_are_those_of_a_cpu(
    method: str, small_model: JEPA, small_card: Callable[..., RunCard], directions_of_the_cpu: None
):
    gradients, losses = [], []
    for where in (DEVICE, torch.device("cpu")):
        one = learner(small_model, small_card(small_model), where, method)
        torch.manual_seed(1)
        loss, norm = one.step(clips(0), 1e-3)
        losses.append({"total": loss.total.item(), "norm": norm.item()} | {k: v.item() for k, v in loss.parts.items()})
        gradients.append([parameter.grad.cpu() for parameter in one.trained if parameter.grad is not None])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3, abs=1e-5)
    assert len(gradients[0]) == len(gradients[1]) > 0
    longest = max(gradient.norm() for gradient in gradients[1])
    for found, expected in zip(*gradients, strict=True):
        assert (found - expected).norm() <= 1e-3 * expected.norm() + 1e-5 * longest


def test_bf16_losses_are_near_float32(small_model: JEPA, small_card: Callable[..., RunCard]):
    losses = {}
    for precision in ("float32", "bf16"):
        one = learner(small_model, small_card(small_model), DEVICE, precision=precision)
        torch.manual_seed(1)
        losses[precision] = torch.stack([one.step(clips(step), 1e-3)[0].total.detach() for step in range(10)]).cpu()
    torch.testing.assert_close(losses["bf16"], losses["float32"], rtol=0.05, atol=0)
    assert DEVICE.type == "cpu" or not torch.equal(losses["bf16"], losses["float32"])


# A run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """A home with a recording and a run that was trained on the device without a stop; not to be written to."""
    home = tmp_path_factory.mktemp("gpu")
    write_recording(home / "robot" / "pick.h5")
    assert train(home, tiny) == 0
    return home


def train(home: Path, tiny: Path, *more: object) -> int:
    fresh = ("--config", tiny, "--steps", STEPS, "--set", "monitor.log_every=1", "--set", "monitor.every=100")
    arguments = ("robot/pick", "--name", RUN, "--device", DEVICE, *(more or fresh))
    return lewm_here(home, "train", *arguments).code


def losses_of(home: Path) -> dict[int, StepsTaken]:
    return {event.step: event for event in read_log(RunFiles(home / RUN).log).steps}


def test_resumed_training_goes_on_as_if_it_had_not_stopped(
    trained: Path, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
):
    home, taken, step = tmp_path / "stopped", [], Learner.step

    def stopping(self: Learner, clips: Clip, lr: float) -> object:
        taken.append(lr)
        if len(taken) == STOPPED:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, clips, lr)

    shutil.copytree(trained / "robot", home / "robot", ignore=shutil.ignore_patterns("run*"))
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", stopping)
        assert train(home, tiny) == 128 + signal.SIGTERM
    assert train(home, tiny, "--resume") == 0
    found, expected = losses_of(home), losses_of(trained)
    assert sorted(found) == sorted(expected) == list(range(1, STEPS + 1))
    for number, event in expected.items():
        assert found[number].loss == pytest.approx(event.loss, rel=1e-3)
        assert found[number].gradient_norm == pytest.approx(event.gradient_norm, rel=1e-2)


def test_published_weights_load_on_a_cpu_and_embed_alike(trained: Path):
    home = Home(trained, (trained,))
    here, there = load_run(home, RUN), load_run(home, RUN, DEVICE)
    assert here.device.type == "cpu"
    assert there.device.type == DEVICE.type
    frames = np.random.default_rng(0).integers(0, 256, (8, 20, 20, 3), dtype=np.uint8)
    torch.testing.assert_close(there.embed(frames).cpu(), here.embed(frames), rtol=1e-3, atol=1e-4)


# Planning


def costs(model: JEPA, device: torch.device, dtype: torch.dtype = torch.float32) -> LatentCost:
    """Costs for two environments, on a device."""
    generator = torch.Generator().manual_seed(2)
    starts, goals = torch.randn(2, 2, model.config.latent, generator=generator).to(device)
    there = copy.deepcopy(model).to(device)
    return LatentCost(there, starts.unsqueeze(1), goals, imagine=there.imaginer(dtype))


def planned(model: JEPA, device: torch.device, solver: str) -> Plan:
    config = PlannerConfig(solver=solver, candidates=64, elites=8, iterations=8, horizon=4, receding=4)
    generators = [torch.Generator().manual_seed(number) for number in range(2)]
    return find_solver(config).solve(Problem(costs(model, device), BLOCK_DIM, generators))


@pytest.mark.parametrize("solver", ["cem", "icem", "cem-gd"])
def test_plans_are_those_of_a_cpu(solver: str, small_model: JEPA):
    here, there = (planned(small_model, where, solver) for where in (torch.device("cpu"), DEVICE))
    assert there.actions.device.type == "cpu"
    torch.testing.assert_close(there.cost, here.cost, rtol=1e-2, atol=1e-4)
    torch.testing.assert_close(there.actions, here.actions, rtol=0, atol=0.05)


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 3e-2)])
def test_recorded_rollouts_are_the_plain_one(dtype: torch.dtype, tolerance: float, small_model: JEPA):
    there = copy.deepcopy(small_model).to(DEVICE)
    imagine = there.imaginer(dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "what is computed on .* could not be recorded")
        for seed in range(6):  # two shapes: computed, recorded, replayed
            generator = torch.Generator().manual_seed(seed)
            emb = torch.randn(50 + seed % 2, 1, there.config.latent, generator=generator).to(DEVICE)
            blocks = torch.randn(len(emb), 5, BLOCK_DIM, generator=generator).to(DEVICE)
            found, expected = imagine(emb, blocks), rollout(there, emb, blocks)
            assert (found - expected).norm() <= tolerance * expected.norm()
