"""Reads what is derived from a run's weights, without running anything of it."""

import zipfile
from pathlib import Path

import torch
from torch import Tensor

from lewm_cli.errors import LewmError
from lewm_cli.methods import Method, RunCard
from lewm_cli.store.formats import read_checkpoint
from lewm_cli.store.keys import released_key
from lewm_cli.store.run_files import RunFiles


def read_state_dict(files: RunFiles, card: RunCard) -> dict[str, Tensor]:
    """The tensors of `<run>_weight.ckpt`, by our names.

    Raises:
        LewmError: the file is damaged, or is no state dict of this run's sizes under the released names.
    """
    renamed = any(released_key(key) != key for key in _blank(card).state_dict())
    return _read(files.state_dict, card, f"state dict (transformers {4 if renamed else 5} names")


def read_object(files: RunFiles, card: RunCard) -> dict[str, Tensor]:
    """The tensors of `<run>_object.ckpt`, by our names; the module is not built.

    Raises:
        LewmError: the file is damaged, or is no object checkpoint of ours of this run's sizes.
    """
    return _read(files.object, card, "object checkpoint (lewm")


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


def _read(path: Path, card: RunCard, expected: str) -> dict[str, Tensor]:
    check_sums(path)
    found = read_checkpoint(path, _blank(card))
    if not found.source.startswith(expected):
        raise LewmError(f"{path.name} holds something else than lewm writes: {found.source}")
    return found.state


def _blank(card: RunCard) -> Method:
    with torch.device("meta"):
        return card.new_model()
