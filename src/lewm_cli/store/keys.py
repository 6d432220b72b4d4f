"""Names of tensors in other tools' files, and ours; those of image encoders changed from transformers 4 to 5."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from lewm_cli.errors import LewmError

_ATTENTION = {
    "attention.q_proj": "attention.attention.query",
    "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense",
}
_MLP = {"mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}
_NORMS = {"layernorm_before": "norm1", "layernorm_after": "norm2"}  # in DINOv2
_OUR_PARTS = {theirs: ours for ours, theirs in (_ATTENTION | _MLP | _NORMS).items()}

_BLOCK = re.compile(r"(?:encoder\.layer|layers)\.(\d+)\.(.+)\.(\w+)")


def backbone_key(key: str) -> str:
    """The name of a tensor in a ViT or DINOv2 alone, of either generation, to that in our `VisionTransformer`."""
    if match := _BLOCK.fullmatch(key):
        layer, part, tensor = match.groups()
        return f"layers.{layer}.{_OUR_PARTS.get(part, part)}.{tensor}"
    return key


@dataclass(frozen=True)
class Generation:
    """The names of an image encoder's blocks in one major version of transformers.

    Args:
        blocks: of the list of them.
        parts: of a block, by our names; the others are called as ours.
        mark: a piece of a name that no other version has.
    """

    blocks: str
    parts: dict[str, str]
    mark: str


@dataclass(frozen=True)
class Naming:
    """The names of a network's tensors elsewhere: all but those of its image encoder are ours.

    Args:
        ours, theirs: names of the encoder.
        generations: of its blocks, by the major version of transformers; the released weights have those of 4.
        unused: a pattern of tensors that nothing is computed with here.
    """

    ours: str
    theirs: str
    generations: dict[int, Generation]
    unused: str = "(?!)"

    def theirs_of(self, key: str, version: int = 4) -> str:
        """Our name of a tensor to the one that it has elsewhere."""
        if not key.startswith(f"{self.ours}."):
            return key
        inside, names = key.removeprefix(f"{self.ours}."), self.generations[version]
        if match := _BLOCK.fullmatch(inside):
            layer, part, tensor = match.groups()
            inside = f"{names.blocks}.{layer}.{names.parts.get(part, part)}.{tensor}"
        return f"{self.theirs}.{inside}"

    def ours_of(self, key: str) -> str:
        """The name that a tensor has elsewhere, of any generation, to ours; `theirs_of` backward."""
        if not key.startswith(f"{self.theirs}."):
            return key
        return f"{self.ours}.{backbone_key(key.removeprefix(f'{self.theirs}.'))}"

    def version(self, keys: Collection[str]) -> int:
        """The major version of transformers whose names these are; the last without blocks; LewmError for two."""
        named = {version: names.mark for version, names in self.generations.items()}
        firsts = {version: next((key for key in keys if mark in key), None) for version, mark in named.items()}
        found = [version for version, first in firsts.items() if first]
        if len(found) > 1:
            said = " and ".join(f"{version} ({firsts[version]!r})" for version in found)
            raise LewmError(f"it mixes the names of transformers {said}, and which weights are meant cannot be told")
        return found[0] if found else max(named)


LEWM_NAMES = Naming(
    "encoder",
    "encoder",
    {
        4: Generation("encoder.layer", _ATTENTION | _MLP, "encoder.encoder.layer."),
        5: Generation("layers", {}, "encoder.layers."),
    },
)
"""LeWM and PLDM, around a ViT."""

DINOWM_NAMES = Naming(
    "encoder.backbone",
    "backbone",
    {
        4: Generation("encoder.layer", _ATTENTION | _NORMS, ".attention.attention."),
        5: Generation("encoder.layer", _NORMS, ".attention.q_proj."),
    },
    unused=r"predictor\.transformer\.layers\.\d+\.0\.bias|backbone\.embeddings\.mask_token",
)
"""DINO-WM, around DINOv2. Its masks are built where they are needed, and no patch is hidden from it."""

released_key, our_key = LEWM_NAMES.theirs_of, LEWM_NAMES.ours_of
