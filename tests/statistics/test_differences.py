"""Differences on the same pairs: exact tests, and intervals that know how few pairs there are."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lewm_cli.statistics import Difference, holm
from lewm_cli.statistics.rate import mcnemar

# Of one seed


@given(st.integers(0, 60), st.integers(0, 60))
def test_test_is_the_sum_of_binomial_probabilities(only_this: int, only_other: int):
    discordant = only_this + only_other
    tail = sum(math.comb(discordant, k) for k in range(min(only_this, only_other) + 1))
    exact = min(Fraction(1), 2 * Fraction(tail, 2**discordant))
    assert mcnemar(only_this, only_other) == pytest.approx(float(exact), rel=1e-9)
    assert mcnemar(only_this, only_other) == mcnemar(only_other, only_this)


@pytest.mark.parametrize(
    ("only_this", "only_other", "p"),
    [
        (1, 0, 1.0),
        (0, 5, 0.0625),
        (2, 9, 0.0654296875),
        (7, 7, 1.0),
        (3, 28, 4.649162292480469e-06),
        (12, 31, 0.005401572654591291),
        (100, 140, 0.01166409231767769),
        (0, 224, 7.418412301374843e-68),
    ],
)
def test_test_agrees_with_statsmodels(only_this: int, only_other: int, p: float):
    """Numbers of `mcnemar(..., exact=True)` in statsmodels 0.15.0."""
    assert mcnemar(only_this, only_other) == pytest.approx(p, rel=1e-9)


def test_correction_agrees_with_statsmodels():
    """Numbers of `multipletests(..., method="holm")` in statsmodels 0.15.0."""
    assert holm([0.04, 0.001, 0.02, 0.5, 0.03]) == pytest.approx([0.09, 0.005, 0.08, 0.5, 0.09])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_correction_keeps_the_order_and_never_helps(p_values: list[float]):
    corrected = holm(p_values)
    assert all(p <= after <= 1 for p, after in zip(p_values, corrected, strict=True))
    ranked = [corrected[k] for k in sorted(range(len(p_values)), key=lambda k: p_values[k])]
    assert ranked == sorted(ranked)
    assert min(corrected) == pytest.approx(min(1, len(p_values) * min(p_values)))


@pytest.mark.parametrize(
    ("episodes", "pairs", "of_this", "of_other"),
    [(8, 1, 0.9, 0.4), (40, 1, 0.95, 0.9), (60, 1, 0.5, 0.5), (15, 5, 0.9, 0.7)],
)
def test_interval_holds_the_true_difference_as_often_as_it_says(
    monkeypatch: pytest.MonkeyPatch, episodes: int, pairs: int, of_this: float, of_other: float
):
    monkeypatch.setattr("lewm_cli.statistics.rate.RESAMPLES", 1000)
    generator = np.random.default_rng(0)
    clusters = np.repeat(np.arange(episodes), pairs)
    held = 0
    for _ in range(300):
        # Pairs of one episode are easy or hard together, for both.
        luck = np.repeat(generator.random(episodes), pairs) if pairs > 1 else generator.random(episodes)
        this, other = luck < of_this, (luck + generator.random(episodes * pairs)) % 1 < of_other
        difference = Difference.of(this, other, clusters)
        held += difference.low <= of_this - of_other <= difference.high
    assert held >= 0.92 * 300


def test_pairs_of_one_episode_count_as_one_episode():
    this, other = np.ones(40, bool), np.zeros(40, bool)
    assert Difference.of(this, other, np.zeros(40)).low < 0
    apart = Difference.of(this, other, np.arange(40))
    assert apart.low > 0.8
    together = Difference.of(this, other, np.repeat(np.arange(4), 10))
    assert together.low < apart.low


# Over several seeds


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
