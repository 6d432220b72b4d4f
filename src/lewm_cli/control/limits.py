"""The limits that every action keeps before it leaves: bounds, and the largest change from one action to the next."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from lewm_cli.config import Inputs
from lewm_cli.control.actor import Actions
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.tasks import find_task

Numbers = npt.NDArray[np.float32]
Clip = bool | tuple[npt.ArrayLike, npt.ArrayLike]
"""True for the bounds that the run knows, False for none, or own ones: the lowest and the highest action, a number each
or one per dimension."""

Bounded = Literal["own bounds", "the action space", "the recording", "nothing"]
"""The origin of bounds: the caller, the task, or the least and the greatest recorded action."""


@dataclass(frozen=True)
class Limited:
    """An action within its limits.

    Args:
        action: (A,) float32.
        clipped: (A,) true where a bound was reached past.
        slowed: (A,) true where it changed by more than is allowed.
    """

    action: Actions
    clipped: npt.NDArray[np.bool_]
    slowed: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ActionLimits:
    """The limits of a run's actions, in the units of its recording.

    Args:
        low, high: (A,) float32; infinite where there is no bound.
        max_step: (A,) float32, the largest change from one action to the next; infinite where there is none.
        origin: of the bounds.
    """

    low: Numbers
    high: Numbers
    max_step: Numbers
    origin: Bounded

    @classmethod
    def of(cls, inputs: Inputs, clip: Clip, max_step: npt.ArrayLike | None) -> Self:
        """Find the limits: bounds are those of the task's action space if there is one, else those recorded.

        Raises:
            UsageError: bounds or steps are no numbers, of another width, in the wrong order, or not positive.
        """
        width = inputs.actions.dim
        step = np.full(width, np.inf, np.float32) if max_step is None else _numbers(max_step, "max_step", width)
        if (step <= 0).any():
            raise UsageError(f"max_step is {_shown(step)}, and a change is limited by positive numbers; leave it out")
        low, high, origin = _bounds(inputs, clip)
        return cls(low, high, step, origin)

    def apply(self, action: Actions, before: Actions | None) -> Limited:
        """Limit an action (A,): to the bounds, and then to at most `max_step` away from the one before, if it is known.

        The change counts more than the bounds: a robot that begins outside of them comes back step by step.

        Raises:
            LewmError: a number of it is not finite.
        """
        if not np.isfinite(action).all():
            raise LewmError(
                f"the next action is {_shown(action)}, which no robot can take: weights of the run are damaged, or its "
                "training diverged; train or fetch it again"
            )
        bounded = np.clip(action, self.low, self.high).astype(np.float32)
        near = bounded
        if before is not None:
            near = np.clip(bounded, before - self.max_step, before + self.max_step).astype(np.float32)
        return Limited(near, bounded != np.asarray(action, np.float32), near != bounded)


def known_bounds(inputs: Inputs) -> tuple[Sequence[float], Sequence[float], Bounded] | None:
    """The lowest and the highest action (A,) and their origin: the task's action space, else the recorded actions."""
    task = find_task(inputs.task)
    if task and len(task.action_bounds) == inputs.actions.dim:
        low, high = zip(*task.action_bounds, strict=True)
        return low, high, "the action space"
    return (inputs.bounds.low, inputs.bounds.high, "the recording") if inputs.bounds else None


def known_action(given: npt.ArrayLike, inputs: Inputs) -> Numbers:
    """An action (A,) float32 that somebody says was taken; raises UsageError if it is not one of finite numbers."""
    action = _numbers(given, "the action", inputs.actions.dim, alone=False)
    if not np.isfinite(action).all():
        raise UsageError(f"the action before is {_shown(action)}; give finite numbers, or leave it out")
    return action


def _bounds(inputs: Inputs, clip: Clip) -> tuple[Numbers, Numbers, Bounded]:
    width, known = inputs.actions.dim, known_bounds(inputs)
    low: npt.ArrayLike = -np.inf
    high: npt.ArrayLike = np.inf
    origin: Bounded = "nothing"
    if clip is True:
        low, high, origin = known or (low, high, origin)
    elif clip is not False:
        try:
            low, high = clip
        except (TypeError, ValueError) as error:
            raise UsageError(
                "clip takes True, False, or the lowest and the highest action: clip=(low, high)"
            ) from error
        origin = "own bounds"
    lowest, highest = _numbers(low, "the low of clip", width), _numbers(high, "the high of clip", width)
    if (lowest > highest).any():
        raise UsageError(f"clip goes from {_shown(lowest)} to {_shown(highest)}; give the lowest action first")
    if np.isposinf(lowest).any() or np.isneginf(highest).any():
        raise UsageError(f"clip goes from {_shown(lowest)} to {_shown(highest)}, and no action lies there")
    return *_within(lowest, highest, low, high), origin


def _within(lowest: Numbers, highest: Numbers, low: npt.ArrayLike, high: npt.ArrayLike) -> tuple[Numbers, Numbers]:
    """Bounds (A,) float32 that lie within those given, as float32 of 0.1 does not, unless nothing would lie between."""
    inner = np.where(lowest < np.asarray(low, float), np.nextafter(lowest, np.float32(np.inf)), lowest)
    outer = np.where(highest > np.asarray(high, float), np.nextafter(highest, np.float32(-np.inf)), highest)
    kept = inner <= outer
    return np.where(kept, inner, lowest), np.where(kept, outer, highest)


def _numbers(given: npt.ArrayLike, what: str, width: int, *, alone: bool = True) -> Numbers:
    """Numbers (width,), of one number alone too; infinite ones are taken, NaN is not."""
    try:
        found = np.asarray(given, np.float32)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{what} cannot be read as numbers ({error})") from error
    if found.shape != (width,) and not (alone and found.shape == ()):
        allowed = f"one number, or {width} of them" if alone else f"{width} numbers"
        raise UsageError(f"{what} has the shape {found.shape}, and the run takes {width} action dimensions: {allowed}")
    if np.isnan(found).any():
        raise UsageError(f"{what} holds NaN; give numbers")
    return np.broadcast_to(found, (width,)).copy()


def _shown(numbers: npt.NDArray[np.floating]) -> str:
    return f"[{', '.join(f'{number:g}' for number in numbers)}]"
