"""DINO-WM in files of other tools: DINOv2 of transformers, a frame-causal predictor and embeddings of vectors."""

from math import isqrt
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, field_validator, model_validator

from lewm_cli.config import DinoWMConfig, DinoWMNopropConfig, Section
from lewm_cli.errors import LewmError
from lewm_cli.store.formats.classes import PATCH_MODEL, PREJEPA, home_of_parts
from lewm_cli.store.formats.family import ClassTable, Family, Integer, ModelTable, Rate, refuse_one_wide_head
from lewm_cli.store.formats.model_spec import ModelSpec
from lewm_cli.store.formats.refused import RefusalError, printable, printable_value
from lewm_cli.store.keys import DINOWM_NAMES

if TYPE_CHECKING:
    from torch import Tensor

    from lewm_cli.store.formats.module_config import CapturedModel
    from lewm_cli.store.formats.state import NamedTensors

EPSILON = 1e-6
"""The norms of DINOv2 add it to a variance."""

HEAD = 64
"""Width of an attention head in every published DINOv2 and DINO-WM."""

DINOV2 = {
    "small": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
}
"""Sizes of the published encoders; all were trained for 518 pixels."""

_ALWAYS = {"hidden_act": "gelu", "layer_norm_eps": EPSILON, "num_channels": 3, "use_swiglu_ffn": False}
_ATTENTION = ("Dinov2Attention", "Dinov2SelfAttention", "Dinov2SdpaSelfAttention")

DINOV2_MODEL, DINOV2_CONFIG = "transformers.Dinov2Model", "transformers.Dinov2Config"
MODULES = "torch.nn.ModuleDict"
"""Targets of what is no class of a world model; see `classes` for the others."""

# Fields of the tables of config.json come in the order in which they are written.


class _Dinov2(Section):
    target: Literal["transformers.Dinov2Config"] = Field("transformers.Dinov2Config", alias="_target_")
    hidden_size: Integer = 768
    num_hidden_layers: Integer = 12
    num_attention_heads: Integer = 12
    mlp_ratio: Integer = 4
    image_size: Integer = 224
    patch_size: Integer = 14
    layer_norm_eps: PositiveFloat = EPSILON


class _Encoder(Section):
    """A published DINOv2 by its name, or one by its sizes."""

    target: Literal["stable_worldmodel.wm.prejepa.module.create_backbone", "transformers.Dinov2Model"] = Field(
        alias="_target_"
    )
    name: str | None = None
    config: _Dinov2 | None = None

    @field_validator("name")
    @classmethod
    def _published(cls, name: str | None) -> str | None:
        if name is not None and _size_named(name) not in DINOV2:
            raise ValueError(f"the encoder of a DINO-WM is DINOv2 here, {' or '.join(DINOV2)}")
        return name

    @model_validator(mode="after")
    def _one(self) -> Self:
        given, wanted = ("name", "config") if self.target == DINOV2_MODEL else ("config", "name")
        if getattr(self, given) is not None or getattr(self, wanted) is None:
            raise ValueError(f"{self.target} takes a {wanted} and nothing else")
        return self

    @property
    def dinov2(self) -> _Dinov2:
        return self.config or _Dinov2.model_validate(DINOV2[_size_named(str(self.name))] | {"image_size": 518})


class _Predictor(ClassTable):
    kind: ClassVar[str] = "CausalPredictor"

    num_patches: Integer
    num_frames: Integer
    dim: Integer
    depth: Integer
    heads: Integer
    mlp_dim: Integer
    pool: Literal["cls", "mean"] = "cls"
    dim_head: Integer = 64
    dropout: Rate = 0.0
    emb_dropout: Rate = 0.0


class _Embedder(ClassTable):
    kind: ClassVar[str] = "Embedder"

    num_frames: Integer = 1
    tubelet_size: Literal[1] = 1
    in_chans: Integer = 8
    emb_dim: Integer = 10


class _Embedders(Section):
    proprio: _Embedder | None = None
    action: _Embedder

    @model_validator(mode="before")
    @classmethod
    def _in_order(cls, tree: object) -> object:
        if isinstance(tree, dict) and list(tree)[:1] == ["action"] and "proprio" in tree:
            raise ValueError("proprio has to stand before action, as in every published DINO-WM")
        return tree


