"""How far above random: paired differences over seeds, and the verdict that `lewm eval` prints."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, Group

from commands import flat
from lewm_cli.evaluate import EvalResult
from lewm_cli.report import evaluation_tables
from lewm_cli.statistics import Difference
from reports import full_report

EVALUATION = full_report().evaluation


def printed(result: EvalResult) -> str:
    """What a terminal of 80 columns shows, in one line."""
    console = Console(file=io.StringIO(), width=80)
    console.print(Group(*evaluation_tables(result)))
    return flat(console.file.getvalue())


@given(st.lists(st.tuples(*[st.booleans()] * 4, st.integers(0, 6)), min_size=1))
def test_difference_over_seeds_is_that_of_one_seed_where_there_is_one(drawn: list):
    one, other, again, floor, episodes = (np.array(part) for part in zip(*drawn, strict=True))
    alone, single = Difference.of(one, floor, episodes), Difference.of(one[None], floor[None], episodes)
    assert (single.rate, single.low, single.high, str(single)) == (alone.rate, alone.low, alone.high, str(alone))
    pooled = Difference.of(np.stack([one, other]), np.stack([floor, again]), episodes)
    assert pooled.rate == pytest.approx(np.mean([one.mean() - floor.mean(), other.mean() - again.mean()]), abs=1e-12)
    assert -1 <= pooled.low <= pooled.rate + 1e-12
    assert pooled.rate <= pooled.high + 1e-12
    assert pooled.high <= 1


def test_seeds_that_disagree_widen_the_interval():
    floor, episodes = np.zeros((4, 60), bool), np.arange(60)
    alike = np.tile(episodes % 2 == 0, (4, 1))
    apart = np.stack([episodes < solved for solved in (5, 15, 45, 55)])
    narrow, wide = (Difference.of(each, floor, episodes) for each in (alike, apart))
    assert narrow.rate == wide.rate == 0.5
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


@pytest.mark.parametrize(("solved", "shown"), [(1, False), (20, True)])
def test_verdict_is_a_line_of_its_own(solved: int, shown: bool):
    success, random = np.arange(20) < solved, np.zeros(20, bool)
    above = Difference.of(success, random, np.arange(20))
    result = EVALUATION.model_copy(update={"above_random": above})
    verdict = "." if shown else ", not shown to beat random."
    assert f"Above random, same pairs: {above} points{verdict}" in printed(result)
    earlier = EVALUATION.model_copy(update={"above_random": None})
    assert "Above random" not in printed(earlier)
