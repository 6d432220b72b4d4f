"""Probes, of recorded and of imagined latents, and fitted heads as tables."""

import numpy as np
from rich.console import RenderableType

from lewm_cli.heads import HeadFit
from lewm_cli.plural import counted
from lewm_cli.probe import (
    FEATURES,
    PUBLISHED,
    SIZED,
    SOURCE,
    SOURCES,
    Feature,
    Imagination,
    OpenLoop,
    ProbeResult,
    Source,
)
from lewm_cli.report.numbers import number
from lewm_cli.report.pieces import measured_on, plain_table

TITLES: dict[Feature, str] = {
    "model": "model",
    "history": "history",
    "encoder": "encoder",
    "untrained": "untrained",
    "pixels": "pixel PCA",
    "shuffled": "shuffled",
}
"""The name of each kind of features, in tables and on pages."""

SOURCE_TITLES: dict[Source, str] = {"imagined": "imagined", "copying": "copying", "encoded": "re-encoded"}

SHOWN_HORIZONS = 5
"""Columns of the table of imagined quantities."""


def probe_tables(result: ProbeResult, *, paper: bool = False) -> list[RenderableType]:
    """One row per quantity and kind of features; R2 with its interval. Then what is imagined.

    Args:
        paper: add the paper's scores of the task, of which there are some.
    """
    headings = ("quantity, features", "linear R2", "MLP R2", "error")
    table = plain_table(*headings, fold=(0,), title=measured_on(result))
    for target in result.targets:
        table.add_row(with_unit(target.name, target.unit))
        features = [feature for feature in FEATURES if feature in target.mlp]
        for feature in features:
            linear, mlp = target.linear[feature], target.mlp[feature]
            cells = (f"  {TITLES[feature]}", str(linear), str(mlp), "" if mlp.rmse is None else number(mlp.rmse))
            table.add_row(*cells, end_section=feature == features[-1])
    given = "\nThis run is given proprioception, so an R2 of that is handed back, not learned."
    tables: list[RenderableType] = [
        table,
        f"{result.train_frames:,} frames of {counted(len(result.train_episodes), 'episode')} to fit, "
        f"{result.test_frames:,} of {len(result.test_episodes)} others to test.\n"
        "Error: root mean square of the MLP, in the quantity's unit; 95 % intervals over\n"
        "test episodes. History: latents of the last model steps together; encoder: its\n"
        "CLS token, before the projector; untrained: the same model before training;\n"
        "pixel PCA: as many principal components as the latent has dimensions." + given * result.proprio,
    ]
    if result.seeds:
        tables.append(
            f"R2: mean, lowest and highest of {len(result.seeds)} seeds, each with a split and MLPs of its own;\n"
            "all else is of the first."
        )
    if any(target.sizes for target in result.targets):
        tables += ["", *_size_tables(result)]
    if paper:
        tables += ["", *_paper_tables(result)]
    if result.imagination:
        tables += ["", *_imagination_tables(result.imagination)]
    if result.open_loop:
        tables += ["", *_open_loop_tables(result.open_loop)]
    return tables


def _paper_tables(result: ProbeResult) -> list[RenderableType]:
    """The paper's table with a row of the run under each quantity; a quantity's parts that were probed are averaged."""
    table = plain_table("quantity, method", "linear MSE", "r", "MLP MSE", "r", title=f"As published: {SOURCE}")
    for row in PUBLISHED[result.task]:
        table.add_row(row.quantity)
        for method, scores in row.scores.items():
            table.add_row(f"  {method}, published", *(f"{score:.3f}" for score in scores))
        parts = [target for target in result.targets if target.name in row.targets]
        read = [(one.linear["model"], one.mlp["model"]) for one in parts]
        ours = [(linear.mse, linear.r, mlp.mse, mlp.r) for linear, mlp in read]
        means = (f"{score:.3f}" for score in np.mean(ours, axis=0).tolist()) if ours else ["not probed"]
        table.add_row(f"  {result.run}", *means, end_section=True)
    return [
        table,
        "The published recipe (size of the MLP, optimizer, frames, split) is not known,\n"
        "and angles and rotations are read in coordinates of our own (sine and cosine;\n"
        "the quaternion's outer product): compare the order of methods, not digits. MSE\n"
        "is of z-scored quantities on both sides, as far as can be told.",
    ]


