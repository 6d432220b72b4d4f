"""Reads and writes a config.json, the tree of `_target_`s that describes a model on the Hub; imports none of them."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, ValidationError, field_validator

from lewm_cli.config import ModelConfig, Section
from lewm_cli.errors import LewmError
from lewm_cli.file_kind import HEAD, look_at, mistaken
from lewm_cli.methods import DEFAULT
from lewm_cli.store.formats.classes import KINDS, MODEL, STABLE_WORLDMODEL, TRAINED_BY, home_of_parts
from lewm_cli.store.formats.model_spec import ModelSpec
from lewm_cli.store.formats.refused import RefusalError, printable, printable_value
from lewm_cli.text_file import decode_text

LARGEST_FILE = 2**20
"""Bytes; the released ones take 1.2 KB."""

BATCH_NORM = "torch.nn.BatchNorm1d"
VIT = "stable_pretraining.backbone.utils.vit_hf"
"""Targets of what is no part of a tool for world models; see `classes` for the others."""

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


class _Class(Section):
    """A table whose target is a class of this kind, under any of its names."""

    kind: ClassVar[str]

    target: str = Field(alias="_target_")

    @field_validator("target")
    @classmethod
    def _known(cls, target: str) -> str:
        if KINDS.get(target) != cls.kind:
            raise ValueError(f"no {cls.kind} that is known here")
        return target


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


class _Predictor(_Class):
    kind: ClassVar[str] = "Predictor"

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


class _ActionEncoder(_Class):
    kind: ClassVar[str] = "Embedder"

    input_dim: Integer = 10
    smoothed_dim: Integer = 10
    emb_dim: Integer = 10
    mlp_scale: Integer = 4


class _BatchNorm(Section):
    target: Literal["torch.nn.BatchNorm1d", "torch.nn.modules.batchnorm.BatchNorm1d"] = Field(alias="_target_")
    partial: Literal[True] = Field(alias="_partial_")


class _Projector(_Class):
    kind: ClassVar[str] = "MLP"

    input_dim: Integer
    output_dim: Integer | None = None
    hidden_dim: Integer
    norm_fn: _BatchNorm

    @property
    def output(self) -> int:
        return self.output_dim or self.input_dim


class _Model(_Class):
    kind: ClassVar[str] = MODEL

    encoder: _Encoder
    predictor: _Predictor
    action_encoder: _ActionEncoder
    projector: _Projector
    pred_proj: _Projector
    embed_dim: Integer | None = None
    history_size: Integer | None = None

    def ours(self) -> ModelConfig:
        """The configuration of our model; `ModelConfig.build` raises UsageError for one that cannot be."""
        encoder, actions, predictor = self.encoder, self.action_encoder, self.predictor
        size = VIT_SIZES[encoder.size]
        tree = {
            "image_size": encoder.image_size,
            "latent": self.projector.output,
            "history": predictor.num_frames,
            "encoder": {
                "patch_size": encoder.patch_size,
                "width": encoder.hidden_size or size["hidden_size"],
                "depth": encoder.num_hidden_layers or size["num_hidden_layers"],
                "heads": encoder.num_attention_heads or size["num_attention_heads"],
                "mlp": encoder.intermediate_size or size["intermediate_size"],
            },
            "projector": {"hidden": self.projector.hidden_dim},
            "action_encoder": {"smoothed": actions.smoothed_dim, "expansion": actions.mlp_scale},
            "predictor": {
                "width": None if predictor.hidden_dim == predictor.input_dim else predictor.hidden_dim,
                "depth": predictor.depth,
                "heads": predictor.heads,
                "head_dim": predictor.dim_head,
                "mlp": predictor.mlp_dim,
                "dropout": predictor.dropout,
                "embedding_dropout": predictor.emb_dropout,
            },
        }
        return ModelConfig.build(tree, "config.json")

    def contradiction(self, width: int) -> str | None:
        """Name two values that must be equal and are not, in words; `width` is that of the encoder."""
        latent = "projector.output_dim", self.projector.output
        frames = "predictor.num_frames", self.predictor.num_frames
        hidden = "projector.hidden_dim", self.projector.hidden_dim
        pairs = [
            ("projector.input_dim", self.projector.input_dim, ("the width of the encoder", width)),
            ("predictor.input_dim", self.predictor.input_dim, latent),
            ("predictor.output_dim", self.predictor.output_dim or self.predictor.input_dim, latent),
            ("action_encoder.emb_dim", self.action_encoder.emb_dim, latent),
            ("pred_proj.input_dim", self.pred_proj.input_dim, latent),
            ("pred_proj.output_dim", self.pred_proj.output, latent),
            ("pred_proj.hidden_dim", self.pred_proj.hidden_dim, hidden),
            ("embed_dim", self.embed_dim or latent[1], latent),
            ("history_size", self.history_size or frames[1], frames),
        ]
        for name, value, (other, expected) in pairs:
            if value != expected:
                return f"{name} is {value}, but {other} is {expected}"
        return None


def read_config_json(path: Path) -> ModelSpec:
    """Read the model that a config.json describes; its own class says the method, whatever its parts are taken from."""
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise RefusalError(f"{path.name} is far too long for the configuration of a model")
    try:
        written = _Model.model_validate(
            json.loads(decode_text(content, path, "a JSON file"), object_pairs_hook=_unique)
        )
    except ValidationError as error:
        raise RefusalError(_explain(path, error)) from error
    except (ValueError, RecursionError) as error:
        kind = look_at(content[:HEAD])
        raise RefusalError(f"{path.name} is no JSON: {mistaken(path, kind, 'the sizes of a model')}") from error
    ours = written.ours()
    if contradiction := written.contradiction(ours.encoder.width):
        raise RefusalError(f"{path.name} contradicts itself: {contradiction}")
    return ModelSpec(ours, written.action_encoder.input_dim, TRAINED_BY[written.target])


def config_tree(config: ModelConfig, block_dim: int, method: str = DEFAULT) -> dict[str, Any]:
    """The content of the config.json that describes a model; raises LewmError if stable_worldmodel has no such one.

    A method for which stable_worldmodel has no class gets that of LeWM: the network is the same.
    """
    model = STABLE_WORLDMODEL.get(method, STABLE_WORLDMODEL[DEFAULT])
    parts = home_of_parts(model)
    encoder, actions, predictor, latent = config.encoder, config.action_encoder, config.predictor, config.latent
    width = predictor.width or latent
    if predictor.heads == 1 and predictor.head_dim == width:
        raise LewmError(
            f"stable_worldmodel leaves out the output projection of attention with one head as wide as its tokens "
            f"(predictor.heads 1, predictor.head_dim {width}), so it cannot hold these weights; "
            "--to object keeps the module of lewm"
        )
    settings = {
        "hidden_size": encoder.width,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.heads,
        "intermediate_size": encoder.mlp,
    }
    size = next((name for name, known in VIT_SIZES.items() if known == settings), "tiny")
    mlp = {
        "_target_": f"{parts}.MLP",
        "output_dim": latent,
        "hidden_dim": config.projector.hidden,
        "norm_fn": {"_target_": BATCH_NORM, "_partial_": True},
    }
    tree = {
        "_target_": model,
        "encoder": {
            "_target_": VIT,
            "size": size,
            "patch_size": encoder.patch_size,
            "image_size": config.image_size,
            "pretrained": False,
            "use_mask_token": False,
            **{key: value for key, value in settings.items() if VIT_SIZES[size][key] != value},
        },
        "predictor": {
            "_target_": f"{parts}.Predictor",
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
            "_target_": f"{parts}.Embedder",
            "input_dim": block_dim,
            "smoothed_dim": actions.smoothed,
            "emb_dim": latent,
            "mlp_scale": actions.expansion,
        },
        "projector": {**mlp, "input_dim": encoder.width},
        "pred_proj": {**mlp, "input_dim": latent},
    }
    return _Model.model_validate(tree).model_dump(by_alias=True, exclude_none=True)  # what is written can be read


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for key, times in Counter(key for key, _ in pairs).items():
        if times > 1:
            raise RefusalError(f"config.json gives {printable(key)} twice")
    return dict(pairs)


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
        return (
            f"{path.name}: {key} is {value}, which is no part of LeWM or PLDM that is known here; it was not imported"
        )
    problem = first["msg"][0].lower() + first["msg"][1:]
    return f"{path.name}: {key} is {value}: {problem}"
