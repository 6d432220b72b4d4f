"""LeRobot data sets of versions 3.0 and 2.1 as a source: numbers in tables, and frames as images there or in videos."""

import os
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lewm_cli.data.imported import RESERVED
from lewm_cli.data.pixel_format import decode_image
from lewm_cli.data.video_frames import Frame, decoded_frames
from lewm_cli.errors import LewmError, MissingError, UsageError
from lewm_cli.exchange.chosen import chosen_actions, chosen_camera
from lewm_cli.exchange.lerobot_episodes import EpisodeLocation, read_bookkeeping
from lewm_cli.exchange.lerobot_info import COUNTERS, INFO, OLD_INFO, Info, read_info
from lewm_cli.exchange.parquet_rows import contents, numbers, read_rows
from lewm_cli.exchange.source import Asked, RawEpisode, Seconds, Source, SourceEpisode, narrowed
from lewm_cli.file_kind import FileKind, look, mistaken
from lewm_cli.plural import counted
from lewm_cli.system_errors import explain

ACTIONS = ("action", "actions")
STATES = ("observation.state", "state")
REWARDS = ("next.reward", "reward")
WORLDS = ("observation.environment_state",)
"""Keys of features, the first that is there is taken."""

LAST = 2.0**53
"""A frame that no video has."""

SEEN = "observation."
"""A prefix that columns do without, as those of recordings made here do."""


@dataclass(frozen=True, kw_only=True)
class LeRobotSource(Source):
    """A folder of a LeRobot data set, of which only the tables and the videos of one camera are read.

    Args:
        locations: the places of the episodes.
        action: key of the feature with the actions.
        action_width: numbers in it.
        dimensions: those of them that are taken.
        columns: key and width of the feature of every other column, by its name in a recording.
        video_fps: frames per second of the videos.
    """

    locations: tuple[EpisodeLocation, ...]
    action: str
    action_width: int
    dimensions: tuple[int, ...]
    columns: Mapping[str, tuple[str, int]]
    video_fps: float

    def actions(self, number: int) -> npt.NDArray[np.floating[Any]]:
        if video := self.locations[number].video:
            _check_video(video)
        actions = self._numbers(number, {"action": (self.action, self.action_width)})["action"]
        return actions[:, list(self.dimensions)].astype(np.result_type(np.float32, actions))

    def read(self, number: int) -> RawEpisode:
        location = self.locations[number]
        known = {"timestamp": ("timestamp", 1), "task_index": ("task_index", 1), **self.columns}
        columns = narrowed(self._numbers(number, known))
        times = columns.pop("timestamp").astype(np.float64)
        return RawEpisode(
            frames=self._images(location) if location.video is None else self._video(location, location.video, times),
            actions=self.actions(number),
            frame_times=times,
            action_times=times,
            columns=columns,
        )

    def _numbers(self, number: int, features: Mapping[str, tuple[str, int]]) -> dict[str, npt.NDArray[Any]]:
        """Read features of an episode, (rows, width) each."""
        location, name = self.locations[number], self.episodes[number].name
        table = read_rows(location.table, [key for key, _ in features.values()], "episode_index", location.number)
        if len(table) != location.length:
            raise LewmError(
                f"{name} has {counted(len(table), 'row')} in {location.table}, and {location.length:,} in the list of "
                "episodes; copy or download the folder again"
            )
        found = {}
        for column, (key, width) in features.items():
            values = numbers(table[key], width)
            if values is None:
                raise LewmError(
                    f"{name} has a row of {key!r} in {location.table} that holds other than the "
                    f"{counted(width, 'number')} that {INFO} says; make its width the same in all rows"
                )
            found[column] = values
        return found

    def _images(self, location: EpisodeLocation) -> Generator[Frame, None, None]:
        table = read_rows(location.table, [self.camera], "episode_index", location.number)
        for row, content in enumerate(contents(table[self.camera])):
            if not content:
                raise LewmError(f"row {row} of episode {location.number} in {location.table} has no image")
            yield decode_image(content, location.table)

    def _video(self, location: EpisodeLocation, video: Path, times: Seconds) -> Generator[Frame, None, None]:
        """Frames that are shown at these times; one twice if it is there at two of them."""
        if not len(times):
            return
        steps = np.rint((times - times[0]) * self.video_fps)
        if not np.all(np.diff(steps) >= 0):  # NaN too
            raise LewmError(f"the timestamps of episode {location.number} in {location.table} go back; record it again")
        places, repeats = np.unique(np.minimum(steps, LAST), return_counts=True)
        row, shown = 0, iter(zip(places.tolist(), repeats.tolist(), strict=True))
        place, repeated = next(shown)
        with closing(decoded_frames(video, location.start + float(times[0]), int(places[-1]) + 1)) as frames:
            for number, frame in enumerate(frames):
                if number < place:
                    continue
                for _ in range(repeated):
                    yield frame
                row += repeated
                place, repeated = next(shown, (0, 0))
        if row < len(steps):
            raise LewmError(
                f"{video} ends after {row:,} of the {counted(len(steps), 'row')} that {location.table} has of episode "
                f"{location.number}; copy or download it again, or remove the episode with lerobot-edit-dataset"
            )


