"""The headline numbers of a run, as a table and as a tree."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table

from lewm_cli.report.run_report import RunReport
from lewm_cli.statistics import Rate


@dataclass(frozen=True)
class _Line:
    """One number, its interval where it has one, how it is written, and what it is to be compared with."""

    what: str
    value: float
    low: float | None
    high: float | None
    text: str
    beside: str


def report_tables(report: RunReport) -> list[RenderableType]:
    """What was measured, each number with its interval and what stands beside it."""
    table = Table(title=report.name, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("measured", "value", "beside it"):
        table.add_column(heading, overflow="fold")
    for line in _lines(report):
        table.add_row(line.what, line.text, line.beside)
    return [table]


def report_tree(report: RunReport, path: Path) -> dict[str, Any]:
    """The same for programs, and where the page is."""
    return {"run": report.name, "report": str(path), "measured": [asdict(line) for line in _lines(report)]}


def _lines(report: RunReport) -> list[_Line]:
    return [*_training(report), *_planning(report), *_probing(report), *_surprise(report)]


def _training(report: RunReport) -> list[_Line]:
    if not report.history.held_out:
        return []
    last = report.history.held_out[-1].held_out
    ratio = f"{last.prediction / last.copying:.1%} of copying the last latent" if last.copying else ""
    return [
        _Line("held-out prediction", last.prediction, None, None, f"{last.prediction:.4f}", ratio),
        _Line("latent std per dimension", last.std, None, None, f"{last.std:.2f}", "healthy 1, collapsed 0"),
    ]


def _planning(report: RunReport) -> list[_Line]:
    if not report.evaluation:
        return []
    seen = "" if report.evaluation.held_out else "; EPISODES IT MAY HAVE BEEN TRAINED ON"
    lines = []
    for group in (report.evaluation.overall, *report.evaluation.groups):
        beside = f"{group.success.trials} pairs; random {group.random}{seen}"
        lines.append(_rate(f"success, {group.name}", group.success, beside))
        if group.route_valid:
            lines.append(_rate("  clear of walls", group.route_valid, "success on a route that overlaps none"))
    references = report.evaluation.references
    if references:
        for what, one in (("latent cost", references.true_latent), ("true cost", references.true_state)):
            lines.append(_rate(f"true dynamics, {what}", one.success, f"{one.above_run} points above the run"))
    return lines


def _rate(what: str, rate: Rate, beside: str) -> _Line:
    return _Line(what, rate.rate, rate.low, rate.high, str(rate), beside)


def _probing(report: RunReport) -> list[_Line]:
    lines = []
    for target in report.probe.targets if report.probe else ():
        score, untrained, pixels = (target.mlp[feature] for feature in ("model", "untrained", "pixels"))
        beside = f"untrained {untrained.r2:.2f}, pixel PCA {pixels.r2:.2f}"
        lines.append(_Line(f"MLP probe R2, {target.name}", score.r2, score.r2_low, score.r2_high, str(score), beside))
    return lines


def _surprise(report: RunReport) -> list[_Line]:
    lines = []
    for result in report.perturbations:
        score, simple = result.scores["model"], result.scores["pixels"]
        beside = f"p {score.t_test:.0e}, pixel step {simple.ratio:.2g} x"
        what = f"surprise at {result.perturbation}"
        lines.append(_Line(what, score.ratio, score.ratio_low, score.ratio_high, f"{score} x", beside))
    return lines
