"""Training as it goes on: a line per log event, and a progress bar on a terminal."""

from lewm_cli.report.output import Output
from lewm_cli.train import (
    HeldOutMeasured,
    StepsTaken,
    TrainingEvent,
    TrainingStarted,
    Warned,
)


class TrainingView:
    """A listener that prints.

    Args:
        output: where to.
    """

    def __init__(self, output: Output) -> None:
        self.output = output

    def __call__(self, event: TrainingEvent) -> None:
        match event:
            case TrainingStarted():
                self.output.say(
                    f"training {event.run} on {event.device}: {event.parameters:,} parameters, "
                    f"{event.train_clips:,} clips, {event.held_out_clips:,} held out"
                    + (f" ({event.held_out_episodes} whole episodes)" if event.held_out_episodes else "")
                    + (f", from step {event.first_step}" if event.first_step else "")
                )
            case StepsTaken():
                self.output.say(
                    f"step {event.step:>6}/{event.total_steps}  loss {event.loss:.4f}  "
                    f"prediction {event.prediction:.4f}  SIGReg {event.sigreg:.3f}  lr {event.lr:.1e}  "
                    f"data {event.data_seconds * 1e3:.0f} ms  update {event.update_seconds * 1e3:.0f} ms  "
                    f"{event.clips_per_second:.0f} clips/s  ETA {_clock(event.eta_seconds)}"
                )
            case HeldOutMeasured():
                held = event.held_out
                self.output.say(
                    f"held out at {event.step}: prediction {held.prediction:.4f} (copying the last latent "
                    f"{held.copying:.4f})  std/dim {held.std:.2f} (least {held.std_min:.2f})  "
                    f"SIGReg {held.sigreg:.2f}  effective rank {held.effective_rank:.1f}  cosine {held.cosine:.2f}"
                )
            case Warned():
                self.output.say(f"warning: {event.message}")
            case _:
                pass


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
