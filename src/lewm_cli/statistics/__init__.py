"""Rates, differences and estimates with 95 % intervals that know which values share an episode, and which a seed."""

from lewm_cli.statistics.bootstrap import percentile_interval
from lewm_cli.statistics.break_even import BreakEven
from lewm_cli.statistics.estimate import Estimate, estimate_r2
from lewm_cli.statistics.rate import Difference, Rate, holm
