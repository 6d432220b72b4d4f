"""Violation of expectation: the distance of the next latent from the predicted one."""

from lewm_cli.surprise.alarm import (
    Alarm,
    TooFewError,
    conformal_threshold,
    draw_calibrating,
    find_events,
    needed_episodes,
    share,
)
from lewm_cli.surprise.dose_result import DetectorDoses, DoseResult
from lewm_cli.surprise.doses import measure_doses
from lewm_cli.surprise.frame_ranges import FrameRanges
from lewm_cli.surprise.measure import measure_alarm, measure_surprise
from lewm_cli.surprise.perturbation_result import Band, DetectorScore, PerturbationResult, bands, correct
from lewm_cli.surprise.perturbed import Staging, draw_episodes, measure_perturbation
from lewm_cli.surprise.surprise_result import (
    DETECTORS,
    BesideRun,
    Detector,
    EpisodeCurves,
    Event,
    SurpriseResult,
    Threshold,
)
from lewm_cli.surprise.surprise_stream import SurpriseStep, SurpriseStream
