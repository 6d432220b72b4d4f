"""Rows of one kind for notebooks: a list that pandas and polars take as it is, and that shows itself as a table."""

import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, make_dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from markupsafe import Markup

from lewm_cli.decode import DecodeResult
from lewm_cli.evaluate import EvalResult, ImproveResult
from lewm_cli.latent import LatentResult
from lewm_cli.offline import OfflineResult
from lewm_cli.probe import ProbeResult
from lewm_cli.report.numbers import ahead, number
from lewm_cli.report.summary import (
    Line,
    decode_lines,
    dose_line,
    improved_lines,
    latent_summary,
    offline_lines,
    perturbation_line,
    planning_lines,
    probe_lines,
)
from lewm_cli.store import Measurement, StoredResults
from lewm_cli.surprise import Alarm, DoseResult, PerturbationResult, SurpriseResult, share
from lewm_cli.train import TrainingHistory

Row = TypeVar("Row")

SHOWN = 40
"""Rows that a notebook shows; the table holds all."""


class Table(list[Row], Generic[Row]):
    """Rows of one dataclass: `pandas.DataFrame(table)` has a column for each of its fields."""

    @property
    def columns(self) -> list[str]:
        """Names of the fields of its rows."""
        return [field.name for field in fields(self[0])] if self else []

    def __repr__(self) -> str:
        return f"{len(self)} row{'s' * (len(self) > 1)} of {', '.join(self.columns)}" if self else "no rows"

    def _repr_html_(self) -> str:
        """The rows as a notebook shows them."""
        head = Markup("").join(Markup("<th>{}</th>").format(name) for name in self.columns)
        body = Markup("").join(
            Markup("<tr>{}</tr>").format(
                Markup("").join(Markup("<td>{}</td>").format(_shown(getattr(row, name))) for name in self.columns)
            )
            for row in self[:SHOWN]
        )
        rest = Markup("<p>{} rows more</p>").format(len(self) - SHOWN) if len(self) > SHOWN else ""
        return str(Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>{}").format(head, body, rest))


@dataclass(frozen=True)
class ResultRow:
    """One number of a stored result, as `lewm report` names it.

    Args:
        kind: eval, offline, probe, latent, surprise, alarm, improve, decode or the name of a perturbation.
        value: rates are shares between 0 and 1.
        low, high: its 95 % interval; None where it has none.
        beside: what it has to be compared with, in words.
    """

    time: str
    kind: str
    dataset: str
    held_out: bool
    what: str
    value: float
    low: float | None
    high: float | None
    beside: str


def result_rows(results: StoredResults) -> Table[ResultRow]:
    """Every number of every stored result, the oldest first."""
    return Table(
        ResultRow(
            one.time, kind, one.dataset.name, one.held_out, line.what, line.value, line.low, line.high, line.beside
        )
        for one in results.measurements
        for kind, line in _lines(one)
    )


def log_rows(history: TrainingHistory) -> Table:
    """One row per logged step: losses and speed of training, and `held_out_...` where held-out clips were measured.

    Where a training evaluated there are also `success`, `random_success` and `r2_...` of positions.

    Columns are named after the parts of the loss; what was not measured at a step is NaN. A part of the loss that has
    the name of a measurement of the latents becomes `held_out_..._term`.
    """
    found: dict[int, dict[str, float]] = {}
    for taken in history.steps:
        row = {"loss": taken.loss, **taken.parts, "lr": taken.lr, "gradient_norm": taken.gradient_norm}
        found.setdefault(taken.step, {}).update(row, clips_per_second=taken.clips_per_second)
    for measured in history.held_out:
        numbers = asdict(measured.held_out)
        parts = numbers.pop("parts")
        numbers = {name: value for name, value in numbers.items() if value is not None}
        numbers |= {f"{name}_term" if name in numbers else name: value for name, value in parts.items()}
        found.setdefault(measured.step, {}).update({f"held_out_{name}": value for name, value in numbers.items()})
    for evaluated in history.evaluated:
        rates = {"success": evaluated.success.rate, "random_success": evaluated.random.rate}
        r2 = {f"r2_{name}": estimate.value for name, estimate in evaluated.positions.items()}
        found.setdefault(evaluated.step, {}).update(rates | r2)
    names = {name: re.sub(r"\W", "_", name) for row in found.values() for name in row}
    log_row = make_dataclass("LogRow", [("step", int), *((name, float) for name in names.values())], frozen=True)
    return Table(log_row(step, *(row.get(name, math.nan) for name in names)) for step, row in sorted(found.items()))


def _lines(one: Measurement) -> Iterator[tuple[str, Line]]:
    match one:
        case EvalResult():
            group = ""
            for line in planning_lines(one):
                group = group if line.what.startswith(" ") else line.what
                within = group if line.what == group else f"{group}, {line.what.strip()}"
                yield "eval", replace(line, what=within)
        case OfflineResult():
            yield from (("offline", line) for line in offline_lines(one))
        case ProbeResult():
            yield from (("probe", line) for line in probe_lines(one))
        case LatentResult():
            yield from (("latent", line) for line in latent_summary(one))
        case SurpriseResult():
            steps = [value for each in one.episodes for value in each.curves["model"] if value is not None]
            if steps:
                median = float(np.median(steps))
                yield (
                    "surprise",
                    Line(f"surprise, median step{ahead(one.horizon)}", median, None, None, number(median), ""),
                )
            if one.threshold:
                beside = f"at most {share(one.threshold.false_alarms)} of the steps where nothing happens"
                yield "surprise", Line("surprise, events", len(one.events), None, None, f"{len(one.events)}", beside)
        case Alarm(measured=rate):
            asked = f"asked for {share(one.false_alarms)}, threshold {number(one.threshold)}"
            yield "alarm", Line("false alarms, share of steps", rate.rate, rate.low, rate.high, str(rate), asked)
        case ImproveResult():
            yield from (("improve", line) for line in improved_lines(one))
        case DecodeResult():
            yield from (("decode", line) for line in decode_lines(one))
        case DoseResult():
            if line := dose_line(one):
                yield "doses", line
        case PerturbationResult() if one.scores:
            yield one.perturbation, perturbation_line(one)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else number(value)
    return "" if value is None else str(value)
