"""Demonstrations in a color of their own: all but the frames is as without, and the next one has the usual color."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest

from drawing import drawing_simulator
from lewm_cli.tasks import Episode, Simulator

STEPS = 3
"""Few: a frame of Cube takes a tenth of a second."""

ALIKE = 12
"""RGB levels."""

MUJOCO = [pytest.param(name, marks=pytest.mark.slow) for name in ("cube", "reacher")]


@pytest.fixture(scope="module", params=["tworoom", "pusht", *MUJOCO])
def demonstrated(request: pytest.FixtureRequest) -> Callable[..., Episode]:
    """Records the first steps of a demonstration by its seed."""
    simulator: Simulator = drawing_simulator(request.param)
    constant = "MAX_STEPS" if request.param == "tworoom" else "STEPS"

    def demonstrate(*seed: int, vary_color: bool) -> Episode:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"lewm_cli.tasks.{request.param}.simulator.{constant}", STEPS)
            return simulator.demonstrate(np.random.SeedSequence(seed), any_start=False, vary_color=vary_color)

    return demonstrate


def test_only_the_frames_vary_and_the_seed_decides_how(demonstrated: Callable[..., Episode]):
    varied, plain = (demonstrated(0, 7, vary_color=choice) for choice in (True, False))
    assert plain.columns.keys() == varied.columns.keys()
    for name, values in plain.columns.items():
        np.testing.assert_array_equal(varied.columns[name], values, err_msg=name)
    np.testing.assert_array_equal(varied.action, plain.action)
    assert all((ours != theirs).any() for ours, theirs in zip(varied.pixels, plain.pixels, strict=True))
    assert np.array_equal(demonstrated(0, 7, vary_color=True).pixels, varied.pixels)


def test_color_belongs_to_the_episode(demonstrated: Callable[..., Episode]):
    """The color is that of the pixel that changes most; light and smooth edges make little of it."""
    colors = []
    for number in range(3):
        varied, plain = (demonstrated(1, number, vary_color=choice).pixels.astype(int) for choice in (True, False))
        places = np.abs(varied - plain).sum(axis=-1).reshape(len(plain), -1).argmax(axis=1)
        seen = varied.reshape(len(plain), -1, 3)[np.arange(len(plain)), places]
        assert np.ptp(seen, axis=0).max() <= ALIKE
        colors.append(seen[0])
    assert min(np.abs(ours - theirs).max() for ours, theirs in combinations(colors, 2)) > ALIKE
