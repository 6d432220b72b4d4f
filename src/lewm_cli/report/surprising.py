"""Surprise as tables."""

import numpy as np
from rich.console import RenderableType

from lewm_cli.report.pieces import plain_table
from lewm_cli.surprise import Detector, EpisodeCurves, SurpriseResult

SHOWN = 12
"""Episodes listed, those with the highest peak first; the stored result holds all."""

DETECTOR_TITLES: dict[Detector, str] = {
    "model": "model",
    "untrained": "untrained",
    "latent": "latent step",
    "pixels": "pixel step",
    "beside": "beside",
}
"""The name of each detector, in tables and on pages."""


def surprise_tables(result: SurpriseResult) -> list[RenderableType]:
    """List the recorded episodes that surprise most."""
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
    ahead = "next latent" if result.horizon == 1 else f"latent {result.horizon} steps ahead"
    return [
        table,
        f"Surprise: squared error between predicted and actual {ahead}, summed over\n"
        f"dimensions. One step is {result.frameskip} environment steps.{more}",
    ]


def _peak(episode: EpisodeCurves) -> float:
    return max((value for value in episode.curves["model"] if value is not None), default=-1.0)
