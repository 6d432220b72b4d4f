"""Linear and MLP probes of physical quantities on frozen latents, beside references that know less."""

from lewm_cli.probe.probe_result import FEATURES, Feature, ProbeResult
from lewm_cli.probe.probes import STAGES, fit_probes, score_linear
from lewm_cli.probe.samples import ProbeSamples, draw_samples, encode

__all__ = [
    "FEATURES",
    "STAGES",
    "Feature",
    "ProbeResult",
    "ProbeSamples",
    "draw_samples",
    "encode",
    "fit_probes",
    "score_linear",
]
