"""Terms of the objectives are what their papers say, and gradients reach all that is trained."""

from collections.abc import Callable, Iterable
from typing import Any, Self

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from families import AROUND_LEWM
from lewm_cli.config import ActionStats, EncoderConfig, Inputs, ModelConfig
from lewm_cli.errors import UsageError
from lewm_cli.methods import JEPA, METHODS, InfoContract, Loss, TrainConfig
from lewm_cli.model import Batch, Network, SIGReg
from lewm_cli.train.monitor import HeldOut

FRAMESKIP, DIMS, LATENT, CLIP = 5, 2, 3, 4
BLOCK = FRAMESKIP * DIMS
INPUTS = Inputs(task="tworoom", frameskip=FRAMESKIP, actions=ActionStats(mean=(0.0,) * DIMS, std=(1.0,) * DIMS))

ADDITIONS = {"cosine": 0.5, "straightness": 0.1, "rollout": 0.7}
SETTINGS = {"lewm": {"projections": 64}, "pldm": {"cov_t": 0.5, "inverse": 0.3}}
"""Settings in which every term of a method has a weight."""


class Given(InfoContract):
    """A network whose latents are the pixels: three colors of one pixel."""

    def __init__(self, latent: int = LATENT) -> None:
        super().__init__(
            ModelConfig(encoder=EncoderConfig(patch_size=1), image_size=1, latent=latent, history=CLIP - 1), BLOCK
        )
        self.action = nn.Linear(BLOCK, latent)
        self.calls = 0

    def embed(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        return pixels.flatten(2)[..., : self.config.latent]

    def embed_actions(self, blocks: Tensor) -> Tensor:
        return self.action(blocks)

    def predict(self, emb: Tensor, act_emb: Tensor) -> Tensor:
        self.calls += 1
        return (emb + act_emb).cumsum(dim=1)

    def published(self, batches: Iterable[Batch]) -> Self:
        return self


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def batch_of(latents: Tensor, blocks: Tensor | None = None) -> Batch:
    """Clips with these latents (B, T, 3), and with random actions if none are given."""
    return Batch(latents[..., None, None], noise(*latents.shape[:2], BLOCK, seed=2) if blocks is None else blocks)


def loss_of(
    method: str, batch: Batch, model: Network | None = None, heads: nn.ModuleDict | None = None, **settings: Any
) -> Loss:
    objective = METHODS[method].model_validate(settings)
    return objective.loss(model or Given(), heads if heads is not None else nn.ModuleDict(), batch)


def heads_of(method: str, scramble: Callable, latent: int = LATENT, **settings: Any) -> nn.ModuleDict:
    sizes = ModelConfig(encoder=EncoderConfig(patch_size=1), image_size=1, latent=latent)
    return scramble(nn.ModuleDict(METHODS[method].model_validate(settings).heads(sizes, INPUTS)))


def seen(model: JEPA, clips: int = 6) -> Batch:
    size, frames = model.config.image_size, model.config.history + 1
    return Batch(noise(clips, frames, 3, size, size), noise(clips, frames, model.block_dim, seed=2))


# Additions


def test_cosine_is_zero_where_steps_are_the_actions_turned_and_scaled():
    turned = torch.linalg.qr(noise(LATENT, LATENT))[0]
    actions = noise(5, CLIP, LATENT)
    blocks = F.pad(actions, (0, BLOCK - LATENT))
    latents = 0.3 * torch.cat([torch.zeros(5, 1, LATENT), (actions[:, :-1] @ turned).cumsum(dim=1)], dim=1)
    shrunk = latents * torch.tensor([1.0, 1.0, 0.2])
    same, other = (
        loss_of("prediction", batch_of(z, blocks), cosine=1).parts["cosine"].item() for z in (latents, shrunk)
    )
    assert same == pytest.approx(0, abs=1e-9)
    assert other > 0.01


def test_cosine_is_that_of_a_plain_loop():
    batch = batch_of(noise(5, CLIP, LATENT))
    squares = []
    for latents, blocks in zip(batch.pixels.flatten(2), batch.blocks, strict=True):
        for one in range(CLIP - 1):
            for other in range(one):
                steps = [latents[index + 1] - latents[index] for index in (one, other)]
                between = [F.cosine_similarity(*pair, dim=0) for pair in (steps, (blocks[one], blocks[other]))]
                squares.append((between[0] - between[1]) ** 2)
    found = loss_of("prediction", batch, cosine=1).parts["cosine"]
    assert found.item() == pytest.approx(torch.stack(squares).mean().item(), rel=1e-5)


def test_straightness_is_least_on_a_line():
    line = torch.arange(CLIP).float()[None, :, None] * noise(5, 1, LATENT)
    assert loss_of("prediction", batch_of(line), straightness=1).parts["straightness"].item() == pytest.approx(-1)
    back = line * torch.tensor([0.0, 1, 0, 1])[None, :, None] / torch.arange(CLIP).clamp_min(1)[None, :, None]
    assert loss_of("prediction", batch_of(back), straightness=1).parts["straightness"].item() == pytest.approx(1)


def test_rollout_is_that_of_a_plain_loop(small_model: JEPA):
    batch = seen(small_model)
    found = loss_of("prediction", batch, small_model, rollout=1).parts["rollout"]
    latents, act_emb = small_model.embed(batch.pixels), small_model.embed_actions(batch.blocks)
    imagined = latents[:, :1]
    for step in range(1, CLIP):
        imagined = torch.cat([imagined, small_model.predict(imagined, act_emb[:, :step])[:, -1:]], dim=1)
    plain = (imagined[:, 2:] - latents[:, 2:]).square().mean()
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=0)
    parameters = [*small_model.parameters()]
    gradients = (torch.autograd.grad(value, parameters, retain_graph=True) for value in (found, plain))
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("term", ADDITIONS)
@pytest.mark.parametrize("method", AROUND_LEWM)
def test_addition_to_a_history_of_one_is_refused(method: str, term: str):
    tree = {"method": method, "objective": {term: 0.1}, "model": {"history": 1}}
    with pytest.raises(UsageError, match=rf"objective\.{term} needs clips of two steps or more, .* set objective"):
        TrainConfig.build(tree, "the file own.toml")
    assert TrainConfig.build(tree | {"objective": {term: 0}}, "the file own.toml").model.history == 1


