"""Success at planning as tables, and the protocols there are."""

from rich import box
from rich.console import RenderableType
from rich.table import Table

from lewm_cli.config import EvalProtocol
from lewm_cli.evaluate import HELD_STEPS, EvalResult, EvalSeries, GroupResult, PooledGroup, Rate, SeriesPoint
from lewm_cli.report.spent import spent_per_plan


def success_tables(found: EvalResult | EvalSeries) -> list[RenderableType]:
    """One evaluation, or several as one finding."""
    return series_tables(found) if isinstance(found, EvalSeries) else evaluation_tables(found)


def evaluation_tables(result: EvalResult) -> list[RenderableType]:
    """Success and its floor over all pairs and over each group."""
    overall, solved = result.overall, result.solved_at_start
    table = _rates_table(
        _measured_by(result, result.protocol, result.held_out),
        f"Intervals are 95 %. {solved.successes} starts ({solved.rate:.1%}) were already solved.\n"
        f"{_when_reached(overall)}\n"
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
    return [table]


def series_tables(series: EvalSeries) -> list[RenderableType]:
    """Success over how far goals lie ahead, or, where that is one distance, over each group; all seeds together."""
    first, curve = series.points[0], len(series.points) > 1
    seeds = len(first.seeds)
    drawn = "over seeds and episodes together" if seeds > 1 else "of one seed"
    table = _rates_table(
        _measured_by(series, None if curve else series.protocol, series.held_out)
        + (f", {seeds} seeds of planning" if seeds > 1 else ""),
        f"Intervals are 95 %, {drawn}.",
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
    return [table, *(_seeds_table(series) if seeds > 1 else [])]


def protocol_tables(protocols: list[tuple[str, EvalProtocol]]) -> list[RenderableType]:
    """One line per protocol of a task: what it is for."""
    table = Table(title="protocols", title_justify="left")
    for heading in ("name", "purpose"):
        table.add_column(heading, overflow="fold")
    for task, protocol in protocols:
        table.add_row(f"{task}/{protocol.name}", protocol.purpose)
    return [table, "`lewm eval RUN --protocol NAME` measures by one of them"]


def _rates_table(title: str, caption: str, pairs: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        caption=caption,
        caption_justify="left",
        # Without frames it fits a terminal of 80 columns.
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for heading in (pairs, "n", "success", "random"):
        table.add_column(heading, no_wrap=True)
    return table


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


def _seeds_table(series: EvalSeries) -> list[RenderableType]:
    table = Table(title="success by seed", title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("steps ahead")
    for seed in series.points[0].seeds:
        table.add_column(f"seed {seed}")
    for point in series.points:
        table.add_row(str(point.offset), *(f"{rate:.1%}" for rate in point.overall.success.seeds))
    return [table]
