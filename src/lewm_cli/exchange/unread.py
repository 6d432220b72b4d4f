"""Layouts that are recognized and not read: the sentence says what to convert them with."""

from pathlib import Path

from lewm_cli.data.hdf5_file import unreadable
from lewm_cli.data.layouts import conversion, folder_layout
from lewm_cli.errors import LewmError
from lewm_cli.exchange.source import Asked
from lewm_cli.file_kind import FileKind, look
from lewm_cli.system_errors import explain


def refuse_unread(path: Path, name: str, asked: Asked) -> None:
    """Refuse RLDS, Zarr, Lance and ROS bags; raises LewmError with the way to what is read, if it is one of them."""
    try:
        if path.is_dir():
            layout = folder_layout(path)
            if layout and (way := conversion(layout, path)):
                raise LewmError(f"{name} is {layout.name}, which is not read here; {way}")
        elif look(path) in (FileKind.ROS_BAG, FileKind.MCAP, FileKind.SQLITE, FileKind.MATLAB):
            raise unreadable(path, ValueError())
    except OSError as error:
        raise explain(error, path, "read") from error
