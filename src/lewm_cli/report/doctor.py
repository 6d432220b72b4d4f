"""What `lewm doctor` finds: one table by section, then what to type."""

from dataclasses import asdict

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lewm_cli.doctor import Diagnosis, Finding, State
from lewm_cli.provenance import PACKAGES
from lewm_cli.report.trees import Tree

STYLES = {
    State.OK: "green",
    State.NONE: "dim",
    State.OPTIONAL: "cyan",
    State.WARNING: "yellow",
    State.BROKEN: "bold red",
}

NAMED = {"python", *PACKAGES}
"""Packages that get a line even where nothing is wrong with them."""


def diagnosis_tables(diagnosis: Diagnosis) -> list[RenderableType]:
    """Everything that was found, then every command to type, each as one line that can be copied."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("what", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("found", overflow="fold")
    sections = {
        "versions": _shortened(diagnosis.versions),
        "devices": diagnosis.devices,
        "rendering": diagnosis.rendering,
        "storage": diagnosis.storage,
        "environment": diagnosis.environment,
        "extras": diagnosis.extras,
    }
    for title, findings in sections.items():
        table.add_row(Text(title, style="bold"))
        for finding in findings:
            # Text, because what was found may look like markup.
            state = Text(finding.state, style=STYLES[finding.state])
            table.add_row(Text(f"  {finding.name}"), state, Text(finding.says))
        table.add_section()
    said = [f"{', '.join(advice.names)}:\n    {advice.command}" for advice in diagnosis.advice]
    verdict = (
        f"TwoRoom does not work here; broken: {', '.join(diagnosis.broken)}."
        if diagnosis.broken
        else "Everything that TwoRoom needs works."
    )
    return [table, "\n".join(["", "What to type", *said, ""]) if said else "", verdict]


def diagnosis_tree(diagnosis: Diagnosis) -> Tree:
    """Everything that was found, with the numbers behind the words."""
    return (
        {"healthy": not diagnosis.broken} | asdict(diagnosis) | {"advice": [asdict(each) for each in diagnosis.advice]}
    )


def _shortened(versions: tuple[Finding, ...]) -> tuple[Finding, ...]:
    told = tuple(finding for finding in versions if finding.name in NAMED or finding.state is not State.OK)
    says = f"{len(versions) - len(told)} in versions that lewm-cli works with"
    return (*told, Finding(name="other packages", state=State.OK, says=says))
