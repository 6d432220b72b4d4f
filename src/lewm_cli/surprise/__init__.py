"""Violation of expectation: how far what is seen lies from what was predicted."""

from lewm_cli.surprise.bands import Band, bands
from lewm_cli.surprise.perturbed import draw_episodes, measure_perturbation
from lewm_cli.surprise.recorded import measure_surprise
from lewm_cli.surprise.result import (
    DETECTORS,
    Curve,
    Detector,
    DetectorScore,
    EpisodeCurves,
    PerturbationResult,
    PerturbedEpisode,
    SurpriseResult,
)
from lewm_cli.surprise.score import score

__all__ = [
    "DETECTORS",
    "Band",
    "Curve",
    "Detector",
    "DetectorScore",
    "EpisodeCurves",
    "PerturbationResult",
    "PerturbedEpisode",
    "SurpriseResult",
    "bands",
    "draw_episodes",
    "measure_perturbation",
    "measure_surprise",
    "score",
]
