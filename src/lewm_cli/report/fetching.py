"""Renders what `lewm fetch` knows, would do, and has done."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich import box
from rich.console import RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from lewm_cli.report.pieces import Tree
from lewm_cli.report.written_files import packed_tables
from lewm_cli.suggestion import command
from lewm_cli.tasks import find_task

if TYPE_CHECKING:
    from lewm_cli.data import PackedRecording
    from lewm_cli.fetch import Entry, Installed, PlannedFetch, Published


def catalog_tree(entries: "tuple[Entry, ...]") -> Tree:
    """Lists everything that can be fetched, and what cannot and why."""
    return {"entries": [entry.model_dump(mode="json", exclude_none=True) for entry in entries]}


def catalog_tables(entries: "tuple[Entry, ...]") -> list[RenderableType]:
    """Makes one row per recording and per checkpoint; what is published nowhere says so."""
    table = _table("name", "what", "size", "from")
    for entry in entries:
        if entry.dataset:
            file = entry.dataset.file
            table.add_row(Text(entry.name), "recording", _size(file.size), _place(entry.dataset))
        for name, checkpoint in entry.checkpoints.items():
            size = _size(sum(file.size or 0 for file in checkpoint.files))
            table.add_row(Text(f"{entry.name}/{name}"), checkpoint.method, size, _place(checkpoint))
    reasons = dict.fromkeys(
        checkpoint.unavailable
        for entry in entries
        for checkpoint in entry.checkpoints.values()
        if checkpoint.unavailable
    )
    notes: dict[str, list[str]] = {}
    for entry in entries:
        for name, checkpoint in entry.checkpoints.items():
            if checkpoint.note:
                notes.setdefault(checkpoint.note, []).append(f"{entry.name}/{name}")
    said = [f"\n{', '.join(names)}: {note}" for note, names in notes.items()]
    return [table, *(f"\nnot published: {reason}" for reason in reasons), *said]


def plan_tree(planned: "tuple[PlannedFetch, ...]") -> Tree:
    """Lists what a fetch would do."""
    return {"planned": [_planned(one) for one in planned]}


def plan_tables(planned: "tuple[PlannedFetch, ...]") -> list[RenderableType]:
    """Describes what a fetch would do: how much, from where, to where."""
    lines: list[RenderableType] = []
    for one in planned:
        target = one.target
        if one.there:
            lines += [f"{target.name}: there already", f"  {one.path}"]
            continue
        sizes = [decimal(target.size)] if target.size else []
        sizes += [f"unpacked {decimal(target.unpacked)}"] if target.unpacked else []
        lines += [": ".join([target.name, *sizes[:1]]) + "".join(f", {size}" for size in sizes[1:])]
        lines += [f"  from {target.place}", f"  to   {one.path}"]
        lines += [f"  note {target.published.note}"] if target.published.note else []
    return lines


def fetched_tree(installed: "tuple[Installed, ...]", packed: "tuple[PackedRecording, ...]" = ()) -> Tree:
    """Lists what is there now, where it came from, and what was packed of it."""
    return {
        "packed": [asdict(one) for one in packed],
        "fetched": [
            _planned(one.planned)
            | {
                "transferred": one.transferred,
                "origin": one.origin.model_dump(mode="json") if one.origin else None,
            }
            for one in installed
        ],
    }


def fetched_tables(
    installed: "tuple[Installed, ...]", packed: "tuple[PackedRecording, ...]" = ()
) -> list[RenderableType]:
    """Describes every file with its size and sha256 as it came, where it came from, and what was packed of it."""
    lines: list[RenderableType] = []
    for one in installed:
        target, origin, at = one.planned.target, one.origin, one.planned.path
        lines.append(f"{target.name}: {one.summary}")
        if origin is None:
            lines += [f"  {at}", "  not fetched by lewm, so nothing is known of where it came from"]
            continue
        for file in origin.files:
            path = at / file.name if target.kind == "model" else at
            lines.append(f"  {path}, {decimal(file.size)}, sha256 {file.sha256[:16]}...")
        lines.append(f"  from {origin.source}" + (f"@{origin.revision[:8]}" if origin.revision else ""))
    return [*lines, *(line for one in packed for line in packed_tables(one))]


def next_commands(installed: "tuple[Installed, ...]") -> list[str]:
    """Suggests what to type next, with what is there now."""
    commands = []
    for one in installed:
        target = one.planned.target
        task = find_task(target.entry)
        if target.kind == "dataset":
            commands.append(command("train", task.name if task else target.name))
        else:
            commands.append(command("eval" if task and task.make_simulator else "show", target.name))
    return commands


def _planned(one: "PlannedFetch") -> Tree:
    target = one.target
    return {
        "name": target.name,
        "kind": "dataset" if target.kind == "dataset" else "checkpoint",
        "there": one.there,
        "path": str(one.path),
        "source": target.place,
        "revision": target.published.hub.revision if target.published.hub else None,
        "files": [file.model_dump() for file in target.files],
        "note": target.published.note,
        "bytes": target.size,
        "unpacked_bytes": target.unpacked,
    }


def _place(published: "Published") -> Text:
    if published.unavailable:
        return Text("not published", style="dim")
    if published.hub:
        return Text(f"Hub: {published.hub.repo}@{published.hub.revision[:8]}")
    return Text("Google Drive" if published.drive else str(published.url))


def _size(size: int | None) -> str:
    return decimal(size) if size else ""


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold", justify="right" if heading == "size" else "left")
    return table
