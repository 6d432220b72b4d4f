"""Evaluation without a simulator: is a model any good, before a robot moves?"""

from typing import TYPE_CHECKING

from lewm_cli.lazy import lazy_names

if TYPE_CHECKING:
    from lewm_cli.offline.measured import OfflineClips, draw_clips, measure_offline, measured_units
    from lewm_cli.offline.offline_config import OfflineConfig
    from lewm_cli.offline.offline_result import SURE, ActionRanking, GoalRetrieval, OfflineResult, PredictionErrors
else:
    __getattr__ = lazy_names(__name__)
