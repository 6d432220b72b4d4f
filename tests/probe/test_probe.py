"""What `lewm probe` measures: honest splits, the numbers of other implementations, and references that know less."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import subspace_angles
from scipy.stats import pearsonr
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_squared_error, r2_score
from torch import Tensor, nn

from commands import flat, lewm_here
from lewm_cli.config import EncoderConfig, ModelConfig, PredictorConfig, ProjectorConfig, ProprioStats
from lewm_cli.data import Dataset, DecodedFrames, open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.probe import (
    FEATURES,
    PUBLISHED,
    SIZED,
    ProbeResult,
    draw_samples,
    encode,
    fit_fewer,
    fit_probes,
    kinds,
    score_linear,
    score_probes,
)
from lewm_cli.probe.fitted import Scale
from lewm_cli.probe.probe_result import ProbeScore
from lewm_cli.probe.samples import Features, ProbeSamples
from lewm_cli.report import probe_tables
from lewm_cli.report.summary import probe_lines
from lewm_cli.statistics.estimate import R2_RESAMPLES as RESAMPLES
from lewm_cli.store import Run, RunFiles, save_run
from lewm_cli.tasks import GENERIC, TWOROOM, find_task
from synthetic import write_recording

SIZE = 16
LENGTHS = (40, 25, 30, 50, 35, 20, 45, 30)
RUN = "tworoom/lewm"
PLACES = replace(TWOROOM, probe_targets=TWOROOM.probe_targets[:2])
"""The task with no quantity but the agent's place."""


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLP probes that are trained as long as these small problems need."""
    monkeypatch.setattr("lewm_cli.probe.fitted.STEPS", 30)
    monkeypatch.setattr("lewm_cli.heads.position.BATCH", 64)


@pytest.fixture(scope="module")
def tiny_config() -> ModelConfig:
    return ModelConfig(
        image_size=SIZE,
        latent=6,
        encoder=EncoderConfig(patch_size=8, width=16, depth=1, heads=2, mlp=32),
        projector=ProjectorConfig(hidden=16),
        predictor=PredictorConfig(depth=1, heads=2, head_dim=8, mlp=32),
    )


@pytest.fixture
def run(tmp_path: Path, tiny_config: ModelConfig, scramble: Callable, small_card: Callable[[JEPA], RunCard]) -> Run:
    model = scramble(JEPA(tiny_config, block_dim=10)).eval()
    return Run(RUN, RunFiles(tmp_path / "lewm"), model, "lewm", small_card(model), tensors=1, sha256="")


def record(
    path: Path, states: np.ndarray | None = None, lengths: Sequence[int] = LENGTHS, **attributes: str
) -> Dataset:
    """A recording with a blob where the state says, 1 px per unit; the states are random if not given."""
    generator = np.random.default_rng(5)
    if states is None:
        states = generator.uniform(2, SIZE - 2, (sum(lengths), 2)).astype(np.float32)
    grid = np.arange(SIZE)
    places = np.nan_to_num(states[:, :, None].astype(float), nan=0.0, posinf=0.0)
    x, y = (np.exp(-((grid - places[:, k]) ** 2) / width) for k, width in enumerate((6, 25)))
    frames = (255 * y[:, :, None, None] * x[:, None, :, None] * np.array([1.0, 0.6, 0.3])).astype(np.uint8)
    columns = {"pixels": frames, "proprio": states}
    write_recording(path, lengths, dims=2, columns=columns, **({"task": "tworoom"} | attributes))
    return open_dataset(path, path.stem)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return record(tmp_path / "frames.h5")


def draw(dataset: Dataset, *, frames: int = 10_000, seed: int = 0, before: int = 10) -> ProbeSamples:
    """Frames that have the history of the run before them, as long as episodes allow it."""
    every = np.arange(dataset.episodes)
    return draw_samples(dataset, PLACES, every, frames=frames, seed=seed, before=before, frameskip=5)


def see(run: Run, dataset: Dataset, samples: ProbeSamples, seed: int = 0) -> Features:
    told: list[int] = []
    features = encode(run, dataset, DecodedFrames(dataset, SIZE), samples, seed, told.append)
    assert sum(told) == len(samples.rows)
    return features


def measure(run: Run, dataset: Dataset, samples: ProbeSamples, seed: int = 0) -> ProbeResult:
    told: list[int] = []
    features = see(run, dataset, samples, seed)
    fitted = fit_probes(samples, features, seed=seed, advance=told.append)
    assert sum(told) == len(kinds(features))
    return score_probes(run, dataset, samples, features, fitted, held_out=True, begun=time.monotonic(), seed=seed)


# As others compute it


def test_linear_probe_is_least_squares_and_its_scores_are_those_of_scikit_learn(run: Run, dataset: Dataset):
    samples = draw(dataset)
    result = measure(run, dataset, samples)
    test, values = samples.test, np.concatenate(samples.coordinates, axis=1)
    features = see(run, dataset, samples)
    for feature in ("model", "history", "encoder", "untrained", "pixels"):
        inputs = getattr(features, feature)
        if (
            feature == "encoder"
        ):  # the last layer normalizes, so that one number follows from the others but for rounding
            inputs = inputs[:, :-1]
        near = {"abs": 1e-4 if feature == "encoder" else 1e-8}
        fitted = LinearRegression().fit(inputs[~test].numpy(), values[~test])
        predicted = fitted.predict(inputs[test].numpy())
        for k, target in enumerate(result.targets):
            ours, actual = target.linear[feature], values[test][:, k]
            assert ours.r2 == pytest.approx(r2_score(actual, predicted[:, k]), **near)
            assert ours.r == pytest.approx(pearsonr(actual, predicted[:, k]).statistic, **near)
            unit = values[~test][:, k].std()
            errors = actual - predicted[:, k]
            assert ours.rmse == pytest.approx(np.sqrt((errors**2).mean()), **near)
            assert ours.mse == pytest.approx(mean_squared_error(actual / unit, predicted[:, k] / unit), **near)
            if feature == "model":
                rows = samples.rows[test].tolist()
                for point in result.points:
                    assert point.linear[k] == pytest.approx(predicted[rows.index(point.row), k], abs=6e-4)
                    assert point.actual[k] == pytest.approx(actual[rows.index(point.row)], abs=6e-4)


def test_linear_probe_of_the_model_alone_is_the_same(run: Run, dataset: Dataset):
    samples = draw(dataset)
    alone = score_linear(run, dataset, DecodedFrames(dataset, SIZE), samples, 0)
    for target in measure(run, dataset, samples).targets:
        beside, found = target.linear["model"], alone[target.name]
        approximately = pytest.approx((beside.r2, beside.r2_low, beside.r2_high), abs=1e-5)  # other batches
        assert (found.value, found.low, found.high) == approximately


def score(predicted: np.ndarray, actual: np.ndarray, episodes: np.ndarray, seed: int) -> ProbeScore:
    return ProbeScore.of(predicted[:, None], actual[:, None], np.abs(predicted - actual), episodes, seed)


@pytest.mark.parametrize("groups", [2, 3, 20])
def test_interval_resamples_whole_episodes(groups: int):
    generator = np.random.default_rng(groups)
    episodes = generator.integers(groups, size=150) * 7 + 3
    actual = generator.normal(size=150)
    predicted = actual + generator.normal(scale=0.5, size=150)
    found = score(predicted, actual, episodes, seed=4)

    names, resampled = np.unique(episodes), []
    for drawn in np.random.default_rng(4).integers(len(names), size=(RESAMPLES, len(names))):
        rows = np.concatenate([np.flatnonzero(episodes == names[number]) for number in drawn])
        resampled.append(r2_score(actual[rows], predicted[rows]))
    low, high = np.percentile(resampled, [2.5, 97.5])
    assert (found.r2_low, found.r2_high) == (pytest.approx(low), pytest.approx(high))
    assert found.r2 == pytest.approx(r2_score(actual, predicted))
    assert found.r2_low <= found.r2 <= found.r2_high


def test_prediction_that_never_changes_correlates_with_nothing():
    actual = np.random.default_rng(0).normal(size=40)
    found = score(np.zeros(40), actual, np.arange(40) // 4, seed=0)
    assert found.r == 0
    assert found.r2 <= 0


def test_pixel_components_span_the_principal_subspace(run: Run, dataset: Dataset):
    samples = draw(dataset)
    ours = see(run, dataset, samples, seed=1).pixels.numpy()
    flat_frames = DecodedFrames(dataset, SIZE).rows(samples.rows).reshape(len(samples.rows), -1) / 255
    pca = PCA(6, svd_solver="full").fit(flat_frames[~samples.test])
    theirs = pca.transform(flat_frames)
    assert ours.shape == theirs.shape
    for kept in range(1, 7):
        angles = subspace_angles(*(part[:, :kept] - part[:, :kept].mean(axis=0) for part in (ours, theirs)))
        assert np.rad2deg(angles.max()) < 2
    explained = ours[~samples.test].var(axis=0, ddof=1)
    assert explained == pytest.approx(pca.explained_variance_, rel=5e-3)


def test_map_is_the_principal_plane_of_the_latents(run: Run, dataset: Dataset):
    samples = draw(dataset)
    result = measure(run, dataset, samples)
    embedded = see(run, dataset, samples).model.numpy()
    pca = PCA().fit(embedded[~samples.test])
    assert result.map_explained == pytest.approx(tuple(pca.explained_variance_ratio_[:2]), abs=1e-6)
    rows = samples.rows.tolist()
    shown = [rows.index(point.row) for point in result.points]
    assert samples.test[shown].all()
    theirs = pca.transform(embedded[shown])[:, :2]
    ours = np.array([point.map for point in result.points])
    assert np.abs(ours) == pytest.approx(np.abs(theirs), abs=1e-3)  # an axis has no sign


# What probes can and cannot find


class Reader(JEPA):
    """Latents that are a fixed linear function of the first pixel's colors."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, block_dim=10)
        self.mix = nn.Parameter(torch.randn(3, config.latent, generator=torch.Generator().manual_seed(2)))

    def embed(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        return pixels[:, :, :, 0, 0] @ self.mix


@pytest.mark.slow
@pytest.mark.parametrize("widest", [512, 3])  # three components are all there is in the latents of six numbers
def test_latents_that_are_linear_in_a_quantity_are_read_and_shuffled_labels_are_not(
    run: Run, tiny_config: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, widest: int
):
    monkeypatch.setattr("lewm_cli.probe.fitted.STEPS", 400)
    monkeypatch.setattr("lewm_cli.heads.views.WIDEST", widest)
    generator = np.random.default_rng(0)
    rows = 12 * 50
    frames = generator.integers(0, 256, (rows, SIZE, SIZE, 3), dtype=np.uint8)
    colors = frames[:, 0, 0].astype(np.float32)
    states = colors[:, :2] @ np.array([[0.3, -0.1], [0.2, 0.4]], np.float32) + 7
    path = write_recording(tmp_path / "x.h5", [50] * 12, dims=2, columns={"pixels": frames, "proprio": states})
    dataset = open_dataset(path, "x")
    reading = replace(run, model=Reader(tiny_config))
    result = measure(reading, dataset, draw(dataset))
    assert (result.latent, result.recipe.endswith("latents through 3 principal components")) == (6, widest == 3)
    alone = score_linear(reading, dataset, DecodedFrames(dataset, SIZE), draw(dataset), seed=0)
    assert all(one.value == pytest.approx(1, abs=1e-6) for one in alone.values())
    for target in result.targets:
        assert target.linear["model"].r2 == pytest.approx(1, abs=1e-6)
        assert target.linear["model"].mse == pytest.approx(0, abs=1e-6)
        assert target.mlp["model"].r2 > 0.98
        for scores in (target.linear, target.mlp):
            assert scores["shuffled"].r2 < 0.1
            assert scores["shuffled"].r2 < 0.2
            assert scores["model"].r2_low <= scores["model"].r2 <= scores["model"].r2_high
        for feature in ("untrained", "pixels"):  # one pixel among noise
            assert target.linear[feature].r2 < 0.5


@pytest.mark.slow
def test_same_seed_gives_the_same_result_and_another_one_another(run: Run, dataset: Dataset):
    def found(seed: int) -> dict:
        torch.rand(3)  # whatever was drawn before
        result = measure(run, dataset, draw(dataset, frames=200, seed=seed), seed)
        return result.model_dump(exclude={"seconds", "time"})

    first = found(3)
    assert found(3) == first
    other = found(4)
    assert other["test_episodes"] != first["test_episodes"] or other["points"] != first["points"]


def test_random_generator_of_others_is_left_alone(run: Run, dataset: Dataset):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    measure(run, dataset, draw(dataset, frames=100))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
@pytest.mark.parametrize("latent", [1, 2, 40, 192])
def test_latent_of_any_width_can_be_probed(
    tmp_path: Path,
    tiny_config: ModelConfig,
    scramble: Callable,
    small_card: Callable[[JEPA], RunCard],
    dataset: Dataset,
    latent: int,
):
    model = scramble(JEPA(tiny_config.model_copy(update={"latent": latent}), block_dim=10)).eval()
    run = Run(RUN, RunFiles(tmp_path / "lewm"), model, "lewm", small_card(model), tensors=1, sha256="")
    result = measure(run, dataset, draw(dataset, frames=100))  # the fewest that can be asked for
    assert result.latent == latent
    assert 0 <= result.map_explained[1] <= result.map_explained[0] <= 1 + 1e-9


def test_collapsed_latents_know_nothing(run: Run, dataset: Dataset):
    run.model.projector.net[-1].weight.data.zero_()
    result = measure(run, dataset, draw(dataset))
    assert result.map_explained == (0, 0)
    for target in result.targets:
        assert target.linear["model"].r2 == pytest.approx(0, abs=0.2)
        assert target.linear["model"].r == pytest.approx(0, abs=1e-6)


# Which frames


@pytest.mark.slow
@given(data=st.data(), frames=st.integers(100, 600), seed=st.integers(0, 99))
def test_training_and_test_never_share_an_episode(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, frames: int, seed: int
):
    lengths = data.draw(st.lists(st.integers(8, 60), min_size=5, max_size=12))
    episodes = np.array(sorted(data.draw(st.sets(st.integers(0, len(lengths) - 1), min_size=5))))
    rows = sum(lengths)
    states = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    path = tmp_path_factory.mktemp("probe") / "x.h5"
    dataset = open_dataset(write_recording(path, lengths, dims=2, size=1, columns={"proprio": states}), "x")
    samples = draw_samples(dataset, PLACES, episodes, frames=frames, seed=seed)
    allowed = int(dataset.lengths[episodes].sum())
    assert len(samples.rows) == len(set(samples.rows.tolist())) == min(frames, allowed)
    assert set(samples.episodes.tolist()) <= set(episodes.tolist())
    for row, episode in zip(samples.rows, samples.episodes, strict=True):
        assert dataset.offsets[episode] <= row < dataset.offsets[episode] + lengths[episode]
    train, test = (set(samples.episodes[part].tolist()) for part in (~samples.test, samples.test))
    assert train
    assert test
    assert not train & test
    assert len(test) <= max(min(5, len(episodes) // 2), round(0.2 * len(episodes)))
    if frames >= allowed:
        assert len(test) == max(min(5, len(episodes) // 2), round(0.2 * len(episodes)))
    read = np.concatenate(samples.coordinates, axis=1)
    assert (read == np.stack([2 * samples.rows, 2 * samples.rows + 1], axis=1)).all()
    assert [target.name for target in samples.targets] == ["agent x", "agent y"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda values: np.full_like(values, 3.0), "is constant"),
        (lambda values: np.full_like(values, np.nan), "is NaN in every row"),
        (lambda values: np.where(np.arange(len(values)) % 7, values, np.nan), "is not finite in some rows"),
        (lambda values: np.where(np.arange(len(values)) % 7, values, np.inf), "is not finite in some rows"),
    ],
)
def test_quantity_that_cannot_be_probed_is_named_and_left_out(
    run: Run, tmp_path: Path, spoil: Callable[[np.ndarray], np.ndarray], reason: str
):
    states = np.random.default_rng(5).uniform(2, 14, (sum(LENGTHS), 2))
    states[:, 1] = spoil(states[:, 1])
    dataset = record(tmp_path / "x.h5", states)
    samples = draw(dataset)
    assert samples.left_out == {"agent y": reason}
    result = measure(run, dataset, samples)
    assert [target.name for target in result.targets] == ["agent x"]
    assert result.left_out == samples.left_out
    states[:, 0] = spoil(states[:, 0])
    with pytest.raises(LewmError, match=f"nothing in y can be probed: agent x {reason}, agent y {reason}"):
        draw(record(tmp_path / "y.h5", states))


@pytest.mark.parametrize("constant", [0.1, 0.3, 1 / 3, 123.456])
def test_constant_is_told_whatever_its_mean_is_rounded_to(tmp_path: Path, constant: float):
    for rows in (20, 55, 61):
        states = np.random.default_rng(5).uniform(2, 14, (5 * rows, 2))
        states[:, 1] = constant
        dataset = record(tmp_path / f"{rows}.h5", states, lengths=[rows] * 5)
        assert draw(dataset).left_out == {"agent y": "is constant"}


def test_too_few_episodes_are_refused(tmp_path: Path):
    dataset = record(tmp_path / "x.h5", lengths=(30, 30, 30, 30))
    with pytest.raises(LewmError, match="only 4 episodes of x may be used, too few"):
        draw(dataset)
    draw(record(tmp_path / "y.h5", lengths=(30, 30, 30, 30, 30)))


@pytest.mark.parametrize("longest", range(5))
def test_frames_that_are_all_of_one_side_are_refused(tmp_path: Path, longest: int):
    lengths = [1] * 5
    lengths[longest] = 2000
    dataset = record(tmp_path / "x.h5", lengths=lengths)
    with pytest.raises(
        LewmError, match=r"of the 100 frames drawn from x, .* are of test episodes, and at least two .*--frames"
    ):
        draw(dataset, frames=100)


def test_task_without_quantities_is_refused(dataset: Dataset):
    with pytest.raises(LewmError, match="the task generic names no quantity to probe"):
        draw_samples(dataset, GENERIC, np.arange(8), frames=100, seed=0)


# The command


@dataclass(frozen=True)
class World:
    """A home with a run that was trained on nothing that is there, and recordings."""

    home: Path

    def probe(self, *arguments: object):
        return lewm_here(self.home, "probe", *arguments)


@pytest.fixture
def world(tmp_path: Path, run: Run) -> World:
    home = tmp_path / "home"
    save_run(RunFiles(home / RUN), run.model, run.card)
    record(home / "tworoom" / "test.h5")
    record(home / "tworoom" / "few.h5", lengths=(30, 30, 30))
    record(home / "unnamed.h5", task="no task of ours")
    write_recording(home / "wide.h5", dims=3, task="tworoom")
    write_recording(home / "stateless.h5", dims=2, task="tworoom")
    inputs = run.card.inputs.model_copy(update={"task": "generic"})
    save_run(RunFiles(home / "robot" / "lewm"), run.model, run.card.model_copy(update={"inputs": inputs}))
    return World(home)


def test_json_is_the_stored_result_and_nothing_else(world: World):
    done = world.probe(RUN, "--dataset", "tworoom/test", "--frames", 500, "--seed", 3, "--json")
    assert done.code == 0, done.err
    result = ProbeResult.model_validate(done.json())
    (path,) = (world.home / "tworoom" / "lewm.run" / "results").iterdir()
    assert path.name.startswith("probe-")
    assert ProbeResult.model_validate_json(path.read_text(encoding="utf-8")) == result
    assert f"stored: {path}" in done.err
    assert (result.run, result.dataset.name, result.seed, result.held_out) == (RUN, "tworoom/test", 3, True)
    assert result.train_frames + result.test_frames == sum(length - 10 for length in LENGTHS)
    assert not set(result.train_episodes) & set(result.test_episodes)
    assert set(result.targets[0].linear) == set(result.targets[0].mlp) == set(FEATURES)
    assert all(math.isfinite(point.map[0]) for point in result.points)


def test_table_names_every_quantity_and_reference(world: World):
    done = world.probe(RUN, "--dataset", "tworoom/test", "--frames", 100)
    assert done.code == 0, done.err
    for words in ("agent x, px", "agent y, px", "linear", "MLP", "untrained", "pixel PCA", "shuffled"):
        assert words in flat(done.out)
    assert "episodes never trained on" in flat(done.out)
    assert max(len(line.rstrip()) for line in done.out.splitlines()) <= 110


def test_proprioception_that_a_run_is_given_is_said(run: Run, dataset: Dataset):
    inputs = run.card.inputs.model_copy(update={"proprio": ProprioStats(mean=(8.0, 8.0), std=(3.0, 3.0))})
    given = replace(run, card=run.card.model_copy(update={"inputs": inputs}))
    said = ["given proprioception" in probe_tables(measure(one, dataset, draw(dataset)))[-1] for one in (run, given)]
    assert said == [False, True]


def test_several_seeds_split_and_fit_anew(run: Run, dataset: Dataset):
    samples = draw(dataset)
    features = see(run, dataset, samples)
    fitted = {
        seed: fit_probes(samples.split_anew(seed), features, seed=seed, advance=lambda done: None) for seed in (1, 2)
    }
    own = fit_probes(samples, features, seed=0, advance=lambda done: None)
    keep = {"held_out": True, "begun": time.monotonic(), "seed": 0}
    result = score_probes(run, dataset, samples, features, own, others=fitted, **keep)
    assert result.seeds == (0, 1, 2)
    tested = [tuple(one.tested) for one in (samples, samples.split_anew(1), samples.split_anew(2))]
    assert len(set(tested)) == 3
    for k, target in enumerate(result.targets):
        for seed, split in ((1, samples.split_anew(1)), (2, samples.split_anew(2))):
            inputs, values, test = features.model.numpy(), split.coordinates[k], split.test
            predicted = LinearRegression().fit(inputs[~test], values[~test]).predict(inputs[test])
            assert target.linear["model"].by_seed[seed] == pytest.approx(r2_score(values[test], predicted), abs=1e-8)
        first = target.mlp["pixels"]
        assert first.by_seed[0] == pytest.approx(first.r2, abs=1e-9)
        low, high = min(first.by_seed), max(first.by_seed)
        assert str(first) == f"{np.mean(first.by_seed):.3f} ({low:.3f} to {high:.3f})"
    alone = score_probes(run, dataset, samples, features, own, **keep)
    assert alone.seeds == alone.targets[0].linear["model"].by_seed == ()


def test_fewer_frames_are_some_of_the_training_frames(run: Run, dataset: Dataset):
    samples = draw(dataset)
    features, test = see(run, dataset, samples), samples.test
    every = int((~test).sum())
    told: list[int] = []
    found = fit_fewer(samples, features, [every, 20, 60], seed=0, advance=told.append)
    assert sum(told) == 3 * len(SIZED)
    few, more = samples.fewer(20, 0), samples.fewer(60, 0)
    assert (few.sum(), more.sum()) == (20, 60)
    assert not few[test].any()
    assert more[few].all()
    whole = measure(run, dataset, samples)
    for k, (target, curve) in enumerate(zip(whole.targets, found, strict=True)):
        assert [one.frames for one in curve] == [20, 60, every]
        assert set(curve[0].linear) == set(curve[0].mlp) == set(SIZED)
        assert curve[-1].linear["model"].value == pytest.approx(target.linear["model"].r2, abs=1e-8)
        for kept, one in ((few, curve[0]), (more, curve[1])):
            inputs, values = features.model.numpy(), samples.coordinates[k]
            predicted = LinearRegression().fit(inputs[kept], values[kept]).predict(inputs[test])
            assert one.linear["model"].value == pytest.approx(r2_score(values[test], predicted), abs=1e-8)


def test_command_prints_seeds_and_a_curve(world: World):
    done = world.probe(RUN, "--dataset", "tworoom/test", "--seeds", 2, "--train-frames", "20,40", "--imagine", 0)
    assert done.code == 0, done.err
    for words in ("2 seeds, each with a split", "R2 by training frames", "linear, untrained", " to "):
        assert words in flat(done.out)
    (path,) = (world.home / "tworoom" / "lewm.run" / "results").iterdir()
    result = ProbeResult.model_validate_json(path.read_text(encoding="utf-8"))
    assert result.seeds == (0, 1)
    assert [one.frames for one in result.targets[0].sizes] == [20, 40]
    score, line = result.targets[0].mlp["model"], next(probe_lines(result))
    assert (line.low, line.high) == (min(score.by_seed), max(score.by_seed)) != (score.r2_low, score.r2_high)
    assert line.value == pytest.approx(np.mean(score.by_seed))
    assert line.text == f"{line.value:.3f} ({line.low:.3f} to {line.high:.3f})"


def test_paper_stands_beside_the_run(world: World):
    done = world.probe(RUN, "--dataset", "tworoom/test", "--paper", "--imagine", 0)
    assert done.code == 0, done.err
    for words in ("DINO-WM, published 0.488 0.824 0.000 0.999", "arXiv 2603.19312", "recipe", "is not known"):
        assert words in flat(done.out)
    (path,) = (world.home / "tworoom" / "lewm.run" / "results").iterdir()
    read = [one.linear["model"].mse for one in ProbeResult.model_validate_json(path.read_text()).targets[:2]]
    assert f"{RUN} {np.mean(read):.3f}" in flat(done.out)
    assert "published" not in world.probe(RUN, "--dataset", "tworoom/test", "--imagine", 0).out


def test_parts_of_published_quantities_are_quantities_of_their_task():
    for task, rows in PUBLISHED.items():
        names = {target.name for target in find_task(task).probe_targets}
        for row in rows:
            assert set(row.targets) <= names
            assert "LeWM" in row.scores


def test_quantity_that_is_left_out_is_said(world: World):
    states = np.random.default_rng(5).uniform(2, 14, (sum(LENGTHS), 2))
    states[:, 0] = 4
    record(world.home / "line.h5", states)
    done = world.probe(RUN, "--dataset", "line", "--frames", 100)
    assert done.code == 0, done.err
    assert "left out: agent x is constant" in done.err
    assert "agent x" not in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["tworoom/lwem"], 1, "there is no run 'tworoom/lwem'"),
        ([RUN], 1, "there is no dataset 'tworoom/demo'"),  # what it was trained on is not there
        ([RUN, "--dataset", "tworoom/nothing"], 1, "there is no dataset 'tworoom/nothing'"),
        ([RUN, "--dataset", "tworoom/few"], 1, "only 3 episodes of tworoom/few may be used"),
        ([RUN, "--dataset", "unnamed"], 1, "unnamed is a recording of no task of ours"),
        ([RUN, "--dataset", "wide"], 1, "wide has 3 action dimensions, and tworoom/lewm was trained with 2"),
        ([RUN, "--dataset", "stateless"], 1, "has no column 'proprio'"),
        (
            ["robot/lewm", "--dataset", "unnamed", "--paper"],
            1,
            "the paper has no table of probes for generic",
        ),
        (["robot/lewm", "--dataset", "unnamed"], 1, "the task generic names no quantity to probe"),
        ([RUN, "--frames", 99], 2, "--frames"),
        ([RUN, "--seeds", 0], 2, "--seeds"),
        ([RUN, "--imagine", -1], 2, "--imagine"),
        ([RUN, "--train-frames", "100;300"], 2, "is no list of numbers of frames like 100,300,1000"),
        ([RUN, "--train-frames", "100,3"], 2, "holds 3; a probe needs at least 10 frames"),
        ([RUN, "--dataset", "tworoom/test", "--train-frames", "99,9999"], 1, "--train-frames asks for 9,999 frames"),
        ([RUN, "--seed", -1], 2, "--seed"),
        ([RUN, "--device", "abacus"], 2, "abacus"),
    ],
)
def test_what_cannot_be_probed_is_refused(world: World, arguments: list, code: int, said: str):
    assert said in world.probe(*arguments).sentence(code)
    assert not (world.home / "tworoom" / "lewm.run" / "results").exists()


def test_rounding_of_a_constant_dimension_is_not_blown_up():
    seen = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    seen[:, 1] = 5 + 1e-9 * seen[:, 1]
    seen[39, 1] = 5.1  # a test row in which a patch changes that never did before
    seen[:, 2] = 3
    train = np.arange(40) < 30
    scored = Scale.of(seen[train]).apply(seen)
    torch.testing.assert_close(scored[train][:, 0].std(unbiased=False), torch.tensor(1.0, dtype=torch.float64))
    assert scored[:, 1].abs().max() < 1
    assert not scored[:, 2].any()
