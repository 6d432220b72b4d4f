"""Curves of trainings laid over each other: what goes into which panel, and the result as a tree and as tables."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from lewm_cli.errors import LewmError, UsageError
from lewm_cli.report.numbers import duration, number
from lewm_cli.report.pieces import Tree
from lewm_cli.suggestion import few, offer
from lewm_cli.train import Curve

Axis = Literal["step", "time"]

DEFAULT_TERMS = ("train", "held_out", "latents/std")

LOSSES = ("train", "held_out")
"""Groups whose curves of the same name share a panel; they come first."""

REFERENCE = "held_out/copying"
"""It is drawn beside the prediction that it is the reference of."""

TITLES = {
    "latents/std": "latent standard deviation per dimension, held out",
    "latents/std_min": "standard deviation of the narrowest dimension, held out",
    "latents/effective_rank": "effective rank of the latents, held out",
    "latents/cosine": "mean cosine of two latents, held out",
    "latents/straightness": "mean cosine of successive latent steps, held out",
    "optimizer/lr": "learning rate",
    "optimizer/gradient_norm": "norm of the gradient before clipping",
    "speed/clips_per_second": "clips per second",
    "speed/data_ms": "waiting for clips (ms per step)",
    "speed/update_ms": "computing (ms per step)",
    "memory/process_gb": "peak memory of the process (GB)",
    "memory/device_gb": "peak memory of the device (GB)",
}
"""The title of a panel where the name of its curve says too little."""

LOG_RATIO = 3.0
"""Losses and gradient norms that span more than this have a logarithmic axis."""

HEIGHT = 7
"""Lines of a chart in the terminal."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"
"""The first run is drawn by the first one; its measurements of held-out clips by the capital."""

STYLES = ("blue", "yellow", "green", "magenta", "cyan", "red")


@dataclass(frozen=True)
class PlottedRun:
    """A run, its log, and the curves in it by name."""

    name: str
    log: Path
    curves: dict[str, Curve]

    def parts(self, name: str) -> list[Curve]:
        """A curve as it is drawn: a loss in one part for each phase of the training, which minimize something else."""
        curve = self.curves[name]
        losses = [other.steps for key, other in self.curves.items() if key.startswith("train/")]
        begins = sorted({steps[0] for steps in losses}) if name.startswith("train/") else []
        cuts = [0, *(curve.steps.index(step) for step in begins if step in curve.steps[1:]), len(curve.steps)]
        return [Curve(curve.steps[a:b], curve.seconds[a:b], curve.values[a:b]) for a, b in pairwise(cuts)]


@dataclass(frozen=True)
class Line:
    """A curve of one of the runs.

    Args:
        run: its number.
        name: of the curve.
    """

    run: int
    name: str
    curve: Curve

    @property
    def held_out(self) -> bool:
        """True if it was measured on held-out clips."""
        return self.name.startswith("held_out/")

    def x(self, axis: Axis) -> list[float]:
        """The places of its values: steps, or seconds of training."""
        return list(self.curve.steps) if axis == "step" else self.curve.seconds


@dataclass(frozen=True)
class Panel:
    """Lines that share their axes."""

    title: str
    lines: tuple[Line, ...]
    log: bool


@dataclass(frozen=True)
class TrainingPlot:
    """Chosen curves of several runs over steps or time, and the picture of them."""

    runs: tuple[PlottedRun, ...]
    terms: tuple[str, ...]
    axis: Axis
    path: Path

    @property
    def panels(self) -> list[Panel]:
        """One for each quantity, in the order of the curves."""
        grouped: dict[str, list[Line]] = {}
        for name in self.terms:
            for k, run in enumerate(self.runs):
                for phase, part in enumerate(run.parts(name) if name in run.curves else [], start=1):
                    key = _panel_of(name) + (f", phase {phase}" if phase > 1 else "")
                    grouped.setdefault(key, []).append(Line(k, name, part))
        return [_panel(key, lines) for key, lines in grouped.items()]


