"""How small a change is found, by detectors whose threshold is known, and in TwoRoom."""

import numpy as np
import pytest

from lewm_cli.surprise.dose_result import DetectorDoses, half_found
from lewm_cli.tasks import PUSHT, TWOROOM, Simulator

SIZES = np.geomspace(1, 64, 7)
EPISODES = np.arange(200)


def doses(values: np.ndarray) -> DetectorDoses:
    return DetectorDoses.of(SIZES, values, 1.0, EPISODES[: values.shape[1]], 0)


@pytest.mark.parametrize("half", [3.0, 10.0, 30.0])
def test_size_that_is_found_half_of_the_time_is_that_of_the_detector(half: float):
    noise = np.random.default_rng(0).normal(0, 0.7, (len(SIZES), len(EPISODES)))
    found = doses(np.exp(np.log(SIZES / half)[:, None] + noise))
    assert found.half == pytest.approx(half, rel=0.12)
    assert found.half_low < half < found.half_high
    assert found.half_high / found.half_low < 1.5
    few = doses(np.exp(np.log(SIZES / half)[:, None] + noise)[:, :15])
    assert few.half_high / few.half_low > found.half_high / found.half_low
    assert [one.trials for one in found.found] == [200] * 7


def test_size_beyond_those_that_were_tried_is_not_told():
    never, always = doses(np.zeros((7, 20))), doses(np.full((7, 20), 9.0))
    assert (never.half, never.half_low, never.half_high) == (None, None, None)
    assert (always.half, always.half_low, always.half_high) == (1.0, 1.0, 1.0)
    late = np.zeros((7, 20))
    late[-1, :11] = 9.0
    assert 32 < doses(late).half < 64
    assert doses(late).half_high is None


@pytest.mark.parametrize(
    ("shares", "half"),
    [
        ([0, 0, 0, 1, 1, 1, 1], np.sqrt(4 * 8)),
        ([0, 0.5, 1, 1, 1, 1, 1], 2),
        ([0, 0.25, 0.75, 1, 1, 1, 1], np.sqrt(2 * 4)),
        ([0, 0.6, 0.2, 1, 1, 1, 1], 4 * 2 ** (1 / 6)),  # pooled to 0.4, 0.4
    ],
)
def test_shares_are_made_to_rise_and_interpolated_over_the_logarithm(shares: list[float], half: float):
    assert half_found(SIZES, np.array(shares, float)) == pytest.approx(half)


@pytest.fixture(scope="module")
def tworoom() -> Simulator:
    return TWOROOM.make_simulator()


@pytest.mark.slow
@pytest.mark.parametrize("start", [(60.0, 150.0), (112.0, 49.0), (21.0, 21.0), (112.0, 40.0)])
def test_teleport_is_as_large_as_asked(tworoom: Simulator, start: tuple[float, float]):
    for size in (1.0, 20.0, 91.0):
        tworoom.begin(np.array(start), np.array([160.0, 150.0]))
        before = tworoom.position()
        assert tworoom.perturb("teleport", np.random.default_rng(0), size) == pytest.approx(size, abs=1e-3)
        assert np.linalg.norm(tworoom.position() - before) == pytest.approx(size, abs=1e-3)
        if start != (112.0, 40.0):  # which overlaps the edge of the door
            assert tworoom.route_valid(tworoom.position()[None])


@pytest.mark.slow
@pytest.mark.parametrize("agent", [(200.0, 150.0), (8.0, 150.0)])  # walls do not hold it
def test_agent_and_block_jump_as_far_together_as_asked(agent: tuple[float, float]):
    simulator, start = PUSHT.make_simulator(), np.array([*agent, 300.0, 330.0, 1.0, 0.0, 0.0])
    for size in (4.0, 60.0, 235.0):
        simulator.begin(start, start)
        assert simulator.perturb("teleport", np.random.default_rng(0), size) == pytest.approx(size, rel=1e-3)
