"""TwoRoom in the page: the simulator's own paths and frames, and walls that it does not have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lewm_cli.data import resize
from lewm_cli.report import demo
from lewm_cli.tasks.tworoom.simulator import TwoRoomSimulator

pytest_plugins = ("headless",)

STARTS = {
    "in the left room": (60.0, 150.0),
    "in the door": (108.0, 50.0),
    "before the wall": (97.3, 110.7),
    "in a corner, on the outer wall": (203.0, 14.5),
    "in the right room": (160.1, 47.2),
}

TOUCHING = 11.0
"""Least distance of the disk's center from the middle of a stroke: its radius, and half a stroke's width."""

World = Callable[[str], Any]


@pytest.fixture
def world(open_page: Callable[..., Any]) -> World:
    """Runs JavaScript in a page that has a world of frames of 64 pixels, `world`, begun with seed 0."""
    script = Path(demo.__file__).with_name("tworoom.js").read_text(encoding="utf-8")
    given = "{image_size: 64, goal_radius: 16}"
    page = open_page(f'<link rel="icon" href="data:,"><script>{script}\nlet world = new TwoRoom({given});</script>')
    page.evaluate("world.begin(0)")
    return lambda program: page.evaluate(program)


@pytest.fixture(scope="module")
def simulator() -> TwoRoomSimulator:
    """The simulator itself."""
    return TwoRoomSimulator()


def bytes_of(world: World, name: str) -> np.ndarray:
    """An array of bytes that the world has, as integers."""
    text = world(f"Array.from(world.{name}, (byte) => String.fromCharCode(byte)).join('')")
    return np.frombuffer(text.encode("latin-1"), np.uint8).astype(int)


def actions_of(kind: str, steps: int = 200) -> np.ndarray:
    """Random actions (T, 2): of a walk that turns often, or seldom and so runs along walls and through the door."""
    generator = np.random.default_rng(len(kind))
    if kind == "often":
        return generator.uniform(-1.5, 1.5, (steps, 2)).astype(np.float32)
    turns = np.repeat(generator.uniform(-1.5, 1.5, (steps // 10, 2)), 10, axis=0)
    return (turns + generator.normal(0, 0.2, turns.shape)).astype(np.float32)


def through_door(place: tuple[float, float], steps: int = 200) -> np.ndarray:
    """Actions (T, 2) that lead to the door and back, again and again, missing it at times."""
    generator, at, actions = np.random.default_rng(3), np.array(place), []
    for step in range(steps):
        aim = np.array([60.0 if step // 40 % 2 else 165.0, 49.0])
        away = aim - at + generator.normal(0, 12, 2)
        actions.append(np.clip(away / 5, -1, 1).astype(np.float32))
        at = at + 5 * actions[-1]
    return np.stack(actions)


def simulated(simulator: TwoRoomSimulator, start: Any, actions: np.ndarray) -> np.ndarray:
    """The simulator's path (T + 1, 2)."""
    simulator.begin(np.asarray(start, np.float32), np.asarray((30.0, 190.0), np.float32))
    path = [simulator.position()]
    for action in actions:
        simulator.step(action)
        path.append(simulator.position())
    return np.stack(path)


def followed(world: World, start: Any, actions: np.ndarray) -> np.ndarray:
    """The script's path (T + 1, 2)."""
    goal = "[30, 190]"
    path = world(
        f"world.set({list(map(float, start))}, {goal}),"
        f"Array.from(world.follow(Float32Array.from({actions.ravel().tolist()})))"
    )
    return np.array(path).reshape(-1, 2)


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_paths_are_the_simulators(world: World, simulator: TwoRoomSimulator, start: tuple[float, float]) -> None:
    start = tuple(np.asarray(start, np.float32).tolist())
    door = through_door(start)
    for actions in (actions_of("often"), actions_of("seldom"), door):
        expected = simulated(simulator, start, actions)
        assert np.abs(followed(world, start, actions) - expected).max() < 1e-9
    assert len(set(expected[:, 0] < 112)) == 2  # both rooms were seen


