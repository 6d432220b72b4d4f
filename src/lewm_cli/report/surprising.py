"""Surprise as tables, and as rows for other programs."""

import csv
import io

import numpy as np
from rich.console import RenderableType
from rich.table import Table

from lewm_cli.plural import counted
from lewm_cli.report.numbers import number
from lewm_cli.report.pieces import plain_table
from lewm_cli.surprise import Detector, EpisodeCurves, SurpriseResult

SHOWN = 12
"""Events listed, or episodes, those with the highest peak first; the stored result holds all."""

DETECTOR_TITLES: dict[Detector, str] = {
    "model": "model",
    "untrained": "untrained",
    "latent": "latent step",
    "pixels": "pixel step",
    "beside": "beside",
}
"""The name of each detector, in tables and on pages."""


def ranked_episodes(result: SurpriseResult) -> list[EpisodeCurves]:
    """The measured episodes, the highest peak first."""
    return sorted(result.episodes, key=_peak, reverse=True)


def surprise_csv(result: SurpriseResult) -> str:
    """A row per model step; an empty cell is not known."""
    threshold = result.threshold.value if result.threshold else None
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(("episode", "row", "seconds", "surprise", "threshold", "event"))
    for one in result.episodes:
        for row, value in zip(result.rows(one), one.curves["model"], strict=True):
            event = "" if threshold is None or value is None else "yes" if value > threshold else "no"
            table.writerow((one.episode, row, result.seconds_of(row), value, threshold, event))
    return file.getvalue()


def surprise_tables(result: SurpriseResult) -> list[RenderableType]:
    """List the events, or the recorded episodes that surprise most."""
    ahead = "next latent" if result.horizon == 1 else f"latent {result.horizon} steps ahead"
    explained = f"Surprise: squared error between predicted and actual {ahead}, summed over\n"
    explained += f"dimensions. One step is {counted(result.frameskip, 'environment step')}."
    shown, more = (_events(result), len(result.events)) if result.events else (_peaks(result), len(result.episodes))
    if more > SHOWN:
        explained += f" {more - SHOWN} more in the stored result."
    return [shown, explained, *([_above(result)] if result.threshold else [])]


def _events(result: SurpriseResult) -> Table:
    timed = result.seconds_per_row is not None
    headings = ("episode", "row", *(["seconds"] if timed else []), "steps", *(["lasts"] if timed else []))
    title = f"events of {result.run} on {result.dataset.name}, highest first"
    table = plain_table(*headings, "peak", "x threshold", title=title, justify="right", padding=(0, 1, 0, 0))
    for event in result.ranked_events()[:SHOWN]:
        cells = [f"{event.episode}", f"{event.row}", f"{event.steps}", f"{event.peak:.4f}"]
        if timed:
            cells[2:3] = [f"{event.seconds:.2f}", f"{event.steps}", f"{event.duration:.2f} s"]
        table.add_row(*cells, "" if event.size is None else number(event.size))
    return table


def _above(result: SurpriseResult) -> str:
    """Says how many steps lie above the threshold, and how many would if nothing had happened."""
    curves = [[value for value in one.curves["model"] if value is not None] for one in result.episodes]
    steps, above = sum(map(len, curves)), sum(event.steps for event in result.events)
    eventful = len({event.episode for event in result.events})
    return (
        f"{counted(len(result.events), 'event')} in {eventful} of {counted(len(curves), 'episode')}: "
        f"{above} of {counted(steps, 'step')} above {result.threshold.value:.4g}.\n"
        f"Where nothing happens, at most about {number(result.threshold.false_alarms * steps)} steps are."
    )


def _peaks(result: SurpriseResult) -> Table:
    headings = ("episode", "steps", "median", "peak", "peak at row")
    title = f"surprise of {result.run} on {result.dataset.name}, highest peaks first"
    table = plain_table(*headings, title=title, justify="right", padding=(0, 1, 0, 0))
    for episode in ranked_episodes(result)[:SHOWN]:
        values = np.array(episode.curves["model"], float)
        if np.isnan(values).all():
            table.add_row(str(episode.episode), str(len(values)), "no actions", "", "")
            continue
        row = result.rows(episode)[int(np.nanargmax(values))]
        table.add_row(
            str(episode.episode), str(len(values)), f"{np.nanmedian(values):.4f}", f"{np.nanmax(values):.4f}", str(row)
        )
    return table


def _peak(episode: EpisodeCurves) -> float:
    return max((value for value in episode.curves["model"] if value is not None), default=-1.0)
