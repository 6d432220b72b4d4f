"""Layouts that are recognized and not read: the sentence says what to convert them with."""

from pathlib import Path

from lewm_cli.data.hdf5_file import unreadable
from lewm_cli.data.layouts import conversion, folder_layout
from lewm_cli.errors import LewmError
from lewm_cli.exchange.source import Asked
from lewm_cli.file_kind import FileKind, look
from lewm_cli.system_errors import explain

READ_ELSEWHERE = (FileKind.VIDEO, FileKind.IMAGE, FileKind.PARQUET, FileKind.TEXT, FileKind.JSON, FileKind.UNKNOWN)
"""Files that say nothing of a layout by their kind alone."""


def refuse_unread(path: Path, name: str, asked: Asked) -> None:
    """Refuse RLDS, Zarr, Lance, ROS bags, and files that are no recording; raises LewmError with the way to what is."""
    try:
        if path.is_dir():
            layout = folder_layout(path)
            if layout and (way := conversion(layout, path)):
                raise LewmError(f"{name} is {layout.name}, which is not read here; {way}")
        elif look(path) not in READ_ELSEWHERE:
            raise unreadable(path, ValueError())
    except OSError as error:
        raise explain(error, path, "read") from error
