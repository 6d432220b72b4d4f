"""The home: all its datasets and runs, as tables for a person and trees for programs."""

from rich.console import RenderableType
from rich.filesize import decimal

from lewm_cli.report.pieces import Tree, framed_table
from lewm_cli.store import Inventory, RunEntry


def inventory_tables(inventory: Inventory) -> list[RenderableType]:
    """All datasets and runs."""
    datasets = framed_table("datasets", "name", "task", "episodes", "rows", "size", "path")
    for entry in inventory.datasets:
        if entry.dataset is None:
            datasets.add_row(entry.name, "unusable", "", "", decimal(entry.size), entry.problem)
        else:
            counts = (f"{entry.dataset.episodes:,}", f"{entry.dataset.rows:,}")
            datasets.add_row(entry.name, entry.task, *counts, decimal(entry.size), str(entry.path))
    runs = framed_table("runs", "name", "task", "step", "trained", "size", "path")
    for run in inventory.runs:
        if run.problem:
            runs.add_row(run.name, "unusable", "", "", decimal(run.size), run.problem)
        else:
            runs.add_row(run.name, *_training(run), decimal(run.size), str(run.path))
    return [datasets, runs]


def inventory_tree(inventory: Inventory) -> Tree:
    """All datasets and runs; `problem` says why one cannot be used."""
    datasets = [
        {
            "name": entry.name,
            "path": entry.path,
            "bytes": entry.size,
            "task": entry.task,
            "episodes": entry.dataset and entry.dataset.episodes,
            "rows": entry.dataset and entry.dataset.rows,
            "problem": entry.problem,
        }
        for entry in inventory.datasets
    ]
    runs = [
        {
            "name": run.name,
            "path": run.path,
            "bytes": run.size,
            "modified": run.modified.isoformat(timespec="seconds"),
            "kind": run.kind,
            "task": run.inputs and run.inputs.task,
            "method": run.method,
            "step": run.card.provenance.step if run.card and run.card.provenance else None,
            "needs_statistics": not run.problem and not run.inputs,
            "problem": run.problem,
        }
        for run in inventory.runs
    ]
    return {"datasets": datasets, "runs": runs}


def _training(run: RunEntry) -> tuple[str, str, str]:
    """Task, step, and by which method and on what it was trained."""
    by = f"by {run.method} " if run.method else ""
    if run.card and run.card.provenance:
        return run.card.inputs.task, f"{run.card.provenance.step:,}", f"{by}on {run.card.provenance.dataset.name}"
    stored = run.card or run.statistics
    if stored is None:
        return "", "", f"{by}elsewhere ({run.kind}); needs --stats-from"
    dataset = run.card.dataset if run.card else run.statistics.dataset
    return stored.inputs.task, "", f"{by}elsewhere ({run.kind}); statistics of {dataset.name}"
