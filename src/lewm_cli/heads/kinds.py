"""The table of all kinds of heads, and heads that lie beside their run: saved, and read back strictly."""

from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import nn

from lewm_cli.config import unreadable
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.heads.decoder import DecoderFit
from lewm_cli.heads.head_fit import HeadFit
from lewm_cli.heads.position import ProbeFit
from lewm_cli.heads.prior import PriorFit
from lewm_cli.heads.reach import ReachFit
from lewm_cli.store import Run, head_paths, load_head, weights_digest, write_head
from lewm_cli.suggestion import command

KINDS: dict[str, type[HeadFit]] = {"reach": ReachFit, "prior": PriorFit, "probe": ProbeFit, "decoder": DecoderFit}
"""Every kind of head by its name. A new one is a module beside this one, and an entry here."""


@dataclass(frozen=True)
class StoredHead:
    """A head that was read from its file: networks in eval mode on the CPU, and how they were fitted."""

    fit: HeadFit
    path: Path
    networks: nn.ModuleDict
    sha256: str


def fit_command(name: str, kind: str) -> str:
    """The command that fits a head to the latents of a run."""
    return command("fit", name, *(() if kind == "reach" else ("--kind", kind)))


def find_head(run: Run, kind: str) -> StoredHead:
    """Reads the head that was fitted to the latents of a run's present weights.

    Raises:
        MissingError: there is none.
        LewmError: its file is damaged, or it was fitted to other weights.
    """
    again = fit_command(run.name, kind)
    path = next((path for path in head_paths(run.places, kind) if path.exists()), None)
    if path is None:
        raise MissingError(f"{run.name} has no {kind} head; fit one to its latents: {again}")
    stored = read_head(path, kind, again)
    if stored.fit.weights_sha256 != run.sha256:
        raise LewmError(f"the {kind} head of {run.name} was fitted to other weights than it has now; fit it: {again}")
    return stored


def read_head(path: Path, kind: str, again: str) -> StoredHead:
    """Reads a head strictly: exactly the tensors that its header names, all of them finite.

    Raises:
        LewmError: it is damaged, of another kind, or not of this version.
    """
    try:
        header, tensors = load_head(path)
        fit = KINDS[kind].model_validate_json(header)
        networks = fit.networks()
        networks.load_state_dict(tensors, strict=True)
    except (OSError, SafetensorError, KeyError, ValidationError, RuntimeError) as error:
        # That of torch lists every tensor.
        reason = "its tensors are others" if isinstance(error, RuntimeError) else unreadable(error)
        raise LewmError(
            f"{path} holds no {kind} head that can be read by this version ({reason}); fit it again: {again}"
        ) from error
    endless = [key for key, value in tensors.items() if not torch.isfinite(value).all()]
    if endless:
        raise LewmError(f"{path} holds numbers that are not finite, first {endless[0]!r}; fit it again: {again}")
    return StoredHead(fit, path, networks.eval().requires_grad_(False), weights_digest(path))


def save_head(run: Run, networks: nn.ModuleDict, fit: HeadFit) -> Path:
    """Writes a head beside its run, or where notes on the run are kept, as `write_head` does; the path of the file."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in networks.state_dict().items()}
    return write_head(run, fit.kind, tensors, fit.model_dump_json(), again=fit_command(run.name, fit.kind))
