"""What is derived from a run's weights, read again without running anything of it."""

import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lewm_cli.errors import LewmError
from lewm_cli.store.keys import released_key
from lewm_cli.store.objects import restore_model
from lewm_cli.store.run_files import RunFiles


@dataclass(frozen=True)
class ObjectCheckpoint:
    """What `<run>_object.ckpt` calls `restore_model` with.

    Args:
        config_json: `ModelConfig` as JSON.
        block_dim: width of an action block.
        state: state dict of the module.
    """

    config_json: str
    block_dim: int
    state: dict[str, Tensor]


def read_state_dict(files: RunFiles) -> dict[str, Tensor]:
    """The tensors of `<run>_weight.ckpt`, under the names of the released weights.

    Raises:
        LewmError: the file is damaged, or holds something else.
    """
    return _tensors(files.state_dict, _read(files.state_dict))


def read_object(files: RunFiles) -> ObjectCheckpoint:
    """What `<run>_object.ckpt` holds; the module is not built, and nothing that the pickle names is called.

    Raises:
        LewmError: the file is damaged, or no object checkpoint of ours.
    """
    # Where the pickle names restore_model, its arguments are kept instead.
    name = f"{restore_model.__module__}.{restore_model.__qualname__}"
    found = _read(files.object, (ObjectCheckpoint, name))
    if not isinstance(found, ObjectCheckpoint):
        raise LewmError(f"{files.object.name} is no object checkpoint of lewm")
    _tensors(files.object, found.state)
    return found


def renamed_as_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict under the names of the released weights."""
    return {released_key(key): value for key, value in state.items()}


def check_sums(path: Path) -> None:
    """Compare a file that torch.save wrote with the checksums in it.

    Raises:
        LewmError: it is damaged, cut short or of another kind.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    # Damage can make any of these out of a zip archive.
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise LewmError(f"{path.name} is damaged or cut short ({error})") from error
    if wrong:
        raise LewmError(f"{path.name} is damaged: {wrong} does not have its checksum")


def _read(path: Path, *allowed: Any) -> Any:
    check_sums(path)
    try:
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        EOFError,
    ) as error:
        raise LewmError(f"{path.name} holds something else than lewm writes") from error


def _tensors(path: Path, state: Any) -> dict[str, Tensor]:
    named = isinstance(state, dict) and all(isinstance(key, str) for key in state)
    if not named or not all(isinstance(value, Tensor) for value in state.values()):
        raise LewmError(f"{path.name} holds something else than a state dict")
    tensors: dict[str, Tensor] = state
    return tensors
