"""What `lewm latent` measures: numbers of other implementations, known spaces, and a sentence for what cannot be."""

import base64
import io
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.integrate import quad
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from commands import Done, flat, left_behind, lewm_here
from lewm_cli.config import EncoderConfig, ModelConfig, PredictorConfig, ProjectorConfig
from lewm_cli.data import MemoryFrames, open_dataset
from lewm_cli.latent import LatentResult, draw_tracks
from lewm_cli.latent.coverage import measure_coverage, nearest_elsewhere
from lewm_cli.latent.distances import FramePairs, compare_distances
from lewm_cli.latent.gaussianity import expected_statistic, gaussian_reference, measure_gaussianity
from lewm_cli.latent.neighbors import NEIGHBORS, STRIPS, draw_strips
from lewm_cli.latent.spectrum import measure_spectrum
from lewm_cli.latent.straightness import measure_straightness
from lewm_cli.latent.tracks import Tracks
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.model import SIGReg, epps_pulley
from lewm_cli.store import Home, RunFiles, save_run
from synthetic import write_recording

pytest_plugins = ("untrained",)

RUN = "tworoom/lewm"
SIZE = 16


def tracks_of(*lengths: int) -> Tracks:
    """Tracks of so many frames each."""
    return Tracks(np.arange(sum(lengths)), np.repeat(np.arange(len(lengths)), lengths), 1)


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# Straightness


def test_line_is_straight_whatever_the_speed_along_it():
    way = np.cumsum([0, 1, 3, 0.2, 5])[:, None] * np.array([2.0, -1.0, 0.5])
    found = measure_straightness(np.concatenate([way, -way + 7]), tracks_of(5, 5))
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))


@pytest.mark.parametrize(("walk", "expected"), [(True, 0.0), (False, -0.5)])
def test_random_walk_has_none_and_independent_latents_turn_back(walk: bool, expected: float):
    latents = drawn(40, 100, 64)
    latents = latents.cumsum(axis=1) if walk else latents
    found = measure_straightness(latents.reshape(-1, 64), tracks_of(*[100] * 40))
    assert found.value == pytest.approx(expected, abs=0.01)
    assert found.low < found.value < found.high < found.low + 0.02


def test_steps_from_one_episode_to_the_next_and_frames_that_stand_still_do_not_count():
    corner = np.array([[0.0, 0], [1, 0], [1, 1]])
    found = measure_straightness(np.concatenate([corner, corner + 100]), tracks_of(3, 3))
    assert found.value == pytest.approx(0)
    still = np.array([[0.0, 0], [1, 0], [1, 1e-9], [1, 0], [2, 0], [3, 0]])
    assert measure_straightness(still, tracks_of(6)).value == pytest.approx(1)
    assert measure_straightness(drawn(6, 3), tracks_of(2, 2, 2)) is None
    assert measure_straightness(np.ones((6, 3)), tracks_of(6)) is None


# Spectrum


def test_spectrum_is_that_of_scikit_learn_and_numpy():
    latents = drawn(300, 6) @ drawn(6, 6, seed=1) * np.array([1, 1, 1, 1, 1, 0.01])
    found = measure_spectrum(latents, whole=True)
    explained = PCA().fit(latents).explained_variance_ * 299 / 300
    assert found.eigenvalues == pytest.approx(explained, rel=1e-6)
    shares = np.sqrt(explained) / np.sqrt(explained).sum()
    assert found.effective_rank == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert found.participation_ratio == pytest.approx(explained.sum() ** 2 / (explained**2).sum())
    assert found.variances == pytest.approx(sorted(latents.var(axis=0), reverse=True))
    assert found.narrow == 1
    apart = np.abs(np.corrcoef(latents.T)[np.triu_indices(6, 1)])
    assert (found.correlation, found.largest_correlation) == pytest.approx((apart.mean(), apart.max()))
    assert measure_spectrum(latents, whole=False).correlation is None


def test_rank_of_a_line_is_one_and_of_equal_directions_all():
    line = measure_spectrum(drawn(50, 1) * np.ones(4), whole=True)
    assert (line.effective_rank, line.participation_ratio) == pytest.approx((1, 1), abs=1e-5)
    assert line.correlation == pytest.approx(1)
    even = measure_spectrum(np.concatenate([np.eye(5), -np.eye(5)]), whole=True)
    assert (even.effective_rank, even.participation_ratio) == pytest.approx((5, 5))
    still = measure_spectrum(np.ones((9, 3)), whole=True)
    assert (still.correlation, still.participation_ratio) == (None, 0)