class _ExtraEncoders(Section):
    target: Literal["torch.nn.ModuleDict", "torch.nn.modules.container.ModuleDict"] = Field(alias="_target_")
    modules: _Embedders


class _Model(ModelTable):
    kind: ClassVar[str] = PATCH_MODEL

    encoder: _Encoder
    predictor: _Predictor
    extra_encoders: _ExtraEncoders
    decoder: None = None
    history_size: Integer = 3
    num_pred: Literal[1] = 1
    interpolate_pos_encoding: bool = True
    pixel_token: Literal["patch"] | None = None  # of a fork; its DINO-WM is the same

    def spec(self) -> ModelSpec:
        """The model; `DinoWMConfig.build` raises UsageError for sizes that cannot be."""
        encoder, predictor, embedders = self.encoder.dinov2, self.predictor, self.extra_encoders.modules
        return _spec(
            encoder.model_dump(),
            {
                "depth": predictor.depth,
                "heads": predictor.heads,
                "head_dim": predictor.dim_head,
                "mlp": predictor.mlp_dim,
                "dropout": predictor.dropout,
                "embedding_dropout": predictor.emb_dropout,
            },
            tokens=(predictor.num_frames, predictor.num_patches),
            action=(embedders.action.in_chans, embedders.action.emb_dim),
            proprio=(embedders.proprio.in_chans, embedders.proprio.emb_dim) if embedders.proprio else None,
            source="config.json",
        )

    def contradiction(self) -> str | None:
        embedders = [embedder for _, embedder in self.extra_encoders.modules if embedder]
        width = self.encoder.dinov2.hidden_size + sum(embedder.emb_dim for embedder in embedders)
        frames = self.predictor.num_frames
        if self.predictor.dim != width:
            return f"predictor.dim is {self.predictor.dim}, but the encoder and extra_encoders make {width}"
        if self.history_size != frames:
            return f"history_size is {self.history_size}, but predictor.num_frames is {frames}"
        return None


def _size_named(name: str) -> str:
    return name.removeprefix("facebook/").removeprefix("dinov2").removeprefix("_").removeprefix("-")


def _spec(
    encoder: dict[str, Any],
    predictor: dict[str, Any],
    *,
    tokens: tuple[int, int],
    action: tuple[int, int],
    proprio: tuple[int, int] | None,
    source: str,
) -> ModelSpec:
    """The model of these sizes.

    Args:
        encoder: of DINOv2, by the names of its configuration.
        predictor: of our configuration.
        tokens: frames, and patches of each, that the predictor sees.
        action, proprio: widths of a vector and of its embedding.
        source: for errors.
    """
    frames, patches = tokens
    side, patch = isqrt(patches), encoder["patch_size"]
    if side * side != patches:
        raise RefusalError(f"its predictor sees {patches} patches of a frame, and those of a square frame are a square")
    tree = {
        "image_size": side * patch,
        "history": frames,
        "encoder": {
            "patch_size": patch,
            "width": encoder["hidden_size"],
            "depth": encoder["num_hidden_layers"],
            "heads": encoder["num_attention_heads"],
            "mlp": encoder["hidden_size"] * encoder["mlp_ratio"],
            "layer_scale": True,
            "epsilon": encoder["layer_norm_eps"],
            "grid": encoder["image_size"] // patch,
        },
        "predictor": predictor,
        "action_embedding": action[1],
    }
    if proprio is None:
        return ModelSpec(DinoWMNopropConfig.build(tree, source), action[0], "dinowm_noprop")
    tree |= {"proprio": proprio[0], "proprio_embedding": proprio[1]}
    return ModelSpec(DinoWMConfig.build(tree, source), action[0], "dinowm")


