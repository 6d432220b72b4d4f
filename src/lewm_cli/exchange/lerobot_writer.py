"""A recording written as a LeRobot data set (v3.0): tables of many episodes in a file, and videos of as many.

Episodes are encoded in processes of their own and joined in order, so that the folder is the same for any number of
processes.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import log10
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from lewm_cli.data import Dataset, squared_errors
from lewm_cli.data.likeness import LEAST_ERROR
from lewm_cli.data.likeness import LEVELS as WHITE
from lewm_cli.data.video_frames import decoded_frames
from lewm_cli.errors import LewmError
from lewm_cli.exchange.feature_statistics import LEVELS, Counts, Statistics, count_levels
from lewm_cli.exchange.lerobot_features import ACTION, TASK, Stretch, WrittenFeature, count_frames
from lewm_cli.exchange.video_encoding import VideoFormat, encode_video, join_videos
from lewm_cli.workers import Answer, Waiting, spread

VERSION = "v3.0"

FILES_IN_A_FOLDER = 1000

PLACE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
TABLES, VIDEOS = f"data/{PLACE}.parquet", f"videos/{{video_key}}/{PLACE}.mp4"
"""Templates of paths."""

EPISODES, TASKS = "meta/episodes/chunk-000/file-000.parquet", "meta/tasks.parquet"

PARTS = "parts"
"""The folder with the videos of single episodes, which is gone at the end."""

MEGABYTE = 2**20

FRAMES_AT_ONCE = 64
"""Frames that are read together."""

IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


@dataclass(frozen=True)
class LeRobotFormat:
    """The way that a recording is written.

    Args:
        camera: name of what is seen, after `observation.images.`.
        rate: frames per second.
        tasks: texts that the numbers of tasks count.
        video: None writes PNG images into the tables.
        table_megabytes: size that a table does not exceed, unless by one episode.
        video_megabytes: the same of a video.
    """

    camera: str
    rate: Fraction
    tasks: tuple[str, ...]
    video: VideoFormat | None
    table_megabytes: float = 100
    video_megabytes: float = 200

    @property
    def seen(self) -> str:
        """The key of the frames."""
        return f"observation.images.{self.camera}"

    @property
    def fps(self) -> int | float:
        """The rate as LeRobot has it: whole where it can be."""
        return self.rate.numerator if self.rate.denominator == 1 else float(self.rate)


@dataclass(frozen=True)
class Exported:
    """A recording as another tool finds it.

    Args:
        features: keys of everything that is written for every frame.
        left_out: columns that are not written, each with the reason.
        files: number of files in the folder.
        psnr: of the frames in videos beside the recorded ones, dB; None for images, which are the same.
    """

    dataset: str
    path: Path
    episodes: int
    frames: int
    fps: float
    tasks: tuple[str, ...]
    features: tuple[str, ...]
    left_out: tuple[str, ...]
    files: int
    bytes: int
    psnr: float | None


def place(number: int) -> dict[str, int]:
    """The folder of a file among all tables or videos, and its number there, in the words of paths and tables."""
    return dict(zip(("chunk_index", "file_index"), divmod(number, FILES_IN_A_FOLDER), strict=True))


@dataclass(frozen=True, eq=False)
class EncodedEpisode:
    """An episode as a worker process hands it over; a video of it lies in a file of its own.

    Args:
        rows: numbers by key, (frames, ...) each.
        statistics: by key, those of the frames among them.
        levels: (3, 256) how often each level of each color is there.
        images: PNG files; empty if there is a video.
        video: the file of its own.
        error: mean squared error of the frames in the video, levels, summed over frames.
    """

    stretch: Stretch
    rows: Mapping[str, npt.NDArray[Any]]
    statistics: Mapping[str, Statistics]
    levels: Counts
    images: tuple[bytes, ...]
    video: Path | None
    error: float


@dataclass(frozen=True)
class LeRobotWriter:
    """Writes one folder.

    Args:
        stretches: the episodes, in order.
        features: everything that is written besides the frames.
        folder: empty.
    """

    dataset: Dataset
    stretches: Sequence[Stretch]
    features: Sequence[WrittenFeature]
    format: LeRobotFormat
    folder: Path

    def write(self, workers: int, advance: Callable[[int], None], waiting: Waiting) -> float | None:
        """Write everything; returns the PSNR of the frames in the videos, dB, None where they are images.

        Args:
            advance: called with the number of frames done since the last call.
            waiting: called now and then; what it raises ends it.

        Raises:
            LewmError: the recording is damaged, or its frames cannot be encoded.
            OSError: the disk is full.
        """
        parts, levels, error, episodes = self.folder / PARTS, np.zeros((3, LEVELS), np.int64), 0.0, []
        parts.mkdir()
        encoder = partial(_encoder, self.dataset, self.features, self.format, parts)
        with (
            closing(
                spread(encoder, self.stretches, workers, waiting, "encodes", here=partial(encoder, waiting))
            ) as encoded,
            closing(_Tables(self.folder, self._schema(), self.format.table_megabytes)) as tables,
        ):
            videos = _Videos(self.folder, self.format)
            for episode in encoded:
                table = tables.append(self._table(episode))
                shown = videos.append(episode.video, episode.stretch.frames) if episode.video else {}
                episodes.append(self._about(episode, table) | shown)
                levels += episode.levels
                error += episode.error
                advance(episode.stretch.frames)
        videos.close()
        shutil.rmtree(parts)
        frames = sum(stretch.frames for stretch in self.stretches)
        whole = {feature.key: feature.statistics for feature in self.features}
        whole[self.format.seen] = Statistics.of_levels(levels, frames)
        (self.folder / EPISODES).parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(episodes), self.folder / EPISODES)
        pq.write_table(_tasks(self.format.tasks), self.folder / TASKS)
        self._write_json("info", self._info(frames))
        self._write_json("stats", {key: statistics.stored() for key, statistics in whole.items()})
        return 10 * log10(WHITE**2 * frames / max(error, LEAST_ERROR)) if self.format.video else None

    def _write_json(self, name: str, tree: Mapping[str, Any]) -> None:
        (self.folder / "meta" / f"{name}.json").write_text(json.dumps(tree, indent=4, ensure_ascii=False), "utf-8")

    def _info(self, frames: int) -> dict[str, Any]:
        video, size = self.format.video, self.dataset.frame_size
        seen: dict[str, Any] = {
            "dtype": "video" if video else "image",
            "shape": (size, size, 3),
            "names": ("height", "width", "channels"),
        }
        if video:
            about = {"height": size, "width": size, "codec": video.codec, "pix_fmt": "yuv420p", "is_depth_map": False}
            about |= {"fps": self.format.fps, "channels": 3}
            seen["info"] = {f"video.{name}": value for name, value in about.items()} | {"has_audio": False}
        return {
            "codebase_version": VERSION,
            "robot_type": None,
            "total_episodes": len(self.stretches),
            "total_frames": frames,
            "total_tasks": len(self.format.tasks),
            "chunks_size": FILES_IN_A_FOLDER,
            "data_files_size_in_mb": self.format.table_megabytes,
            "video_files_size_in_mb": self.format.video_megabytes,
            "fps": self.format.fps,
            "splits": {"train": f"0:{len(self.stretches)}"},
            "data_path": TABLES,
            "video_path": VIDEOS if video else None,
            "features": {self.format.seen: seen}
            | {each.key: {"dtype": each.dtype, "shape": each.shape, "names": each.names} for each in self.features},
        }

    def _schema(self) -> pa.Schema:
        """Types of the tables, and the same in the words of Hugging Face's `datasets`, which tell images from bytes."""
        fields: dict[str, pa.DataType] = {}
        words: dict[str, dict[str, Any]] = {}
        if not self.format.video:
            fields[self.format.seen], words[self.format.seen] = IMAGE, {"_type": "Image"}
        for each in self.features:
            number, word = pa.from_numpy_dtype(np.dtype(each.dtype)), {"dtype": each.dtype, "_type": "Value"}
            one = each.shape == (1,)
            fields[each.key] = number if one else pa.list_(number, each.shape[0])
            words[each.key] = dict(word) if one else {"feature": word, "length": each.shape[0], "_type": "Sequence"}
        return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": words}})})

    def _table(self, episode: EncodedEpisode) -> pa.Table:
        schema = self._schema()
        columns = {each.key: pa.array(episode.rows[each.key].reshape(-1)) for each in self.features}
        columns |= {
            name: pa.FixedSizeListArray.from_arrays(column, type=schema.field(name).type)
            for name, column in columns.items()
            if pa.types.is_fixed_size_list(schema.field(name).type)
        }
        if episode.images:
            named = [{"bytes": image, "path": f"frame-{n:06}.png"} for n, image in enumerate(episode.images)]
            columns[self.format.seen] = pa.array(named, IMAGE)
        return pa.table(columns, schema)

    def _about(self, episode: EncodedEpisode, table: int) -> dict[str, Any]:
        """The row of an episode in the table of episodes."""
        stretch = episode.stretch
        return {
            "episode_index": stretch.number,
            "tasks": [self.format.tasks[number] for number in np.unique(episode.rows[TASK])],
            "length": stretch.frames,
            **{f"data/{name}": value for name, value in place(table).items()},
            "dataset_from_index": stretch.index,
            "dataset_to_index": stretch.index + stretch.frames,
            **{f"meta/episodes/{name}": value for name, value in place(0).items()},
            **{
                f"stats/{key}/{name}": value
                for key, statistics in episode.statistics.items()
                for name, value in statistics.stored().items()
            },
        }


