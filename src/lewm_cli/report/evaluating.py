"""Success at planning as tables, and the protocols there are."""

from rich import box
from rich.console import RenderableType
from rich.table import Table

from lewm_cli.config import EvalProtocol
from lewm_cli.evaluate import (
    EvalResult,
    EvalSeries,
    GroupResult,
    PooledGroup,
    Ranking,
    Rate,
    References,
    SeriesPoint,
)
from lewm_cli.report.spent import spent_per_plan
from lewm_cli.simulate import HELD_STEPS

NOT_SHOWN = "not shown to beat random"
"""Said where the interval of the paired difference to the random policy is not above 0."""


def success_tables(found: EvalResult | EvalSeries) -> list[RenderableType]:
    """One evaluation, or several as one finding."""
    return series_tables(found) if isinstance(found, EvalSeries) else evaluation_tables(found)


def evaluation_tables(result: EvalResult) -> list[RenderableType]:
    """Success and its floor over all pairs and over each group."""
    overall, solved = result.overall, result.solved_at_start
    table = _rates_table(
        _measured_by(result, result.protocol, result.held_out),
        f"Intervals are 95 %. {solved.successes} starts ({solved.rate:.1%}) were already solved.\n"
        f"{_above_random(result)}{_when_reached(overall)}\n"
        f"{result.plans} plans on {result.device}: {_spent(result)}." + _time_split(result),
        "pairs",
    )
    groups = [overall, *_other_headline(result, solved), *result.groups]
    judged = any(group.route_valid for group in groups)
    if judged:
        table.add_column("route valid", no_wrap=True)
    for group in groups:
        row = [group.name, str(group.success.trials), str(group.success), str(group.random)]
        table.add_row(*row, *([str(group.route_valid)] if judged else []))
    return [table, *(["", *references_tables(result)] if result.references else [])]


def references_tables(result: EvalResult) -> list[RenderableType]:
    """What else was reached on the same pairs, and what it says about what holds the run back."""
    found, planner = result.references, result.protocol.planner
    table = _plain_table("what holds it back: the same pairs")
    for heading in ("by", "success", "above the run, points"):
        table.add_column(heading, no_wrap=heading != "by")
    table.add_row(f"the run, {planner.candidates} x {planner.iterations}", str(result.overall.success), "")
    few = f"{found.planner.candidates} x {found.planner.iterations}"
    for by, reference in (
        (f"the run, {few}", found.model),
        ("true dynamics, latent cost", found.true_latent),
        ("true dynamics, true cost", found.true_state),
        ("random actions", found.random),
        ("zero action", found.zero_action),
    ):
        table.add_row(by, str(reference.success), str(reference.above_run))
    return [table, "\n".join([*_blame(found), *_ranked(found.ranking)])]


def series_tables(series: EvalSeries) -> list[RenderableType]:
    """Success over how far goals lie ahead, or, where that is one distance, over each group; all seeds together."""
    first, curve = series.points[0], len(series.points) > 1
    seeds = len(first.seeds)
    drawn = "over seeds and episodes together" if seeds > 1 else "of one seed"
    table = _rates_table(
        _measured_by(series, None if curve else series.protocol, series.held_out)
        + (f", {seeds} seeds of planning" if seeds > 1 else ""),
        f"Intervals are 95 %, {drawn}.\n{_not_shown(series.points) if curve else _above_random(first)}".rstrip(),
        "steps ahead" if curve else "pairs",
    )
    table.add_column("start solved" if curve else f"held {HELD_STEPS} steps", no_wrap=True)
    if curve:
        for point in series.points:
            group = point.overall
            row = (f"{point.offset} (of {point.budget})", str(group.success.pairs), str(group.success))
            table.add_row(*row, str(group.random), f"{point.solved_at_start.rate:.1%}")
    else:
        for group in [first.overall, *_other_headline(first, first.solved_at_start), *first.groups]:
            row = (group.name, str(group.success.pairs), str(group.success), str(group.random))
            table.add_row(*row, str(group.held))
    held_back = ["", *_references_over(series)] if first.references else []
    return [table, *(_seeds_table(series) if seeds > 1 else []), *held_back]


def protocol_tables(protocols: list[tuple[str, EvalProtocol]]) -> list[RenderableType]:
    """One line per protocol of a task: what it is for."""
    table = Table(title="protocols", title_justify="left")
    for heading in ("name", "purpose"):
        table.add_column(heading, overflow="fold")
    for task, protocol in protocols:
        table.add_row(f"{task}/{protocol.name}", protocol.purpose)
    return [table, "`lewm eval RUN --protocol NAME` measures by one of them"]


def _rates_table(title: str, caption: str, pairs: str) -> Table:
    table = _plain_table(title, caption)
    for heading in (pairs, "n", "success", "random"):
        table.add_column(heading, no_wrap=True)
    return table


