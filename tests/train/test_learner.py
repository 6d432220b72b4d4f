"""How a step is computed changes none of its numbers, but where that is said; and the host waits for none of them."""

import contextlib
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from accelerator import DEVICE, Accelerator, attached
from commands import lewm_here
from families import AROUND_LEWM
from lewm_cli.config import ActionStats, Inputs
from lewm_cli.data import Clip
from lewm_cli.methods import JEPA, Loss, TrainConfig
from lewm_cli.model import products
from lewm_cli.train import compiled
from lewm_cli.train.learner import Learner
from lewm_cli.train.resume import load_state, save_state
from lewm_cli.train.transfer import batches_on
from synthetic import TINY

pytest_plugins = ("recordings",)

CPU = torch.device("cpu")
INPUTS = Inputs(task="generic", frameskip=2, actions=ActionStats(mean=(0.0,) * 3, std=(1.0,) * 3))
ADDITIONS = {"cosine": 0.5, "straightness": 0.1, "rollout": 1.0}


def configured(method: str = "lewm", objective: dict[str, float] | None = None, **optimizer: object) -> TrainConfig:
    tree = tomllib.loads(TINY.replace("dropout = 0.1", "dropout = 0")) | {
        "method": method,
        "objective": objective or {},
    }
    return TrainConfig.build(tree | {"optimizer": tree["optimizer"] | optimizer}, "the test")


def a_network(config: TrainConfig) -> JEPA:
    torch.manual_seed(0)
    return type(config.objective).network(config.model, INPUTS.block_dim)


def a_learner(config: TrainConfig, device: torch.device = CPU) -> Learner:
    return Learner(config, INPUTS, a_network(config), device)


def some_clips(seed: int, count: int = 16) -> Clip:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (count, 4, 16, 16, 3), dtype=torch.uint8, generator=generator)
    return Clip(pixels, torch.randn(count, 4, INPUTS.block_dim, generator=generator))


def stepped(learner: Learner, steps: int = 2) -> tuple[Tensor, list[tuple[Loss, Tensor]]]:
    """All weights after some steps, and what each step returned."""
    taken = []
    for step in range(steps):
        torch.manual_seed(step)
        taken.append(learner.step(some_clips(step), 1e-2))
    return nn.utils.parameters_to_vector(learner.trained), taken


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Accelerator]:
    with attached(monkeypatch) as accelerator:
        yield accelerator


# A batch in parts


def test_parts_of_a_batch_make_the_step_of_the_whole_batch_where_no_clip_sees_another():
    gradients, losses, norms = [], [], []
    for accumulate in (1, 4):
        config = configured("prediction", accumulate=accumulate, clip=0.1)
        model = a_network(config)
        model.projector.net[1] = model.pred_proj.net[1] = nn.Identity()  # in the place of BatchNorm
        learner = Learner(config, INPUTS, model, CPU)
        loss, norm = learner.step(some_clips(0), 1e-2)
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in learner.trained]))
        losses.append((loss.total.item(), loss.parts["prediction"].item()))
        norms.append(norm.item())
    assert gradients[0].norm() > 0.05
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-7)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)


def test_regularizers_see_one_part_at_a_time():
    whole, half = some_clips(0), configured("pldm", batch_size=8)
    halves = zip(whole.pixels.chunk(2), whole.blocks.chunk(2), strict=True)
    alone = [a_learner(half).step(Clip(pixels, blocks), 1e-2)[0].parts["cov"] for pixels, blocks in halves]
    in_parts, at_once = (a_learner(configured("pldm", accumulate=n)).step(whole, 1e-2)[0].parts["cov"] for n in (2, 1))
    assert in_parts.item() == pytest.approx(torch.stack(alone).mean().item(), rel=1e-5)
    assert in_parts.item() != pytest.approx(at_once.item(), rel=0.01)


# Blocks that are computed twice


@pytest.mark.parametrize("large", [1, products.LARGE])
def test_blocks_that_are_computed_twice_give_the_same_bits(monkeypatch: pytest.MonkeyPatch, large: int):
    monkeypatch.setattr(products, "LARGE", large)  # from which size on a CPU takes other products
    plain, again = (a_learner(configured(checkpointing=checkpointing)) for checkpointing in (False, True))
    assert not plain.model.encoder.checkpointing
    assert again.model.encoder.checkpointing
    assert torch.equal(stepped(plain)[0], stepped(again)[0])


# On a device


@pytest.mark.parametrize("method", AROUND_LEWM)
def test_a_step_on_a_device_is_that_on_the_cpu_and_nothing_of_it_waits(accelerator: Accelerator, method: str):
    config = configured(method, ADDITIONS)
    learner = a_learner(config, DEVICE)
    clips = Clip(some_clips(0).pixels.to(DEVICE), some_clips(0).blocks.to(DEVICE))
    torch.manual_seed(0)
    found, norm = learner.step(clips, 1e-2)
    accelerator.waits.clear()  # what is constant has been sent
    learner.step(clips, 1e-2)
    assert accelerator.waits == []
    _, ((expected, expected_norm),) = stepped(a_learner(config), steps=1)
    assert norm.cpu().item() == pytest.approx(expected_norm.item(), rel=1e-4)
    for name, part in found.parts.items():
        assert part.cpu().item() == pytest.approx(expected.parts[name].item(), rel=1e-4, abs=1e-6)


# Compiled