@pytest.mark.parametrize("addition", ["cosine", "straightness"])
def test_one_pair_of_equal_frames_does_not_drown_the_others(small_model: JEPA, addition: str):
    norms = []
    for equal in (False, True):
        batch = seen(small_model, clips=16)
        if equal:
            batch.pixels[3, 2] = batch.pixels[3, 1]
        small_model.zero_grad()
        loss_of("prediction", batch, small_model.train(), **{addition: 1}).total.backward()
        norms.append(nn.utils.get_total_norm(parameter.grad for parameter in small_model.parameters()).item())
    assert norms[1] == pytest.approx(norms[0], rel=0.5)


# Methods


def test_delta_sees_nothing_but_the_difference(scramble: Callable):
    heads, latents = heads_of("delta", scramble), noise(5, CLIP, LATENT)

    def error(latents: Tensor) -> float:
        return loss_of("delta", batch_of(latents), heads=heads).parts["delta"].item()

    assert error(latents + noise(LATENT)) == pytest.approx(error(latents), rel=1e-5)
    for index in range(CLIP):
        moved = latents.clone()
        moved[:, index] += 1
        assert error(moved) != pytest.approx(error(latents), rel=1e-3)


def test_inverse_sees_both_latents(scramble: Callable):
    heads, latents = heads_of("inverse", scramble), noise(5, CLIP, LATENT)

    def error(latents: Tensor) -> float:
        return loss_of("inverse", batch_of(latents), heads=heads).parts["inverse"].item()

    assert error(latents + noise(LATENT)) != pytest.approx(error(latents), rel=1e-3)


def test_inverse_is_the_error_of_the_action_between(scramble: Callable):
    heads, batch = heads_of("inverse", scramble, hidden=16), batch_of(noise(5, CLIP, LATENT))
    latents, layers = batch.pixels.flatten(2), heads["inverse"]
    assert [type(layer) for layer in layers] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [layer.out_features for layer in layers[::2]] == [16, 16, BLOCK]
    errors = [
        (layers(torch.cat([latents[:, step], latents[:, step + 1]], dim=-1)) - batch.blocks[:, step]).square()
        for step in range(CLIP - 1)
    ]
    found = loss_of("inverse", batch, heads=heads, hidden=16).parts["inverse"]
    torch.testing.assert_close(found, torch.stack(errors).mean(), rtol=1e-5, atol=0)