def _plain_table(title: str, caption: str | None = None) -> Table:
    return Table(
        title=title,
        title_justify="left",
        caption=caption,
        caption_justify="left",
        # Without frames it fits a terminal of 80 columns.
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )


def _measured_by(result: EvalResult | EvalSeries, protocol: EvalProtocol | None, held_out: bool) -> str:
    """What was measured how; without how far goals are ahead if that is not one distance."""
    seen = "episodes never trained on" if held_out else "EPISODES IT MAY HAVE BEEN TRAINED ON"
    far = f"goals {protocol.offset} steps ahead, {protocol.budget} steps allowed, " if protocol else ""
    return f"{result.run} on {result.dataset.name}, protocol {result.protocol}: {far}{seen}"


def _other_headline(result: EvalResult | SeriesPoint, solved: Rate) -> list[GroupResult] | list[PooledGroup]:
    """Success with solved starts where the headline is without them, and the other way around."""
    if not solved.successes or result.not_solved is None:
        return []
    return [result.all_pairs if result.overall.name == result.not_solved.name else result.not_solved]


def _above_random(result: EvalResult | SeriesPoint) -> str:
    """The paired difference and what it shows, as a line."""
    if result.above_random is None:
        return ""
    verdict = "" if result.above_random.shown else f", {NOT_SHOWN}"
    return f"Above random, same pairs: {result.above_random} points{verdict}.\n"


def _not_shown(points: tuple[SeriesPoint, ...]) -> str:
    """Which points of a curve are not above the floor for sure."""
    poor = [str(point.offset) for point in points if point.above_random and not point.above_random.shown]
    return f"{', '.join(poor)} steps ahead: {NOT_SHOWN}." if poor else ""


def _when_reached(group: GroupResult) -> str:
    held = f"Held for {HELD_STEPS} steps: {group.held}."
    after = "" if group.first_hit is None else f" Reached after {group.first_hit:g} steps (median)."
    return f"{held}{after} {group.final_distance:.3g} from the goal at the end (median)."


def _spent(result: EvalResult) -> str:
    return spent_per_plan(result.seconds_per_plan, result.iterations_per_plan, result.flops_per_plan)


def _time_split(result: EvalResult) -> str:
    if result.split is None or result.seconds_per_episode is None:
        return ""
    seconds = result.split.model_dump()
    spent = max(result.seconds_per_episode * len(result.episodes), 1e-9)
    shares = ", ".join(f"{part} {value / spent:.0%}" for part, value in seconds.items())
    drifted = result.redrawn is not None and not result.redrawn.alike
    by = "this process" if result.workers == 1 else f"{result.workers} processes"
    warning = "\nTHE SIMULATOR DRAWS RECORDED STATES OTHERWISE." if drifted else ""
    return f"\n{result.seconds_per_episode:.3f} s per episode: {shares}; simulated by {by}.{warning}"


def _references_over(series: EvalSeries) -> list[RenderableType]:
    """References over how far goals lie ahead."""
    table, notes = _plain_table("what holds it back: the same pairs"), list[str]()
    planner = series.points[0].references.planner
    table.add_column("ahead")
    for heading in (
        f"{planner.candidates} x {planner.iterations}",
        "true, latent cost",
        "true, true cost",
        "zero action",
    ):
        table.add_column(heading, no_wrap=True)
    for point in series.points:
        found = point.references
        columns = (found.model, found.true_latent, found.true_state, found.zero_action)
        table.add_row(str(point.offset), *(str(one.success) for one in columns))
        notes += [f"{point.offset}: {line}" for line in _blame(found)]
    return [table, "\n".join(notes)]


def _blame(found: References) -> list[str]:
    """What holds the run back, where the intervals say so."""
    said = []
    if found.dynamics.low > 0:
        said.append(f"The dynamics are to blame: true ones reach {found.dynamics} points more.")
    if found.cost.low > 0:
        said.append(f"The cost is to blame: a true one reaches {found.cost} points more.")
    return said


def _ranked(ranking: Ranking | None) -> list[str]:
    """How well candidates of the first plans are ranked."""
    if ranking is None:
        return []
    first, last = ("unknown" if mean is None else str(mean) for mean in (ranking.first, ranking.last))
    return [
        "In first plans, the rank correlation of latent cost and true distance is",
        f"{first} in the first iteration, {last} in the last.",
        f"They end {ranking.regret} farther from the goal than the best that was tried.",
    ]


def _seeds_table(series: EvalSeries) -> list[RenderableType]:
    table = _plain_table("success by seed")
    table.add_column("steps ahead")
    for seed in series.points[0].seeds:
        table.add_column(f"seed {seed}")
    for point in series.points:
        table.add_row(str(point.offset), *(f"{rate:.1%}" for rate in point.overall.success.seeds))
    return [table]
