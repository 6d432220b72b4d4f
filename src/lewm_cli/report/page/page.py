"""Puts the page together."""

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from lewm_cli.diagnose import FilmResult
from lewm_cli.evaluate import EvalResult
from lewm_cli.probe import FEATURES
from lewm_cli.report import numbers
from lewm_cli.report.page.figures import (
    SHOWN_EPISODES,
    draw_latent_map,
    draw_planning,
    draw_probes,
    draw_surprise,
    draw_training,
    house_style,
    level_colors,
)
from lewm_cli.report.page.filmstrip import film_views, ramp
from lewm_cli.report.page.perturbations import event_view, highest_peaks
from lewm_cli.report.probing import TITLES
from lewm_cli.report.run_report import RunReport, next_commands
from lewm_cli.report.summary import headlines, sentences
from lewm_cli.report.surprising import DETECTOR_TITLES
from lewm_cli.store import Measurement
from lewm_cli.surprise import DETECTORS

FOLDER = Path(__file__).parent

FILTERS = ["number", "decimals", "setting", "percent", "interval", "times", "duration", "p_value", "day", "listed"]
"""Functions of `numbers` that the template uses."""


def render_page(report: RunReport) -> str:
    """The page of a run: one HTML file that loads nothing.

    The same report gives the same text, byte for byte.
    """
    with house_style():
        drawings = {
            "planning": draw_planning(report.evaluation) if report.evaluation else [],
            "training": draw_training(report.history),
            "map": draw_latent_map(report.probe) if report.probe else [],
            "probes": draw_probes(report.probe) if report.probe else [],
            "surprise": draw_surprise(report.surprise) if report.surprise else [],
        }
        events = [event_view(result, f"event-{k}") for k, result in enumerate(report.perturbations)]
    return _template().render(
        report=report,
        headlines=headlines(report),
        sentences=sentences(report),
        drawings=drawings,
        events=events,
        films=film_views(report.films) if report.films else [],
        ramp=ramp(),
        peaks=highest_peaks(report.surprise) if report.surprise else [],
        shown_episodes=SHOWN_EPISODES,
        commands=next_commands(report),
        origins=_origins(report),
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        levels={"light": level_colors(dark=False), "dark": level_colors(dark=True)},
        features=[(feature, TITLES[feature]) for feature in FEATURES],
        detectors=[(detector, DETECTOR_TITLES[detector]) for detector in DETECTORS],
    )


def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {word: getattr(numbers, word) for word in FILTERS}
    return environment.get_template("page.html.j2")


@dataclass(frozen=True)
class _Origin:
    """A stored measurement, its name on the page and the seed it had."""

    kind: str
    measurement: Measurement
    seed: int


def _origins(report: RunReport) -> list[_Origin]:
    """The measurements on the page, in its order."""
    one_each = (
        ("planning", report.evaluation),
        ("films", report.films),
        ("probes", report.probe),
        ("surprise", report.surprise),
    )
    every = [*one_each, *((f"surprise, {one.perturbation}", one) for one in report.perturbations)]
    return [
        _Origin(kind, one, one.protocol.seed if isinstance(one, EvalResult | FilmResult) else one.seed)
        for kind, one in every
        if one
    ]
