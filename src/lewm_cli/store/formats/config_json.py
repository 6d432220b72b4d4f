"""A config.json to our configuration: its `_target_` values are looked up in fixed tables and never imported."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeAlias

from pydantic import ConfigDict, Field, PositiveInt, ValidationError

from lewm_cli.config import (
    ActionEncoderConfig,
    EncoderConfig,
    ModelConfig,
    PredictorConfig,
    ProjectorConfig,
)
from lewm_cli.config.section import Section
from lewm_cli.store.formats.refusals import RefusalError, shown, told

Sizes: TypeAlias = tuple[ModelConfig, int]
"""The configuration of a model, and the width of its action blocks."""

LARGEST_FILE = 2**20
"""Bytes; the released ones take 1.2 KB."""

VIT_SIZES = {
    "tiny": {"width": 192, "depth": 12, "heads": 3},
    "small": {"width": 384, "depth": 12, "heads": 6},
    "base": {"width": 768, "depth": 12, "heads": 12},
    "large": {"width": 1024, "depth": 24, "heads": 16},
    "huge": {"width": 1280, "depth": 32, "heads": 16},
}
"""What `vit_hf` calls its sizes; the MLP is four times as wide."""

Integer = Annotated[PositiveInt, Field(strict=True)]
Rate = Annotated[float, Field(ge=0, lt=1)]
_PART = "stable_worldmodel.wm.lewm.module"


class _Written(Section):
    """A table of config.json."""

    model_config = ConfigDict(populate_by_name=False)


class _Encoder(_Written):
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
                "width": self.hidden_size or size["width"],
                "depth": self.num_hidden_layers or size["depth"],
                "heads": self.num_attention_heads or size["heads"],
                "mlp": self.intermediate_size or 4 * size["width"],
            },
            "encoder",
        )


class _Predictor(_Written):
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


class _ActionEncoder(_Written):
    target: Literal["stable_worldmodel.wm.lewm.module.Embedder", "module.Embedder"] = Field(alias="_target_")
    input_dim: Integer = 10
    smoothed_dim: Integer = 10
    emb_dim: Integer = 10
    mlp_scale: Integer = 4


class _BatchNorm(_Written):
    target: Literal["torch.nn.BatchNorm1d", "torch.nn.modules.batchnorm.BatchNorm1d"] = Field(alias="_target_")
    partial: Literal[True] = Field(alias="_partial_")


class _Projector(_Written):
    target: Literal["stable_worldmodel.wm.lewm.module.MLP", "module.MLP"] = Field(alias="_target_")
    input_dim: Integer
    hidden_dim: Integer
    output_dim: Integer | None = None
    norm_fn: _BatchNorm


class _Model(_Written):
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
        """Two values that must be equal and are not, in words."""
        latent = "projector.output_dim", self.projector.output_dim or self.projector.input_dim
        width = "the width of the encoder", self.encoder.ours().width
        frames = "predictor.num_frames", self.predictor.num_frames
        pairs = [
            (("projector.input_dim", self.projector.input_dim), width),
            (("predictor.input_dim", self.predictor.input_dim), latent),
            (("predictor.output_dim", self.predictor.output_dim or self.predictor.input_dim), latent),
            (("action_encoder.emb_dim", self.action_encoder.emb_dim), latent),
            (("pred_proj.input_dim", self.pred_proj.input_dim), latent),
            (("pred_proj.output_dim", self.pred_proj.output_dim or self.pred_proj.input_dim), latent),
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
                "latent": self.projector.output_dim or self.projector.input_dim,
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


def read_architecture(path: Path) -> Sizes:
    """The configuration and the width of an action block that a config.json describes.

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
        raise RefusalError(f"config.json gives {shown(twice)} twice")
    return table


def _no_constant(constant: str) -> NoReturn:
    raise RefusalError(f"config.json holds {constant}, which is no size")


def _explain(path: Path, error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(shown(str(part)) for part in first["loc"]) or "it"
    if first["type"] == "extra_forbidden":
        return f"{path.name} has an unknown key, {key}"
    if first["type"] == "missing":
        lacking = [each for each in error.errors() if each["type"] == "missing"]
        values = ", ".join(".".join(shown(str(part)) for part in each["loc"]) for each in lacking)
        return f"{path.name} lacks {values}; add what is missing, or name another file: --config FILE"
    value = told(first["input"])
    if key.endswith("_target_"):
        return f"{path.name}: {key} is {value}, which is no part of a LeWM that is known here; it was not imported"
    problem = first["msg"][0].lower() + first["msg"][1:]
    return f"{path.name}: {key} is {value}: {problem}"
