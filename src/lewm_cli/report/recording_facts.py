"""A recording, as a table for a person and a tree for programs."""

from dataclasses import asdict

from rich.console import RenderableType
from rich.filesize import decimal

from lewm_cli.data import Dataset
from lewm_cli.plural import counted
from lewm_cli.report.numbers import number
from lewm_cli.report.pieces import Tree, facts_table


def dataset_tables(dataset: Dataset) -> list[RenderableType]:
    """A recording: where, whose, how long, what it holds."""
    facts, lengths = facts_table(dataset.name), dataset.lengths
    facts.add_row("file", f"{dataset.path} ({decimal(dataset.path.stat().st_size)})")
    spread = f"{lengths.min()} to {lengths.max()} rows, mean {lengths.mean():.1f}"
    facts.add_row("episodes", f"{dataset.episodes:,}, {spread}")
    facts.add_row("rows", f"{dataset.rows:,}")
    facts.add_row("task", dataset.task or "not named in the file")
    if dataset.policy:
        facts.add_row("policy", dataset.policy)
    if dataset.seed is not None:
        facts.add_row("seed", str(dataset.seed))
    if dataset.varies:
        facts.add_row("varies", f"{dataset.varies}, from episode to episode")
    if dataset.fps:
        facts.add_row("rows per second", number(dataset.fps))
    if origin := dataset.imported:
        facts.add_row("imported from", f"{origin.source} ({origin.kind}), {counted(origin.files, 'file')}")
        facts.add_row("SHA-256", origin.sha256)
        facts.add_row("camera", f"{origin.camera}: {origin.framing}")
        if origin.action_names:
            facts.add_row("actions", ", ".join(origin.action_names))
        facts.add_row("command", origin.command)
    for note in dataset.notes:
        facts.add_row("note", note)
    for column in dataset.columns:
        shape = " x ".join(str(side) for side in column.shape) or "scalar"
        facts.add_row(f"column {column.name}", f"{shape}, {column.dtype}")
    return [facts]


def dataset_tree(dataset: Dataset) -> Tree:
    """The same for programs, and its fingerprint."""
    names = ("name", "path", "task", "policy", "seed", "varies", "episodes", "rows")
    return {name: getattr(dataset, name) for name in names} | {
        "bytes": dataset.path.stat().st_size,
        "shortest": int(dataset.lengths.min()),
        "longest": int(dataset.lengths.max()),
        "fingerprint": dataset.identity.fingerprint,
        "columns": [asdict(column) for column in dataset.columns],
        "notes": dataset.notes,
        "fps": dataset.fps,
        "imported": dataset.imported and dataset.imported.model_dump(mode="json"),
    }