def test_delta_is_the_error_of_the_action_between(scramble: Callable):
    heads, batch = heads_of("delta", scramble), batch_of(noise(5, CLIP, LATENT))
    latents = batch.pixels.flatten(2)
    assert len(heads["delta"].queries) == FRAMESKIP
    errors = [
        (heads["delta"](latents[:, step + 1] - latents[:, step]) - batch.blocks[:, step]).square()
        for step in range(CLIP - 1)
    ]
    found = loss_of("delta", batch, heads=heads).parts["delta"]
    torch.testing.assert_close(found, torch.stack(errors).mean(), rtol=1e-5, atol=0)


def test_decoders_are_perfect_where_they_decode_the_action(scramble: Callable):
    """Whatever it sees, a head that returns the recorded actions has no error; one that is late by a step has."""

    class Answers(nn.Module):
        def __init__(self, blocks: Tensor) -> None:
            super().__init__()
            self.blocks = blocks

        def forward(self, seen: Tensor) -> Tensor:
            return self.blocks

    batch = batch_of(noise(5, CLIP, LATENT))
    for method, head, settings in (
        ("delta", "delta", {}),
        ("inverse", "inverse", {}),
        ("pldm", "inverse", {"inverse": 1}),
    ):
        for blocks, perfect in ((batch.blocks[:, :-1], True), (batch.blocks[:, 1:], False)):
            heads = nn.ModuleDict({head: Answers(blocks)})
            assert (loss_of(method, batch, heads=heads, **settings).parts[head].item() == 0) is perfect


@pytest.mark.parametrize("method", AROUND_LEWM)
def test_total_is_prediction_and_every_term_by_its_weight(method: str, scramble: Callable):
    settings = SETTINGS.get(method, {}) | ({} if method == "prediction" else {"lambda": 0.25})
    weights = {
        "lewm": {"SIGReg": 0.25},
        "pldm": {"std": 4.5, "cov": 3.0, "std_t": 0.175, "cov_t": 0.125, "temp_align": 0.05, "inverse": 0.075},
        "delta": {"delta": 0.25},
        "inverse": {"inverse": 0.25},
        "prediction": {},
    }[method] | ADDITIONS
    batch, model = batch_of(noise(5, CLIP, LATENT)), Given()
    loss = loss_of(method, batch, model, heads_of(method, scramble, **settings), **settings, **ADDITIONS)
    assert loss.parts.keys() == {"prediction"} | weights.keys()
    latents = model.embed(batch.pixels)
    predicted = model.predict(latents[:, :-1], model.embed_actions(batch.blocks[:, :-1]))
    torch.testing.assert_close(loss.parts["prediction"], (predicted - latents[:, 1:]).square().mean())
    total = loss.parts["prediction"] + sum(weight * loss.parts[name] for name, weight in weights.items())
    torch.testing.assert_close(loss.total, total)
    assert torch.equal(loss.latents, latents)
    assert torch.equal(loss.predicted, predicted)


def test_additions_without_a_weight_are_not_computed():
    batch, model = batch_of(noise(8, CLIP, LATENT)), Given()
    torch.manual_seed(3)
    loss = loss_of("lewm", batch, model, **dict.fromkeys(ADDITIONS, 0.0))
    random = torch.get_rng_state()
    assert model.calls == 1
    assert loss.parts.keys() == {"prediction", "SIGReg"}
    torch.manual_seed(3)
    latents = model.embed(batch.pixels)
    plain = F.mse_loss(loss.predicted, latents[:, 1:]) + 0.09 * SIGReg()(latents.transpose(0, 1))
    assert torch.equal(loss.total, plain)
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(METHODS[method]().heads(model.config, INPUTS) for method in ("lewm", "pldm", "prediction"))


@pytest.mark.parametrize("method", AROUND_LEWM)
def test_terms_are_float32_where_the_network_is_not(method: str, scramble: Callable):
    """As in training on a GPU; latents of this network are not rounded."""
    settings = SETTINGS.get(method, {}) | {"cosine": 1, "straightness": 1}
    heads, batch, found = heads_of(method, scramble, **settings), batch_of(noise(5, CLIP, LATENT)), []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = loss_of(method, batch, Given(), heads, **settings)
        found.append({name: value.item() for name, value in loss.parts.items() if name != "prediction"})
        assert {value.dtype for value in (loss.total, *loss.parts.values())} == {torch.float32}
    assert found[0] == found[1]


def test_latents_and_predictions_of_a_rounding_network_are_float32(small_model: JEPA):
    with torch.autocast("cpu", torch.bfloat16):
        assert small_model.embed(seen(small_model).pixels).dtype == torch.bfloat16
        loss = loss_of("prediction", seen(small_model), small_model, rollout=1)
    assert (loss.latents.dtype, loss.predicted.dtype, loss.total.dtype) == (torch.float32,) * 3


