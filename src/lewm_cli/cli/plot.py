"""`lewm plot`: curves of trainings, laid over each other."""

from pathlib import Path
from typing import Annotated

from lewm_cli.cli import completion, early, options
from lewm_cli.cli.options import argument, option

EXAMPLES = options.examples(
    "lewm plot tworoom/lewm",
    "lewm plot tworoom/lewm tworoom/delta --x time",
    "lewm plot tworoom/lewm --term prediction --term speed",
    "lewm plot tworoom/lewm tworoom/lewm-2 --output compared.png",
)


def command(
    runs: Annotated[
        list[str],
        argument(
            "Run names; a run that still trains is plotted as far as it has come.", completion.runs, metavar="RUN"
        ),
    ],
    term: Annotated[
        list[str] | None,
        option(
            "A curve like train/loss, a group like speed, or a name in all groups like prediction; may be given "
            "several times.",
            "losses and the spread of the latents",
            completion.curves,
            metavar="NAME",
        ),
    ] = None,
    x: Annotated[
        str,
        option(
            "step, or time: that of training, without pauses.", complete=completion.words("step", "time"), name="--x"
        ),
    ] = "step",
    output: Annotated[
        Path | None,
        option(
            "The picture: .png, .svg or .pdf.",
            "RUN.run/curves.png of the first run",
            name="--output -o",
            metavar="FILE",
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