def test_the_world_acts_as_it_follows_until_the_goal(world: World, simulator: TwoRoomSimulator) -> None:
    actions = np.tile(np.float32([-1, 0.01]), (20, 1))
    moments = world(
        f"world.set([90, 150], [30, 150]), world.act(Float32Array.from({actions.ravel().tolist()}))"
        ".then((moments) => moments.map(({position, distance, reached}) => [...position, distance, reached]))"
    )
    expected = simulated(simulator, (90.0, 150.0), actions)[1:]
    simulator.begin(np.float32([90, 150]), np.float32([30, 150]))
    reached = 0
    while not simulator.solved():
        simulator.step(actions[0])
        reached += 1
    assert len(moments) == reached < len(actions)
    assert [moment[3] for moment in moments] == [False] * (reached - 1) + [True]
    assert np.abs(np.array(moments)[:, :2] - expected[:reached]).max() < 1e-9
    assert moments[-1][2] == pytest.approx(simulator.distance(), abs=1e-5)


@pytest.mark.parametrize("size", [224, 112, 64, 60, 56, 256])
def test_frames_are_the_simulators(world: World, simulator: TwoRoomSimulator, size: int) -> None:
    world(f"world = new TwoRoom({{image_size: {size}, goal_radius: 16}}), world.begin(0)")
    for place in ((60.0, 150.0), (112.4, 50.25), (21.0, 21.0), (99.5, 107.77), (209.0, 14.1), (124.5, 62.3)):
        goal = (30.0, 190.0)
        simulator.begin(np.asarray(place, np.float32), np.asarray(goal, np.float32))
        world(f"world.set({list(place)}.map(Math.fround), {list(goal)})")
        rgba = bytes_of(world, "now.frame.data").reshape(224, 224, 4)
        assert (rgba[..., 3] == 255).all()
        assert np.abs(rgba[..., :3] - simulator.frame().astype(int)).max() <= 1
        expected = resize(simulator.frame()[None], size)[0].astype(int)
        difference = np.abs(bytes_of(world, "now.seen").reshape(size, size, 3) - expected)
        assert difference.max() <= 1
        assert (difference > 0).mean() < (1e-3 if size <= 224 else 1e-2)  # OpenCV enlarges with rounded weights
    goal_frame = bytes_of(world, "goal.frame.data").reshape(224, 224, 4)[..., :3]
    assert np.abs(goal_frame - simulator.goal_frame().astype(int)).max() <= 1


def test_pairs_are_those_of_recordings(world: World, simulator: TwoRoomSimulator) -> None:
    environment = simulator._environment
    drawn = []
    for seed in range(50):
        start, goal = world(f"world.begin({seed}).then(() => [world.now.position, world.goal.position])")
        environment.variation_space["agent"]["position"].set_value(np.float32(start))
        assert environment._constrain_target_by_min_steps(np.float32(goal))
        assert environment._constrain_agent_not_in_wall(np.float32(start))
        assert 14 <= min(*start, *goal) <= max(*start, *goal) <= 209
        drawn.append((*start, *goal))
    assert len(set(drawn)) == 50
    assert len({place[0] < 112 for place in drawn}) == 2
    assert world("world.begin(7).then(() => [...world.now.position, ...world.goal.position])") == list(drawn[7])


@pytest.mark.parametrize(
    ("place", "free"),
    [
        ((60, 60), True),
        ((112, 49), True),
        ((112, 62), False),
        ((105, 150), False),
        ((14, 14), True),
        ((13, 60), False),
        ((60, 215), False),
        ((60, 160), False),  # on the stroke
        ((60, 171.5), True),
        ((60, 169), False),  # beside it, but the disk would touch it
    ],
)
def test_places_in_walls_are_refused(world: World, place: tuple[float, float], free: bool) -> None:
    world("world.set([30, 30], [190, 190]), world.drawWall([40, 160], [80, 160])")
    for name, moment, before in (("placeGoal", "goal", [190, 190]), ("placeAgent", "now", [30, 30])):
        assert world(f"world.{name}({list(place)})") is free
        assert world(f"world.{moment}.position") == (list(place) if free else before)