def _tree(config: DinoWMNopropConfig, block_dim: int, method: str) -> dict[str, Any]:
    encoder, predictor = config.encoder, config.predictor
    if not encoder.layer_scale or encoder.mlp % encoder.width:
        raise LewmError(
            f"stable_worldmodel's DINO-WM is around DINOv2, and the encoder of this run "
            f"({encoder.source or 'its own'}) is another; --to object keeps the module of lewm"
        )
    width = config.token_dim + config.action_embedding
    refuse_one_wide_head(predictor, width)
    home = home_of_parts(PREJEPA)
    embedders = {"action": (block_dim, config.action_embedding)}
    if isinstance(config, DinoWMConfig):
        assert config.proprio is not None
        embedders = {"proprio": (config.proprio, config.proprio_embedding)} | embedders
    sizes = {
        "hidden_size": encoder.width,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.heads,
        "mlp_ratio": encoder.mlp // encoder.width,
        "image_size": encoder.grid * encoder.patch_size if encoder.grid else config.image_size,
        "patch_size": encoder.patch_size,
        "layer_norm_eps": encoder.epsilon,
    }
    return {
        "_target_": PREJEPA,
        "encoder": {"_target_": DINOV2_MODEL, "config": {"_target_": DINOV2_CONFIG, **sizes}},
        "predictor": {
            "_target_": f"{home}.CausalPredictor",
            "num_patches": config.patches,
            "num_frames": config.history,
            "dim": width,
            "depth": predictor.depth,
            "heads": predictor.heads,
            "mlp_dim": predictor.mlp,
            "dim_head": predictor.head_dim,
            "dropout": predictor.dropout,
            "emb_dropout": predictor.embedding_dropout,
        },
        "extra_encoders": {
            "_target_": MODULES,
            "modules": {
                name: {"_target_": f"{home}.Embedder", "in_chans": inputs, "emb_dim": outputs}
                for name, (inputs, outputs) in embedders.items()
            },
        },
        "history_size": config.history,
    }


def _from_modules(model: "CapturedModel") -> ModelSpec:
    modules, length = model.modules, model.length
    model.expect(
        {"backbone": "Dinov2Model", "predictor": "CausalPredictor", "predictor.transformer": "Transformer"}
        | {"extra_encoders": "ModuleDict"}
    )
    home = "extra_encoders."
    extra = [name.removeprefix(home) for name in modules if name.startswith(home) and name.count(".") == 1]
    if extra not in (["proprio", "action"], ["action"]):
        raise RefusalError(
            f"its extra_encoders are {printable(', '.join(extra))}, and a DINO-WM has proprio and action, in this "
            "order, or action alone"
        )
    model.expect({f"extra_encoders.{name}": "Embedder" for name in extra})
    encoder = model.encoder_sizes("backbone", "Dinov2Config", "mlp_ratio", _ALWAYS, _ATTENTION)
    predictor, block = modules["predictor"], "predictor.transformer.layers.0"
    positions = length("predictor.pos_embedding", 1)
    frames, patches = (model.number(predictor, name) for name in ("num_frames", "num_patches"))
    if frames * patches != positions:
        raise RefusalError(f"its predictor has {positions} positions and says {frames} frames of {patches} patches")
    history = modules[""].state.get("history_size", frames)
    if history != frames:
        raise RefusalError(f"its predictor takes {frames} frames, and its history_size is {printable_value(history)}")
    heads = model.same(("FrameAttention",), "heads")
    return _spec(
        encoder | {"layer_norm_eps": EPSILON},
        {
            "depth": sum(module.kind == "FrameAttention" for module in modules.values()),
            "heads": heads,
            "head_dim": length(f"{block}.0.to_qkv.weight", 0) // (3 * heads),
            "mlp": length(f"{block}.1.net.1.weight", 0),
            "dropout": model.same(("Dropout",), "p", "predictor.transformer.", whole=False),
            "embedding_dropout": model.same(("Dropout",), "p", "predictor.dropout", whole=False),
        },
        tokens=(frames, patches),
        action=_embedder(model.named, "action"),
        proprio=_embedder(model.named, "proprio") if "proprio" in extra else None,
        source="the pickled module",
    )


