"""Reads tensors and configuration of a captured module: sizes from shapes, the rest from attributes, all checked."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from lewm_cli.config import ModelConfig
from lewm_cli.store.formats.classes import TRAINED_BY
from lewm_cli.store.formats.model_spec import ModelSpec
from lewm_cli.store.formats.refused import DamagedError, RefusalError, printable, printable_value
from lewm_cli.store.formats.standins import CapturedObject, StoredTensor, Value
from lewm_cli.store.formats.state import NamedTensors

DEEPEST = 16
MOST_MODULES = 2000
MOST_IN_ONE = 500
"""Parameters, buffers or children. A module may occur in itself or many times over in a hostile file."""

PARTS = {"predictor": "Predictor", "action_encoder": "Embedder", "projector": "MLP", "pred_proj": "MLP"}
"""Kinds of the children of a model beside its encoder."""

_SETTINGS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.LayerNorm: ("eps", "elementwise_affine", "normalized_shape"),
    nn.BatchNorm1d: ("eps", "momentum", "affine", "track_running_stats", "num_features"),
    nn.Conv1d: ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"),
    nn.Conv2d: ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"),
    nn.GELU: ("approximate",),
    nn.Dropout: ("p",),
    nn.SiLU: (),
    nn.Linear: (),
    nn.Identity: (),
}
"""Layers, and the settings that do not show in the shapes of their tensors."""

_VIT_ALWAYS = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "num_channels": 3, "hidden_dropout_prob": 0.0}
_VIT_ALWAYS |= {"attention_probs_dropout_prob": 0.0}
"""Settings that our encoder cannot express otherwise."""


def walk(root: CapturedObject) -> tuple[dict[str, CapturedObject], dict[str, StoredTensor]]:
    """Modules and tensors (parameters and persistent buffers) below a captured module, by dotted name."""
    modules: dict[str, CapturedObject] = {}
    tensors: dict[str, StoredTensor] = {}
    for name, module in _descend(root, "", 0):
        modules[name] = module
        if len(modules) > MOST_MODULES:
            raise DamagedError("it holds more modules than any LeWM or PLDM")
        for table in ("_parameters", "_buffers"):
            for key, value in _table(module, table).items():
                if isinstance(value, StoredTensor):
                    tensors[f"{name}.{key}".lstrip(".")] = value
                elif value is not None:
                    raise DamagedError(f"{printable(f'{name}.{key}')} is no tensor")
    return modules, tensors


def read_module_spec(modules: dict[str, CapturedObject], named: NamedTensors) -> ModelSpec:
    """The sizes of a captured model, and the method that its class says, whatever its parts are taken from."""
    tensors, vit = named.entries, _vit_settings(modules)

    def length(key: str, dimension: int) -> int:
        if key not in tensors or len(tensors[key].shape) <= dimension:
            raise RefusalError(f"the pickled module lacks {named.their_name(key)}, which LeWM and PLDM have")
        return tensors[key].shape[dimension]

    for name, kind in PARTS.items():
        if name not in modules or modules[name].kind != kind:
            raise RefusalError(f"the pickled module has no {kind} as {name}, which LeWM and PLDM have")
    block = "predictor.transformer.layers.0"
    latent = length("projector.net.3.weight", 0)
    width = length("predictor.transformer.norm.weight", 0)
    heads = _same(modules, ("Attention",), "heads")
    history = length("predictor.pos_embedding", 1)
    frames = modules["predictor"].state.get("num_frames", history)  # the authors' code has no such attribute
    if frames != history:
        raise RefusalError(f"its predictor has {history} positions and says num_frames {printable_value(frames)}")
    dropout = modules["predictor.dropout"].state.get("p") if "predictor.dropout" in modules else None
    tree: dict[str, Any] = {
        "image_size": vit["image_size"],
        "latent": latent,
        "history": history,
        "encoder": {
            "patch_size": vit["patch_size"],
            "width": vit["hidden_size"],
            "depth": vit["num_hidden_layers"],
            "heads": vit["num_attention_heads"],
            "mlp": vit["intermediate_size"],
        },
        "projector": {"hidden": length("projector.net.0.weight", 0)},
        "action_encoder": {
            "smoothed": length("action_encoder.patch_embed.weight", 0),
            "expansion": length("action_encoder.embed.0.weight", 0) // max(1, latent),
        },
        "predictor": {
            "width": None if width == latent else width,
            "depth": sum(module.kind == "ConditionalBlock" for module in modules.values()),
            "heads": heads,
            "head_dim": length(f"{block}.attn.to_qkv.weight", 0) // (3 * heads),
            "mlp": length(f"{block}.mlp.net.1.weight", 0),
            "dropout": _same(modules, ("Attention",), "dropout", whole=False),
            "embedding_dropout": _number(dropout, "predictor.dropout.p", whole=False),
        },
    }
    sizes = ModelConfig.build(tree, "the pickled module")
    spec = ModelSpec(sizes, length("action_encoder.patch_embed.weight", 1), TRAINED_BY[modules[""].name])
    _check_settings(modules, named, spec)
    return spec


def _descend(module: Value, name: str, depth: int) -> Iterator[tuple[str, CapturedObject]]:
    if not isinstance(module, CapturedObject) or depth > DEEPEST:
        raise DamagedError(f"{printable(name)} is no module")
    yield name, module
    for key, child in _table(module, "_modules").items():
        if child is not None:
            yield from _descend(child, f"{name}.{key}".lstrip("."), depth + 1)


def _table(module: CapturedObject, name: str) -> dict[Any, Value]:
    table = module.state.get(name, {})
    if not isinstance(table, dict) or len(table) > MOST_IN_ONE:
        raise DamagedError(f"a module in it has {name} that no module has")
    return table


def _vit_settings(modules: dict[str, CapturedObject]) -> dict[str, int]:
    """Sizes of the ViT as its configuration has them, after checking that it is a ViT that our encoder can be."""
    encoder = modules.get("encoder")
    config = encoder.state.get("config") if encoder else None
    if not isinstance(config, CapturedObject) or config.kind != "ViTConfig":
        raise RefusalError("the pickled module has no ViT of transformers as its encoder")
    for name, value in _VIT_ALWAYS.items():
        if config.state.get(name) != value:
            raise RefusalError(
                f"its ViT has {name} {printable_value(config.state.get(name))}, and only {value} is supported"
            )
    settings = {}
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"):
        settings[name] = _number(config.state.get(name), f"encoder.config.{name}")
    for name in ("image_size", "patch_size"):
        size = config.state.get(name)
        sides = size if isinstance(size, list | tuple) and len(size) == 2 else (size, size)
        height, settings[name] = (_number(side, f"encoder.config.{name}") for side in sides)
        if height != settings[name]:
            raise RefusalError(f"the {name} of its ViT is {height} x {settings[name]}, and only squares are supported")
    heads = _same(modules, ("ViTAttention", "ViTSelfAttention", "ViTSdpaSelfAttention"), "num_attention_heads")
    if heads != settings["num_attention_heads"]:
        raise RefusalError(f"its ViT computes with {heads} heads and says {settings['num_attention_heads']}")
    return settings


def _check_settings(modules: dict[str, CapturedObject], named: NamedTensors, spec: ModelSpec) -> None:
    """Compare every layer with the one that our model has in its place: eps, activations, dropout, strides."""
    for name, layer in spec.blank.named_modules():
        if type(layer) not in _SETTINGS:
            continue
        theirs = modules.get(named.their_name(f"{name}.eps").removesuffix(".eps"))
        if theirs is None or theirs.kind != type(layer).__name__:
            raise RefusalError(
                f"the pickled module has {theirs.kind if theirs else 'nothing'} as {name}, "
                f"and LeWM and PLDM have {type(layer).__name__}"
            )
        for setting in _SETTINGS[type(layer)]:
            ours, value = getattr(layer, setting), theirs.state.get(setting)
            if value != ours:
                raise RefusalError(f"its {name} has {setting} {printable_value(value)}, and only {ours} is supported")


def _same(modules: dict[str, CapturedObject], kinds: tuple[str, ...], attribute: str, *, whole: bool = True) -> Any:
    """The value that an attribute has in all modules of some kinds (where they have it)."""
    values = {
        _number(module.state[attribute], f"{name}.{attribute}", whole=whole)
        for name, module in modules.items()
        if module.kind in kinds and attribute in module.state
    }
    if not values:
        raise RefusalError(f"the pickled module does not say its {attribute}")
    if len(values) > 1:
        raise RefusalError(f"{attribute} differs between layers of the pickled module")
    return values.pop()


def _number(value: Value, name: str, *, whole: bool = True) -> Any:
    if (type(value) is int and value > 0) or (not whole and type(value) in (int, float)):
        return value
    raise RefusalError(
        f"{printable(name)} of the pickled module is {printable_value(value)}, not a positive whole number"
    )
