"""What `lewm fetch` knows, would do, and has done."""

from dataclasses import dataclass
from shlex import quote

from rich import box
from rich.console import RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from lewm_cli.fetch import Delivered, Entry, PlannedFetch, Published
from lewm_cli.report.trees import Tree
from lewm_cli.store.origin import Origin
from lewm_cli.tasks import find_task


@dataclass(frozen=True)
class Fetched:
    """One thing that is there now.

    Args:
        planned: what it was to be.
        came: what has arrived; None if it was there already.
    """

    planned: PlannedFetch
    came: Delivered | None = None

    @property
    def origin(self) -> Origin | None:
        """Where it came from, and its hashes; None if lewm did not fetch it."""
        return self.came.origin if self.came else self.planned.origin


def catalog_tree(entries: tuple[Entry, ...]) -> Tree:
    """Everything that can be fetched, and what cannot and why."""
    return {"entries": [entry.model_dump(mode="json", exclude_none=True) for entry in entries]}


def catalog_tables(entries: tuple[Entry, ...]) -> list[RenderableType]:
    """One row per recording and per checkpoint; what is published nowhere says so."""
    table = _table("name", "what", "size", "from")
    for entry in entries:
        if entry.dataset:
            file = entry.dataset.file
            table.add_row(Text(entry.name), "recording", _size(file.size), _place(entry.dataset))
        for name, checkpoint in entry.checkpoints.items():
            size = _size(checkpoint.size) if not checkpoint.unavailable else ""
            table.add_row(Text(f"{entry.name}/{name}"), checkpoint.method, size, _place(checkpoint))
    reasons = dict.fromkeys(
        checkpoint.unavailable
        for entry in entries
        for checkpoint in entry.checkpoints.values()
        if checkpoint.unavailable
    )
    return [table, *(f"\nnot published: {reason}" for reason in reasons)]


def plan_tree(planned: tuple[PlannedFetch, ...]) -> Tree:
    """What a fetch would do."""
    return {"planned": [_planned(one) for one in planned]}


def plan_tables(planned: tuple[PlannedFetch, ...]) -> list[RenderableType]:
    """What a fetch would do: how much, from where, to where."""
    lines: list[RenderableType] = []
    for one in planned:
        wanted = one.wanted
        if one.there:
            lines += [f"{wanted.name}: there already", f"  {one.target}"]
            continue
        sizes = [decimal(wanted.size)] if wanted.size else []
        sizes += [f"unpacked {decimal(wanted.unpacked)}"] if wanted.unpacked else []
        lines += [": ".join([wanted.name, *sizes[:1]]) + "".join(f", {size}" for size in sizes[1:])]
        lines += [f"  from {wanted.place}", f"  to   {one.target}"]
    return lines


def fetched_tree(fetched: tuple[Fetched, ...]) -> Tree:
    """What is there now, and where it came from."""
    return {
        "fetched": [
            _planned(one.planned)
            | {
                "transferred": one.came.transferred if one.came else 0,
                "origin": one.origin.model_dump(mode="json") if one.origin else None,
            }
            for one in fetched
        ]
    }


def fetched_tables(fetched: tuple[Fetched, ...]) -> list[RenderableType]:
    """Every file with its size and sha256, and where it came from."""
    lines: list[RenderableType] = []
    for one in fetched:
        wanted, origin = one.planned.wanted, one.origin
        said = one.came.said if one.came else "there already"
        lines.append(f"{wanted.name}: {said}")
        if origin is None:
            lines += [f"  {one.planned.target}", "  not fetched by lewm, so nothing is known of where it came from"]
            continue
        for file in origin.files:
            path = one.planned.target / file.name if wanted.kind == "model" else one.planned.target
            lines.append(f"  {path}, {decimal(file.size)}, sha256 {file.sha256[:16]}...")
        lines.append(f"  from {origin.source}" + (f"@{origin.revision[:8]}" if origin.revision else ""))
    return lines


def next_commands(fetched: tuple[Fetched, ...]) -> list[str]:
    """What to type next, with what is there now."""
    commands = []
    for one in fetched:
        wanted = one.planned.wanted
        task = find_task(wanted.entry)
        if wanted.kind == "dataset":
            commands.append(f"lewm train {task.name if task else quote(wanted.name)}")
        else:
            commands.append(f"lewm {'eval' if task and task.make_simulator else 'show'} {quote(wanted.name)}")
    return commands


def _planned(one: PlannedFetch) -> Tree:
    wanted = one.wanted
    return {
        "name": wanted.name,
        "kind": "dataset" if wanted.kind == "dataset" else "checkpoint",
        "there": one.there,
        "path": str(one.target),
        "source": wanted.place,
        "revision": wanted.published.hub.revision if wanted.published.hub else None,
        "files": [file.model_dump() for file in wanted.files],
        "bytes": wanted.size,
        "unpacked_bytes": wanted.unpacked,
    }


def _place(published: Published) -> Text:
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
        table.add_column(heading, overflow="fold", justify="right" if heading in ("size", "download") else "left")
    return table
