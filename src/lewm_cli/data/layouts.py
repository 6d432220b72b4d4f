"""Recordings of other tools, recognized by what they hold, and the command that imports each."""

import json
import shlex
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import h5py

from lewm_cli.data.hdf5_file import FROM_ROS, GUIDE, datasets_in, open_file
from lewm_cli.data.pixel_format import looks_like_frames
from lewm_cli.errors import LewmError
from lewm_cli.file_kind import FileKind, look
from lewm_cli.suggestion import command

SHOWN = 6
"""Paths in a file or folder that are named to say what it holds."""

LOOKED_INTO = 200
"""Files of a folder that are looked at to see what it is."""

MINARI_FILE = "main_data.hdf5"


@dataclass(frozen=True)
class Layout:
    """A layout of other tools.

    Args:
        name: in a sentence.
        way: to what can be imported, where it is not, or has no frames.
    """

    name: str
    way: str = ""


ROBOMIMIC = Layout("the layout of robomimic", "render them with dataset_states_to_obs.py of robomimic")
ALOHA = Layout("the layout of ALOHA, one file for an episode", "record with cameras")
MINARI = Layout("the layout of Minari", "record with an environment that observes images")
D4RL = Layout("the layout of D4RL", "render them with the environment that they are of")
LEROBOT = Layout("a LeRobot data set")
ZARR = Layout(
    "a Zarr folder, as Diffusion Policy has them",
    "where zarr is installed, this makes {file} of it: {program}; then: {command}",
)
LANCE = Layout(
    "a Lance folder, as stable_worldmodel writes them",
    "this makes the recording {file} of it: {program}",
)
RLDS = Layout(
    "an RLDS or TFDS data set",
    "openx2lerobot of the project any4lerobot makes a LeRobot data set of it, whose folder `lewm import` reads",
)
ROS = Layout("a ROS bag", FROM_ROS)
IMAGES = Layout("a folder of images")
VIDEOS = Layout("a folder of videos")
ARRAYS = Layout("a folder of NumPy files")
FILES = Layout("a folder of HDF5 files")

_PROGRAMS = {
    ZARR: "import numpy, zarr; f = zarr.open({path!r}, mode='r'); numpy.savez({file!r}, "
    "episode_ends=f['meta/episode_ends'][:], **{{name: f['data'][name][:] for name in f['data']}})",
    LANCE: "from stable_worldmodel.data import convert; convert({path!r}, {file!r}, dest_format='hdf5')",
}
"""Programs of a line that write a file from a folder."""


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


def color_frames(group: h5py.Group, series: bool = False) -> dict[str, h5py.Dataset]:
    """The data sets by path that can be nothing but color frames, but those one row later (`next_observations`)."""
    found = datasets_in(group, series)
    return {
        path: stored
        for path, stored in found.items()
        if not any(part.startswith("next_") for part in path.split("/")) and looks_like_frames(stored)
    }


def other_layout(file: h5py.File, missing: str) -> LewmError:
    """Returns the sentence for a file without what a recording needs: what it holds instead, and what to do.

    Args:
        missing: what it lacks, in words.
    """
    path = Path(file.filename)
    names = list(datasets_in(file))
    held = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    layout, frames = file_layout(file), list(color_frames(file))
    camera = ("--camera", frames[0].rpartition("/")[2]) if len(frames) > 1 else ()
    source = path.parent if layout is ALOHA else path
    imports = command("import", source, *camera)
    if layout and not frames:
        way = f"it has {layout.name} with states and no frames; {layout.way}, then: {imports}"
    elif layout:
        way = f"it has {layout.name}, and this imports {'its whole folder' if layout is ALOHA else 'it'}: {imports}"
    else:
        named = command(
            "import", path, "--map", f"pixels={frames[0] if frames else 'COLUMN'}", "--map", "action=COLUMN"
        )
        way = f"where they have other names, this imports them: {named}; {GUIDE}#your-own-recordings describes columns"
    return LewmError(f"{file.filename} has no {missing}; it holds {held or 'nothing'}: {way}")


def _first_names(folder: Path) -> set[str]:
    return {path.name for path in islice(folder.iterdir(), LOOKED_INTO)}


def folder_layout(folder: Path) -> Layout | None:
    """The layout of another tool that a folder has; None if it has none that is known; raises OSError."""
    names = _first_names(folder)
    if (folder / "meta" / "info.json").is_file():
        return LEROBOT
    if minari_data(folder):
        return MINARI
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
    by_kind = {FileKind.VIDEO: VIDEOS, FileKind.NUMPY: ARRAYS, FileKind.IMAGE: IMAGES}
    return next((layout for kind, layout in by_kind.items() if kind in kinds), None)


def minari_data(folder: Path) -> Path | None:
    """The folder with the data of a Minari data set: NAME/data, or this itself; None if it is none."""
    for place in (folder / "data", folder):
        if (place / MINARI_FILE).is_file() or (place / "0" / "metadata.json").is_file():
            return place
    return None


def folder_in_place(folder: Path) -> LewmError:
    """Returns the sentence for a folder where a recording, one file, should be; raises OSError."""
    layout = folder_layout(folder)
    cameras = _cameras(folder) if layout is LEROBOT else []
    if layout is LEROBOT:
        held = ", ".join(cameras[:SHOWN]) or "no camera"
    else:
        names = sorted(_first_names(folder))
        held = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "") or "empty"
    way = conversion(layout, folder) if layout else ""
    if layout is FILES and _holds_recordings(folder):
        way = f"name the one that is meant, or join them with: {command('import', folder)}"
    elif layout and not way:
        camera = ("--camera", cameras[0]) if len(cameras) > 1 else ()
        way = f"this imports it: {command('import', folder, *camera)}"
    kind = layout.name if layout else "a folder"
    return LewmError(f"{folder} is {kind} ({held}), and a recording is one HDF5 file; {way or f'{GUIDE} describes it'}")


def conversion(layout: Layout, folder: Path) -> str:
    """The way from a folder that `lewm import` does not read to one that it does; nothing where it reads it."""
    if layout not in (ZARR, LANCE, RLDS, ROS):
        return ""
    path = folder.absolute()
    file = f"{path.name.partition('.')[0] or 'recording'}.{'npz' if layout is ZARR else 'h5'}"
    program = shlex.join(("python", "-c", _PROGRAMS.get(layout, "").format(path=str(path), file=file)))
    return layout.way.format(file=file, program=program, command=command("import", file))


def _holds_recordings(folder: Path) -> bool:
    """Tell whether the first HDF5 file of a folder has no layout of other tools."""
    first = next(path for path in sorted(folder.iterdir()) if path.is_file() and look(path) is FileKind.HDF5)
    with open_file(first) as file:
        return file_layout(file) is None


def _cameras(folder: Path) -> list[str]:
    """The cameras of a LeRobot data set; none if its description cannot be read."""
    try:
        features = json.loads((folder / "meta" / "info.json").read_text(encoding="utf-8"))["features"]
        return [key for key, feature in features.items() if feature["dtype"] in ("video", "image")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