def _size_tables(result: ProbeResult) -> list[RenderableType]:
    """R2 by the number of training frames."""
    sizes = [one.frames for one in result.targets[0].sizes]
    table = plain_table("quantity, probe", *(f"{size:,}" for size in sizes), title="R2 by training frames")
    for target in result.targets:
        table.add_row(with_unit(target.name, target.unit))
        for name, kind in (("linear", "linear"), ("MLP", "mlp")):
            for feature in SIZED:
                found = (getattr(one, kind)[feature] for one in target.sizes)
                last = kind == "mlp" and feature == SIZED[-1]
                table.add_row(f"  {name}, {TITLES[feature]}", *(f"{one.value:.3f}" for one in found), end_section=last)
    return [table]


def _imagination_tables(found: Imagination) -> list[RenderableType]:
    """Errors of the MLP probe, one row per quantity and source, and where imagining is worth nothing more."""
    steps = shown_horizons(found.horizon)
    title = "MLP probe on imagined latents: error by model steps ahead"
    table = plain_table("quantity, latent", *(f"+{step}" for step in steps), "break-even", fold=(0,), title=title)
    for target in found.targets:
        table.add_row(with_unit(target.name, target.unit))
        for source in SOURCES:
            errors = (number(target.mlp.errors[source][step - 1].rmse) for step in steps)
            even = str(target.mlp.break_even) if source == "imagined" else ""
            table.add_row(f"  {SOURCE_TITLES[source]}", *errors, even, end_section=source == SOURCES[-1])
    return [
        table,
        f"{found.stretches} stretches of {counted(found.episodes, 'test episode')}, from "
        f"{counted(found.history, 'recorded frame')} each, with the\n"
        f"recorded actions; a model step is {counted(found.frameskip, 'environment step')}. Copying: the last\n"
        "frame's latent, as if nothing changed; re-encoded: the latent of what was\n"
        "recorded then, with the error that the probe has anyway. Break-even: the first\n"
        "step at which imagining is no better than copying, 95 % interval.",
    ]


def _open_loop_tables(found: OpenLoop) -> list[RenderableType]:
    """Errors of imagined latents beside copying."""
    table = plain_table("environment steps", "imagined", "copying", "ratio", title="Open-loop error of the latent")
    for one in found.horizons:
        measured = one.steps * found.frameskip
        asked = "" if measured == one.asked else f" (for {one.asked})"
        table.add_row(f"{measured}{asked}", number(one.imagined), number(one.copying), f"{one.ratio}")
    return [
        table,
        f"Mean squared error per number of the latent, in this model's own space;\n"
        f"{counted(found.episodes, 'episode')}, from {counted(found.history, 'recorded frame')} each. "
        "Below a ratio of 1 imagining is\nbetter than copying; 95 % interval over episodes.",
    ]


def shown_horizons(horizon: int) -> list[int]:
    """A few of the horizons 1 to H, the first and the last included."""
    return sorted({round(step) for step in np.geomspace(1, horizon, SHOWN_HORIZONS).tolist()})


def with_unit(name: str, unit: str) -> str:
    """A quantity and its unit, if it has one."""
    return ", ".join(filter(None, (name, unit)))


def head_tables(fit: HeadFit) -> list[RenderableType]:
    """Shows how good a head is on episodes that it was not fitted to, beside its references."""
    headings, *rows = fit.table
    table = plain_table(*headings)
    for row in rows:
        table.add_row(*row)
    tested = (
        f"Fitted to {fit.fitted_frames:,} frames of {fit.fitted_episodes:,} episodes in {fit.seconds:.0f} s,\n"
        f"tested on {fit.tested_episodes:,} others; 95 % intervals over these."
    )
    return [measured_on(fit), table, "\n".join((tested, *fit.remarks))]
