"""Heads learn what they are fitted to, and their scores are those of other implementations."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch import Tensor

from lewm_cli.data import Dataset, open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.heads import (
    FITTED,
    SHUFFLED,
    WITH_IMAGINED,
    ImaginedLatents,
    LatentEpisodes,
    LatentSplit,
    ProbeFit,
    ReachFit,
)
from lewm_cli.heads.reach_pairs import Distances, draw_imagined_pairs, draw_pairs, draw_strangers
from lewm_cli.heads.reach_score import score_gain, score_reach
from lewm_cli.methods import JEPA
from lewm_cli.store import (
    Run,
    RunFiles,
)
from synthetic import write_recording

RUN = "tworoom/lewm"


@pytest.fixture(autouse=True)
def short_fitting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches and bootstraps as large as these small problems need."""
    monkeypatch.setattr("lewm_cli.heads.reach.BATCH", 128)
    monkeypatch.setattr("lewm_cli.heads.reach.TESTED_PAIRS", 600)
    monkeypatch.setattr("lewm_cli.heads.reach_score.RESAMPLES", 50)


def episodes_of(latents: Tensor, lengths: tuple[int, ...]) -> LatentEpisodes:
    """Episodes that lie one after the other in a recording, numbered from 0."""
    spans = np.array(lengths)
    return LatentEpisodes(latents, np.arange(spans.sum()), np.arange(len(spans)), np.cumsum(spans) - spans, spans)


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_pairs_are_of_one_episode_and_strangers_of_two(lengths: list[int], seed: int):
    episodes = episodes_of(torch.zeros(sum(lengths), 1), tuple(lengths))
    generator, owners = torch.Generator().manual_seed(seed), torch.from_numpy(episodes.owners)
    pairs = draw_pairs(episodes, 50, generator)
    assert torch.equal(owners[pairs.earlier], pairs.owners)
    assert torch.equal(owners[pairs.later], pairs.owners)
    assert torch.equal(pairs.later - pairs.earlier, pairs.steps)
    assert (pairs.steps >= 0).all()
    strangers = draw_strangers(episodes, pairs.owners, generator)
    assert ((owners[strangers] != pairs.owners) | (len(lengths) == 1)).all()


def test_imagined_pairs_lie_like_encoded_ones():
    lengths = (8, 30, 17)
    episodes = episodes_of(torch.arange(55.0)[:, None], lengths)
    owners = torch.from_numpy(episodes.owners)
    places = torch.arange(55).repeat(2)
    imagined = ImaginedLatents(-places.float()[:, None], places)
    generator = torch.Generator().manual_seed(0)
    pairs, others = draw_imagined_pairs(episodes, imagined, 40_000, generator), draw_pairs(episodes, 40_000, generator)
    assert torch.equal(pairs.latents[:, 0], -pairs.earlier.float())
    assert torch.equal(others.latents[:, 0], others.earlier.float())
    assert torch.equal(owners[pairs.later], pairs.owners)
    assert torch.equal(owners[pairs.earlier], pairs.owners)
    assert torch.equal(pairs.later - pairs.earlier, pairs.steps)
    for owner in range(3):
        found, expected = (each.steps[each.owners == owner].float() for each in (pairs, others))
        assert len(found) / len(expected) == pytest.approx(1, abs=0.05)
        assert found.mean().item() == pytest.approx(expected.mean().item(), rel=0.05)


@given(longest=st.floats(1, 400))
def test_classes_of_distances_cover_every_distance_in_order(longest: float):
    distances = Distances.up_to(longest)
    asked = torch.linspace(0, longest, 500)
    found = distances.classes(asked)
    assert (found.diff() >= 0).all()
    assert found.max() < distances.beyond
    assert (distances.steps.diff() > 0).all()
    assert distances.steps[-1] > longest
    wide = torch.maximum(torch.ones(500), 0.25 * asked)
    assert ((distances.steps[found] - asked).abs() <= wide).all()