# Gaussianity


def by_integration(sample: np.ndarray) -> float:
    """The statistic of Epps and Pulley with SIGReg's weight and range, integrated adaptively."""

    def integrand(t: float) -> float:
        return abs(np.exp(1j * t * sample).mean() - math.exp(-t * t / 2)) ** 2 * math.exp(-t * t / 2)

    return len(sample) * quad(integrand, -3, 3, epsabs=1e-10, limit=200)[0]


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_statistic_of_sigreg_is_the_integral(scale: float):
    sample = scale * drawn(200)
    found = epps_pulley(torch.from_numpy(sample).float()[None, :, None]).item()
    assert found == pytest.approx(by_integration(sample), rel=0.01)
    many = epps_pulley(torch.from_numpy(sample).float()[None, :, None], knots=400).item()
    assert many == pytest.approx(by_integration(sample), rel=1e-3)


def test_expectation_for_a_gaussian_is_the_integral_and_what_samples_have():
    exact = quad(lambda t: math.exp(-t * t / 2) * (1 - math.exp(-t * t)), -3, 3)[0]
    assert expected_statistic(1000) == pytest.approx(exact, rel=1e-5)
    assert expected_statistic() == pytest.approx(exact, rel=1e-3)
    assert expected_statistic() == pytest.approx(math.sqrt(2 * math.pi) * (1 - 3**-0.5), rel=0.02)  # to infinity
    for size in (10, 80):
        latents = torch.randn(400, size, 3, generator=torch.Generator().manual_seed(0))
        values = [SIGReg(17, 16)(one.unsqueeze(0), torch.Generator().manual_seed(1)).item() for one in latents]
        assert np.mean(values) == pytest.approx(expected_statistic(), abs=4 * np.std(values) / 20)


@pytest.mark.parametrize(("kind", "gaussian"), [("gaussian", True), ("shifted", True), ("two lumps", False)])
def test_gaussian_latents_lie_in_the_reference_and_others_beyond(kind: str, gaussian: bool):
    tracks = tracks_of(*[4] * 300)
    latents = torch.from_numpy(drawn(1200, 4, seed=2))
    if kind == "shifted":
        latents = 5 * latents + 3
    if kind == "two lumps":
        latents[:, 0] = 4 * latents[:, 0].sign() + 0.1 * latents[:, 0]
        latents[:, 1:] *= 0.1
    reference = gaussian_reference(4, 300, seed=1)
    assert reference.statistic_low < reference.statistic < reference.statistic_high
    assert reference.shape_low < reference.shape < reference.shape_high
    found = measure_gaussianity(latents, tracks, seed=1, whole=True)
    assert (found.shape < reference.shape_high) == gaussian
    assert (found.statistic < reference.statistic_high) == (kind == "gaussian")
    assert len(found.directions) == 256
    assert np.mean(found.directions) == pytest.approx(found.shape, rel=1e-5)
    middle = np.array([band.median for band in found.quantiles])
    straight = np.abs(middle - [band.gaussian for band in found.quantiles]).max() < 0.4
    assert straight == gaussian
    assert measure_gaussianity(latents, tracks, seed=1, whole=False).statistic is None


# Coverage


def test_coverage_and_density_are_those_of_the_paper():
    latents, tracks = drawn(90, 3).cumsum(axis=0), tracks_of(*[15] * 6)
    shuffled = np.random.default_rng(3).permutation(6)
    half = np.isin(tracks.owners, shuffled[:3])
    expected = []
    for real, fake in ((latents[half], latents[~half]), (latents[~half], latents[half])):
        radii = NearestNeighbors(n_neighbors=6).fit(real).kneighbors(real)[0][:, -1]
        apart = np.linalg.norm(real[:, None] - fake[None], axis=2)
        expected.append(((apart < radii[:, None]).any(axis=1).mean(), (apart < radii[:, None]).sum() / 5 / len(fake)))
    found = measure_coverage(torch.from_numpy(latents), tracks, seed=3)
    assert (found.coverage, found.density) == pytest.approx(tuple(np.mean(expected, axis=0)))


