"""Draws every figure of the page: planning, training, probes and the latent map, surprise; and compared evaluations."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from lewm_cli.decode import SHOWN, DecodeResult, Shown
from lewm_cli.evaluate import EvalResult, PairedComparison
from lewm_cli.offline import OfflineResult
from lewm_cli.plural import counted
from lewm_cli.probe import Imagination, ImaginedTarget, ProbeResult, TargetResult
from lewm_cli.report.numbers import brackets, decimals, number, percent, times
from lewm_cli.report.page.style import (
    BASELINE,
    EVENT,
    INK,
    LEVEL_COLORS,
    LEVELS,
    LINE,
    MODEL,
    MUTED,
    OTHER,
    THIRD,
    Drawing,
    dots,
    finish,
    label_ends,
    log_axis,
    log_limits,
    mark_interval,
    new_figure,
)
from lewm_cli.report.probing import SOURCE_TITLES
from lewm_cli.report.surprising import DETECTOR_TITLES
from lewm_cli.statistics import Difference
from lewm_cli.surprise import Band, Detector, DoseResult, PerturbationResult, SurpriseResult, bands
from lewm_cli.train import HeldOutLatents, SuccessMeasured, TrainingHistory
from lewm_cli.train.monitor import COLLAPSED_STD

PART_COLORS = (MODEL, OTHER, THIRD, MUTED)
"""Colors of the parts of a loss, the first one first; then they come again, dashed."""

TOLD_PARTS = 3
"""Parts of a loss whose way is told in words; of more only the first."""

HELD_OUT = ("prediction", "copying", "std", "std_min", "cosine", "collapsed")
"""Measurements of held-out clips that are drawn."""

LINE_HEIGHT = 0.19
"""Inches, of lines of text in a figure that lists rates or differences."""

COLORED = 2
"""Quantities that the latent map is colored by."""

IMAGINED = 6
"""Quantities whose imagined error is drawn, and R2 with fewer frames; the table has all."""

LOWEST_R2 = -0.2
"""What reads worse than this is drawn at the lower edge."""

SHOWN_EPISODES = 60
"""Thin lines; the median is over all episodes."""

DOSE_COLORS: dict[Detector, str] = {
    "untrained": BASELINE,
    "latent": THIRD,
    "pixels": MUTED,
    "beside": OTHER,
    "model": MODEL,  # above the others
}

FARTHEST = 1e4
"""The largest ratio, and one over the smallest, that is drawn where it is."""

FEWEST_EPISODES = 5
"""Fewer than these make no median, unless there are no more at all."""

IMAGINATION_COLORS: dict[Shown, str] = {"imagined": MODEL, "re-encoded": OTHER, "copied": BASELINE, "mean": THIRD}


def draw_planning(result: EvalResult) -> list[Drawing]:
    """Success beside chance in every group of pairs, and success over time."""
    return [_rates(result), _reached(result)]


def _rates(result: EvalResult) -> Drawing:
    groups = (result.overall, *result.groups)
    lines = sum(4.6 if group.route_valid else 3.6 for group in groups)
    figure, axes = new_figure(LINE_HEIGHT * lines + 0.55)
    y = 0.0
    for group in groups:
        name = "all pairs" if group.name == "all" else group.name
        axes.text(0, y, f"{name}, n = {group.pairs}", color=INK, va="center", fontweight="bold")
        walls = [("clear of walls", group.route_valid, THIRD)] if group.route_valid else []
        for label, rate, color in [
            (result.protocol.way, group.success, MODEL),
            *walls,
            ("random", group.random, BASELINE),
        ]:
            y -= 1
            mark_interval(axes, y, 100 * rate.low, 100 * rate.rate, 100 * rate.high, color)
            axes.text(104, y, f"{label} {percent(rate.rate)}", color=color if color != BASELINE else MUTED, va="center")
        y -= 1.6
    axes.set_ylim(y + 0.9, 0.7)
    axes.set_xlim(-1.5, 101.5)
    axes.set_yticks([])
    axes.set_xticks(range(0, 101, 25))
    axes.grid(axis="x", visible=True)
    axes.set_xlabel("pairs whose goal was reached (%), 95% intervals", loc="left")
    overall = result.overall
    chance = f"random actions {percent(overall.random.rate)}"
    acting = "Planning" if result.protocol.planner else f"The {result.protocol.way}"
    return finish(figure, "success", f"{acting} reaches {percent(overall.success.rate)} of the goals, {chance}")


def _reached(result: EvalResult) -> Drawing:
    budget = result.protocol.budget
    hits = np.array([one.first_hit for one in result.episodes if one.success and one.first_hit is not None])
    steps = np.arange(budget + 1)
    share = np.array([np.count_nonzero(hits <= step) for step in steps]) / max(1, len(result.episodes))
    figure, axes = new_figure()
    axes.fill_between(steps, 0, 100 * share, step="post", color=MODEL, alpha=0.1, lw=0)
    axes.step(steps, 100 * share, where="post", color=MODEL)
    chance = 100 * result.overall.random.rate
    axes.axhline(chance, color=BASELINE, lw=1, dashes=(3, 3))
    axes.set_xlim(0, budget)
    axes.set_ylim(0, 103)
    axes.set_yticks(range(0, 101, 25))
    axes.set_title("pairs whose goal was reached (%)")
    axes.set_xlabel("environment steps since the start", loc="left")
    label_ends(axes, [(100 * share[-1], result.protocol.way, MODEL), (chance, f"random,\nafter {budget}", MUTED)])
    half = np.flatnonzero(share >= 0.5)
    title = f"{percent(share[-1])} of the goals are reached within {budget} environment steps"
    if len(half) and half[0] > 0:
        title = f"Half of the goals are reached within {half[0]} environment steps"
    return finish(figure, "reached", title)


def draw_comparison(comparison: PairedComparison) -> list[Drawing]:
    """Every result against the baseline, and every result against random actions."""
    against = [(one.name, one.above_baseline) for one in comparison.results[1:]]
    random = [(one.name, one.above_random) for one in comparison.results]
    title = f"Success compared with {comparison.baseline.name}, on the same {comparison.pairs} pairs"
    return [
        _differences(title, "above-baseline", against, MODEL),
        _differences("Success compared with random actions", "above-random", random, OTHER),
    ]


def _differences(title: str, key: str, lines: Sequence[tuple[str, Difference]], color: str) -> Drawing:
    """Names, and below each the interval with its numbers at the right."""
    figure, axes = new_figure(LINE_HEIGHT * 2.6 * len(lines) + 0.6)
    beside = {"transform": axes.get_yaxis_transform(), "va": "center"}
    for row, (name, one) in enumerate(lines):
        axes.text(0, -2.6 * row, name, color=INK, fontweight="bold", **beside)
        y = -2.6 * row - 1
        axes.plot([0, 0], [y - 0.7, y + 0.5], color=BASELINE, lw=1, dashes=(3, 2))  # not through the name
        mark_interval(axes, y, 100 * one.low, 100 * one.rate, 100 * one.high, color)
        text = f"{_points(one.rate)} {brackets(_points(one.low), _points(one.high))}"
        axes.text(1.02, y, text, color=color if one.low > 0 or one.high < 0 else MUTED, **beside)
    low = min(0.0, *(100 * one.low for _, one in lines))
    high = max(0.0, *(100 * one.high for _, one in lines))
    room = 0.04 * (high - low)
    axes.set_xlim(low - room, high + room)
    axes.set_ylim(-2.6 * len(lines) + 0.9, 0.8)
    axes.set_yticks([])
    axes.grid(axis="x", visible=True)
    axes.set_xlabel("percentage points, 95% intervals", loc="left")
    return finish(figure, key, title)


def _points(share: float) -> str:
    return f"{'+' if share > 0 else ''}{decimals(100 * share, 1)}"


def draw_training(history: TrainingHistory, *, frozen: bool = False) -> list[Drawing]:
    """Losses while training, success between validation pairs, and measurements on held-out clips.

    Of a policy these are of the same losses.

    Args:
        history: what was logged.
        frozen: latents are those of an encoder that is not trained, of which their spread tells nothing.
    """
    drawings = _losses("training loss", "", {step.step: step.parts for step in history.steps})
    drawings += [_validated(history.evaluated)] if history.evaluated else []
    spread = {one.step: one.held_out for one in history.held_out if isinstance(one.held_out, HeldOutLatents)}
    held_out = _curves(list(spread), {name: [getattr(one, name) for one in spread.values()] for name in HELD_OUT})
    if len(held_out["step"]):
        straight = {step: one.straightness for step, one in spread.items() if one.straightness is not None}
        path = _curves(list(straight), {"straightness": list(straight.values())})
        moving = [] if frozen else [_spread(held_out), _cosine(held_out), *([_straight(path)] if straight else [])]
        return [*drawings, _prediction(held_out), *moving]
    parts = {one.step: one.held_out.parts for one in history.held_out if one.step not in spread}
    return drawings + _losses("held-out loss", "held-out-", parts)


def _validated(evaluated: Sequence[SuccessMeasured]) -> Drawing:
    """Success at every step that was evaluated, with its interval, and that of random actions on the same pairs."""
    rates, chance = [one.success for one in evaluated], 100 * evaluated[-1].random.rate
    curves = _curves([one.step for one in evaluated], {"success": [100 * rate.rate for rate in rates]})
    axes = _over_steps("validation goals reached (%), 95% intervals", curves, {"success": MODEL}, {chance: BASELINE})
    low, high = ([100 * getattr(rate, end) for rate in rates] for end in ("low", "high"))
    axes.vlines(curves["step"], low, high, color=MODEL, lw=2.4, alpha=0.45, clip_on=False)
    axes.set_ylim(0, 103)
    axes.set_yticks(range(0, 101, 25))
    label_ends(axes, [(curves["success"][-1], "model", MODEL), (chance, "random", MUTED)])
    best = max(reversed(evaluated), key=lambda one: one.success.rate)
    title = f"The most validation goals, {percent(best.success.rate)}, are reached at step {best.step:,}"
    return finish(axes.figure, "validated", title)


def _curves(steps: list[int], curves: dict[str, list[float]]) -> dict[str, np.ndarray]:
    """Curves over the steps at which all of them are finite: training may have ended because one was not."""
    table = {name: np.array(values, float) for name, values in ({"step": steps} | curves).items()}
    known = np.logical_and.reduce([np.isfinite(values) for values in table.values()])
    return {name: values[known] for name, values in table.items()}


def _losses(what: str, key: str, logged: dict[int, dict[str, float]]) -> list[Drawing]:
    """Parts of a loss by step, those of every phase of a training apart: a later one may have others."""
    phases: dict[tuple[str, ...], list[int]] = {}
    for step, parts in logged.items():
        phases.setdefault(tuple(parts), []).append(step)
    drawings = []
    for phase, (names, steps) in enumerate(phases.items(), start=1):
        curves = _curves(steps, {name: [logged[step][name] for step in steps] for name in names})
        if len(curves["step"]):
            drawings += _phase(what, key if phase == 1 else f"{key}phase-{phase}-", curves)
    return drawings


def _phase(what: str, key: str, curves: dict[str, np.ndarray]) -> list[Drawing]:
    """Parts of the loss on a logarithmic axis, and those that can be negative on another."""
    parts = {name: values for name, values in curves.items() if name != "step"}
    signed = {name: values for name, values in parts.items() if (values < 0).any()}
    drawings = []
    if positive := {name: values for name, values in parts.items() if name not in signed}:
        low, high = log_limits(np.concatenate(list(positive.values())))
        shown = {name: np.maximum(values, low) for name, values in positive.items()}  # 0 is at the lower edge
        axes = _parts(f"{what} (dimensionless, log scale)", curves | shown, list(positive))
        axes.set_ylim(low, high)
        log_axis(axes)
        drawings.append(_named(axes, f"{key}losses", positive, shown))
    if signed:
        axes = _parts(f"{what} (dimensionless)", curves, list(signed))
        axes.set_ylim(*axes.get_ylim())  # until it is asked for, it is not set
        drawings.append(_named(axes, f"{key}signed-losses", signed, signed))
    return drawings


def _parts(title: str, curves: dict[str, np.ndarray], names: list[str]) -> Axes:
    """Curves of parts of the loss; those for which no color is left are dashed."""
    axes = _over_steps(title, curves, dict(zip(names, cycle(PART_COLORS), strict=False)))
    for line in axes.get_lines()[len(PART_COLORS) :]:
        line.set_dashes((3, 1.5))
    return axes


def _named(axes: Axes, key: str, parts: dict[str, np.ndarray], shown: dict[str, np.ndarray]) -> Drawing:
    """Curves of parts of the loss with their names; all limits must be set."""
    colors = zip(parts, cycle(PART_COLORS), strict=False)
    label_ends(axes, [(shown[name][-1], name, color) for name, color in colors])
    changes = []
    for name, values in parts.items():
        first, last = number(values[0], 2), number(values[-1], 2)
        moves = f"{'falls' if values[-1] < values[0] else 'goes'} from {first} to {last}"
        if first == last:
            moves = f"stays at {last}"
        changes.append(f"{'Prediction loss' if name == 'prediction' else name} {moves}")
    if len(changes) > TOLD_PARTS:
        changes = [changes[0], f"beside it are {len(changes) - 1} more parts of the loss"]
    where = "On held-out clips, " if key.startswith("held-out") else ""
    return finish(axes.figure, key, where + ", ".join(changes))


def _prediction(curves: dict[str, np.ndarray]) -> Drawing:
    colors = {"copying": BASELINE, "prediction": MODEL}
    axes = _over_steps("held-out squared error (dimensionless, log scale)", curves, colors)
    axes.set_ylim(*log_limits(np.concatenate([curves["prediction"], curves["copying"]])))
    log_axis(axes)
    last, copying = curves["prediction"][-1], curves["copying"][-1]
    label_ends(axes, [(last, "model", MODEL), (copying, "copying the\nlast latent", MUTED)])
    title = f"Held-out prediction error is {number(last, 2)}"
    if copying > 0:
        title = f"Held-out prediction error ends at {percent(last / copying)} of copying the last latent"
    return finish(axes.figure, "held-out", title)


def _spread(curves: dict[str, np.ndarray]) -> Drawing:
    colors = {"std_min": THIRD, "std": MODEL}
    axes = _over_steps("held-out standard deviation per dimension", curves, colors)
    axes.set_ylim(0, max(1.25, 1.08 * curves["std"].max()))
    last, least, collapsed = (curves[name][-1] for name in ("std", "std_min", "collapsed"))
    ends = [(last, "mean", MODEL), (least, "narrowest", THIRD)]
    if collapsed or last >= COLLAPSED_STD:  # else it is a small space, in which there is something to predict
        axes.axhspan(0, COLLAPSED_STD, color=OTHER, alpha=0.14, lw=0)
        ends.append((COLLAPSED_STD / 2, "collapsed", OTHER))
    label_ends(axes, ends)
    partly = "has lost a dimension" if least < COLLAPSED_STD * last else "stays open"
    state = "has collapsed" if collapsed else partly
    title = f"The latent space {state}: mean spread {number(last, 2)}, narrowest dimension {number(least, 2)}"
    return finish(axes.figure, "spread", title)


def _cosine(curves: dict[str, np.ndarray]) -> Drawing:
    dashed = {0: BASELINE, 1: OTHER}
    axes = _over_steps("held-out mean cosine of two latents", curves, {"cosine": MODEL}, dashed)
    last = curves["cosine"][-1]
    axes.set_ylim(min(-0.1, curves["cosine"].min() - 0.05), 1.08)
    label_ends(axes, [(last, "model", MODEL), (0.0, "healthy", MUTED), (1.0, "collapsed", OTHER)])
    return finish(axes.figure, "cosine", f"Latents of different clips have a mean cosine of {decimals(last, 2)}")


def _straight(curves: dict[str, np.ndarray]) -> Drawing:
    dashed = {0: BASELINE, 1: BASELINE}
    axes = _over_steps("held-out cosine of successive latent steps", curves, {"straightness": MODEL}, dashed)
    first, last = curves["straightness"][[0, -1]]
    axes.set_ylim(min(-0.1, curves["straightness"].min() - 0.05), 1.08)
    label_ends(axes, [(last, "model", MODEL), (0.0, "random walk", MUTED), (1.0, "line", MUTED)])
    way = "rises" if last > first else "falls"
    return finish(axes.figure, "straight", f"Straightness {way} from {decimals(first, 2)} to {decimals(last, 2)}")


def _over_steps(
    title: str, curves: dict[str, np.ndarray], colors: dict[str, str], dashed: dict[int, str] | None = None
) -> Axes:
    """Some of the curves over optimizer steps, each in its color, and dashed lines at some values."""
    _, axes = new_figure()
    axes.set_title(title)
    axes.set_xlim(0, curves["step"][-1] or 1)
    axes.set_xlabel("optimizer step", loc="left")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.get_major_locator().set_params(nbins=5, integer=True)
    axes.grid(axis="x", visible=False)
    axes.spines.bottom.set_color(LINE)
    for value, color in (dashed or {}).items():
        axes.axhline(value, color=color, lw=1, dashes=(3, 3))
    for name, color in colors.items():
        axes.plot(curves["step"], curves[name], color=color, marker="o" if len(curves["step"]) < 3 else "")
    return axes


def draw_latent_map(result: ProbeResult) -> list[Drawing]:
    """The principal plane of latents from above, once per quantity, colored by it."""
    return [_map(result, k) for k in range(min(COLORED, len(result.targets)))] if result.points else []


def _map(result: ProbeResult, k: int) -> Drawing:
    target = result.targets[k]
    places = np.array([point.map for point in result.points])
    values = np.array([point.actual[k] for point in result.points])
    figure, axes = new_figure(3.1)
    low, high = float(values.min()), float(values.max())
    levels = np.clip(((values - low) / ((high - low) or 1.0) * LEVELS).astype(int), 0, LEVELS - 1)
    for level in range(LEVELS):
        dots(axes, *places[levels == level].T, LEVEL_COLORS[level], size=3.6, alpha=0.9)
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.05)
    axes.autoscale_view()
    axes.set_xlabel(f"principal component 1 ({percent(result.map_explained[0], 0)} of variance)", loc="left")
    axes.set_ylabel(f"component 2 ({percent(result.map_explained[1], 0)} of variance)")
    axes.grid(axis="x", visible=True)
    unit = f" {target.unit}" if target.unit else ""
    color_scale(axes, low, high, f"{target.name} ({target.unit})" if target.unit else target.name)
    near, far = _neighbor_differences(places, values, np.array([point.episode for point in result.points]))
    title = f"Neighbors on the map differ by {near}{unit} in {target.name}, random pairs by {far}{unit}"
    return finish(figure, f"map-{k}", title)


def color_scale(axes: Axes, low: float, high: float, name: str) -> None:
    """A color scale above the axes, its ends named."""
    scale = axes.inset_axes([0.56, 1.055, 0.34, 0.032])
    for level, color in enumerate(LEVEL_COLORS):
        scale.axvspan(level, level + 1, facecolor=color, edgecolor=color, lw=0.4)  # no seams
    scale.set_xlim(0, LEVELS)
    scale.set_axis_off()
    digits = 0 if high - low >= 20 else 2
    texts = ((0, name, "left"), (0.54, decimals(low, digits), "right"), (0.92, decimals(high, digits), "left"))
    for x, words, side in texts:
        axes.text(x, 1.071, words, transform=axes.transAxes, ha=side, va="center", color=MUTED)


def _neighbor_differences(places: np.ndarray, values: np.ndarray, episodes: np.ndarray) -> tuple[str, str]:
    """Median difference of a quantity between nearest neighbors on the map, and between all pairs.

    Neighbors are looked for in other episodes: the next frame of the same one is near whatever the map is like.
    """
    apart = np.square(places[:, None] - places[None]).sum(axis=2)
    same = episodes[:, None] == episodes[None]
    apart[same if not same.all() else np.eye(len(values), dtype=bool)] = np.inf
    difference = np.abs(values[:, None] - values[None])
    near = np.median(difference[np.arange(len(values)), apart.argmin(axis=1)])
    far = np.median(difference[np.triu_indices(len(values), 1)]) if len(values) > 1 else 0.0
    return number(float(near), 2), number(float(far), 2)


def draw_probes(result: ProbeResult) -> list[Drawing]:
    """Predicted against actual, one figure per quantity that a frame shows, both probes in it."""
    shown = [k for k, target in enumerate(result.targets) if target in result.still]
    return [_scatter(result, k) for k in shown] if result.points else []


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


def draw_sizes(result: ProbeResult) -> list[Drawing]:
    """R2 against the number of training frames, one figure per quantity that a frame shows."""
    return [_sizes(target, k) for k, target in enumerate(result.still[:IMAGINED]) if len(target.sizes) > 1]


def _sizes(target: TargetResult, k: int) -> Drawing:
    frames = [one.frames for one in target.sizes]
    figure, axes = new_figure()
    curves: tuple[tuple[str, list[float], str], ...] = (
        ("MLP", [one.mlp["model"].value for one in target.sizes], MODEL),
        ("linear", [one.linear["model"].value for one in target.sizes], OTHER),
        ("MLP,\nuntrained", [one.mlp["untrained"].value for one in target.sizes], BASELINE),
    )
    for _, values, color in curves:
        axes.plot(frames, np.maximum(values, LOWEST_R2), color=color, marker="o", ms=3.5)
    axes.set_xlim(frames[0], frames[-1])
    axes.set_ylim(LOWEST_R2, 1.03)
    log_axis(axes, "x")
    axes.set_title(f"R² of {target.name}")
    axes.set_xlabel("training frames (log scale)", loc="left")
    ends = [(max(values[-1], LOWEST_R2), name, MUTED if color == BASELINE else color) for name, values, color in curves]
    label_ends(axes, ends)
    few, all_of_them = (decimals(curves[0][1][end], 2) for end in (0, -1))
    read = f"R² {few} with {frames[0]:,} frames, and {all_of_them} with {frames[-1]:,}"
    return finish(figure, f"sizes-{k}", f"{target.name[0].upper()}{target.name[1:]} from the latent: {read}")


def draw_imagination(found: Imagination) -> list[Drawing]:
    """Error of the MLP probe on imagined latents against the horizon, one figure per quantity."""
    return [_horizons(found, target, k) for k, target in enumerate(found.targets[:IMAGINED])]


def _horizons(found: Imagination, target: ImaginedTarget, k: int) -> Drawing:
    steps = np.arange(1, found.horizon + 1)
    figure, axes = new_figure()
    ends = []
    colors = {"copying": BASELINE, "encoded": THIRD, "imagined": MODEL}
    for source, color in colors.items():
        errors = np.array([one.rmse for one in target.mlp.errors[source]])
        axes.plot(steps, errors, color=color, marker="" if len(steps) > 2 else "o")
        ends.append((errors[-1], SOURCE_TITLES[source], MUTED if color == BASELINE else color))
    even = target.mlp.break_even.step
    if even:
        axes.axvline(even, color=INK, lw=0.9, dashes=(3, 3))
    axes.set_xlim(1, max(2, found.horizon))
    axes.set_ylim(0, axes.get_ylim()[1])
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_title(f"error of {target.name}{f' ({target.unit})' if target.unit else ''}, root mean square")
    axes.set_xlabel(f"model steps ahead (1 = {found.frameskip} environment steps)", loc="left")
    label_ends(axes, ends)
    name = f"{target.name[0].upper()}{target.name[1:]}"
    title = f"{name}: imagining is better than copying for all {found.horizon} steps"
    if even:
        title = f"{name}: imagining is no better than copying at step {even}"
    return finish(figure, f"imagined-{k}", title)


def draw_offline(result: OfflineResult) -> list[Drawing]:
    """Open-loop error as a share of copying against the horizon; nothing for a policy."""
    errors = result.errors
    if errors is None:
        return []
    steps = np.arange(1, len(errors.share) + 1)
    low, share, high = np.array([[one.low, one.value, one.high] for one in errors.share]).T
    figure, axes = new_figure()
    axes.fill_between(steps, low, high, color=MODEL, alpha=0.16, lw=0)
    ends = [(1.0, "copying", INK)]
    axes.axhline(1, color=INK, lw=0.9, dashes=(3, 3))
    curves = (("mean latent", errors.mean, THIRD), ("untrained", errors.untrained, BASELINE), ("model", share, MODEL))
    for name, values, color in curves:
        axes.plot(steps, values, color=color, marker="" if len(steps) > 2 else "o")
        ends.append((values[-1], name, MUTED if color == BASELINE else color))
    axes.set_xlim(1, max(2, len(steps)))
    axes.set_ylim(*log_limits(np.array([*low, *high, *errors.mean, *errors.untrained, 1.0])))
    log_axis(axes)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_title("error of the latent, as a share of copying (log scale)")
    axes.set_xlabel(f"model steps ahead (1 = {result.frameskip} environment steps)", loc="left")
    label_ends(axes, ends)
    one_step, last = (number(errors.share[end].value, 2) for end in (0, -1))
    title = f"Predictions err by {one_step} of copying one step ahead, by {last} at step {len(steps)}"
    return [finish(figure, "offline", title)]


def draw_surprise(result: SurpriseResult) -> list[Drawing]:
    """The model's surprise along recorded episodes, with the threshold and the events above it, if any."""
    found = [np.array(episode.curves["model"], float) for episode in result.episodes if "model" in episode.curves]
    curves = [curve for curve in found if np.isfinite(curve).any()]
    if not curves:
        return []
    longest = max(len(curve) for curve in curves)
    steps = result.frameskip * np.arange(1, longest + 1)
    table = np.full((len(curves), longest), np.nan)
    for row, curve in zip(table, curves, strict=True):
        row[: len(curve)] = np.where(curve > 0, curve, np.nan)  # nothing on a logarithmic axis
    enough = np.isfinite(table).sum(axis=0) >= min(FEWEST_EPISODES, len(curves))
    if not enough.any():
        return []
    median = np.nanmedian(table[:, enough], axis=0)
    shown = table[np.unique(np.linspace(0, len(table) - 1, SHOWN_EPISODES).round().astype(int))]
    figure, axes = new_figure()
    lines = [np.column_stack([steps, row])[np.isfinite(row)] for row in shown]
    axes.add_collection(LineCollection(lines, colors=BASELINE, linewidths=0.6, alpha=0.45))
    axes.plot(steps[enough], median, color=MODEL, marker="" if enough.sum() > 2 else "o")
    axes.set_xlim(steps[0], max(steps[-1], steps[0] + 1))
    level = result.threshold.value if result.threshold else np.inf
    shown_level = [level] if 0 < level < np.inf else []
    axes.set_ylim(*log_limits(np.append(table[np.isfinite(table)], shown_level), 0.03))
    log_axis(axes)
    axes.set_title(_surprise_title(result))
    axes.set_xlabel("environment steps since the start", loc="left")
    ends = [(median[-1], "median", MODEL), (np.nanmedian(shown[:, enough][:, -1]), "episodes", MUTED)]
    for value in shown_level:
        axes.axhline(value, color=EVENT, lw=1, dashes=(3, 3))
        ends.append((value, "threshold", EVENT))
    above = np.nonzero(table > level)
    dots(axes, steps[above[1]], table[above], EVENT, size=3.6, alpha=0.8)
    label_ends(axes, ends)
    span = f"{number(float(median.min()), 2)} to {number(float(median.max()), 2)}"
    title = f"Along {len(curves)} recorded episodes the median surprise stays within {span}"
    if result.threshold:
        eventful = len({event.episode for event in result.events})
        found = f"{counted(len(result.events), 'event')} in {eventful} of {counted(len(curves), 'episode')}"
        title = f"{found} above the threshold, {number(result.threshold.value)}"
    return [finish(figure, "surprise", title)]


