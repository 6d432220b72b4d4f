"""Imagines recorded stretches, decodes what was imagined, and compares it with what was recorded."""

import time
from collections.abc import Callable

import numpy as np
from torch import Tensor

from lewm_cli.data import Dataset, Frames, Likeness, estimate_psnr, squared_errors, ssim
from lewm_cli.decode.decode_result import SHOWN, DecodeResult, Filmstrip, Shown, StepScore
from lewm_cli.heads import FITTED, StoredHead, decode, imagine_recorded, to_frames
from lewm_cli.model import FrameDecoder
from lewm_cli.statistics import Estimate
from lewm_cli.store import Run

CHANGED = 8
"""Levels of a channel by which a pixel differs that counts as changed: more than what compression adds."""

FILMSTRIPS = 4


def measure_decoding(
    run: Run,
    dataset: Dataset,
    frames: Frames,
    decoder: StoredHead,
    begins: np.ndarray,
    owners: np.ndarray,
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
        begins, owners: (N,) as `draw_stretches` gives them.
        seed: that stretches were drawn with.
        advance: called with the number of stretches done since the last call.
    """
    begun, network = time.monotonic(), decoder.networks[FITTED]
    assert isinstance(network, FrameDecoder)
    filmed = np.unique(np.linspace(0, len(begins) - 1, FILMSTRIPS).round().astype(int))
    films: list[Filmstrip] = []
    parts: list[np.ndarray] = []
    shares: list[np.ndarray] = []
    done = 0
    for part in imagine_recorded(run, dataset, frames, begins, horizon):
        recorded = np.stack([frames.rows(rows) for rows in part.rows])
        last, truth = recorded[:, 0], recorded[:, 1:]
        drawn: dict[Shown, np.ndarray] = {
            "imagined": _decoded(network, part.imagined),
            "re-encoded": _decoded(network, part.actual),
            "copied": np.broadcast_to(last[:, None], truth.shape),
            "mean": np.broadcast_to(to_frames(network.mean), truth.shape),
        }
        changed = (np.abs(truth.astype(np.int16) - last[:, None]) > CHANGED).any(axis=-1)
        shares.append(changed.mean(axis=(2, 3)))
        steps = [[_compare(drawn[what][:, k], truth[:, k], changed[:, k]) for k in range(horizon)] for what in SHOWN]
        parts.append(np.array(steps))
        for number in filmed[(filmed >= done) & (filmed < done + len(part.rows))]:
            own = number - done
            first = decode(network, part.last[own : own + 1])
            rows = [recorded[own], *(np.concatenate([first, drawn[what][own]]) for what in ("imagined", "re-encoded"))]
            rows.append(np.broadcast_to(last[own], recorded[own].shape))
            films.append(Filmstrip.of(int(owners[number]), int(begins[number]), np.stack(rows)))
        done += len(part.rows)
        advance(len(part.rows))
    scores = np.concatenate(parts, axis=-1)
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
        steps={what: tuple(_score(step, owners) for step in found) for what, found in zip(SHOWN, scores, strict=True)},
        changed_share=tuple(np.concatenate(shares).mean(axis=0).tolist()),
        filmstrips=tuple(films),
    )


def _decoded(network: FrameDecoder, latents: Tensor) -> np.ndarray:
    """Frames (N, H, height, width, 3) uint8 of latents (N, H, D)."""
    drawn = decode(network, latents.flatten(0, 1))
    return drawn.reshape(*latents.shape[:2], *drawn.shape[1:])


def _compare(frames: np.ndarray, truth: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """Compares frames (N, H, W, 3), of which the pixels `changed` (N, H, W) since imagination began.

    Returns:
        (3, N) mean squared error, SSIM, and mean squared error of changed pixels, NaN where there are none
    """
    errors, pixels = squared_errors(frames, truth), changed.sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        of_changed = (errors * changed).sum(axis=(1, 2)) / pixels
    return np.stack([errors.mean(axis=(1, 2)), ssim(frames, truth), of_changed])


def _score(found: np.ndarray, owners: np.ndarray) -> StepScore:
    """Scores what `_compare` found (3, N) in stretches of these episodes (N,)."""
    errors, alike, of_changed = found
    moved = np.isfinite(of_changed)
    return StepScore(
        likeness=Likeness(psnr=estimate_psnr(errors, owners), ssim=Estimate.of_mean(alike, owners)),
        changed=estimate_psnr(of_changed[moved], owners[moved]) if moved.any() else None,
    )
