"""Shows what `lewm pack` has made."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.filesize import decimal

from lewm_cli.report.pieces import Tree

if TYPE_CHECKING:
    from lewm_cli.data import PackedRecording


def packed_tables(packed: "PackedRecording") -> list[RenderableType]:
    """The file, how its frames are packed, and its size beside that of the recording."""
    each = decimal(packed.bytes // packed.rows)
    sizes = f"{decimal(packed.bytes)}, {each} for each of {packed.rows:,} frames"
    before = "" if packed.there else f"; {packed.source} had {decimal(packed.bytes_before)}"
    return [f"{packed.name}: {packed.packing}", f"  {packed.path}", f"  {sizes}{before}"]


def packed_tree(packed: "PackedRecording") -> Tree:
    """The same for programs."""
    return asdict(packed)
