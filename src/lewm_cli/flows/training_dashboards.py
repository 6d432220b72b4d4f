"""The dashboards that a training is logged to: their settings, kept for `--resume`, and the listeners."""

import numpy as np
import tomli_w

from lewm_cli.config import LogConfig
from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError
from lewm_cli.files import write_text
from lewm_cli.heads import read_targets
from lewm_cli.methods import TrainConfig
from lewm_cli.store import RunFiles, Say
from lewm_cli.tasks import Task
from lewm_cli.train import Listener


def keep_log_settings(files: RunFiles, config: LogConfig) -> None:
    """Keep what a run is logged to in a file of its own, which `--resume` reads; none if it is logged nowhere."""
    if config.to:
        write_text(files.logging, tomli_w.dumps({"log": config.model_dump(exclude_none=True)}))
    else:
        files.logging.unlink(missing_ok=True)


def dashboards(
    name: str, files: RunFiles, task: Task, dataset: Dataset, config: TrainConfig, say: Say
) -> tuple[Listener, ...]:
    """A listener for each logger of the configuration."""
    if not config.log.to:
        return ()
    from lewm_cli.report.dashboard import Dashboard, LoggedRun  # late: matplotlib
    from lewm_cli.report.latent_map import Coloring

    def colorings(rows: np.ndarray) -> list[Coloring]:
        """The first two quantities that the task names; where there are none, the place in the episode."""
        try:
            every_other = np.arange(len(rows)) % 2 == 0
            targets, columns, _ = read_targets(dataset, task.probe_targets[:2], rows, every_other)
        except LewmError:
            order = np.argsort(dataset.offsets)
            owners = order[np.searchsorted(dataset.offsets[order], rows, side="right") - 1]
            return [Coloring("share of the episode", (rows - dataset.offsets[owners]) / dataset.lengths[owners])]
        named = [f"{target.name} ({target.unit})" if target.unit else target.name for target in targets]
        values = (target.values(column) for target, column in zip(targets, columns, strict=True))
        return [Coloring(name, column) for name, column in zip(named, values, strict=True)]

    settings = {"task": task.name, "dataset": dataset.name} | config.model_dump(mode="json", by_alias=True)
    run = LoggedRun(name, files.folder, settings)
    return tuple(Dashboard(logger, config.log, run, colorings, say) for logger in config.log.to)
