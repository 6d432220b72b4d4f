"""One dataset or run of the home in detail."""

from dataclasses import dataclass
from pathlib import Path

from lewm_cli.config import NetworkConfig
from lewm_cli.data import Dataset
from lewm_cli.heads import HeadFit
from lewm_cli.methods import RunCard
from lewm_cli.model import ComponentProfile
from lewm_cli.store import RunFiles, StoredResults
from lewm_cli.train import HeldOut


@dataclass(frozen=True)
class DatasetDetails:
    """A recording."""

    dataset: Dataset


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
