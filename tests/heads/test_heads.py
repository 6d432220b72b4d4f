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
    LatentEpisodes,
    LatentSplit,
    ProbeFit,
    ReachFit,
)
from lewm_cli.heads.reach import score_reach
from lewm_cli.heads.reach_pairs import Distances, draw_pairs, draw_strangers
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
    monkeypatch.setattr("lewm_cli.heads.reach.RESAMPLES", 100)


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


def test_head_learns_time_and_its_controls_nothing(walker: tuple[Run, Dataset]):
    lengths = (110,) * 12
    fitted, tested = (episodes_of(walks(lengths, seed), lengths) for seed in (0, 1))
    told: list[int] = []
    split = LatentSplit(*walker, fitted, tested, held_out=True)
    heads, fit = ReachFit.fit(split, seed=0, steps=250, advance=told.append)
    assert sum(told) == ReachFit.total_steps(250)
    assert fit.head.correlation.low > 0.85
    assert fit.head.auroc.low > 0.95
    assert fit.latent_distance.correlation.high < fit.head.correlation.low
    assert abs(fit.shuffled.correlation.value) < 0.35
    assert abs(fit.shuffled.auroc.value - 0.5) < 0.2
    with torch.inference_mode():
        near, middle, far = (heads[FITTED](tested.latents[:10], tested.latents[k : k + 10]) for k in (0, 50, 100))
        assert near.mean() < 6
        assert 7 < middle.mean() < 15  # 10, if no strangers were among the pairs
        assert 15 < far.mean() < 30
        strange = heads[SHUFFLED](tested.latents[:60], tested.latents[50:110])
    assert strange.std() < 0.1 * strange.mean()
    again, _ = ReachFit.fit(split, seed=0, steps=250, advance=told.append)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in heads.state_dict().items())


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
