"""Live episodes of runs that were never trained, in the real simulators."""

from collections.abc import Callable

import numpy as np
import pytest

from drawing import drawing_simulator
from lewm_cli.config import ModelConfig
from lewm_cli.demo import LiveEpisode
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.simulate import Pair
from lewm_cli.store import Home, RunFiles, load_run, save_run
from lewm_cli.tasks import find_task

OFFSET = 25
STARTS = (0, 20, 40)
FRAMESKIP = 5

Build = Callable[[str], LiveEpisode]


@pytest.fixture
def live_episode(
    home: Home, small_config: ModelConfig, small_card: Callable[[JEPA], RunCard], scramble: Callable
) -> Build:
    """Builds an episode of a task, whose pairs are of one random walk."""

    def build(name: str) -> LiveEpisode:
        task, simulator = find_task(name), drawing_simulator(name)
        generator, states = np.random.default_rng(0), []
        simulator.reset(np.random.SeedSequence([0, 0]))
        for row in range(STARTS[-1] + OFFSET + 1):
            if row == STARTS[-1] + 1:
                simulator.perturb("teleport", generator)  # walking at random does not bring a block far from its goal
            states.append(simulator._state)
            simulator.step(simulator.random_action(generator))
        model = JEPA(small_config, block_dim=FRAMESKIP * len(task.action_bounds))
        scramble(model)
        card = small_card(model)
        card = card.model_copy(update={"inputs": card.inputs.model_copy(update={"task": name})})
        save_run(RunFiles(home.run_stem(f"{name}/lewm")), model, card)
        pairs = [Pair(0, row, row + OFFSET, states[row], states[row + OFFSET]) for row in STARTS]
        return LiveEpisode(load_run(home, f"{name}/lewm"), task, pairs)

    return build
