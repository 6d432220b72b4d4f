"""Output of a command: results on stdout, everything else on stderr; progress as a bar or as plain lines."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from lewm_cli.report.browser import open_in_browser
from lewm_cli.system_errors import printing
from lewm_cli.visible import visible, visible_line

if TYPE_CHECKING:  # it takes a moment to import, and most commands need none of it
    from lewm_cli.fetch import Advance, Begin, Transfer

PLAIN_LINE_SECONDS = 5.0

LEAST_COLUMNS = 60
"""Width of tables on a terminal that is narrower, or says that it is: columns would be lost."""


class PlainConsole(Console):
    """A console for names from anywhere: no markup in them is followed, and no letter of them acts on the terminal."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Text of a string, as wide as what is seen of it."""
        return super().render_str(visible(text), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments of anything, which may be made of other text than strings."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


class Output:
    """The output of one command.

    Args:
        as_json: print the result as JSON instead of tables.
        quiet: print nothing but the result and errors.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json, self.quiet = as_json, quiet
        self.results = PlainConsole()
        self.results.width = max(self.results.width, LEAST_COLUMNS)
        self.notes = PlainConsole(stderr=True, quiet=quiet)

    def say(self, message: str) -> None:
        """Print a remark for the person, on stderr."""
        self.notes.print(visible_line(message), soft_wrap=True)

    def page(self, path: Path, *, opened: bool = False, what: str = "report") -> None:
        """Say where a page is, as a link on a terminal, and open it in a browser if that is wished for and possible."""
        linked = self.notes.is_terminal and self.notes.file.isatty() and not self.as_json  # FORCE_COLOR is no terminal
        link = Style(link=path.absolute().as_uri()) if linked else ""
        self.notes.print(Text.assemble(f"{what}: ", (str(path), link)), soft_wrap=True)
        if opened:
            self.open(path)

    def open(self, page: Path | str) -> None:
        """Open a file or an address in a browser; say so where that is not possible."""
        if not open_in_browser(page):
            kind = "address" if isinstance(page, str) else "file"
            self.say(f"there is no browser or no screen here to open it; open this {kind} where there is one")

    def result(self, tree: Any, tables: Callable[[], list[RenderableType]]) -> None:
        """Print the result: JSON of a tree of plain values, or tables."""
        printed: list[RenderableType] = [json.dumps(tree, indent=2, default=str)] if self.as_json else tables()
        with printing():
            for table in printed:
                if isinstance(table, str):
                    print(visible(table))  # text is not wrapped to the width of a terminal
                else:
                    self.results.print(table, crop=False)
            sys.stdout.flush()  # whatever comes next may last

    def line(self, tree: Any) -> None:
        """Print a part of a result that comes bit by bit: one line of JSON, at once."""
        with printing():
            print(json.dumps(tree), flush=True)

    @contextmanager
    def progress(self, label: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Show progress; yields a function to call with the number of units done since the last call."""
        if self.notes.is_terminal:
            counted = (MofNCompleteColumn(), TextColumn(unit), TimeElapsedColumn())
            with self._bar(*counted) as bar:
                task = bar.add_task(visible_line(label), total=total)
                yield lambda done: bar.advance(task, done)
        else:

            def line(done: int, seconds: float) -> str:
                left = seconds / max(1, done) * max(0, total - done)  # it may have been guessed
                return f"{label}: {done}/{total} {unit}, ETA {left:.0f} s"

            yield _plain_lines(self.say, line, total)

    @contextmanager
    def bytes(self, label: str) -> Iterator["Begin"]:
        """Show the progress of a transfer in bytes, with rate and ETA."""
        if self.notes.is_terminal:
            with self._bar(DownloadColumn(), TransferSpeedColumn()) as bar:

                def begin(transfer: "Transfer") -> "Advance":
                    for earlier in bar.task_ids:  # everything is transferred again
                        bar.remove_task(earlier)
                    task = bar.add_task(visible_line(label), total=transfer.total, completed=transfer.already)
                    return lambda count: bar.advance(task, count)

                yield begin
        else:

            def begin(transfer: "Transfer") -> "Advance":
                def line(done: int, seconds: float) -> str:
                    rate = (done - transfer.already) / max(1e-3, seconds)
                    if not transfer.total:
                        return f"{label}: {decimal(done)}, {decimal(int(rate))}/s"
                    left = (transfer.total - done) / max(1.0, rate)
                    of = f"{decimal(done)} of {decimal(transfer.total)}"
                    return f"{label}: {of}, {decimal(int(rate))}/s, ETA {left:.0f} s"

                return _plain_lines(self.say, line, transfer.total, transfer.already)

            yield begin

    def _bar(self, *counted: ProgressColumn) -> Progress:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            *counted,
            TextColumn("ETA"),
            TimeRemainingColumn(),
        )
        return Progress(*columns, console=self.notes)


def _plain_lines(
    say: Callable[[str], None], line: Callable[[int, float], str], total: int | None, done: int = 0
) -> Callable[[int], None]:
    """A function that counts what is done, and says a line every few seconds and in the end."""
    begun = last = time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        finished = count and total is not None and done >= total
        if finished or now - last >= PLAIN_LINE_SECONDS:
            last = now
            say(line(done, now - begun))

    return advance
