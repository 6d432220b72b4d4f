"""Builds stable_worldmodel's LeWM, its module around a transformers ViT, with our weights."""

from functools import partial
from typing import Any

from torch import nn

from lewm_cli.errors import LewmError
from lewm_cli.methods import LeWM
from lewm_cli.store.formats import config_tree
from lewm_cli.store.formats.config_json import BATCH_NORM, EMBEDDER, LEWM, MLP, PREDICTOR, VIT, VIT_SIZES
from lewm_cli.store.keys import released_key
from lewm_cli.tasks.swm import import_stable_worldmodel


def swm_module(model: LeWM) -> nn.Module:
    """Build the same model as a module of stable_worldmodel and transformers, in eval mode.

    Raises:
        LewmError: one of them is not installed, or has no such model.
    """
    module = build(config_tree(model.config, model.block_dim))
    state = model.state_dict()
    if state.keys() != module.state_dict().keys():  # transformers 4
        state = {released_key(key): value for key, value in state.items()}
    module.load_state_dict(state, strict=True)
    return module.eval()


def build(tree: dict[str, Any]) -> nn.Module:
    """Build the module that a config.json describes, from a fixed table: nothing that it names is imported.

    Raises:
        LewmError: stable_worldmodel or transformers is not installed.
    """
    try:
        import_stable_worldmodel()
        from stable_worldmodel.wm.lewm import LeWM as TheirLeWM
        from stable_worldmodel.wm.lewm import module as parts
        from transformers import ViTConfig, ViTModel
    except ImportError as error:
        raise LewmError(
            f"swm-object is made of stable_worldmodel's LeWM around a transformers ViT, and {error.name} is not "
            "installed; type: pip install stable-worldmodel==0.1.1 transformers"
        ) from error

    def vit(size: str, use_mask_token: bool, pretrained: bool, **settings: int) -> nn.Module:
        arguments: dict[str, Any] = {**VIT_SIZES[size], **settings}
        encoder: nn.Module = ViTModel(ViTConfig(**arguments), add_pooling_layer=False, use_mask_token=use_mask_token)
        return encoder

    table = {
        LEWM: TheirLeWM,
        PREDICTOR: parts.Predictor,
        EMBEDDER: parts.Embedder,
        MLP: parts.MLP,
        BATCH_NORM: nn.BatchNorm1d,
        VIT: vit,
    }

    def made(node: dict[str, Any]) -> Any:
        given = {key: made(value) if isinstance(value, dict) else value for key, value in node.items()}
        target = table[given.pop("_target_")]
        return partial(target, **given) if given.pop("_partial_", False) else target(**given)

    module: nn.Module = made(tree)
    return module
