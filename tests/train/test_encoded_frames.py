"""Frames that a frozen encoder has seen once are to a training what they are when it sees them at each step."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from commands import flat, lewm_here
from lewm_cli.config import ActionStats, Inputs, PixelStats
from lewm_cli.data import ClipBatches, Frames, split_clips
from lewm_cli.methods import TrainConfig
from lewm_cli.model import FrozenEncoder, normalize_pixels
from lewm_cli.store import RunFiles, save_run
from lewm_cli.train import EncodedFrames, belong_encoded, encoded_bytes, encoded_frames
from lewm_cli.train.learner import Learner
from synthetic import write_recording

pytest_plugins = ("recordings",)

CPU, SIDE = torch.device("cpu"), 16
SETTINGS = """
seed = 7
data = { workers = 0, frameskip = 2 }
optimizer = { lr = 1e-2, batch_size = 8, precision = "float32" }
schedule = { stop = "4 steps" }

[model]
image_size = 16
encoder = { patch_size = 8, width = 16, depth = 1, heads = 2, mlp = 32 }
predictor = { depth = 3, heads = 2, head_dim = 8, mlp = 32, dropout = 0.0 }
"""


class StillFrames(Frames):
    """Noise, of which every third frame shows the same but for one pixel."""

    def __init__(self, count: int) -> None:
        super().__init__(SIDE, in_threads=True)
        self.pixels = np.random.default_rng(0).integers(256, size=(count, SIDE, SIDE, 3), dtype=np.uint8)
        self.pixels[::3] = self.pixels[0]
        self.pixels[6, -1, -1, -1] ^= 1

    def read(self, rows: np.ndarray, frames: np.ndarray) -> None:
        frames[...] = self.pixels[rows]


def configured(method: str) -> TrainConfig:
    return TrainConfig.build(tomllib.loads(SETTINGS) | {"method": method}, "the test")


def encoder_of(config: TrainConfig) -> FrozenEncoder:
    torch.manual_seed(1)
    assert config.model.image_size == SIDE
    return FrozenEncoder(config.model.encoder, SIDE)


def encoded(frames: Frames, count: int, encoder: FrozenEncoder, precision: str = "float32") -> EncodedFrames:
    done: list[int] = []
    made = EncodedFrames(frames, count, encoder, PixelStats(), CPU, precision)
    made.fill_all(done.append)
    assert sum(done) == count
    return made


@pytest.mark.parametrize("together", [3, 200])
def test_tokens_are_those_of_the_encoder_and_same_frames_are_known(together: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(encoded_frames, "ENCODED_TOGETHER", together)
    frames, encoder = StillFrames(10), encoder_of(configured("gcbc"))
    made = encoded(frames, 10, encoder)
    rows = torch.tensor([[9, 0, 6], [1, 1, 3]])
    expected = encoder(normalize_pixels(torch.from_numpy(frames.pixels), PixelStats()))[rows]
    torch.testing.assert_close(made.at(rows), expected, rtol=1e-5, atol=1e-6)
    everything = torch.arange(10)
    alike = (frames.pixels[:, None] == frames.pixels[None]).all(axis=(2, 3, 4))
    assert made.same(everything[:, None], everything).numpy().tolist() == alike.tolist()
    assert alike.sum() > 10  # some are the same, and one is but for a pixel
    assert not alike[0, 6]


@pytest.mark.parametrize(
    ("method", "phases"),
    [("gcbc", 1), ("gcivl", 2), ("gciql", 2), ("dinowm_noprop", 1)],
)
def test_steps_are_the_same_from_frames_and_from_tokens(tmp_path: Path, method: str, phases: int):
    config, dataset = configured(method), write_and_open(tmp_path)
    inputs = Inputs(task="generic", frameskip=2, actions=ActionStats.fit(dataset.actions))
    frames = StillFrames(len(dataset.actions))
    index = split_clips(dataset, config.data, config.model.history + 1, config.seed).train
    tokens = encoded(frames, len(dataset.actions), encoder_of(config))
    found = []
    for known in (None, tokens):
        torch.manual_seed(3)
        model = type(config.objective).network(config.model, inputs.block_dim)
        model.get_submodule("encoder").load_state_dict(encoder_of(config).state_dict())
        learner = Learner(config, inputs, model, CPU)
        learner.encoded = known
        clips = ClipBatches(index, frames, dataset.actions, inputs, encoded=known is not None)
        assert len(learner.objective.phases) == phases
        for phase in learner.objective.phases:
            learner.phase = phase
            batch = clips.toward(phase.goals)[list(range(8))]
            loss, norm = learner.step(batch, 1e-3)
            assert (batch.pixels.dtype == torch.int64) == (known is not None)
            found.append((loss.total.item(), norm.item(), learner.batch(batch).at_goal))
    for (loss, norm, there), (again, same, also) in zip(found[:phases], found[phases:], strict=True):
        assert again == pytest.approx(loss, rel=1e-5)
        assert same == pytest.approx(norm, rel=1e-4)
        assert there is also is None or torch.equal(there, also)
    if method == "gcivl":
        assert found[0][2].any()  # a fifth of the goals are the present frame


def write_and_open(folder: Path) -> Any:
    from lewm_cli.data import open_dataset

    return open_dataset(write_recording(folder / "pick.h5"), "robot/pick")


def test_tokens_are_kept_where_they_fit_comfortably(monkeypatch: pytest.MonkeyPatch):
    encoder = encoder_of(configured("gcbc"))
    assert encoded_bytes(100, encoder) == encoded(StillFrames(100), 100, encoder).tokens.nbytes == 100 * 4 * 16 * 4
    for free, expected in ((2 * encoded_bytes(100, encoder), True), (2 * encoded_bytes(100, encoder) - 1, False)):
        monkeypatch.setattr(encoded_frames, "available_memory", lambda free=free: free)
        assert belong_encoded(100, encoder, CPU, "auto") is expected
        assert not belong_encoded(100, encoder, CPU, False)


def test_it_is_said_and_can_be_left_out(robot: Path, small_model, small_card):
    save_run(RunFiles(robot / "robot" / "lewm"), small_model, small_card(small_model))
    line = ("train", "robot/pick", "--preset", "small", "--method", "gcbc", "--encoder", "robot/lewm")
    line += ("--steps", 2, "--batch-size", 4)
    kept = lewm_here(robot, *line)
    assert kept.code == 0, kept.err
    assert "the frozen encoder sees each of" in flat(kept.err)
    assert "--set data.in_memory=false encodes them at each step" in flat(kept.err)
    each = lewm_here(robot, *line, "--set", "data.in_memory=false")
    assert each.code == 0, each.err
    assert "sees each of" not in each.err
