"""Surprise as tables."""

import numpy as np
from rich.console import RenderableType

from lewm_cli.report.pieces import plain_table
from lewm_cli.surprise import DETECTORS, Detector, EpisodeCurves, PerturbationResult, SurpriseResult

SHOWN = 12
"""Episodes listed, those with the highest peak first; the stored result holds all."""

DETECTOR_TITLES: dict[Detector, str] = {
    "model": "model",
    "untrained": "untrained",
    "latent": "latent step",
    "pixels": "pixel step",
}
"""The name of each detector, in tables and on pages."""


def surprise_tables(result: SurpriseResult | PerturbationResult) -> list[RenderableType]:
    """List the recorded episodes that surprise most, or show how clearly a perturbation is detected."""
    return _recorded(result) if isinstance(result, SurpriseResult) else _perturbed(result)


def _recorded(result: SurpriseResult) -> list[RenderableType]:
    ranked = sorted(result.episodes, key=_peak, reverse=True)
    headings = ("episode", "steps", "median", "peak", "peak at row")
    title = f"surprise of {result.run} on {result.dataset.name}, highest peaks first"
    table = plain_table(*headings, title=title, justify="right", padding=(0, 1, 0, 0))
    for episode in ranked[:SHOWN]:
        values = np.array(episode.curves["model"], float)
        if np.isnan(values).all():
            table.add_row(str(episode.episode), str(len(values)), "no actions", "", "")
            continue
        row = (int(np.nanargmax(values)) + 1) * result.frameskip
        table.add_row(
            str(episode.episode), str(len(values)), f"{np.nanmedian(values):.4f}", f"{np.nanmax(values):.4f}", str(row)
        )
    more = f" {len(ranked) - SHOWN} more in the stored result." if len(ranked) > SHOWN else ""
    return [
        table,
        "Surprise: squared error between predicted and actual next latent, summed over\n"
        f"dimensions. One step is {result.frameskip} environment steps.{more}",
    ]


def _peak(episode: EpisodeCurves) -> float:
    return max((value for value in episode.curves["model"] if value is not None), default=-1.0)


def _perturbed(result: PerturbationResult) -> list[RenderableType]:
    sizes = [episode.size for episode in result.episodes]
    table = plain_table(
        *("detector", "ratio", "log ratio", "after", "p", "AUROC"),
        title=f"{result.perturbation}, {min(sizes):.0f} to {max(sizes):.0f} {result.size_unit}: {result.run} on "
        f"{len(sizes)} episodes of {result.dataset.name}",
        padding=(0, 1, 0, 0),
    )
    for detector in DETECTORS:
        score = result.scores[detector]
        table.add_row(
            DETECTOR_TITLES[detector],
            str(score),
            f"{score.log_ratio:.2f} [{score.log_ratio_low:.2f}, {score.log_ratio_high:.2f}]",
            f"{score.after:.2f}" if score.after < 100 else f"{score.after:.0f}",
            f"{score.t_test:.0e}",
            f"{score.auroc:.3f}",
        )
    return [
        table,
        "Perturbed over untouched at the event, same episodes and actions; 95 % intervals\n"
        "over episodes. After: ratio over later steps. p: paired t-test. Only the first\n"
        "row predicts with what was learned: a jump is easy to see.",
    ]
