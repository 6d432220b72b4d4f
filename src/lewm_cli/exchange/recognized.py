"""Recognizes what a source is by its content, and opens it."""

from collections.abc import Callable
from pathlib import Path

from lewm_cli.errors import LewmError
from lewm_cli.exchange.episode_groups import open_episode_groups
from lewm_cli.exchange.flat_hdf5 import open_flat_hdf5
from lewm_cli.exchange.lerobot_source import open_lerobot
from lewm_cli.exchange.npz_source import open_npz
from lewm_cli.exchange.source import Asked, Source
from lewm_cli.exchange.unread import refuse_unread
from lewm_cli.exchange.video_source import open_videos

Opener = Callable[[Path, str, Asked], Source | None]
"""Opens what lies at a path, by the name that was typed; None if it is of another layout.

Raises LewmError where it is of this layout, and damaged, or leaves something open that has to be asked for.
"""

OPENERS: tuple[Opener, ...] = (
    open_lerobot,
    open_episode_groups,
    open_flat_hdf5,
    open_npz,
    open_videos,
    refuse_unread,
)
"""Layouts, the most telling first."""


def open_source(path: Path, name: str, asked: Asked) -> Source:
    """Open a source, whatever its layout is.

    Raises:
        LewmError: no layout is recognized, or one is and it cannot be read.
    """
    for opener in OPENERS:
        if source := opener(path, name, asked):
            return source
    raise LewmError(f"{name} is of no layout that is known; docs/commands/import.md lists what can be imported")
