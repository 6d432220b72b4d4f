"""Results as trees of plain values, for --json."""

from dataclasses import asdict
from typing import Any

from pydantic_core import to_jsonable_python

from lewm_cli.data import Dataset
from lewm_cli.evaluate import EvalResult
from lewm_cli.probe import ProbeResult
from lewm_cli.store import Inventory
from lewm_cli.surprise import PerturbationResult, SurpriseResult
from lewm_cli.train import RunDetails

Tree = dict[str, Any]


def dataset_tree(dataset: Dataset) -> Tree:
    """A recording: where, whose, how long, what it holds."""
    return {
        "name": dataset.name,
        "path": str(dataset.path),
        "bytes": dataset.path.stat().st_size,
        "task": dataset.task,
        "policy": dataset.policy,
        "seed": dataset.seed,
        "episodes": dataset.episodes,
        "rows": dataset.rows,
        "shortest": int(dataset.lengths.min()),
        "longest": int(dataset.lengths.max()),
        "fingerprint": dataset.identity.fingerprint,
        "columns": [asdict(column) for column in dataset.columns],
    }


def inventory_tree(inventory: Inventory) -> Tree:
    """All datasets and runs; `problem` says why one cannot be used."""
    return {
        "datasets": [
            {
                "name": entry.name,
                "path": str(entry.path),
                "bytes": entry.size,
                "task": entry.task,
                "episodes": entry.dataset.episodes if entry.dataset else None,
                "rows": entry.dataset.rows if entry.dataset else None,
                "problem": entry.problem,
            }
            for entry in inventory.datasets
        ],
        "runs": [
            {
                "name": run.name,
                "path": str(run.path),
                "bytes": run.size,
                "modified": run.modified.isoformat(timespec="seconds"),
                "kind": run.kind,
                "task": run.inputs.task if run.inputs else None,
                "step": run.card.provenance.step if run.card and run.card.provenance else None,
                "needs_statistics": not run.problem and not run.inputs,
                "problem": run.problem,
            }
            for run in inventory.runs
        ],
    }


def details_tree(details: Dataset | RunDetails) -> Tree:
    """A dataset or a run in detail."""
    if isinstance(details, Dataset):
        return dataset_tree(details)
    tree = {
        "name": details.name,
        "path": str(details.files.weights),
        "tensors": details.tensors,
        "source": details.source,
        "model": details.model,
        "card": details.card,
        "components": details.components,
        "held_out": details.held_out,
        "stopped": details.files.stopped,
        "unreadable": details.results.unreadable,
        "heads": [
            {"kind": head.kind, "path": head.path, "problem": head.problem, "fit": head.fit} for head in details.heads
        ],
        "evaluations": details.results.of(EvalResult),
        "probes": details.results.of(ProbeResult),
        "surprises": details.results.of(SurpriseResult),
        "perturbations": details.results.of(PerturbationResult),
    }
    return to_jsonable_python(tree, by_alias=True)
