"""Recordings of other tools, recognized by what they hold; docs/datasets.md converts them."""

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import h5py

from lewm_cli.data.hdf5_file import GUIDE, datasets_in
from lewm_cli.errors import LewmError
from lewm_cli.file_kind import FileKind, look

SHOWN = 6
"""Paths in a file or folder that are named to say what it holds."""

LOOKED_INTO = 200
"""Files of a folder that are looked at to see what it is."""


@dataclass(frozen=True)
class Layout:
    """A layout: its name in a sentence, and the section of docs/datasets.md with the program that converts it."""

    name: str
    section: str


ROBOMIMIC = Layout("the layout of robomimic", "robomimic")
ALOHA = Layout("the layout of ALOHA, one file for an episode", "aloha")
MINARI = Layout("the layout of Minari", "minari")
D4RL = Layout("the layout of D4RL", "d4rl")
LEROBOT = Layout("a LeRobot data set", "lerobot")
ZARR = Layout("a Zarr folder, as Diffusion Policy has them", "diffusion-policy-and-zarr")
LANCE = Layout("a Lance folder, as stable_worldmodel writes them", "lance")
RLDS = Layout("an RLDS or TFDS data set", "rlds-and-tfds")
ROS = Layout("a ROS bag", "ros-bags")
IMAGES = Layout("a folder of images", "images")
FILES = Layout("a folder of HDF5 files", "aloha")


def file_layout(file: h5py.File) -> Layout | None:
    """The layout of another tool that a file has; None if it has none that is known."""
    groups = {name: one for name in list(file)[:LOOKED_INTO] if isinstance(one := file.get(name), h5py.Group)}
    if "data" in groups and any(name.startswith("demo") for name in groups["data"]):
        return ROBOMIMIC
    if "observations" in groups and "images" in groups["observations"]:
        return ALOHA
    if any(name.startswith("episode_") and "observations" in one for name, one in groups.items()):
        return MINARI
    if {"observations", "actions", "terminals"} <= set(file):
        return D4RL
    return None


def other_layout(file: h5py.File, missing: str) -> LewmError:
    """Returns the sentence for a file without what a recording needs: what it holds instead, and what to do.

    Args:
        missing: what it lacks, in words.
    """
    names = list(datasets_in(file))
    held = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    layout = file_layout(file)
    if layout:
        way = f"it has {layout.name}, and {GUIDE}#{layout.section} shows how to convert it"
    else:
        way = f"{GUIDE}#your-own-recordings describes the columns"
    return LewmError(f"{file.filename} has no {missing}; it holds {held or 'nothing'}: {way}")


def _first_names(folder: Path) -> set[str]:
    return {path.name for path in islice(folder.iterdir(), LOOKED_INTO)}


def folder_layout(folder: Path) -> Layout | None:
    """The layout of another tool that a folder has; None if it has none that is known; raises OSError."""
    names = _first_names(folder)
    if (folder / "meta" / "info.json").is_file():
        return LEROBOT
    if names & {".zgroup", ".zarray", "zarr.json", ".zmetadata"} or any(
        (folder / name / ".zarray").is_file() for name in names
    ):
        return ZARR
    if "_versions" in names or any(name.endswith(".lance") for name in names):
        return LANCE
    # Versions of a TFDS data set, like 1.0.0, are folders in it.
    if any(".tfrecord" in name or (folder / name / "features.json").is_file() for name in (*names, ".")):
        return RLDS
    kinds = {look(folder / name) for name in sorted(names)[:SHOWN] if (folder / name).is_file()}
    if FileKind.HDF5 in kinds:
        return FILES
    if kinds & {FileKind.ROS_BAG, FileKind.MCAP, FileKind.SQLITE}:
        return ROS
    return IMAGES if FileKind.IMAGE in kinds else None


def folder_in_place(folder: Path) -> LewmError:
    """Returns the sentence for a folder where a recording, one file, should be; raises OSError."""
    layout = folder_layout(folder)
    if layout is LEROBOT:
        holds = f"{layout.name}{_cameras(folder)}"
    else:
        names = sorted(_first_names(folder))
        held = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        holds = f"{layout.name if layout else 'a folder'} ({held or 'empty'})"
    way = f"{GUIDE}#{layout.section} shows how to convert it" if layout else f"{GUIDE} describes it"
    if layout is FILES:
        way = f"name the one that is meant; {GUIDE}#aloha shows how to join files of one episode each"
    return LewmError(f"{folder} is {holds}, and a recording is one HDF5 file; {way}")


def _cameras(folder: Path) -> str:
    """The cameras of a LeRobot data set in words; nothing if its description cannot be read."""
    try:
        features = json.loads((folder / "meta" / "info.json").read_text(encoding="utf-8"))["features"]
        cameras = [key for key, feature in features.items() if feature["dtype"] in ("video", "image")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    return f" ({', '.join(cameras[:SHOWN]) or 'no camera'})"