def _surprise_title(result: SurpriseResult | PerturbationResult) -> str:
    what = "of the predicted latent" if result.horizon == 1 else f"{result.horizon} steps ahead"
    return f"squared error {what} (log scale)"


def draw_perturbation(result: PerturbationResult, key: str) -> list[Drawing]:
    """The model's surprise around the event, and how well every detector sees it; `key` is unique on the page."""
    drawings = []
    touched = bands((one.perturbed["model"], one.event) for one in result.episodes if "model" in one.perturbed)
    untouched = bands((one.untouched["model"], one.event) for one in result.episodes if "model" in one.untouched)
    if touched and untouched:
        drawings.append(_bands(result, touched, untouched, key))
    if result.scores:
        drawings.append(_ratios(result, key))
    return drawings


def _bands(result: PerturbationResult, touched: list[Band], untouched: list[Band], key: str) -> Drawing:
    figure, axes = new_figure()
    axes.set_xlim(min(band.offset for band in touched), max(band.offset for band in touched))
    axes.set_ylim(*log_limits(np.array([[band.low, band.high] for band in (*touched, *untouched)])))
    log_axis(axes)
    floor = axes.get_ylim()[0]
    for found, color in ((untouched, MODEL), (touched, EVENT)):
        offsets = [band.offset for band in found]
        low, median, high = np.maximum(floor, [[band.low, band.median, band.high] for band in found]).T
        axes.fill_between(offsets, low, high, color=color, alpha=0.16, lw=0)
        axes.plot(offsets, median, color=color)
    axes.axvline(0, color=INK, lw=0.9, dashes=(3, 3))
    if result.lasts > 1:
        axes.axvspan(0, result.lasts - 1, color=INK, alpha=0.07, lw=0)
    place = {"xytext": (4, -2), "xycoords": ("data", "axes fraction"), "textcoords": "offset points", "va": "top"}
    axes.annotate(result.perturbation, (0, 1), color=INK, fontweight="bold", **place)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_title(_surprise_title(result))
    axes.set_xlabel(f"model steps from the event (1 = {result.frameskip} environment steps)", loc="left")
    ends = [(max(floor, touched[-1].median), "changed", EVENT), (max(floor, untouched[-1].median), "untouched", MODEL)]
    label_ends(axes, ends)
    title = f"{result.perturbation.capitalize()}: surprise around the event"
    if "model" in result.scores:
        ratio = times(result.scores["model"].ratio)
        title = f"{result.perturbation.capitalize()}: at the event, surprise is {ratio} the untouched"
    return finish(figure, f"{key}-bands", title)


