"""Probe a run: find unseen episodes, draw frames, fit, and keep the result beside the run."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lewm_cli.data import open_frames
from lewm_cli.flows.progress import Progress
from lewm_cli.flows.results import keep_result
from lewm_cli.flows.unseen import find_unseen
from lewm_cli.model import resolve_device
from lewm_cli.probe import STAGES, ProbeResult, draw_samples, encode, probe
from lewm_cli.store import NOTHING_SAID, Foreign, Home, load_run
from lewm_cli.tasks import GENERIC, find_task

PROBED_FRAMES = 10_000
"""How many are drawn unless another number is asked for."""


@dataclass(frozen=True)
class ProbeRequest:
    """What to probe.

    Args:
        run: run name.
        dataset: where frames come from; the episodes that the run held out if not given.
        frames: how many frames to draw; 10,000 if not given.
        seed: of the draw and the probes.
        device: auto, cpu, cuda or mps; the probes themselves are fitted on the CPU.
        foreign: how weights of another tool are read.
    """

    run: str
    dataset: str | None
    frames: int | None
    seed: int
    device: str
    foreign: Foreign = NOTHING_SAID


@dataclass(frozen=True)
class Probed:
    """A result and where it was stored."""

    result: ProbeResult
    path: Path


def probe_run(home: Home, request: ProbeRequest, say: Callable[[str], None], progress: Progress) -> Probed:
    """Probe frozen latents for every quantity that the task names.

    Args:
        home: where the run and the recording lie.
        request: what to probe.
        say: told what was chosen on the user's behalf.
        progress: shows frames encoded and probes fitted.

    Raises:
        LewmError: no such run or dataset, a recording that does not fit, or nothing that can be probed.
    """
    device = resolve_device(request.device)
    run = load_run(home, request.run, device, foreign=request.foreign, say=say)
    run.use_threads()
    task = find_task(run.card.inputs.task) or GENERIC
    unseen = find_unseen(home, run, task, request.dataset, say)
    samples = draw_samples(
        unseen.dataset, task, unseen.episodes, frames=request.frames or PROBED_FRAMES, seed=request.seed
    )
    for name, reason in samples.left_out.items():
        say(f"left out: {name} {reason}")
    size = run.card.model.image_size
    frames = open_frames(unseen.dataset, size, home.cache)
    begun = time.monotonic()
    with progress("encoding", len(samples.rows), "frames") as advance:
        features = encode(run, frames, samples.rows, ~samples.test, request.seed, advance)
    with progress("fitting", STAGES, "probes") as advance:
        result = probe(
            run,
            unseen.dataset,
            samples,
            features,
            held_out=unseen.held_out,
            begun=begun,
            seed=request.seed,
            advance=advance,
        )
    return Probed(result, keep_result(home, run, "probe", result))
