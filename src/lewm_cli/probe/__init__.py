"""Linear and MLP probes of physical quantities on frozen latents, beside references that know less."""

from lewm_cli.probe.probe_result import FEATURES, Feature, ProbePoint, ProbeResult, ProbeScore, TargetResult
from lewm_cli.probe.probes import STAGES, fit_probes
from lewm_cli.probe.samples import Features, ProbeSamples, draw_samples, encode

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
    "fit_probes",
]