# Gradients


@pytest.mark.parametrize("method", AROUND_LEWM)
def test_gradients_reach_all_that_is_trained(method: str, small_model: JEPA, scramble: Callable):
    settings = SETTINGS.get(method, {})
    heads = heads_of(method, scramble, latent=small_model.config.latent, **settings)
    loss_of(method, seen(small_model), small_model.train(), heads, **settings).total.backward()
    # What a BatchNorm or a softmax takes away again, and what LayerNorm does to a constant, has none.
    for name, parameter in (*small_model.named_parameters(), *heads.named_parameters()):
        assert parameter.grad is not None, name
        assert name.endswith("bias") or parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("method", "part", "settings"),
    [
        ("lewm", "SIGReg", {}),
        *(("pldm", part, SETTINGS["pldm"]) for part in ("std", "cov", "std_t", "cov_t", "temp_align", "inverse")),
        ("delta", "delta", {}),
        ("inverse", "inverse", {}),
        *(("prediction", part, {part: 1}) for part in ("cosine", "straightness", "rollout")),
        ("prediction", "prediction", {}),
    ],
)
def test_each_term_trains_the_encoder_by_every_frame(method: str, part: str, settings: dict, scramble: Callable):
    latents = 0.2 * noise(5, CLIP, LATENT).requires_grad_()
    heads = heads_of(method, scramble, **settings)
    loss = loss_of(method, batch_of(latents), heads=heads, **settings)
    (gradient,) = torch.autograd.grad(loss.parts[part], latents)
    reached = (gradient.flatten(2).norm(dim=-1) > 1e-7).all(dim=0).tolist()
    assert reached == [True, part != "rollout", True, True]  # the second frame is what `prediction` compares with


def test_delta_reaches_the_encoder_from_its_second_step_on(scramble: Callable):
    """Its decoder begins without the difference (AdaLN-zero)."""
    latents = noise(5, CLIP, LATENT).requires_grad_()
    torch.manual_seed(0)
    heads = nn.ModuleDict(METHODS["delta"]().heads(Given().config, INPUTS))
    sizes = []
    for _ in range(2):
        heads.zero_grad()
        error = loss_of("delta", batch_of(latents), heads=heads).parts["delta"]
        sizes.append(torch.autograd.grad(error, latents, retain_graph=True)[0].norm().item())
        error.backward()
        with torch.no_grad():
            for parameter in heads.parameters():
                parameter -= 0.1 * parameter.grad
    assert sizes[0] == 0
    assert sizes[1] > 0


@pytest.mark.parametrize("clips", ["equal frames", "two clips", "one step", "one dimension"])
@pytest.mark.parametrize("method", AROUND_LEWM)
def test_gradients_are_finite(method: str, clips: str, scramble: Callable):
    latent, frames = 1 if clips == "one dimension" else LATENT, 2 if clips == "one step" else CLIP
    latents = noise(2 if clips == "two clips" else 6, frames, 3)
    if clips == "equal frames":
        latents = torch.ones_like(latents)
    latents.requires_grad_()
    settings = SETTINGS.get(method, {}) | ({} if frames == 2 else ADDITIONS)
    heads, model = heads_of(method, scramble, latent, **settings), Given(latent)
    loss = loss_of(method, batch_of(latents), model, heads, **settings)
    loss.total.backward()
    assert torch.isfinite(loss.total)
    for value in (latents, *model.parameters(), *heads.parameters()):
        assert torch.isfinite(value.grad).all()


def test_held_out_clip_that_is_left_alone_in_its_batch_is_left_out(small_model: JEPA):
    whole, alone = seen(small_model, clips=8), seen(small_model, clips=1)
    heads, objective = nn.ModuleDict(), METHODS["pldm"]()
    one, both = (HeldOut.measure(objective, small_model, heads, some)[0] for some in ([whole], [whole, alone]))
    assert one.finite
    assert both == one


def test_measuring_leaves_the_random_numbers_of_training_alone(small_model: JEPA):
    random, found = torch.get_rng_state(), []
    for _ in range(2):
        found.append(HeldOut.measure(METHODS["lewm"](), small_model, nn.ModuleDict(), [seen(small_model)])[0])
        assert torch.equal(torch.get_rng_state(), random)
    assert found[0] == found[1]
    assert found[0].parts.keys() == {"SIGReg"}
