"""Latents that heads learn from: imagined from single recorded frames, with the actions that were taken."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lewm_cli.data import Dataset, open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.heads import LatentEpisodes, imagine_along
from lewm_cli.methods import JEPA
from lewm_cli.model import rollout
from lewm_cli.store import Run, RunFiles
from synthetic import write_recording

LENGTHS = (12, 40, 26, 33)
HORIZON, FRAMESKIP = 5, 5


@pytest.fixture
def run(tmp_path: Path, small_model: JEPA, small_card: Callable) -> Run:
    card = small_card(small_model)
    return Run("tworoom/lewm", RunFiles(tmp_path / "lewm"), small_model, "lewm", card, tensors=1, sha256="")


@pytest.fixture
def recording(tmp_path: Path) -> Dataset:
    """The third action of the last episode was not recorded, and no episode has a last one."""
    actions = np.random.default_rng(1).normal(size=(sum(LENGTHS), 2)).astype(np.float32)
    actions[np.cumsum(LENGTHS) - 1] = np.nan
    actions[sum(LENGTHS[:3]) + 2] = np.nan
    return open_dataset(write_recording(tmp_path / "x.h5", LENGTHS, dims=2, columns={"action": actions}), "x")


def latents_of(run: Run, dataset: Dataset, numbers: tuple[int, ...]) -> LatentEpisodes:
    chosen, lengths = np.array(numbers), dataset.lengths[list(numbers)]
    rows = np.concatenate([dataset.offsets[one] + np.arange(dataset.lengths[one]) for one in chosen])
    latents = torch.randn(len(rows), run.world_model.config.latent_dim, generator=torch.Generator().manual_seed(0))
    return LatentEpisodes(latents, rows, chosen, np.cumsum(lengths) - lengths, lengths)


def test_latents_are_imagined_one_model_step_after_the_other_with_the_recorded_actions(run: Run, recording: Dataset):
    episodes = latents_of(run, recording, (3, 0, 1))
    found = imagine_along(run, recording, episodes, HORIZON, seed=3)
    stretches = found.latents.unflatten(0, (-1, HORIZON))
    places = found.places.view(-1, HORIZON)
    assert len(found.latents) <= len(episodes.rows)
    assert len(stretches) == len(episodes.rows) // HORIZON
    begins = (places[:, 0] - FRAMESKIP).tolist()
    assert torch.equal(places, torch.tensor(begins)[:, None] + FRAMESKIP * torch.arange(1, HORIZON + 1))
    for number, begin in enumerate(begins):
        assert 3 <= begin < 33 - 25 or 45 <= begin < 85 - 25
        row = episodes.rows[begin]
        taken = recording.actions[row : row + HORIZON * FRAMESKIP]
        blocks = torch.from_numpy(run.card.inputs.blocks_of(taken))
        with torch.inference_mode():
            expected = rollout(run.model, episodes.latents[begin][None, None], blocks[None])[0, 1:]
        assert torch.allclose(stretches[number], expected, atol=1e-5)
    again = imagine_along(run, recording, episodes, HORIZON, seed=3)
    assert torch.equal(found.latents, again.latents)
    assert not torch.equal(found.places, imagine_along(run, recording, episodes, HORIZON, seed=4).places)


def test_large_latents_are_imagined_in_fewer_stretches(run: Run, recording: Dataset, monkeypatch: pytest.MonkeyPatch):
    width = run.world_model.config.latent_dim
    monkeypatch.setattr("lewm_cli.heads.imagination.MOST_NUMBERS", 12 * width)
    episodes = latents_of(run, recording, (1, 3))
    assert len(imagine_along(run, recording, episodes, HORIZON, seed=0).latents) == 10
    monkeypatch.setattr("lewm_cli.heads.imagination.MOST_NUMBERS", 1)
    assert len(imagine_along(run, recording, episodes, HORIZON, seed=0).latents) == 5


def test_episodes_that_hold_no_stretch_with_all_actions_are_refused(run: Run, recording: Dataset):
    with pytest.raises(LewmError, match=r"no episode of x has all actions and the 26 rows that 5 imagined steps"):
        imagine_along(run, recording, latents_of(run, recording, (0,)), HORIZON, seed=0)
    lost = np.full((sum(LENGTHS), 2), np.nan, np.float32)
    path = write_recording(recording.path.with_name("lost.h5"), LENGTHS, dims=2, columns={"action": lost})
    dataset = open_dataset(path, "lost")
    with pytest.raises(LewmError, match="no episode of lost has all actions"):
        imagine_along(run, dataset, latents_of(run, dataset, (1, 3)), HORIZON, seed=0)