def test_scores_are_those_of_others():
    generator = np.random.default_rng(0)
    steps, owners = generator.integers(0, 60, 400), generator.integers(0, 12, 400)
    told = steps + generator.normal(0, 20, 400)
    found = score_reach(told[None], steps, owners, 25, seed=0)
    assert found.correlation.value == pytest.approx(spearmanr(told, steps).statistic)
    assert found.auroc.value == pytest.approx(roc_auc_score(steps > 25, told))
    for each in (found.correlation, found.auroc):
        assert each.low < each.value < each.high
    tied = score_reach(np.round(told / 20)[None], steps, owners, 25, seed=0)
    assert tied.auroc.value == pytest.approx(roc_auc_score(steps > 25, np.round(told / 20)))
    nothing = score_reach(np.ones((1, 400)), steps, owners, 25, seed=0)
    assert (nothing.correlation.value, nothing.auroc.value) == (0, 0.5)
    against = score_reach(np.stack([told, -told]), steps, owners, 25, seed=0)
    assert against.correlation.value == pytest.approx(0)
    assert against.correlation.low < -0.5 < 0.5 < against.correlation.high


def test_gain_of_a_head_is_paired():
    generator = np.random.default_rng(0)
    steps, owners = generator.integers(0, 60, 400), generator.integers(0, 12, 400)
    worse = steps + generator.normal(0, 20, 400)
    better = (steps + worse) / 2
    gain = score_gain(np.stack([better, worse]), steps, owners, seed=0)
    assert gain.value == pytest.approx(spearmanr(better, steps).statistic - spearmanr(worse, steps).statistic)
    assert 0 < gain.low < gain.value < gain.high
    each = [score_reach(one[None], steps, owners, 25, seed=0).correlation for one in (better, worse)]
    assert gain.high - gain.low < sum(one.high - one.low for one in each)
    same = score_gain(np.stack([worse, worse]), steps, owners, seed=0)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def walks(lengths: tuple[int, ...], seed: int) -> Tensor:
    """Latents that climb a winding stair at a steady pace: what lies above each other is near, and far in time."""
    generator = np.random.default_rng(seed)
    turns = [generator.uniform(0, 6) + 0.05 * np.arange(length) for length in lengths]
    angle = np.concatenate(turns)
    noise = generator.normal(0, 0.05, (len(angle), 3))
    return torch.from_numpy(np.stack([np.cos(3 * angle), np.sin(3 * angle), 0.5 * angle], axis=1) + noise).float()


@pytest.fixture
def walker(tmp_path: Path, small_model: JEPA, small_card: Callable) -> tuple[Run, Dataset]:
    run = Run(RUN, RunFiles(tmp_path / "lewm"), small_model, "lewm", small_card(small_model), tensors=1, sha256="")
    return run, open_dataset(write_recording(tmp_path / "x.h5", dims=2), "x")


