"""Shows the files that `lewm convert` has written."""

from dataclasses import asdict

from rich.console import RenderableType
from rich.filesize import decimal
from rich.text import Text

from lewm_cli.report.pieces import Tree, plain_table
from lewm_cli.store.conversion import Conversion


def conversion_tables(conversion: Conversion) -> list[RenderableType]:
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


def conversion_tree(conversion: Conversion) -> Tree:
    """Everything that was written, with whole digests."""
    return asdict(conversion)
