"""Figures of probes: their predictions against the truth."""

import numpy as np

from lewm_cli.probe import ProbeResult
from lewm_cli.report.numbers import decimals
from lewm_cli.report.page.figures.style import BASELINE, MODEL, OTHER, Drawing, dots, finish, new_figure


def draw_probes(result: ProbeResult) -> list[Drawing]:
    """Predicted against actual, one figure per quantity, both probes in it."""
    return [_scatter(result, k) for k in range(len(result.targets))] if result.points else []


def _scatter(result: ProbeResult, k: int) -> Drawing:
    target = result.targets[k]
    actual, linear, mlp = (
        np.array([getattr(point, name)[k] for point in result.points]) for name in ("actual", "linear", "mlp")
    )
    everything = np.concatenate([actual, linear, mlp])
    pad = 0.04 * (float(np.ptp(everything)) or 1.0)
    limits = (everything.min() - pad, everything.max() + pad)
    figure, axes = new_figure(3.1)
    axes.plot(limits, limits, color=BASELINE, lw=1, dashes=(3, 3))
    dots(axes, actual, linear, OTHER, size=2.2, alpha=0.55)
    dots(axes, actual, mlp, MODEL, size=2.6, alpha=0.85)
    axes.set_xlim(*limits)
    axes.set_ylim(*limits)
    axes.grid(axis="x", visible=True)
    unit = f" ({target.unit})" if target.unit else ""
    axes.set_xlabel(f"actual {target.name}{unit}", loc="left")
    axes.set_title(f"predicted {target.name}{unit}")
    scores = (("MLP probe", target.mlp["model"].r2, MODEL), ("linear probe", target.linear["model"].r2, OTHER))
    for line, (name, r2, color) in enumerate(scores):
        text = f"{name}, R² {decimals(r2)}"
        axes.text(0.03, 0.96 - 0.075 * line, text, color=color, transform=axes.transAxes, va="top", fontweight="bold")
    r2 = decimals(target.mlp["model"].r2)
    title = f"A small network reads {target.name} from the latent with R² {r2}"
    if not target.beats_references:
        title = f"{target.name[0].upper()}{target.name[1:]} from the latent: R² {r2}, no better than without the model"
    return finish(figure, f"probe-{k}", title)
