"""Training: its progress, a bar on a terminal and a line per event otherwise."""

from collections.abc import Mapping
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from lewm_cli.plural import counted
from lewm_cli.report.numbers import number
from lewm_cli.report.output import Output
from lewm_cli.train import (
    HeldOut,
    HeldOutLatents,
    HeldOutMeasured,
    Noted,
    StepsTaken,
    SuccessMeasured,
    TrainingEvent,
    TrainingStarted,
    Warned,
)


class TrainingView:
    """A listener that prints; enter it around the training, so that its bar ends when training does."""

    def __init__(self, output: Output) -> None:
        self.output = output
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TimeElapsedColumn())
        self._bar = Progress(*columns, TextColumn("ETA"), TimeRemainingColumn())
        self._task = self._bar.add_task("", start=False)
        self._live = Live(self._bar, console=output.notes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._live.is_started:
            self._live.stop()

    def __call__(self, event: TrainingEvent) -> None:
        match event:
            case TrainingStarted():
                self.output.say(_started(event))
                if self.output.notes.is_terminal:
                    self._live.start()
                    self._bar.update(self._task, total=event.total_steps, completed=event.first_step)
                    self._bar.start_task(self._task)
            case StepsTaken() if self.output.notes.is_terminal:
                self._bar.update(self._task, completed=event.step)
                self._live.update(Group(Text(f"{_losses(event)}\n{_speed(event)}"), self._bar))
            case StepsTaken():
                progress = f"step {event.step:>6}/{event.total_steps}"
                self.output.say(f"{progress}  {_losses(event)}  {_speed(event)}  ETA {_clock(event.eta_seconds)}")
            case HeldOutMeasured():
                self.output.say(f"held out at {event.step}: {_held_out(event.held_out)}")
            case SuccessMeasured():
                self.output.say(f"evaluated at {event.step}: {_success(event)}")
            case Noted():
                self.output.say(event.message)
            case Warned():
                self.output.say(f"warning: {event.message}")


def _started(event: TrainingStarted) -> str:
    whole = f" ({counted(event.held_out_episodes, 'whole episode')})" if event.held_out_episodes else ""
    resumed = f", from step {event.first_step}" if event.first_step else ""
    return (
        f"training {event.run} on {event.device}: {event.parameters:,} parameters, {event.train_clips:,} clips, "
        f"{event.held_out_clips:,} held out{whole}{resumed}"
    )


def _losses(event: StepsTaken) -> str:
    return f"loss {number(event.loss)}  {_parts(event.parts)}lr {event.lr:.1e}"


def _speed(event: StepsTaken) -> str:
    data, update = event.data_seconds * 1e3, event.update_seconds * 1e3
    return f"data {data:.0f} ms  update {update:.0f} ms  {event.clips_per_second:.0f} clips/s"


def _held_out(held_out: HeldOut) -> str:
    if not isinstance(held_out, HeldOutLatents):
        return _parts(held_out.parts).rstrip()
    straight = "" if held_out.straightness is None else f"  straightness {held_out.straightness:.2f}"
    return (
        f"prediction {number(held_out.prediction)} (copying the last latent {number(held_out.copying)})  "
        f"{_parts(held_out.parts)}latents: std/dim {held_out.std:.2f} (least {held_out.std_min:.2f})  "
        f"effective rank {held_out.effective_rank:.1f}  cosine {held_out.cosine:.2f}{straight}"
    )


def _success(event: SuccessMeasured) -> str:
    positions = "".join(f"R2 {name} {estimate.value:.2f}  " for name, estimate in event.positions.items())
    best = "  best so far, kept" if event.best else ""
    return f"success {event.success} (random {event.random})  {positions}{event.seconds:.0f} s{best}"


def _parts(parts: Mapping[str, float]) -> str:
    """Parts of a loss, whose sizes may be anything, each followed by two spaces."""
    return "".join(f"{name} {number(value)}  " for name, value in parts.items())


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
