"""Shows the files that `lewm convert`, `lewm export` and `lewm pack` have written."""

from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.filesize import decimal
from rich.text import Text

from lewm_cli.plural import counted
from lewm_cli.report.pieces import plain_table
from lewm_cli.suggestion import few

if TYPE_CHECKING:
    from lewm_cli.data import PackedRecording
    from lewm_cli.exchange.lerobot_writer import Exported
    from lewm_cli.store.conversion import Conversion


def conversion_tables(conversion: "Conversion") -> list[RenderableType]:
    """Every file with its size and the begin of its sha256, and what it does not hold."""
    table = plain_table("file", "size", "sha256", fold=(0,))
    table.columns[1].justify = "right"
    for file in conversion.files:
        table.add_row(Text(str(file.path)), decimal(file.bytes), file.sha256[:16])
    if conversion.largest_difference is None:
        kept = f"{conversion.tensors}/{conversion.tensors} tensors"
    else:
        kept = f"differs from torch by {conversion.largest_difference:.1e} at most"
    return [table, f"{conversion.run} as {conversion.target}: {kept}", *conversion.remarks]


def export_tables(exported: "Exported") -> list[RenderableType]:
    """The folder, what is in it, and how near its frames are to the recorded ones."""
    near = "the frames are those of the recording" if exported.psnr is None else f"PSNR {exported.psnr:.1f} dB"
    size = f"{counted(exported.files, 'file')}, {decimal(exported.bytes)}"
    lines = [
        f"{exported.dataset}: {counted(exported.episodes, 'episode')}, {counted(exported.frames, 'frame')}, "
        f"{exported.fps:g} per second",
        f"  {exported.path}",
        f"  {size}; {near}",
        f"  features: {', '.join(exported.features)}",
        f"  {'task' if len(exported.tasks) == 1 else 'tasks'}: {few(exported.tasks)}",
    ]
    return [*lines, *([f"  not written: {', '.join(exported.left_out)}"] if exported.left_out else [])]


def packed_tables(packed: "PackedRecording") -> list[RenderableType]:
    """The file, how its frames are packed, and its size beside that of the recording."""
    each = decimal(packed.bytes // packed.rows)
    sizes = f"{decimal(packed.bytes)}, {each} for each of {packed.rows:,} frames"
    before = "" if packed.there else f"; {packed.source} had {decimal(packed.bytes_before)}"
    return [f"{packed.name}: {packed.packing}", f"  {packed.path}", f"  {sizes}{before}"]
