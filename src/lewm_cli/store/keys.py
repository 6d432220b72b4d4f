"""Parameter names of the ViT changed between transformers 4, which the released weights use, and 5, which we use."""

import re
from collections.abc import Collection

from lewm_cli.errors import LewmError

_PARTS = {
    "attention.q_proj": "attention.attention.query",
    "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
_THEIR_PARTS = {theirs: ours for ours, theirs in _PARTS.items()}

_DINOV2_PARTS = {"norm1": "layernorm_before", "norm2": "layernorm_after"}

_OURS = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(\w+)")
_THEIRS = re.compile(r"encoder\.encoder\.layer\.(\d+)\.(.+)\.(\w+)")
_BLOCK = re.compile(r"(?:encoder\.layer|layers)\.(\d+)\.(.+)\.(\w+)")


def released_key(key: str) -> str:
    """Our name of a tensor to the one it has in the released weights; only names under `encoder.` differ."""
    if match := _OURS.fullmatch(key):
        layer, part, tensor = match.groups()
        return f"encoder.encoder.layer.{layer}.{_PARTS.get(part, part)}.{tensor}"
    return key


def our_key(key: str) -> str:
    """The name that a tensor has in the released weights to ours; `released_key` backward."""
    if match := _THEIRS.fullmatch(key):
        layer, part, tensor = match.groups()
        return f"encoder.layers.{layer}.{_THEIR_PARTS.get(part, part)}.{tensor}"
    return key


def backbone_key(key: str) -> str:
    """The name of a tensor in a ViT or DINOv2 alone, of either generation, to that in our `VisionTransformer`."""
    if match := _BLOCK.fullmatch(key):
        layer, part, tensor = match.groups()
        return f"layers.{layer}.{(_THEIR_PARTS | _DINOV2_PARTS).get(part, part)}.{tensor}"
    return key


def transformers_generation(keys: Collection[str]) -> int:
    """The major version of transformers whose names these are, 4 or 5; 5 without ViT layers; LewmError for both."""
    fourth = next((key for key in keys if key.startswith("encoder.encoder.layer.")), None)
    fifth = next((key for key in keys if key.startswith("encoder.layers.")), None)
    if fourth and fifth:
        raise LewmError(
            f"it mixes the names of transformers 4 ({fourth!r}) and 5 ({fifth!r}), "
            "and which weights are meant cannot be told"
        )
    return 4 if fourth else 5
