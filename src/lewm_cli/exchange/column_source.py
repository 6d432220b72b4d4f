"""Sources that keep every quantity as a column of numbers, whatever file the columns lie in."""

import math
from abc import abstractmethod
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lewm_cli.data.imported import RESERVED
from lewm_cli.data.layouts import LOOKED_INTO
from lewm_cli.data.pixel_format import decode_image
from lewm_cli.data.video_dataset import in_order
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.exchange.chosen import chosen_actions
from lewm_cli.exchange.source import Asked, RawEpisode, Source, narrowed
from lewm_cli.suggestion import command, few

Array = npt.NDArray[Any]

BLOCK = 2**24
"""Bytes of frames that are read at once."""

WIDEST = 4096
"""Numbers in a row of actions, and of what comes along as a column."""


@dataclass(frozen=True)
class EpisodeRows:
    """The place of an episode: rows of the columns of a file.

    Args:
        group: path of the group in the file that its columns lie in; empty for the file itself.
        start: its first row in columns with a row for every frame.
        frames: number of its frames.
        action_start: its first row in columns with a row for every action.
        actions: number of its actions.
        fault: the reason why it cannot be read; empty if it can.
    """

    file: Path
    group: str
    start: int
    frames: int
    action_start: int
    actions: int
    fault: str = ""


@dataclass(frozen=True)
class Quantity:
    """A column that is read beside frames and actions.

    Args:
        name: in the recording.
        paths: in the source; several are put side by side.
        per_action: it has rows for actions, and not for frames.
    """

    name: str
    paths: tuple[str, ...]
    per_action: bool = False


@dataclass(frozen=True)
class ColumnSource(Source):
    """A source of columns; a subclass says how rows of one are read.

    Args:
        rows: the place of every episode.
        pixels: path of the frames.
        encoded: every row of them is an image file.
        swapped: these have red and blue exchanged.
        action: paths of the actions, which are put side by side.
        dimensions: those of the actions that are taken.
        quantities: what else is read.
        last_action: the action of an episode's last row was taken; else it means nothing.
    """

    rows: tuple[EpisodeRows, ...] = ()
    pixels: str = ""
    encoded: bool = False
    swapped: bool = False
    action: tuple[str, ...] = ("action",)
    dimensions: tuple[int, ...] = ()
    quantities: tuple[Quantity, ...] = ()
    last_action: bool = True

    @abstractmethod
    def values(self, rows: EpisodeRows, path: str, start: int, count: int) -> Array:
        """Read rows of a column; those that are there, where these are fewer; errors as of `read`."""

    @abstractmethod
    def stored_frames(self, rows: EpisodeRows) -> Iterator[Array]:
        """Read the frames of an episode as they are stored, one by one; errors as of `read`."""

    def actions(self, number: int) -> npt.NDArray[np.floating[Any]]:
        rows = self._readable(number)
        taken = self._table(rows, Quantity("action", self.action, per_action=True))[:, list(self.dimensions)]
        if not self.last_action:
            taken[-1] = np.nan
        return taken

    def read(self, number: int) -> RawEpisode:
        rows = self._readable(number)
        columns = {quantity.name: self._table(rows, quantity) for quantity in self.quantities}
        return RawEpisode(self._frames(number), self.actions(number), columns=narrowed(columns))

    def _readable(self, number: int) -> EpisodeRows:
        rows = self.rows[number]
        if rows.fault:
            raise LewmError(rows.fault)
        return rows

    def _table(self, rows: EpisodeRows, quantity: Quantity) -> npt.NDArray[np.floating[Any]]:
        """Rows (T, D) of a quantity for all frames, NaN where it has none."""
        start, count = (rows.action_start, rows.actions) if quantity.per_action else (rows.start, rows.frames)
        parts = [self.values(rows, path, start, count) for path in quantity.paths]
        kind = np.result_type(np.float32, *(part.dtype for part in parts)) if quantity.name != "action" else np.float32
        if len({len(part) for part in parts}) > 1 or not count - 1 <= len(parts[0]) <= rows.frames:
            raise LewmError(f"{rows.file}: {quantity.paths[0]} has other rows than before; import it again")
        table = np.concatenate(
            [part.reshape(len(part), math.prod(part.shape[1:])).astype(kind) for part in parts], axis=1
        )
        missing = np.full((rows.frames - len(table), table.shape[1]), np.nan, kind)
        return np.concatenate([table, missing])

    def _frames(self, number: int) -> Generator[Array, None, None]:
        rows, size = self.rows[number], None
        for row, frame in enumerate(self.stored_frames(rows)):
            if not self.encoded:
                yield frame
                continue
            at = f"{rows.file}: row {row} of {self.pixels} in {self.episodes[number].name}"
            image = decode_image(bytes(frame), at)
            if size is not None and image.shape != size:
                raise LewmError(
                    f"{at} is an image of {image.shape[1]} x {image.shape[0]} pixels, and those before of {size[1]} x "
                    f"{size[0]}; bring them to one size"
                )
            size = image.shape
            yield image[..., ::-1] if self.swapped else image


def files_of(path: Path, wanted: Callable[[Path], bool]) -> tuple[Path, ...]:
    """The file itself if it is wanted, or those of a folder that are, by the numbers in their names; raises OSError."""
    if not path.is_dir():
        return (path,) if wanted(path) else ()
    inside = sorted((place for place in path.iterdir() if place.is_file()), key=lambda place: in_order(place.name))
    # A folder may have thousands of images.
    return tuple(filter(wanted, inside)) if any(map(wanted, inside[:LOOKED_INTO])) else ()


def refuse_wrong_map(asked: Asked) -> None:
    """Refuse names in --map that a recording cannot give to a column; raises UsageError."""
    for column in asked.map:
        if column not in ("pixels", "action") and (column in RESERVED or "/" in column):
            raise UsageError(
                f"--map {column}={asked.map[column]} gives a column a name that a recording cannot have, or writes "
                "itself; choose another one, of letters and _"
            )


def mapped_paths(asked: Asked, column: str, held: Collection[str], name: str) -> tuple[str, ...]:
    """The paths that --map names for a column, parted by commas; none if it names none.

    Args:
        held: all that are there.
        name: of the source, as it was typed.

    Raises:
        UsageError: one of them is not there.
    """
    paths = tuple(path.strip().strip("/") for path in asked.map[column].split(",")) if column in asked.map else ()
    for path in paths:
        if path not in held:
            listing = command("import", name, "--dry-run")
            raise UsageError(
                f"--map {column}={path}: {name} has no {path!r}; it holds {few(held, listing) or 'nothing'}"
            )
    return paths


def chosen_dimensions(name: str, widths: Mapping[str, int], asked: Asked) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Choose dimensions of actions that lie in several columns side by side.

    Args:
        name: of the source, as it was typed.
        widths: numbers in a row, by the name of each column.

    Returns:
        their places, and their names: `gripper`, `arm.0`, `arm.1`; of one column that says none, numbers if some were
        asked for, else none.

    Raises:
        UsageError: one of them is not there, or stands twice.
        LewmError: they are no actions, for a row has too many numbers.
    """
    if sum(widths.values()) > WIDEST:
        raise LewmError(
            f"{name} has actions of {sum(widths.values()):,} dimensions, and {WIDEST:,} are the most; name others with "
            "--map action=PATH"
        )
    alone = len(widths) == 1
    names = [
        str(place) if alone else column if width == 1 else f"{column}.{place}"
        for column, width in widths.items()
        for place in range(width)
    ]
    places = chosen_actions(name, names, len(names), asked)
    return tuple(places), () if alone and not asked.action else tuple(names[place] for place in places)
