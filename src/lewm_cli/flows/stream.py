"""Follow surprise while frames are taken: from Python, or along a pipe or a folder that grows."""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lewm_cli.data import follow_actions, followed_frames, middle_square, piped_frames, read_actions
from lewm_cli.errors import LewmError, StoppedError, UsageError
from lewm_cli.flows.calibrate import newest_alarm
from lewm_cli.flows.stored_run import StoredRun, load
from lewm_cli.model import resolve_device
from lewm_cli.plural import counted
from lewm_cli.store import NO_OPTIONS, ExternalWeights, Home, Run, Say, load_run
from lewm_cli.suggestion import command
from lewm_cli.surprise import SurpriseStep, SurpriseStream

PIPED = "-"
"""In the place of a path: what comes through stdin."""

Show = Callable[[SurpriseStep], None]


class Surprise(SurpriseStream):
    """Tells how far every next latent lies from the predicted one, one frame in and one number out.

    The numbers are those of `lewm surprise` along a recording of the same frames, to the last bit on the same device
    and with as many threads.

    Args:
        run: name or path of a run, which then computes on the CPU; or what `lewm_cli.load` returned. Its newest alarm,
            if there is one, gives the threshold.

    Raises:
        LewmError: there is no such run, it cannot be loaded strictly, or it is a policy.
    """

    def __init__(self, run: str | Path | Run) -> None:
        loaded = run if isinstance(run, Run) else load(run)
        alarm = newest_alarm(loaded.home if isinstance(loaded, StoredRun) else Home.locate(), loaded)
        super().__init__(loaded, alarm.threshold if alarm else None, loaded.card.inputs.framing)


@dataclass
class Followed:
    """A stream so far.

    Args:
        events: runs of steps above the threshold.
        last: the newest step.
        peak: the step of the highest surprise.
    """

    frames: int = 0
    steps: int = 0
    events: int = 0
    last: SurpriseStep | None = None
    peak: SurpriseStep | None = None

    def add(self, found: SurpriseStep) -> None:
        """Count one more step."""
        self.steps += 1
        self.events += bool(found.event) and not (self.last and self.last.event)
        self.last = found
        if found.surprise is not None and (self.peak is None or found.surprise > (self.peak.surprise or 0)):
            self.peak = found

    def __str__(self) -> str:
        parts = [f"{counted(self.frames, 'frame')}, {counted(self.steps, 'step')}"]
        if self.peak:
            parts.append(f"highest surprise {self.peak.surprise:.4g} at row {self.peak.row}")
        if self.last and self.last.threshold is not None:
            parts.append(f"{counted(self.events, 'event')} above {self.last.threshold:.4g}")
        return "; ".join(parts)


def stream_surprise(
    home: Home,
    source: str,
    say: Say,
    show: Show,
    *,
    actions: Path | None,
    run: str | None,
    size: str | None = None,
    fail_on_event: bool = False,
    device: str = "auto",
    external: ExternalWeights = NO_OPTIONS,
) -> Followed:
    """Measures surprise while frames come; nothing is stored.

    Args:
        source: `-` for raw RGB frames on stdin, or a folder that takes one image after the other.
        show: called with every step as it comes.
        actions: a table with one row per frame; or `-` or a named pipe for lines that come with the frames.
        run: run name.
        size: of the frames on stdin, like `640x480`.
        fail_on_event: refuse to measure without an alarm, so that no event can be missed.

    Raises:
        UsageError: something that a stream needs is missing, or does not belong to it.
        LewmError: no such run; frames or actions that cannot be read, end too early, or do not fit it.
    """
    if run is None:
        raise UsageError(f"frames that come one by one do not say which run fits: add --run RUN ({command('ls')})")
    if actions is None:
        raise UsageError(
            "surprise needs the actions taken at the frames: add --actions FILE, a table with one row per frame, or "
            "--actions - for lines on stdin where the frames come from a folder"
        )
    live = str(actions) == PIPED or actions.is_fifo()
    frames = _find_frames(source, size, actions)
    table = None if live else read_actions(actions, say)
    loaded = load_run(home, run, resolve_device(device), external=external, say=say)
    loaded.require_world_model()
    loaded.prepare_proprio(None)  # refuses a run that takes it: a stream has none
    loaded.use_threads()
    alarm, followed = newest_alarm(home, loaded), Followed()
    if alarm is None and fail_on_event:
        again = command("surprise", "RECORDING", "--run", loaded.name, "--false-alarms", "1%")
        raise UsageError(f"--fail-on-event needs a threshold, and {loaded.name} has none; calibrate one: {again}")
    stream = SurpriseStream(loaded, alarm.threshold if alarm else None, loaded.card.inputs.framing)
    try:
        _follow(stream, frames, _lines(actions, say) if table is None else iter(table), followed, show, say)
    except (LewmError, StoppedError):
        say(str(followed))
        raise
    say(str(followed))
    if table is not None and len(table) > followed.frames:
        say(f"note: {len(table) - followed.frames} of {len(table)} actions are left over; begin both at the same time")
    return followed


