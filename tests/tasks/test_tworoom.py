"""TwoRoom: walls, routes, success criteria and groups of pairs."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lewm_cli.tasks import TWOROOM, Simulator
from lewm_cli.tasks.tworoom.walls import Walls

WALL = Walls(center=112.0, thickness=10, door=49.0, half_door=14.0, radius=7.0)
"""The simulator's default: the wall from 107 to 117, the door from 35 to 63, a disk of 7 pixels."""


places = st.tuples(st.floats(20, 204), st.floats(20, 204)).map(np.array)


@given(start=places, step=st.tuples(st.floats(-10, 10), st.floats(-10, 10)).map(np.array))
def test_solid_wall_is_never_overlapped_and_stops_nothing_else(start: np.ndarray, step: np.ndarray):
    if not WALL.free(start[None]):
        return
    end = WALL.slide(start, start + step)
    assert WALL.free(np.stack([start, end]))
    assert np.linalg.norm(end - start) <= np.linalg.norm(step) + 1e-9
    if WALL._clearance(np.stack([start, start + step])) > WALL.radius + 0.01:
        assert (end == start + step).all()


@pytest.mark.parametrize(
    ("start", "step", "end"),
    [
        ((95, 150), (10, 0), (100, 150)),  # head on
        ((100, 150), (5, 5), (100, 155)),  # along it
        ((129, 150), (-10, 0), (124, 150)),  # from the other side
        ((95, 49), (10, 0), (105, 49)),  # through the door
        ((112, 56), (0, 10), (112, 56)),  # at the door's edge
    ],
)
def test_disk_stops_at_a_solid_wall_or_goes_along_it(start: tuple, step: tuple, end: tuple):
    reached = WALL.slide(np.array(start, float), np.array(start, float) + step)
    assert reached == pytest.approx(end, abs=0.01)


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return TWOROOM.make_simulator()


def walk(simulator: Simulator, gate: str, start: tuple, goal: tuple, actions: Sequence[tuple]) -> list[bool]:
    """Whether the goal is reached after each action."""
    simulator.judge_by(gate)
    simulator.begin(np.array(start, np.float32), np.array(goal, np.float32))
    reached = []
    for action in actions:
        simulator.step(np.array(action, np.float32))
        reached.append(simulator.solved())
    return reached


@pytest.mark.slow
def test_gates_of_tworoom_tell_a_clipped_edge_from_a_clean_way(simulator: Simulator):
    right = [(1, 0)] * 10
    clean, clipping = ((90, 49), (140, 49)), ((90, 39), (140, 39))
    for gate in ("simulator", "swept", "route"):
        assert walk(simulator, gate, *clean, right)[-1]
    assert walk(simulator, "simulator", *clipping, right)[-1]  # which the simulator lets through
    assert not walk(simulator, "swept", *clipping, right)[-1]
    assert simulator.position()[0] < 112
    assert not walk(simulator, "route", *clipping, right)[-1]
    # In the swept world, too, what goes around the edge gets there.
    assert walk(simulator, "swept", *clipping, [(0, 1), (0, 1), *right])[-1]


@pytest.mark.slow
def test_free_ways_are_the_same_in_a_world_with_a_solid_wall(simulator: Simulator):
    generator = np.random.default_rng(3)
    for _ in range(20):
        start = generator.uniform((30, 30), (85, 190))
        actions = generator.uniform(-1.2, 0.6, (15, 2))
        ends = []
        for gate in ("simulator", "swept"):
            walk(simulator, gate, tuple(start), (200, 200), actions)
            ends.append(simulator.position())
        if ends[0][0] < 95:  # away from the wall
            assert ends[0] == pytest.approx(ends[1], abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("away", "solved"), [(TWOROOM.goal_radius - 0.1, True), (TWOROOM.goal_radius + 0.1, False)])
def test_goal_is_reached_within_the_radius_that_the_task_names(simulator: Simulator, away: float, solved: bool):
    for gate in TWOROOM.success_criteria:
        simulator.judge_by(gate)
        simulator.begin(np.array((50, 50), np.float32), np.array((50 + away, 50), np.float32))
        assert simulator.solved() is solved


@pytest.mark.slow
def test_proprioception_is_what_is_recorded(simulator: Simulator):
    episode = simulator.demonstrate(np.random.SeedSequence(1), any_start=True)
    felt = episode.columns["proprio"]
    simulator.begin(felt[0], felt[-1])
    for row, action in enumerate(episode.action):
        assert np.array_equal(simulator.proprio(), felt[row])
        assert np.array_equal(simulator.goal_proprio(), felt[-1])
        simulator.step(np.nan_to_num(action))


# Routes

ROUTES = {
    "straight through the wall": ([(60, 150), (160, 150)], False),
    "a leap over the wall": ([(90, 150), (134, 150)], False),
    "through the middle of the door": ([(60, 49), (112, 49), (160, 49)], True),
    "through the door, just clear of its edge": ([(60, 42.01), (160, 42.01)], True),
    "clipping the upper edge of the door": ([(60, 41), (160, 41)], False),
    "clipping the lower edge of the door": ([(60, 57), (160, 57)], False),
    "slanting into the edge of the door": ([(90, 49), (130, 75)], False),
    "along the wall without touching": ([(99.9, 80), (99.9, 200)], True),
    "along the wall, touching": ([(100, 80), (100, 200)], True),
    "along the wall, overlapping": ([(101, 80), (101, 200)], False),
    "staying in a room": ([(40, 40), (60, 180), (20, 100)], True),
    "standing still": ([(40, 40)], True),
    "standing in the wall": ([(112, 150)], False),
    "through the door and back through the wall": ([(60, 49), (160, 49), (160, 150), (60, 150)], False),
}


@pytest.mark.parametrize("route", ROUTES)
def test_route_is_valid_if_the_disk_stays_clear_of_the_wall(route: str):
    path, valid = ROUTES[route]
    assert WALL.free(np.array(path, float)) == valid
    assert WALL.free(np.array(path[::-1], float)) == valid
    mirrored = [(224 - x, y) for x, y in path]
    assert WALL.free(np.array(mirrored, float)) == valid


@pytest.mark.slow
def test_walls_are_those_of_the_simulator(simulator: Simulator):
    simulator.begin(np.array([60.0, 150.0]), np.array([160.0, 150.0]))
    for path, valid in ROUTES.values():
        assert simulator.route_valid(np.array(path, float)) == valid
    # The wall as it is drawn: black between white, and the door open.
    frame = simulator.frame().astype(int).sum(axis=2)
    assert (frame[150, 107:117] < 100).all()
    assert frame[150, 105] > 600
    assert frame[150, 119] > 600
    assert (frame[40:58, 112] > 600).all()


@pytest.mark.slow
def test_groups_are_far_pairs_and_pairs_in_different_rooms(simulator: Simulator):
    for start, goal, groups in (
        ((60, 100), (160, 100), ("at least 32 px apart", "other room")),
        ((100, 49), (124, 49), ("other room",)),
        ((40, 40), (40, 90), ("at least 32 px apart",)),
        ((40, 40), (40, 60), ()),
    ):
        assert simulator.groups(np.array(start, float), np.array(goal, float)) == groups
