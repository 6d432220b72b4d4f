"""Reads an image encoder from a folder that transformers' `save_pretrained` wrote, without transformers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, TypeAdapter, ValidationError
from torch import Tensor

from lewm_cli.config import FrozenEncoderConfig
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.model import FrozenEncoder
from lewm_cli.store.formats.contents import read_contents
from lewm_cli.store.formats.model_spec import DEEPEST, LARGEST
from lewm_cli.store.formats.refused import RefusalError, printable, printable_value
from lewm_cli.store.formats.state import NamedTensors, fit, read_state
from lewm_cli.store.keys import backbone_key
from lewm_cli.system_errors import explain
from lewm_cli.text_file import read_text

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Files of the weights, as transformers names them: the first that is there is read."""

UNREAD = ("embeddings.mask_token", "pooler.", "classifier.")
"""Tensors that no patch token depends on."""

Size = Annotated[PositiveInt, Field(strict=True, le=LARGEST)]


class _Transformer(BaseModel):
    """Settings of both kinds; one that a file leaves out is as transformers has it by default."""

    model_type: str
    patch_size: Size
    image_size: Size
    hidden_size: Size
    num_hidden_layers: Annotated[Size, Field(le=DEEPEST)]
    num_attention_heads: Size
    hidden_act: Literal["gelu"] = "gelu"
    num_channels: Literal[3] = 3
    qkv_bias: Literal[True] = True


class _DINOv2(_Transformer):
    model_type: Literal["dinov2"]
    mlp_ratio: Annotated[PositiveInt, Field(le=LARGEST)] = 4
    layer_norm_eps: PositiveFloat = 1e-6
    use_swiglu_ffn: Literal[False] = False

    @property
    def mlp(self) -> int:
        return self.hidden_size * self.mlp_ratio


class _ViT(_Transformer):
    model_type: Literal["vit"]
    intermediate_size: Size
    layer_norm_eps: PositiveFloat = 1e-12

    @property
    def mlp(self) -> int:
        return self.intermediate_size


_KINDS: TypeAdapter[_DINOv2 | _ViT] = TypeAdapter(Annotated[_DINOv2 | _ViT, Field(discriminator="model_type")])


@dataclass(frozen=True)
class Pretrained:
    """An encoder in a folder.

    Args:
        config: its sizes; it does not say where they are from.
        image_size: side of the frames that it was trained on, pixels.
        state: of a `VisionTransformer`, float32.
        weights: the file that they were in.
    """

    config: FrozenEncoderConfig
    image_size: int
    state: dict[str, Tensor]
    weights: Path


def is_pretrained(folder: Path) -> bool:
    """Tell whether a folder has the configuration of a model of transformers."""
    try:
        return '"model_type"' in read_text(folder / CONFIG, "a JSON file")
    except (LewmError, OSError):
        return False


def read_pretrained(folder: Path) -> Pretrained:
    """Read a DINOv2 or ViT that transformers 4 or 5 saved, whatever head it has, without running anything of it.

    Raises:
        LewmError: in one sentence: it has no configuration, no weights, another architecture, other sizes than its
            weights, or is damaged.
    """
    config, image_size = _sizes(folder / CONFIG)
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise LewmError(f"{folder} holds no weights ({' or '.join(WEIGHTS)}); copy them there beside its {CONFIG}")
    try:
        contents = read_contents(path)
        # Classifiers have the encoder in a part called like its kind.
        found = {name.removeprefix("dinov2.").removeprefix("vit."): entry for name, entry in contents.tensors.items()}
        wanted = {backbone_key(name): entry for name, entry in found.items() if not name.startswith(UNREAD)}
        named = NamedTensors(wanted, generation=5)
        with torch.device("meta"):
            blank = FrozenEncoder(config, image_size).backbone
        if problems := fit(named, blank).problems:
            raise RefusalError(f"it does not hold the encoder that its {CONFIG} describes: {problems}")
        contents.check_bytes(wanted.values())
        state = read_state(named, blank)
    except RefusalError as error:
        raise LewmError(f"{path}: {error}") from error
    except OSError as error:
        raise explain(error, path, "read") from error
    return Pretrained(config, image_size, state, path)


def _sizes(path: Path) -> tuple[FrozenEncoderConfig, int]:
    try:
        theirs = _KINDS.validate_json(read_text(path, "a JSON file"))
    except FileNotFoundError as error:
        raise LewmError(
            f"{path.parent} is no encoder of transformers, for it holds no {CONFIG}; name a folder that "
            "save_pretrained wrote"
        ) from error
    except OSError as error:
        raise explain(error, path, "read") from error
    except ValidationError as error:
        raise LewmError(f"{path}: {_explain(error)}") from error
    if theirs.image_size % theirs.patch_size:
        raise LewmError(f"{path} contradicts itself: image_size {theirs.image_size} holds no whole number of patches")
    dinov2 = isinstance(theirs, _DINOv2)
    tree = {
        "patch_size": theirs.patch_size,
        "width": theirs.hidden_size,
        "depth": theirs.num_hidden_layers,
        "heads": theirs.num_attention_heads,
        "mlp": theirs.mlp,
        "epsilon": theirs.layer_norm_eps,
        "layer_scale": dinov2,
        "grid": theirs.image_size // theirs.patch_size if dinov2 else None,
    }
    try:
        return FrozenEncoderConfig.build(tree, CONFIG), theirs.image_size
    except UsageError as error:
        raise LewmError(f"{path}: {error}") from error


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(printable(str(part)) for part in first["loc"][-1:])
    match first["type"]:
        case "json_invalid":
            return "it is no JSON; copy it again"
        case "missing":
            return f"it lacks {key}; copy it again from where the encoder is published"
        case "union_tag_invalid" | "union_tag_not_found":
            found = first["ctx"].get("tag")
            return f"its model_type is {printable_value(found)}, and of transformers DINOv2 and ViT are read here"
    known = "DINOv2 and ViT with GELU, biases and three channels are read here"
    return f"its {key or 'content'} is {printable_value(first['input'])}, and of transformers {known}"
