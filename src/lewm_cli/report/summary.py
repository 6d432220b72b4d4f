"""The headline numbers of a run, as a table and as a tree."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table

from lewm_cli.report.run_report import RunReport


@dataclass(frozen=True)
class _Line:
    what: str
    value: str
    beside: str


def report_tables(report: RunReport) -> list[RenderableType]:
    """What was measured, each number with its interval and what stands beside it."""
    table = Table(title=report.name, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("measured", "value", "beside it"):
        table.add_column(heading, overflow="fold")
    for line in _lines(report):
        table.add_row(line.what, line.value, line.beside)
    return [table]


def report_tree(report: RunReport, path: Path) -> dict[str, Any]:
    """The same for programs, and where the page is."""
    return {
        "run": report.name,
        "report": str(path),
        "measured": [{"what": line.what, "value": line.value, "beside": line.beside} for line in _lines(report)],
    }


def _lines(report: RunReport) -> list[_Line]:
    return [*_training(report), *_planning(report), *_probing(report), *_surprise(report)]


def _training(report: RunReport) -> list[_Line]:
    if not report.history.held_out:
        return []
    last = report.history.held_out[-1].held_out
    ratio = f"{last.prediction / last.copying:.1%} of copying the last latent" if last.copying else ""
    return [
        _Line("held-out prediction error", f"{last.prediction:.4f}", ratio),
        _Line("latent std per dimension", f"{last.std:.2f}", "healthy near 1, collapsed near 0"),
    ]


def _planning(report: RunReport) -> list[_Line]:
    if not report.evaluation:
        return []
    groups = (report.evaluation.overall, *report.evaluation.groups)
    return [_Line(f"success, {group.name}", str(group.success), f"random policy {group.random}") for group in groups]


def _probing(report: RunReport) -> list[_Line]:
    return [
        _Line(
            f"MLP probe R2, {target.name}",
            str(target.mlp["model"]),
            f"untrained {target.mlp['untrained'].r2:.2f}, pixel PCA {target.mlp['pixels'].r2:.2f}, "
            f"linear {target.linear['model'].r2:.2f}",
        )
        for target in (report.probe.targets if report.probe else ())
    ]


def _surprise(report: RunReport) -> list[_Line]:
    return [
        _Line(
            f"surprise at {result.perturbation}",
            f"{result.scores['model']} x",
            f"p {result.scores['model'].t_test:.0e}, pixel step {result.scores['pixels'].ratio:.2g} x",
        )
        for result in report.perturbations
    ]
