"""Training curves and the collapse monitor."""

import math
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lewm_cli.report.numbers import decimals, number, percent
from lewm_cli.report.page.figures.style import (
    BASELINE,
    LINE,
    MODEL,
    MUTED,
    OTHER,
    THIRD,
    Drawing,
    finish,
    label_ends,
    log_axis,
    log_limits,
    new_figure,
)
from lewm_cli.train import TrainingHistory
from lewm_cli.train.monitor import COLLAPSED_STD


def draw_training(history: TrainingHistory) -> list[Drawing]:
    """Losses while training, and measurements on held-out clips."""
    names = tuple(history.steps[-1].parts) if history.steps else ()
    losses = _curves(
        [step.step for step in history.steps],
        {name: [step.parts.get(name, math.nan) for step in history.steps] for name in names},
    )
    kept = [measured.held_out for measured in history.held_out]
    held_out = _curves(
        [measured.step for measured in history.held_out],
        {name: [getattr(one, name) for one in kept] for name in ("prediction", "copying", "std", "std_min", "cosine")},
    )
    drawings = []
    if len(losses["step"]):
        drawings.append(_losses(losses))
    if len(held_out["step"]):
        drawings += [_prediction(held_out), _spread(held_out), _cosine(held_out)]
    return drawings


def _curves(steps: list[int], curves: dict[str, list[float]]) -> dict[str, np.ndarray]:
    """Curves over the steps at which all of them are finite: training may have ended because one was not."""
    known = np.array([all(math.isfinite(value) for value in values) for values in zip(*curves.values(), strict=True)])
    known = known.astype(bool)
    return {name: np.array(values, float)[known] for name, values in ({"step": steps} | curves).items()}


def _losses(curves: dict[str, np.ndarray]) -> Drawing:
    figure, axes = _over_steps(curves)
    parts = {name: values for name, values in curves.items() if name != "step"}
    colors = dict(zip(parts, cycle((MODEL, OTHER, THIRD, MUTED)), strict=False))
    for name, values in parts.items():
        axes.plot(curves["step"], values, color=colors[name], marker=_marker(curves))
    axes.set_ylim(*log_limits(np.concatenate(list(parts.values()))))
    log_axis(axes)
    axes.set_title("training loss (dimensionless, log scale)")
    label_ends(axes, [(values[-1], name, colors[name]) for name, values in parts.items()])
    words = [
        f"{'Prediction loss' if name == 'prediction' else name} {_change(values)}" for name, values in parts.items()
    ]
    return finish(figure, "losses", ", ".join(words))


def _prediction(curves: dict[str, np.ndarray]) -> Drawing:
    figure, axes = _over_steps(curves)
    for name, color in (("copying", BASELINE), ("prediction", MODEL)):
        axes.plot(curves["step"], curves[name], color=color, marker=_marker(curves))
    axes.set_ylim(*log_limits(np.concatenate([curves["prediction"], curves["copying"]])))
    log_axis(axes)
    axes.set_title("held-out squared error (dimensionless, log scale)")
    last = curves["prediction"][-1]
    label_ends(axes, [(last, "model", MODEL), (curves["copying"][-1], "copying the\nlast latent", MUTED)])
    copying = curves["copying"][-1]
    title = f"Held-out prediction error is {number(last, 2)}"
    if copying > 0:
        title = f"Held-out prediction error ends at {percent(last / copying)} of copying the last latent"
    return finish(figure, "held-out", title)


def _spread(curves: dict[str, np.ndarray]) -> Drawing:
    figure, axes = _over_steps(curves)
    top = max(1.25, 1.08 * curves["std"].max())
    axes.set_ylim(0, top)
    axes.axhspan(0, COLLAPSED_STD, color=OTHER, alpha=0.14, lw=0)
    axes.axhline(1, color=BASELINE, lw=1, dashes=(3, 3))
    for name, color in (("std_min", THIRD), ("std", MODEL)):
        axes.plot(curves["step"], curves[name], color=color, marker=_marker(curves))
    axes.set_title("held-out standard deviation per dimension")
    last, least = curves["std"][-1], curves["std_min"][-1]
    ends = [(last, "mean", MODEL), (least, "narrowest", THIRD), (COLLAPSED_STD / 2, "collapsed", OTHER)]
    label_ends(axes, [*ends, (1.0, "healthy", MUTED)])
    partly = "has lost a dimension" if least < COLLAPSED_STD else "stays open"
    state = "has collapsed" if last < COLLAPSED_STD else partly
    title = f"The latent space {state}: mean spread {decimals(last, 2)}, narrowest dimension {decimals(least, 2)}"
    return finish(figure, "spread", title)


def _cosine(curves: dict[str, np.ndarray]) -> Drawing:
    figure, axes = _over_steps(curves)
    cosine = curves["cosine"]
    axes.set_ylim(min(-0.1, cosine.min() - 0.05), 1.08)
    axes.axhline(0, color=BASELINE, lw=1, dashes=(3, 3))
    axes.axhline(1, color=OTHER, lw=1, dashes=(3, 3))
    axes.plot(curves["step"], cosine, color=MODEL, marker=_marker(curves))
    axes.set_title("held-out mean cosine of two latents")
    label_ends(axes, [(cosine[-1], "model", MODEL), (0.0, "healthy", MUTED), (1.0, "collapsed", OTHER)])
    return finish(figure, "cosine", f"Latents of different clips have a mean cosine of {decimals(cosine[-1], 2)}")


def _over_steps(curves: dict[str, np.ndarray]) -> tuple[Figure, Axes]:
    figure, axes = new_figure()
    axes.set_xlim(0, curves["step"][-1] or 1)
    axes.set_xlabel("optimizer step", loc="left")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.get_major_locator().set_params(nbins=5, integer=True)
    axes.grid(axis="x", visible=False)
    axes.spines.bottom.set_color(LINE)
    return figure, axes


def _marker(curves: dict[str, np.ndarray]) -> str:
    return "o" if len(curves["step"]) < 3 else ""


def _change(values: np.ndarray) -> str:
    first, last = values[0], values[-1]
    return f"{'falls' if last < first else 'goes'} from {number(first, 2)} to {number(last, 2)}"
