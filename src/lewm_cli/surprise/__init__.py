"""Violation of expectation: the distance of the next latent from the predicted one."""

from lewm_cli.surprise.bands import Band, bands
from lewm_cli.surprise.detector_score import DetectorScore
from lewm_cli.surprise.perturbed import draw_episodes, measure_perturbation
from lewm_cli.surprise.recorded import measure_surprise
from lewm_cli.surprise.surprise_result import (
    DETECTORS,
    Curve,
    Detector,
    EpisodeCurves,
    PerturbationResult,
    PerturbedEpisode,
    SurpriseResult,
)

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
]
