"""The page in which a run plans, as a file or served on this machine."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lewm_cli.data import Dataset, require_usable
from lewm_cli.demo import LiveEpisode, LiveModel, export_parts, fits_a_page, serve, try_port, tworoom_frames
from lewm_cli.errors import LewmError
from lewm_cli.evaluate import HELD_OUT, choose_pairs, find_protocol
from lewm_cli.evaluate.pairs import PairFilter
from lewm_cli.files import try_writing, write_text
from lewm_cli.flows import stopped_with
from lewm_cli.flows.evaluate import simulated_task
from lewm_cli.flows.improved import chosen_planner
from lewm_cli.flows.results import results_folder
from lewm_cli.flows.unseen import UnseenEpisodes, find_unseen, refuse_unfit
from lewm_cli.heads import LatentPlane
from lewm_cli.report.demo.live_page import gpu_files, render_demo, require_runtime
from lewm_cli.simulate import Pair
from lewm_cli.store import ExternalWeights, Home, Run, Say, load_run
from lewm_cli.suggestion import command
from lewm_cli.tasks import TWOROOM, Task


@dataclass(frozen=True)
class DemoPage:
    """A page that was written, and its file."""

    model: LiveModel
    path: Path


def write_demo(
    home: Home, name: str, output: Path | None, say: Say, *, dataset: str | None, external: ExternalWeights
) -> DemoPage:
    """Write the page of a run of TwoRoom, whose simulator is in it, at `<run>.run/demo.html` if no file is given.

    Args:
        dataset: a recording for the latent map; the simulator's own frames if not given.

    Raises:
        LewmError: no such run or recording, a run that a page cannot plan with, a package is missing, or the file
            cannot be written.
    """
    run, task = _find(home, name, external, say)
    if task is not TWOROOM:
        serve = command("demo", run.name, "--serve")
        raise LewmError(
            f"the simulator of {task.name} runs in Python and not in a page, so there is no file of it; serve the "
            f"page: {serve}"
        )
    path = output or results_folder(home, run).parent / "demo.html"
    try_writing(path)
    model, page = _render(run, task, _drawn_recording(home, run, task, dataset, say), say, served=False)
    write_text(path, page)
    return DemoPage(model, path)


def serve_demo(
    home: Home,
    name: str,
    port: int,
    say: Say,
    started: Callable[[LiveModel, str], None],
    *,
    dataset: str | None,
    external: ExternalWeights,
) -> None:
    """Serve the page of a run on this machine until Ctrl-C; but for TwoRoom the simulator runs here.

    Args:
        port: 0 for any that is free.
        started: gets what the page is given, and its address, once it can be opened.
        dataset: a recording for starts and goals and for the latent map; the one that the run was trained on if not
            given, and for TwoRoom none.

    Raises:
        LewmError: no such run or recording, a run that a page cannot plan with, a package is missing, or the port
            cannot be had.
        StoppedError: Ctrl-C or SIGTERM.
    """
    try_port(port)
    run, task = _find(home, name, external, say)
    if task is TWOROOM:
        recording, episode = _drawn_recording(home, run, task, dataset, say), None
    else:
        unseen = find_unseen(home, run, task, dataset, say)
        recording, episode = unseen.dataset, LiveEpisode(run, task, _pairs(task, unseen))
    files = gpu_files()
    model, page = _render(run, task, recording, say, served=episode is not None, gpu=bool(files))
    with stopped_with(lambda: "stopped; the page is served no longer"):
        serve(page, episode, port, lambda address: started(model, address), files)


def _find(home: Home, name: str, external: ExternalWeights, say: Say) -> tuple[Run, Task]:
    """Load a run that a page can plan with; raises LewmError for others."""
    require_runtime()
    run = load_run(home, name, external=external, say=say)
    videos = command("eval", run.name, "--video", "videos")
    run.require_world_model(f"there are no plans to watch; see what it does in videos: {videos}")
    task = simulated_task(run, "there is no world for it to act in, here or in a page")
    if not fits_a_page(run.card):
        films = f"{command('eval', run.name, '--record', 4)} && {command('view', run.name)}"
        raise LewmError(
            f"{run.name} ({run.method}) plans by more than one latent vector per frame, and a page by exactly that; "
            f"look at its plans instead: {films}"
        )
    if chosen := chosen_planner(home, run):
        say(f"note: the page plans by latent distance alone, and not by {chosen}, as lewm improve chose")
    return run, task


def _drawn_recording(home: Home, run: Run, task: Task, name: str | None, say: Say) -> Dataset | None:
    """The recording for a latent map of TwoRoom, if one was named; raises LewmError if it does not fit."""
    if name is None:
        return None
    dataset = home.find_dataset(name, say)
    refuse_unfit(run, task, dataset)
    require_usable(dataset, say)
    return dataset


def _pairs(task: Task, unseen: UnseenEpisodes) -> list[Pair]:
    """Starts and goals, as `lewm eval` takes them; without those solved at the start, if there are others.

    Raises LewmError if no episode is long enough, or the recording holds no states.
    """
    protocol = find_protocol(task, HELD_OUT)
    lengths = unseen.dataset.lengths[unseen.episodes]
    starts = int(np.maximum(0, lengths - protocol.offset).sum())
    if not starts:
        raise LewmError(
            f"goals lie {protocol.offset} steps ahead, and no episode of {unseen.dataset.name} that may be used is "
            f"longer (the longest has {lengths.max()} rows); name another recording with --dataset"
        )
    protocol = protocol.model_copy(update={"pairs": min(protocol.pairs, starts)})
    pairs = choose_pairs(unseen.dataset, task, unseen.episodes, protocol)
    unsolved = PairFilter(task, protocol.model_copy(update={"solved_starts": "redraw"}))
    return list(filter(unsolved, pairs)) or pairs


def _render(
    run: Run, task: Task, recording: Dataset | None, say: Say, *, served: bool, gpu: bool = False
) -> tuple[LiveModel, str]:
    """The page of a run; its latent map is of a recording, or of TwoRoom's frames."""
    run.use_threads()
    say("making the page: the networks are exported, and compared with the run")
    parts, _ = export_parts(run)
    if recording:
        plane = LatentPlane.of(run, recording)
    else:
        assert task.make_simulator is not None
        plane = LatentPlane.spanned_by(run.embed(tworoom_frames(task.make_simulator())).numpy())
    model = LiveModel.of(run, task, plane, served=served, gpu=gpu)
    return model, render_demo(model, parts)
