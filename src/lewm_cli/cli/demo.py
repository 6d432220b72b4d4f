"""`lewm demo`: a page in which a run plans, live."""

from pathlib import Path
from typing import Annotated

import typer

from lewm_cli.cli import completion, early, options

EXAMPLES = options.examples(
    "lewm demo tworoom/delta",
    "lewm demo tworoom/delta --output page.html",
)


def command(
    run: options.Run,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The HTML file.", show_default="RUN.run/demo.html, opened"),
    ] = None,
    opened: options.Open = False,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Recording whose frames are on the latent map.",
            show_default="TwoRoom: places all over both rooms; else what the run was trained on",
            autocompletion=completion.names(completion.recordings),
        ),
    ] = None,
    stats_from: options.StatsFrom = None,
    sizes: options.Sizes = None,
    trust: options.Trust = False,
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make a page in which a run plans, live: click a goal, press play, and watch plan after plan.

    One file that needs no network.
    """
    where = early.find_home(home, runs=[run], datasets=[dataset])
    from lewm_cli.flows.demo import write_demo
    from lewm_cli.report import Output, demo_tables, demo_tree
    from lewm_cli.store import ExternalWeights

    terminal = Output(as_json=json, quiet=quiet)
    external = ExternalWeights(stats_from, trust, sizes)
    page = write_demo(where, run, output, terminal.say, dataset=dataset, external=external)
    terminal.result(
        demo_tree(page.model, demo=str(page.path), bytes=page.path.stat().st_size),
        lambda: demo_tables(page.model, page.path),
    )
    terminal.page(page.path, opened=opened or not (output or json), what="demo")
