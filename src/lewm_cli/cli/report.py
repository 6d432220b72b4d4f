"""`lewm report`: everything about a run on one page."""

from pathlib import Path
from typing import Annotated

from lewm_cli.cli import early, options
from lewm_cli.cli.options import option

EXAMPLES = options.examples(
    "lewm report tworoom/delta --open",
    "lewm report tworoom/delta --output tworoom.html",
    "lewm report tworoom/delta --json",
)


def command(
    run: options.Run,
    output: Annotated[
        Path | None, option("The HTML file.", "RUN.run/report.html", name="--output -o", metavar="FILE")
    ] = None,
    opened: options.Open = False,
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw a self-contained page from the stored results of a run: the newest of each kind.

    One file that needs no network. Nothing is measured anew.
    """
    where = early.find_home(home, runs=[run])
    from lewm_cli.flows.report import write_report
    from lewm_cli.report import Output, next_commands, report_tables, report_tree

    terminal = Output(as_json=json, quiet=quiet)
    page = write_report(where, run, output)
    terminal.result(report_tree(page.report, page.path), lambda: report_tables(page.report))
    terminal.page(page.path, opened=opened)
    commands = next_commands(page.report)
    for line in (commands.view if page.report.films else None, commands.demo):
        if line:
            terminal.say(f"next: {line}")
