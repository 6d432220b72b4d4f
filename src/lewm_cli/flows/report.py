"""The page of a run, made from what is stored beside it."""

from dataclasses import dataclass
from pathlib import Path

from lewm_cli.errors import LewmError
from lewm_cli.evaluate import EvalResult, FilmResult
from lewm_cli.files import write_text
from lewm_cli.flows.results import results_folder, stored_results
from lewm_cli.model import profile
from lewm_cli.report import RunReport, StoredResults
from lewm_cli.store import Home, Run, load_run
from lewm_cli.train import read_log


@dataclass(frozen=True)
class Page:
    """What was drawn, and where the page is."""

    report: RunReport
    path: Path


def write_report(home: Home, name: str, output: Path | None = None) -> Page:
    """Draw the page of a run from its stored results.

    Args:
        home: where the run lies.
        name: run name.
        output: the HTML file to write; `<run>.run/report.html` if not given.

    Raises:
        LewmError: no such run, nothing was measured on it, or the file cannot be written.
    """
    run = load_run(home, name)
    if output and output.is_dir():
        raise LewmError(f"{output} is a folder; name the HTML file in it: --output {output / 'report.html'}")
    results = stored_results(home, run)
    if results.empty:
        from lewm_cli.report.page import next_commands  # late: matplotlib

        commands = next_commands(run_report(run, results))
        first = commands.plan or commands.surprise
        raise LewmError(f"nothing was measured on {name} yet, so there is nothing to report; start with: {first}")
    return draw_page(run, results, output or results_folder(home, run).parent / "report.html")


def draw_page(run: Run, results: StoredResults, path: Path) -> Page:
    """Draw the newest of each kind of results.

    Raises:
        LewmError: the file cannot be written.
    """
    report = run_report(run, results)
    from lewm_cli.report.page import render_page  # late: matplotlib

    write_text(path, render_page(report))
    return Page(report, path)


def run_report(run: Run, results: StoredResults) -> RunReport:
    """The newest of everything; films only of the newest evaluation."""
    evaluation = results.evaluations[-1] if results.evaluations else None
    films = [film for film in results.films if evaluation and _is_of(film, evaluation)]
    return RunReport(
        name=run.name,
        card=run.card,
        parameters=sum(part.parameters for part in profile(run.model)),
        history=read_log(run.files.log),
        evaluation=evaluation,
        films=films[-1] if films else None,
        probe=results.probes[-1] if results.probes else None,
        surprise=results.surprises[-1] if results.surprises else None,
        perturbations=tuple({one.perturbation: one for one in results.perturbations}.values()),
    )


def _is_of(film: FilmResult, evaluation: EvalResult) -> bool:
    return (film.dataset, film.protocol) == (evaluation.dataset, evaluation.protocol)
