"""Pieces that several tables share."""

from collections.abc import Iterator, Sequence
from functools import reduce
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from lewm_cli.config import Inputs, Section
from lewm_cli.report.numbers import number, setting
from lewm_cli.visible import visible_line

if TYPE_CHECKING:
    from lewm_cli.control import ImaginedPlan
    from lewm_cli.evaluate import EvalResult, GoalImageResult
    from lewm_cli.store import Measurement

Tree = dict[str, Any]
"""Plain values, for --json."""

UNITS = (("TFLOPs", 1e12), ("GFLOPs", 1e9), ("MFLOPs", 1e6))
"""Units of operations, the largest first."""


class LineTable(Table):
    """A table in which a string is one line, whatever is in it; `Text` may be several."""

    def add_row(self, *cells: RenderableType | None, **settings: Any) -> None:
        """Add a row, in which a name that holds a line break cannot pass for another row."""
        super().add_row(*(visible_line(cell) if isinstance(cell, str) else cell for cell in cells), **settings)


class Prose:
    """Sentences below a table, which break between words where the terminal ends; a path stays whole."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        for line in map(visible_line, self.lines):
            parts = wrap(line, options.max_width, break_long_words=False, break_on_hyphens=False)
            for part in parts or [""]:
                yield Text(part, overflow="ignore")


def plain_table(*headings: str, fold: Sequence[int] = (), justify: JustifyMethod = "left", **settings: Any) -> Table:
    """A table without frames, which fits a terminal of 80 columns.

    Args:
        headings: of its columns.
        fold: numbers of the columns whose text may be broken; that of others is never.
        justify: of all columns.
        settings: of `Table`, like its title.
    """
    alignment = {"title_justify": "left", "caption_justify": "left"}
    table = LineTable(**{"box": box.SIMPLE_HEAD, "show_edge": False, "pad_edge": False, **alignment, **settings})
    for place, heading in enumerate(headings):
        breaks = place in fold
        table.add_column(heading, justify=justify, no_wrap=not breaks, overflow="fold" if breaks else "ellipsis")
    return table


def framed_table(title: str, *headings: str, fold: Sequence[int] | None = None) -> Table:
    """A table with frames; the text of all columns may be broken if `fold` is not given."""
    folds = range(len(headings)) if fold is None else fold
    return plain_table(*headings, fold=folds, title=title, box=box.HEAVY_HEAD, show_edge=True, pad_edge=True)


def measured_on(result: "Measurement") -> str:
    """Says which run was measured on what."""
    seen = "episodes never trained on" if result.held_out else "EPISODES THE MODEL MAY HAVE BEEN TRAINED ON"
    return f"{result.run} on {result.dataset.name}, {seen}"


def facts_table(title: str) -> Table:
    """A table of two columns without headings: what, and how much."""
    table = LineTable(title=title, title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def spent_per_plan(found: "EvalResult | GoalImageResult | ImaginedPlan") -> str:
    """Says what a plan took on average: "30 iterations, 2.61 GFLOPs and 0.140 s per plan"; or what a policy took."""
    flops = found.flops_per_plan
    unit, size = next(((unit, size) for unit, size in UNITS if flops >= size), UNITS[-1])
    operations = f"{flops / size:.3g} {unit}"
    if found.iterations_per_plan is None:
        return f"one forward pass, {operations} and {number(found.seconds_per_plan)} s per step"
    return f"{found.iterations_per_plan:.3g} iterations, {operations} and {found.seconds_per_plan:.3f} s per plan"


def recorded_facts(inputs: Inputs) -> list[tuple[str, str]]:
    """Say what a card knows of the recording itself: range and names of actions, rate, and how frames became square."""
    facts = []
    if bounds := inputs.bounds:
        ranges = zip(inputs.dimensions, bounds.low, bounds.high, strict=True)
        facts.append(("recorded actions", ", ".join(f"{name} {low:.4g} to {high:.4g}" for name, low, high in ranges)))
    if inputs.fps:
        facts.append(("recorded rate", f"{inputs.fps:.4g} rows per second"))
    if inputs.framing:
        facts.append(("camera", str(inputs.framing)))
    return facts


def objective_settings(objective: Section) -> list[tuple[str, str]]:
    """Settings of an objective by name, those of a group as `decoder.width`; what is not given is left out."""
    tree, names = objective.model_dump(by_alias=True), type(objective).keys()
    values = ((name, reduce(lambda group, part: group[part], name.split("."), tree)) for name in names)
    return [
        (name, setting(value) if isinstance(value, int | float) else str(value))
        for name, value in values
        if value is not None
    ]
