"""`lewm rm`: removes runs and datasets of the home."""

import sys
from typing import Annotated

import typer

from lewm_cli import suggestion
from lewm_cli.cli import completion, options
from lewm_cli.cli.options import argument, option

EXAMPLES = options.examples(
    "lewm rm tworoom/delta-2", "lewm rm tworoom/delta tworoom/demos --dry-run", "lewm rm tworoom/demos --dataset --yes"
)


def command(
    names: Annotated[
        list[str], argument("Names of runs and datasets.", completion.runs, completion.recordings, metavar="NAME")
    ],
    run: Annotated[bool, option("The run, where a dataset has the same name.", name="--run")] = False,
    dataset: Annotated[bool, option("The dataset, where a run has the same name.", name="--dataset")] = False,
    dry_run: Annotated[bool, option("Only show what would go.", name="--dry-run")] = False,
    yes: Annotated[bool, option("Do not ask.", name="--yes -y")] = False,
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove runs with everything measured on them, or datasets.

    What goes is shown first, and asked about. Nothing outside the home that takes the writes is touched.
    """
    from lewm_cli.errors import LewmError, UsageError
    from lewm_cli.flows.rm import plan_removals, remove_all
    from lewm_cli.report import Output, removal_tables, removal_text, removal_tree
    from lewm_cli.store import Home

    if run and dataset:
        raise UsageError("--run and --dataset exclude each other; type the command once for each")
    output = Output(as_json=json, quiet=quiet)
    where = Home.locate(home)
    removals = plan_removals(where, names, "run" if run else "dataset" if dataset else None)
    if not (dry_run or yes or sys.stdin.isatty()):
        raise LewmError(
            "nothing is removed without an answer, and this is no terminal; add --yes, or --dry-run to look"
        )
    if dry_run:
        output.result(removal_tree(removals, removed=False), lambda: removal_tables(removals))
        return
    if not json:
        output.result(None, lambda: removal_tables(removals))
    what = f"{suggestion.few(removal.name for removal in removals)} ({removal_text(removals)})"
    if not yes and not typer.confirm(f"remove {what}?", err=True):
        if json:
            output.result(removal_tree(removals, removed=False), list)
        output.say("nothing was removed")
        return
    remove_all(where, removals, output.say)
    if json:
        output.result(removal_tree(removals, removed=True), list)
    output.say(f"removed {what}")
