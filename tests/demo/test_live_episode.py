"""Live episodes: the simulator steps as elsewhere, and plans are those of the planner."""

import base64
from collections.abc import Callable

import numpy as np
import pytest
import torch

from lewm_cli.config import PlannerConfig
from lewm_cli.control import Observation, Planner
from lewm_cli.data import resize
from lewm_cli.demo import LiveEpisode
from lewm_cli.demo.live_episode import Moment, PlanBefore, PlanFound, PlanRequest
from lewm_cli.errors import LewmError

pytest_plugins = ("living",)

Build = Callable[[str], LiveEpisode]

CEM = PlannerConfig(candidates=40, elites=8, iterations=3, horizon=3, receding=1, warm_start=True)
ICEM = PlannerConfig(solver="icem", candidates=40, elites=10, iterations=3, horizon=3, receding=1, warm_start=True)


@pytest.fixture
def pusht(live_episode: Build) -> LiveEpisode:
    return live_episode("pusht")


def floats(packed: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed), "<f4")


def frame(moment: Moment, size: int = 224) -> np.ndarray:
    return np.frombuffer(base64.b64decode(moment.frame), np.uint8).reshape(size, size, 3)


def seen(moment: Moment) -> np.ndarray:
    return np.frombuffer(base64.b64decode(moment.seen), np.uint8).reshape(64, 64, 3)


@pytest.mark.parametrize("name", ["pusht", "cube", "reacher"])
def test_it_steps_the_simulator_from_a_recorded_start(live_episode: Build, name: str) -> None:
    episode = live_episode(name)
    simulator = episode.task.make_simulator()
    begun = episode.begin(1)
    pair = episode.pairs[1]
    simulator.begin(pair.goal, pair.goal)
    assert begun.goal.position == tuple(simulator.position())
    simulator.begin(pair.start, pair.goal)
    assert begun.size == 224
    assert np.array_equal(frame(begun.goal), simulator.goal_frame())
    assert begun.goal.reached
    actions = np.random.default_rng(0).uniform(-0.5, 0.5, (6, episode.run.card.inputs.actions.dim)).astype(np.float32)
    moments = [begun.now, *episode.act(actions[:4]).moments, *episode.act(actions[4:]).moments]
    for step, moment in enumerate(moments):
        if step:
            simulator.step(actions[step - 1])
        assert moment.position == tuple(simulator.position())
        assert moment.distance == simulator.distance()
        assert moment.reached is bool(simulator.solved())
        assert np.array_equal(frame(moment), simulator.frame())
        assert np.array_equal(seen(moment), resize(simulator.frame()[None], 64)[0])
    assert len(moments) == 7


def test_steps_end_at_the_goal(pusht: LiveEpisode) -> None:
    pair = pusht.pairs[0]
    pusht.pairs = [type(pair)(0, 0, 0, pair.start, pair.start)]
    assert pusht.begin(0).now.reached
    taken = pusht.act(np.zeros((5, 2), np.float32)).moments
    assert [moment.reached for moment in taken] == [True]


def test_another_seed_is_another_pair_and_begins_anew(pusht: LiveEpisode) -> None:
    first = pusht.begin(0)
    pusht.act(np.full((3, 2), 0.3))
    assert pusht.begin(0) == first
    assert pusht.begin(2).now.position != first.now.position
    assert pusht.begin(len(pusht.pairs)) == first


@pytest.mark.parametrize("config", [CEM, ICEM], ids=["cem", "icem"])
def test_plans_are_those_of_the_planner(pusht: LiveEpisode, config: PlannerConfig) -> None:
    now, goal = (frame(moment) for moment in (pusht.begin(0).now, pusht.begin(0).goal))
    planner = Planner(pusht.run, config)
    (memory,) = planner.begin([Observation(goal)], [3])
    (expected,) = planner.act([memory], [Observation(now)])
    found = pusht.plan(PlanRequest(settings=config, seed=3))
    assert np.array_equal(floats(found.actions).reshape(-1, 2), expected.astype(np.float32))
    assert np.array_equal(floats(found.blocks).reshape(3, 10), memory.plan.actions[0].numpy())
    assert found.cost == float(memory.plan.cost)
    imagined = floats(found.imagined).reshape(4, 8)
    assert imagined[0] == pytest.approx(planner.embed([Observation(now)])[0].numpy())
    # What is left of it is where the next one begins.
    after = frame(pusht.act(expected[:5]).moments[-1])
    memory.generator = torch.Generator().manual_seed(4)
    (second,) = planner.act([memory], [Observation(after)])
    warm = PlanBefore(blocks=tuple(floats(found.blocks)), carried=tuple(tuple(floats(one)) for one in found.carried))
    again = pusht.plan(PlanRequest(settings=config, seed=4, warm=warm))
    assert np.array_equal(floats(again.actions).reshape(-1, 2), second.astype(np.float32))
    cold = pusht.plan(PlanRequest(settings=config, seed=4))
    assert not np.array_equal(floats(cold.actions), floats(again.actions))


def test_a_plan_brings_candidates_of_every_iteration(pusht: LiveEpisode) -> None:
    pusht.begin(0)
    found: PlanFound = pusht.plan(PlanRequest(settings=CEM))
    assert [one.number for one in found.iterations] == [1, 2, 3]
    for one in found.iterations:
        costs = [candidate.cost for candidate in one.candidates]
        assert len(costs) == 24
        assert costs == sorted(costs)
        assert costs[0] == one.lowest < one.mean
        elites = [candidate.elite for candidate in one.candidates]
        assert elites == sorted(elites, reverse=True)
        assert any(elites)
        assert not all(elites)
        assert {len(floats(candidate.actions)) for candidate in one.candidates} == {3 * 10}


def test_what_is_left_of_a_longer_or_shorter_plan_fits(pusht: LiveEpisode) -> None:
    pusht.begin(0)
    for length in (10, 90):
        found = pusht.plan(
            PlanRequest(settings=ICEM, warm=PlanBefore(blocks=(0.1,) * length, carried=((0.2,) * length,)))
        )
        assert len(floats(found.blocks)) == 30


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (np.zeros((3, 3)), r"the shape \(3, 3\); pusht takes 1 to 256 at once, of 2 numbers each"),
        (np.zeros(2), "the shape"),
        (np.zeros((0, 2)), "the shape"),
        (np.zeros((257, 2)), "the shape"),
        (np.full((1, 2), np.nan), "not a finite number"),
        (np.full((1, 2), 1e300), "not a finite number"),
    ],
)
def test_actions_that_are_none(pusht: LiveEpisode, actions: np.ndarray, words: str) -> None:
    before = pusht.begin(0).now
    with pytest.raises(LewmError, match=words):
        pusht.act(actions)
    assert pusht.act(np.zeros((1, 2))).moments[0].distance == pytest.approx(before.distance, abs=5)


def test_nothing_has_begun(pusht: LiveEpisode) -> None:
    for asked in (lambda: pusht.act(np.zeros((1, 2))), lambda: pusht.plan(PlanRequest(settings=CEM))):
        with pytest.raises(LewmError, match="no episode has begun; begin one first"):
            asked()


def test_a_plan_that_takes_forever(pusht: LiveEpisode) -> None:
    pusht.begin(0)
    with pytest.raises(LewmError, match=r"are 3,000,000,000 model steps; ask for at most 1,000,000"):
        pusht.plan(PlanRequest(settings=PlannerConfig(candidates=10**9, iterations=1, horizon=3, receding=1)))
