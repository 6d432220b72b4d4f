"""Plot trainings from their logs, those that still run included."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lewm_cli.errors import LewmError, UsageError
from lewm_cli.files import try_writing
from lewm_cli.store import Home, RunFiles, Say
from lewm_cli.suggestion import command, few

if TYPE_CHECKING:  # late: torch and matplotlib, after everything that can be wrong with the request
    from lewm_cli.report.training_plot import Axis, TrainingPlot

FORMATS = (".png", ".svg", ".pdf")


def plot_runs(
    home: Home, names: Sequence[str], say: Say, *, terms: Sequence[str] = (), axis: "Axis" = "step", output: Path | None
) -> "TrainingPlot":
    """Lay the curves of trainings over each other and draw them, as far as they have come.

    Args:
        terms: curves or groups of them; losses and the spread of the latents if not given.
        axis: what they are drawn over.
        output: `<run>.run/curves.png` of the first run if not given.

    Raises:
        UsageError: a term means no curve, or the file is of no format that can be written.
        LewmError: there is no such run, none of them has a log, or the file cannot be written.
    """
    if output and output.suffix.lower() not in FORMATS:
        raise UsageError(f"{str(output)!r} does not end in {', '.join(FORMATS)}")
    found = dict(_find(home, name) for name in names)
    logged = {name: files for name, files in found.items() if files.log.exists()}
    if without := few(name for name in found if name not in logged):
        why = f"no log of a training: {without}; only `{command('train', 'TASK')}` leaves one"
        if not logged:
            raise LewmError(f"there is {why}")
        say(f"left out, for there is {why}")
    from lewm_cli.report.training_picture import save_picture
    from lewm_cli.report.training_plot import PlottedRun, TrainingPlot, choose_terms
    from lewm_cli.train import read_curves

    runs = tuple(PlottedRun(name, files.log, read_curves(files.log)) for name, files in logged.items())
    known = list(dict.fromkeys(curve for run in runs for curve in run.curves))
    if not known:
        raise LewmError(f"nothing has been logged yet of {few(logged)}; try again when a few steps are done")
    first, files = next(iter(logged.items()))
    path = output or home.sidecar(first, files).folder / "curves.png"
    plot = TrainingPlot(runs, choose_terms(known, terms), axis, path)
    try_writing(path)
    save_picture(plot)
    return plot


def _find(home: Home, typed: str) -> tuple[str, RunFiles]:
    """The name and the files of a run; one that has just begun has a log and no weights yet."""
    with suppress(UsageError):  # a path
        files = RunFiles(home.run_stem(typed))
        if files.log.exists():
            return typed, files
    found = home.find_run(typed)
    return found.name, found.files
