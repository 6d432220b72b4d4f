"""Shows what a training would take."""

from datetime import timedelta

from rich.console import RenderableType
from rich.filesize import decimal

from lewm_cli.report.choices import preset_text
from lewm_cli.report.numbers import number
from lewm_cli.report.pieces import facts_table, plain_table
from lewm_cli.train import Forecast
from lewm_cli.train.step_memory import MEASURED


def forecast_tables(found: Forecast) -> list[RenderableType]:
    """Sizes, time, disk and memory, and the settled configuration as TOML."""
    config, duration, disk, memory = found.config, found.duration, found.disk, found.memory
    facts = facts_table(f"{found.run}, not trained: a forecast")
    beside = f" and {found.loss_parameters:,} that only the loss needs" if found.loss_parameters else ""
    facts.add_row("parameters", f"{found.parameters:,}{beside}")
    facts.add_row("clips", f"{found.train_clips:,} of {found.dataset}, {found.held_out_clips:,} more held out")
    facts.add_row("steps", f"{found.steps:,} of batch {config.optimizer.clips} ({number(found.epochs)} epochs)")
    for phase in found.phases:
        waiting = f"data {1e3 * phase.data:.1f} ms" if phase.data else "no wait for data: frames are read before"
        taken = f"update {1e3 * phase.update:.1f} ms, {waiting}; on {found.device}, {phase.measured} steps"
        whole = f"{taken}; {_time(phase.seconds)} for all {phase.steps:,}" if phase.phase else taken
        facts.add_row(f"a step of {phase.phase}" if phase.phase else "a step", whole)
    parts = f"steps {_time(duration.steps)}, held-out measurements {_time(duration.held_out)}"
    reading = f"reading all frames first {_time(duration.reading)}, " if duration.reading else ""
    facts.add_row("time", f"{_time(duration.whole)}: {reading}{parts}")
    if config.eval.every:
        facts.add_row("", f"evaluations come on top: one every {config.eval.every:,} steps")
    kinds = f"weights {decimal(disk.weights)}, resume state {decimal(disk.resume)}, log {decimal(disk.log)}"
    facts.add_row("disk", f"{decimal(disk.whole)}: {kinds}")
    facts.add_row("", f"{decimal(found.free)} are free" + ("" if disk.whole < found.free else ", which do not suffice"))
    few, more = MEASURED
    how = f"memory of {memory.device} by batch size, reckoned from steps with {few} and {more} clips"
    how += ":" if memory.device.startswith("cuda") else " (it may be a tenth more):"
    table = plain_table("batch", "memory", "")
    for batch, needed in found.batches.items():
        fits = "" if needed <= memory.available else "does not fit"
        table.add_row(str(batch), decimal(needed), fits or ("this one" if batch == config.optimizer.clips else ""))
    room = f"{decimal(memory.available)} are free for it, so that at most {memory.largest:,} clips fit."
    return [facts, how, table, f"{room}\n", preset_text(config)]


def _time(seconds: float) -> str:
    """A duration, 0:01:40 or 1 day, 2:00:00."""
    return str(timedelta(seconds=round(seconds)))