def choose_terms(known: Sequence[str], typed: Sequence[str]) -> tuple[str, ...]:
    """The curves that are meant by names, by groups of them, or by names without their group.

    Raises:
        UsageError: one of them means none.
        LewmError: none is typed, and there are only others than those that are drawn then.
    """
    chosen: set[str] = set()
    for term in typed or DEFAULT_TERMS:
        meant = {name for name in known if term in (name, *name.split("/", 1))}
        if not meant and typed:
            raise UsageError(f"no curve of these runs is called {term!r}; {offer(term, known, 'lewm plot RUN --json')}")
        chosen |= meant
    if not chosen:
        raise LewmError(
            f"neither losses nor latents are logged, but {few(known)}; draw them with --term, like: --term {known[0]}"
        )
    return tuple(sorted((name for name in known if name in chosen), key=lambda name: name.split("/")[0] not in LOSSES))


def plot_tree(plot: TrainingPlot) -> Tree:
    """The chosen curves of every run, for programs."""
    runs = [
        {"run": run.name, "log": str(run.log), "curves": {name: asdict(curve) for name, curve in _chosen(plot, run)}}
        for run in plot.runs
    ]
    return {"plot": str(plot.path), "runs": runs}


def plot_tables(plot: TrainingPlot) -> list[RenderableType]:
    """Small charts, and which letter is which run."""
    named = [Text(f"{letter(k)}  {run.name}", STYLES[k % len(STYLES)]) for k, run in enumerate(plot.runs)]
    lines = [line for panel in plot.panels for line in panel.lines]
    remark = ["capitals: held-out clips"] if any(line.held_out for line in lines) else []
    return [*named, *remark, *(Chart(panel, plot.axis) for panel in plot.panels)]


def letter(run: int) -> str:
    """The letter that the points of a run are drawn by."""
    return LETTERS[run % len(LETTERS)]


@dataclass(frozen=True)
class Chart:
    """A panel drawn in letters, as wide as the terminal."""

    panel: Panel
    axis: Axis

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Every column shows the value of each line there; of lines that meet, the last is seen."""
        scale = math.log10 if self.panel.log else float
        values = [value for line in self.panel.lines for value in line.curve.values]
        low, high = min(values), max(values)
        labels = (number(high), number(low))
        margin = max(map(len, labels)) + 1
        columns = max(20, min(options.max_width, 100) - margin - 1)
        last = max(1e-9, *(line.x(self.axis)[-1] for line in self.panel.lines))
        grid = [[Text(" ")] * columns for _ in range(HEIGHT)]
        span = scale(high) - scale(low) or 1.0
        for line in sorted(self.panel.lines, key=lambda line: (line.name != REFERENCE, line.held_out)):
            name = letter(line.run).upper() if line.held_out else letter(line.run)
            mark = Text("." if line.name == REFERENCE else name, STYLES[line.run % len(STYLES)])
            for x, value in zip(line.x(self.axis), line.curve.values, strict=True):
                row = round((scale(high) - scale(value)) / span * (HEIGHT - 1))
                grid[row][min(columns - 1, int(x / last * columns))] = mark
        yield Text("")
        yield Text(self.panel.title, "bold")
        for k, row in enumerate(grid):
            label = labels[0] if k == 0 else labels[1] if k == HEIGHT - 1 else ""
            yield Text.assemble(f"{label:>{margin - 1}} │", *row)
        end = f"{last:,.0f} steps" if self.axis == "step" else duration(last)
        yield Text(" " * margin + "└" + f" {end}".rjust(columns, "─"))


def _panel_of(name: str) -> str:
    group, _, short = name.partition("/")
    if name == REFERENCE:
        return "prediction"
    return short if group in LOSSES else name


def _panel(key: str, lines: Iterable[Line]) -> Panel:
    lines = tuple(lines)
    values = [value for line in lines for value in line.curve.values]
    wide = min(values) > 0 and max(values) > LOG_RATIO * min(values)
    log = wide and ("/" not in key or key == "optimizer/gradient_norm")
    return Panel(TITLES.get(key, key) + (" (log scale)" if log else ""), lines, log)


def _chosen(plot: TrainingPlot, run: PlottedRun) -> Iterable[tuple[str, Curve]]:
    return ((name, run.curves[name]) for name in plot.terms if name in run.curves)
