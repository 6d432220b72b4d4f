"""Open-loop imagination along recorded episodes: the model rolls on with the true actions and its own predictions."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lewm_cli.data import Dataset, Frames
from lewm_cli.errors import LewmError
from lewm_cli.heads.latents import LatentEpisodes
from lewm_cli.store import Run

HORIZON = 10
"""Model steps imagined unless another number is asked for."""

SEQUENCES_AT_ONCE = 32

STRETCHES, STRETCHES_AT_ONCE = 4000, 500
"""Stretches that heads learn from, and those that are imagined together."""

MOST_NUMBERS = 100_000_000
"""Numbers in the latents that are imagined for heads, where single latents are large: 0.4 GB."""


@dataclass(frozen=True)
class Imagined:
    """N recorded stretches, imagined over H model steps from a context of recorded frames, float32 on the CPU.

    Args:
        rows: (N, H + 1) rows of the recording: the last frame of the context, then those that are imagined.
        imagined: (N, H, D) latents predicted open loop.
        actual: (N, H, D) latents of the recorded frames.
        last: (N, D) latent of the last frame of the context, which copying repeats.
    """

    rows: np.ndarray
    imagined: Tensor
    actual: Tensor
    last: Tensor

    @property
    def copied(self) -> Tensor:
        """(N, H, D) the last latent of the context at every step, as if nothing changed."""
        return self.last.unsqueeze(1).expand_as(self.actual)

    def errors(self, latents: Tensor) -> np.ndarray:
        """Mean squared differences (N, H), float64, of latents that broadcast to (N, H, D) to those that were recorded.

        In place of a prediction stand `imagined`, `copied` or another guess.
        """
        squares: np.ndarray = (latents - self.actual).square().mean(dim=-1, dtype=torch.float64).numpy()
        return squares


def usual_horizon(run: Run, dataset: Dataset, episodes: np.ndarray) -> int:
    """Model steps, at most `HORIZON`, that half of the episodes (E,) can be imagined over; 0 if they are too short."""
    steps = (dataset.lengths[episodes] - 1) // run.card.inputs.frameskip - (run.model.history - 1)
    return int(np.clip(np.median(steps), 0, HORIZON))


def draw_stretches(
    run: Run, dataset: Dataset, episodes: np.ndarray, horizon: int, *, per_episode: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws where imagining begins: rows (N,) of the context's last frame, and their episodes (N,), in order.

    Args:
        episodes: (E,) to draw from; those that are too short, or lack an action, are passed over.
        horizon: model steps to imagine.
        per_episode: at most so many of each episode.
        seed: of the draw.

    Raises:
        LewmError: no episode is long enough.
    """
    skip, before = run.card.inputs.frameskip, (run.model.history - 1) * run.card.inputs.frameskip
    generator, rows, owners = np.random.default_rng(seed), [], []
    for episode in map(int, np.sort(episodes)):
        first, length = int(dataset.offsets[episode]), int(dataset.lengths[episode])
        known = np.isfinite(dataset.actions[first : first + length]).all(axis=1)
        begins = np.arange(before, length - horizon * skip)
        usable = [at for at in begins if known[at - before : at + horizon * skip].all()]
        drawn = np.sort(generator.permutation(usable)[:per_episode]).astype(np.int64)
        rows.append(first + drawn)
        owners.append(np.full(len(drawn), episode))
    if not sum(map(len, rows)):
        needed = before + horizon * skip + 1
        raise LewmError(
            f"no episode of {dataset.name} has all actions and the {needed} rows that {horizon} imagined steps of "
            f"{run.name} take; ask for a shorter horizon, or record longer episodes"
        )
    return np.concatenate(rows), np.concatenate(owners)


def recorded_blocks(run: Run, dataset: Dataset, rows: np.ndarray) -> Tensor:
    """Normalized action blocks (N, T, block_dim), on the run's device, that were taken from rows (N, T) on."""
    taken = rows[..., None] + np.arange(run.card.inputs.frameskip)
    blocks = run.card.inputs.blocks_of(dataset.actions[taken.ravel()])
    return torch.from_numpy(blocks.reshape(*rows.shape, -1)).to(run.device)


