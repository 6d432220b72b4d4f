"""Means with an interval over episodes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lewm_cli.statistics import Estimate


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(0, 5)), min_size=1, max_size=30))
def test_interval_holds_the_mean_and_knows_what_an_episode_is(drawn: list[tuple[float, int]]):
    values, clusters = (np.array(part) for part in zip(*drawn, strict=True))
    found = Estimate.of_mean(values, clusters)
    assert found.value == pytest.approx(values.mean(), abs=1e-9)
    assert values.min() - 1e-9 <= found.low <= found.high <= values.max() + 1e-9
    twice = Estimate.of_mean(np.tile(values, 2), np.tile(clusters, 2))  # the same said twice is no more evidence
    assert (twice.low, twice.high) == (pytest.approx(found.low, abs=1e-6), pytest.approx(found.high, abs=1e-6))


def test_estimate_is_written_with_its_interval():
    estimate = Estimate(value=0.5, low=0.25, high=0.75)
    assert (str(estimate), f"{estimate:.1f}") == ("0.500 [0.250, 0.750]", "0.5 [0.2, 0.8]")
