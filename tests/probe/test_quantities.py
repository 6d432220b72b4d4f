"""Quantities that are more than a number: angles, rotations, and how fast something moves."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation as Turn

from lewm_cli.data import Dataset, DecodedFrames, open_dataset
from lewm_cli.methods import JEPA
from lewm_cli.probe import draw_samples, encode, fit_probes, rows_before, score_probes
from lewm_cli.probe.fitted import Quantities
from lewm_cli.probe.probe_result import ProbeResult
from lewm_cli.store import Run, RunFiles
from lewm_cli.tasks import TWOROOM, ProbeTarget, Task
from lewm_cli.tasks.probe_target import Angle, Rotation
from synthetic import write_recording
from walks import CONFIG, EPISODES, ROWS, SIZE, SKIP, Knowing, walks

ANGLE, ROTATION = Angle("angle", "state", 0), Rotation("rotation", "state", 0)


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lewm_cli.probe.fitted.STEPS", 60)
    monkeypatch.setattr("lewm_cli.heads.position.BATCH", 64)


@pytest.fixture
def run(tmp_path: Path, small_card: Callable[[JEPA], object]) -> Run:
    card = small_card(JEPA(CONFIG, block_dim=SKIP * 2))
    return Run("tworoom/lewm", RunFiles(tmp_path / "lewm"), Knowing(card).eval(), "lewm", card, tensors=1, sha256="")


def probe(run: Run, dataset: Dataset, task: Task) -> ProbeResult:
    drawn = {"frames": 10_000, "seed": 0, "before": rows_before(run), "frameskip": SKIP}
    samples = draw_samples(dataset, task, np.arange(dataset.episodes), **drawn)
    features = encode(run, dataset, DecodedFrames(dataset, SIZE), samples, 0, lambda done: None)
    fitted = fit_probes(samples, features, seed=0, advance=lambda done: None)
    return score_probes(run, dataset, samples, features, fitted, held_out=True, begun=0.0, seed=0)


def test_angle_has_no_jump_where_it_wraps():
    recorded = np.array([[0.01], [2 * np.pi - 0.01], [-0.01], [np.pi]])
    coordinates = ANGLE.coordinates(recorded)
    assert coordinates[1] == pytest.approx(coordinates[2])
    assert np.linalg.norm(coordinates[0] - coordinates[1]) < 0.03
    assert ANGLE.errors(coordinates[:1], coordinates[1:2]) == pytest.approx(np.rad2deg(0.02))
    assert ANGLE.errors(coordinates[:1], coordinates[3:]) == pytest.approx(180 - np.rad2deg(0.01))
    assert ANGLE.values(3 * coordinates) == pytest.approx(np.rad2deg([0.01, -0.01, -0.01, np.pi]))


def test_rotation_is_the_same_whatever_the_sign_of_its_quaternion():
    turns = Turn.random(50, random_state=0)
    quaternions = turns.as_quat()[:, [3, 0, 1, 2]]  # w first
    signs = np.random.default_rng(0).choice([-1, 1], (50, 1))
    coordinates = ROTATION.coordinates(quaternions)
    assert np.array_equal(ROTATION.coordinates(signs * 2 * quaternions).round(12), coordinates.round(12))
    apart = (turns[:-1].inv() * turns[1:]).magnitude()
    assert ROTATION.errors(coordinates[:-1], coordinates[1:]) == pytest.approx(np.rad2deg(apart))
    assert ROTATION.errors(coordinates, coordinates) == pytest.approx(np.zeros(50), abs=1e-5)
    assert ROTATION.values(coordinates) == pytest.approx(np.rad2deg(turns.magnitude()))
    squares = np.einsum("ni,nj->nij", quaternions, quaternions)
    apart = np.linalg.norm(squares[:-1] - squares[1:], axis=(1, 2))
    assert np.linalg.norm(coordinates[:-1] - coordinates[1:], axis=1) == pytest.approx(apart)


def test_coordinates_of_one_quantity_have_one_unit():
    steep = np.stack([np.linspace(-1, 1, 100), 1e-3 * np.linspace(1, -1, 100) ** 2], axis=1)
    other = 50 * np.random.default_rng(0).normal(size=(100, 1))
    quantities = Quantities.of((ANGLE, replace(ANGLE, name="x")), (steep, other), np.ones(100, bool))
    assert quantities.columns == (slice(0, 2), slice(2, 3))
    first, second, third = quantities.scale.unit.tolist()
    assert first == second == pytest.approx(np.sqrt(steep.var(axis=0).mean()))
    assert third == pytest.approx(other.std())


def test_angle_is_scored_as_one_quantity(run: Run, tmp_path: Path):
    angles = np.random.default_rng(0).uniform(-20, 20, EPISODES * ROWS).astype(np.float32)
    colors = (128 + 100 * np.stack([np.sin(angles), np.cos(angles)], axis=1)).round()
    frames = np.zeros((len(angles), SIZE, SIZE, 3), np.uint8)
    frames[..., :2] = colors[:, None, None]
    path = write_recording(
        tmp_path / "x.h5", [ROWS] * EPISODES, dims=2, columns={"pixels": frames, "state": angles[:, None]}
    )
    (target,) = probe(run, open_dataset(path, "x"), replace(TWOROOM, probe_targets=(ANGLE,))).targets
    assert (target.name, target.unit) == ("angle", "deg")
    for read in (target.linear["model"], target.mlp["model"]):
        assert read.r2 > 0.99
        assert read.r > 0.99
    assert target.linear["model"].rmse < 0.5  # one level of a color is 0.6 degrees
    assert 60 < target.linear["shuffled"].rmse <= 180


def test_velocity_is_read_from_the_history_and_not_from_one_frame(run: Run, tmp_path: Path):
    dataset = walks(tmp_path / "x.h5")
    found = {target.name: target for target in probe(run, dataset, TWOROOM).targets}
    assert [name for name, target in found.items() if target.rate] == ["agent velocity x", "agent velocity y"]
    for target in (found["agent velocity x"], found["agent velocity y"]):
        assert target.unit == "px/step"
        assert target.linear["history"].r2 > 0.999
        assert target.linear["model"].r2 < 0.5
    assert [target.name for target in probe(run, dataset, TWOROOM).still] == ["agent x", "agent y"]


def test_velocity_is_the_displacement_over_the_last_model_step(tmp_path: Path):
    dataset = walks(tmp_path / "x.h5")
    samples = draw_samples(dataset, TWOROOM, np.arange(EPISODES), frames=10_000, seed=0, frameskip=SKIP)
    places = dataset.read("proprio", np.arange(dataset.rows))
    moved = (places[samples.rows] - places[samples.rows - SKIP]) / SKIP
    assert np.concatenate(samples.coordinates[2:], axis=1) == pytest.approx(moved)
    assert len(samples.rows) == EPISODES * (ROWS - SKIP)  # and never over the begin of an episode


def test_recorded_velocity_is_taken_as_it_is(tmp_path: Path):
    states = np.random.default_rng(0).normal(size=(EPISODES * ROWS, 2)).astype(np.float32)
    path = write_recording(tmp_path / "x.h5", [ROWS] * EPISODES, dims=2, columns={"state": states})
    task = replace(TWOROOM, probe_targets=(ProbeTarget("spin", "state", 1, "rad/s", "recorded"),))
    samples = draw_samples(open_dataset(path, "x"), task, np.arange(EPISODES), frames=10_000, seed=0, frameskip=SKIP)
    assert np.array_equal(samples.coordinates[0][:, 0], states[samples.rows, 1])
