"""DINO-WMs of stable_worldmodel around DINOv2 of transformers, tiny, and files of them as they were and are written."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import transformers.models.dinov2.modeling_dinov2 as dinov2
from pickles import in_zip, take_apart
from stable_worldmodel.wm.prejepa import PreJEPA
from stable_worldmodel.wm.prejepa import module as parts
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model

PACKAGE = "stable_worldmodel.wm.prejepa"
WIDTH, PATCH, SIDE, TRAINED, HISTORY, BLOCK, PROPRIO = 64, 8, 2, 3, 3, 10, 4
SIZE = SIDE * PATCH

FOURTH = {"attention.q_proj": "attention.attention.query", "attention.k_proj": "attention.attention.key"}
FOURTH |= {"attention.v_proj": "attention.attention.value", "attention.o_proj": "attention.output.dense"}


def build(*, proprio: bool = True, history: int = HISTORY, **encoder: Any) -> nn.Module:
    """A model with random weights, in eval mode; heads are 64 wide, as in every published one."""
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 1, "mlp_ratio": 2}
    config = Dinov2Config(**{**sizes, "image_size": TRAINED * PATCH, "patch_size": PATCH, **encoder})
    embedders = {"proprio": parts.Embedder(in_chans=PROPRIO)} if proprio else {}
    embedders["action"] = parts.Embedder(in_chans=BLOCK)
    predictor = parts.CausalPredictor(
        num_patches=SIDE**2,
        num_frames=history,
        dim=config.hidden_size + 10 * len(embedders),
        depth=2,
        heads=2,
        mlp_dim=24,
        dropout=0.1,
    )
    model = PreJEPA(Dinov2Model(config), predictor, nn.ModuleDict(embedders), history_size=history)
    for number, value in enumerate(model.parameters()):
        noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(number))
        value.data.copy_(noise / value[0].numel() ** 0.5 if value.ndim > 1 else 1 + 0.3 * noise)
    return model.eval()


def released(patches: int) -> nn.Module:
    """The model of the release without proprioception, with 25 numbers in an action block."""
    encoder = Dinov2Model(Dinov2Config(hidden_size=384, num_attention_heads=6, image_size=518))
    sizes = {"num_patches": patches, "num_frames": 3, "dim": 394, "depth": 6, "heads": 16, "mlp_dim": 2048}
    return PreJEPA(encoder, parts.CausalPredictor(**sizes), nn.ModuleDict({"action": parts.Embedder(in_chans=25)}))


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs() -> dict[str, Tensor]:
    """Frames, blocks and proprioception of two clips, and a plan's."""
    return {
        "pixels": noise(2, HISTORY, 3, SIZE, SIZE, seed=1),
        "action": noise(2, HISTORY, BLOCK, seed=2),
        "proprio": noise(2, HISTORY, PROPRIO, seed=3),
        "goal": noise(2, 1, 3, SIZE, SIZE, seed=4),
        "goal_proprio": noise(2, 1, PROPRIO, seed=5),
        "candidates": noise(2, 4, 5, BLOCK, seed=6),
    }