@pytest.fixture
def erring(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that imagines the stairs wider than they are, and too high."""

    def imagine_along(run: Run, dataset: Dataset, episodes: LatentEpisodes, horizon: int, seed: int) -> ImaginedLatents:
        places = torch.arange(len(episodes.latents))
        return ImaginedLatents(episodes.latents * torch.tensor([3.0, 3.0, 1.0]) + torch.tensor([0.0, 0.0, 2.0]), places)

    monkeypatch.setattr("lewm_cli.heads.reach.imagine_along", imagine_along)


def test_head_learns_time_and_its_controls_nothing(walker: tuple[Run, Dataset], erring: None):
    lengths = (110,) * 12
    fitted, tested = (episodes_of(walks(lengths, seed), lengths) for seed in (0, 1))
    told: list[int] = []
    split = LatentSplit(*walker, fitted, tested, held_out=True)
    heads, fit = ReachFit.fit(split, seed=0, steps=250, advance=told.append)
    assert sum(told) == ReachFit.total_steps(250)
    for known in (fit.head.encoded, fit.with_imagined.encoded, fit.with_imagined.imagined):
        assert known.correlation.low > 0.75
        assert known.auroc.low > 0.85
    # What it never saw it cannot tell.
    assert fit.head.imagined.correlation.high < fit.with_imagined.imagined.correlation.low
    assert fit.gain.low > 0
    assert fit.remarks[-1] == f"Gain on imagined latents by fitting to them: {fit.gain}."
    assert fit.latent_distance.encoded.correlation.high < fit.head.encoded.correlation.low
    for control, known in (
        (fit.shuffled.encoded, fit.head.encoded),
        (fit.shuffled.imagined, fit.with_imagined.imagined),
    ):
        assert control.correlation.high < known.correlation.low
        assert control.auroc.high < known.auroc.low
    with torch.inference_mode():
        near, middle, far = (heads[FITTED](tested.latents[:10], tested.latents[k : k + 10]) for k in (0, 50, 100))
        assert near.mean() < 6
        assert 7 < middle.mean() < 15  # 10, if no strangers were among the pairs
        assert 15 < far.mean() < 30
        strange = heads[SHUFFLED](tested.latents[:60], tested.latents[50:110])
    assert strange.std() < 0.1 * strange.mean()


def test_same_seed_fits_the_same_heads(walker: tuple[Run, Dataset], erring: None):
    lengths = (110,) * 12
    fitted, tested = (episodes_of(walks(lengths, seed), lengths) for seed in (0, 1))
    split = LatentSplit(*walker, fitted, tested, held_out=True)
    (first, _), (again, _), (other, _) = (
        ReachFit.fit(split, seed=seed, steps=5, advance=lambda done: None) for seed in (0, 0, 1)
    )
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in first.state_dict().items())
    for name in (FITTED, WITH_IMAGINED, SHUFFLED):
        key = f"{name}.net.0.weight"
        assert not torch.equal(first.state_dict()[key], other.state_dict()[key])
    assert not torch.equal(first[FITTED].net[0].weight, first[WITH_IMAGINED].net[0].weight)


def test_episodes_that_never_leave_the_horizon_are_refused(walker: tuple[Run, Dataset]):
    short = episodes_of(walks((26,) * 8, 0), (26,) * 8)
    with pytest.raises(LewmError, match=r"longer than the planner's horizon \(25 steps\)"):
        ReachFit.fit(LatentSplit(*walker, short, short, held_out=True), seed=0, steps=3, advance=print)


@pytest.mark.slow
def test_positions_are_read_in_their_unit(walker: tuple[Run, Dataset], tmp_path: Path):
    lengths = (60,) * 14
    latents = walks(lengths, 0)
    places = (latents @ torch.tensor([[30.0, 4.0], [-5.0, 20.0], [3.0, 3.0]]) + torch.tensor([112.0, 90.0])).numpy()
    path = write_recording(tmp_path / "places.h5", lengths, dims=2, size=1, columns={"proprio": places})
    dataset, every = open_dataset(path, "places"), episodes_of(latents, lengths)
    cut = 10 * 60
    fitted = LatentEpisodes(latents[:cut], every.rows[:cut], every.numbers[:10], every.starts[:10], every.lengths[:10])
    tested = LatentEpisodes(latents[cut:], every.rows[cut:], every.numbers[10:], every.starts[:4], every.lengths[10:])
    told: list[int] = []
    split = LatentSplit(walker[0], dataset, fitted, tested, held_out=True)
    heads, fit = ProbeFit.fit(split, seed=0, steps=300, advance=told.append)
    assert sum(told) == 300
    assert [(one.name, one.unit) for one in fit.positions] == [("agent x", "px"), ("agent y", "px")]
    assert min(one.r2.low for one in fit.positions) > 0.98
    with torch.inference_mode():
        assert heads[FITTED](tested.latents).numpy() == pytest.approx(places[cut:], abs=8)
