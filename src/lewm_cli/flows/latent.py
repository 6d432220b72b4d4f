"""Measure the latent space of a run: find unseen episodes, encode, and keep the result and its plot."""

import time
from collections.abc import Callable
from pathlib import Path

from lewm_cli.data import DecodedFrames
from lewm_cli.flows import Progress
from lewm_cli.flows.surprise import keep_plotted, try_plotting
from lewm_cli.flows.unseen import find_unseen, load_world_model
from lewm_cli.latent import ENCODERS, LatentResult, draw_tracks, measure_latent
from lewm_cli.model import resolve_device
from lewm_cli.store import NO_OPTIONS, ExternalWeights, Home, Say
from lewm_cli.tasks import GENERIC, find_task

MEASURED_FRAMES = 5000
"""Frames encoded unless another number is asked for."""


def latent_run(
    home: Home,
    name: str,
    say: Say,
    progress: Progress,
    *,
    dataset: str | None = None,
    frames: int | None = None,
    seed: int = 0,
    device: str = "auto",
    plot: Path | None = None,
    external: ExternalWeights = NO_OPTIONS,
    show: Callable[[LatentResult], None] = lambda result: None,
) -> tuple[LatentResult, Path, Path]:
    """Measures the latent space of a run.

    Args:
        dataset: the recording that frames come from; the episodes that the run held out if not given.
        plot: the SVG file to draw; beside the result if not given.

    Returns:
        the result, its file, and the file of its plot.

    Raises:
        UsageError: the plot is no SVG file.
        LewmError: no such run or dataset, a policy, or a recording that does not fit.
    """
    run = load_world_model(home, name, resolve_device(device), external, say)
    task = find_task(run.card.inputs.task) or GENERIC
    unseen = find_unseen(home, run, task, dataset, say)
    try_plotting(home, run, plot)
    skip = run.card.inputs.frameskip
    tracks = draw_tracks(unseen.dataset, unseen.episodes, skip, frames=frames or MEASURED_FRAMES, seed=seed)
    recorded, begun = DecodedFrames(unseen.dataset, run.card.model.image_size), time.monotonic()
    with progress("encoding", len(ENCODERS) * len(tracks.rows), "frames") as advance:
        result = measure_latent(
            run,
            task,
            unseen.dataset,
            recorded,
            tracks,
            held_out=unseen.held_out,
            begun=begun,
            seed=seed,
            advance=advance,
        )
    for what, reason in result.left_out.items():
        say(f"left out: {what}: {reason}")
    if not any(one.method == "UMAP" for one in result.maps):
        say('no map by UMAP, only by PCA: it takes more than 15 frames, and pip install "lewm-cli[umap]"')
    show(result)
    return result, *keep_plotted(home, run, "latent", result, plot)
