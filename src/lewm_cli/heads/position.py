"""The position head: reads where things are off a latent. It is the MLP of `lewm probe`, kept to judge plans by."""

import time
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import nn

from lewm_cli.config import Section
from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError
from lewm_cli.heads.head_fit import FITTED, HeadFit, HeadKind, ScoreTable
from lewm_cli.heads.latents import LatentSplit
from lewm_cli.heads.mlp import BATCH, train_mlp
from lewm_cli.model import HIDDEN, PositionHead
from lewm_cli.statistics import Estimate, estimate_r2
from lewm_cli.tasks import GENERIC, ProbeTarget, find_task

RECIPE = (
    f"latents and positions z-scored; two hidden layers of {HIDDEN} with GELU, AdamW 2e-3 with cosine, weight decay "
    f"1e-4, mean squared error, batches of {BATCH}"
)


class PositionScore(Section):
    """R2 of one position on frames of test episodes."""

    name: str
    unit: str
    r2: Estimate


class ProbeFit(HeadFit):
    """A head that reads positions."""

    kind: Literal["probe"] = "probe"
    positions: tuple[PositionScore, ...]
    left_out: dict[str, str]

    def networks(self) -> nn.ModuleDict:
        """See `HeadFit`."""
        return nn.ModuleDict({FITTED: PositionHead(self.latent, len(self.positions), self.hidden)})

    @property
    def summary(self) -> str:
        """See `HeadFit`."""
        return ", ".join(f"R2 {position.name} {position.r2}" for position in self.positions)

    @property
    def table(self) -> ScoreTable:
        """See `HeadFit`."""
        rows = tuple((f"{position.name}, {position.unit}", str(position.r2)) for position in self.positions)
        return ScoreTable(("position", "R2"), rows)

    @property
    def remarks(self) -> tuple[str, ...]:
        """See `HeadFit`."""
        return tuple(f"Left out: {name} {reason}." for name, reason in self.left_out.items())


def fit_positions(
    split: LatentSplit, *, seed: int, steps: int, advance: Callable[[int], None]
) -> tuple[nn.ModuleDict, ProbeFit]:
    """Fits the MLP of `lewm probe` to every position that the run's task names, and scores it on other episodes.

    Args:
        split: latents to fit to, and latents to test on.
        seed: of the MLP and the bootstrap; stored.
        steps: of the optimizer.
        advance: told the number of steps done since the last call.

    Raises:
        LewmError: the task names no position, or no position varies in the recording.
    """
    begun, task = time.monotonic(), find_task(split.run.card.inputs.task) or GENERIC
    named = [target for target in task.probe_targets if target.is_position]
    if not named:
        raise LewmError(
            f"the task {task.name} names no position to read; fit the other head: lewm fit {split.run.name}"
        )
    dataset, fitted, tested = split.dataset, split.fitted, split.tested
    rows = np.concatenate([fitted.rows, tested.rows])
    test = np.arange(len(rows)) >= len(fitted.rows)
    read = {target: read_target(dataset, target, rows) for target in named}
    reasons = {target: reason_to_leave_out(values, test) for target, values in read.items()}
    left_out = {target.name: reason for target, reason in reasons.items() if reason}
    targets = [target for target in named if target.name not in left_out]
    if not targets:
        why = ", ".join(f"{name} {reason}" for name, reason in left_out.items())
        raise LewmError(f"no position in {dataset.name} can be fitted ({why}); name another recording with --dataset")
    values = torch.from_numpy(np.stack([read[target] for target in targets], axis=1)).float()
    known, truth = values[~test], values[test]
    scale = PositionHead.of(nn.Sequential(), fitted.latents, known)
    net = train_mlp(scale.scale(fitted.latents), (known - scale.offset) / scale.unit, seed, steps, advance)
    head = PositionHead.of(net, fitted.latents, known).eval()
    with torch.inference_mode():
        predicted = head(tested.latents)
    scores = []
    for k, target in enumerate(targets):
        r2 = estimate_r2(predicted[:, k].double().numpy(), truth[:, k].double().numpy(), tested.owners, seed)
        scores.append(PositionScore(name=target.name, unit=target.unit, r2=r2))
    fit = ProbeFit.fitted_to(
        split,
        begun=begun,
        hidden=HIDDEN,
        steps=steps,
        seed=seed,
        recipe=RECIPE,
        positions=tuple(scores),
        left_out=left_out,
    )
    return nn.ModuleDict({FITTED: head}), fit


PROBE = HeadKind("probe", fit_positions, ProbeFit)


def read_target(dataset: Dataset, target: ProbeTarget, rows: np.ndarray) -> np.ndarray:
    """Reads a quantity from rows (N,) of a recording; (N,) float64 in its unit."""
    column = dataset.read(target.column, rows).reshape(len(rows), -1)
    return target.function(column[:, target.index].astype(np.float64))


def reason_to_leave_out(values: np.ndarray, test: np.ndarray) -> str | None:
    """Says why a quantity cannot be fitted and tested, None if it can; `test` (N,) tells the test rows of (N,)."""
    if np.isnan(values).all():
        return "is NaN in every row"
    if not np.isfinite(values).all():
        return "is not finite in some rows"
    if np.ptp(values[test]) == 0 or np.ptp(values[~test]) == 0:
        return "is constant"
    return None