def begun(learner: Learner, steps: int = 10) -> list[str]:
    said: list[str] = []
    learner._say = said.append
    learner.begin(steps)
    return said


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.soak)])
def test_compiled_steps_give_the_same_numbers_and_names(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiled, "BACKEND", backend)  # the first traces all that is compiled, on every machine
    plain, fast = (a_learner(configured("delta", ADDITIONS, compile=compile)) for compile in (False, True))
    assert begun(plain) == []
    assert begun(fast) == [
        "compiling encoder and predictor, about a minute (--set optimizer.compile=false leaves it out)"
    ]
    calls = torch._dynamo.utils.counters["stats"]
    before = calls["calls_captured"]
    (_, losses), (_, fast_losses) = stepped(plain, 1), stepped(fast, 1)
    assert calls["calls_captured"] > before
    torch.testing.assert_close(fast_losses[0][0].total, losses[0][0].total, rtol=1e-5, atol=0)
    torch.testing.assert_close(fast_losses[0][1], losses[0][1], rtol=1e-5, atol=0)
    assert fast.model.state_dict().keys() == plain.model.state_dict().keys()
    assert fast.heads.state_dict().keys() == plain.heads.state_dict().keys()
    # What goes on from its state, and what is published of it, are computed as they are.
    save_state(tmp_path / "state", fast, 1)
    again = a_learner(configured("delta", ADDITIONS, compile=False))
    assert load_state(tmp_path / "state", again) == 1
    (loss, _), (fast_loss, _) = (one.step(some_clips(7), 1e-2) for one in (again, fast))
    torch.testing.assert_close(fast_loss.total, loss.total, rtol=1e-5, atol=0)
    before = calls["calls_captured"]
    published = fast.model.published([again.batch(some_clips(8))])
    assert calls["calls_captured"] == before
    assert published.state_dict().keys() == plain.model.state_dict().keys()


def test_what_cannot_be_compiled_is_computed_as_it_is_and_said(monkeypatch: pytest.MonkeyPatch):
    def broken(graph: object, inputs: object) -> None:
        raise OSError("there is no compiler\nbut a long story")

    monkeypatch.setattr(compiled, "BACKEND", broken)
    plain, fast = (a_learner(configured(accumulate=2, compile=compile)) for compile in (False, True))
    said = begun(fast)
    first = [one.step(some_clips(0), 1e-2)[0].parts["prediction"] for one in (plain, fast)]
    assert torch.equal(*first)
    fast.step(some_clips(1), 1e-2)
    assert len(said) == 2
    assert said[1].startswith("compiling failed, so steps are computed without it (BackendCompilerFailed: ")
    assert "long story" not in said[1]


@pytest.mark.parametrize(
    ("wanted", "steps", "on", "compiles"),
    [
        ("auto", compiled.PAYS_AFTER, DEVICE, True),
        ("auto", compiled.PAYS_AFTER - 1, DEVICE, False),
        ("auto", 10**6, CPU, False),
        (True, 1, CPU, True),
        (False, 10**6, DEVICE, False),
    ],
)
def test_only_long_trainings_on_a_gpu_are_compiled_unless_asked_for(
    accelerator: Accelerator, wanted: object, steps: int, on: torch.device, compiles: bool
):
    assert len(begun(a_learner(configured(compile=wanted), on), steps)) == compiles


@pytest.mark.slow
def test_compiling_is_said_before_it_begins(robot: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiled, "BACKEND", lambda graph, inputs: graph.no_such_thing)
    arguments = ["train", "robot/pick", "--config", tiny, "--steps", 2, "--set", "optimizer.compile=true"]
    done = lewm_here(robot, *arguments, "--set", "optimizer.checkpointing=true")
    assert done.code == 0, done.err
    said = [line.partition(",")[0] for line in done.err.splitlines()]
    assert said.index("compiling encoder and predictor") + 1 == said.index("compiling failed")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
@pytest.mark.parametrize("compile", [False, True])
def test_a_gpu_takes_the_steps_of_the_cpu_and_the_host_waits_for_none(compile: bool):
    there = torch.device("cuda", 0)
    learner = a_learner(configured(compile=compile), there)
    begun(learner)
    clips = batches_on(there, map(some_clips, range(8)))
    found, expected = (
        one.step(batch, 1e-2)[0].parts["prediction"]
        for one, batch in ((learner, next(clips)), (a_learner(configured()), some_clips(0)))
    )
    assert found.item() == pytest.approx(expected.item(), rel=1e-3)
    learner.step(next(clips), 1e-2)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            learner.step(next(clips), 1e-2)
    finally:
        torch.cuda.set_sync_debug_mode("default")


# Precision


@pytest.mark.parametrize("has", [True, False])
def test_a_gpu_without_bf16_computes_in_float32_and_says_so(
    accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch, has: bool
):
    asked = []
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext(asked.append(device)))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has and not including_emulation)
    learner = a_learner(configured(precision="bf16"), DEVICE)
    assert asked == [DEVICE]
    assert learner.autocast == has
    assert begun(learner) == [] if has else ["cuda:0 has no bf16, so everything is computed in float32"]
    exact = a_learner(configured(precision="float32"), DEVICE)
    assert not exact.autocast
    assert begun(exact) == []


@pytest.mark.parametrize("units", [{}, {"avx512_bf16": True}, {"amx_bf16": True, "avx512_bf16": False}])
def test_a_processor_with_bf16_uses_it_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch, units: dict[str, bool]):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units, raising=False)
    half, exact = (a_learner(configured(precision=precision)) for precision in ("bf16", "float32"))
    assert (half.autocast, exact.autocast) == (bool(units), False)
    loss, exact_loss = (stepped(learner, 1)[1][0][0] for learner in (half, exact))
    assert loss.total.dtype == torch.float32
    assert loss.total.item() == pytest.approx(exact_loss.total.item(), rel=0.05)
    assert torch.equal(loss.total, exact_loss.total) == (not units)
    assert begun(half) == []
