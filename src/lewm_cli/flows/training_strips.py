"""Strips of imagined frames while a run is trained, drawn from its saved weights so that training is left alone."""

import time
from dataclasses import dataclass, field

import numpy as np
import torch

from lewm_cli.data import Dataset, Frames, resize
from lewm_cli.errors import LewmError
from lewm_cli.heads import KernelDecoder, draw_stretches, imagine_recorded, usual_horizon
from lewm_cli.plural import counted
from lewm_cli.store import Run, RunFiles, Say, read_card, read_tensors, weights_digest

STRIPS, SEED = 2, 0

SIDE = 64
"""Pixels of a frame that is drawn, at most."""

FITTED_FRAMES = 2048
"""Training frames that the decoder mixes, at most."""

MOST_BYTES = 2**28
"""Of their latents in memory: latents of patches are large."""


@dataclass
class ImaginedStrips:
    """Draws what the saved weights of a run imagine along recorded stretches, the same ones at every step.

    Args:
        frames: of the recording, at the model's image size.
        fitted: (R,) rows of the recording that were trained on.
        shown: (E,) episodes that stretches are taken from.
        every: steps from one picture to the next at least, for what is said of the cost.
    """

    name: str
    files: RunFiles
    dataset: Dataset
    frames: Frames
    fitted: np.ndarray
    shown: np.ndarray
    device: torch.device
    every: int
    say: Say
    _drawn: tuple[int, np.ndarray | None] = field(default=(-1, None), init=False)
    _failed: bool = field(default=False, init=False)

    def __call__(self, step: int) -> np.ndarray | None:
        """The picture (H, W, 3) uint8 of a step whose weights are saved, once for all loggers; None if it failed."""
        if self._drawn[0] != step and not self._failed:
            first, begun, picture = self._drawn[0] < 0, time.monotonic(), None
            try:
                picture = self._picture()
            except (LewmError, RuntimeError, MemoryError) as error:  # training itself may have the memory
                self._failed = True
                self.say(f"note: no frames that the model imagines are logged: {error}")
            self._drawn = step, picture
            if first and picture is not None:
                self.say(
                    f"imagined frames: a picture every {counted(self.every, 'step')} or later, of which the first took "
                    f"{time.monotonic() - begun:.1f} s; --set log.pictures=0 leaves all pictures out"
                )
        return self._drawn[1]

    def _picture(self) -> np.ndarray:
        from lewm_cli.report.imagined_picture import imagined_picture  # late: matplotlib

        return imagined_picture(self._strips(self._run()))

    def _run(self) -> Run:
        card = read_card(self.files.weights)
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            model = card.new_model()
        state = read_tensors(self.files.weights, model)
        model.load_state_dict(state, strict=True)
        model = model.to(self.device).eval()
        return Run(self.name, self.files, model, card.method, card, len(state), weights_digest(self.files.weights))

    def _strips(self, run: Run) -> np.ndarray:
        """Frames (S, 3, H + 1, side, side, 3) uint8: recorded, of their own latents, and imagined."""
        horizon = max(1, usual_horizon(run, self.dataset, self.shown))
        begins, _ = draw_stretches(run, self.dataset, self.shown, horizon, per_episode=1, seed=SEED)
        chosen = np.unique(np.linspace(0, len(begins) - 1, STRIPS).round().astype(int))
        decoder, strips = self._decoder(run), []
        for part in imagine_recorded(run, self.dataset, self.frames, begins[chosen], horizon):
            context = part.last.unsqueeze(1)
            recorded = self._small(self.frames.rows(part.rows.ravel())).reshape(
                *part.rows.shape, decoder.side, decoder.side, 3
            )
            latents = torch.stack([torch.cat([context, seen], dim=1) for seen in (part.actual, part.imagined)], dim=1)
            strips.append(np.concatenate([recorded[:, None], decoder.draw(latents)], axis=1))
        return np.concatenate(strips)

    def _decoder(self, run: Run) -> KernelDecoder:
        most = min(FITTED_FRAMES, MOST_BYTES // (4 * run.world_model.config.latent_dim))
        rows = np.sort(np.random.default_rng(SEED).permutation(self.fitted)[:most])
        proprio = run.recorded_proprio(self.dataset)
        frames = self.frames.rows(rows)
        latents = run.embed(frames, None if proprio is None else proprio[rows])
        return KernelDecoder.fit(latents.float().cpu(), self._small(frames))

    def _small(self, frames: np.ndarray) -> np.ndarray:
        """Frames (K, side, side, 3) uint8 as they are drawn."""
        return resize(frames, min(SIDE, self.frames.size))
