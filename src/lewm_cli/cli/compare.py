"""`lewm compare`: is one better, on the same pairs?"""

from pathlib import Path
from typing import Annotated

from lewm_cli.cli import completion, early, options
from lewm_cli.cli.options import argument

EXAMPLES = options.examples(
    "lewm compare tworoom/delta tworoom/delta-2",
    "lewm compare tworoom/delta tworoom/delta-2 tworoom/delta-3 --plot compared.svg",
    "lewm compare one.json two.json --json",
)


def command(
    results: Annotated[
        list[str],
        argument(
            "Runs, of which the newest evaluation is taken, or files of stored evaluations; the first is what "
            "the others are compared with.",
            completion.runs,
            metavar="RESULT",
        ),
    ],
    plot: Annotated[Path | None, options.file("Draw the differences into this SVG file.")] = None,
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare stored evaluations of the same pairs: differences with intervals, and McNemar's exact test.

    Each result is compared with the first, and with the random policy on its pairs. Nothing is measured anew;
    evaluations of different pairs are refused. Runs that `lewm latent` or `lewm eval --offline` has measured have these
    results side by side as well.
    """
    where = early.find_home(home, runs=(one for one in results if not one.endswith(".json")))
    from lewm_cli.flows.compare import compare_stored
    from lewm_cli.report import Output, compared_tables, compared_tree

    output = Output(as_json=json, quiet=quiet)
    compared = compare_stored(where, results, plot, output.say)
    found = (compared.evaluations, compared.latents, compared.offline)
    output.result(compared_tree(*found), lambda: compared_tables(*found))
    if plot:
        output.say(f"plot: {plot}")
