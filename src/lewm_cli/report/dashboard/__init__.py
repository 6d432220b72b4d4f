"""Training on dashboards: listeners that pass its numbers and pictures on to TensorBoard, Weights & Biases or trackio.

Their packages take seconds to import, so each is imported when its dashboard is opened.
"""

from lewm_cli.report.dashboard.board import LoggedRun
from lewm_cli.report.dashboard.dashboard import Dashboard

__all__ = ["Dashboard", "LoggedRun"]
