"""Intervals of rates, of one seed and pooled over seeds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from lewm_cli.statistics import Rate


def test_pooled_rate_of_one_seed_is_the_rate():
    one = np.array([True, True, False, True, False, False])
    clusters = np.array([0, 0, 1, 1, 2, 2])
    pooled, rate = Rate.of(one[None], clusters), Rate.of(one, clusters)
    assert (pooled.rate, pooled.low, pooled.high) == (rate.rate, rate.low, rate.high)
    assert (pooled.successes, pooled.trials) == (3, 6)
    assert str(pooled) == str(rate)


@given(data=st.data(), seeds=st.integers(2, 4), pairs=st.integers(1, 12))
def test_pooled_interval_holds_the_rate(data: st.DataObject, seeds: int, pairs: int):
    outcomes = np.array(
        data.draw(st.lists(st.lists(st.booleans(), min_size=pairs, max_size=pairs), min_size=seeds, max_size=seeds))
    )
    clusters = np.array(data.draw(st.lists(st.integers(0, 5), min_size=pairs, max_size=pairs)))
    pooled = Rate.of(outcomes, clusters)
    assert 0 <= pooled.low <= pooled.rate <= pooled.high <= 1
    assert pooled.low < pooled.high  # however well they agree
    assert pooled.rate == pytest.approx(outcomes.mean())
    assert pooled == Rate.of(outcomes, clusters)


def test_seeds_that_differ_widen_the_interval_and_seeds_that_agree_do_not_narrow_it():
    generator = np.random.default_rng(0)
    pairs = np.arange(200)
    one = generator.random(200) < 0.6
    alike = Rate.of(np.stack([one] * 5), pairs)
    alone = Rate.of(one, pairs)
    assert alike.high - alike.low == pytest.approx(alone.high - alone.low, abs=0.01)
    differing = np.stack([generator.random(200) < rate for rate in (0.3, 0.9, 0.6, 0.45, 0.75)])
    wide = Rate.of(differing, pairs)
    assert wide.high - wide.low > 1.5 * (alone.high - alone.low)
    fresh = Rate.of(generator.random((5, 200)) < 0.6, pairs)  # five times the data
    assert fresh.high - fresh.low < 0.8 * (alone.high - alone.low)


@given(st.lists(st.booleans(), min_size=1, max_size=80))
def test_interval_is_wilsons_with_one_pair_per_episode(outcomes: list[bool]):
    rate = Rate.of(np.array(outcomes), np.arange(len(outcomes)))
    theirs = binomtest(sum(outcomes), len(outcomes)).proportion_ci(method="wilson")
    assert (rate.successes, rate.trials) == (sum(outcomes), len(outcomes))
    assert rate.rate == pytest.approx(sum(outcomes) / len(outcomes))
    assert rate.low == pytest.approx(theirs.low, abs=1e-9)
    assert rate.high == pytest.approx(theirs.high, abs=1e-9)


@given(st.lists(st.booleans(), min_size=2, max_size=30), st.integers(2, 5))
def test_pairs_that_agree_within_episodes_count_as_episodes(outcomes: list[bool], copies: int):
    clusters = np.repeat(np.arange(len(outcomes)), copies)
    repeated = Rate.of(np.repeat(outcomes, copies), clusters)
    naive = Rate.of(np.repeat(outcomes, copies), np.arange(len(clusters)))
    assert repeated.rate == naive.rate
    assert repeated.high - repeated.low > naive.high - naive.low
    # The copies say nothing new: the interval is about that of the episodes alone.
    alone = Rate.of(np.array(outcomes), np.arange(len(outcomes)))
    assert repeated.high - repeated.low == pytest.approx(alone.high - alone.low, rel=0.35)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=60),
)
def test_sharing_episodes_never_narrows_an_interval(pairs: list[tuple[bool, int]]):
    outcomes, clusters = (np.array(part) for part in zip(*pairs, strict=True))
    shared = Rate.of(outcomes, clusters)
    independent = Rate.of(outcomes, np.arange(len(outcomes)))
    assert 0 <= shared.low <= shared.rate <= shared.high <= 1
    assert shared.low <= independent.low + 1e-12
    assert shared.high >= independent.high - 1e-12


def test_rate_is_written_with_its_interval():
    assert str(Rate(successes=289, trials=300, rate=289 / 300, low=0.9354, high=0.98)) == "96.3% [94, 98]"
    assert str(Rate.of(np.array([True]), np.array([0]))) == "100.0% [21, 100]"
