"""The table of what a training step of each method costs."""

from types import ModuleType

import numpy as np
import pytest
from test_results_page import generator

from families import AROUND_LEWM


@pytest.fixture(scope="module")
def step() -> ModuleType:
    return generator("step")


def test_ratios_are_to_the_first_within_each_round(step: ModuleType):
    machine = np.array([1.0, 3.0, 2.0, 8.0])[:, None]  # how slow it was in each round
    first, dear, cheap = step.costs(["`lewm`", "dear", "cheap"], 8, 0.01 * machine * [1.0, 1.5, 0.5])
    assert (first.ratio, first.low, first.high) == (1, 1, 1)
    assert (dear.ratio, dear.low, dear.high) == pytest.approx((1.5, 1.5, 1.5))
    assert dear.milliseconds == pytest.approx(37.5)
    page = step.table([first, dear, cheap])
    assert "| dear | 8 | 37.5 | 1.50 [1.50, 1.50] |" in page
    assert "dearer are dear at latent 8" in page
    assert "none is dearer" in step.table([first, cheap])


def test_every_method_and_addition_takes_steps(step: ModuleType):
    contenders = step.Contender.all(latent=4)
    assert [one.title for one in contenders[: len(AROUND_LEWM)]] == [f"`{name}`" for name in AROUND_LEWM]
    assert {one.config.model.latent for one in contenders} == {4}
    for one in contenders:
        running = one.start()
        trained = running.learner.trained
        before = [parameter.clone() for parameter in trained]
        running.clips = running.clips.each(lambda part: part[:4])
        assert running.timed() >= 0
        changed = [bool((old != new).any()) for old, new in zip(before, trained, strict=True)]
        assert np.mean(changed) > 0.5, one.title
    for term in step.ADDED:
        (added,) = (one for one in contenders if one.title == f"`lewm` + {term}")
        assert getattr(added.config.objective, term) > 0
