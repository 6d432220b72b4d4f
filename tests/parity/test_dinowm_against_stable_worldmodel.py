"""Our DINO-WM computes what stable_worldmodel's PreJEPA computes with the same weights and the same tokens."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from stable_worldmodel.wm.prejepa import PreJEPA
from stable_worldmodel.wm.prejepa.module import CausalPredictor, Embedder
from torch import Tensor, nn
from torch.nn import functional as F

from lewm_cli.config import DinoWMConfig, DinoWMNopropConfig, FrozenEncoderConfig, PatchPredictorConfig
from lewm_cli.errors import LewmError
from lewm_cli.methods import METHODS
from lewm_cli.methods.dino_wm import DinoWM
from lewm_cli.model import Batch

BLOCK, PROPRIO, SIZE = 6, 4, 16
SIZES: dict[str, Any] = {
    "image_size": SIZE,
    "encoder": FrozenEncoderConfig(patch_size=8, width=12, depth=1, heads=3, mlp=24),
    "predictor": PatchPredictorConfig(depth=2, heads=2, head_dim=8, mlp=20, dropout=0.0),
}


class Tokens(nn.Module):
    """A backbone in the manner of transformers that gives the tokens of our encoder, behind a CLS token."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor, interpolate_pos_encoding: bool = False) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=F.pad(self.encoder(pixels), (0, 0, 1, 0), value=torch.nan))


def build_theirs(ours: DinoWM) -> nn.Module:
    """Their class with the weights of ours."""
    config, widths = ours.config, {}
    if isinstance(config, DinoWMConfig):
        widths["proprio"] = Embedder(in_chans=PROPRIO, emb_dim=config.proprio_embedding)
    widths["action"] = Embedder(in_chans=BLOCK, emb_dim=config.action_embedding)
    predictor = CausalPredictor(
        num_patches=config.patches,
        num_frames=config.history,
        dim=config.token_dim + config.action_embedding,
        depth=config.predictor.depth,
        heads=config.predictor.heads,
        mlp_dim=config.predictor.mlp,
        dim_head=config.predictor.head_dim,
        dropout=config.predictor.dropout,
        emb_dropout=config.predictor.embedding_dropout,
    )
    theirs = PreJEPA(Tokens(ours.encoder), predictor, nn.ModuleDict(widths), history_size=config.history)
    left = theirs.load_state_dict(
        {name: value for name, value in ours.state_dict().items() if "encoder." not in name}, strict=False
    )
    assert left.unexpected_keys == []
    masks = [f"predictor.transformer.layers.{layer}.0.bias" for layer in range(config.predictor.depth)]
    assert [name for name in left.missing_keys if not name.startswith("backbone.")] == masks
    return theirs


@pytest.fixture(params=["dinowm", "dinowm_noprop"])
def method(request: pytest.FixtureRequest) -> str:
    return request.param


def sized(method: str, **changes: Any) -> DinoWMNopropConfig:
    sizes = SIZES | changes
    return DinoWMConfig(proprio=PROPRIO, **sizes) if method == "dinowm" else DinoWMNopropConfig(**sizes)


def built(method: str, scramble: Any, **changes: Any) -> tuple[DinoWM, nn.Module]:
    """Our model and theirs, in eval mode."""
    ours = METHODS[method].network(sized(method, **changes), BLOCK)
    assert isinstance(ours, DinoWM)
    scramble(ours)
    return ours.eval(), build_theirs(ours).eval()


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def clips(count: int, frames: int) -> Batch:
    pixels, blocks = noise(count, frames, 3, SIZE, SIZE, seed=1), noise(count, frames, BLOCK, seed=2)
    return Batch(pixels, blocks, noise(count, frames, PROPRIO, seed=3))


def planning_info(environments: int, candidates: int, context: int) -> dict[str, Any]:
    """What their solver gives, the same for all candidates of an environment."""
    info = {
        "pixels": noise(environments, context, 3, SIZE, SIZE, seed=4),
        "goal": noise(environments, 1, 3, SIZE, SIZE, seed=5),
        "proprio": noise(environments, context, PROPRIO, seed=6),
        "goal_proprio": noise(environments, 1, PROPRIO, seed=7),
        "action": noise(environments, context, BLOCK, seed=8),
    }
    return {name: value.unsqueeze(1).expand(-1, candidates, *value.shape[1:]) for name, value in info.items()}


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_predictions_agree_for_every_window_length(method: str, scramble: Any, frames: int):
    ours, theirs = built(method, scramble)
    batch = clips(5, frames)
    info = theirs.encode({"pixels": batch.pixels, "action": batch.blocks, "proprio": batch.proprio})
    latents = ours.embed(batch.pixels, batch.proprio)
    width = ours.config.token_dim
    torch.testing.assert_close(latents.unflatten(-1, (-1, width)), info["emb"][..., :width])
    predicted = ours.predict(latents, ours.embed_actions(batch.blocks))
    torch.testing.assert_close(
        predicted.unflatten(-1, (-1, width)), theirs.predict(info["emb"])[..., :width], rtol=1e-4, atol=1e-5
    )


