"""Evaluations compared pair by pair: what both solve or both miss says nothing about a difference."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import PositiveInt

from lewm_cli.config import DatasetIdentity, EvalProtocol, Section
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.evaluate.eval_result import EpisodeResult, EvalResult, outcomes_by_seed, recorded_episodes
from lewm_cli.statistics import Difference, Rate, holm


@dataclass(frozen=True)
class NamedResult:
    """An evaluation with a name that differs from those of others beside it, and the file that it was read from."""

    name: str
    file: str
    result: EvalResult


class ComparedResult(Section):
    """One evaluation beside its own random baseline, and beside the first of the evaluations unless it is that."""

    name: str
    file: str
    run: str
    weights_sha256: str
    head_sha256: str | None
    """Digest of the file of the head that plans were judged by; None if the objective asks none."""
    prior_sha256: str | None = None
    """Digest of the file of the behavior prior; None if none was asked."""
    anchors: DatasetIdentity | None = None
    """The recording at whose frames plans aimed; None if at none."""
    held_out: bool
    protocol: EvalProtocol
    success: Rate
    random: Rate
    above_random: Difference
    above_baseline: Difference | None
    p_holm: float | None
    """`above_baseline.p` corrected for the number of comparisons; None if there is only one, or no p."""

    @property
    def beats_random(self) -> bool:
        """True if the difference to the random policy is shown: its interval lies above 0."""
        return self.above_random.shown


class PairedComparison(Section):
    """Evaluations on the same pairs, each compared with the first."""

    dataset: DatasetIdentity
    offset: PositiveInt
    budget: PositiveInt
    pairs: PositiveInt
    episodes: PositiveInt
    """Recorded episodes that the pairs come from."""
    results: tuple[ComparedResult, ...]

    @property
    def baseline(self) -> ComparedResult:
        """The evaluation that the others are compared with."""
        return self.results[0]


def compare(results: Sequence[NamedResult]) -> PairedComparison:
    """Compare evaluations with the first of them; of several seeds of planning the first with the first, and so on.

    Raises:
        UsageError: there are fewer than two.
        LewmError: they are not of the same pairs and as many seeds; the error says what differs first.
    """
    if len(results) < 2:
        raise UsageError("a comparison needs at least two results; name another run or stored evaluation beside it")
    baseline = results[0]
    for other in results[1:]:
        for differs in _differences(baseline.result, other.result):
            raise LewmError(
                f"{baseline.name} and {other.name} were not evaluated on the same pairs: {differs}; evaluate both with "
                "the same --dataset, --protocol, --episodes, --seed, --seeds, offset and budget, or with one "
                "--manifest, or name other stored evaluations by their paths"
            )
    every = [_in_order(one.result) for one in results]
    clusters = recorded_episodes(every[0])
    outcomes = [outcomes_by_seed([one.success for one in episodes], episodes) for episodes in every]
    baselines = [outcomes_by_seed([one.random_success for one in episodes], episodes) for episodes in every]
    differences = [Difference.of(success, outcomes[0], clusters) for success in outcomes[1:]]
    p_values = [one.p for one in differences if one.p is not None]
    corrected = holm(p_values) if len(p_values) > 1 else [None] * len(differences)
    return PairedComparison(
        dataset=baseline.result.dataset,
        offset=baseline.result.protocol.offset,
        budget=baseline.result.protocol.budget,
        pairs=len(clusters),
        episodes=len(np.unique(clusters)),
        results=tuple(
            ComparedResult(
                name=named.name,
                file=named.file,
                run=named.result.run,
                weights_sha256=named.result.weights_sha256,
                head_sha256=named.result.head_sha256,
                prior_sha256=named.result.prior_sha256,
                anchors=named.result.anchors,
                held_out=named.result.held_out,
                protocol=named.result.protocol,
                success=Rate.of(success, clusters),
                random=Rate.of(random, clusters),
                above_random=Difference.of(success, random, clusters),
                above_baseline=difference,
                p_holm=p_holm,
            )
            for named, success, random, difference, p_holm in zip(
                results, outcomes, baselines, [None, *differences], [None, *corrected], strict=True
            )
        ),
    )


def _in_order(result: EvalResult) -> list[EpisodeResult]:
    """Episodes by seed, as they were, and by pair."""
    seeds = list(result.success_by_seed)
    return sorted(result.episodes, key=lambda one: (seeds.index(one.seed), _pair(one)))


def _differences(one: EvalResult, other: EvalResult) -> Iterator[str]:
    """Whatever keeps two evaluations from being paired, the most telling first."""
    if one.dataset.fingerprint != other.dataset.fingerprint:
        names = one.dataset.name, other.dataset.name
        apart = " and another of the same name" if names[0] == names[1] else f" and {names[1]}"
        yield f"the recordings differ ({names[0]}{apart})"
    for setting, what in (
        ("offset", "environment steps to the goal"),
        ("budget", "environment steps allowed"),
        ("gate", "what counts as reached"),
    ):
        mine, theirs = getattr(one.protocol, setting), getattr(other.protocol, setting)
        if mine != theirs:
            yield f"{setting} {mine} and {theirs} ({what})"
    seeds = len(one.success_by_seed), len(other.success_by_seed)
    if seeds[0] != seeds[1]:
        yield f"{seeds[0]} and {seeds[1]} seeds"
    mine, theirs = (Counter(map(_pair, result.episodes)) for result in (one, other))
    if mine != theirs:
        yield f"{mine.total()} and {theirs.total()} pairs, {(mine & theirs).total()} of them shared"


def _pair(one: EpisodeResult) -> tuple[int, int, int]:
    return one.start_row, one.goal_row, one.episode
