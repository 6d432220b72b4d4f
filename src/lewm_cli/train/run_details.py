"""Collects what is known about a run: sizes, training, heads, results."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lewm_cli.config import NetworkConfig
from lewm_cli.errors import LewmError
from lewm_cli.heads import KINDS, HeadFit, fit_command, read_head
from lewm_cli.methods import RunCard
from lewm_cli.model import ComponentProfile, profile
from lewm_cli.store import Home, LoadedWeights, RunFiles, StoredResults, head_paths
from lewm_cli.train.log import read_log
from lewm_cli.train.monitor import HeldOut


@dataclass(frozen=True)
class HeadDetails:
    """A head that was fitted to a run's latents.

    Args:
        kind: of the head.
        path: its file.
        fit: how it was fitted; None if that cannot be read.
        problem: why plans cannot be judged by it, if they cannot.
    """

    kind: str
    path: Path
    fit: HeadFit | None
    problem: str | None = None


@dataclass(frozen=True)
class RunDetails:
    """A run: sizes, how it was trained, what was measured.

    Args:
        name: run name.
        files: where it lies.
        model: its sizes.
        block_dim: width of an action block.
        card: configuration, normalization, provenance; None if its normalization is not known.
        tensors: loaded strictly.
        source: what the file was, if another tool made it.
        components: parameters and FLOPs.
        held_out: the last measurement during training, if the log has one.
        results: measured on the present weights.
        heads: that were fitted to its latents.
    """

    name: str
    files: RunFiles
    model: NetworkConfig
    block_dim: int
    card: RunCard | None
    tensors: int
    source: str | None
    components: tuple[ComponentProfile, ...]
    held_out: HeldOut | None
    results: StoredResults
    heads: tuple[HeadDetails, ...] = ()


def run_details(home: Home, loaded: LoadedWeights, card: RunCard | None, results: StoredResults) -> RunDetails:
    """Collect the details of a run.

    Args:
        home: where notes on it may lie too.
        loaded: its weights.
        card: of the run; None if its normalization is not known.
        results: measured on these weights.
    """
    measured = read_log(loaded.files.log).held_out
    return RunDetails(
        name=loaded.name,
        files=loaded.files,
        model=loaded.model.config,
        block_dim=loaded.model.block_dim,
        card=card,
        tensors=loaded.tensors,
        source=loaded.source,
        components=profile(loaded.model),
        held_out=measured[-1].held_out if measured else None,
        results=results,
        heads=tuple(_heads(home, loaded)),
    )


def _heads(home: Home, loaded: LoadedWeights) -> Iterator[HeadDetails]:
    """The heads of a run; a problem of one keeps from nothing else."""
    places = (home.sidecar(loaded.name, loaded.files), loaded.files)
    for kind in KINDS:
        for path in filter(Path.exists, head_paths(places, kind)):
            again = fit_command(loaded.name, kind)
            try:
                stored = read_head(path, kind, again)
            except LewmError as error:
                yield HeadDetails(kind, path, None, str(error))
                continue
            older = stored.fit.weights_sha256 != loaded.sha256
            yield HeadDetails(
                kind, path, stored.fit, f"fitted to other weights; fit it again: {again}" if older else None
            )
