"""Recorded states drawn again: bit for bit by the simulator that recorded them, and a changed world is noticed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from drawing import drawing_simulator
from lewm_cli.data import Dataset, open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.evaluate import redraw
from lewm_cli.simulate import InProcess, Pair
from lewm_cli.tasks import Episode, Simulator, Task, find_task
from synthetic import write_recording

STEPS = 3
"""Few: a frame of Cube takes a tenth of a second."""


@dataclass(frozen=True)
class Recorded:
    """The first steps of a demonstration."""

    task: Task
    simulator: Simulator
    episode: Episode

    def pair(self) -> Pair:
        """From its first row, in motion or not, to its last."""
        start, goal = (
            np.concatenate([np.ravel(self.episode.columns[column][row]) for column in columns]).astype(float)
            for columns, row in ((self.task.start_columns, 1), (self.task.goal_columns, STEPS))
        )
        return Pair(0, 1, STEPS, start, goal)

    def dataset(self, folder: Path, pixels: np.ndarray) -> Dataset:
        """A recording of it with these frames (N, H, W, 3)."""
        length, dims = len(pixels), self.episode.action.shape[1]
        columns = {"pixels": pixels, "action": self.episode.action, **self.episode.columns}
        path = write_recording(folder / "demos.h5", [length], dims=dims, columns=columns, task=self.task.name)
        return open_dataset(path, "demos")


MUJOCO = [pytest.param(name, marks=pytest.mark.slow) for name in ("cube", "reacher")]


@pytest.fixture(scope="module", params=["tworoom", "pusht", *MUJOCO])
def recorded(request: pytest.FixtureRequest) -> Recorded:
    simulator = drawing_simulator(request.param)
    with pytest.MonkeyPatch.context() as patch:
        constant = "MAX_STEPS" if request.param == "tworoom" else "STEPS"
        patch.setattr(f"lewm_cli.tasks.{request.param}.simulator.{constant}", STEPS)
        episode = simulator.demonstrate(np.random.SeedSequence([0, 0]), any_start=False)
    return Recorded(find_task(request.param), simulator, episode)


def test_what_was_recorded_here_is_drawn_again_bit_for_bit(recorded: Recorded, tmp_path: Path):
    dataset, said = recorded.dataset(tmp_path, recorded.episode.pixels), []
    redrawn = redraw(InProcess(recorded.task), recorded.task, dataset, [recorded.pair()], said.append)
    assert (redrawn.frames, redrawn.difference, redrawn.alike) == (2, 0.0, True)
    assert not said


def test_other_colors_are_noticed(recorded: Recorded, tmp_path: Path):
    pair, pixels = recorded.pair(), recorded.episode.pixels.copy()
    recorded.simulator.begin(pair.start, pair.goal)
    recorded.simulator.perturb("color", np.random.default_rng(0))
    pixels[pair.start_row] = recorded.simulator.frame()
    dataset, said = recorded.dataset(tmp_path, pixels), []
    try:
        redrawn = redraw(InProcess(recorded.task), recorded.task, dataset, [pair], said.append)
    except LewmError as refused:
        said.append(str(refused))
    else:
        assert not redrawn.alike
    (sentence,) = said
    assert f"row {pair.start_row} of demos differs by" in sentence


def test_another_world_is_refused(recorded: Recorded, tmp_path: Path):
    upside_down = recorded.episode.pixels[:, ::-1]
    dataset = recorded.dataset(tmp_path, np.ascontiguousarray(upside_down))
    with pytest.raises(LewmError, match=f"simulator of {recorded.task.name} is not the one that recorded it"):
        redraw(InProcess(recorded.task), recorded.task, dataset, [recorded.pair()], lambda said: None)