def test_episodes_that_keep_to_themselves_cover_nothing_and_the_same_places_all():
    places, tracks = drawn(20, 2), tracks_of(*[20] * 4)
    apart = np.concatenate([places + 100 * k for k in range(4)])
    assert measure_coverage(torch.from_numpy(apart), tracks, seed=0).coverage == 0
    same = np.concatenate([places + 1e-6 * k for k in range(4)])
    assert measure_coverage(torch.from_numpy(same), tracks, seed=0).coverage > 0.9
    assert measure_coverage(torch.from_numpy(places[:8]), tracks_of(4, 4), seed=0) is None


def test_nearest_frame_is_of_another_episode(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lewm_cli.latent.coverage.DISTANCES_AT_ONCE", 7 * 60)
    latents, tracks = drawn(60, 4), tracks_of(20, 25, 15)
    found = nearest_elsewhere(torch.from_numpy(latents), tracks)
    for place, nearest in enumerate(found):
        others = np.flatnonzero(tracks.owners != tracks.owners[place])
        assert nearest == others[np.linalg.norm(latents[others] - latents[place], axis=1).argmin()]


# Distances


def test_correlation_is_spearmans_over_pairs_of_different_episodes():
    state, tracks = drawn(120, 2), tracks_of(*[20] * 6)
    latents = np.concatenate([state**3, drawn(120, 2, seed=5)], axis=1)
    pairs = FramePairs.draw(tracks, seed=0)
    nearest = nearest_elsewhere(torch.from_numpy(latents), tracks)
    found = compare_distances(latents, state, tracks, pairs, nearest, seed=0)
    one, other = pairs.between
    assert (tracks.owners[one] != tracks.owners[other]).all()
    latent, true = (np.linalg.norm(values[one] - values[other], axis=1) for values in (latents, state))
    assert found.correlation.value == pytest.approx(spearmanr(latent, true).statistic)
    assert found.correlation.low < found.correlation.value < found.correlation.high
    assert sum(one.pairs for one in found.by_distance) == len(latent)
    third = found.by_distance[2]
    inside = (true >= third.low) & (true < third.high)
    assert third.pairs == inside.sum()
    assert third.correlation == pytest.approx(spearmanr(latent[inside], true[inside]).statistic)
    assert third.latent_median == pytest.approx(np.median(latent[inside]))
    assert found.nearest.value == pytest.approx(np.linalg.norm(state - state[nearest], axis=1).mean())


@pytest.mark.parametrize(("scale", "expected"), [(3.0, 1.0), (0.0, 0.0)])
def test_latents_that_are_the_state_are_as_far_apart(scale: float, expected: float):
    state, tracks = drawn(120, 2), tracks_of(*[20] * 6)
    latents = scale * state
    found = compare_distances(latents, state, tracks, FramePairs.draw(tracks, 0), np.arange(120), 0)
    assert found.correlation.value == pytest.approx(expected)
    assert [one.correlation for one in found.by_time] == pytest.approx([1.0] * 6 if scale else [None] * 6)
    assert [(one.low, one.high) for one in found.by_time] == [(1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32)]
    assert found.nearest.value == 0


def test_pairs_in_time_are_so_many_steps_apart_within_an_episode():
    tracks = tracks_of(12, 3, 7)
    within = FramePairs.draw(tracks, seed=0).within
    assert list(within) == [(1, 1), (2, 2), (3, 4), (5, 8)]  # of the others there are fewer than ten
    for (low, high), (first, second) in within.items():
        assert ((low <= second - first) & (second - first <= high)).all()
        assert (tracks.owners[first] == tracks.owners[second]).all()
    assert within[1, 1].shape == (2, 11 + 2 + 6)


# Strips


def test_strips_show_the_nearest_of_each_other_episode():
    tracks, latents = tracks_of(*[5] * 9), drawn(45, 3)
    pixels = np.arange(45, dtype=np.uint8)[:, None, None, None] * np.full((1, SIZE, SIZE, 3), 5, np.uint8)
    strips = draw_strips(latents, latents[:, :2], tracks, MemoryFrames(pixels), seed=0)
    assert len({strip.frames[0].episode for strip in strips}) == STRIPS
    for strip in strips:
        query, *neighbors = strip.frames
        owners = [one.episode for one in neighbors]
        assert len({query.episode, *owners}) == NEIGHBORS + 1
        apart = np.linalg.norm(latents - latents[query.row], axis=1)
        least = sorted((apart[tracks.owners == owner].min(), owner) for owner in range(9) if owner != query.episode)
        assert owners == [owner for _, owner in least[:NEIGHBORS]]
        assert [one.latent_distance for one in neighbors] == pytest.approx([near for near, _ in least[:NEIGHBORS]])
        for one in strip.frames:
            shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(one.picture))))
            assert shown.shape == (SIZE, SIZE, 3)
            assert np.abs(shown.astype(int) - 5 * one.row).max() < 6
            assert one.true_distance == pytest.approx(np.linalg.norm((latents[one.row] - latents[query.row])[:2]))


