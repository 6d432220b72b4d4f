"""Violation of expectation: the distance of the next latent from the predicted one."""

from lewm_cli.surprise.alarm import Alarm, Event, conformal_threshold, find_events
from lewm_cli.surprise.dose_result import DetectorDoses, DoseResult
from lewm_cli.surprise.doses import measure_doses
from lewm_cli.surprise.perturbation_result import Band, DetectorScore, PerturbationResult, bands, correct
from lewm_cli.surprise.perturbed import draw_episodes, measure_perturbation
from lewm_cli.surprise.recorded import measure_surprise
from lewm_cli.surprise.surprise_result import DETECTORS, BesideRun, Detector, EpisodeCurves, SurpriseResult

__all__ = [
    "DETECTORS",
    "Alarm",
    "Band",
    "BesideRun",
    "Detector",
    "DetectorDoses",
    "DetectorScore",
    "DoseResult",
    "EpisodeCurves",
    "Event",
    "PerturbationResult",
    "SurpriseResult",
    "bands",
    "conformal_threshold",
    "correct",
    "draw_episodes",
    "find_events",
    "measure_doses",
    "measure_perturbation",
    "measure_surprise",
]
