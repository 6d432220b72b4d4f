"""Files of heads: `<run>.run/<kind>.safetensors`, beside the weights whose latents they were fitted to."""

from collections.abc import Sequence
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from lewm_cli.errors import LewmError
from lewm_cli.files import locked, remove_stale_parts
from lewm_cli.store.run_files import HEADER, RunFiles
from lewm_cli.store.runs import Run, weights_digest, write_tensors


def head_paths(places: Sequence[RunFiles], kind: str) -> tuple[Path, ...]:
    """Paths at which a head of a run may lie."""
    return tuple(dict.fromkeys(files.head(kind) for files in places))


def load_head(path: Path) -> tuple[str, dict[str, Tensor]]:
    """Reads the header of a head, JSON, and its tensors by name.

    Raises:
        OSError, SafetensorError: the file cannot be read, or is damaged.
        KeyError: it has no such header.
    """
    with safe_open(path, framework="pt") as file:
        header: str = (file.metadata() or {})[HEADER]
        return header, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dictionary)


def write_head(run: Run, kind: str, tensors: dict[str, Tensor], header: str, *, again: str) -> Path:
    """Writes a head in one step and under the run's lock.

    Args:
        header: JSON.
        again: the command that fits it again.

    Returns:
        the file.

    Raises:
        LewmError: another process writes the run, its weights have changed since it was loaded, the disk is full, or
            the folder cannot be written.
    """
    path, guard = run.places[0].head(kind), (run.notes or run.files).weights
    with locked(guard, f"another process is writing {run.name!r}; wait for its end, and fit the head again"):
        if not run.files.weights.exists() or weights_digest(run.files.weights) != run.sha256:
            raise LewmError(
                f"the weights of {run.name} have changed while its head was fitted, so it is of no use; fit another: "
                f"{again}"
            )
        remove_stale_parts(path)
        write_tensors(path, tensors, header)
    return path
