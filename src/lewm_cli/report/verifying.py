"""Shows the findings of `lewm verify`: one table, and a tree."""

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import RenderableType
from rich.text import Text

from lewm_cli.plural import counted
from lewm_cli.report.pieces import Tree, plain_table
from lewm_cli.suggestion import command
from lewm_cli.verify import Check, DatasetCheck, RunCheck
from lewm_cli.visible import visible_line


def verification_tables(checks: Sequence[Check]) -> list[RenderableType]:
    """Everything that was looked at, with what is wrong; then what to type, in lines that can be copied."""
    if not checks:
        return [f"nothing is there yet: start with {command('collect', 'tworoom', '--episodes', 300)}"]
    table = plain_table("name", "kind", "state", "what", fold=(0, 3))
    for check in checks:
        lines = [*(each.says for each in check.problems), *_facts(check), *(each.says for each in check.remarks)]
        state = Text("ok", style="green") if check.ok else Text("wrong", style="bold red")
        table.add_row(check.name, check.kind, state, Text("\n".join(map(visible_line, lines))))
    advice = dict.fromkeys(f"{check.name}: {each.advice}" for check in checks for each in check.problems if each.advice)
    return [table, "\n".join(["", "What to type", *map(visible_line, advice)])] if advice else [table]


def verification_tree(checks: Sequence[Check]) -> Tree:
    """Everything that was looked at."""
    return {"ok": all(check.ok for check in checks), "checked": [_tree(check) for check in checks]}


def _tree(check: Check) -> Tree:
    facts = asdict(check)
    del facts["findings"]
    return {
        "kind": check.kind,
        "state": "ok" if check.ok else "wrong",
        **facts,
        "problems": [asdict(problem) for problem in check.problems],
        "remarks": [remark.says for remark in check.remarks],
    }


def _facts(check: Check) -> list[str]:
    match check:
        case RunCheck(tensors=int(tensors), method=method):
            facts = [f"method {method}", f"{tensors}/{tensors} tensors"]
            if check.derived == 2:
                facts.append("derived files equal")
            if check.heads:
                facts.append(f"heads: {check.heads}")
            older = f" and {check.older_results} of earlier weights" if check.older_results else ""
            facts += [f"results: {check.results}{older}", f"log entries: {check.log_entries:,}"]
            return [", ".join(facts)]
        case DatasetCheck(rows=int(rows), episodes=int(episodes)):
            sums = (
                "with checksums" if check.checksums else "no checksums, so a flipped bit may have passed as a picture"
            )
            numbers = ((episodes, "episode"), (rows, "row"), (check.decoded, "frame"))
            decoded = f"{', '.join(counted(*number) for number in numbers)} decoded ({sums})"
            return [decoded, *([f"packed: {check.packed}"] if check.packed else [])]
    return []