def _ratios(result: PerturbationResult, key: str) -> Drawing:
    known = {title: result.scores[one] for one, title in DETECTOR_TITLES.items() if one in result.scores}
    figure, axes = new_figure(0.42 * len(known) + 0.95)
    reach = np.array([[score.ratio_low, score.ratio, score.ratio_high, 1.0] for score in known.values()])
    reach = np.clip(reach, 1 / FARTHEST, FARTHEST)  # of what moves only in one of the versions
    axes.set_xlim(*log_limits(reach, 0.06))
    log_axis(axes, "x")
    axes.axvline(1, color=BASELINE, lw=1, dashes=(3, 3))
    for k, (title, score) in enumerate(known.items()):
        color, words = (MODEL, MODEL) if title == DETECTOR_TITLES["model"] else (BASELINE, MUTED)
        ends = np.clip([score.ratio_low, score.ratio, score.ratio_high], *axes.get_xlim())
        mark_interval(axes, -k, *ends, color)
        axes.text(1.03, -k, times(score.ratio), color=words, transform=axes.get_yaxis_transform(), va="center")
    axes.set_yticks([-k for k in range(len(known))], list(known))
    axes.set_ylim(0.6 - len(known), 0.6)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    axes.set_xlabel("changed over untouched (ratio, log scale)", loc="left")
    ratios = ", ".join(f"{title} {times(score.ratio)}" for title, score in known.items())
    return finish(figure, f"{key}-ratios", f"{result.perturbation.capitalize()} at the event: {ratios}")


