"""The page of a run, made from what is stored beside it."""

from dataclasses import dataclass
from pathlib import Path

from lewm_cli.errors import LewmError
from lewm_cli.files import try_writing, write_text
from lewm_cli.flows.results import results_folder, stored_results
from lewm_cli.report import RunReport, next_commands
from lewm_cli.store import Home, Run, StoredResults, load_run


@dataclass(frozen=True)
class Page:
    """A page that was drawn, and its file."""

    report: RunReport
    path: Path


def write_report(home: Home, name: str, output: Path | None = None) -> Page:
    """Draw the page of a run from its stored results, at `<run>.run/report.html` if no file is given.

    Raises LewmError if there is no such run, nothing was measured on it, or the file cannot be written.
    """
    run = load_run(home, name)
    if output and output.is_dir():
        raise LewmError(f"{output} is a folder; name the HTML file in it: --output {output / 'report.html'}")
    results = stored_results(home, run)
    if not results.measurements:
        commands = next_commands(RunReport.of(run, results))
        first = commands.evaluate or commands.offline
        raise LewmError(f"nothing was measured on {name} yet, so there is nothing to report; start with: {first}")
    path = output or results_folder(home, run).parent / "report.html"
    try_writing(path)
    return draw_page(run, results, path)


def draw_page(run: Run, results: StoredResults, path: Path) -> Page:
    """Draw the newest of each kind of results; raises LewmError if the file cannot be written."""
    from lewm_cli.report.page import render_page  # late: matplotlib

    report = RunReport.of(run, results)
    write_text(path, render_page(report))
    return Page(report, path)
