"""Videos and folders of images with tables of actions as a source: what people record without a framework.

An episode is a video or a folder of images with a table of the same name beside it (`run1.mp4` and `run1.csv`), or a
folder that holds both (`run1/front.mp4`, `run1/wrist.mp4` and `run1/actions.csv`), of which the videos are cameras. One
long video is several episodes if its table has a column that tells them apart. Such folders may lie in folders.

A table with a row for every frame, or for all but the last, belongs to the frames in order. Where it has another
number of rows, a column with the numbers of frames tells which they belong to; else times do, in seconds since the
video begins, or those in the names of images.
"""

import re
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lewm_cli.data.action_file import ActionTable, read_table, seconds
from lewm_cli.data.pixel_format import decode_image
from lewm_cli.data.video_dataset import in_order, unequal
from lewm_cli.data.video_frames import decoded_frames, frame_times, video_rate
from lewm_cli.errors import LewmError
from lewm_cli.exchange.chosen import chosen_camera
from lewm_cli.exchange.source import Asked, RawEpisode, Seconds, Source, SourceEpisode
from lewm_cli.file_kind import FileKind, look
from lewm_cli.plural import counted
from lewm_cli.suggestion import few
from lewm_cli.system_errors import explain

TABLES = (".csv", ".tsv", ".parquet", ".npz", ".npy")
NOTES = (".json", ".txt")
"""Endings of tables, and of files that may be tables or tell something else."""

DEEPEST = 4
"""Folders in each other that are looked into."""

EPOCH = 1e8
"""The least number in names of images that counts time, not images: seconds since 1970, in any unit."""


UNEQUAL = 0.1
"""Share by which the rates of videos may differ; those of cameras that slow down in the dark do by some percent."""

UNNAMED = "video"
"""Name of the camera where every episode has one, under whatever name."""


@dataclass(frozen=True)
class Shot:
    """One recording as it was found: a video or folder of images for every camera, and the table of its actions."""

    name: str
    cameras: Mapping[str, Path]
    table: Path | None


@dataclass(frozen=True)
class Take:
    """An episode: rows of a table and the pictures that they belong to.

    Args:
        pictures: a video, or a folder of images.
        rows: the first, and the one after the last; None for all of the table.
    """

    pictures: Path
    table: Path
    rows: tuple[int, int] | None = None


