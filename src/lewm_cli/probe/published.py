"""Published scores of probes, to stand beside a run's own: LeWorldModel, arXiv 2603.19312.

The recipe behind them (size of the MLP, optimizer, frames, split) is published nowhere.
"""

from dataclasses import dataclass
from typing import NamedTuple

SOURCE = "LeWorldModel, arXiv 2603.19312"


class PaperScores(NamedTuple):
    """Mean squared error, as it seems of z-scored targets, and correlation, of a linear and of an MLP probe."""

    linear_mse: float
    linear_r: float
    mlp_mse: float
    mlp_r: float


@dataclass(frozen=True)
class PaperRow:
    """One quantity of the paper.

    Args:
        targets: names of the task's own quantities that are its parts.
        scores: by method.
    """

    quantity: str
    targets: tuple[str, ...]
    scores: dict[str, PaperScores]


def _of_lewm(quantity: str, targets: tuple[str, ...], *scores: float) -> PaperRow:
    return PaperRow(quantity, targets, {"LeWM": PaperScores(*scores)})


def _compared(quantity: str, targets: tuple[str, ...], *scores: tuple[float, float, float, float]) -> PaperRow:
    named = zip(("DINO-WM", "PLDM", "LeWM"), scores, strict=True)
    return PaperRow(quantity, targets, {method: PaperScores(*found) for method, found in named})


def _axes(name: str, axes: str) -> tuple[str, ...]:
    return tuple(f"{name} {axis}" for axis in axes)


PUBLISHED: dict[str, tuple[PaperRow, ...]] = {
    "pusht": (
        _compared(
            "agent location",
            _axes("agent", "xy"),
            (1.888, 0.977, 0.003, 0.999),
            (0.090, 0.955, 0.014, 0.993),
            (0.052, 0.974, 0.004, 0.998),
        ),
        _compared(
            "block location",
            _axes("block", "xy"),
            (0.006, 0.997, 0.002, 0.999),
            (0.122, 0.938, 0.011, 0.994),
            (0.029, 0.986, 0.001, 0.999),
        ),
        _compared(
            "block angle",
            ("block angle",),
            (0.050, 0.979, 0.009, 0.995),
            (0.446, 0.745, 0.056, 0.972),
            (0.187, 0.902, 0.021, 0.990),
        ),
    ),
    "tworoom": (
        _compared(
            "agent position",
            _axes("agent", "xy"),
            (0.488, 0.824, 0.000, 0.999),
            (0.008, 0.996, 0.000, 1.0),
            (0.008, 0.996, 0.000, 1.0),
        ),
    ),
    "cube": (
        _of_lewm("joint position", _axes("joint angle", "123456"), 0.352, 0.706, 0.330, 0.742),
        _of_lewm("joint velocity", _axes("joint velocity", "123456"), 1.021, 0.095, 0.818, 0.386),
        _of_lewm("effector position", _axes("effector", "xyz"), 0.018, 0.991, 0.003, 0.998),
        _of_lewm("effector yaw", ("effector yaw",), 0.980, 0.124, 0.952, 0.213),
        _of_lewm("gripper", ("gripper opening",), 0.121, 0.938, 0.048, 0.976),
        _of_lewm("block position", _axes("block", "xyz"), 0.007, 0.997, 0.002, 0.999),
        _of_lewm("block quaternion", ("block rotation",), 1.019, 0.087, 0.963, 0.224),
        _of_lewm("block yaw", ("block yaw",), 0.996, 0.062, 0.973, 0.164),
    ),
}
"""The paper's rows by task, quantities named as there; it has none for Reacher."""
