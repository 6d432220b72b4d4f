"""`lewm doctor`: what works on this machine."""

from lewm_cli.cli import options

EXAMPLES = options.examples("lewm doctor", "lewm doctor --home /data/worlds", "lewm doctor --json > machine.json")


def command(
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Say what works on this machine, what does not, and what to type; exit code 1 if TwoRoom cannot work."""
    from lewm_cli.doctor import check_imports, diagnose
    from lewm_cli.errors import LewmError

    check_imports()
    from lewm_cli.report import Output, diagnosis_tables, diagnosis_tree

    output = Output(as_json=json, quiet=quiet)
    diagnosis = diagnose(home, output.say)
    output.result(diagnosis_tree(diagnosis), lambda: diagnosis_tables(diagnosis))
    if diagnosis.broken:
        raise LewmError(f"broken here: {', '.join(diagnosis.broken)}; what to type is said with the result")
