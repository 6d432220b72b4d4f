"""Heads on disk: `<run>.run/<kind>.safetensors`, beside the weights whose latents they were fitted to."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from lewm_cli.errors import LewmError, MissingError
from lewm_cli.files import atomic_path, locked, remove_stale_parts
from lewm_cli.model import PositionHead, ReachHead
from lewm_cli.store.head_fit import HeadFit, HeadKind, ProbeFit, ReachFit
from lewm_cli.store.run_files import HEADER, RunFiles
from lewm_cli.store.runs import Run, weights_digest

FITS: dict[HeadKind, type[ReachFit] | type[ProbeFit]] = {"reach": ReachFit, "probe": ProbeFit}
"""What the header of each kind of file holds."""

HEAD_KINDS: tuple[HeadKind, ...] = ("reach", "probe")

ONLY, SHUFFLED = "head", "shuffled"
"""What the heads of a file are called: the one that learned, and its control."""


@dataclass(frozen=True)
class StoredHead:
    """A file of heads, loaded strictly.

    Args:
        fit: how they were fitted.
        path: of the file.
        heads: in eval mode, on the CPU.
        sha256: of the file.
    """

    fit: ReachFit | ProbeFit
    path: Path
    heads: nn.ModuleDict
    sha256: str


def fit_command(name: str, kind: HeadKind) -> str:
    """What to type for a head of a run."""
    return f"lewm fit-cost {quote(name)}" + ("" if kind == "reach" else f" --kind {kind}")


def find_head(run: Run, kind: HeadKind) -> StoredHead:
    """The head of a run, which was fitted to the latents of its present weights.

    Raises:
        MissingError: it has none.
        LewmError: its file is damaged, or it was fitted to other weights.
    """
    again = fit_command(run.name, kind)
    path = next((path for path in head_paths(run.places, kind) if path.exists()), None)
    if path is None:
        raise MissingError(f"{run.name} has no {kind} head to plan with; fit one to its latents: {again}")
    stored = read_head(path, kind, again)
    if stored.fit.weights_sha256 != run.sha256:
        raise LewmError(f"the {kind} head of {run.name} was fitted to other weights than it has now; fit it: {again}")
    return stored


def head_paths(places: Sequence[RunFiles], kind: HeadKind) -> tuple[Path, ...]:
    """Where a head of a run may lie."""
    return tuple(dict.fromkeys(files.head(kind) for files in places))


def save_head(run: Run, heads: nn.ModuleDict, fit: HeadFit) -> Path:
    """Write heads where notes on the run are kept, in one step and under the run's lock.

    Returns:
        the file.

    Raises:
        LewmError: another process writes the run, its weights have changed since the heads were fitted, the disk is
            full, or the folder cannot be written.
    """
    path, guard = run.places[0].head(fit.kind), (run.notes or run.files).weights
    state = {key: value.detach().cpu().contiguous() for key, value in heads.state_dict().items()}
    with locked(guard, f"another process is writing {run.name!r}; wait for its end, and fit the head again"):
        if not run.files.weights.exists() or weights_digest(run.files.weights) != run.sha256:
            raise LewmError(
                f"the weights of {run.name} have changed while its head was fitted, so it is of no use; fit another: "
                f"{fit_command(run.name, fit.kind)}"
            )
        remove_stale_parts(path)
        with atomic_path(path) as part:
            try:
                save_file(state, part, metadata={"format": "pt", HEADER: fit.model_dump_json()})
            except SafetensorError as error:
                raise OSError(f"{error}") from error  # it wraps what the system says into a text of its own
    return path


def read_head(path: Path, kind: HeadKind, again: str) -> StoredHead:
    """Read a file of heads strictly: exactly the tensors that its header speaks of, all of them finite.

    Args:
        path: the file.
        kind: what it should hold.
        again: the command that fits it again.

    Raises:
        LewmError: it is damaged, of another kind, or not of this version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            fit = FITS[kind].model_validate_json((file.metadata() or {})[HEADER])
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dictionary)
        heads = _empty(fit)
        heads.load_state_dict(state, strict=True)
    except (SafetensorError, OSError, KeyError, ValidationError, json.JSONDecodeError, RuntimeError) as error:
        what = str(error).partition("\n")[0]
        raise LewmError(f"{path} holds no {kind} head that can be read ({what}); fit it again: {again}") from error
    endless = [key for key, value in state.items() if not torch.isfinite(value).all()]
    if endless:
        raise LewmError(f"{path} holds numbers that are not finite, first {endless[0]!r}; fit it again: {again}")
    return StoredHead(fit, path, heads.eval().requires_grad_(False), weights_digest(path))


def _empty(fit: ReachFit | ProbeFit) -> nn.ModuleDict:
    """Heads of the sizes that a header speaks of."""
    if isinstance(fit, ReachFit):
        return nn.ModuleDict({name: ReachHead(fit.latent, fit.classes, fit.hidden) for name in (ONLY, SHUFFLED)})
    return nn.ModuleDict({ONLY: PositionHead(fit.latent, len(fit.positions), fit.hidden)})
