"""`lewm methods`: what can be trained for."""

from lewm_cli.cli import options

EXAMPLES = options.examples(
    "lewm methods", "lewm methods --json", "lewm train tworoom --method delta --set objective.cosine=0.5"
)


def command(json: options.Json = False, quiet: options.Quiet = False) -> None:
    """List the methods of `lewm train --method`, and what can be added to them, each with its source."""
    from lewm_cli.methods import METHODS
    from lewm_cli.report import Output, method_tables, method_tree

    methods = list(METHODS.values())
    Output(as_json=json, quiet=quiet).result(method_tree(methods), lambda: method_tables(methods))
