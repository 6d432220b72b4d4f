"""Encode the recording whose frames plans aim at, once for a run and kept beside it."""

from collections.abc import Collection, Sequence

import numpy as np
import torch

from lewm_cli.config import PlannerConfig
from lewm_cli.data import Dataset, DecodedFrames, require_usable
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.flows import Progress
from lewm_cli.flows.planned import Planned
from lewm_cli.flows.unseen import is_unseen, refuse_unfit
from lewm_cli.heads import AnchorIndex, Anchors, encode_rows, find_anchors, save_anchors
from lewm_cli.store import Home, Run, Say
from lewm_cli.tasks import GENERIC, find_task

MOST_FRAMES, MOST_NUMBERS = 50_000, 2**25
"""Latents kept of a recording, and numbers in them: what a plan looks through in some milliseconds."""


OTHERS = (
    "name another recording with --dataset, or with planner.anchors; where lewm improve chose them, --plain plans "
    "without"
)


def prepare_anchors(
    home: Home,
    run: Run,
    planner: PlannerConfig,
    say: Say,
    progress: Progress,
    measured: Sequence[Planned] = (),
    instead: str = OTHERS,
) -> None:
    """Encode the recording that `planner.anchors` names, unless it is None or these weights have encoded it already.

    Of a recording that the run was trained on, only those episodes are taken: what it held out is measured on.

    Args:
        measured: pairs to measure on, none of whose episodes may be among the anchors: the way to the goal itself would
            be found.
        instead: what to type where some are.

    Raises:
        LewmError: no such recording, one of another task or with other actions, episodes that are not longer than
            plans look ahead or that are measured on, or the run cannot be written.
    """
    name = planner.anchors
    if name is None:
        return
    try:
        stored = find_anchors(run, name)
    except LewmError:
        stored = None
    try:
        recording = home.find_dataset(name, say)
    except MissingError as error:
        if stored is None:
            raise MissingError(f"plans of {run.name} would aim at frames of {name}, and {error}") from error
        say(f"note: {name} is not here anymore; its anchors, which {run.name} has encoded, are")
        _refuse_retrieved(name, stored.index.digests, measured, instead)
        return
    if stored is None or stored.index.dataset.fingerprint != recording.identity.fingerprint:
        stored = None
        refuse_unfit(run, find_task(run.card.inputs.task) or GENERIC, recording)
        require_usable(recording, say)
    episodes, ahead = _episodes(run, recording), planner.horizon * run.card.inputs.frameskip
    digests = tuple(recording.episode_digests[episode] for episode in episodes)
    _refuse_retrieved(name, digests, measured, instead)
    _refuse_short(recording, episodes, ahead)
    if stored is None:
        stored = _encode(run, recording, episodes, digests, say, progress)
        save_anchors(run, name, stored)
    if stored.index.every > ahead:
        raise LewmError(
            f"latents of {run.name} hold {stored.latents.shape[1]:,} numbers each, so only every "
            f"{stored.index.every}th frame of {name} is kept, and plans aim {ahead} ahead; name a smaller recording "
            "with planner.anchors"
        )


def _refuse_retrieved(name: str, digests: Collection[str], measured: Sequence[Planned], instead: str) -> None:
    for one in measured:
        evaluated = {one.dataset.episode_digests[pair.episode] for pair in one.pairs}
        if found := len(evaluated & set(digests)):
            raise LewmError(
                f"{found} of the {len(evaluated)} episodes to measure on are among the anchors of {name}, so the way "
                f"to their goals would only be looked up; {instead}"
            )


def _episodes(run: Run, recording: Dataset) -> np.ndarray:
    """Numbers (E,) of the episodes that anchors are taken of: those that the run was trained on, or all if on none."""
    trained_on = ~is_unseen(run, recording)
    return np.flatnonzero(trained_on) if trained_on.any() else np.arange(recording.episodes)


def _refuse_short(recording: Dataset, episodes: np.ndarray, ahead: int) -> None:
    longest = int(recording.lengths[episodes].max())
    if longest == 1:
        raise LewmError(
            f"every episode of {recording.name} is a single frame, so nobody knows which leads to which; name a "
            "recording with planner.anchors that has its episodes' order"
        )
    if longest <= ahead:
        raise LewmError(
            f"plans aim {ahead} frames ahead, and no episode of {recording.name} that may be used is longer (the "
            f"longest has {longest}); name another recording with planner.anchors, or a smaller planner.horizon"
        )


def _encode(
    run: Run, recording: Dataset, episodes: np.ndarray, digests: tuple[str, ...], say: Say, progress: Progress
) -> Anchors:
    lengths, width = recording.lengths[episodes], run.world_model.config.latent_dim
    count = int(lengths.sum())
    every = max(1, -(-count // MOST_FRAMES), -(-count * width // MOST_NUMBERS))
    offsets = recording.offsets[episodes]
    rows = np.concatenate([offset + np.arange(length) for offset, length in zip(offsets, lengths, strict=True)])
    kept = np.concatenate([np.arange(length) % every == 0 for length in lengths])
    which = f", every {every}th," if every > 1 else ""
    say(
        f"anchors: {kept.sum():,} frames{which} of {len(episodes)} of {recording.episodes} episodes of {recording.name}"
    )
    frames = DecodedFrames(recording, run.card.model.image_size)
    with progress("encoding anchors", int(kept.sum()), "frames") as advance:
        latents = encode_rows(run, recording, frames, rows[kept], advance)
    inputs, actions = run.card.inputs, recording.actions[rows]
    actions = np.where(np.isfinite(actions).all(axis=1, keepdims=True), inputs.actions.normalize(actions), np.nan)
    index = AnchorIndex.now(run, dataset=recording.identity, digests=digests, every=every, frameskip=inputs.frameskip)
    taken = torch.from_numpy(actions.astype(np.float32))
    return Anchors(index, latents, taken, torch.from_numpy(lengths))
