"""Recordings that have no simulator: a robot's, or another tool's. They can be trained on, not evaluated."""

from pathlib import Path

from lewm_cli.tasks.task import Task

GENERIC = Task(name="generic", folder=Path(__file__).parent, title="a recording without a simulator")
