"""Calibrate the threshold above which a run's surprise is an event."""

from lewm_cli.flows.results import stored_results
from lewm_cli.store import Home, Run
from lewm_cli.surprise import Alarm


def newest_alarm(home: Home, run: Run) -> Alarm | None:
    """The newest alarm that was calibrated for a run's present weights; None if there is none."""
    return stored_results(home, run).newest(Alarm)
