"""`lewm plot`: curves of trainings, laid over each other."""

from pathlib import Path
from typing import Annotated

import typer

from lewm_cli.cli import completion, early, options

EXAMPLES = options.examples(
    "lewm plot tworoom/lewm",
    "lewm plot tworoom/lewm tworoom/delta --x time",
    "lewm plot tworoom/lewm --term prediction --term speed",
    "lewm plot tworoom/lewm tworoom/lewm-2 --output compared.png",
)


def command(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Run names; a run that still trains is plotted as far as it has come.",
            show_default=False,
            autocompletion=completion.names(completion.runs),
        ),
    ],
    term: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A curve like train/loss, a group like speed, or a name in all groups like prediction; may be given "
            "several times.",
            show_default="losses and the spread of the latents",
            autocompletion=completion.names(completion.curves),
        ),
    ] = None,
    x: Annotated[
        str,
        typer.Option(
            "--x",
            help="step, or time: that of training, without pauses.",
            autocompletion=completion.names(completion.words("step", "time")),
        ),
    ] = "step",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The picture: .png, .svg or .pdf.",
            show_default="RUN.run/curves.png of the first run",
        ),
    ] = None,
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Plot the training curves of runs over each other, as a picture and in the terminal.

    Every point is what the log has: a mean over the steps between two lines of it, or a measurement of held-out clips.
    """
    from lewm_cli.errors import UsageError
    from lewm_cli.suggestion import offer

    if x not in ("step", "time"):
        raise UsageError(f"--x {x} means nothing; {offer(x, ('step', 'time'), 'lewm plot --help')}")
    where = early.find_home(home)
    from lewm_cli.flows.plot import plot_runs
    from lewm_cli.report import Output, plot_tables, plot_tree

    terminal = Output(as_json=json, quiet=quiet)
    plot = plot_runs(where, runs, terminal.say, terms=term or (), axis=x, output=output)
    terminal.result(plot_tree(plot), lambda: plot_tables(plot))
    terminal.say(f"plot: {plot.path}")
