"""The dashboards that a training is logged to: their settings, kept for `--resume`, and the listeners."""

import numpy as np
import tomli_w
import torch

from lewm_cli.config import LogConfig
from lewm_cli.data import Frames, Split
from lewm_cli.errors import LewmError
from lewm_cli.files import write_text
from lewm_cli.flows.training_job import Job
from lewm_cli.heads import read_targets
from lewm_cli.store import RunFiles, Say
from lewm_cli.train import Listener


def keep_log_settings(files: RunFiles, config: LogConfig) -> None:
    """Keep what a run is logged to in a file of its own, which `--resume` reads; none if it is logged nowhere."""
    if config.to:
        write_text(files.logging, tomli_w.dumps({"log": config.model_dump(exclude_none=True)}))
    else:
        files.logging.unlink(missing_ok=True)


def dashboards(job: Job, split: Split, frames: Frames, device: torch.device, say: Say) -> tuple[Listener, ...]:
    """A listener for each logger of the configuration."""
    task, dataset, config = job.task, job.dataset, job.config
    if not config.log.to:
        return ()
    from lewm_cli.flows.training_strips import ImaginedStrips
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
    run, strips = LoggedRun(job.name, job.files.folder, settings), None
    if config.model.latent_dim is not None:  # a policy imagines nothing
        shown = split.held_out_episodes if len(split.held_out_episodes) else np.arange(dataset.episodes)
        fitted, every = split.train.starts, config.log.pictures
        strips = ImaginedStrips(job.name, job.files, dataset, frames, fitted, shown, device, every, say)
    return tuple(Dashboard(logger, config.log, run, colorings, say, strips) for logger in config.log.to)
