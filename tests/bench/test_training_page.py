"""The tables of what a training step costs."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from test_results_page import generator


@pytest.fixture(scope="module")
def training() -> ModuleType:
    generator("results")
    return generator("training")


def test_ratios_are_within_rounds_and_without_the_first(training: ModuleType):
    machine = np.array([50.0, 1.0, 3.0, 2.0])  # how slow it was in each round
    losses = np.array([1.0, 0.9, 0.8, 0.7])
    theirs = np.stack([0.3 * machine, losses], axis=1)
    ours = np.stack([0.2 * machine, losses + np.array([0, 0, 1e-5, 0])], axis=1)
    ours[0, 0] = 1000
    speed = training.Speed.of("release, float32", theirs, ours)
    assert (speed.ratio, speed.low, speed.high) == pytest.approx((1.5, 1.5, 1.5))
    assert (speed.theirs, speed.ours, speed.apart) == pytest.approx((600, 400, 1e-5))
    page = training.page([speed], [])
    assert "| release, float32 | 600 | 400 | 1.50 [1.50, 1.50] | 1e-05 in 4 steps |" in page
    assert "The aims are met" in page
    assert "release, float32 is short of 1.2" in training.page(
        [training.Speed.of("release, float32", ours, theirs)], []
    )


def test_both_take_the_same_steps(training: ModuleType):
    exact, half = training.against_theirs(training.Size("small", 4, 32, 1), rounds=3)
    assert exact.apart < 1e-4
    assert 0 < half.apart < 0.1
    assert exact.theirs > 0


def test_a_size_is_measured_with_the_settings_it_names(training: ModuleType):
    size = training.Size("small", 2, 48, 3, checkpointing=True)
    learner = size.learner()
    assert len(learner.model.encoder.layers) == 3
    assert learner.model.encoder.checkpointing
    assert size.clips(0).pixels.shape == (2, 4, 48, 48, 3)
    cost = training.measure(size, steps=1)
    assert cost.milliseconds > 0
    assert cost.memory >= 0
    assert "| 2 | 48 | 3 | 7 | 30 | 9 | 20 |" in training.page(
        [], [(size, training.Cost(7, 30)), (size, training.Cost(9, 20))]
    )


def test_a_section_is_written_between_its_markers(training: ModuleType, tmp_path: Path):
    path = tmp_path / "performance.md"
    path.write_text("# Performance\n\n<!-- training -->\nold\n<!-- /training -->\n\n<!-- reading -->\nkept\n")
    training.write_section(path, "training", "new")
    assert path.read_text() == "# Performance\n\n<!-- training -->\nnew\n<!-- /training -->\n\n<!-- reading -->\nkept\n"
    training.write_section(path, "other", "more")
    assert path.read_text().endswith("\n\n<!-- other -->\nmore\n<!-- /other -->\n")
