"""Recognizes what a source is by its content, and opens it; of what is not read, says what converts it."""

from collections.abc import Callable
from pathlib import Path

from lewm_cli.data.hdf5_file import unreadable
from lewm_cli.data.layouts import conversion, folder_layout
from lewm_cli.errors import LewmError
from lewm_cli.exchange.episode_groups import open_episode_groups
from lewm_cli.exchange.flat_hdf5 import open_flat_hdf5
from lewm_cli.exchange.lerobot_source import open_lerobot
from lewm_cli.exchange.npz_source import open_npz
from lewm_cli.exchange.source import Asked, Source
from lewm_cli.exchange.video_source import open_videos
from lewm_cli.file_kind import FileKind, look
from lewm_cli.system_errors import explain

Opener = Callable[[Path, str, Asked], Source | None]
"""Opens what lies at a path, by the name that was typed; None if it is of another layout.

Raises OSError, and LewmError where it is of this layout, and damaged, or leaves something open that has to be asked
for.
"""

OPENERS: tuple[Opener, ...] = (
    open_lerobot,
    open_episode_groups,
    open_flat_hdf5,
    open_npz,
    open_videos,
)
"""Layouts, the most telling first."""

READ_ELSEWHERE = (FileKind.VIDEO, FileKind.IMAGE, FileKind.PARQUET, FileKind.TEXT, FileKind.JSON, FileKind.UNKNOWN)
"""Files that say nothing of a layout by their kind alone."""


def open_source(path: Path, name: str, asked: Asked) -> Source:
    """Open a source, whatever its layout is.

    Raises:
        LewmError: no layout is recognized, or one is and it cannot be read.
    """
    try:
        for opener in OPENERS:
            if source := opener(path, name, asked):
                return source
        layout = folder_layout(path) if path.is_dir() else None
        if layout and (way := conversion(layout, path)):
            raise LewmError(f"{name} is {layout.name}, which is not read here; {way}")
        if not path.is_dir() and look(path) not in READ_ELSEWHERE:
            raise unreadable(path, ValueError())
    except OSError as error:
        raise explain(error, error.filename or path, "read") from error
    raise LewmError(f"{name} is of no layout that is known; docs/commands/import.md lists what can be imported")