# The command


@pytest.fixture
def trained(home: Home, scramble: Callable, small_card: Callable[[JEPA], RunCard]) -> Path:
    """A home with a tiny run of TwoRoom that was trained on none of the recordings."""
    config = ModelConfig(
        image_size=SIZE,
        latent=6,
        encoder=EncoderConfig(patch_size=8, width=16, depth=1, heads=2, mlp=32),
        projector=ProjectorConfig(hidden=16),
        predictor=PredictorConfig(depth=1, heads=2, head_dim=8, mlp=32),
    )
    model = scramble(JEPA(config, block_dim=10)).eval()
    save_run(RunFiles(home.run_stem(RUN)), model, small_card(model))
    return home.write


def record(home: Path, lengths: Sequence[int], *, constant: bool = False, task: str = "tworoom") -> None:
    """A recording with a blob where the state says."""
    states = np.random.default_rng(1).uniform(2, SIZE - 2, (sum(lengths), 2)).astype(np.float32)
    if constant:
        states[:] = 5
    grid = np.arange(SIZE)
    x, y = (np.exp(-((grid - states[:, k, None]) ** 2) / 9) for k in (0, 1))
    frames = (255 * y[:, :, None, None] * x[:, None, :, None] * np.ones(3)).astype(np.uint8)
    columns = {"pixels": frames, "proprio": states}
    write_recording(home / "tworoom" / "test.h5", lengths, dims=2, columns=columns, task=task)


def run_latent(home: Path, *options: object) -> Done:
    return lewm_here(home, "latent", RUN, "--dataset", "tworoom/test", *options)


