"""A probe that stays: positions read off frozen latents, so that plans can be judged by them."""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError
from lewm_cli.model import HIDDEN, PositionHead
from lewm_cli.probe.regression import BATCH, train_mlp
from lewm_cli.probe.samples import unprobeable
from lewm_cli.probe.score import score
from lewm_cli.statistics import Estimate
from lewm_cli.store import ONLY, LatentSplit, PositionScore, ProbeFit
from lewm_cli.tasks import ProbeTarget, Task

POSITION_RECIPE = (
    f"latents and positions z-scored; two hidden layers of {HIDDEN} with GELU, AdamW 2e-3 with cosine, weight decay "
    f"1e-4, mean squared error, batches of {BATCH}"
)


def fit_positions(
    split: LatentSplit, task: Task, *, seed: int, steps: int, advance: Callable[[int], None]
) -> tuple[nn.ModuleDict, ProbeFit]:
    """Fit the MLP of `lewm probe` to every position that a task names, and score it on other episodes.

    Args:
        split: what to fit to, and what to test on.
        task: names the positions.
        seed: of the MLP and the bootstrap; stored.
        steps: of the optimizer.
        advance: told the number of steps done since the last call.

    Raises:
        LewmError: the task names no position, or nothing of the kind varies in the recording.
    """
    begun, named = time.monotonic(), [target for target in task.probe_targets if target.is_position]
    if not named:
        raise LewmError(
            f"the task {task.name} names no position to read; fit the other head: lewm fit-cost {split.run.name}"
        )
    dataset, fitted, tested = split.dataset, split.fitted, split.tested
    rows, test = np.concatenate([fitted.rows, tested.rows]), np.arange(len(fitted.rows) + len(tested.rows))
    test = test >= len(fitted.rows)
    read = {target: _values(dataset, target, rows) for target in named}
    reasons = {target: unprobeable(values, test) for target, values in read.items()}
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
        found = score(predicted[:, k].double().numpy(), truth[:, k].double().numpy(), tested.owners, seed)
        r2 = Estimate(value=found.r2, low=found.r2_low, high=found.r2_high)
        scores.append(PositionScore(name=target.name, unit=target.unit, r2=r2))
    fit = ProbeFit.fitted_to(
        split,
        begun=begun,
        hidden=HIDDEN,
        steps=steps,
        seed=seed,
        recipe=POSITION_RECIPE,
        positions=tuple(scores),
        left_out=left_out,
    )
    return nn.ModuleDict({ONLY: head}), fit


def _values(dataset: Dataset, target: ProbeTarget, rows: np.ndarray) -> np.ndarray:
    column = dataset.read(target.column, rows).reshape(len(rows), -1)
    return target.function(column[:, target.index].astype(np.float64))
