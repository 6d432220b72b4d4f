"""`lewm view`: look at what an evaluation did, step by step and plan by plan."""

from pathlib import Path
from typing import Annotated

from lewm_cli.cli import completion, early, options
from lewm_cli.cli.options import argument, option
from lewm_cli.errors import UsageError

EXAMPLES = options.examples(
    "lewm view tworoom/delta",
    "lewm view tworoom/delta tworoom/lewm --output both.html",
    "lewm view films-one.json films-two.json --output solvers.html --open",
)


def command(
    films: Annotated[
        list[str],
        argument(
            "A run, of which the newest films are taken, or a file of films; a second one goes beside it.",
            completion.runs,
            metavar="RUN",
        ),
    ],
    output: Annotated[
        Path | None, option("The HTML file.", "RUN.run/view.html, opened", name="--output -o", metavar="FILE")
    ] = None,
    opened: options.Open = False,
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Look at the plans of an evaluation: play, pause and step through episodes and through the solver's iterations.

    One file that needs no network. Candidates by cost on the frame, the goal beside it, and the way of the episode on
    a map of the latents. lewm eval --record N says of how many pairs plans are kept. Two runs, or two solvers as files
    of films, are shown side by side on the pairs that both have.
    """
    if len(films) > 2:
        raise UsageError(f"a page shows one run, or two side by side, and here are {len(films)}; name one or two")
    where = early.find_home(home, runs=(one for one in films if not one.endswith(".json")))
    from lewm_cli.flows.view import write_view
    from lewm_cli.report import Output, view_tables, view_tree

    terminal = Output(as_json=json, quiet=quiet)
    page = write_view(where, films, output, terminal.say)
    terminal.result(view_tree(page.sides, page.path), lambda: view_tables(page.sides))
    terminal.page(page.path, opened=opened or not (output or json), what="view")