def draw_decoded(result: DecodeResult) -> list[Drawing]:
    """PSNR of imagined frames by model step, beside its limit and floors: of all pixels, and where they changed."""
    drawings = []
    for changed in (False, True):
        figure, axes = new_figure()
        ends = plot_psnr(axes, result, IMAGINATION_COLORS, changed=changed)
        if not ends:
            continue
        label_ends(axes, ends)
        value = {text: f"{y:.1f}" for y, text, _ in ends}
        pixels = "the pixels that changed" if changed else "all pixels"
        ahead = f"{result.horizon} model steps ahead" if result.horizon > 1 else "one model step ahead"
        title = (
            f"On {pixels} {ahead}: imagined {value['imagined']} dB, re-encoded {value['re-encoded']}, "
            f"copied {value['copied']}"
        )
        drawings.append(finish(figure, f"decoded-{'changed' if changed else 'all'}", title))
    return drawings


def plot_psnr(
    axes: Axes, result: DecodeResult, colors: Mapping[Shown, str], *, changed: bool
) -> list[tuple[float, str, str]]:
    """Draws PSNR by model step with its interval; the ends of the lines, with names and colors. None where unknown."""
    ends = []
    for what in SHOWN:
        scores = [score.changed if changed else score.likeness.psnr for score in result.steps[what]]
        known = [(step, score) for step, score in enumerate(scores, start=1) if score]
        if not known:
            continue
        steps = [step for step, _ in known]
        low, value, high = zip(*((score.low, score.value, score.high) for _, score in known), strict=True)
        axes.fill_between(steps, low, high, color=colors[what], alpha=0.16, lw=0)
        axes.plot(steps, value, color=colors[what], marker="o" if len(steps) < 3 else "", label=what)
        ends.append((value[-1], what, colors[what]))
    axes.set_title(f"PSNR, dB{', pixels that changed' if changed else ''}")
    axes.set_xlim(1, max(2, result.horizon))
    axes.margins(y=0.08)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel(f"model steps imagined (1 = {result.frameskip} environment steps)", loc="left")
    return ends