def test_result_is_stored_drawn_printed_and_the_same_every_time(trained: Path, tmp_path: Path):
    record(trained, [40, 30, 55, 25, 61, 33, 47])
    done = run_latent(trained)
    assert done.code == 0, done.err
    assert max(len(line.rstrip()) for line in done.out.splitlines()) <= 83
    said = flat(done.out)
    for what in ("straightness", "effective rank", "Epps-Pulley", "coverage", "distance correlation", "nearest frame"):
        assert what in said
    (stored,) = (trained / "tworoom" / "lewm.run" / "results").glob("latent-*.json")
    result = LatentResult.model_validate_json(stored.read_text())
    assert result.frames == sum(-(-length // 5) for length in (40, 30, 55, 25, 61, 33, 47))
    assert result.episodes == tuple(range(7))
    assert (result.latent, result.components, result.left_out, result.held_out) == (6, None, {}, True)
    assert result.true_distance.quantities == ("agent x", "agent y")
    assert result.true_distance.nearest < result.true_distance.random
    assert f"stored: {stored}" in done.err
    assert "umap" not in done.out
    assert stored.with_suffix(".svg").read_text().startswith("<svg")
    again = run_latent(trained, "--json", "--plot", tmp_path / "x.svg")
    own = {"time", "seconds", "command"}
    assert LatentResult.model_validate(again.json()).model_dump(exclude=own) == result.model_dump(exclude=own)
    assert (tmp_path / "x.svg").exists()
    assert run_latent(trained, "--json", "--seed", 1).json()["scores"] != again.json()["scores"]
    assert left_behind(trained) == []
    report = lewm_here(trained, "report", RUN)
    assert "latent straightness" in flat(report.out), report.err
    assert "Latent space</h2>" in (trained / "tworoom" / "lewm.run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("lengths", "options", "missing"),
    [
        ([60], {}, ["Gaussianity", "coverage", "true distance", "neighbors"]),
        ([60] * 4, {}, ["Gaussianity", "true distance"]),
        ([9] * 8, {}, ["straightness"]),
        ([40] * 6, {"constant": True}, ["true distance", "straightness"]),
        ([4, 3], {"constant": True}, ["Gaussianity", "coverage", "true distance", "straightness"]),
    ],
    ids=["one episode", "four episodes", "two frames each", "constant", "one frame each"],
)
def test_what_a_recording_does_not_allow_is_left_out_and_said(
    trained: Path, lengths: list[int], options: dict, missing: list[str]
):
    record(trained, lengths, **options)
    done = run_latent(trained, "--json")
    assert done.code == 0, done.err
    result = LatentResult.model_validate(done.json())
    assert set(result.left_out) == set(missing)
    for what, reason in result.left_out.items():
        assert f"left out: {what}: {reason}" in done.err
    assert (result.scores["model"].straightness is None) == ("straightness" in missing)
    assert (result.true_distance is None) == ("true distance" in missing)
    assert run_latent(trained).code == lewm_here(trained, "report", RUN).code == 0


def test_recording_that_names_no_quantity_has_the_rest(home: Home, pick_run: object):
    write_recording(home.write / "robot" / "other.h5", [20] * 6, dims=7, size=64)
    done = lewm_here(home.write, "latent", "robot/pick", "--dataset", "robot/other", "--json")
    assert done.code == 0, done.err
    result = LatentResult.model_validate(done.json())
    assert "names no quantity" in result.left_out["true distance"]
    assert result.quantities == ()
    assert result.scores["model"].distances is None
    assert result.neighbors[0].frames[1].true_distance is None
    assert result.maps[0].points.shape == (60, 2)
    assert lewm_here(home.write, "report", "robot/pick").code == 0


def test_wide_latents_are_measured_through_components_and_it_is_said(trained: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lewm_cli.heads.views.WIDEST", 3)
    record(trained, [40] * 6)
    done = run_latent(trained)
    assert "Latents of 6 dimensions: seen through 3 principal components." in done.out
    (stored,) = (trained / "tworoom" / "lewm.run" / "results").glob("latent-*.json")
    result = LatentResult.model_validate_json(stored.read_text())
    assert (result.latent, result.components) == (6, 3)
    for scores in result.scores.values():
        assert len(scores.spectrum.eigenvalues) == 3
        assert scores.spectrum.correlation is scores.gaussianity.statistic is None


class Cut:
    """Stands in for UMAP: places are the first two numbers of latents."""

    def __init__(self, **settings: object) -> None:
        pass

    def fit_transform(self, latents: np.ndarray) -> np.ndarray:
        return latents[:, :2]


@pytest.mark.parametrize("installed", [True, False])
def test_second_map_is_there_where_umap_is(trained: Path, monkeypatch: pytest.MonkeyPatch, installed: bool):
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Cut) if installed else None)
    record(trained, [40] * 6)
    done = run_latent(trained, "--json")
    result = LatentResult.model_validate(done.json())
    assert [one.method for one in result.maps] == ["PCA", *["UMAP"] * installed]
    assert ('pip install "lewm-cli[umap]"' in done.err) != installed
    for one in result.maps:
        assert all(len(quantity.values) == len(one.points.array()) == 48 for quantity in result.quantities)


def test_plot_that_is_no_svg_is_wrong_usage(trained: Path):
    record(trained, [40] * 6)
    assert "does not end in .svg" in run_latent(trained, "--plot", "x.png").sentence(code=2)


def test_fewer_frames_are_whole_episodes(tmp_path: Path):
    path = write_recording(tmp_path / "x.h5", [30, 24, 40, 20, 32, 28], dims=2, size=8)
    dataset = open_dataset(path, "x")
    tracks = draw_tracks(dataset, np.array([0, 2, 3, 5]), 5, frames=15, seed=0)
    assert len(tracks.rows) <= 15
    for number in tracks.episodes:
        first, length = dataset.offsets[number], dataset.lengths[number]
        assert tracks.rows[tracks.owners == number].tolist() == list(range(first, first + length, 5))
    assert set(tracks.episodes) <= {0, 2, 3, 5}
    assert len(draw_tracks(dataset, np.arange(6), 5, frames=3, seed=0).episodes) == 2
    assert len(draw_tracks(dataset, np.arange(6), 5, frames=3000, seed=0).episodes) == 6
