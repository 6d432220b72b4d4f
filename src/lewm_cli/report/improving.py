"""The choice of a planner and its gain, as tables."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table

from lewm_cli.evaluate import ImproveResult
from lewm_cli.report.numbers import percent
from lewm_cli.report.pieces import plain_table

PADDING = (0, 1, 0, 0)  # narrow enough for 80 columns


def improve_tables(result: ImproveResult) -> list[RenderableType]:
    """Every planner that was tried on validation pairs, and the gain of the chosen one on test pairs."""
    return [_tried(result), *(["", _gains(result)] if result.gains else []), "\n".join(["", *_notes(result)])]


def _tried(result: ImproveResult) -> Table:
    trials = result.validation
    table = plain_table(
        *("planner", *(str(pairs.offset) for pairs in trials.pairs), "mean", "ms per plan", ""),
        title=f"{result.run}: goals reached on {trials.dataset.name}, by steps ahead "
        f"({', '.join(str(len(pairs.random)) for pairs in trials.pairs)} pairs)",
        padding=PADDING,
        fold=(0,),
    )
    for one in trials.tried:
        taken = "chosen" if one.choice == result.chosen else ""
        rates = (percent(rate, 0) for rate in one.rates)
        table.add_row(str(one.choice), *rates, percent(one.rate), f"{1000 * one.seconds_per_plan:.1f}", taken)
    table.add_row("random actions", *(percent(sum(one.random) / len(one.random), 0) for one in trials.pairs))
    return table


def _gains(result: ImproveResult) -> Table:
    controls = [one.name for one in result.gains[0].controls]
    table = plain_table(
        *("ahead", "n", "before", "now", "gain, points", *controls),
        title=f"on other pairs, of {result.dataset.name}",
        padding=PADDING,
        fold=range(5, 5 + len(controls)),
    )
    for one in result.gains:
        rates = (percent(each.success.rate) for each in one.controls)
        table.add_row(str(one.offset), str(one.now.trials), str(one.before), str(one.now), str(one.gain), *rates)
    return table


def _notes(result: ImproveResult) -> Iterator[str]:
    if result.chosen is None or not result.seconds_per_plan_before or not result.seconds_per_plan_now:
        yield "No planner is shown better than the protocol's, which stays the run's planner."
        return
    before, now = 1000 * result.seconds_per_plan_before, 1000 * result.seconds_per_plan_now
    yield f"{result.run} plans by {result.chosen} from now on: {now:.1f} ms per plan, before {before:.1f}."
    yield "Intervals are 95 %, those of gains over recorded episodes, pair by pair."
    for gain in result.gains:
        if gain.gain.high < 0:
            yield f"{gain.offset} steps ahead: WORSE THAN BEFORE."
        for one in gain.controls:
            if not one.below.shown:
                yield f"{gain.offset} steps ahead: not shown better than with {one.name}."
    if not result.held_out:
        yield "EPISODES THAT THE RUN MAY HAVE BEEN TRAINED ON."
