"""What frozen latents know: linear and MLP probes of physical quantities, beside references that know less."""

from lewm_cli.probe.features import Features, encode
from lewm_cli.probe.probe import STAGES, probe
from lewm_cli.probe.result import FEATURES, Feature, ProbePoint, ProbeResult, ProbeScore, TargetResult
from lewm_cli.probe.samples import ProbeSamples, draw_samples

__all__ = [
    "FEATURES",
    "STAGES",
    "Feature",
    "Features",
    "ProbePoint",
    "ProbeResult",
    "ProbeSamples",
    "ProbeScore",
    "TargetResult",
    "draw_samples",
    "encode",
    "probe",
]
