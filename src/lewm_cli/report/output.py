"""Output of a command: results on stdout, everything else on stderr; progress as a bar or as plain lines."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:  # it takes a moment to import, and most commands need none of it
    from lewm_cli.fetch import Advance, Begin, Transfer

PLAIN_LINE_SECONDS = 5.0


class Output:
    """The output of one command.

    Args:
        as_json: print the result as JSON instead of tables.
        quiet: print nothing but the result and errors.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json, self.quiet = as_json, quiet
        self.results = Console(highlight=False, markup=False, emoji=False)  # a name may look like markup
        self.notes = Console(stderr=True, highlight=False, emoji=False, quiet=quiet)

    def say(self, message: str) -> None:
        """Print a remark for the person, on stderr."""
        self.notes.print(message, markup=False, soft_wrap=True)

    def result(self, tree: Any, tables: Callable[[], list[RenderableType]]) -> None:
        """Print the result: JSON of a tree of plain values, or tables."""
        if self.as_json:
            print(json.dumps(tree, indent=2, default=str))
            return
        for table in tables():
            if isinstance(table, str):
                print(table)  # text is not wrapped to the width of a terminal
            else:
                self.results.print(table)

    @contextmanager
    def progress(self, label: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Show progress; yields a function to call with the number of units done since the last call."""
        if self.notes.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(unit),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=self.notes) as bar:
                task = bar.add_task(label, total=total)
                yield lambda done: bar.advance(task, done)
        else:
            yield _PlainProgress(self, label, total, unit).advance

    @contextmanager
    def bytes(self, label: str) -> Iterator["Begin"]:
        """Show the progress of a transfer in bytes, with rate and ETA."""
        if self.notes.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=self.notes) as bar:

                def begin(transfer: "Transfer") -> "Advance":
                    for earlier in bar.task_ids:  # everything is transferred again
                        bar.remove_task(earlier)
                    task = bar.add_task(label, total=transfer.total, completed=transfer.already)
                    return lambda count: bar.advance(task, count)

                yield begin
        else:
            yield lambda transfer: _PlainBytes(self, label, transfer).advance


class _PlainProgress:
    def __init__(self, output: Output, label: str, total: int, unit: str) -> None:
        self.output, self.label, self.total, self.unit = output, label, total, unit
        self.begun = self.last = time.monotonic()
        self.done = 0

    def advance(self, done: int) -> None:
        self.done += done
        now = time.monotonic()
        if now - self.last < PLAIN_LINE_SECONDS and self.done < self.total:
            return
        self.last = now
        left = (now - self.begun) / max(1, self.done) * (self.total - self.done)
        self.output.say(f"{self.label}: {self.done}/{self.total} {self.unit}, ETA {left:.0f} s")


class _PlainBytes:
    def __init__(self, output: Output, label: str, transfer: "Transfer") -> None:
        self.output, self.label, self.total = output, label, transfer.total
        self.before = self.done = transfer.already
        self.begun = self.last = time.monotonic()

    def advance(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.last < PLAIN_LINE_SECONDS and not (count and self.done == self.total):
            return
        self.last = now
        rate = (self.done - self.before) / max(1e-3, now - self.begun)
        words = f"{self.label}: {decimal(self.done)}"
        words += f" of {decimal(self.total)}, {decimal(int(rate))}/s" if self.total else f", {decimal(int(rate))}/s"
        words += f", ETA {(self.total - self.done) / max(1.0, rate):.0f} s" if self.total else ""
        self.output.say(words)
