"""What `lewm convert` has written."""

from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.console import RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from lewm_cli.report.trees import Tree


@dataclass(frozen=True)
class WrittenFile:
    """A file.

    Args:
        path: where it lies.
        bytes: its size.
        sha256: of its content.
    """

    path: Path
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Conversion:
    """A run in another format.

    Args:
        run: its name.
        target: the format.
        names: of the tensors, where they can be chosen.
        tensors: how many.
        path: the file or folder.
        files: what was written.
        largest_difference: of a number that it computes from the run's, where its tensors are not the same.
        remarks: what a person should know.
    """

    run: str
    target: str
    names: str | None
    tensors: int
    path: Path
    files: tuple[WrittenFile, ...]
    largest_difference: float | None
    remarks: tuple[str, ...]


def conversion_tables(conversion: Conversion) -> list[RenderableType]:
    """Every file with its size and the begin of its sha256, and what it does not hold."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("size", no_wrap=True, justify="right")
    table.add_column("sha256", no_wrap=True)
    for file in conversion.files:
        table.add_row(Text(str(file.path)), decimal(file.bytes), file.sha256[:16])
    if conversion.largest_difference is None:
        kept = f"{conversion.tensors}/{conversion.tensors} tensors"
    else:
        kept = f"differs from torch by {conversion.largest_difference:.1e} at most"
    return [table, f"{conversion.run} as {conversion.target}: {kept}", *conversion.remarks]


def conversion_tree(conversion: Conversion) -> Tree:
    """Everything that was written, with whole digests."""
    return asdict(conversion)
