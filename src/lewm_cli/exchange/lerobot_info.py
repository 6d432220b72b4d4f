"""Reads meta/info.json of a LeRobot data set: its version, its features, and the templates of its paths."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from lewm_cli.errors import LewmError, MissingError
from lewm_cli.system_errors import explain
from lewm_cli.text_file import read_text

INFO = Path("meta/info.json")
OLD_INFO = Path("meta_data/info.json")
"""The place of the same before version 2."""

VERSIONS = ("v3.0", "v2.1")
"""Those that are read, the newest first; on the Hub, tags of these names."""

COUNTERS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""Features that count rows or time."""


class Feature(BaseModel):
    """A quantity that is recorded at every frame."""

    dtype: str
    shape: tuple[NonNegativeInt, ...]
    names: Any = None
    info: dict[str, Any] | None = None

    @property
    def is_camera(self) -> bool:
        """True for frames, in videos or as images."""
        return self.dtype in ("video", "image")

    @property
    def is_numbers(self) -> bool:
        """True for a row of numbers."""
        return self.dtype.startswith(("float", "int", "uint", "bool")) and len(self.shape) == 1 and self.shape[0] > 0

    @property
    def size(self) -> str:
        """Width and height of frames in words."""
        if len(self.shape) != 3:
            return " x ".join(map(str, self.shape)) or "of unknown size"
        first = str(_names(self.names)[:1])  # `channel`, `channels`, `rgb`
        height, width = self.shape[1:] if "channel" in first or "rgb" in first else self.shape[:2]
        return f"{width} x {height}"

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The names of its dimensions; empty where it does not name each of them."""
        names = _names(self.names)
        return tuple(names) if len(names) == self.shape[0] == len(set(names)) else ()

    @property
    def video_rate(self) -> float | None:
        """Frames per second that its videos are said to have; None where nothing is said."""
        rate = (self.info or {}).get("video.fps")
        return float(rate) if isinstance(rate, int | float) and rate > 0 else None


class Info(BaseModel):
    """The description of a data set, as far as it is needed to read it."""

    codebase_version: str
    fps: PositiveFloat = Field(allow_inf_nan=False)
    total_episodes: int
    features: dict[str, Feature]
    data_path: str
    video_path: str | None = None
    chunks_size: PositiveInt = 1000

    def cameras(self) -> dict[str, str]:
        """The size of the frames in words, by the key of each camera."""
        return {key: feature.size for key, feature in self.features.items() if feature.is_camera}


def read_info(folder: Path, name: str) -> Info:
    """Read and check the description of a data set.

    Raises:
        MissingError: there is none.
        LewmError: it is of a version that is not read, or something in it is missing or wrong.
    """
    path = folder / (INFO if (folder / INFO).exists() else OLD_INFO)
    try:
        tree = json.loads(read_text(path, "a JSON file"))
    except FileNotFoundError as error:
        raise MissingError(
            f"{folder} has no {INFO}, which describes a LeRobot data set; name a folder of one"
        ) from error
    except OSError as error:
        raise explain(error, path, "read") from error
    except ValueError as error:
        raise LewmError(f"{path} is cut short or no JSON ({error}); copy or download it again") from error
    _check_version(tree.get("codebase_version") if isinstance(tree, dict) else None, path, name)
    try:
        return Info.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        wrong = "is missing" if first["type"] == "missing" else f"= {first['input']!r}: {first['msg'].lower()}"
        raise LewmError(f"{path} does not describe a data set: {key} {wrong}; copy or download it again") from error


def placed(folder: Path, template: str | None, **fields: object) -> Path:
    """Fill in a template of a path; raises LewmError where that leads nowhere, or out of the folder."""
    try:
        path = Path((template or "").format(**fields))
    except (LookupError, ValueError, AttributeError, TypeError) as error:
        raise LewmError(f"{folder / INFO} has a path that cannot be filled in: {template!r} ({error!r})") from error
    if path.is_absolute() or ".." in path.parts or path == Path():
        raise LewmError(f"{folder / INFO} has a path that is not inside the data set: {template!r}")
    return folder / path


def _check_version(version: object, path: Path, name: str) -> None:
    if version in VERSIONS:
        return
    read = " and ".join(reversed(VERSIONS))
    numbers = version.removeprefix("v").split(".") if isinstance(version, str) else []
    if not all(number.isdecimal() for number in numbers) or not numbers:
        raise LewmError(f"{path} names no version of LeRobot that is known ({version!r}); {read} are read")
    if tuple(map(int, numbers)) > (3, 0):
        raise LewmError(
            f"{name} is a LeRobot data set of version {version}, newer than those that are read ({read}); update with: "
            "pip install -U lewm-cli"
        )
    script = "v21.convert_dataset_v20_to_v21" if numbers[0] == "2" else "v2.convert_dataset_v1_to_v2"
    raise LewmError(
        f"{name} is a LeRobot data set of version {version}, and {read} are read; convert it with lerobot 0.3.3: "
        f"python -m lerobot.datasets.{script} --repo-id USER/NAME"
    )


def _names(names: Any) -> list[str]:
    """Names as LeRobot has them: a list, {"motors": [...]}, or {"x": 0, "y": 1}."""
    if isinstance(names, dict):
        if all(isinstance(place, int) for place in names.values()):
            return [str(name) for name in sorted(names, key=names.__getitem__)]
        return [name for inner in names.values() for name in _names(inner)]
    return [str(name) for name in names] if isinstance(names, list) else []
