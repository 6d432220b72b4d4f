"""Curves of every detector along one episode; one of them is an untrained model, with which the trained is compared."""

import numpy as np
import torch
from torch import Tensor

from lewm_cli.store import Run
from lewm_cli.surprise.horizon import surprise_ahead
from lewm_cli.surprise.surprise_result import Curve, Detector
from lewm_cli.surprise.surprise_stream import SurpriseStream


def detect(
    run: Run,
    reference: Run,
    frames: np.ndarray,
    actions: np.ndarray,
    proprio: np.ndarray | None = None,
    *,
    beside: Run | None = None,
    horizon: int = 1,
) -> dict[Detector, Curve]:
    """Runs every detector over an episode.

    Args:
        run: the model.
        reference: the same run, untrained.
        frames: (K + 1, H, W, 3) uint8, every frameskip-th frame of the episode.
        actions: (K * frameskip, A) in the environment's units; NaN where none was recorded.
        proprio: (K + 1, P) beside the frames, in the environment's units, for a run that takes it.
        beside: another run that takes the same inputs, as one more detector.
        horizon: model steps that models look ahead.
    """
    followed, latents = _followed(run, frames, actions, proprio)
    scaled, steps = frames.astype(np.float32) / 255, len(followed)
    recorded = ~np.isnan(actions.reshape(steps, -1)).any(axis=1)

    def foreseen(by: Run, latents: Tensor) -> Curve:
        blocks = torch.from_numpy(by.card.inputs.actions.normalize(actions).reshape(steps, -1)).to(by.device)
        values = surprise_ahead(by, latents, blocks, horizon).tolist()
        later = steps - len(values)  # the first frames are nearer to the first than is looked ahead
        # A prediction is worth nothing if any action of its context is unknown.
        contexts = (recorded[max(0, k + 1 - by.model.history) : k + 1 + later] for k in range(len(values)))
        known = (value if seen.all() else None for value, seen in zip(values, contexts, strict=True))
        return (*[None] * later, *known)

    curves: dict[Detector, Curve] = {
        "model": followed if horizon == 1 else foreseen(run, latents),
        "untrained": foreseen(reference, reference.embed(frames, proprio)),
        "latent": tuple((latents[1:] - latents[:-1]).square().sum(dim=1).tolist()),
        "pixels": tuple(np.square(scaled[1:] - scaled[:-1]).mean(axis=(1, 2, 3)).tolist()),
    }
    return curves | {"beside": foreseen(beside, beside.embed(frames, proprio))} if beside else curves


def model_curve(run: Run, frames: np.ndarray, actions: np.ndarray, proprio: np.ndarray | None = None) -> Curve:
    """Runs the first of the detectors alone; the arguments are those of `detect`."""
    return _followed(run, frames, actions, proprio)[0]


def _followed(run: Run, frames: np.ndarray, actions: np.ndarray, proprio: np.ndarray | None) -> tuple[Curve, Tensor]:
    """Surprise at every frame but the first, and latents (K + 1, D), as they are of frames that come one by one."""
    stream, found, latents = SurpriseStream(run), [], []
    taken = (None, *actions.reshape(len(frames) - 1, -1, actions.shape[1]))
    beside = [None] * len(frames) if proprio is None else proprio
    for frame, block, numbers in zip(frames, taken, beside, strict=True):
        found.append(stream.update(frame, block, numbers).surprise)
        latents.append(stream.latent)
    return tuple(found[1:]), torch.stack(latents)