class _Tables:
    """Parquet files with the rows of many episodes each."""

    def __init__(self, folder: Path, schema: pa.Schema, megabytes: float) -> None:
        self._folder, self._schema, self._limit = folder, schema, megabytes * MEGABYTE
        self._number = 0
        self._open: tuple[IO[bytes], pq.ParquetWriter] | None = None

    def append(self, rows: pa.Table) -> int:
        """Write an episode; returns the number of its file."""
        if self._open and self._open[0].tell() + rows.nbytes > self._limit:
            self.close()
            self._number += 1
        if not self._open:
            path = self._folder / TABLES.format(**place(self._number))
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("wb")
            self._open = file, pq.ParquetWriter(file, self._schema)
        self._open[1].write_table(rows)
        return self._number

    def close(self) -> None:
        """Finish the file."""
        if self._open:
            file, writer = self._open
            self._open = None
            with file, writer:
                pass


class _Videos:
    """Videos of many episodes each, joined from one for every episode."""

    def __init__(self, folder: Path, format: LeRobotFormat) -> None:
        self._folder, self._format = folder, format
        self._number, self._parts, self._bytes, self._frames = 0, list[Path](), 0, 0

    def append(self, part: Path, frames: int) -> dict[str, Any]:
        """Take the video of an episode; returns its place, in the words of the table of episodes."""
        size = part.stat().st_size
        if self._parts and self._bytes + size > self._format.video_megabytes * MEGABYTE:
            self.close()
            self._number += 1
        edges = self._frames, self._frames + frames
        self._parts.append(part)
        self._bytes, self._frames = self._bytes + size, edges[1]
        seconds = (float(edge / self._format.rate) for edge in edges)
        shown = place(self._number) | dict(zip(("from_timestamp", "to_timestamp"), seconds, strict=True))
        return {f"videos/{self._format.seen}/{name}": value for name, value in shown.items()}

    def close(self) -> None:
        """Join what was taken since the last call."""
        if not self._parts:
            return
        path = self._folder / VIDEOS.format(video_key=self._format.seen, **place(self._number))
        path.parent.mkdir(parents=True, exist_ok=True)
        join_videos(self._parts, path, self._format.rate)
        for part in self._parts:
            part.unlink()
        self._parts, self._bytes, self._frames = [], 0, 0


