"""Violation of expectation: the distance of the next latent from the predicted one."""

from lewm_cli.surprise.measure import draw_episodes, measure_perturbation, measure_surprise
from lewm_cli.surprise.surprise_result import (
    DETECTORS,
    Band,
    Detector,
    EpisodeCurves,
    PerturbationResult,
    SurpriseResult,
    bands,
)

__all__ = [
    "DETECTORS",
    "Band",
    "Detector",
    "EpisodeCurves",
    "PerturbationResult",
    "SurpriseResult",
    "bands",
    "draw_episodes",
    "measure_perturbation",
    "measure_surprise",
]
