"""Surprise one frame at a time, as a camera gives them; along recordings it is measured by the same steps."""

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lewm_cli.config import Framing
from lewm_cli.data import checked_frame
from lewm_cli.errors import LewmError
from lewm_cli.store import Run

Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SurpriseStep:
    """The surprise at one frame.

    Args:
        step: model steps since the first frame.
        row: environment steps since then.
        surprise: squared error of the predicted latent, summed over dimensions; None at the first frame, and where an
            action that the prediction needs is not known.
        threshold: of the alarm; None without one.
        event: the surprise lies above the threshold; None where one of them is not known.
    """

    step: int
    row: int
    surprise: float | None
    threshold: float | None
    event: bool | None


class SurpriseStream:
    """Keeps the last latents and actions of an episode, as many as the model looks back at, and nothing else.

    Every frame is embedded once and alone. Frames in one batch would give other last bits, so that recordings are
    measured in this way too.

    Args:
        run: a world model.
        threshold: above which surprise is an event.
        framing: how the camera's frames become square; None for frames that are.

    Raises:
        LewmError: the run is a policy.
    """

    def __init__(self, run: Run, threshold: float | None = None, framing: Framing | None = None) -> None:
        run.require_world_model()
        self.run, self.threshold, self.framing = run, threshold, framing
        self.reset()

    def __repr__(self) -> str:
        frames = f"{self._step + 1} frames seen" if self._latents else "no frame yet"
        return f"{type(self).__name__}({self.run.name!r}, threshold {self.threshold}, on {self.run.device}, {frames})"

    def reset(self) -> None:
        """Forget all frames: the next one is the first of an episode."""
        history = self.run.model.history
        self._step = -1
        self._latents = deque[Tensor](maxlen=history)
        self._actions = deque[Tensor | None](maxlen=history)  # embedded; None where they are not known

    @property
    def latent(self) -> Tensor:
        """The latent (D,) of the newest frame."""
        return self._latents[-1]

    @torch.inference_mode()
    def update(
        self, frame: npt.NDArray[np.uint8], actions: npt.ArrayLike | None = None, proprio: npt.ArrayLike | None = None
    ) -> SurpriseStep:
        """Take the next frame, one model step after the one before.

        Args:
            frame: (size, size, 3) uint8, made as the frames of the recording were, or as its camera gave them, (height,
                width, 3), where `framing` says how.
            actions: (frameskip, A) taken since the frame before, environment units; NaN where one is not known. None at
                the first frame of an episode.
            proprio: (P,) beside the frame, environment units, for a run that takes it.

        Raises:
            LewmError: one of them is something else; nothing has changed then.
        """
        inputs = self.run.card.inputs
        seen, block = checked_frame(frame, "the frame", self.framing), self._block(actions)
        beside = None
        if inputs.proprio:
            advice = f"{self.run.name} sees it beside every frame: update(frame, actions, proprio=...)"
            beside = _numbers(proprio, "the proprioception", (inputs.proprio.dim,), advice)[None]
        latent, value = self.run.embed(seen[None], beside)[0], None
        if block is not None:
            self._actions.append(self._embedded(block))
            value = self._error(latent)
        self._latents.append(latent)
        self._step += 1
        known = value is not None and self.threshold is not None
        event = value > self.threshold if known else None  # type: ignore[operator]
        return SurpriseStep(self._step, self._step * inputs.frameskip, value, self.threshold, event)

    def _block(self, actions: npt.ArrayLike | None) -> Numbers | None:
        """The actions before this frame as an array; None at the first."""
        inputs = self.run.card.inputs
        if not self._latents:
            if actions is not None:
                raise LewmError(
                    "the first frame of an episode has no actions before it; give None there, and the actions since "
                    "the frame before at every later one"
                )
            return None
        advice = "they are those taken since the frame before, a row per environment step; reset() begins an episode"
        return _numbers(actions, "the actions", (inputs.frameskip, inputs.actions.dim), advice)

    def _embedded(self, block: Numbers) -> Tensor | None:
        if np.isnan(block).any():
            return None
        scaled = torch.from_numpy(self.run.card.inputs.actions.normalize(block).reshape(1, 1, -1))
        return self.run.world_model.embed_actions(scaled.to(self.run.device))[0, 0]

    def _error(self, latent: Tensor) -> float | None:
        """Squared error of the prediction; None if an action of its context is not known."""
        known = [action for action in self._actions if action is not None]
        if len(known) < len(self._actions):
            return None
        context = torch.stack(list(self._latents)), torch.stack(known)
        predicted = self.run.world_model.predict(*(part.unsqueeze(0) for part in context))[0, -1]
        return float(self.run.finite((predicted - latent).square().sum()))


def _numbers(given: npt.ArrayLike | None, what: str, shape: tuple[int, ...], advice: str) -> Numbers:
    """Numbers of a shape, NaN where one is not known; raises LewmError if they are something else."""
    try:
        with np.errstate(over="ignore"):  # what is larger becomes infinite, and is refused as that
            numbers = np.asarray(given, np.float32)
    except (TypeError, ValueError) as error:  # words, rows of different lengths, a tensor on a GPU
        raise LewmError(f"{what} cannot be read as numbers ({error}); {advice}") from error
    if numbers.shape != shape:
        found = "missing" if given is None else f"of shape {numbers.shape}, not {shape}"
        raise LewmError(f"{what} {'are' if what.endswith('s') else 'is'} {found}; {advice}")
    if np.isinf(numbers).any():
        raise LewmError(f"{what} hold an infinite number; give NaN for one that is not known")
    return numbers
