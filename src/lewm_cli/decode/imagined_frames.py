"""Imagines recorded stretches, decodes what was imagined, and compares it with what was recorded."""

import time
from collections.abc import Callable

import numpy as np

from lewm_cli.data import Dataset, Frames, Likeness, estimate_psnr, squared_errors
from lewm_cli.decode.decode_result import DecodeResult, Filmstrip, Shown, StepScore
from lewm_cli.heads import FITTED, StoredHead, decode, draw_stretches, imagine_recorded, to_frames
from lewm_cli.model import FrameDecoder
from lewm_cli.store import Run

PER_EPISODE = 4
"""Stretches of an episode, at most."""

CHANGED = 8
"""Levels of a channel by which a pixel differs that counts as changed: more than what compression adds."""

FILMSTRIPS = 4


def measure_decoding(
    run: Run,
    dataset: Dataset,
    frames: Frames,
    decoder: StoredHead,
    episodes: np.ndarray,
    *,
    horizon: int,
    held_out: bool,
    seed: int,
    advance: Callable[[int], None],
) -> DecodeResult:
    """Measures how alike decoded imagination and recorded frames are, 1 to `horizon` model steps ahead.

    Args:
        frames: of the recording, at the model's image size.
        decoder: fitted to the run's latents.
        episodes: (E,) to draw stretches from.
        advance: called with the number of model steps done since the last call, horizon + 1 in all.

    Raises:
        LewmError: no episode is long enough.
    """
    begun, network = time.monotonic(), decoder.networks[FITTED]
    assert isinstance(network, FrameDecoder)
    begins, owners = draw_stretches(run, dataset, episodes, horizon, per_episode=PER_EPISODE, seed=seed)
    found = imagine_recorded(run, dataset, frames, begins, owners, horizon)
    recorded = np.stack([frames.rows(rows) for rows in found.rows])
    advance(1)
    last, mean = recorded[:, 0], np.broadcast_to(to_frames(network.mean), recorded[:, 0].shape)
    filmed = np.unique(np.linspace(0, len(begins) - 1, FILMSTRIPS).round().astype(int))
    first = decode(network, found.last[filmed])
    columns = [np.stack([last[filmed], first, first, last[filmed]])]
    steps: dict[Shown, list[StepScore]] = {"imagined": [], "re-encoded": [], "copied": [], "mean": []}
    shares = []
    for step in range(horizon):
        truth = recorded[:, step + 1]
        shown: dict[Shown, np.ndarray] = {
            "imagined": decode(network, found.imagined[:, step]),
            "re-encoded": decode(network, found.actual[:, step]),
            "copied": last,
            "mean": mean,
        }
        changed = (np.abs(truth.astype(np.int16) - last) > CHANGED).any(axis=-1)
        shares.append(float(changed.mean()))
        for what, those in shown.items():
            steps[what].append(_score(those, truth, changed, owners))
        columns.append(
            np.stack([truth[filmed], *(shown[what][filmed] for what in ("imagined", "re-encoded", "copied"))])
        )
        advance(1)
    strips = np.stack(columns, axis=2)
    return DecodeResult.of(
        run,
        dataset,
        held_out=held_out,
        begun=begun,
        seed=seed,
        decoder_sha256=decoder.sha256,
        frameskip=run.card.inputs.frameskip,
        horizon=horizon,
        episodes=tuple(np.unique(owners).tolist()),
        stretches=len(begins),
        steps={what: tuple(scores) for what, scores in steps.items()},
        changed_share=tuple(shares),
        filmstrips=tuple(
            Filmstrip.of(int(owners[number]), int(begins[number]), strips[:, k]) for k, number in enumerate(filmed)
        ),
    )


def _score(frames: np.ndarray, truth: np.ndarray, changed: np.ndarray, owners: np.ndarray) -> StepScore:
    """Scores frames (N, H, W, 3), of which the pixels `changed` (N, H, W) since imagination began."""
    moved = changed.any(axis=(1, 2))
    errors = squared_errors(frames[moved], truth[moved]) if moved.any() else None
    counted = None
    if errors is not None:
        means = (errors * changed[moved]).sum(axis=(1, 2)) / changed[moved].sum(axis=(1, 2))
        counted = estimate_psnr(means, owners[moved])
    return StepScore(likeness=Likeness.of(frames, truth, owners), changed=counted)
