"""Encoders that were trained before, in runs and folders; networks on patch tokens take their weights as they are."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lewm_cli.config import FrozenEncoderConfig
from lewm_cli.errors import LewmError
from lewm_cli.model import FrozenEncoder, VisionTransformer
from lewm_cli.store.external import Say, silent
from lewm_cli.store.formats.pretrained import read_pretrained
from lewm_cli.store.home import Home
from lewm_cli.store.load import load_weights
from lewm_cli.store.runs import weights_digest


@dataclass(frozen=True)
class StoredEncoder:
    """A vision transformer with its weights.

    Args:
        config: sizes and origin, the section `model.encoder` of a network that takes it.
        image_size: side of the frames that it sees, pixels; None where any multiple of its patch size will do.
        state: of a `VisionTransformer`, on the CPU.
        trained_on: digests of the episodes that it is known to have been trained on.
    """

    config: FrozenEncoderConfig
    image_size: int | None
    state: dict[str, Tensor]
    trained_on: frozenset[str] = frozenset()


def encoder_of_run(home: Home, name: str, say: Say = silent) -> StoredEncoder:
    """The encoder of a run, whichever tool made it; raises LewmError if it has none with patches, or as `load_weights`.

    One that was frozen there keeps the origin that it has there.
    """
    loaded = load_weights(home, name, say=say)
    trained_on = loaded.card.trained_on if loaded.card else frozenset()
    encoder, sizes = getattr(loaded.model, "encoder", None), getattr(loaded.model.config, "encoder", None)
    origin = {"source": loaded.name, "sha256": loaded.sha256}
    if isinstance(encoder, FrozenEncoder) and isinstance(sizes, FrozenEncoderConfig):
        backbone, config = encoder.backbone, sizes if sizes.source else sizes.model_copy(update=origin)
    elif isinstance(encoder, VisionTransformer) and sizes is not None:
        backbone, config = encoder, FrozenEncoderConfig(**sizes.model_dump(), **origin)
    else:
        raise LewmError(f"{loaded.name} ({loaded.method}) has no vision transformer that could be an encoder here")
    image_size = None if config.grid else loaded.model.config.image_size
    return StoredEncoder(config, image_size, backbone.state_dict(), trained_on)


def encoder_of_folder(folder: Path, source: str) -> StoredEncoder:
    """The encoder in a folder of transformers; raises LewmError as `read_pretrained` does.

    Args:
        source: what the folder goes by.
    """
    found = read_pretrained(folder)
    origin = {"source": source, "sha256": weights_digest(found.weights)}
    config = found.config.model_copy(update=origin)
    return StoredEncoder(config, None if config.grid else found.image_size, found.state)