def test_the_disk_never_overlaps_a_drawn_wall(world: World) -> None:
    least, moved, touched = world(
        """async () => {
          let least = Infinity, moved = 0, touched = 0;
          const random = seededUniform(5);
          for (let round = 0; round < 20; round++) {
            world.clearWalls();
            await world.begin(round);
            for (let k = 0; k < 12; k++) {
              const [x, y, dx, dy] = Array.from({ length: 4 }, random);
              world.drawWall([224 * x, 224 * y], [224 * x + 160 * (dx - 0.5), 224 * y + 160 * (dy - 0.5)]);
            }
            let turn = 0;
            const turns = Float32Array.from({ length: 1000 }, (_, k) => {
              if (k % 16 < 2) turn = 3 * random() - 1.5;
              return k % 16 % 2 === 0 ? turn : 3 * random() - 1.5;
            });
            const path = world.follow(turns);
            for (let k = 0; k + 3 < path.length; k += 2) {
              const [from, to] = [path.subarray(k, k + 2), path.subarray(k + 2, k + 4)];
              const away = clearance(world.walls, to, to);
              least = Math.min(least, away);
              touched += away < 11.01;
              moved += Math.hypot(to[0] - from[0], to[1] - from[1]) > 0.1;
            }
          }
          return [least, moved, touched];
        }"""
    )
    assert least >= TOUCHING
    assert moved > 2000  # it is not that the disk never moves
    assert touched > 500


@pytest.mark.parametrize(
    ("stroke", "action", "end"),
    [
        (((20, 100), (80, 100)), (0.0, 1.0), (50, 100 - TOUCHING)),  # into it: it stops
        (((20, 100), (80, 100)), (0.5, 1.0), (50 + 2.5 * 8, 100 - TOUCHING)),  # askew: it goes along
        (((100, 50), (0, 150)), (1.0, 1.0), (75 - TOUCHING / 2**0.5, 75 - TOUCHING / 2**0.5)),
        (((90, 40), (90, 150)), (0.0, 1.0), (50, 50 + 8 * 5)),  # none in the way
    ],
)
def test_a_way_ends_at_a_wall_or_goes_along_it(
    world: World, stroke: Any, action: tuple[float, float], end: tuple[float, float]
) -> None:
    start = (50.0, 50.0)
    world(f"world.set({list(start)}, [190, 190]), world.drawWall({list(stroke[0])}, {list(stroke[1])})")
    steps = 8 if action[0] != action[1] else 20
    actions = np.tile(np.float32(action), (steps, 1))
    path = world(f"Array.from(world.follow(Float32Array.from({actions.ravel().tolist()})))")
    assert path[-2:] == pytest.approx(end, abs=0.01)
    assert world("world.clearWalls(), world.walls.length") == 0
    free = world(f"Array.from(world.follow(Float32Array.from({actions.ravel().tolist()})))")
    assert free[-2:] == [min(50 + 5 * steps * action[0], 99.5), 50 + 5 * steps * action[1]]


def test_walls_are_drawn_black_and_never_on_agent_or_goal(world: World) -> None:
    world("world.set([60, 150], [180, 150]), world.drawWall([30, 150], [200, 150])")
    ends = np.array(world("world.walls"))
    assert len(ends) == 3  # before the agent, between agent and goal, beyond the goal
    for place in ((60, 150), (180, 150)):
        assert np.abs(ends[..., 0] - place[0]).min() == pytest.approx(TOUCHING, abs=0.01)
    frame, goal = (bytes_of(world, f"{moment}.frame.data").reshape(224, 224, 4) for moment in ("now", "goal"))
    assert frame[150, 90, 0] == goal[150, 90, 0] == 0
    assert frame[150, 60, 0] == goal[150, 180, 0] == 255
    world("world.drawWall([60, 150], [60, 150]), world.drawWall([65, 155], [55, 145])")
    assert len(world("world.walls")) == 3
    assert world("world.begin(3).then(() => clearance(world.walls, world.now.position, world.now.position))") > TOUCHING


def test_a_world_full_of_walls_begins_without_them(world: World) -> None:
    world("() => { for (let y = 0; y < 224; y += 8) world.drawWall([0, y], [224, y]); }")
    assert world("world.begin(1).then(() => world.walls.length)") == 0
    assert (bytes_of(world, "goal.frame.data").reshape(224, 224, 4)[:, 30, 0] == 0).sum() == 8
