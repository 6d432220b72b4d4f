"""What to type for the parts of a page that nothing was measured for."""

import shlex
from dataclasses import dataclass

from lewm_cli.report.run_report import RunReport
from lewm_cli.tasks import find_task


@dataclass(frozen=True)
class Commands:
    """Command lines; None where the task cannot be measured so, for want of a simulator or of known quantities."""

    plan: str | None
    probe: str | None
    surprise: str


def next_commands(report: RunReport) -> Commands:
    """The commands that would fill the page of a run."""
    task = find_task(report.card.inputs.task)
    dataset = report.evaluation.dataset if report.evaluation else report.card.dataset
    surprise = ["lewm", "surprise", dataset.name, "--run", report.name]
    if task and task.perturbations:
        surprise += ["--perturb", task.perturbations[0].name]
    return Commands(
        plan=shlex.join(["lewm", "eval", report.name]) if task and task.make_simulator else None,
        probe=shlex.join(["lewm", "probe", report.name]) if task and task.probe_targets else None,
        surprise=shlex.join(surprise),
    )
