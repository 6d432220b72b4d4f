"""One seed is a series of one: what several seeds of planning say together."""

from dataclasses import replace

import numpy as np
import pytest

from commands import flat
from lewm_cli.errors import LewmError
from lewm_cli.evaluate import EvalResult, NamedResult, compare
from lewm_cli.report import evaluation_tables
from lewm_cli.report.summary import headlines, sentences
from lewm_cli.statistics import Difference, Rate
from reports import full_report

REPORT = full_report()
FIRST = REPORT.evaluation


def under_seed(seed: int, solved: int) -> EvalResult:
    """The same pairs under another seed, the first so many of them solved."""
    protocol = FIRST.protocol.model_copy(update={"planning_seed": seed})
    episodes = tuple(
        one.model_copy(update={"seed": seed, "success": one.solved_at_start or k < solved})
        for k, one in enumerate(FIRST.episodes)
    )
    return FIRST.model_copy(update={"protocol": protocol, "episodes": episodes, "seconds": 9.0})


SECOND = under_seed(43, solved=12)
BOTH = EvalResult.over_seeds([FIRST, SECOND])


def outcomes(name: str) -> np.ndarray:
    return np.array([[getattr(one, name) for one in result.episodes] for result in (FIRST, SECOND)])


def test_of_one_seed_it_is_that_result():
    assert EvalResult.over_seeds([FIRST]) is FIRST


def test_rates_and_differences_are_over_seeds_and_pairs():
    clusters = np.array([one.episode for one in FIRST.episodes])
    success, random = outcomes("success"), outcomes("random_success")
    assert BOTH.overall.success == Rate.of(success, clusters)
    assert BOTH.overall.random == Rate.of(random, clusters)
    assert BOTH.above_random == Difference.of(success, random, clusters)
    assert (BOTH.overall.pairs, BOTH.overall.success.trials) == (40, 80)
    assert BOTH.success_by_seed == {42: success[0].mean(), 43: success[1].mean()}
    assert BOTH.solved_at_start == FIRST.solved_at_start  # of the pairs, which are the same
    for joined, alone in zip(BOTH.groups, FIRST.groups, strict=True):
        assert (joined.name, joined.pairs) == (alone.name, alone.pairs)
        assert joined.random.trials == 2 * alone.random.trials


def test_what_it_took_is_added_up():
    assert BOTH.protocol == FIRST.protocol
    assert BOTH.plans == 2 * FIRST.plans
    assert BOTH.seconds == FIRST.seconds + 9
    assert BOTH.split.total == pytest.approx(2 * FIRST.split.total)
    assert BOTH.seconds_per_plan == pytest.approx(FIRST.seconds_per_plan)
    assert BOTH.iterations_per_plan == pytest.approx(FIRST.iterations_per_plan)
    assert BOTH.episodes == (*FIRST.episodes, *SECOND.episodes)
    assert EvalResult.model_validate_json(BOTH.model_dump_json()) == BOTH


def test_tables_and_page_say_that_there_are_seeds():
    table, seeds = evaluation_tables([BOTH])
    assert "2 seeds of planning" in table.title
    assert "over seeds and episodes together" in table.caption
    assert [column.header for column in seeds.columns] == ["steps ahead", "seed 42", "seed 43"]
    report = replace(REPORT, evaluation=BOTH)
    assert "of 40 goals under 2 seeds each" in headlines(report)[0].context
    assert f"reached {BOTH.overall.success.successes} of 80 goals" in flat(" ".join(sentences(report)))


def test_seed_is_compared_with_seed():
    other = EvalResult.over_seeds([under_seed(42, solved=30), under_seed(43, solved=20)])
    shuffled = other.model_copy(update={"episodes": other.episodes[::-1]})
    comparison = compare([NamedResult("both", "both.json", BOTH), NamedResult("other", "other.json", shuffled)])
    success = np.array([[one.success for one in other.episodes[start : start + 40]] for start in (0, 40)])
    clusters = np.array([one.episode for one in FIRST.episodes])
    assert comparison.results[1].above_baseline == Difference.of(success, outcomes("success"), clusters)
    assert comparison.results[1].above_baseline.p is comparison.results[1].p_holm is None
    assert (comparison.pairs, comparison.results[0].success) == (40, BOTH.overall.success)


def test_other_numbers_of_seeds_are_not_compared():
    named = [NamedResult("one", "one.json", FIRST), NamedResult("two", "two.json", BOTH)]
    with pytest.raises(LewmError, match="1 and 2 seeds;"):
        compare(named)
