"""Evaluate a run without a simulator: find unseen episodes, measure, and keep the result beside the run."""

import time
from collections.abc import Callable
from pathlib import Path

from lewm_cli.config import Layer, merge_layers
from lewm_cli.data import DecodedFrames
from lewm_cli.flows import Progress
from lewm_cli.flows.results import keep_result, try_keeping
from lewm_cli.flows.unseen import find_unseen
from lewm_cli.model import WorldModel, resolve_device
from lewm_cli.offline import OfflineConfig, OfflineResult, draw_clips, measure_offline, measured_units
from lewm_cli.store import NO_OPTIONS, ExternalWeights, Home, Say, load_run
from lewm_cli.tasks import GENERIC, find_task


def evaluate_offline(
    home: Home,
    name: str,
    say: Say,
    progress: Progress,
    *,
    dataset: str | None = None,
    settings: tuple[Layer, ...] = (),
    device: str = "auto",
    external: ExternalWeights = NO_OPTIONS,
    show: Callable[[OfflineResult], None] = lambda result: None,
) -> tuple[OfflineResult, Path]:
    """Measures on recorded episodes how well a run predicts, ranks actions and finds goals.

    Args:
        dataset: the recording to measure on; the episodes that the run held out if not given.

    Raises:
        UsageError: settings that mean nothing here.
        LewmError: no such run or dataset, a recording that does not fit, or too few or too short episodes.
    """
    merged = merge_layers(list(settings))
    config = OfflineConfig.build(merged.tree, merged.source)
    run = load_run(home, name, resolve_device(device), external=external, say=say)
    run.use_threads()
    task = find_task(run.card.inputs.task) or GENERIC
    unseen = find_unseen(home, run, task, dataset, say)
    try_keeping(home, run)
    if not isinstance(run.model, WorldModel):
        say(f"note: {run.name} is a policy: it imagines nothing, so only the ranking of its next actions is measured")
    begun = time.monotonic()
    frames = DecodedFrames(unseen.dataset, run.card.model.image_size)
    clips = draw_clips(run, unseen.dataset, frames, unseen.episodes, config)
    with progress("measuring", measured_units(clips, run), "starts") as advance:
        result = measure_offline(run, clips, config, held_out=unseen.held_out, begun=begun, advance=advance)
    show(result)
    return result, keep_result(home, run, "offline", result)
