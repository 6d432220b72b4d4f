"""The origin of a recording that was imported, as its file keeps it."""

import json
from typing import TYPE_CHECKING, Self

from pydantic import PositiveInt, ValidationError

from lewm_cli.config import Framing, Section

if TYPE_CHECKING:  # names of recordings are listed without it
    import h5py

ATTRIBUTE = "imported"
"""The text attribute of the file that holds all of it, as JSON."""

SOURCE_EPISODES = "source_episodes"
"""The data set (E,) of text with the name that every episode has in the source."""

SOURCE_ROW = "source_row"
"""The column (N,) with the number of every frame in its episode of the source."""

RESERVED = ("pixels", "action", "ep_len", "ep_offset", "ep_idx", "episode_idx", "step_idx", SOURCE_ROW, SOURCE_EPISODES)
"""Names that a recording uses itself, so that no other column of a source can have them."""


class Imported(Section):
    """The origin of a recording that was imported, and how that was done."""

    kind: str
    """Of the source, in words: `LeRobot v3.0`."""
    source: str
    """Folder, file or Hub id, as it was typed."""
    sha256: str
    """Over the names and contents of all files that were read, in order."""
    files: PositiveInt
    camera: str
    """The name of what was taken as frames."""
    action_names: tuple[str, ...] = ()
    """One per action dimension; empty where the source does not name them."""
    framing: Framing
    command: str
    """That imported it."""

    @classmethod
    def read(cls, file: "h5py.File") -> Self | None:
        """Read what an HDF5 file says of it; None where it says nothing that can be read."""
        try:
            return cls.model_validate_json(file.attrs[ATTRIBUTE])
        except (KeyError, OSError, TypeError, ValidationError):
            return None

    def write(self, file: "h5py.File") -> None:
        """Keep it in an HDF5 file."""
        file.attrs[ATTRIBUTE] = json.dumps(self.model_dump(mode="json"))
