"""`lewm ls`: what there is."""

from lewm_cli.cli import options

EXAMPLES = options.examples("lewm ls", "lewm ls --home /data/worlds", "lewm ls --json")


def command(home: options.Home = None, json: options.Json = False, quiet: options.Quiet = False) -> None:
    """List datasets and runs with their sizes."""
    from lewm_cli.report import Output, inventory_tables, inventory_tree
    from lewm_cli.store import Home, take_inventory

    output = Output(as_json=json, quiet=quiet)
    where = Home.locate(home)
    inventory = take_inventory(where)
    output.say(f"home: {where.write}")
    for remark in where.unreadable():
        output.say(f"note: {remark}")
    output.result(inventory_tree(inventory), lambda: inventory_tables(inventory))