@torch.inference_mode()
def imagine_recorded(
    run: Run, dataset: Dataset, frames: Frames, begins: np.ndarray, horizon: int
) -> Iterator[Imagined]:
    """Imagines recorded stretches with their actions, and encodes what was recorded in their place.

    They come in their order, some at a time: latents of patches are so large that those of all may not fit into memory.

    Args:
        frames: of the recording, at the model's image size.
        begins: (N,) as `draw_stretches` gives them.
        horizon: model steps to imagine.
    """
    skip, history = run.card.inputs.frameskip, run.model.history
    proprio, imagine = run.recorded_proprio(dataset), run.world_model.imaginer()
    at_once = min(SEQUENCES_AT_ONCE, run.world_model.sequences_at_once(horizon, gradient=False) or SEQUENCES_AT_ONCE)
    rows = begins[:, None] + skip * np.arange(1 - history, horizon + 1)
    for part in np.array_split(rows, range(at_once, len(rows), at_once)):
        beside = None if proprio is None else proprio[part.ravel()]
        latents = run.embed(frames.rows(part.ravel()), beside).view(*part.shape, -1)
        blocks = recorded_blocks(run, dataset, part[:, :-1])
        predicted = run.finite(imagine(latents[:, :history], blocks))[:, history:].float().cpu()
        latents = latents[:, history - 1 :].float().cpu()
        yield Imagined(part[:, history - 1 :], predicted, actual=latents[:, 1:], last=latents[:, 0])


@dataclass(frozen=True)
class ImaginedLatents:
    """Latents that the model imagines from single recorded frames with the recorded actions, as planning does.

    Args:
        latents: (N, D) float32 on the CPU, one step imagined after the other.
        places: (N,) of the frames that they stand for, among the latents of the episodes.
    """

    latents: Tensor
    places: Tensor


@torch.inference_mode()
def imagine_along(run: Run, dataset: Dataset, episodes: LatentEpisodes, horizon: int, seed: int) -> ImaginedLatents:
    """Imagines `STRETCHES` of recorded episodes, drawn anywhere in them, from the latent of their first frame.

    They are fewer where latents are large, and where more would be imagined than there are frames.

    Args:
        horizon: model steps of each; episodes that are shorter, or lack an action there, are passed over.

    Raises:
        LewmError: no episode is long enough.
    """
    skip = run.card.inputs.frameskip
    ends = np.repeat(episodes.starts + episodes.lengths, episodes.lengths)
    known = np.isfinite(dataset.actions[episodes.rows]).all(axis=1)
    missing = np.concatenate([[0], np.cumsum(~known)])  # before each row
    begins = np.flatnonzero(np.arange(len(ends)) + horizon * skip < ends)
    begins = begins[missing[begins + horizon * skip] == missing[begins]]
    if not len(begins):
        raise LewmError(
            f"no episode of {dataset.name} has all actions and the {horizon * skip + 1} rows that {horizon} imagined "
            f"steps of {run.name} take; record longer episodes, and train on them"
        )
    most = min(len(episodes.rows), MOST_NUMBERS // episodes.latents.shape[1])
    count = max(1, min(STRETCHES, most // horizon))
    begins = np.random.default_rng(seed).choice(begins, count)
    imagine, parts = run.world_model.imaginer(), []
    at_once = run.world_model.sequences_at_once(horizon, gradient=False) or STRETCHES_AT_ONCE
    at_once = min(at_once, STRETCHES_AT_ONCE)
    for part in np.array_split(begins, range(at_once, count, at_once)):
        rows = episodes.rows[part][:, None] + skip * np.arange(horizon)
        latents = episodes.latents[part].to(run.device).unsqueeze(1)
        parts.append(run.finite(imagine(latents, recorded_blocks(run, dataset, rows)))[:, 1:].float().cpu())
    places = begins[:, None] + skip * np.arange(1, horizon + 1)
    return ImaginedLatents(torch.cat(parts).flatten(0, 1), torch.from_numpy(places.ravel()))
