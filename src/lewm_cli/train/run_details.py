"""Collects what is known about a run: sizes, training, heads, results."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lewm_cli.errors import LewmError
from lewm_cli.heads import KINDS, HeadFit, fit_command, read_head
from lewm_cli.model import ComponentProfile, profile
from lewm_cli.store import Home, LoadedWeights, StoredResults, head_paths
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
        run: its weights and metadata.
        components: parameters and FLOPs.
        held_out: the last measurement during training, if the log has one.
        results: measured on the present weights.
        heads: that were fitted to its latents.
    """

    run: LoadedWeights
    components: tuple[ComponentProfile, ...]
    held_out: HeldOut | None
    results: StoredResults
    heads: tuple[HeadDetails, ...]


def run_details(home: Home, run: LoadedWeights, results: StoredResults) -> RunDetails:
    """Collect the details of a run, of which the home may hold files too; the results are those of its weights."""
    measured = read_log(run.files.log).held_out
    held_out = measured[-1].held_out if measured else None
    return RunDetails(run, profile(run.model), held_out, results, tuple(_heads(home, run)))


def _heads(home: Home, run: LoadedWeights) -> Iterator[HeadDetails]:
    """The heads of a run; a problem of one keeps from nothing else."""
    places = (home.sidecar(run.name, run.files), run.files)
    for kind in KINDS:
        for path in filter(Path.exists, head_paths(places, kind)):
            again = fit_command(run.name, kind)
            try:
                stored = read_head(path, kind, again)
            except LewmError as error:
                yield HeadDetails(kind, path, None, str(error))
                continue
            older = stored.fit.weights_sha256 != run.sha256
            yield HeadDetails(
                kind, path, stored.fit, f"fitted to other weights; fit it again: {again}" if older else None
            )
