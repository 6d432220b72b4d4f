"""Success at planning as tables, and the protocols there are."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table

from lewm_cli.evaluate import EvalResult, References
from lewm_cli.report.pieces import Prose, plain_table, spent_per_plan
from lewm_cli.simulate import HELD_STEPS

NOT_SHOWN = "not shown to beat random"
"""Printed where the interval of the paired difference to the random policy is not above 0."""


def evaluation_tables(results: Sequence[EvalResult]) -> list[RenderableType]:
    """Success and its random baseline: of one result over groups of pairs, of several over how far goals lie ahead."""
    first, several = results[0], len(results) > 1
    tables: list[RenderableType] = [_by_distance(results) if several else _by_group(first)]
    if len(first.success_by_seed) > 1:
        tables.append(_by_seed(results))
    if first.references:
        tables += ["", *(_references_by_distance(results) if several else _references(first))]
    return tables


def _by_group(result: EvalResult) -> Table:
    overall, solved, protocol = result.overall, result.solved_at_start, result.protocol
    groups = [overall, *result.groups]
    if solved.successes and result.not_solved:  # the headline is with solved starts or without them; here is the other
        other = result.all_pairs if overall.name == result.not_solved.name else result.not_solved
        groups.insert(1, other)
    judged = any(group.route_valid for group in groups)
    verdict = "" if result.above_random.shown else f", {NOT_SHOWN}"
    after = "" if overall.first_hit is None else f" Reached after {overall.first_hit:g} steps (median)."
    table = plain_table(
        *("pairs", "n", "success", "random", *(["route valid"] if judged else [])),
        title=_measured_by(result, f"goals {protocol.offset} steps ahead, {protocol.budget} steps allowed, "),
        caption=f"{_intervals(result)} {solved.successes} starts ({solved.rate:.1%}) were already solved.\n"
        f"Above random, same pairs: {result.above_random} points{verdict}.\n"
        f"Held for {HELD_STEPS} steps: {overall.held}.{after} "
        f"{overall.final_distance:.3g} from the goal at the end (median).\n"
        f"{result.plans} {'plans' if protocol.planner else 'steps'} on {result.device}: {spent_per_plan(result)}.\n"
        f"{_time_split(result)}",
    )
    for group in groups:
        row = (group.name, str(group.pairs), str(group.success), str(group.random))
        table.add_row(*row, *([str(group.route_valid)] if judged else []))
    return table


def _by_distance(results: Sequence[EvalResult]) -> Table:
    unclear = [str(one.protocol.offset) for one in results if not one.above_random.shown]
    table = plain_table(
        *("steps ahead", "n", "success", "random", "start solved"),
        title=_measured_by(results[0], ""),
        caption=_intervals(results[0]) + (f"\n{', '.join(unclear)} steps ahead: {NOT_SHOWN}." if unclear else ""),
    )
    for one in results:
        group, ahead = one.overall, f"{one.protocol.offset} (of {one.protocol.budget})"
        table.add_row(ahead, str(group.pairs), str(group.success), str(group.random), f"{one.solved_at_start.rate:.1%}")
    return table


def _by_seed(results: Sequence[EvalResult]) -> Table:
    table = plain_table(
        "steps ahead", *(f"seed {seed}" for seed in results[0].success_by_seed), title="success by seed", fold=(0,)
    )
    for one in results:
        table.add_row(str(one.protocol.offset), *(f"{rate:.1%}" for rate in one.success_by_seed.values()))
    return table


def _references(result: EvalResult) -> list[RenderableType]:
    """Success of the references, and what it shows about what holds the run back."""
    found, planner = result.references, result.protocol.planning
    table = plain_table("by", "success", "above the run, points", title="what holds it back: the same pairs", fold=(0,))
    table.add_row(f"the run, {planner.candidates} x {planner.iterations}", str(result.overall.success), "")
    for by, reference in (
        (f"the run, {_tries(found)}", found.model),
        ("true dynamics, latent cost", found.true_latent),
        ("true dynamics, true cost", found.true_state),
        ("random actions", found.random),
        ("zero action", found.zero_action),
    ):
        table.add_row(by, str(reference.success), str(reference.above_run))
    return [table, Prose(*_blame(found), *_ranking(found))]


def _references_by_distance(results: Sequence[EvalResult]) -> list[RenderableType]:
    headings = (_tries(results[0].references), "true, latent cost", "true, true cost", "zero action")
    table, notes = plain_table("ahead", *headings, title="what holds it back: the same pairs", fold=(0,)), list[str]()
    for one in results:
        found, ahead = one.references, one.protocol.offset
        columns = (found.model, found.true_latent, found.true_state, found.zero_action)
        table.add_row(str(ahead), *(str(reference.success) for reference in columns))
        notes += [f"{ahead}: {line}" for line in _blame(found)]
    return [table, Prose(*notes)]


def _measured_by(result: EvalResult, goals: str) -> str:
    seen = "episodes never trained on" if result.held_out else "EPISODES IT MAY HAVE BEEN TRAINED ON"
    seeds = len(result.success_by_seed)
    planned = f", {seeds} seeds{' of planning' if result.protocol.planner else ''}" if seeds > 1 else ""
    acting = " (its prior alone)" if result.protocol.way == "prior" else ""
    return f"{result.run}{acting} on {result.dataset.name}, protocol {result.protocol}: {goals}{seen}{planned}"


def _intervals(result: EvalResult) -> str:
    return "Intervals are 95 %" + (", over seeds and episodes together." if len(result.success_by_seed) > 1 else ".")


def _time_split(result: EvalResult) -> str:
    spent = max(result.seconds_per_episode * len(result.episodes), 1e-9)
    split = result.split.model_dump()
    if result.protocol.planner is None:  # it embeds nothing by itself
        split = {"simulator": split["simulator"], result.protocol.way: split["planner"], "random": split["random"]}
    shares = ", ".join(f"{part} {seconds / spent:.0%}" for part, seconds in split.items())
    by = "this process" if result.workers == 1 else f"{result.workers} processes"
    drifted = result.redrawn is not None and not result.redrawn.alike
    warning = "\nTHE SIMULATOR DRAWS RECORDED STATES OTHERWISE." if drifted else ""
    return f"{result.seconds_per_episode:.3f} s per episode: {shares}; simulated by {by}.{warning}"


def _tries(found: References) -> str:
    return f"{found.planner.candidates} x {found.planner.iterations}"


def _blame(found: References) -> list[str]:
    """Names what holds the run back, where the intervals show it."""
    dynamics = f"The dynamics are to blame: true ones reach {found.dynamics} points more."
    cost = f"The cost is to blame: a true one reaches {found.cost} points more."
    return [line for line, gap in ((dynamics, found.dynamics), (cost, found.cost)) if gap.low > 0]


def _ranking(found: References) -> list[str]:
    ranking = found.ranking
    if ranking is None:
        return []
    first, last = ("unknown" if mean is None else f"{mean:.2f}" for mean in (ranking.first, ranking.last))
    return [
        "In first plans, the rank correlation of latent cost and true distance is",
        f"{first} in the first iteration, {last} in the last.",
        f"They end {ranking.regret:.2f} farther from the goal than the best that was tried.",
    ]