def _encoder(
    dataset: Dataset,
    features: Sequence[WrittenFeature],
    format: LeRobotFormat,
    parts: Path,
    waiting: Waiting = lambda: None,
) -> Answer:
    """Make the function that encodes an episode; its video lies in the folder `parts` then."""

    def encoded(stretch: Stretch) -> EncodedEpisode:
        rows: dict[str, npt.NDArray[Any]] = count_frames(stretch, format.rate)
        for each in features:
            if each.column == ACTION:
                rows[each.key] = dataset.actions[stretch.acted]
            elif each.column:
                rows[each.key] = dataset.read(each.column, stretch.rows)
            elif each.key == TASK:
                rows[each.key] = np.zeros(stretch.frames, np.int64)
        statistics = {key: Statistics.of_rows(values) for key, values in rows.items()}
        levels, images, error = np.zeros((3, LEVELS), np.int64), list[bytes](), 0.0
        video = parts / f"{stretch.number}.mp4" if format.video else None

        def frames() -> Iterator[npt.NDArray[np.uint8]]:
            for start in range(stretch.first, stretch.first + stretch.frames, FRAMES_AT_ONCE):
                waiting()
                yield dataset.read("pixels", slice(start, min(start + FRAMES_AT_ONCE, stretch.rows.stop)))

        def counted() -> Iterator[npt.NDArray[np.uint8]]:
            for block in frames():
                levels[...] += count_levels(block)
                yield block

        if video and format.video:
            encode_video(video, counted(), dataset.frame_size, format.video)
            error = _error(video, (frame for block in frames() for frame in block))
        else:
            images = [_png(frame) for block in counted() for frame in block]
        statistics[format.seen] = Statistics.of_levels(levels, stretch.frames)
        return EncodedEpisode(stretch, rows, statistics, levels, tuple(images), video, error)

    return encoded


def _error(video: Path, frames: Iterator[npt.NDArray[np.uint8]]) -> float:
    """Mean squared error of each frame as it is decoded, summed; raises LewmError if not all are there."""
    with closing(decoded_frames(video)) as decoded:
        try:
            return sum(
                float(squared_errors(one[None], frame[None]).mean()) for one, frame in zip(decoded, frames, strict=True)
            )
        except ValueError as error:
            raise LewmError("the encoder has lost frames; choose another --codec, or --frames png") from error


def _png(frame: npt.NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))[1])


def _tasks(texts: Iterable[str]) -> pa.Table:
    """The texts as the index of a table, in the words of pandas, which LeRobot reads it with."""
    index = "__index_level_0__"
    columns = [
        {"name": name, "field_name": field, "pandas_type": kind, "numpy_type": stored, "metadata": None}
        for name, field, kind, stored in (
            (TASK, TASK, "int64", "int64"),
            (None, index, "unicode", "object"),
        )
    ]
    words = {"index_columns": [index], "column_indexes": [], "columns": columns, "pandas_version": "2.0.0"}
    texts = list(texts)
    table = pa.table({TASK: pa.array(range(len(texts)), pa.int64()), index: pa.array(texts, pa.string())})
    return table.replace_schema_metadata({"pandas": json.dumps(words)})
