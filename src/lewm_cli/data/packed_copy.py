"""Packed copies of recordings: gone on with after a kill, and compared with their source before they are used."""

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lewm_cli.data.dataset import Dataset
from lewm_cli.data.episodes import BOOKKEEPING
from lewm_cli.data.frame_writer import (
    COPIED_FROM,
    KEPT_ROWS,
    Codec,
    EncodedFrames,
    FrameWriter,
    Packing,
    Places,
    encode,
    stored_packing,
    written_frames,
)
from lewm_cli.data.frames import resize
from lewm_cli.data.hdf5_dataset import HDF5Dataset, open_dataset
from lewm_cli.data.hdf5_file import dataset_at, looked_into
from lewm_cli.errors import LewmError
from lewm_cli.files import write_text
from lewm_cli.system_errors import explained
from lewm_cli.workers import Answer, Waiting, spread

ROWS_AT_ONCE = 256
"""Frames that a process packs at a time at least, as whole chunks of the source."""

SAMPLED = 64
"""Frames that are packed to see how long packed frames are."""

Block = tuple[int, int]
"""Rows from the first to before the second."""


@dataclass(frozen=True)
class PackedCopy:
    """A copy of a recording that comes together in a folder of its own.

    Args:
        dataset: the source.
        size: side of the frames in pixels; the source's own, or less.
        task: written into the copy where the source does not say it.
    """

    dataset: HDF5Dataset
    codec: Codec
    size: int
    folder: Path
    task: str | None = None

    @property
    def path(self) -> Path:
        """The copy itself."""
        return self.folder / "copy.h5"

    @property
    def rows(self) -> int:
        """Number of frames."""
        return len(self.dataset.actions)

    def left(self, say: Callable[[str], None]) -> Places:
        """Places of the frames that an earlier call left; what it left of anything else is thrown away, and said."""
        with explained(self.folder):
            about = self._about.read_text(encoding="utf-8", errors="replace") if self._about.exists() else None
            if about == self._source():
                numbers = np.fromfile(self._places, np.int64) if self._places.exists() else np.empty(0, np.int64)
                return numbers[: len(numbers) // 2 * 2].reshape(-1, 2)[: self.rows]
            if about is not None:
                say(
                    "what an earlier call packed is of another recording or in another way, or the recording has "
                    "changed since; it begins anew"
                )
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
        write_text(self._about, self._source())
        return np.empty((0, 2), np.int64)

    def expected_bytes(self) -> int:
        """Bytes that the copy will have, judged by some of its frames."""
        rows = np.unique(np.linspace(0, self.rows - 1, SAMPLED).astype(int))
        sample = encode(resize(self.dataset.read("pixels", rows), self.size), self.codec).chunks
        with self.dataset.opened() as file:
            columns = [self.dataset.stored(file, each.name) for each in self.dataset.columns if each.name != "pixels"]
            others = sum(item.nbytes if item.is_virtual else item.id.get_storage_size() for item in columns)
        return ceil(sum(map(len, sample)) / len(sample) * self.rows) + int(others)

    def write(self, left: Places, workers: int, advance: Callable[[int], None], waiting: Waiting) -> None:
        """Write the copy, except for what is left of it; ended in any way, the next call goes on from there.

        Args:
            advance: called with the number of frames done since the last call.
            waiting: called now and then; what it raises ends it.

        Raises:
            LewmError: the disk is full, or the source is damaged.
        """
        packed = partial(_packer, self.dataset, self.codec, self.size)
        with explained(self.path), written_frames(self.path, self.rows) as writer:
            for start in range(0, len(left), KEPT_ROWS):
                waiting()
                if not writer.take_over(self.codec, self.size, left[start : start + KEPT_ROWS]):
                    self.forget()
                    raise LewmError("what an earlier call packed cannot be gone on with; type the same again")
            if self._places.exists():
                os.truncate(self._places, self._places.stat().st_size // 16 * 16)
            with closing(self._answered(packed, len(left), workers, waiting)) as made:
                writer.keep(_appended(writer, made, advance), self._places)
            with looked_into(self.dataset.path) as source:
                _copy_rest(self.dataset, source, writer.file)
            pixels = writer.file["pixels"]
            values = self.dataset.identity.fingerprint, self.dataset.path.stem
            pixels.attrs.update(dict(zip(COPIED_FROM, values, strict=True)))
            if self.task and self.dataset.task is None:
                writer.file.attrs["task"] = self.task

    def compare(self, workers: int, advance: Callable[[int], None], waiting: Waiting) -> None:
        """Compare every frame and column of the copy with the source; arguments as of `write`.

        Raises:
            LewmError: they differ, and the copy was thrown away; or one of them cannot be read.
        """
        difference = self._difference(workers, advance, waiting)
        with explained(self.folder, "read"):
            if self._about.read_text(encoding="utf-8") != self._source():
                difference = f"{self.dataset.path} has changed while it was packed"
        if difference:
            self.forget()
            raise LewmError(f"{difference}; the copy was thrown away, and nothing was replaced: type the same again")

    def _difference(self, workers: int, advance: Callable[[int], None], waiting: Waiting) -> str | None:
        try:
            copy = open_dataset(self.path, self.dataset.name)
        except LewmError as error:
            return str(error)
        compared = partial(_comparer, self.dataset, copy, self.size)
        with closing(self._answered(compared, 0, workers, waiting)) as found:
            for done, differing in found:
                if differing:
                    return f"{differing} of the copy is not that of {self.dataset.path}"
                advance(done)
        for name in (column.name for column in self.dataset.columns if column.name != "pixels"):
            step = self.rows if name == "action" else KEPT_ROWS
            for start in range(0, self.rows, step):
                waiting()
                if not _same(*(each.read(name, slice(start, start + step)) for each in (self.dataset, copy))):
                    return f"column {name} of the copy is not that of {self.dataset.path}"
        return None

    def forget(self) -> None:
        """Throw away what has been packed so far."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _about(self) -> Path:
        return self.folder / "source.json"

    @property
    def _places(self) -> Path:
        return self.folder / "places"

    def _source(self) -> str:
        """Everything that decides the content and the places of packed frames."""
        there = self.dataset.path.stat()
        return json.dumps(
            {
                "recording": self.dataset.identity.fingerprint,
                "bytes": there.st_size,
                "modified": there.st_mtime_ns,
                "codec": self.codec,
                "size": self.size,
                "hdf5": h5py.version.hdf5_version,
            }
        )

    def _answered(
        self, make: Callable[[], Answer], start: int, workers: int, waiting: Waiting
    ) -> Generator[Any, None, None]:
        """Yield the answers of a function to block after block, given in this process or, to many, in several."""
        with self.dataset.opened() as file:
            chunk = (self.dataset.stored(file, "pixels").chunks or (1,))[0]
        step = chunk * max(1, ROWS_AT_ONCE // chunk)
        edges = [start, *range(start // step * step + step, self.rows, step), self.rows]
        blocks = list(pairwise(edges)) if start < self.rows else []
        yield from spread(make, blocks, workers, waiting, "packs")


@dataclass(frozen=True)
class PackedRecording:
    """A recording whose frames are packed one chunk each.

    Args:
        task: "generic" if it is of none that is known.
        source: name of the recording that it was packed from.
        bytes_before: of the source.
        there: it was packed already, and nothing was done.
    """

    name: str
    path: Path
    packing: Packing
    task: str
    rows: int
    source: str
    bytes: int
    bytes_before: int
    there: bool = False


def packing_of(dataset: Dataset) -> Packing | None:
    """The way that the frames of a recording are packed one chunk each; None if they are not."""
    if not isinstance(dataset, HDF5Dataset) or not dataset.pixels.plain:
        return None
    with dataset.opened() as file:
        return stored_packing(dataset.stored(file, "pixels"))


def original_stem(recording: Dataset) -> str:
    """The file without suffix of a recording, or of the one that it is a whole copy of."""
    packing = packing_of(recording)
    whole = packing is not None and packing.source == recording.identity.fingerprint
    return packing.source_name or recording.path.stem if packing and whole else recording.path.stem


def one_of_each(recordings: Sequence[Dataset]) -> list[Dataset]:
    """Recordings without their copies: a whole copy takes the place of its source, one of smaller frames is left out.

    Where the source is gone, the copies stay.
    """
    sources = {recording.name: packing.source for recording in recordings if (packing := packing_of(recording))}
    if not any(sources.values()):
        return list(recordings)
    groups: dict[str, list[Dataset]] = defaultdict(list)
    for recording in recordings:
        groups[sources.get(recording.name) or recording.identity.fingerprint].append(recording)
    kept = []
    for source, group in groups.items():
        whole = [recording for recording in group if recording.identity.fingerprint == source]
        copies = [recording for recording in whole if sources.get(recording.name)]
        kept += copies[:1] or whole or group
    return kept


def _appended(
    writer: FrameWriter, made: Iterable[EncodedFrames], advance: Callable[[int], None]
) -> Iterator[tuple[bytes, int]]:
    """Append frames; yields their places as bytes, and how many they are."""
    for frames in made:
        yield writer.append(frames).tobytes(), len(frames.chunks)
        advance(len(frames.chunks))


def _packer(dataset: HDF5Dataset, codec: Codec, size: int) -> Answer:
    """Make the function that packs a block of frames."""
    return lambda block: encode(resize(dataset.read("pixels", slice(*block)), size), codec)


def _comparer(dataset: HDF5Dataset, copy: HDF5Dataset, size: int) -> Answer:
    """Make the function that compares a block of frames: their number, and in words what differs, or None."""

    def compared(block: Block) -> tuple[int, str | None]:
        frames = resize(dataset.read("pixels", slice(*block)), size)
        try:
            differing = np.flatnonzero((frames != copy.read("pixels", slice(*block))).any(axis=(1, 2, 3)))
        except LewmError:  # damaged on the disk
            return len(frames), f"one of the frames {block[0]:,} to {block[1] - 1:,}"
        return len(frames), f"frame {block[0] + int(differing[0]):,}" if len(differing) else None

    return compared


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Tell whether two columns are the same, bit for bit where they hold numbers."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return bool((one == other).all()) if one.dtype.hasobject else one.tobytes() == other.tobytes()


def _copy_rest(dataset: HDF5Dataset, source: h5py.File, target: h5py.File) -> None:
    """Copy everything but the frames, as it is; what says it in another way than recordings do, as they say it."""
    pixels, action = dataset.stored(source, "pixels"), dataset.stored(source, "action")
    if dataset.pixels.plain:
        _copy_attributes(pixels, target["pixels"])
    if dataset.action.plain:
        _copy_column(action, target, "action")
    else:
        target["action"] = dataset.read("action", slice(None))
    own = [pixels, action]
    for name, values in zip(BOOKKEEPING, (dataset.lengths, dataset.offsets), strict=True):
        stored = dataset_at(source, name)
        kind = np.int64
        if stored is not None:
            kind = stored.dtype if stored.dtype.kind in "iu" else kind
            own.append(stored)
        target.create_dataset(name, data=values, dtype=kind)
    _copy_group(source, target, own)


def _copy_group(source: h5py.Group, target: h5py.Group, left_out: list[h5py.Dataset]) -> None:
    _copy_attributes(source, target)
    for name in source:
        if name in target:
            continue
        if isinstance(source.get(name, getlink=True), h5py.HardLink) and source.get(name, getclass=True) is h5py.Group:
            _copy_group(source[name], target.create_group(name), left_out)
            continue
        item = None
        with suppress(LewmError):  # a link that leads nowhere, and that nobody needs
            item = dataset_at(source, name)
        if item is not None and item not in left_out:
            _copy_column(item, target, name)


def _copy_column(item: h5py.Dataset, target: h5py.Group, name: str) -> None:
    if not item.is_virtual and not item.external:
        item.file.copy(item, target, name)
        return
    # Of what lies in other files, HDF5 would only copy the names of these.
    copy = target.create_dataset(name, item.shape, item.dtype)
    for start in range(0, len(item), KEPT_ROWS):
        copy[start : start + KEPT_ROWS] = item[start : start + KEPT_ROWS]
    _copy_attributes(item, copy)


def _copy_attributes(source: h5py.Group | h5py.Dataset, target: h5py.Group | h5py.Dataset) -> None:
    for name in source.attrs:
        if name not in target.attrs and name not in COPIED_FROM:
            with suppress(OSError, TypeError, ValueError, RuntimeError, KeyError):  # of a type that NumPy does not know
                target.attrs[name] = source.attrs[name]