def test_loss_and_gradients_agree_and_nothing_is_learned_by_the_encoder(method: str, scramble: Any):
    ours, theirs = built(method, scramble)
    batch, width = clips(5, 4), ours.config.token_dim
    loss = METHODS[method]().loss(ours.train(), nn.ModuleDict(), batch)
    loss.total.backward()
    info = theirs.train().encode({"pixels": batch.pixels, "action": batch.blocks, "proprio": batch.proprio})
    predicted = theirs.predict(info["emb"][:, :-1])
    total = F.mse_loss(predicted[..., :width], info["emb"][:, 1:, :, :width].detach())
    total.backward()
    torch.testing.assert_close(loss.total, total, rtol=1e-5, atol=1e-6)
    reference = {name: value.grad for name, value in theirs.named_parameters() if "backbone." not in name}
    mine = {name: value.grad for name, value in ours.named_parameters() if not name.startswith("encoder.")}
    assert all(gradient.abs().max() > 1e-6 for gradient in reference.values())
    torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-6)
    assert all(value.grad is None for value in ours.encoder.parameters())
    torch.testing.assert_close(loss.latents, info["emb"][..., :width].flatten(2))
    torch.testing.assert_close(loss.predicted, predicted[..., :width].flatten(2), rtol=1e-4, atol=1e-5)


def test_dropout_agrees_for_the_same_seed(method: str, scramble: Any):
    predictor = PatchPredictorConfig(depth=2, heads=2, head_dim=8, mlp=20, dropout=0.3, embedding_dropout=0.2)
    found = []
    for model in built(method, scramble, predictor=predictor):
        torch.manual_seed(9)
        found.append(model.train().predictor(noise(3, 12, predictor_width(method), seed=10)))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def predictor_width(method: str) -> int:
    return 12 + 10 + 10 * (method == "dinowm")


@torch.no_grad()
@pytest.mark.parametrize(("history", "context"), [(3, 1), (3, 3), (2, 1), (1, 1)])
def test_rollout_and_cost_agree_for_one_environment(method: str, scramble: Any, history: int, context: int):
    ours, theirs = built(method, scramble, history=history)
    candidates = noise(1, 7, 5, BLOCK, seed=11)
    mine, reference = planning_info(1, 7, context), planning_info(1, 7, context)
    cost, expected = ours.get_cost(mine, candidates), theirs.get_cost(reference, candidates)
    assert expected.std() > 1e-3
    torch.testing.assert_close(cost, expected, rtol=1e-4, atol=1e-5)
    latents = mine["predicted_emb"].unflatten(-1, (-1, ours.config.token_dim))
    torch.testing.assert_close(latents[..., :12], reference["predicted_pixels_emb"], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_cost_of_several_environments_is_that_of_each_alone(method: str, scramble: Any):
    ours, _ = built(method, scramble)
    info, candidates = planning_info(3, 4, 1), noise(3, 4, 5, BLOCK, seed=11)
    together = ours.get_cost(dict(info), candidates)
    alone = [
        ours.get_cost({name: value[one : one + 1] for name, value in info.items()}, candidates[one : one + 1])
        for one in range(3)
    ]
    torch.testing.assert_close(together, torch.cat(alone))


@torch.no_grad()
def test_actions_that_were_executed_stand_at_the_frames_of_a_longer_context(method: str, scramble: Any):
    """Transcribed: 0.1.1 has candidates stand there, and none for what was executed."""
    ours, _ = built(method, scramble)
    info, width, patches = planning_info(1, 4, 3), ours.config.token_dim, ours.config.patches
    executed, planned = noise(1, 1, 2, BLOCK, seed=12).expand(1, 4, -1, -1), noise(1, 4, 3, BLOCK, seed=13)
    blocks = torch.cat([executed, planned], dim=2)
    seen = ours.encoder(info["pixels"][0, 0]).expand(4, -1, -1, -1)
    if method == "dinowm":
        embedded = ours.extra_encoders["proprio"](info["proprio"][0, :1])
        seen = torch.cat([seen, embedded[:, :, None].expand(4, -1, patches, -1)], dim=-1)
    frames, actions = list(seen.unbind(dim=1)), ours.extra_encoders["action"](blocks[0])
    for last in range(2, 5):
        window = range(last - 2, last + 1)
        tokens = [
            torch.cat([frames[number], actions[:, number, None].expand(-1, patches, -1)], dim=-1) for number in window
        ]
        frames.append(ours.predictor(torch.cat(tokens, dim=1))[:, -patches:, :width])
    imagined = ours.rollout(info, blocks)["predicted_emb"]
    torch.testing.assert_close(imagined[0], torch.stack(frames, dim=1).flatten(2), rtol=1e-4, atol=1e-5)


def test_network_that_takes_proprioception_asks_for_it(scramble: Any):
    ours, _ = built("dinowm", scramble)
    with pytest.raises(LewmError, match="sees proprioception beside frames"):
        ours.embed(clips(1, 1).pixels)


def test_release_has_the_released_sizes():
    counts = {}
    for size, patches in ((224, 256), (196, 196)):
        for method in ("dinowm", "dinowm_noprop"):
            with torch.device("meta"):
                sizes = DinoWMConfig if method == "dinowm" else DinoWMNopropConfig
                config = sizes(image_size=size, **({"proprio": 4} if method == "dinowm" else {}))
                model = METHODS[method].network(config, 10)
            assert config.patches == patches
            counts[method, size] = sum(value.numel() for value in model.predictor.parameters())
    assert counts == {
        ("dinowm", 224): 20_195_320,
        ("dinowm_noprop", 224): 19_695_740,
        ("dinowm", 196): 20_122_600,
        ("dinowm_noprop", 196): 19_624_820,
    }


def test_layers_are_set_as_theirs(method: str, scramble: Any):
    """A wrong epsilon hides below any tolerance."""
    ours, theirs = (
        {
            name: (module.eps, module.normalized_shape)
            for name, module in model.predictor.named_modules()
            if isinstance(module, nn.LayerNorm)
        }
        for model in built(method, scramble)
    )
    assert ours == theirs
