"""Actors without a model act in the same loop as the planner, each from the seed of its episode."""

import numpy as np
import pytest

from lewm_cli.config import EvalProtocol
from lewm_cli.control import Actor, Clock, NoActionActor, RandomActor
from lewm_cli.evaluate import EpisodeResult, EvaluationLoop, pair_seed
from lewm_cli.simulate import InProcess, Pair, RunActor
from toys import ToySimulator, toy

PROTOCOL = EvalProtocol(budget=6, pairs=2)
PAIRS = [Pair(number, 10 * number, 10 * number + 5, np.array([3.0, 0]), np.array([7.0, 0])) for number in range(2)]
SEEDS = [pair_seed(PROTOCOL.drawn_with, pair, stream=0) for pair in PAIRS]


def play(actor: Actor) -> list[EpisodeResult]:
    done: list[int] = []
    results = EvaluationLoop(PROTOCOL, actor, InProcess(toy()), Clock(), done.append).play(PAIRS, None, begun=0.0)
    assert sum(done) == len(PAIRS) * PROTOCOL.budget
    return results


def test_random_actions_are_those_of_the_seed_in_the_loop_and_in_the_process_of_the_simulator():
    sample = ToySimulator(None).random_action
    for pair, seed, played in zip(PAIRS, SEEDS, play(RandomActor(sample)), strict=True):
        place, generator = pair.start.copy(), np.random.default_rng(seed)
        for _ in range(PROTOCOL.budget):
            place += sample(generator)
        assert played.final_distance == pytest.approx(np.linalg.norm(place - pair.goal))
        request = RunActor(pair, "simulator", PROTOCOL.budget, RandomActor, seed)
        assert InProcess(toy()).submit(0, request).result().found == played.success


def test_no_action_leaves_everything_where_it_is():
    for played in play(NoActionActor(ToySimulator(None).random_action)):
        assert (played.success, played.final_distance, played.iterations) == (False, 4, 0)