def draw_doses(result: DoseResult) -> list[Drawing]:
    """The share of changes that every detector finds, over their size."""
    figure, axes = new_figure()
    ends = []
    for detector, color in DOSE_COLORS.items():
        if found := result.detectors.get(detector):
            shares = [100 * one.rate for one in found.found]
            axes.plot(result.sizes, shares, color=color, marker="o", ms=3, lw=1.2 if detector != "model" else 1.8)
            ends.append((shares[-1], DETECTOR_TITLES[detector], color))
            if detector == "model":
                low, high = ([100 * getattr(one, end) for one in found.found] for end in ("low", "high"))
                axes.fill_between(result.sizes, low, high, color=color, alpha=0.12, lw=0)
    axes.axhline(50, color=BASELINE, lw=1, dashes=(3, 3))
    axes.set_xlim(result.sizes[0], result.sizes[-1])
    axes.set_xscale("log")
    axes.set_xticks(result.sizes, [number(size, 2) for size in result.sizes])
    axes.minorticks_off()
    axes.set_ylim(-2, 103)
    axes.set_yticks(range(0, 101, 25))
    axes.set_title(f"found (%), at {percent(result.false_alarms)} false alarms")
    axes.set_xlabel(f"size of the {result.perturbation} ({result.size_unit}, log scale)", loc="left")
    label_ends(axes, ends)
    half = result.detectors["model"].half
    largest = f"not even {number(result.sizes[-1], 2)}"
    title = f"The model finds a {result.perturbation} of {largest if half is None else number(half, 2)} "
    return [finish(figure, "doses", f"{title}{result.size_unit} half of the time")]