@dataclass(frozen=True)
class Faulty:
    """An episode that cannot be read, and the sentence that says why."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class VideoSource(Source):
    """Videos or folders of images, and tables.

    Args:
        takes: one per episode; those that cannot be read are found out when they are asked for.
        chosen: names of the columns that are the actions; empty for what the tables say.
    """

    takes: tuple[Take | Faulty, ...]
    chosen: tuple[str, ...]

    def actions(self, number: int) -> npt.NDArray[np.floating[Any]]:
        take = self._take(number)
        first, end = take.rows or (0, None)
        return _table(take.table, self.chosen).actions[first:end]

    def read(self, number: int) -> RawEpisode:
        take = self._take(number)
        rate = video_rate(take.pictures) if take.pictures.is_file() else None
        if rate and self.fps and abs(rate / self.fps - 1) > UNEQUAL:
            raise LewmError(
                f"{take.pictures} has {rate:.4g} frames per second, and the videos before it {self.fps:.4g}; import "
                "those of each rate as a recording of their own"
            )
        table = _table(take.table, self.chosen)
        first, end = take.rows or (0, len(table.actions))
        columns = {} if table.state is None else {"proprio": table.state[first:end]}
        raw = RawEpisode(_pictures(take.pictures, 0, None), table.actions[first:end], columns=columns)
        if take.rows is None and table.times is None and table.frames is None:
            return raw
        clock = _clock(take.pictures)
        if len(clock) - len(table.actions) in (0, 1):
            return self._row_by_row(raw, take, table, len(clock))
        if table.frames is not None:
            shown, given = np.arange(len(clock), dtype=np.float64), self._numbered(take, table, len(clock))
        elif table.times is not None and np.isfinite(clock).all():
            shown, given = clock, table.times
        else:
            raise LewmError(f"{self.episodes[number].name}: {unequal(len(clock), len(table.actions))}")
        if take.rows is None:
            return replace(raw, frame_times=shown, action_times=given)
        if (np.diff(given) <= 0).any():
            what = "times" if table.frames is None else "frames"
            raise LewmError(
                f"{take.table} counts {what} in every episode anew, and has {len(given):,} rows for "
                f"{counted(len(clock), 'frame')}; count those of all of {take.pictures}"
            )
        # One frame more before it, for stamps jitter, and two after it, but none of the next episode.
        start = max(0, int(np.searchsorted(shown, given[first])) - 1)
        stop = int(np.searchsorted(shown, given[end - 1], side="right")) + 2
        stop = min(stop, int(np.searchsorted(shown, given[end]))) if end < len(given) else stop
        given = given[first:end]
        frames = _pictures(take.pictures, start, stop - start)
        return replace(raw, frames=frames, frame_times=shown[start:stop], action_times=given)

    def _take(self, number: int) -> Take:
        take = self.takes[number]
        if isinstance(take, Faulty):
            raise LewmError(take.reason)
        return take

    def _row_by_row(self, raw: RawEpisode, take: Take, table: ActionTable, frames: int) -> RawEpisode:
        """Rows and frames are equally many, or there is one more frame, which follows the last row."""
        first, end = take.rows or (0, len(table.actions))
        stop = frames if end == len(table.actions) else end
        raw = replace(raw, frames=_pictures(take.pictures, first, stop - first))
        if table.times is None:
            return raw
        times = table.times[first:end]
        step = np.median(np.diff(times)) if len(times) > 1 else 1.0
        shown = times if stop == end else np.append(times, times[-1] + step)
        return replace(raw, frame_times=shown, action_times=times)

    def _numbered(self, take: Take, table: ActionTable, frames: int) -> Seconds:
        """Numbers of the frames that rows belong to, in the place of times."""
        assert table.frames is not None
        if len(beyond := np.flatnonzero((table.frames < 0) | (table.frames >= frames))):
            row = int(beyond[0])
            raise LewmError(
                f"row {row + 1:,} of {take.table} is of frame {table.frames[row]:,}, and {take.pictures} has "
                f"{counted(frames, 'frame')}, from 0 on; cut the table, or copy the video again"
            )
        return table.frames.astype(np.float64)


def open_videos(path: Path, name: str, asked: Asked) -> Source | None:
    """Open a video, or a folder with videos or images; None if there are no pictures in it.

    Raises:
        UsageError: there are several cameras and none was chosen, or one that is not there.
        LewmError: the folder is empty, two videos have one table, or no episode can be read.
    """
    if path.is_dir() and not any(path.iterdir()):
        raise LewmError(f"{name} is an empty folder; name one that holds a recording")
    shots = _shots(path, path.name if path.is_file() else "", DEEPEST)
    if not shots or not any(shot.cameras for shot in shots):
        return None
    _check_names(name, shots)
    camera = _camera(name, shots, asked)
    takes, episodes = list[Take | Faulty](), list[SourceEpisode]()
    notes: list[str] = []
    first: tuple[Path, ActionTable] | None = None
    for shot in shots:
        try:
            pictures, path_of_table = _whole(shot, camera)
            table = _table(path_of_table, asked.action)
            if first is None:
                first = path_of_table, read_table(path_of_table, notes.append, asked.action)
            _check_alike(path_of_table, table, *first)
            parts = [(label, Take(pictures, path_of_table, rows)) for label, rows in _episodes(table, path_of_table)]
        except LewmError as error:
            takes.append(Faulty(str(error)))
            episodes.append(SourceEpisode(shot.name))
            continue
        for label, take in parts:
            takes.append(take)
            count = len(_images(pictures)) if pictures.is_dir() and take.rows is None else None
            episodes.append(SourceEpisode(shot.name if take.rows is None else f"{shot.name}:{label}", count))
    usable = [take for take in takes if isinstance(take, Take)]
    if not usable or first is None:
        raise LewmError(next(take.reason for take in takes if isinstance(take, Faulty)))
    table = first[1]
    if table.state is not None:
        notes.append(f"proprio: {counted(table.state.shape[1], 'column')} of states")
    places = list(dict.fromkeys(take.pictures for take in usable))
    tables = dict.fromkeys(take.table for take in usable)
    return VideoSource(
        kind="images and tables" if places[0].is_dir() else "videos and tables",
        name=name,
        files=(*(file for place in places for file in (_images(place) if place.is_dir() else [place])), *tables),
        camera=camera,
        cameras=tuple(sorted({each for shot in shots for each in shot.cameras})),
        episodes=tuple(episodes),
        action_names=table.names,
        fps=_video_rate(places) if places[0].is_file() else _image_rate(places[0], table),
        notes=tuple(notes),
        takes=tuple(takes),
        chosen=asked.action,
    )


def _shots(path: Path, name: str, depth: int) -> list[Shot]:
    """Recordings at a path in natural order, also what seems to be one and lacks its pictures or its table."""
    if path.is_file():
        if look(path) is not FileKind.VIDEO:
            return []
        return [Shot(name, {"video": path}, _tables(_files(path.parent)).get(path.stem))]
    files, folders = _files(path), [entry for entry in path.iterdir() if entry.is_dir() and entry.name[0] != "."]
    folders.sort(key=lambda folder: in_order(folder.name))
    videos = _of_kind(files, FileKind.VIDEO)
    if not videos and _of_kind(files, FileKind.IMAGE):
        return [
            Shot(
                name or path.absolute().name,
                {"images": path},
                _only(files) or _tables(_files(path.parent)).get(path.name),
            )
        ]
    tables = _tables(files)
    stems = {**{video: video.stem for video in videos}, **{folder: folder.name for folder in folders}}
    named = {entry: tables[stem] for entry, stem in stems.items() if stem in tables}
    if not named and (table := _only(files)):
        cameras = {video.stem: video for video in videos} or {place.name: place for place in folders if _images(place)}
        if cameras and not any(_is_sibling(camera, table.stem) for camera in cameras):
            return [Shot(name or path.absolute().name, cameras, table)]
    found = [Shot(f"{name}/{video.name}".lstrip("/"), {"video": video}, named.get(video)) for video in videos]
    for folder in folders if depth else []:
        found += _shots(folder, f"{name}/{folder.name}".lstrip("/"), depth - 1)
    if videos or named or not folders:
        used = {shot.table for shot in found}
        rest = [file for file in files if file.suffix.lower() in TABLES and file not in used]
        found += [Shot(f"{name}/{lonely.name}".lstrip("/"), {}, lonely) for lonely in rest]
    return found


def _files(folder: Path) -> list[Path]:
    found = (entry for entry in folder.iterdir() if entry.is_file() and entry.name[0] != ".")
    return sorted(found, key=lambda file: in_order(file.name))


def _is_sibling(name: str, other: str) -> bool:
    """True for names that are alike but for their numbers: `run1` and `run2`."""
    return re.sub(r"\d+", "0", name) == re.sub(r"\d+", "0", other)


def _tables(files: list[Path]) -> dict[str, Path]:
    """Tables by their names without ending; of two alike, the one whose ending says more."""
    endings = (*NOTES[::-1], *TABLES[::-1])
    found = [file for file in files if file.suffix.lower() in endings]
    return {file.stem: file for file in sorted(found, key=lambda file: endings.index(file.suffix.lower()))}


def _only(files: list[Path]) -> Path | None:
    """The table in a folder that is an episode: the one named so, else the only one."""
    tables = _tables(files)
    if table := tables.get("actions", tables.get("action")):
        return table
    for endings in (TABLES, NOTES):
        found = [file for file in files if file.suffix.lower() in endings]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _images(folder: Path) -> list[Path]:
    return _of_kind(_files(folder), FileKind.IMAGE)


def _of_kind(files: list[Path], kind: FileKind) -> list[Path]:
    """Files with the ending of one that is of this kind: damaged ones too, which are missed otherwise."""
    by_ending: dict[str, list[Path]] = {}
    for file in files:
        by_ending.setdefault(file.suffix.lower(), []).append(file)
    alike = {ending for ending, group in by_ending.items() if any(look(file) is kind for file in group)}
    return [file for file in files if file.suffix.lower() in alike]


def _whole(shot: Shot, camera: str) -> tuple[Path, Path]:
    """The pictures of a camera and the table; raises LewmError if one of them is missing."""
    if not shot.cameras:
        raise LewmError(f"{shot.name} has no video; copy what is missing, or move the table elsewhere")
    if shot.table is None:
        stem = Path(shot.name).stem
        raise LewmError(
            f"{shot.name} has no table of actions; write one beside it, like {stem}.csv with a row for every frame"
        )
    if camera == UNNAMED:
        return next(iter(shot.cameras.values())), shot.table
    if camera not in shot.cameras:
        raise LewmError(f"{shot.name} has no camera {camera}, only {few(shot.cameras)}; copy what is missing")
    return shot.cameras[camera], shot.table


def _check_names(name: str, shots: list[Shot]) -> None:
    """Raises LewmError if two recordings have one table."""
    by_table: dict[Path | None, str] = {}
    for shot in shots:
        if shot.table is not None and shot.table in by_table:
            raise LewmError(
                f"{name} has {by_table[shot.table]} and {shot.name}, and one table for both; keep one of them, or give "
                "each another name and a table"
            )
        by_table[shot.table] = shot.name


def _camera(name: str, shots: list[Shot], asked: Asked) -> str:
    counts = Counter(camera for shot in shots for camera in shot.cameras)
    if asked.camera is None and all(len(shot.cameras) <= 1 for shot in shots):
        return next(iter(counts)) if len(counts) == 1 else UNNAMED
    return chosen_camera(name, {each: counted(count, "episode") for each, count in counts.items()}, asked)


def _check_alike(path: Path, table: ActionTable, first_path: Path, first: ActionTable) -> None:
    def said(of: ActionTable) -> str:
        return f"{counted(of.actions.shape[1], 'action column')}{f' ({few(of.names)})' if of.names else ''}"

    if (table.actions.shape[1], table.names) != (first.actions.shape[1], first.names):
        choose = "; write the same columns in every table" + (", or choose some with --action" if table.names else "")
        raise LewmError(f"{path} has {said(table)}, and {first_path} {said(first)}{choose}")


def _episodes(table: ActionTable, path: Path) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """Yields labels and rows of the episodes in a table; a single one has all rows."""
    if table.episodes is None or len(set(table.episodes.tolist())) == 1:
        yield "", None
        return
    labels, seen = table.episodes, set[str]()
    edges = [0, *(np.flatnonzero(labels[1:] != labels[:-1]) + 1).tolist(), len(labels)]
    for first, end in pairwise(edges):
        label = str(labels[first])
        if label in seen:
            raise LewmError(
                f"{path} comes back to episode {label} in row {first + 1:,}; give every episode its own number"
            )
        seen.add(label)
        yield label, (first, end)


def _table(path: Path, chosen: tuple[str, ...]) -> ActionTable:
    """The table at a path."""
    return _kept_table(path, chosen, _changed(path))


def _clock(pictures: Path) -> Seconds:
    """Times (T,) of all pictures in seconds; NaN where images have none."""
    return _kept_clock(pictures, _changed(pictures))


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # whoever opens it says so
        return 0


# One file may hold many episodes, which are read one after the other.


@lru_cache(maxsize=4)
def _kept_table(path: Path, chosen: tuple[str, ...], changed: int) -> ActionTable:
    return read_table(path, lambda line: None, chosen)


@lru_cache(maxsize=4)
def _kept_clock(pictures: Path, changed: int) -> Seconds:
    if pictures.is_file():
        return frame_times(pictures)
    images = _images(pictures)
    stamps = [float(found[1]) if (found := re.search(r"(\d{9,}(?:\.\d+)?)$", image.stem)) else 0.0 for image in images]
    if min(stamps, default=0.0) < EPOCH:
        return np.full(len(images), np.nan)
    return seconds("t", np.array(stamps), pictures)


def _video_rate(videos: list[Path]) -> float | None:
    """Frames per second of the first video that can be read."""
    for path in videos:
        with suppress(LewmError):  # said when its episode is read
            return video_rate(path)
    return None


def _image_rate(images: Path, table: ActionTable) -> float | None:
    """Frames per second of images, by their names, or by a table with a row for each; None if neither tells times."""
    times = _clock(images)
    if not np.isfinite(times).all() and table.times is not None and len(times) - len(table.times) in (0, 1):
        times = table.times
    step = float(np.median(np.diff(times))) if len(times) > 1 else np.nan
    return round(1 / step, 3) if step > 0 else None


def _pictures(place: Path, first: int, count: int | None) -> Generator[npt.NDArray[Any], None, None]:
    """Frames of a video or a folder of images, `count` of them from number `first` on."""
    if place.is_file():
        yield from decoded_frames(place, float(_clock(place)[first]) if first else 0.0, count)
        return
    images = _images(place)[first:]
    shape = None
    for path in images[:count]:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise explain(error, path, "read") from error
        image = decode_image(content, path, as_stored=True)
        if shape and image.shape != shape:
            sizes = (" x ".join(map(str, each[1::-1])) for each in (image.shape, shape))
            raise LewmError("{} is {} pixels, and the images before it {}; make them all alike".format(path, *sizes))
        shape = image.shape
        yield image
