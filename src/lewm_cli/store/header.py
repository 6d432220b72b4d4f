"""The header of a run's weight file, read without torch."""

from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from lewm_cli.errors import LewmError
from lewm_cli.file_kind import FileKind, look, mistaken
from lewm_cli.methods import RunCard
from lewm_cli.store.run_files import HEADER
from lewm_cli.system_errors import explain


def read_card(path: Path) -> RunCard:
    """The card in the header of a weight file; raises LewmError if it is damaged or has none."""
    try:
        with safe_open(path, framework="numpy") as file:
            return RunCard.model_validate_json((file.metadata() or {})[HEADER])
    except (SafetensorError, OSError) as error:
        raise damaged(path, error) from error
    except (KeyError, ValidationError) as error:
        raise LewmError(
            f"{path} carries no usable lewm header, so its sizes and normalization are unknown; "
            "it was not written by this version of lewm"
        ) from error


def damaged(path: Path, error: Exception) -> LewmError:
    """Returns the error of a weight file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return explain(error, path, "read")
    kind = look(path) if path.is_file() else None
    if kind not in (None, FileKind.SAFETENSORS, FileKind.UNKNOWN):
        return LewmError(f"{path}: {mistaken(path, kind, 'weights')}")
    return LewmError(f"{path} is damaged or not a safetensors file ({error}); train or fetch it again")
