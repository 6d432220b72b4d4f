"""Measure surprise along recordings: choose the run, measure, keep the result beside the run."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lewm_cli.data import Dataset, DecodedFrames, holds_frames, open_video, read_actions, require_usable
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.files import try_writing, write_text
from lewm_cli.flows import Progress
from lewm_cli.flows.beside import load_beside
from lewm_cli.flows.calibrate import calibrated_alarm, newest_alarm
from lewm_cli.flows.results import keep_result, try_keeping
from lewm_cli.flows.unseen import is_unseen, load_world_model, refuse_unfit
from lewm_cli.latent import LatentResult
from lewm_cli.model import resolve_device
from lewm_cli.plural import counted
from lewm_cli.report import ranked_episodes, surprise_csv
from lewm_cli.store import (
    NO_OPTIONS,
    ExternalWeights,
    Home,
    Run,
    Say,
    dataset_task,
    is_name,
    list_runs,
    named_task,
    names_release,
    newest_run,
    weights_digest,
)
from lewm_cli.suggestion import command, few
from lewm_cli.surprise import Alarm, DoseResult, PerturbationResult, SurpriseResult, measure_surprise
from lewm_cli.tasks import GENERIC, Task, find_task

if TYPE_CHECKING:
    import torch

FILMED = 12
"""Episodes filmed at most, unless their number was chosen."""


def surprise_run(
    home: Home,
    dataset: str,
    say: Say,
    progress: Progress,
    *,
    actions: Path | None = None,
    run: str | None = None,
    episodes: int | None = None,
    seed: int = 0,
    device: str = "auto",
    plot: Path | None = None,
    false_alarms: float | None = None,
    calibrate: str | None = None,
    fail_on_event: bool = False,
    csv: Path | None = None,
    video: Path | None = None,
    external: ExternalWeights = NO_OPTIONS,
    horizon: int = 1,
    beside: str | None = None,
    show: Callable[[SurpriseResult], None] = lambda result: None,
) -> tuple[SurpriseResult, Path, Path]:
    """Measures surprise along a recording, and stores the result under `<run>.run/results/`.

    What lies above a threshold is an event: that of the alarm that is calibrated now, or of the newest stored one.

    Args:
        dataset: a recording, by name or path; or a video, or a folder of images.
        actions: the table of the actions taken at the frames of a video.
        run: run name; the newest run that fits the recording if not given.
        episodes: at most so many; all if not given.
        plot: the SVG file to draw; beside the result if not given.
        false_alarms: the rate of an alarm that is calibrated if none of this rate is stored.
        calibrate: the recording that it is calibrated on; see `calibrated_alarm`.
        fail_on_event: refuse to measure without an alarm, so that no event can be missed.
        csv: the file of a table with a row per model step.
        video: the folder of a video per episode with events, or per episode where `episodes` is given.
        horizon: model steps to look ahead.
        beside: another run, as one more detector.

    Returns:
        the result, its file, and the file of its plot.

    Raises:
        UsageError: the plot is no SVG file; a video without its actions; actions beside a recording, which has its own;
            or no alarm where one is needed.
        LewmError: no such recording or run, one that does not fit the other, or episodes that are too short.
    """
    if calibrate is not None and false_alarms is None:
        raise UsageError("--calibrate names what --false-alarms is calibrated on; add --false-alarms 1%")
    if horizon > 1 and (false_alarms is not None or fail_on_event):
        raise UsageError("thresholds are calibrated for one step ahead; leave out --horizon")
    if csv == Path("-"):
        raise UsageError("--csv takes the name of a file; --json prints the result")
    there = resolve_device(device)
    if _is_video(home, dataset, actions):
        table = _read_table(dataset, actions, say)
        name = run or _choose_run(home, dataset, GENERIC, table.shape[1], say)
        loaded = load_world_model(home, name, there, external, say)
        recording: Dataset = open_video(Path(dataset), table, say, loaded.card.inputs.framing)
        refuse_unfit(loaded, find_task(loaded.card.inputs.task) or GENERIC, recording)
    else:
        recording = home.find_dataset(dataset, say)
        loaded = load_fitting(home, recording, run, there, external, say)
    try_plotting(home, loaded, plot)
    for target in (csv, video and video / "episode.mp4"):
        if target:
            try_writing(target)
    require_usable(recording, say)
    other = load_beside(home, beside, loaded, recording, say) if beside else None
    alarm = None if horizon > 1 else _find_alarm(home, loaded, say, progress, false_alarms, calibrate, seed)
    if alarm is None and fail_on_event:
        raise UsageError(f"--fail-on-event needs a threshold, and {loaded.name} has none: add --false-alarms 1%")
    frames = DecodedFrames(recording, loaded.card.model.image_size)
    unseen = is_unseen(loaded, recording)[:episodes]
    if not unseen.all():
        was = "was" if loaded.card.provenance else "may have been"
        say(f"note: {loaded.name} {was} trained on {np.sum(~unseen)} of these {len(unseen)} episodes")
    calibrated = alarm.calibrated if alarm and alarm.dataset.fingerprint == recording.identity.fingerprint else ()
    if same := sum(episode < len(unseen) for episode in calibrated):
        say(f"note: the threshold was calibrated on {same} of these {len(unseen)} episodes, so it fits them too well")
    with progress("measuring", len(unseen), "episodes") as advance:
        result = measure_surprise(
            loaded,
            recording,
            frames,
            range(len(unseen)),
            held_out=bool(unseen.all()),
            seed=seed,
            advance=advance,
            alarm=alarm,
            horizon=horizon,
            beside=other,
        )
    if result.left_out:
        say(f"left out: {len(result.left_out)} episodes with fewer than {result.frameskip + 1} rows")
    show(result)
    path, drawn_to = keep_plotted(home, loaded, "surprise", result, plot)
    if csv:
        write_text(csv, surprise_csv(result))
        say(f"table: {csv}")
    if video:
        _film(result, recording, video, say, progress, every=episodes is not None)
    return result, path, drawn_to


def _film(
    result: SurpriseResult, recording: Dataset, folder: Path, say: Say, progress: Progress, *, every: bool
) -> None:
    """Films the episodes that are worth it, and says how many of how many."""
    from lewm_cli.report.surprise_film import film_surprise  # late: matplotlib

    eventful, which = {event.episode for event in result.events}, "of the highest peaks"
    found = [one.episode for one in (result.episodes if every else ranked_episodes(result))]
    if result.threshold and not every:
        found, which = [episode for episode in found if episode in eventful], "with events"
    filmed = found if every else found[:FILMED]
    if not filmed:
        say("no video: no episode has an event; --episodes N films the first N")
        return
    with progress("filming", int(recording.lengths[filmed].sum()), "frames") as advance:
        film_surprise(result, recording, filmed, folder, advance)
    of = f"{len(filmed)} of " if len(filmed) < len(found) else ""
    say(f"videos: {folder} ({of}{counted(len(found), 'episode')}" + (")" if every else f" {which})"))


def _find_alarm(
    home: Home, run: Run, say: Say, progress: Progress, false_alarms: float | None, calibrate: str | None, seed: int
) -> Alarm | None:
    if false_alarms is not None:
        alarm = calibrated_alarm(home, run, say, progress, false_alarms=false_alarms, calibrate=calibrate, seed=seed)
        say(f"{alarm}")
        return alarm
    stored = newest_alarm(home, run)
    if stored:
        say(f"{stored} (stored; --false-alarms chooses another)")
    return stored


def load_fitting(
    home: Home, recording: Dataset, run: str | None, device: "torch.device", external: ExternalWeights, say: Say
) -> Run:
    """Loads the named run, or the newest that fits a recording; a world model, with its threads set.

    Raises:
        LewmError: no such run, one that does not fit the recording, or a policy.
    """
    width = recording.actions.shape[1]
    name = run or _choose_run(home, recording.name, dataset_task(recording), width, say)
    loaded = load_world_model(home, name, device, external, say)
    refuse_unfit(loaded, find_task(loaded.card.inputs.task) or GENERIC, recording)
    return loaded


def try_plotting(home: Home, run: Run, plot: Path | None) -> None:
    """Tries whether a result and its plot can be written, before it is measured.

    Raises:
        UsageError: the plot is no SVG file.
        LewmError: one of them cannot be written.
    """
    if plot and plot.suffix != ".svg":
        raise UsageError(f"{str(plot)!r} does not end in .svg, and that is what plots are drawn as")
    try_keeping(home, run)
    if plot:
        try_writing(plot)


def keep_plotted(
    home: Home,
    run: Run,
    kind: str,
    result: SurpriseResult | PerturbationResult | DoseResult | LatentResult,
    plot: Path | None,
) -> tuple[Path, Path]:
    """Stores a result and draws it, beside it unless another SVG file is named; the paths of both."""
    path = keep_result(home, run, kind, result)
    from lewm_cli.report.plain_svg import result_svg  # late: matplotlib

    drawn_to = plot or path.with_suffix(".svg")
    write_text(drawn_to, result_svg(result))
    return path, drawn_to


def _is_video(home: Home, name: str, actions: Path | None) -> bool:
    """Tells a video from a recording; raises UsageError for a recording with other actions than its own."""
    path = Path(name)
    named = actions is None and path.is_dir() and is_name(name) and home.dataset_file(name)
    if not named and holds_frames(path):
        return True
    if actions is not None:
        home.find_dataset(name)  # says first if there is none
        raise UsageError(f"--actions is for videos, and {name} is a recording with its own; leave it out")
    return False


def _read_table(name: str, actions: Path | None, say: Say) -> np.ndarray:
    """Reads the actions of a video; raises UsageError if none are named."""
    if actions is None:
        raise UsageError(
            f"{name} holds frames only, and surprise needs the actions taken at them: add --actions FILE, a CSV, npz "
            "or Parquet file with one row per frame"
        )
    return read_actions(actions, say)


def _choose_run(home: Home, dataset: str, task: Task, width: int, say: Say) -> str:
    """Chooses the newest run of the recording's task; of any task where the recording names none and nothing else fits.

    Runs of lewm come first, then those of other tools that can be fed, then the released weights; never a policy.
    """
    runs = [run for run in list_runs(home) if run.problem is None and run.imagines]
    own = [(run, run.card.inputs) for run in runs if run.card]
    measured = [(run, run.statistics) for run in runs if run.statistics]
    others = [(run, known.inputs) for run, known in measured if known.weights_sha256 == weights_digest(run.path)]
    for candidates, whose in ((own, ""), (others, " that another tool made")):
        same_width = [(run, inputs) for run, inputs in candidates if inputs.actions.dim == width]
        fitting = [run for run, inputs in same_width if inputs.task == task.name]
        chosen = fitting or ([run for run, _ in same_width] if task is GENERIC else [])
        if chosen:
            newest = newest_run(chosen, say)
            which = f"the newest run of {task.name}" if fitting else f"the newest run with {width} action dimensions"
            say(f"run: {newest.name}, {which}{whose} (--run chooses another)")
            return newest.name
    if task.released_dataset and home.dataset_file(task.released_dataset):  # its statistics can be computed
        for run in runs:
            if names_release(run.name) and named_task(run.name) is task:
                say(f"run: {run.name}, the released weights of {task.name} (--run chooses another)")
                return run.name
    trained_on = "RECORDING" if holds_frames(Path(dataset)) else dataset
    listed = [f"{run.name} ({inputs.task}, {inputs.actions.dim})" for run, inputs in (*own, *others)]
    there = few(listed, command("ls"))
    raise LewmError(
        f"no run fits {dataset} ({task.name}, {width} action dimensions); there is {there or 'no run yet'}; "
        f"train one: {command('train', task.name if task.make_simulator else trained_on)}"
    )