def _from_shapes(named: "NamedTensors") -> ModelSpec:
    """The model that these shapes are of, if its heads are as wide as published ones and its history is 3 or 1."""
    layers = "encoder.backbone.layers.0"
    if f"{layers}.layer_scale1.lambda1" not in named.entries:
        raise RefusalError("its backbone is no DINOv2 of transformers, and no other is supported in a DINO-WM")
    width, patch = (
        _length(named, "encoder.backbone.embeddings.patch_embeddings.projection.weight", at) for at in (0, 3)
    )
    grid = isqrt(max(0, _length(named, "encoder.backbone.embeddings.position_embeddings", 1) - 1))
    mlp = _length(named, f"{layers}.mlp.fc1.weight", 0)
    block = "predictor.transformer.layers.0"
    inner, positions = _length(named, f"{block}.0.to_qkv.weight", 0), _length(named, "predictor.pos_embedding", 1)
    frames = next((n for n in (3, 1) if positions % n == 0 and isqrt(positions // n) ** 2 == positions // n), None)
    if width % HEAD or inner % (3 * HEAD) or mlp % width or frames is None:
        raise RefusalError(
            "its tensors are those of a DINO-WM of other sizes than published ones, of which heads and history cannot "
            "be read from shapes"
        )
    return _spec(
        {
            "patch_size": patch,
            "hidden_size": width,
            "num_hidden_layers": _count(named, "encoder.backbone.layers"),
            "num_attention_heads": width // HEAD,
            "mlp_ratio": mlp // width,
            "layer_norm_eps": EPSILON,
            "image_size": grid * patch,
        },
        {
            "depth": _count(named, "predictor.transformer.layers"),
            "heads": inner // (3 * HEAD),
            "mlp": _length(named, f"{block}.1.net.1.weight", 0),
        },
        tokens=(frames, positions // frames),
        action=_embedder(named, "action"),
        proprio=_embedder(named, "proprio") if "extra_encoders.proprio.patch_embed.weight" in named.entries else None,
        source="its tensors",
    )


def _more(sizes: DinoWMNopropConfig) -> "dict[str, Tensor]":
    """The masks, which are saved there, and a token that only the training of an encoder needs."""
    import torch

    return _masks(sizes) | {"backbone.embeddings.mask_token": torch.zeros(1, sizes.encoder.width)}


def _check(named: "NamedTensors", sizes: DinoWMNopropConfig) -> None:
    """Compares the masks in a file with ours."""
    import torch

    masks = _masks(sizes)
    for key, entry in named.unused.items():
        mask = masks.get(key)
        if not key.endswith(".bias"):
            continue
        if mask is None or entry.shape != tuple(mask.shape) or not torch.equal(entry.read() == 1, mask == 1):
            raise RefusalError(f"its mask {key} is not that of {sizes.history} frames of {sizes.patches} patches")


def _masks(sizes: DinoWMNopropConfig) -> "dict[str, Tensor]":
    """By their names in a file: a token sees those of its own frame and of frames before it."""
    from lewm_cli.model import frame_causal_mask

    mask = frame_causal_mask(sizes.patches, sizes.history)[None, None].float()
    return {f"predictor.transformer.layers.{layer}.0.bias": mask for layer in range(sizes.predictor.depth)}


def _embedder(named: "NamedTensors", name: str) -> tuple[int, int]:
    """Width of a vector, and of its embedding."""
    key = f"extra_encoders.{name}.patch_embed.weight"
    return _length(named, key, 1), _length(named, key, 0)


def _length(named: "NamedTensors", key: str, dimension: int) -> int:
    if key not in named.entries or len(named.entries[key].shape) <= dimension:
        raise RefusalError(f"it lacks {named.their_name(key)}, which DINO-WM has")
    return max(1, named.entries[key].shape[dimension])


def _count(named: "NamedTensors", blocks: str) -> int:
    """Number of blocks of a transformer."""
    return len(
        {key.removeprefix(f"{blocks}.").partition(".")[0] for key in named.entries if key.startswith(f"{blocks}.")}
    )


DINOWM = Family(
    kind=PATCH_MODEL,
    have="DINO-WM has",
    sizes=DinoWMNopropConfig,
    names=DINOWM_NAMES,
    module="extra_encoders",
    table=_Model,
    tree=_tree,
    from_modules=_from_modules,
    from_shapes=_from_shapes,
    guess=f"sizes from shapes; heads of {HEAD}, dropout 0.1 and a history of 3 or 1 as published",
    unknown="; put its config.json beside the weights, or name it: --config FILE",
    released=ModelSpec(
        DinoWMConfig.build({"proprio": 4, "encoder": {"layer_scale": True}}, "the release"), 10, "dinowm"
    ),
    more=_more,
    check=_check,
)
