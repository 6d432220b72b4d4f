"""The choice of a planner and its gain, as tables."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table

from lewm_cli.evaluate import PRIOR_ALONE, ImproveResult
from lewm_cli.report.numbers import percent
from lewm_cli.report.pieces import Prose, plain_table
from lewm_cli.suggestion import command

PADDING = (0, 1, 0, 0)  # narrow enough for 80 columns


def improve_tables(result: ImproveResult) -> list[RenderableType]:
    """Every planner that was tried on validation pairs, and the gain of the chosen one on test pairs."""
    gained = ["", _gains(result), "", _controls(result)] if result.gains else []
    return [_tried(result), *gained, Prose("", *_notes(result))]


def _tried(result: ImproveResult) -> Table:
    trials = result.validation
    table = plain_table(
        *("planner", "receding", "iterations", *(str(pairs.offset) for pairs in trials.pairs), "mean", "ms", ""),
        title=f"{result.run} on {trials.dataset.name}: goals reached, by how many steps they lie ahead "
        f"({', '.join(str(len(pairs.random)) for pairs in trials.pairs)} pairs), and ms per plan",
        padding=PADDING,
    )
    for one in trials.tried:
        taken = "chosen" if one.choice and one.choice == result.chosen else ""
        rates = (percent(rate, 0) for rate in one.rates)
        effort = (str(one.choice.receding), str(one.choice.iterations)) if one.choice else ("", "")
        spent = f"{1000 * one.seconds_per_plan:.1f}"
        table.add_row(one.parts, *effort, *rates, percent(one.rate), spent, taken)
    table.add_row("random actions", "", "", *(percent(sum(one.random) / len(one.random), 0) for one in trials.pairs))
    return table


def _gains(result: ImproveResult) -> Table:
    table = plain_table(
        *("ahead", "n", "before", "now", "gain, points"),
        title=f"on other pairs, of {result.dataset.name}",
        padding=PADDING,
    )
    for one in result.gains:
        table.add_row(str(one.offset), str(one.now.trials), str(one.before), str(one.now), str(one.gain))
    return table


def _controls(result: ImproveResult) -> Table:
    table = plain_table(
        *("in its place", *(f"{one.offset} ahead" for one in result.gains)),
        title="on the same pairs, and how many points the chosen planner is better",
        padding=PADDING,
    )
    for row in zip(*(one.controls for one in result.gains), strict=True):
        cells = (f"{percent(one.success.rate, 0)}, {100 * one.below.rate:+.0f}" for one in row)
        table.add_row(row[0].name, *cells)
    return table


def _notes(result: ImproveResult) -> Iterator[str]:
    acting = command("eval", result.run, "--actor", "prior")
    if not result.held_out:
        yield "EPISODES THAT THE RUN MAY HAVE BEEN TRAINED ON."
    if result.chosen is None or result.seconds_per_plan_before is None or result.seconds_per_plan_now is None:
        yield "No planner is shown better than the protocol's, which is the run's from now on."
        if any(one.choice is None and result.validation.better(one) for one in result.validation.tried):
            yield f"The prior alone is, without planning: {acting}"
        return
    yield f"Planner of {result.run} from now on:"
    yield f"{result.chosen}."
    before, now = 1000 * result.seconds_per_plan_before, 1000 * result.seconds_per_plan_now
    yield f"A plan takes {now:.1f} ms, and took {before:.1f}. Intervals are 95 %, of gains over episodes."
    if worse := [str(one.offset) for one in result.gains if one.gain.high < 0]:
        yield f"WORSE THAN BEFORE {', '.join(worse)} steps ahead."
    if not_shown := [str(one.offset) for one in result.gains if not one.gain.shown]:
        yield f"No gain is shown {', '.join(not_shown)} steps ahead."
    for row in zip(*(one.controls for one in result.gains), strict=True):
        pairs = zip(result.gains, row, strict=True)
        if unclear := [str(at.offset) for at, one in pairs if not one.below.shown]:
            yield f"Not shown better than {row[0].name} {', '.join(unclear)} steps ahead."
            if row[0].name == PRIOR_ALONE:
                yield f"That acts there without planning: {acting}"
