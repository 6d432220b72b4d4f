"""Measures imagined latents along recorded stretches: what probes read from them, and how far off they are."""

import numpy as np
import torch
from torch import Tensor

from lewm_cli.data import Dataset, Frames
from lewm_cli.errors import LewmError
from lewm_cli.heads import LatentView, draw_stretches, imagine_recorded, read_coordinates
from lewm_cli.probe.fitted import KINDS, Kind
from lewm_cli.probe.imagination_result import (
    SOURCES,
    Imagination,
    ImaginedReading,
    ImaginedTarget,
    OpenLoop,
    OpenLoopError,
    ReadError,
    Source,
)
from lewm_cli.probe.probes import FittedProbes
from lewm_cli.probe.samples import ProbeSamples
from lewm_cli.statistics import BreakEven, Estimate
from lewm_cli.store import Run

STRETCHES = 200
"""About so many are imagined for probes, equally many of a test episode."""

STANDARD_HORIZONS = (15, 25)
"""Environment steps at which open-loop errors are compared in the field (AnyGoal, 2026)."""

STANDARD_EPISODES = 100


def probe_imagination(
    run: Run,
    dataset: Dataset,
    frames: Frames,
    samples: ProbeSamples,
    fitted: FittedProbes,
    view: LatentView,
    *,
    horizon: int,
    seed: int,
) -> Imagination:
    """Reads every quantity that one frame shows from latents imagined 1 to `horizon` model steps ahead.

    Args:
        samples: that the probes were fitted to; imagined are stretches of its test episodes.
        fitted: the probes, to encoded latents.
        view: that they see latents through.
        seed: of the draw of stretches.

    Raises:
        LewmError: no test episode is long enough.
    """
    drawn = np.random.default_rng(seed).permutation(samples.tested)[:STRETCHES]
    each = round(STRETCHES / len(drawn))
    begins, owners = draw_stretches(run, dataset, drawn, horizon, per_episode=each, seed=seed)
    ahead = begins[:, None] + run.card.inputs.frameskip * np.arange(1, horizon + 1)
    known = np.isfinite(_actual(dataset, samples, fitted, ahead.ravel()).numpy()).all(axis=1)
    known = known.reshape(ahead.shape).all(axis=1)
    if not known.any():
        raise LewmError(f"in every stretch of {dataset.name} that could be imagined, a quantity is not finite")
    begins, owners, ahead = begins[known], owners[known], ahead[known]
    actual = _actual(dataset, samples, fitted, ahead.ravel())
    shown = [k for k, target in enumerate(samples.targets) if target.rate is None]
    seen: dict[Source, list[Tensor]] = {source: [] for source in SOURCES}
    for part in imagine_recorded(run, dataset, frames, begins, horizon):
        latents: dict[Source, Tensor] = {"imagined": part.imagined, "copying": part.copied, "encoded": part.actual}
        for source in SOURCES:
            seen[source].append(view.of(latents[source].flatten(0, 1)).cpu())
    read = {(kind, source): fitted.probes.read(torch.cat(seen[source]), kind) for kind in KINDS for source in SOURCES}

    def reading(kind: Kind, k: int) -> ImaginedReading:
        own = fitted.quantities.columns[k]
        errors: dict[Source, tuple[ReadError, ...]] = {}
        squares: dict[Source, np.ndarray] = {}
        for source in SOURCES:
            off = fitted.quantities.errors(k, read[kind, source], actual).reshape(ahead.shape)
            explained = _r2(read[kind, source][:, own], actual[:, own], ahead.shape)
            each = zip(np.sqrt((off**2).mean(axis=0)).tolist(), explained, strict=True)
            errors[source] = tuple(ReadError(rmse=rmse, r2=r2) for rmse, r2 in each)
            squares[source] = off**2
        even = BreakEven.of(squares["imagined"], squares["copying"], owners)
        return ImaginedReading(errors=errors, break_even=even)

    return Imagination(
        horizon=horizon,
        frameskip=run.card.inputs.frameskip,
        history=run.model.history,
        stretches=len(begins),
        episodes=len(np.unique(owners)),
        targets=tuple(
            ImaginedTarget(
                name=samples.targets[k].name,
                unit=samples.targets[k].unit,
                linear=reading("linear", k),
                mlp=reading("mlp", k),
            )
            for k in shown
        ),
    )


def measure_open_loop(run: Run, dataset: Dataset, frames: Frames, episodes: np.ndarray, *, seed: int) -> OpenLoop:
    """Measures errors of imagined latents as the field does: at 15 and 25 environment steps, along 100 episodes.

    A horizon that is no whole number of model steps is measured at the nearest one.

    Args:
        episodes: (E,) of which at most 100 are drawn.
        seed: of the draw, and of that of one stretch in each.

    Raises:
        LewmError: no episode is long enough.
    """
    skip = run.card.inputs.frameskip
    steps = [max(1, round(asked / skip)) for asked in STANDARD_HORIZONS]
    drawn = np.random.default_rng(seed).permutation(episodes)[:STANDARD_EPISODES]
    begins, owners = draw_stretches(run, dataset, drawn, max(steps), per_episode=1, seed=seed)
    parts = imagine_recorded(run, dataset, frames, begins, max(steps))
    errors = [(part.errors(part.imagined), part.errors(part.copied)) for part in parts]
    imagined, copying = map(np.concatenate, zip(*errors, strict=True))
    return OpenLoop(
        frameskip=skip,
        history=run.model.history,
        episodes=len(owners),
        horizons=tuple(
            OpenLoopError(
                asked=asked,
                steps=step,
                imagined=float(imagined[:, step - 1].mean()),
                copying=float(copying[:, step - 1].mean()),
                ratio=Estimate.of_ratio(imagined[:, step - 1], copying[:, step - 1], owners),
            )
            for asked, step in zip(STANDARD_HORIZONS, steps, strict=True)
        ),
    )


def _actual(dataset: Dataset, samples: ProbeSamples, fitted: FittedProbes, rows: np.ndarray) -> Tensor:
    """Standardized coordinates (N, C) of all quantities in some rows (N,)."""
    return fitted.quantities.standardized(read_coordinates(dataset, samples.targets, rows, samples.frameskip))


def _r2(read: Tensor, actual: Tensor, shape: tuple[int, int]) -> list[float]:
    """R2 at each horizon, of coordinates (N * H, C) of N stretches over H steps."""
    ours, true = (one.reshape(*shape, -1) for one in (read, actual))
    spread = (true - true.mean(dim=0)).square().sum(dim=(0, 2)).clamp_min(1e-12)
    return (1 - (ours - true).square().sum(dim=(0, 2)) / spread).tolist()
