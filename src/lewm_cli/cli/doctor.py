"""`lewm doctor`: checks this machine."""

from lewm_cli.cli import options

EXAMPLES = options.examples("lewm doctor", "lewm doctor --home /data/worlds", "lewm doctor --json > machine.json")


def command(home: options.Home = None, json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Say what works on this machine, what does not, and what to type; exit code 1 if TwoRoom cannot work."""
    from lewm_cli.doctor import check_imports, check_machine
    from lewm_cli.errors import LewmError

    check_imports()
    from lewm_cli.report import Output, checkup_tables, checkup_tree

    output = Output(as_json=json, quiet=quiet)
    checkup = check_machine(home, output.say)
    output.result(checkup_tree(checkup), lambda: checkup_tables(checkup))
    if checkup.broken:
        raise LewmError(f"broken here: {', '.join(checkup.broken)}; what to type is said with the result")
