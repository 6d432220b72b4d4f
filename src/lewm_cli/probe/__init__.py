"""Linear and MLP probes of physical quantities on frozen latents, beside references that know less."""

from lewm_cli.probe.imagination_result import SOURCES, Imagination, ImaginedTarget, OpenLoop, Source
from lewm_cli.probe.imagined_latents import measure_open_loop, probe_imagination
from lewm_cli.probe.probe_result import FEATURES, SIZED, Feature, ProbeResult, SampleSize, TargetResult
from lewm_cli.probe.probes import FittedProbes, fit_fewer, fit_probes, kinds, score_linear, score_probes
from lewm_cli.probe.published import PUBLISHED, SOURCE, PaperRow, PaperScores
from lewm_cli.probe.samples import ProbeSamples, draw_samples, encode, rows_before
