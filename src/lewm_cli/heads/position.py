"""The position head, which reads where things are off a latent: the MLP of `lewm probe`, kept to judge plans by."""

import time
from collections.abc import Callable, Sequence
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lewm_cli.config import Section
from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError
from lewm_cli.heads.head_fit import FITTED, HeadFit, optimize
from lewm_cli.heads.latents import LatentSplit
from lewm_cli.model import HIDDEN, PositionHead, perceptron
from lewm_cli.statistics import Estimate, estimate_r2
from lewm_cli.suggestion import command
from lewm_cli.tasks import GENERIC, ProbeTarget, find_task

BATCH = 512
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

    @classmethod
    def fit(
        cls, split: LatentSplit, *, seed: int, steps: int, advance: Callable[[int], None]
    ) -> tuple[nn.ModuleDict, Self]:
        """Fits the MLP to every position that the run's task names, and scores it on other episodes."""
        begun, task = time.monotonic(), find_task(split.run.card.inputs.task) or GENERIC
        named = [target for target in task.probe_targets if target.is_position]
        if not named:
            raise LewmError(
                f"the task {task.name} names no position to read; fit the other head: {command('fit', split.run.name)}"
            )
        fitted, tested = split.fitted, split.tested
        rows = np.concatenate([fitted.rows, tested.rows])
        test = np.arange(len(rows)) >= len(fitted.rows)
        targets, columns, left_out = read_targets(split.dataset, named, rows, test)
        values = torch.from_numpy(np.concatenate(columns, axis=1)).float()
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
        return nn.ModuleDict({FITTED: head}), cls.fitted_to(
            split,
            begun=begun,
            hidden=HIDDEN,
            steps=steps,
            seed=seed,
            recipe=RECIPE,
            positions=tuple(scores),
            left_out=left_out,
        )

    def networks(self) -> nn.ModuleDict:
        return nn.ModuleDict({FITTED: PositionHead(self.latent, len(self.positions), self.hidden)})

    @property
    def summary(self) -> str:
        return ", ".join(f"R2 {position.name} {position.r2}" for position in self.positions)

    @property
    def table(self) -> tuple[tuple[str, ...], ...]:
        return ("position", "R2"), *((f"{one.name}, {one.unit}", str(one.r2)) for one in self.positions)

    @property
    def remarks(self) -> tuple[str, ...]:
        return tuple(f"Left out: {name} {reason}." for name, reason in self.left_out.items())


def train_mlp(
    features: Tensor, targets: Tensor, seed: int, steps: int, advance: Callable[[int], None] = lambda done: None
) -> nn.Sequential:
    """Trains an MLP with two hidden layers to predict all targets (N, K) from features (N, D), both z-scored."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        features, targets = features.float(), targets.float()
        network = perceptron(features.shape[1], HIDDEN, targets.shape[1])

        def loss() -> Tensor:
            batch = torch.randint(len(features), (BATCH,))
            return F.mse_loss(network(features[batch]), targets[batch])

        optimize(network, loss, steps, advance)
    return network


def read_targets(
    dataset: Dataset, named: Sequence[ProbeTarget], rows: np.ndarray, test: np.ndarray, frameskip: int = 1
) -> tuple[tuple[ProbeTarget, ...], tuple[np.ndarray, ...], dict[str, str]]:
    """Reads quantities from rows (N,) of a recording, the test rows of which `test` (N,) marks.

    Args:
        frameskip: rows over which differences are taken; so many lie before each one in its episode.

    Returns:
        the quantities that can be fitted and tested, the coordinates (N, C) float64 of each, and the names of the
        others, each with the reason.

    Raises:
        LewmError: none of them can be fitted.
    """
    targets, columns, left_out = [], [], {}
    for target in named:
        values = _recorded(dataset, target, rows, frameskip)
        if np.isnan(values).all():
            left_out[target.name] = "is NaN in every row"
        elif not np.isfinite(values).all():
            left_out[target.name] = "is not finite in some rows"
        elif not np.ptp(values[test], axis=0).any() or not np.ptp(values[~test], axis=0).any():
            left_out[target.name] = "is constant"
        else:
            targets.append(target)
            columns.append(target.coordinates(values))
    if not targets:
        reasons = ", ".join(f"{name} {reason}" for name, reason in left_out.items())
        raise LewmError(f"nothing in {dataset.name} can be probed: {reasons}; name another recording with --dataset")
    return tuple(targets), tuple(columns), left_out


def read_coordinates(
    dataset: Dataset, targets: Sequence[ProbeTarget], rows: np.ndarray, frameskip: int = 1
) -> tuple[np.ndarray, ...]:
    """Reads the coordinates (N, C) float64 of each quantity from rows (N,), whatever they are; see `read_targets`."""
    return tuple(target.coordinates(_recorded(dataset, target, rows, frameskip)) for target in targets)


def _recorded(dataset: Dataset, target: ProbeTarget, rows: np.ndarray, frameskip: int) -> np.ndarray:
    """Reads what a recording holds of a quantity in some rows (N,): (N, R) float64."""
    column = slice(target.index, target.index + target.recorded)
    read = dataset.read(target.column, rows).reshape(len(rows), -1)[:, column].astype(np.float64)
    if target.rate == "differenced":
        with np.errstate(invalid="ignore"):  # of infinite ones, which are told of
            read -= dataset.read(target.column, rows - frameskip).reshape(len(rows), -1)[:, column]
        read /= frameskip
    return read