def open_lerobot(path: Path, name: str, asked: Asked) -> Source | None:
    """Open a folder of LeRobot, of which the files in `meta` are read; None if it is none.

    Raises:
        UsageError: the camera, or something else that was asked for, is not there or leaves a choice.
        MissingError: a file in `meta` is not there.
        LewmError: one of them is damaged, they contradict each other, or they are of a version that is not read.
    """
    if not (path / INFO).is_file() and not (path / OLD_INFO).is_file():
        return None
    source = _described(path, name, asked)
    return replace(source, files=tuple(file for file in source.files if file.exists()))


def lerobot_files(folder: Path, name: str, asked: Asked) -> tuple[Path, ...]:
    """All files that an import reads, by what the files in `meta` say, whether they are there or not.

    Errors as of `open_lerobot`.
    """
    return _described(folder, name, asked).files


def _described(folder: Path, name: str, asked: Asked) -> LeRobotSource:
    if asked.episodes or asked.preset:
        raise UsageError(
            f"{name} is a LeRobot data set, which says itself where its episodes are; leave out --episodes and --preset"
        )
    info = read_info(folder, name)
    camera = chosen_camera(name, info.cameras(), asked)
    action = _key(info, name, "action", ACTIONS, asked)
    if action is None:
        raise LewmError(f"{name} has no actions; it has {', '.join(info.features)}: name them with --map action=KEY")
    feature = info.features[action]
    dimensions = chosen_actions(name, feature.dimensions, feature.shape[0], asked)
    bookkeeping = read_bookkeeping(folder, info, camera)
    named = {
        "proprio": _key(info, name, "proprio", STATES, asked),
        "reward": _key(info, name, "reward", REWARDS, asked),
        "state": _key(info, name, "state", WORLDS, asked),
    }
    known = {key: column for column, key in named.items() if key}
    others = [key for key, feature in info.features.items() if feature.is_numbers and key not in (action, *COUNTERS)]
    taken = {*known.values(), *others, *COUNTERS, *RESERVED}
    short = {key: key.removeprefix(SEEN) for key in others if key not in known}
    known |= {key: column for key, column in short.items() if column not in taken}
    columns = {known.get(key, key): (key, info.features[key].shape[0]) for key in others}
    places = {path for location in bookkeeping.locations for path in (location.table, location.video) if path}
    files = (folder / INFO, *bookkeeping.files, *sorted(places))
    _refuse_links_out(folder, files)
    return LeRobotSource(
        kind=f"LeRobot {info.codebase_version}",
        name=name,
        files=files,
        camera=camera,
        cameras=tuple(info.cameras()),
        episodes=tuple(
            SourceEpisode(f"episode_{location.number:06d}", location.length) for location in bookkeeping.locations
        ),
        action_names=tuple(feature.dimensions[dimension] for dimension in dimensions if feature.dimensions),
        fps=info.fps,
        tasks=bookkeeping.tasks,
        notes=tuple(f"{key} is taken as {column}" for column, key in named.items() if key and key != column),
        locations=bookkeeping.locations,
        action=action,
        action_width=feature.shape[0],
        dimensions=tuple(dimensions),
        columns=columns,
        video_fps=info.features[camera].video_rate or info.fps,
    )


def _refuse_links_out(folder: Path, files: tuple[Path, ...]) -> None:
    """Refuse links that lead out of a data set, which may have come from anybody; raises LewmError."""
    # In the cache of the Hub, the files of a snapshot are links to what its data set has beside it.
    there = Path(os.path.realpath(folder))
    own = there.parents[1] if there.parent.name == "snapshots" else there
    for file in files:
        if not (target := Path(os.path.realpath(file))).is_relative_to(own):
            raise LewmError(
                f"{file} is a link out of the data set, to {target}; copy the folder with what its links stand for: "
                "cp -rL OLD NEW"
            )


def _key(info: Info, name: str, column: str, usual: tuple[str, ...], asked: Asked) -> str | None:
    """The feature that becomes a column: the one that was asked for, else the first with a usual key; None without."""
    known = [key for key, feature in info.features.items() if feature.is_numbers]
    if key := asked.map.get(column):
        if key not in known:
            raise UsageError(f"--map {column}={key}: {name} has no such row of numbers; it has {', '.join(known)}")
        return key
    return next((key for key in usual if key in known), None)


def _check_video(path: Path) -> None:
    """Check that an MP4 file is there to its end, by the lengths that its parts say; other kinds are let through."""
    try:
        kind = look(path)
    except FileNotFoundError as error:
        raise MissingError(f"{path} is missing; copy or download it again") from error
    except OSError as error:
        raise explain(error, path, "read") from error
    if kind is not FileKind.VIDEO:
        raise LewmError(f"{path} is damaged: {mistaken(path, kind, 'a video')}")
    with path.open("rb") as file:
        place, size, parts = 0, path.stat().st_size, set()
        while place < size and (head := file.read(16))[4:8].isalnum():
            length = int.from_bytes(head[8:16] if head[:4] == b"\0\0\0\1" else head[:4]) or size - place
            parts.add(head[4:8])
            place += max(length, 8)
            file.seek(place)
    if b"ftyp" in parts and (place != size or b"moov" not in parts):
        raise LewmError(f"{path} is cut short: {size:,} bytes of it are there; copy or download it again")
