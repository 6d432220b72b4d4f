"""Control: actors that turn frames and goals into actions."""

from lewm_cli.control.planner_settings import nondeterminism, single_planner, task_planner

__all__ = ["nondeterminism", "single_planner", "task_planner"]
