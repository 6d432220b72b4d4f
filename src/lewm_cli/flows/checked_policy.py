"""The policy that scripts use: it refuses frames that the newest alarm of its run calls unlike the recorded ones."""

import warnings
from pathlib import Path

import numpy.typing as npt

from lewm_cli import control
from lewm_cli.config import PlannerConfig
from lewm_cli.control import Clip, Goal, OnUnlike, task_planner
from lewm_cli.flows.anchors import prepare_anchors
from lewm_cli.flows.calibrate import newest_alarm
from lewm_cli.flows.improved import improved_planner
from lewm_cli.flows.stored_run import StoredRun, load
from lewm_cli.model import WorldModel
from lewm_cli.report import Output
from lewm_cli.store import Home, Run
from lewm_cli.suggestion import command


class Policy(control.Policy):
    """A `control.Policy` that finds by itself what is calibrated and chosen for its run.

    Args:
        run: name or path of a run, which then computes on the CPU; or what `lewm_cli.load` returned.
        planner: settings of planning; if not given, what `lewm improve` chose, or the planner of the task's protocol.
        goal, seed, clip, max_step, seconds, on_unlike, tolerance: see `control.Policy`.
        plain: plan as the task's protocol says, whatever `lewm improve` chose.

    Raises:
        LewmError: see `control.Policy`.
    """

    def __init__(
        self,
        run: str | Path | Run,
        goal: Goal,
        *,
        planner: PlannerConfig | None = None,
        seed: int = 42,
        clip: Clip = True,
        max_step: npt.ArrayLike | None = None,
        seconds: float | None = None,
        on_unlike: OnUnlike = "raise",
        tolerance: float = 1.0,
        plain: bool = False,
    ) -> None:
        loaded = run if isinstance(run, Run) else load(run)
        home = loaded.home if isinstance(loaded, StoredRun) else Home.locate()
        shown = Output(as_json=False, quiet=False)
        if planner is None and (chosen := improved_planner(home, loaded, shown.say, plain=plain)):
            planner = task_planner(loaded.card.inputs.task, chosen)
        if planner:
            prepare_anchors(home, loaded, planner, shown.say, shown.progress)
        found = None
        if on_unlike == "raise" and isinstance(loaded.model, WorldModel):
            found = newest_alarm(home, loaded)
            if found is None:
                calibrate = command("surprise", "RECORDING", "--run", loaded.name, "--false-alarms", "1%")
                warnings.warn(
                    f"no alarm of {loaded.name} is calibrated, so no frame is refused; calibrate one ({calibrate}), or "
                    "say on_unlike='ignore'",
                    stacklevel=2,
                )
        super().__init__(
            loaded,
            goal,
            planner=planner,
            seed=seed,
            clip=clip,
            max_step=max_step,
            seconds=seconds,
            on_unlike=on_unlike,
            tolerance=tolerance,
            alarm=found.frames if found else None,
        )
