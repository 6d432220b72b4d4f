"""How a step is computed changes none of its numbers, but where that is said; and the host waits for none of them."""

import tomllib
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from accelerator import DEVICE, Accelerator, attached
from lewm_cli.config import ActionStats, Inputs
from lewm_cli.data import Clip
from lewm_cli.methods import JEPA, METHODS, Loss, TrainConfig
from lewm_cli.train.learner import Learner
from synthetic import TINY

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
        assert loss.latents.shape == (16, 4, 4)
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


def test_blocks_that_are_computed_twice_give_the_same_bits():
    plain, again = (a_learner(configured(checkpointing=checkpointing)) for checkpointing in (False, True))
    assert not plain.model.encoder.checkpointing
    assert again.model.encoder.checkpointing
    assert torch.equal(stepped(plain)[0], stepped(again)[0])


# On a device


@pytest.mark.parametrize("method", METHODS)
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
