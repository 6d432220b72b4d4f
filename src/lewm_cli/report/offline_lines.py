"""An evaluation without a simulator as tables, and several of them side by side."""

from collections.abc import Iterator, Mapping

import numpy as np
from rich.console import RenderableType

from lewm_cli.offline import ActionRanking, GoalRetrieval, OfflineResult, PredictionErrors
from lewm_cli.offline.offline_result import CHANCE, FIVE, Drawn
from lewm_cli.plural import counted
from lewm_cli.report.numbers import brackets, decimals, number, percent
from lewm_cli.report.pieces import measured_on, plain_table
from lewm_cli.report.probing import shown_horizons
from lewm_cli.statistics import Estimate

DRAWN_TITLES: dict[Drawn, str] = {"recorded": "recorded ones", "normal": "a planner's draws"}

PADDING = (0, 1, 0, 0)  # narrow enough for 80 columns


def offline_tables(result: OfflineResult) -> list[RenderableType]:
    """Prediction, ranking and retrieval, each beside chance and floors; then the verdict."""
    tables: list[RenderableType] = [measured_on(result)]
    if result.errors:
        tables += [*_prediction_tables(result, result.errors), ""]
    tables += _ranking_tables(result)
    if result.retrievals:
        tables += ["", *_retrieval_tables(result.retrievals)]
    timed = "" if result.seconds_per_row is None else f" ({number(result.frameskip * result.seconds_per_row)} s)"
    return [
        *tables,
        f"{counted(len(result.rows), 'start')} in {counted(len(set(result.episodes)), 'episode')}; a model step is "
        f"{counted(result.frameskip, 'row')}{timed}.\n"
        "95 % intervals over episodes; untrained: the same network before training.",
        "\n" + "\n".join(f"{line[0].upper()}{line[1:]}." for line in result.verdict.split("; ")),
    ]


def percentile_text(estimate: Estimate) -> str:
    """A percentile with its interval, from 0 to 100."""
    low, value, high = (100 * end for end in (estimate.low, estimate.value, estimate.high))
    return f"{decimals(value, 1)} {brackets(decimals(low, 0), decimals(high, 0))}"


def share_text(estimate: Estimate) -> str:
    """A ratio with its interval."""
    return f"{number(estimate.value)} {brackets(number(estimate.low), number(estimate.high))}"


def ranking_name(one: ActionRanking) -> str:
    """Says which ranking it is: "goal 5 steps ahead, among recorded ones"."""
    return f"goal {counted(one.horizon, 'step')} ahead, among {DRAWN_TITLES[one.drawn]}"


def retrieval_rows(one: GoalRetrieval) -> Iterator[tuple[str, str, str, str]]:
    """One row for each way to find the goal: how often it is the nearest or among five, and its median rank."""
    for name, found in (("imagined", one.model), ("standing still", one.copying), ("untrained", one.untrained)):
        yield name, str(found.nearest), str(found.among_five), number(found.median_rank)
    five = percent(min(1.0, FIVE / one.frames))
    yield "chance", percent(1 / one.frames), five, number((one.frames + 1) / 2)


def _prediction_tables(result: OfflineResult, errors: PredictionErrors) -> list[RenderableType]:
    """Errors of predictions as shares of copying."""
    table = plain_table("model steps ahead", "imagined", "mean latent", "untrained", title="Error, copying is 1")
    for step in shown_horizons(len(errors.share)):
        mean, untrained = (number(one[step - 1]) for one in (errors.mean, errors.untrained))
        table.add_row(str(step), share_text(errors.share[step - 1]), mean, untrained)
    return [
        table,
        f"Mean squared error of latents, open loop from {counted(result.history, 'frame')} with the recorded\n"
        "actions; copying: the last latent seen, as if nothing moved. First step that is\n"
        f"no better than copying: {errors.break_even}; than the mean latent: {errors.break_even_mean}.",
    ]


def _ranking_tables(result: OfflineResult) -> list[RenderableType]:
    """Percentiles of the recorded actions."""
    headings = ("goal, random actions", "percentile", "cheapest of all", "untrained")
    table = plain_table(*headings, title="Rank of the recorded actions among random ones")
    for place, one in enumerate(result.rankings):
        if not place or result.rankings[place - 1].horizon != one.horizon:
            table.add_row(f"{counted(one.horizon, 'step')} ahead")
        untrained = decimals(100 * one.untrained, 1)
        table.add_row(f"  {DRAWN_TITLES[one.drawn]}", percentile_text(one.percentile), str(one.first), untrained)
    table.add_row("chance", decimals(100 * CHANCE, 1), percent(1 / (1 + result.candidates)), "")
    by = "planning's cost" if result.errors else "distance to what the policy does"
    return [
        table,
        f"By {by}, for a goal that was recorded later; {counted(result.candidates, 'random one')} each:\n"
        f"those of other episodes, and those of a planner's first draw (std {number(result.std)}).",
    ]


def _retrieval_tables(retrievals: tuple[GoalRetrieval, ...]) -> list[RenderableType]:
    """Shares of the goals that are found."""
    headings = ("goal, by", "nearest", f"among {FIVE}", "median rank")
    table = plain_table(*headings, title=f"The true goal among {retrievals[-1].frames} frames", fold=(0,))
    for one in retrievals:
        table.add_row(f"{counted(one.horizon, 'step')} ahead")
        *rows, chance = retrieval_rows(one)
        for name, *cells in rows:
            table.add_row(f"  {name}", *cells)
        table.add_row(f"  {chance[0]}", *chance[1:], end_section=True)
    return [table, "By latent distance, among all starts and goals but the start itself."]


def offline_comparison(results: Mapping[str, OfflineResult]) -> list[RenderableType]:
    """Several runs by their names, each with its difference to the first on the same clips."""
    (first, baseline), *others = results.items()
    headings = ("offline", "error, 1 step", "percentile", "minus the first", "goal found")
    table = plain_table(*headings, padding=PADDING, fold=(0,))
    for name, one in results.items():
        error = number(one.errors.share[0].value) if one.errors else ""
        found = percent(one.retrievals[-1].model.nearest.rate) if one.retrievals else ""
        apart = ""
        if one is not baseline and one.clips == baseline.clips:
            apart = _points(percentile_difference(one, baseline))
        table.add_row(name, error, percentile_text(one.ranking.percentile), apart, found)
    notes = [f"{name}: MEASURED ON OTHER CLIPS THAN {first}" for name, one in others if one.clips != baseline.clips]
    notes += [f"{name}: EPISODES IT MAY HAVE BEEN TRAINED ON" for name, one in results.items() if not one.held_out]
    said = f"Percentile of the recorded actions among those of other episodes, goal {baseline.horizon} steps"
    return [table, "\n".join(["", *notes, f"{said}", "ahead, chance 50; error as a share of copying. 95 % intervals."])]


def percentile_difference(this: OfflineResult, other: OfflineResult) -> Estimate:
    """Percentile of one run minus that of another, start by start; both are of the same clips."""
    mine, theirs = (np.array(one.ranking.percentiles) for one in (this, other))
    return Estimate.of_mean(mine - theirs, np.array(this.episodes))


def _points(difference: Estimate) -> str:
    value, low, high = (
        f"{round(100 * end, 1) + 0.0:+.1f}" for end in (difference.value, difference.low, difference.high)
    )
    return f"{value} {brackets(low, high)}"
