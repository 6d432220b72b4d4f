"""Puts the page together."""

from pathlib import Path

import numpy as np
from markupsafe import Markup

from lewm_cli.diagnose.film_result import FilmResult
from lewm_cli.evaluate import EvalResult, ImproveResult
from lewm_cli.probe import FEATURES, SOURCES
from lewm_cli.report.latent_space import latent_lines
from lewm_cli.report.numbers import day, decimals, duration, interval, listed, number, p_value, percent, setting, times
from lewm_cli.report.offline_lines import DRAWN_TITLES, percentile_text, retrieval_rows
from lewm_cli.report.page.figures import (
    SHOWN_EPISODES,
    draw_decoded,
    draw_doses,
    draw_imagination,
    draw_latent_map,
    draw_offline,
    draw_perturbation,
    draw_planning,
    draw_probes,
    draw_sizes,
    draw_surprise,
    draw_training,
)
from lewm_cli.report.page.latent_figures import draw_latent, draw_maps
from lewm_cli.report.page.style import house_style, level_colors
from lewm_cli.report.pieces import objective_settings, recorded_facts
from lewm_cli.report.probing import SOURCE_TITLES, TITLES, shown_horizons
from lewm_cli.report.run_report import RunReport, next_commands
from lewm_cli.report.summary import headlines, sentences, what_happens
from lewm_cli.report.surprising import DETECTOR_TITLES
from lewm_cli.report.viewer import Viewed, player, player_style, templates
from lewm_cli.store import Measurement
from lewm_cli.surprise import PerturbationResult, SurpriseResult, share

FOLDER = Path(__file__).parent

SEEN_AUROC = 0.9
"""A detector of so much tells the change."""

LISTED = 5
"""Events listed, or episodes, by their peaks."""

STAYING_SHARE = 0.1
"""Share of the jump; surprise that keeps more than this stays."""


def render_page(report: RunReport) -> str:
    """The page of a run: one HTML file that loads nothing.

    The same report gives the same text, byte for byte.
    """
    imagination = report.probe.imagination if report.probe else None
    with house_style():
        drawings = {
            "planning": draw_planning(report.evaluation) if report.evaluation else [],
            "offline": draw_offline(report.offline) if report.offline else [],
            "training": draw_training(report.history, frozen=report.frozen),
            "map": draw_latent_map(report.probe) if report.probe else [],
            "probes": draw_probes(report.probe) if report.probe else [],
            "latent": draw_latent(report.latent) if report.latent else [],
            "latent_maps": draw_maps(report.latent) if report.latent else [],
            "sizes": draw_sizes(report.probe) if report.probe else [],
            "imagination": draw_imagination(imagination) if imagination else [],
            "surprise": draw_surprise(report.surprise) if report.surprise else [],
            "decoded": draw_decoded(report.decoded) if report.decoded else [],
            "doses": draw_doses(report.doses) if report.doses else [],
        }
        events = [(result, draw_perturbation(result, f"event-{k}")) for k, result in enumerate(report.perturbations)]
    environment = templates(FOLDER)
    filters = (
        *(
            day,
            decimals,
            duration,
            interval,
            listed,
            number,
            objective_settings,
            p_value,
            percent,
            recorded_facts,
            setting,
            times,
        ),
        *(highest_peaks, median_size, percentile_text, remark, retrieval_rows, share, what_happens),
    )
    environment.filters |= {function.__name__: function for function in filters}
    return environment.get_template("page.html.j2").render(
        report=report,
        headlines=headlines(report),
        sentences=sentences(report),
        drawings=drawings,
        events=events,
        player=player([Viewed(report.name, report.films)]) if report.films and report.films.films else None,
        player_style=player_style(),
        shown_episodes=SHOWN_EPISODES,
        listed_events=LISTED,
        commands=next_commands(report),
        origins=_origins(report),
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        levels={"light": level_colors(dark=False), "dark": level_colors(dark=True)},
        latent_lines=list(latent_lines(report.latent)) if report.latent else [],
        sources=[(source, SOURCE_TITLES[source]) for source in SOURCES],
        horizons=shown_horizons(imagination.horizon) if imagination else [],
        features=[(feature, TITLES[feature]) for feature in FEATURES],
        detectors=list(DETECTOR_TITLES.items()),
        drawn_titles=DRAWN_TITLES,
    )


def _origins(report: RunReport) -> list[tuple[str, Measurement, int]]:
    """The measurements on the page, in its order: name, measurement, and the seed it had."""
    one_each = {
        "planning" if report.plans else "success": report.evaluation,
        "improved planner": report.improved,
        "films": report.films,
        "without a simulator": report.offline,
        "probes": report.probe,
        "latent space": report.latent,
        "surprise": report.surprise,
    }
    every = one_each | {f"surprise, {one.perturbation}": one for one in report.perturbations}
    every["imagination"] = report.decoded
    every["surprise, doses"] = report.doses
    return [
        (kind, one, one.protocol.seed if isinstance(one, EvalResult | ImproveResult | FilmResult) else one.seed)
        for kind, one in every.items()
        if one
    ]


def highest_peaks(result: SurpriseResult) -> list[tuple[int, int, float]]:
    """The episodes with the highest surprise: number, environment steps after the start, and the value there."""
    peaks = []
    for episode in result.episodes:
        known = [(value, k) for k, value in enumerate(episode.curves["model"]) if value is not None]
        if known:
            value, k = max(known)
            peaks.append((episode.episode, (k + 1) * result.frameskip, value))
    return sorted(peaks, key=lambda peak: -peak[2])[:LISTED]


def median_size(result: PerturbationResult) -> float | None:
    """Median size of the change; None without episodes."""
    return float(np.median([one.size for one in result.episodes])) if result.episodes else None


def remark(result: PerturbationResult) -> str:
    """Says what simpler detectors tell of the change, and what happens after it."""
    simpler = {detector: score for detector, score in result.scores.items() if detector not in ("model", "beside")}
    if not simpler:
        return ""
    seeing = [
        f"{DETECTOR_TITLES[detector]} (AUROC {decimals(score.auroc, 2)})"
        for detector, score in simpler.items()
        if score.auroc >= SEEN_AUROC
    ]
    said = f"No simpler detector tells it clearly (AUROC of {SEEN_AUROC} or more)."
    if seeing:
        said = f"That the model tells it proves little, since simpler detectors tell it too: {listed(seeing)}."
    if "model" in result.scores:
        score = result.scores["model"]
        stays = score.after - 1 >= STAYING_SHARE * (score.ratio - 1)
        then = "is" if score.ratio_low <= 1 else "stays at" if stays else "falls back to"
        said += f" Over the steps after the event the model's surprise {then} {times(score.after)} the untouched."
    return said
