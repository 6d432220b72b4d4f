"""The whole way around: record PushT, export it to LeRobot, import that, train, plan; beside the recording itself."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from commands import lewm, lewm_here
from lewm_cli.data import Dataset, open_dataset
from lewm_cli.store import Home, Run, dataset_task, load_run
from lewm_cli.tasks import find_task
from synthetic import TINY

ROWS = 125
"""Of an episode of PushT."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a recording of PushT, and a run trained on it."""
    home = tmp_path_factory.mktemp("chain")
    recorded = lewm(home, "collect", "pusht", "--episodes", 2, "--seed", 4, "--workers", 1, "--name", "direct")
    assert recorded.code == 0, recorded.err
    train(home, "direct")
    return home


def train(home: Path, name: str) -> Path:
    """Trains a run on the recording of the same name; its weights."""
    (home / "tiny.toml").write_text(TINY)
    arguments = ("pusht", "--dataset", name, "--preset", "small", "--config", home / "tiny.toml")
    trained = lewm_here(home, "train", *arguments, "--name", f"run/{name}")
    assert trained.code == 0, trained.err
    return home / f"run/{name}.safetensors"


def around(home: Path, name: str, *frames: str) -> Dataset:
    """Exports the recording, and imports what that is."""
    folder = home / "folders" / name
    out = lewm_here(home, "export", "direct", "--to", "lerobot", "--output", folder, "--workers", 1, *frames)
    assert out.code == 0, out.err
    back = lewm_here(home, "import", folder, "--name", name, "--workers", 1)
    assert back.code == 0, back.err
    return open_dataset(home / f"{name}.h5", name)


@pytest.fixture(scope="module")
def direct(home: Path) -> Dataset:
    """The recording itself."""
    return open_dataset(home / "direct.h5", "direct")


@pytest.fixture(scope="module")
def latents(home: Path) -> Callable[[Dataset], np.ndarray]:
    """Latents (N, D) of all frames, by the run that was trained on the recording itself."""
    run: Run = load_run(Home.locate(home), "run/direct")

    def encode(dataset: Dataset) -> np.ndarray:
        with torch.inference_mode():
            return run.embed(dataset.read("pixels", slice(None))).numpy()

    return encode


def test_images_train_and_plan_the_same_bit_for_bit(home: Path, direct: Dataset, latents, tmp_path: Path):
    back = around(home, "png", "--frames", "png")
    assert back.identity.fingerprint == direct.identity.fingerprint
    assert back.episode_digests == direct.episode_digests
    assert dataset_task(back) is dataset_task(direct) is find_task("pusht")  # so that its runs are evaluated there
    np.testing.assert_array_equal(back.read("pixels", slice(None)), direct.read("pixels", slice(None)))
    np.testing.assert_array_equal(latents(back), latents(direct))
    ours, theirs = load_file(home / "run/direct.safetensors"), load_file(train(home, "png"))
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_array_equal(theirs[name], values, err_msg=name)

    import imageio.v3 as imageio

    images = tmp_path / "start.png", tmp_path / "goal.png"
    for image, row in zip(images, (0, 25), strict=True):
        imageio.imwrite(image, back.read("pixels", np.array([row]))[0])
    plans = []
    for name in ("direct", "png"):
        planned = ("--start", images[0], "--goal", images[1], "--horizon", 2, "--output", tmp_path / f"{name}.json")
        done = lewm_here(home, "plan", f"run/{name}", *planned)
        assert done.code == 0, done.err
        plans.append(json.loads((tmp_path / f"{name}.json").read_text())["actions"])
    assert plans[0] == plans[1]


@pytest.mark.parametrize("codec", ["av1", "h264"])
def test_videos_keep_latents_within_the_error_of_the_codec(home: Path, direct: Dataset, latents, codec: str):
    back = around(home, codec, "--codec", codec)
    np.testing.assert_array_equal(back.actions, direct.actions)
    np.testing.assert_array_equal(back.lengths, direct.lengths)
    pixels, recorded = (each.read("pixels", slice(None)).astype(np.float32) for each in (back, direct))
    errors = np.square(pixels - recorded).mean(axis=(1, 2, 3))
    assert 10 * np.log10(255**2 / errors.mean()) > 36
    assert 10 * np.log10(255**2 / errors.max()) > 33  # every frame stands at its place
    away = np.linalg.norm(latents(back) - latents(direct), axis=1)
    step = np.linalg.norm(np.diff(latents(direct)[:ROWS], axis=0), axis=1)
    assert 0 < np.median(away) < np.median(step)
