"""Runs that were never trained, and images of TwoRoom, for plans that need no dataset."""

from collections.abc import Callable
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from lewm_cli.config import ActionStats, PixelStats
from lewm_cli.data import resize
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.model import normalize_pixels
from lewm_cli.store import Home, Run, RunFiles, load_run, save_run
from lewm_cli.tasks import find_task
from lewm_cli.tasks.tworoom.simulator import TwoRoomSimulator
from places import GOAL, PICK, RUN, START


@pytest.fixture(scope="session")
def tworoom() -> TwoRoomSimulator:
    """The real simulator, its agent at START and its target at GOAL."""
    simulator = find_task("tworoom").make_simulator()
    simulator.begin(START, GOAL)
    return simulator


@pytest.fixture(scope="session")
def frames(tworoom: TwoRoomSimulator) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the camera at START and at GOAL."""
    tworoom.begin(START, GOAL)
    return tworoom.frame(), tworoom.goal_frame()


@pytest.fixture
def images(tmp_path: Path, frames: tuple[np.ndarray, np.ndarray]) -> tuple[Path, Path]:
    """These frames as files."""
    paths = tmp_path / "start.png", tmp_path / "goal.png"
    for path, frame in zip(paths, frames, strict=True):
        imageio.imwrite(path, frame)
    return paths


@pytest.fixture
def seeing_model(small_model: JEPA, tworoom: TwoRoomSimulator) -> JEPA:
    """A scrambled model whose latents tell places of TwoRoom apart: their hidden layer is normalized over some."""
    seen = []
    for x in (40.0, 70.0, 160.0, 190.0):
        for y in (40.0, 80.0, 140.0, 190.0):
            tworoom.begin(np.array([x, y], np.float32), GOAL)
            seen.append(tworoom.frame())
    pixels = normalize_pixels(torch.from_numpy(resize(np.stack(seen), 64)), PixelStats())
    linear, norm = small_model.projector.net[:2]
    with torch.no_grad():
        hidden = linear(small_model.encoder(pixels))
        norm.running_mean.copy_(hidden.mean(dim=0))
        norm.running_var.copy_(hidden.var(dim=0))
    return small_model


@pytest.fixture
def tworoom_run(home: Home, seeing_model: JEPA, small_card: Callable[[JEPA], RunCard]) -> Run:
    """A run of TwoRoom that was never trained, in a home of its own."""
    save_run(RunFiles(home.run_stem(RUN)), seeing_model, small_card(seeing_model))
    return load_run(home, RUN)


@pytest.fixture
def pick_run(home: Home, small_model: JEPA, small_card: Callable[[JEPA], RunCard], scramble: Callable) -> Run:
    """A run of a robot with 7 action dimensions that has no simulator, never trained."""
    model = JEPA(small_model.config, block_dim=14)
    scramble(model)
    card = small_card(small_model)
    actions = ActionStats(mean=tuple(0.1 * dim for dim in range(7)), std=tuple(0.5 + dim for dim in range(7)))
    inputs = card.inputs.model_copy(update={"task": "generic", "frameskip": 2, "actions": actions})
    save_run(RunFiles(home.run_stem(PICK)), model, card.model_copy(update={"inputs": inputs}))
    return load_run(home, PICK)
