"""Rates, differences and estimates with 95 % intervals that know which values share an episode, and which a seed."""

from lewm_cli.statistics.bootstrap import Clusters, draw_clusters, percentile_interval
from lewm_cli.statistics.difference import Difference, holm, mcnemar
from lewm_cli.statistics.estimate import Estimate
from lewm_cli.statistics.r2 import estimate_r2
from lewm_cli.statistics.rate import Rate

__all__ = [
    "Clusters",
    "Difference",
    "Estimate",
    "Rate",
    "draw_clusters",
    "estimate_r2",
    "holm",
    "mcnemar",
    "percentile_interval",
]
