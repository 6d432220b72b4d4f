"""Stored results compared, as tables: evaluations pair by pair, offline results, and latent spaces."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from rich.console import RenderableType
from rich.table import Table

from lewm_cli.config import EvalProtocol
from lewm_cli.evaluate import ComparedResult, PairedComparison
from lewm_cli.latent import LatentResult
from lewm_cli.offline import OfflineResult
from lewm_cli.report.evaluating import NOT_SHOWN
from lewm_cli.report.latent_space import latent_comparison, latent_lines
from lewm_cli.report.numbers import p_value
from lewm_cli.report.offline_lines import offline_comparison, percentile_difference
from lewm_cli.report.pieces import Prose, Tree, plain_table

PADDING = (0, 1, 0, 0)  # narrow enough for 80 columns


def compared_tables(
    comparison: PairedComparison | None, latents: Mapping[str, LatentResult], offline: Mapping[str, OfflineResult]
) -> list[RenderableType]:
    """Evaluations if there are some, then offline results and latent spaces by the names of their runs."""
    parts = (
        _comparison(comparison) if comparison else [],
        offline_comparison(offline) if offline else [],
        latent_comparison(latents) if latents else [],
    )
    first, *others = filter(None, parts)
    return [*first, *(table for part in others for table in ("", *part))]


def compared_tree(
    comparison: PairedComparison | None, latents: Mapping[str, LatentResult], offline: Mapping[str, OfflineResult]
) -> Tree:
    """The same for programs; offline results and latent spaces are there if they were measured."""
    tree = comparison.model_dump(mode="json") if comparison else {}
    measured = [
        {"name": name, "measured": [asdict(line) for line in latent_lines(one)]} for name, one in latents.items()
    ]
    baseline = next(iter(offline.values()), None)
    ranked = [
        {
            "name": name,
            "verdict": one.verdict,
            "percentile": one.ranking.percentile.model_dump(),
            "above_baseline": percentile_difference(one, baseline).model_dump()
            if baseline and one.clips == baseline.clips
            else None,
        }
        for name, one in offline.items()
    ]
    return tree | ({"offline": ranked} if ranked else {}) | ({"latents": measured} if measured else {})


def _comparison(comparison: PairedComparison) -> list[RenderableType]:
    """Every rate beside its random baseline, every difference to the baseline, and what to mind when reading them."""
    return [_rates(comparison), "", _differences(comparison), Prose("", *_notes(comparison))]


def _rates(comparison: PairedComparison) -> Table:
    table = plain_table(
        *("result", "success", "random", "above random, points"),
        title=f"{comparison.pairs} pairs of {comparison.episodes} episodes of {comparison.dataset.name}: goals "
        f"{comparison.offset} steps ahead, {comparison.budget} steps allowed",
        padding=PADDING,
        fold=(0,),
    )
    for one in comparison.results:
        table.add_row(one.name, str(one.success), str(one.random), str(one.above_random))
    return table


def _differences(comparison: PairedComparison) -> Table:
    p_values = [(one.above_baseline.p, one.p_holm) for one in comparison.results[1:]]
    tested = [name for name, p in zip(("p", "p, Holm"), p_values[-1], strict=True) if p is not None]
    table = plain_table(
        *("result", "difference, points", "gained", "lost", *tested),
        title=f"compared with {comparison.baseline.name}, on the same pairs",
        padding=PADDING,
        fold=(0,),
    )
    for one, tests in zip(comparison.results[1:], p_values, strict=True):
        difference = one.above_baseline
        alone = (str(difference.only_this), str(difference.only_other))
        shown = (p_value(p) for p in tests if p is not None)
        table.add_row(one.name, str(difference), *alone, *shown)
    return table


def _notes(comparison: PairedComparison) -> Iterator[str]:
    yield from (f"{one.name}: {one.file}" for one in comparison.results if one.name != one.run)
    for one in comparison.results:
        if not one.beats_random:
            yield f"{one.name}: {NOT_SHOWN}"
        if not one.held_out:
            yield f"{one.name}: EPISODES IT MAY HAVE BEEN TRAINED ON"
    for one in comparison.results[1:]:
        mine, theirs = one.protocol, comparison.baseline.protocol
        if (mine.name, mine.version) != (theirs.name, theirs.version):
            yield f"{one.name}: measured by the protocol {mine}, and {comparison.baseline.name} by {theirs}"
        if None in (mine.planner, theirs.planner):
            if mine.planner or theirs.planner:
                yield f"{one.name} {_acts(mine)}, and {comparison.baseline.name} {_acts(theirs)}"
        elif planned := ", ".join(_planned_otherwise(one, comparison.baseline)):
            yield f"{one.name}: planned otherwise than {comparison.baseline.name}: {planned}"
    if comparison.results[1].above_baseline.p is None:
        yield "Intervals are 95 %, those of differences over seeds and episodes. Gained, lost:"
        yield "pairs that only this one or only the first solved, counted once per seed."
        return
    yield "Intervals are 95 %, those of differences over recorded episodes. Gained, lost:"
    yield "pairs that only this one or only the first solved; p: McNemar's exact test."
    if comparison.episodes < comparison.pairs:
        yield "Pairs share episodes: the test takes them for independent, the intervals do not."


def _acts(protocol: EvalProtocol) -> str:
    prior = " by its prior alone" if protocol.way == "prior" else ""
    return "plans" if protocol.planner else f"acts{prior} in one forward pass per step"


def _planned_otherwise(one: ComparedResult, baseline: ComparedResult) -> Iterator[str]:
    """Settings of seed and planner that are not the baseline's, and heads and anchors that differ under one name."""
    mine, theirs = ({"seed": of.protocol.drawn_with, **of.protocol.planning.model_dump()} for of in (one, baseline))
    for key, value in mine.items():
        if value != theirs[key]:
            said = ("nothing" if each is None else str(each) for each in (value, theirs[key]))
            yield f"{key} {' instead of '.join(said)}"
    if one.weights_sha256 == baseline.weights_sha256:
        if one.head_sha256 != baseline.head_sha256 and mine["objective"] == theirs["objective"]:
            yield "by another head of the same weights"
        if one.prior_sha256 != baseline.prior_sha256 and mine["prior"] == theirs["prior"]:
            yield "from another prior of the same weights"
    if one.anchors and baseline.anchors and one.anchors != baseline.anchors and mine["anchors"] == theirs["anchors"]:
        yield f"anchors of another recording of the name {mine['anchors']}"
