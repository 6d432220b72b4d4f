"""Violation of expectation: how far what is seen lies from what was predicted."""

from lewm_cli.surprise.bands import Band, bands
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
]