def _find_frames(source: str, size: str | None, actions: Path) -> Iterator[np.ndarray]:
    if source != PIPED:
        if size is not None:
            raise UsageError("--size is for raw frames on stdin, and images say theirs; leave it out")
        if not Path(source).is_dir():
            raise UsageError(f"--follow is for a folder that takes one image after the other, and {source} is none")
        return followed_frames(Path(source))
    if str(actions) == PIPED:
        raise UsageError("stdin cannot bring both frames and actions; give one of them as a file or a named pipe")
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size or "", re.ASCII)
    if not found:
        said = "raw frames do not say their size" if size is None else f"{size!r} is no size in pixels"
        raise UsageError(f"{said}: add --size WxH, like --size 640x480")
    if sys.stdin.isatty():
        raise UsageError(
            "nothing comes through stdin; pipe frames into it: ffmpeg ... -f rawvideo -pix_fmt rgb24 - | lewm"
        )
    return piped_frames(sys.stdin.buffer, int(found[1]), int(found[2]))


def _lines(actions: Path, say: Say) -> Iterator[np.ndarray]:
    """Actions line by line, as somebody writes them."""
    if str(actions) == PIPED:
        yield from follow_actions(sys.stdin, Path("stdin"), say)
        return
    with actions.open(encoding="utf-8") as file:
        yield from follow_actions(file, actions, say)


def _follow(
    stream: SurpriseStream,
    frames: Iterator[np.ndarray],
    actions: Iterator[np.ndarray],
    followed: Followed,
    show: Show,
    say: Say,
) -> None:
    """Take every frame and the action at it; every frameskip-th frame is embedded, as in a recording."""
    inputs, name = stream.run.card.inputs, stream.run.name
    block: list[np.ndarray] = []
    for frame in frames:
        row, followed.frames = followed.frames, followed.frames + 1
        if row:
            action = next(actions, None)
            if action is None:
                raise LewmError(f"frame {row + 1} came, and only {row - 1} actions: as many are needed, or one fewer")
            if action.shape != (inputs.actions.dim,):
                given = f"row {row} of the actions has {counted(len(action), 'number')}"
                raise LewmError(f"{given}, and {name} takes {counted(inputs.actions.dim, 'action dimension')}")
            block.append(action)
        elif stream.framing:
            say(f"frames: {frame.shape[1]} x {frame.shape[0]}; those of the recording's camera: {stream.framing}")
        elif frame.shape[0] != frame.shape[1]:
            say(f"frames: {frame.shape[1]} x {frame.shape[0]}, of which the square in the middle is taken")
        if row % inputs.frameskip == 0:
            found = stream.update(frame if stream.framing else middle_square(frame), block or None)
            block.clear()
            if row:
                followed.add(found)
                show(found)
    if not followed.steps:
        raise LewmError(
            f"the stream ended after {counted(followed.frames, 'frame')}, but one step of {name} needs "
            f"{inputs.frameskip + 1}, and the {inputs.frameskip} actions between them"
        )
