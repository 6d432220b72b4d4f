"""`lewm show`: one dataset or run in detail."""

from typing import Annotated

from lewm_cli.cli import completion, options
from lewm_cli.cli.options import argument

EXAMPLES = options.examples("lewm show tworoom/delta", "lewm show tworoom/demos", "lewm show tworoom/delta --json")


def command(
    name: Annotated[str, argument("Name of a run or a dataset.", completion.runs, completion.recordings)],
    stats_from: options.StatsFrom = None,
    sizes: options.Sizes = None,
    trust: options.Trust = False,
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show columns and episodes, or parameters, FLOPs, provenance and results."""
    from lewm_cli.data import Dataset
    from lewm_cli.flows.show import look_up
    from lewm_cli.report import Output
    from lewm_cli.store import ExternalWeights, Home

    output = Output(as_json=json, quiet=quiet)
    details = look_up(Home.locate(home), name, ExternalWeights(stats_from, trust, sizes), output.say)
    if isinstance(details, Dataset):
        from lewm_cli.report import dataset_tables, dataset_tree

        output.result(dataset_tree(details), lambda: dataset_tables(details))
    else:
        from lewm_cli.report import details_tables, details_tree

        output.result(details_tree(details), lambda: details_tables(details))
