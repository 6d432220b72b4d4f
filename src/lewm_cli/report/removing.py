"""Shows what `lewm rm` would remove, or has removed."""

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import RenderableType
from rich.filesize import decimal
from rich.text import Text

from lewm_cli.plural import counted
from lewm_cli.report.pieces import Tree, plain_table
from lewm_cli.store.removal import Removal


def removal_tables(removals: Sequence[Removal]) -> list[RenderableType]:
    """Every file with its size; those in a folder that goes too are counted together."""
    table = plain_table("name", "kind", "file", "size", fold=(0, 2))
    table.columns[3].justify = "right"
    for removal in removals:
        folder = removal.folders[-1] if removal.folders else None
        inside = [file for file in removal.files if folder and file.path.is_relative_to(folder)]
        lines = [(f"{folder}/ ({counted(len(inside), 'file')})", sum(file.bytes for file in inside))] if folder else []
        for file in removal.files:
            if file not in inside:
                link = f" (a link to {file.link}, which stays)" if file.link else ""
                lines.append((f"{file.path}{link}", file.bytes))
        for line, size in lines:
            table.add_row(Text(removal.name), removal.kind, Text(line), decimal(size))
    return [table, f"in all {removal_text(removals)}"]


def removal_text(removals: Sequence[Removal]) -> str:
    """Number of files and bytes in all."""
    files = sum(len(removal.files) for removal in removals)
    return f"{counted(files, 'file')}, {decimal(sum(removal.bytes for removal in removals))}"


def removal_tree(removals: Sequence[Removal], *, removed: bool) -> Tree:
    """Every file, and whether it is gone."""
    return {
        "removed": removed,
        "bytes": sum(removal.bytes for removal in removals),
        "removals": [
            {
                "name": removal.name,
                "kind": removal.kind,
                "bytes": removal.bytes,
                "files": [asdict(file) for file in removal.files],
            }
            for removal in removals
        ],
    }
