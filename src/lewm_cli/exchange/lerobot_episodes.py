"""Reads which episodes and tasks a LeRobot data set has, and where each episode lies.

Version 3.0 says it in tables, 2.1 in files with JSON in every line.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, NonNegativeInt, ValidationError

from lewm_cli.errors import LewmError, MissingError
from lewm_cli.exchange.lerobot_info import INFO, Info, placed
from lewm_cli.exchange.parquet_rows import read_table
from lewm_cli.plural import counted
from lewm_cli.text_file import read_text


class EpisodeLine(BaseModel):
    """An episode in meta/episodes.jsonl, as far as it is needed."""

    episode_index: NonNegativeInt
    length: NonNegativeInt


class TaskLine(BaseModel):
    """A task in meta/tasks.jsonl."""

    task_index: NonNegativeInt
    task: str


Line = TypeVar("Line", bound=BaseModel)


@dataclass(frozen=True)
class EpisodeLocation:
    """The place of an episode.

    Args:
        number: `episode_index` of its rows.
        length: number of its rows.
        table: Parquet file with its rows, among those of others in v3.0.
        video: file with its frames; None where they are images in the table.
        start: seconds from the start of the video to its first frame.
    """

    number: int
    length: int
    table: Path
    video: Path | None
    start: float = 0.0


@dataclass(frozen=True)
class Bookkeeping:
    """The episodes of a data set, the texts of its tasks by their numbers, and the files that say so."""

    locations: tuple[EpisodeLocation, ...]
    tasks: tuple[str, ...]
    files: tuple[Path, ...]


def read_bookkeeping(folder: Path, info: Info, camera: str) -> Bookkeeping:
    """Read where every episode lies.

    Args:
        camera: key of the frames that are taken.

    Raises:
        MissingError: a file of it is not there.
        LewmError: it is damaged, contradicts itself or meta/info.json, or has an episode twice.
    """
    if info.codebase_version == "v3.0":
        tasks_file, files = folder / "meta/tasks.parquet", sorted(folder.glob("meta/episodes/*/*.parquet"))
        if not files:
            raise MissingError(f"{folder}/meta/episodes holds no table of episodes; copy or download it again")
        found, lines = _of_tables(folder, files, info, camera), _tasks(tasks_file)
    else:
        tasks_file, files = folder / "meta/tasks.jsonl", [folder / "meta/episodes.jsonl"]
        found, lines = _of_lines(folder, files[0], info, camera), _lines(tasks_file, TaskLine)
    locations, tasks = _checked(found, folder, info), {line.task_index: line.task for line in lines}
    texts = tuple(tasks.get(number, "") for number in range(max(tasks, default=-1) + 1))
    return Bookkeeping(locations, texts, (tasks_file, *files))


def _of_tables(folder: Path, files: list[Path], info: Info, camera: str) -> Iterator[EpisodeLocation]:
    names = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    shown = info.features[camera].dtype == "video"
    names += [f"videos/{camera}/{place}" for place in ("chunk_index", "file_index", "from_timestamp") if shown]
    for file in files:
        table = read_table(file, names)
        if any(column.null_count for column in table.columns):
            raise LewmError(f"{file} does not say of every episode where it lies; copy or download it again")
        for number, length, chunk, index, *place in zip(*table.to_pydict().values(), strict=True):
            rows, video = placed(folder, info.data_path, chunk_index=chunk, file_index=index), None
            if place:
                video = placed(folder, info.video_path, video_key=camera, chunk_index=place[0], file_index=place[1])
            with _damage_told(f"row {number} of {file}"):
                line = EpisodeLine(episode_index=number, length=length)
            yield EpisodeLocation(line.episode_index, line.length, rows, video, *map(float, place[2:]))


def _of_lines(folder: Path, file: Path, info: Info, camera: str) -> Iterator[EpisodeLocation]:
    shown = info.features[camera].dtype == "video"
    for line in _lines(file, EpisodeLine):
        number = line.episode_index
        fields = {"episode_chunk": number // info.chunks_size, "episode_index": number, "video_key": camera}
        video = placed(folder, info.video_path, **fields) if shown else None
        yield EpisodeLocation(number, line.length, placed(folder, info.data_path, **fields), video)


def _checked(found: Iterable[EpisodeLocation], folder: Path, info: Info) -> tuple[EpisodeLocation, ...]:
    """The locations in the order of their numbers; raises LewmError where one stands twice or is missing."""
    locations = tuple(sorted(found, key=lambda location: location.number))
    for number, times in Counter(location.number for location in locations).items():
        if times > 1:
            raise LewmError(
                f"{folder} lists episode {number} {times} times in meta, and its rows cannot be told apart; give each "
                "episode a number of its own"
            )
    if len(locations) != info.total_episodes or not locations:
        raise LewmError(
            f"{folder} is not complete: {INFO} counts {counted(info.total_episodes, 'episode')}, and "
            f"{len(locations):,} are listed beside it; copy or download it again"
        )
    return locations


def _tasks(file: Path) -> Iterator[TaskLine]:
    table = read_table(file)
    texts = [name for name in table.column_names if name != "task_index"]  # pandas names an index in several ways
    if len(texts) != 1 or len(table.column_names) != 2:
        raise LewmError(f"{file} has the columns {', '.join(table.column_names)}, and task_index and task are needed")
    for number, text in zip(table["task_index"].to_pylist(), table[texts[0]].to_pylist(), strict=True):
        with _damage_told(str(file)):
            yield TaskLine(task_index=number, task=text)


def _lines(file: Path, kind: type[Line]) -> Iterator[Line]:
    try:
        text = read_text(file, "a file with JSON in every line")
    except FileNotFoundError as error:
        raise MissingError(f"{file} is missing; copy or download the folder again") from error
    for count, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            with _damage_told(f"line {count} of {file}"):
                yield kind.model_validate_json(line)


@contextmanager
def _damage_told(where: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "it"
        said = f"{key}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        raise LewmError(f"{where} is damaged ({said}); copy or download it again") from error
