"""One episode of a source, converted: its frames packed into a file of their own, and all other columns."""

import io
import zipfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from lewm_cli.data.frame_writer import USUAL, Places, encode
from lewm_cli.data.framing import square
from lewm_cli.errors import LewmError
from lewm_cli.exchange.alignment import align
from lewm_cli.exchange.source import Seconds
from lewm_cli.exchange.survey import FEWEST, Survey
from lewm_cli.plural import counted
from lewm_cli.workers import Answer, Waiting

Whole = npt.NDArray[np.int64]
Columns = Mapping[str, npt.NDArray[Any]]

FRAMES, SIZES = ".frames", ".sizes"
"""Endings of the files of an episode: packed frames one after the other, and how many bytes each frame has there, 0
for those that are not kept; the second one tells whoever waits how far it is."""


@dataclass(frozen=True, eq=False)
class ConvertedEpisode:
    """An episode of a source as the recording has it; without rows if it is too short or damaged.

    Args:
        number: in the source.
        decoded: number of its frames in the source.
        lengths: (S,) rows of each of the episodes that it became; gaps split it.
        source_rows: (N,) the source's frame of every row.
        columns: (N, ...) by name, `action` among them.
        rate: frames per second by their times; NaN where they have none.
        damaged: the reason why it cannot be read.
        places: (N, 2) first byte and number of bytes of packed frames, in a file of its own or in the recording.
    """

    number: int
    decoded: int = 0
    lengths: Whole = field(default_factory=lambda: np.empty(0, np.int64))
    source_rows: Whole = field(default_factory=lambda: np.empty(0, np.int64))
    columns: Columns = field(default_factory=dict)
    rate: float = float("nan")
    damaged: str | None = None
    places: Places = field(default_factory=lambda: np.empty((0, 2), np.int64))

    def packed(self) -> bytes:
        """All of it as bytes."""
        numbers = np.array([self.number, self.decoded, self.rate])
        whole = {"lengths": self.lengths, "source_rows": self.source_rows, "places": self.places}
        named = {f"column {name}": values for name, values in self.columns.items()}
        content = io.BytesIO()
        arrays: dict[str, Any] = {"numbers": numbers, "damaged": np.array(self.damaged or ""), **whole, **named}
        np.savez(content, **arrays)
        return content.getvalue()

    @classmethod
    def unpacked(cls, content: bytes) -> Self | None:
        """The one of these bytes; None if they are not what was packed."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                named = {name: arrays[name] for name in arrays.files}
            number, decoded, rate = named.pop("numbers").tolist()
            damaged = str(named.pop("damaged")) or None
            whole = {name: named.pop(name) for name in ("lengths", "source_rows", "places")}
        except (ValueError, LookupError, OSError, EOFError, zipfile.BadZipFile):
            return None
        columns = {name.removeprefix("column "): values for name, values in named.items()}
        return cls(int(number), int(decoded), columns=columns, rate=rate, damaged=damaged, **whole)


def converter(survey: Survey, folder: Path, waiting: Waiting = lambda: None) -> Answer:
    """Make the function that converts the episode of a number; its frames lie in the folder then.

    Args:
        waiting: called after every frame; what it raises ends it.
    """

    def converted(number: int) -> ConvertedEpisode:
        if number in survey.damaged:
            return ConvertedEpisode(number, damaged=survey.damaged[number])
        name = survey.source.episodes[number].name
        try:
            return _converted(survey, number, folder, waiting)
        except LewmError as error:
            said = str(error)
            return ConvertedEpisode(number, damaged=said if name in said else f"{name}: {said}")

    return converted


def _converted(survey: Survey, number: int, folder: Path, waiting: Waiting) -> ConvertedEpisode:
    raw, episode = survey.source.read(number), survey.source.episodes[number]
    if raw.actions.shape[1] != len(survey.low):
        raise LewmError(f"it has {counted(raw.actions.shape[1], 'action dimension')}, and others {len(survey.low)}")
    known = episode.frames if raw.frame_times is None else len(raw.frame_times)
    segments = align(known, raw) if known is not None and known >= FEWEST else None
    # Where it is known before which frames are kept, no others are packed.
    kept = None if segments is None else {row for segment in segments for row in segment.frames.tolist()}
    sizes: list[int] = []
    parts = (io.FileIO(folder / f"{number}{ending}", "w") for ending in (FRAMES, SIZES))
    with closing(raw.frames) as frames, next(parts) as packed, next(parts) as log:
        for row, frame in enumerate(frames):
            waiting()
            chunk = b""
            if kept is None or row in kept:
                try:
                    squared = square(survey.pixels.rgb(frame), survey.framing)
                except LewmError as error:
                    raise LewmError(f"frame {row:,} of {episode.name} {error}") from error
                (chunk,) = encode(squared[None], USUAL).chunks
                packed.write(chunk)
            log.write(np.int64(len(chunk)).tobytes())
            sizes.append(len(chunk))
    if known is not None and len(sizes) != known:
        raise LewmError(f"it has {counted(len(sizes), 'frame')}, and by its bookkeeping {known:,}; copy it again")
    if segments is None:
        segments = align(len(sizes), raw) if len(sizes) >= FEWEST else []
    converted = ConvertedEpisode(number, len(sizes), rate=_rate(raw.frame_times))
    if not segments:
        return converted
    rows = np.concatenate([segment.frames for segment in segments])
    columns = {name: np.concatenate([segment.columns[name] for segment in segments]) for name in segments[0].columns}
    lengths = np.array(sizes)
    return replace(
        converted,
        lengths=np.array([len(segment.frames) for segment in segments]),
        source_rows=rows,
        columns={**columns, "action": np.concatenate([segment.actions for segment in segments])},
        places=np.stack([np.cumsum(lengths)[rows] - lengths[rows], lengths[rows]], axis=1),
    )


def _rate(times: Seconds | None) -> float:
    return float("nan") if times is None or len(times) < FEWEST else 1 / float(np.median(np.diff(times)))
