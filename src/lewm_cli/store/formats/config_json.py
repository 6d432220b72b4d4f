"""Reads and writes a config.json, the tree of `_target_`s that describes a model on the Hub; imports none of them."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeAlias

from pydantic import Field, PositiveInt, ValidationError

from lewm_cli.config import (
    ActionEncoderConfig,
    EncoderConfig,
    ModelConfig,
    PredictorConfig,
    ProjectorConfig,
    Section,
)
from lewm_cli.errors import LewmError
from lewm_cli.store.formats.refused import RefusalError, printable, printable_value

Sizes: TypeAlias = tuple[ModelConfig, int]
"""The configuration of a model, and the width of its action blocks."""

LARGEST_FILE = 2**20
"""Bytes; the released ones take 1.2 KB."""

LEWM = "stable_worldmodel.wm.lewm.LeWM"
PREDICTOR = "stable_worldmodel.wm.lewm.module.Predictor"
EMBEDDER = "stable_worldmodel.wm.lewm.module.Embedder"
MLP = "stable_worldmodel.wm.lewm.module.MLP"
BATCH_NORM = "torch.nn.BatchNorm1d"
VIT = "stable_pretraining.backbone.utils.vit_hf"
"""Targets as they are written; some have older names, which are read too."""

VIT_SIZES = {
    "tiny": {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 768},
    "small": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "huge": {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "intermediate_size": 5120},
}
"""Names of sizes that `vit_hf` takes; any other size is one of these with settings of its own."""

# Fields of the tables of config.json come in the order in which they are written.
Integer = Annotated[PositiveInt, Field(strict=True)]
Rate = Annotated[float, Field(ge=0, lt=1)]


class _Encoder(Section):
    target: Literal["stable_pretraining.backbone.utils.vit_hf"] = Field(alias="_target_")
    size: Literal["tiny", "small", "base", "large", "huge"] = "tiny"
    patch_size: Integer = 16
    image_size: Integer = 224
    pretrained: Literal[False] = False
    use_mask_token: Literal[False]
    hidden_size: Integer | None = None
    num_hidden_layers: Integer | None = None
    num_attention_heads: Integer | None = None
    intermediate_size: Integer | None = None

    def ours(self) -> EncoderConfig:
        size = VIT_SIZES[self.size]
        return EncoderConfig.build(
            {
                "patch_size": self.patch_size,
                "width": self.hidden_size or size["hidden_size"],
                "depth": self.num_hidden_layers or size["num_hidden_layers"],
                "heads": self.num_attention_heads or size["num_attention_heads"],
                "mlp": self.intermediate_size or size["intermediate_size"],
            },
            "encoder",
        )


class _Predictor(Section):
    target: Literal["stable_worldmodel.wm.lewm.module.Predictor", "module.Predictor", "module.ARPredictor"] = Field(
        alias="_target_"
    )
    num_frames: Integer
    input_dim: Integer
    hidden_dim: Integer
    output_dim: Integer | None = None
    depth: Integer
    heads: Integer
    mlp_dim: Integer
    dim_head: Integer = 64
    dropout: Rate = 0.0
    emb_dropout: Rate = 0.0

    def ours(self) -> PredictorConfig:
        return PredictorConfig(
            width=None if self.hidden_dim == self.input_dim else self.hidden_dim,
            depth=self.depth,
            heads=self.heads,
            head_dim=self.dim_head,
            mlp=self.mlp_dim,
            dropout=self.dropout,
            embedding_dropout=self.emb_dropout,
        )


class _ActionEncoder(Section):
    target: Literal["stable_worldmodel.wm.lewm.module.Embedder", "module.Embedder"] = Field(alias="_target_")
    input_dim: Integer = 10
    smoothed_dim: Integer = 10
    emb_dim: Integer = 10
    mlp_scale: Integer = 4


class _BatchNorm(Section):
    target: Literal["torch.nn.BatchNorm1d", "torch.nn.modules.batchnorm.BatchNorm1d"] = Field(alias="_target_")
    partial: Literal[True] = Field(alias="_partial_")


class _Projector(Section):
    target: Literal["stable_worldmodel.wm.lewm.module.MLP", "module.MLP"] = Field(alias="_target_")
    input_dim: Integer
    output_dim: Integer | None = None
    hidden_dim: Integer
    norm_fn: _BatchNorm

    @property
    def output(self) -> int:
        return self.output_dim or self.input_dim


class _Model(Section):
    target: Literal["stable_worldmodel.wm.lewm.LeWM", "stable_worldmodel.wm.lewm.lewm.LeWM", "jepa.JEPA"] = Field(
        alias="_target_"
    )
    encoder: _Encoder
    predictor: _Predictor
    action_encoder: _ActionEncoder
    projector: _Projector
    pred_proj: _Projector
    embed_dim: Integer | None = None
    history_size: Integer | None = None

    def contradiction(self) -> str | None:
        """Name two values that must be equal and are not, in words."""
        latent = "projector.output_dim", self.projector.output
        width = "the width of the encoder", self.encoder.ours().width
        frames = "predictor.num_frames", self.predictor.num_frames
        pairs = [
            (("projector.input_dim", self.projector.input_dim), width),
            (("predictor.input_dim", self.predictor.input_dim), latent),
            (("predictor.output_dim", self.predictor.output_dim or self.predictor.input_dim), latent),
            (("action_encoder.emb_dim", self.action_encoder.emb_dim), latent),
            (("pred_proj.input_dim", self.pred_proj.input_dim), latent),
            (("pred_proj.output_dim", self.pred_proj.output), latent),
            (("pred_proj.hidden_dim", self.pred_proj.hidden_dim), ("projector.hidden_dim", self.projector.hidden_dim)),
            (("embed_dim", self.embed_dim or latent[1]), latent),
            (("history_size", self.history_size or frames[1]), frames),
        ]
        for (name, value), (other, expected) in pairs:
            if value != expected:
                return f"{name} is {value}, but {other} is {expected}"
        return None

    def ours(self) -> ModelConfig:
        return ModelConfig.build(
            {
                "image_size": self.encoder.image_size,
                "latent": self.projector.output,
                "history": self.predictor.num_frames,
                "encoder": self.encoder.ours(),
                "projector": ProjectorConfig(hidden=self.projector.hidden_dim),
                "action_encoder": ActionEncoderConfig(
                    smoothed=self.action_encoder.smoothed_dim, expansion=self.action_encoder.mlp_scale
                ),
                "predictor": self.predictor.ours(),
            },
            "config.json",
        )


def read_config_json(path: Path) -> Sizes:
    """Read the configuration and the width of an action block that a config.json describes.

    Raises:
        RefusalError: it is no JSON, names a target that is not in the tables, has an unknown key, lacks one, or
            contradicts itself; always by name.
    """
    try:
        written = _Model.model_validate(_load(path))
    except ValidationError as error:
        raise RefusalError(_explain(path, error)) from error
    if contradiction := written.contradiction():
        raise RefusalError(f"{path.name} contradicts itself: {contradiction}")
    return written.ours(), written.action_encoder.input_dim


def config_tree(config: ModelConfig, block_dim: int) -> dict[str, Any]:
    """The content of the config.json that describes a model.

    Args:
        config: its sizes.
        block_dim: width of an action block.

    Raises:
        LewmError: stable_worldmodel has no such model.
    """
    latent, predictor = config.latent, config.predictor
    width = predictor.width or latent
    if predictor.heads == 1 and predictor.head_dim == width:
        raise LewmError(
            f"stable_worldmodel leaves out the output projection of attention with one head as wide as its tokens "
            f"(predictor.heads 1, predictor.head_dim {width}), so its LeWM cannot hold these weights; "
            "--to object keeps the module of lewm"
        )
    tree = {
        "_target_": LEWM,
        "encoder": _encoder_tree(config.encoder, config.image_size),
        "predictor": {
            "_target_": PREDICTOR,
            "num_frames": config.history,
            "input_dim": latent,
            "hidden_dim": width,
            "output_dim": latent,
            "depth": predictor.depth,
            "heads": predictor.heads,
            "mlp_dim": predictor.mlp,
            "dim_head": predictor.head_dim,
            "dropout": predictor.dropout,
            "emb_dropout": predictor.embedding_dropout,
        },
        "action_encoder": {
            "_target_": EMBEDDER,
            "input_dim": block_dim,
            "smoothed_dim": config.action_encoder.smoothed,
            "emb_dim": latent,
            "mlp_scale": config.action_encoder.expansion,
        },
        "projector": _projector_tree(config.encoder.width, latent, config.projector.hidden),
        "pred_proj": _projector_tree(latent, latent, config.projector.hidden),
    }
    return _Model.model_validate(tree).model_dump(by_alias=True, exclude_none=True)  # what is written can be read


def _encoder_tree(config: EncoderConfig, image_size: int) -> dict[str, Any]:
    settings = {
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "intermediate_size": config.mlp,
    }
    size = next((name for name, known in VIT_SIZES.items() if known == settings), "tiny")
    own = {key: value for key, value in settings.items() if VIT_SIZES[size][key] != value}
    fixed = {"patch_size": config.patch_size, "image_size": image_size, "pretrained": False, "use_mask_token": False}
    return {"_target_": VIT, "size": size, **fixed, **own}


def _projector_tree(input_dim: int, output_dim: int, hidden_dim: int) -> dict[str, Any]:
    norm = {"_target_": BATCH_NORM, "_partial_": True}
    return {
        "_target_": MLP, "input_dim": input_dim, "output_dim": output_dim, "hidden_dim": hidden_dim, "norm_fn": norm,
    }  # fmt: skip


def _load(path: Path) -> Any:
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise RefusalError(f"{path.name} is far too long for the configuration of a model")
    try:
        return json.loads(content, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RefusalError(f"{path.name} is no JSON") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        twice = next(key for key, _ in pairs if sum(other == key for other, _ in pairs) > 1)
        raise RefusalError(f"config.json gives {printable(twice)} twice")
    return table


def _no_constant(constant: str) -> NoReturn:
    raise RefusalError(f"config.json holds {constant}, which is no size")


def _explain(path: Path, error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(printable(str(part)) for part in first["loc"]) or "it"
    if first["type"] == "extra_forbidden":
        return f"{path.name} has an unknown key, {key}"
    if first["type"] == "missing":
        lacking = [each for each in error.errors() if each["type"] == "missing"]
        values = ", ".join(".".join(printable(str(part)) for part in each["loc"]) for each in lacking)
        return f"{path.name} lacks {values}; add what is missing, or name another file: --config FILE"
    value = printable_value(first["input"])
    if key.endswith("_target_"):
        return f"{path.name}: {key} is {value}, which is no part of a LeWM that is known here; it was not imported"
    problem = first["msg"][0].lower() + first["msg"][1:]
    return f"{path.name}: {key} is {value}: {problem}"
