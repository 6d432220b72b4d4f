"""Shows the findings of `lewm doctor`: one table by section, then what to type."""

from dataclasses import asdict

from rich.console import RenderableType
from rich.text import Text

from lewm_cli.doctor import Checkup, Finding, State
from lewm_cli.provenance import PACKAGES
from lewm_cli.report.pieces import Tree, plain_table

STYLES = {
    State.OK: "green",
    State.NONE: "dim",
    State.OPTIONAL: "cyan",
    State.WARNING: "yellow",
    State.BROKEN: "bold red",
}

NAMED = {"python", *PACKAGES}
"""Packages that get a line even where nothing is wrong with them."""


def checkup_tables(checkup: Checkup) -> list[RenderableType]:
    """Everything that was found, then every command to type, each as one line that can be copied."""
    table = plain_table("what", "state", "found", fold=(2,))
    for title, findings in (vars(checkup) | {"versions": _shortened(checkup.versions)}).items():
        table.add_row(Text(title, style="bold"))
        for finding in findings:
            # Text, because what was found may look like markup.
            state = Text(finding.state, style=STYLES[finding.state])
            table.add_row(Text(f"  {finding.name}"), state, Text(finding.says))
        table.add_section()
    commands = [f"{', '.join(advice.names)}:\n    {advice.command}" for advice in checkup.advice]
    verdict = (
        f"TwoRoom does not work here; broken: {', '.join(checkup.broken)}."
        if checkup.broken
        else "Everything that TwoRoom needs works."
    )
    return [table, "\n".join(["", "What to type", *commands, ""]) if commands else "", verdict]


def checkup_tree(checkup: Checkup) -> Tree:
    """Everything that was found, with the numbers behind the words."""
    return {"healthy": not checkup.broken} | asdict(checkup) | {"advice": [asdict(each) for each in checkup.advice]}


def _shortened(versions: tuple[Finding, ...]) -> tuple[Finding, ...]:
    listed = tuple(finding for finding in versions if finding.name in NAMED or finding.state is not State.OK)
    says = f"{len(versions) - len(listed)} in versions that lewm-cli works with"
    return (*listed, Finding(name="other packages", state=State.OK, says=says))