@torch.no_grad()
def expected(model: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """What their classes compute: tokens without those of actions, predictions of them, and costs of plans."""
    width = WIDTH + 10 * ("proprio" in model.extra_encoders)
    frames = given["pixels"][:, : model.history_size]
    clip = {"pixels": frames} | {key: given[key][:, : model.history_size] for key in ("action", "proprio")}
    emb = model.encode(clip)["emb"]
    starts = {key: given[key][:, None, :1] for key in ("pixels", "proprio", "action", "goal", "goal_proprio")}
    info = {key: value.expand(-1, 4, *value.shape[2:]).clone() for key, value in starts.items()}
    return {
        "emb": emb[..., :width].flatten(2).contiguous(),
        "predicted": model.predict(emb)[..., :width].flatten(2).contiguous(),
        "cost": model.get_cost(info, given["candidates"]),
    }


# Files


def fourth(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict under the names of transformers 4."""
    renamed = {}
    for key, value in state.items():
        for new, old in FOURTH.items():
            key = key.replace(f".{new}.", f".{old}.")
        renamed[key] = value
    return renamed


def save(model: nn.Module, path: Path, **options: Any) -> Path:
    torch.save(model, path, **options)
    return path


def save_as_released(model: nn.Module, path: Path) -> Path:
    """Write a pickle as it was written for the release.

    Attention is nested as in transformers 4, the encoder sits in `EvalOnly`, and all of stable_worldmodel's classes in
    one module.
    """
    encoder = model.backbone
    for embedder in model.extra_encoders.values():
        embedder.in_chans = embedder.patch_embed.in_channels = np.int64(embedder.in_chans)  # as numpy counted it
    with _classes() as (wrapper, attention, output):
        for layer in encoder.encoder.layer:
            now = layer.attention
            inner, last, layer.attention = attention(), output(), nn.Module.__new__(dinov2.Dinov2Attention)
            nn.Module.__init__(layer.attention)
            inner.query, inner.key, inner.value = now.q_proj, now.k_proj, now.v_proj
            inner.num_attention_heads = now.num_attention_heads
            last.dense = now.o_proj
            layer.attention.attention, layer.attention.output = inner, last
        model.backbone = wrapper()
        model.backbone.backbone = encoder
        save(model, path)
    content, storages = take_apart(path)
    for home in (f"{PACKAGE}.prejepa", f"{PACKAGE}.module"):
        assert f"c{home}\n".encode() in content
        content = content.replace(f"c{home}\n".encode(), f"c{PACKAGE}\n".encode())
    path.write_bytes(in_zip(content, storages))
    return path


@contextmanager
def _classes() -> Iterator[list[type[nn.Module]]]:
    """Classes under the names that they had, for as long as something is written."""
    home = "stable_pretraining.backbone.utils"
    before = {name: sys.modules.get(name) for name in (home, home.rpartition(".")[0], home.partition(".")[0])}
    names = [(home, "EvalOnly"), (dinov2.__name__, "Dinov2SelfAttention"), (dinov2.__name__, "Dinov2SelfOutput")]
    made = [type(name, (nn.Module,), {"__module__": module}) for module, name in names]
    for name in before:
        sys.modules[name] = ModuleType(name)
    for kind in made:
        setattr(sys.modules[kind.__module__], kind.__name__, kind)
    try:
        yield made
    finally:
        for kind in made[1:]:
            delattr(dinov2, kind.__name__)
        for name, module in before.items():
            sys.modules.pop(name) if module is None else sys.modules.update({name: module})


def tree(*, proprio: bool = True, history: int = HISTORY) -> dict[str, Any]:
    """The config.json of a model, as their training script writes it, with the sizes of the encoder spelled out."""
    embedder = {"_target_": f"{PACKAGE}.module.Embedder", "emb_dim": 10}
    widths = ({"proprio": PROPRIO} if proprio else {}) | {"action": BLOCK}
    return {
        "_target_": "stable_worldmodel.wm.PreJEPA",
        "history_size": history,
        "num_pred": 1,
        "interpolate_pos_encoding": True,
        "encoder": {
            "_target_": "transformers.Dinov2Model",
            "config": {
                "_target_": "transformers.Dinov2Config",
                "hidden_size": WIDTH,
                "num_hidden_layers": 2,
                "num_attention_heads": 1,
                "mlp_ratio": 2,
                "image_size": TRAINED * PATCH,
                "patch_size": PATCH,
            },
        },
        "predictor": {
            "_target_": f"{PACKAGE}.module.CausalPredictor",
            "num_patches": SIDE**2,
            "num_frames": history,
            "dim": WIDTH + 10 * len(widths),
            "depth": 2,
            "heads": 2,
            "mlp_dim": 24,
            "dim_head": 64,
            "dropout": 0.1,
            "emb_dropout": 0.0,
        },
        "extra_encoders": {
            "_target_": "torch.nn.ModuleDict",
            "modules": {name: {**embedder, "in_chans": width} for name, width in widths.items()},
        },
    }
