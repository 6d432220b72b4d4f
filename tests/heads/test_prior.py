"""The behavior prior learns where recorded actions lead, its control does not, and it tells whole sequences."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lewm_cli.config import ActionStats, Inputs, PlannerConfig
from lewm_cli.control.run_planner import roll_prior
from lewm_cli.data import Dataset, open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.heads import FITTED, SHUFFLED, LatentEpisodes, LatentSplit
from lewm_cli.heads.prior import Behavior, PriorFit
from lewm_cli.methods import JEPA
from lewm_cli.model import PriorHead
from lewm_cli.store import Run, RunFiles
from synthetic import write_recording

SKIP, LATENT, LENGTH, EPISODES = 5, 8, 60, 40


@pytest.fixture
def run(tmp_path: Path, small_model: JEPA, small_card: Callable) -> Run:
    return Run("tworoom/lewm", RunFiles(tmp_path / "lewm"), small_model, "lewm", small_card(small_model), 1, "")


@pytest.fixture
def goers(tmp_path: Path) -> tuple[Dataset, LatentEpisodes]:
    """Episodes that go straight, each in a direction of its own, and latents that say where they are."""
    generator = np.random.default_rng(0)
    angles = generator.uniform(0, 2 * np.pi, EPISODES)
    ways = np.repeat(np.stack([np.cos(angles), np.sin(angles)], axis=1), LENGTH, axis=0)
    steps = np.tile(np.arange(LENGTH), EPISODES)[:, None]
    begins = np.repeat(generator.normal(0, 3, (EPISODES, 2)), LENGTH, axis=0)
    latents = np.concatenate([begins + steps * ways, np.zeros((len(ways), LATENT - 2))], axis=1)
    actions = (ways + generator.normal(0, 0.2, ways.shape)).astype(np.float32)
    actions[LENGTH - 1 :: LENGTH] = np.nan
    path = write_recording(tmp_path / "goers.h5", (LENGTH,) * EPISODES, size=1, columns={"action": actions})
    return open_dataset(path, "goers"), some(torch.from_numpy(latents).float(), range(EPISODES))


def some(latents: torch.Tensor, numbers: range) -> LatentEpisodes:
    """Whole episodes of these numbers, of latents of all."""
    rows = np.concatenate([number * LENGTH + np.arange(LENGTH) for number in numbers])
    lengths = np.full(len(numbers), LENGTH)
    return LatentEpisodes(latents[rows], rows, np.array(numbers), np.cumsum(lengths) - lengths, lengths)


def test_head_learns_where_to_go_and_its_control_nothing(
    run: Run, goers: tuple[Dataset, LatentEpisodes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("lewm_cli.heads.imagination.STRETCHES", 200)
    monkeypatch.setattr("lewm_cli.heads.prior.BATCH", 128)
    dataset, every = goers
    split = LatentSplit(run, dataset, some(every.latents, range(30)), some(every.latents, range(30, EPISODES)), True)
    told: list[int] = []
    heads, fit = PriorFit.fit(split, seed=0, steps=200, advance=told.append)
    assert sum(told) == PriorFit.total_steps(200)
    assert fit.head.low > 0.5
    assert fit.shuffled.high < 0.2
    assert "is shown to know the way" in fit.remarks[1]
    with torch.inference_mode():
        there = torch.zeros(2, LATENT)
        there[0, 0], there[1, 0] = 25, -25
        mean, std = heads[FITTED](torch.zeros(2, LATENT), there)
        ends = mean.unflatten(-1, (SKIP, 2)).mean(dim=1) * 0.3 + 1 / 3  # in the units of the recording
        assert ends[0, 0] > 0.5
        assert ends[1, 0] < -0.5
        assert std.mean() < 0.9 * heads[SHUFFLED](torch.zeros(2, LATENT), there)[1].mean()
    again, _ = PriorFit.fit(split, seed=0, steps=200, advance=told.append)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in heads.state_dict().items())


@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6).filter(lambda lengths: max(lengths) > SKIP),
    lost=st.lists(st.integers(0, 119), max_size=3),
    farthest=st.none() | st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_pairs_are_of_one_episode_and_blocks_are_those_taken(
    lengths: list[int], lost: list[int], farthest: int | None, seed: int
):
    count = sum(lengths)
    actions = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    for row in lost:
        actions[row % count] = np.nan
    ends = np.cumsum(lengths)
    episodes = LatentEpisodes(
        torch.zeros(count, 1), np.arange(count), np.arange(len(lengths)), ends - lengths, np.array(lengths)
    )
    inputs = Inputs(task="tworoom", frameskip=SKIP, actions=ActionStats(mean=(0.0, 0.0), std=(1.0, 1.0)))
    run, dataset = SimpleNamespace(card=SimpleNamespace(inputs=inputs)), SimpleNamespace(name="some", actions=actions)
    split = LatentSplit(run, dataset, episodes, episodes, held_out=True)
    owners, wanted = episodes.owners, []
    for row in range(count):
        inside = row + SKIP < count and owners[row + SKIP] == owners[row]
        if inside and np.isfinite(actions[row : row + SKIP]).all():
            wanted.append(row)
    if not wanted:
        with pytest.raises(LewmError, match="holds a whole action block"):
            Behavior.of(split, episodes)
        return
    behavior = Behavior.of(split, episodes)
    assert behavior.known.tolist() == wanted
    here, there = behavior.draw(40, torch.Generator().manual_seed(seed), farthest)
    assert set(here.tolist()) <= set(wanted)
    assert (owners[here] == owners[there]).all()
    assert ((there - here >= 1) & (there - here <= (farthest or count))).all()
    for row in wanted:
        assert np.array_equal(behavior.blocks[row].numpy(), actions[row : row + SKIP].ravel())


def test_episodes_shorter_than_what_is_imagined_are_refused(run: Run, goers: tuple[Dataset, LatentEpisodes]):
    dataset, _ = goers
    rows = np.arange(8 * 20)
    short = LatentEpisodes(torch.zeros(160, LATENT), rows, np.arange(8), 20 * np.arange(8), np.full(8, 20))
    with pytest.raises(LewmError, match="the 26 rows that 5 imagined steps of tworoom/lewm take"):
        PriorFit.fit(LatentSplit(run, dataset, short, short, held_out=True), seed=0, steps=3, advance=print)


@pytest.mark.parametrize("history", [None, 1, 2])
def test_rolled_prior_is_what_the_head_says_along_what_the_model_imagines(small_model: JEPA, history: int | None):
    torch.manual_seed(0)
    head, config = PriorHead(LATENT, 10).eval(), PlannerConfig(horizon=6, history=history)
    starts, goals = torch.randn(3, LATENT), torch.randn(3, LATENT)
    priors = roll_prior(small_model, head, starts, goals, config)
    back = history or small_model.history
    with torch.inference_mode():
        for number, prior in enumerate(priors):
            latents = [starts[number]]
            for step in range(6):
                mean, std = head(latents[-1], goals[number])
                assert torch.allclose(prior.mean[step], mean, atol=1e-5)
                assert torch.allclose(prior.std[step], std, atol=1e-5)
                window = slice(max(0, step + 1 - back), step + 1)
                acted = small_model.embed_actions(prior.mean[None, : step + 1])[:, window]
                latents.append(small_model.predict(torch.stack(latents[window])[None], acted)[0, -1])
