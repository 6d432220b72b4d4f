"""The numbers of a training by name: what dashboards draw while it runs, and plots afterwards."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lewm_cli.train.events import HeldOutMeasured, StepsTaken, SuccessMeasured, TrainingEvent
from lewm_cli.train.log import read_entries
from lewm_cli.train.monitor import HeldOut, HeldOutLatents

GIGABYTE = 1e9


def numbers(event: TrainingEvent) -> Mapping[str, float]:
    """The numbers of an event by name, like `train/loss`; of most events none."""
    match event:
        case StepsTaken():
            memory = {"process_gb": event.process_memory, "device_gb": event.device_memory}
            return {
                "train/loss": event.loss,
                **{f"train/{name}": value for name, value in event.parts.items()},
                "optimizer/lr": event.lr,
                "optimizer/gradient_norm": event.gradient_norm,
                "speed/clips_per_second": event.clips_per_second,
                "speed/data_ms": 1e3 * event.data_seconds,
                "speed/update_ms": 1e3 * event.update_seconds,
                **{f"memory/{name}": taken / GIGABYTE for name, taken in memory.items() if taken is not None},
            }
        case HeldOutMeasured(held_out=HeldOutLatents() as held_out):
            return {
                "held_out/prediction": held_out.prediction,
                "held_out/copying": held_out.copying,
                **_parts(held_out),
                "latents/std": held_out.std,
                "latents/std_min": held_out.std_min,
                "latents/effective_rank": held_out.effective_rank,
                "latents/cosine": held_out.cosine,
                **({} if held_out.straightness is None else {"latents/straightness": held_out.straightness}),
            }
        case HeldOutMeasured(held_out=held_out):
            return _parts(held_out)
        case SuccessMeasured():
            return {
                "eval/success": event.success.rate,
                "eval/random": event.random.rate,
                **{f"eval/r2 {name}": estimate.value for name, estimate in event.positions.items()},
            }
        case _:
            return {}


def _parts(held_out: HeldOut) -> dict[str, float]:
    return {f"held_out/{name}": value for name, value in held_out.parts.items()}


@dataclass(frozen=True)
class Curve:
    """A number along a training.

    Args:
        steps: optimizer steps taken.
        seconds: of training until then.
    """

    steps: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


def read_curves(log: Path) -> dict[str, Curve]:
    """Read every curve of a log by name, as far as training has come: finite values only; none without a log."""
    curves: dict[str, Curve] = {}
    for entry in read_entries(log):
        for name, value in numbers(entry.event).items():
            if not math.isfinite(value):
                continue
            curve = curves.setdefault(name, Curve())
            curve.steps.append(entry.step)
            curve.seconds.append(round(entry.seconds, 3))
            curve.values.append(value)
    return curves
