"""Probe a run: find unseen episodes, draw frames, fit, and keep the result beside the run."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lewm_cli.data import DecodedFrames
from lewm_cli.errors import LewmError
from lewm_cli.flows import Progress
from lewm_cli.flows.results import keep_result, try_keeping
from lewm_cli.flows.unseen import find_unseen, load_world_model
from lewm_cli.heads import usual_horizon
from lewm_cli.model import resolve_device
from lewm_cli.probe import (
    PUBLISHED,
    SIZED,
    Imagination,
    OpenLoop,
    ProbeResult,
    draw_samples,
    encode,
    fit_fewer,
    fit_probes,
    kinds,
    measure_open_loop,
    probe_imagination,
    rows_before,
    score_probes,
)
from lewm_cli.store import NO_OPTIONS, ExternalWeights, Home, Say
from lewm_cli.tasks import GENERIC, find_task

PROBED_FRAMES = 10_000
"""Frames drawn unless another number is asked for."""


def probe_run(
    home: Home,
    name: str,
    say: Say,
    progress: Progress,
    *,
    dataset: str | None = None,
    frames: int | None = None,
    horizon: int | None = None,
    seed: int = 0,
    seeds: int = 1,
    sizes: tuple[int, ...] = (),
    paper: bool = False,
    device: str = "auto",
    external: ExternalWeights = NO_OPTIONS,
    show: Callable[[ProbeResult], None] = lambda result: None,
) -> tuple[ProbeResult, Path]:
    """Probes frozen latents for every quantity that the task names.

    Args:
        dataset: the recording that frames come from; the episodes that the run held out if not given.
        horizon: model steps to imagine, 0 for none; a usual number if not given, or none where episodes are too short.
        seeds: splits of the drawn frames into training and test, each with MLPs of its own, the first of `seed`.
        sizes: numbers of training frames that probes are fitted to beside all of them.
        paper: refuse a task for which the paper has no scores.
        device: of the model; the probes themselves are fitted on the CPU.

    Raises:
        LewmError: no such run or dataset, a recording that does not fit, or nothing that can be probed.
    """
    run = load_world_model(home, name, resolve_device(device), external, say)
    task = find_task(run.card.inputs.task) or GENERIC
    if paper and task.name not in PUBLISHED:
        raise LewmError(
            f"the paper has no table of probes for {task.name}, only for {', '.join(PUBLISHED)}; leave out --paper"
        )
    unseen = find_unseen(home, run, task, dataset, say)
    try_keeping(home, run)
    samples = draw_samples(
        unseen.dataset,
        task,
        unseen.episodes,
        frames=frames or PROBED_FRAMES,
        seed=seed,
        before=rows_before(run),
        frameskip=run.card.inputs.frameskip,
    )
    for target, reason in samples.left_out.items():
        say(f"left out: {target} {reason}")
    fitted_to = int(np.sum(~samples.test))
    if sizes and max(sizes) > fitted_to:
        raise LewmError(
            f"--train-frames asks for {max(sizes):,} frames, and only {fitted_to:,} of those drawn are of training "
            "episodes; ask for fewer, or draw more with --frames"
        )
    recorded = DecodedFrames(unseen.dataset, run.card.model.image_size)
    begun = time.monotonic()
    with progress("encoding", len(samples.rows), "frames") as advance:
        features = encode(run, unseen.dataset, recorded, samples, seed, advance)
    pairs = seeds * len(kinds(features)) + len(sizes) * len(SIZED)
    with progress("fitting", pairs, "pairs of probes") as advance:
        fitted = fit_probes(samples, features, seed=seed, advance=advance)
        others = {
            other: fit_probes(samples.split_anew(other), features, seed=other, advance=advance)
            for other in range(seed + 1, seed + seeds)
        }
        curves = fit_fewer(samples, features, sizes, seed=seed, advance=advance) if sizes else ()
    steps = usual_horizon(run, unseen.dataset, samples.tested) if horizon is None else horizon
    imagination: Imagination | None = None
    open_loop: OpenLoop | None = None
    if steps:
        where = (run, unseen.dataset, recorded)
        imagination = probe_imagination(*where, samples, fitted, features.view, horizon=steps, seed=seed)
        try:
            open_loop = measure_open_loop(*where, unseen.episodes, seed=seed)
        except LewmError as error:
            say(f"no open-loop errors: {error}")
    elif horizon is None:
        say(f"nothing is imagined: most episodes of {unseen.dataset.name} are shorter than its context and one step")
    result = score_probes(
        run,
        unseen.dataset,
        samples,
        features,
        fitted,
        held_out=unseen.held_out,
        begun=begun,
        seed=seed,
        others=others,
        sizes=curves,
        imagination=imagination,
        open_loop=open_loop,
    )
    show(result)
    return result, keep_result(home, run, "probe", result)
