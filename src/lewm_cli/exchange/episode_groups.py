"""HDF5 with one group per episode: robomimic, Minari, ALOHA, and files of this kind with names of their own."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import h5py

from lewm_cli.data.hdf5_file import dataset_at, datasets_in, looked_into, rate_attribute, read_whole
from lewm_cli.data.layouts import ALOHA, LOOKED_INTO, MINARI, ROBOMIMIC, color_frames, file_layout, minari_data
from lewm_cli.data.video_dataset import in_order
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.exchange.chosen import chosen_camera
from lewm_cli.exchange.column_source import EpisodeRows, Quantity, chosen_dimensions, mapped_paths, refuse_wrong_map
from lewm_cli.exchange.hdf5_source import (
    HDF5Source,
    frame_size,
    hdf5_files,
    is_encoded,
    is_table,
    refuse_elsewhere,
    width_of,
    with_gaps_as_faults,
)
from lewm_cli.exchange.source import Asked, Source, SourceEpisode
from lewm_cli.plural import counted
from lewm_cli.suggestion import few


@dataclass(frozen=True)
class GroupLayout:
    """A layout with one group per episode.

    Args:
        kind: in words.
        parent: the group of the file that episodes are groups of; None where the file itself is the episode.
        cameras: the group of an episode that its cameras are in, or the only camera itself.
        actions: paths that its actions may have: a data set, or a group of several.
    """

    kind: str
    parent: str | None
    cameras: str
    actions: tuple[str, ...]


PRESETS = {
    "robomimic": GroupLayout("robomimic", "data", "obs", ("actions",)),
    "minari": GroupLayout("Minari", "", "observations", ("actions",)),
    "aloha": GroupLayout("ALOHA", None, "observations/images", ("action",)),
}
"""Layouts by the word of `--preset`."""

_PRESET_OF = {ROBOMIMIC: "robomimic", MINARI: "minari", ALOHA: "aloha"}

QUANTITIES = {
    "reward": ("rewards", "reward"),
    "done": ("dones", "done"),
    "terminated": ("terminations", "terminated"),
    "truncated": ("truncations", "truncated"),
    "qvel": ("observations/qvel",),
    "effort": ("observations/effort",),
}
"""Paths, in an episode, of what is read beside frames and actions."""

PROPRIOCEPTION = (
    r"obs/robot\d+_(eef_pos|eef_quat|gripper_qpos)",
    r"obs/(ee_pos|ee_ori|gripper_states)",
    r"observations/qpos",
    r"observations/(?!.*goal).*",
)
"""Paths of what a robot knows of itself: robosuite's, LIBERO's, ALOHA's, Minari's; of the first kind that is there."""


@dataclass(frozen=True, eq=False)
class _Episode:
    """A group that holds an episode, in an open file.

    Args:
        said: the number that it says it has.
    """

    file: Path
    group: h5py.Group
    name: str
    said: str

    @property
    def at(self) -> str:
        """The place for a sentence."""
        return str(self.file) if self.group.name == "/" else f"{self.group.name.strip('/')} of {self.file}"


def open_episode_groups(path: Path, name: str, asked: Asked) -> Source | None:
    """Open a file, or a folder of files, with one group per episode; None if it is something else."""
    data = minari_data(path) if path.is_dir() else None
    files = hdf5_files(data or path)
    if data and not files:
        raise LewmError(
            f"{name} is a Minari data set that is stored as arrow, and those stored as hdf5 are read; make it again "
            'with data_format="hdf5", for example minari.DataCollector(env, data_format="hdf5")'
        )
    if not files:
        return None
    for place in files:
        try:
            with looked_into(place) as file:
                refuse_elsewhere(file)
                layout = _layout(file, name, asked)
                if layout is None:
                    return None
                refuse_wrong_map(asked)
                source = replace(_with_columns(file, place, layout, name, asked), files=files, fps=_rate(file))
        except LewmError as error:  # the next file may be whole
            if isinstance(error, UsageError) or place == files[-1]:
                raise
        else:
            return with_gaps_as_faults(_with_episodes(source, layout, asked))
    return None


def _layout(file: h5py.File, name: str, asked: Asked) -> GroupLayout | None:
    """The layout that was asked for, else the one that the file has; None if it has no group per episode."""
    if asked.preset is not None:
        preset = PRESETS.get(asked.preset)
        if preset is None:
            raise UsageError(f"there is no preset {asked.preset!r}; there is {few(PRESETS)}")
        if preset.parent and not isinstance(file.get(preset.parent), h5py.Group):
            raise LewmError(
                f"{name} has not the layout of {preset.kind}, for {file.filename} has no group {preset.parent!r}; "
                "leave out --preset, so that its content tells the layout"
            )
        return preset
    known = file_layout(file)
    if known in _PRESET_OF:
        return PRESETS[_PRESET_OF[known]]
    named = asked.map.get("action", "").split(",")[0].strip("/ ")
    actions = (named,) if named else ("action", "actions")
    for parent in ("", *(key for key in file if file.get(key, getclass=True) is h5py.Group)):
        group = file[parent or "/"]
        if any(path in group[one] for one in _numbered(group)[:1] for path in actions):
            return GroupLayout("HDF5 with one group per episode", parent, "", actions)
    return None


def _numbered(group: h5py.Group) -> list[str]:
    """The names of groups in a group that end in a number, in order."""
    named = [name for name in group if re.search(r"\d$", name) and isinstance(group.get(name), h5py.Group)]
    return sorted(named, key=in_order)


def _episodes(file: h5py.File, path: Path, layout: GroupLayout) -> Iterator[_Episode]:
    """The episodes of a file in order."""
    if layout.parent is None:
        yield _Episode(path, file["/"], path.name, _number_in(path.stem))
        return
    parent = file.get(layout.parent or "/")
    for one in _numbered(parent) if isinstance(parent, h5py.Group) else ():
        said = parent[one].attrs.get("id", _number_in(one))  # Minari writes the number there, too
        yield _Episode(path, parent[one], f"{layout.parent}/{one}".lstrip("/"), str(said))


def _number_in(name: str) -> str:
    """The number at the end of a name without zeros before it; the name itself if it has none."""
    found = re.search(r"(\d+)$", name)
    return found[1].lstrip("0") or "0" if found else name


def _with_columns(file: h5py.File, path: Path, layout: GroupLayout, name: str, asked: Asked) -> HDF5Source:
    """A source without episodes yet, whose columns are chosen by the first episode that has frames."""
    episodes = list(_episodes(file, path, layout))
    if not episodes:
        raise LewmError(
            f"{name} has the layout of {layout.kind} and {path} holds no episode; record some, or copy it again"
        )
    seen = ((one, _cameras(one.group, layout)) for one in episodes[:LOOKED_INTO])
    first, cameras = next((one for one in seen if one[1]), (episodes[0], {}))
    group, held = first.group, datasets_in(first.group, series=True)
    pixels = _pixels(first, layout, cameras, held, name, asked)
    action = mapped_paths(asked, "action", held, name) or _action_paths(group, layout)
    if not action:
        raise LewmError(
            f"{first.at} has no {' or '.join(layout.actions)}, and it holds {few(held)}; --map action=PATH names it"
        )
    short = [one.rpartition("/")[2] for one in action]
    named = short if len(set(short)) == len(short) else action
    widths = {column: _action_width(first, one) for column, one in zip(named, action, strict=True)}
    dimensions, names = chosen_dimensions(name, widths, asked)
    quantities = [
        Quantity(column, mapped_paths(asked, column, held, name))
        for column in asked.map
        if column not in ("pixels", "action")
    ]
    free = {one: table for one, table in held.items() if is_table(table) and one not in {*cameras, pixels, *action}}
    quantities += [
        Quantity(column, found[:1])
        for column, paths in QUANTITIES.items()
        if column not in asked.map and (found := tuple(one for one in paths if one in free))
    ]
    notes = []
    if "proprio" not in asked.map and (proprio := _proprioception(free)):
        quantities.append(Quantity("proprio", proprio))
        parts = ", ".join(f"{one} ({width_of(held[one])})" for one in proprio)
        notes.append(f"proprio is {parts}; --map proprio=PATH,PATH takes others")
    swapped = layout.kind == PRESETS["aloha"].kind and is_encoded(group[pixels])
    if swapped:
        notes.append(
            "JPEG files are read as ALOHA writes them, with red and blue exchanged; --colors bgr reads them as usual"
        )
    return HDF5Source(
        kind=layout.kind,
        name=name,
        files=(path,),
        camera=_short(pixels, layout),
        cameras=tuple(_short(one, layout) for one in cameras) or (_short(pixels, layout),),
        episodes=(),
        action_names=names,
        notes=tuple(notes),
        pixels=pixels,
        encoded=is_encoded(group[pixels]),
        swapped=swapped,
        action=action,
        dimensions=dimensions,
        quantities=tuple(quantities),
    )


def _cameras(group: h5py.Group, layout: GroupLayout) -> dict[str, h5py.Dataset]:
    """The data sets of color frames in an episode by path."""
    inside = f"{layout.cameras}/" if layout.cameras else ""
    return {
        path: stored
        for path, stored in color_frames(group, series=True).items()
        if path.startswith(inside) or path == layout.cameras
    }


def _short(path: str, layout: GroupLayout) -> str:
    """The name of a camera: its path in the group of cameras."""
    return path.removeprefix(f"{layout.cameras}/")


def _pixels(
    first: _Episode,
    layout: GroupLayout,
    cameras: dict[str, h5py.Dataset],
    held: dict[str, h5py.Dataset],
    name: str,
    asked: Asked,
) -> str:
    """The path of the frames, by --map or --camera, or of the only camera."""
    if mapped := mapped_paths(asked, "pixels", held, name):
        return mapped[0]
    whole = f"{layout.cameras}/{asked.camera}".strip("/")
    if asked.camera and whole in held:  # depth or gray, which nobody would take for a camera unasked
        return whole
    if not cameras:
        render = "; render frames with dataset_states_to_obs.py of robomimic" * (layout == PRESETS["robomimic"])
        raise LewmError(f"{name} holds no frames: {first.at} holds {few(held) or 'nothing'}{render}")
    by_name = {_short(path, layout): path for path in cameras}
    return by_name[chosen_camera(name, {one: frame_size(cameras[path]) for one, path in by_name.items()}, asked)]


def _action_paths(group: h5py.Group, layout: GroupLayout) -> tuple[str, ...]:
    """The paths of the actions: one data set, or those of a group; none if nothing is there."""
    for path in layout.actions:
        if dataset_at(group, path) is not None:
            return (path,)
        if isinstance(inside := group.get(path), h5py.Group):
            return tuple(sorted(f"{path}/{one}" for one in datasets_in(inside, series=True)))
    return ()


def _action_width(episode: _Episode, path: str) -> int:
    stored = dataset_at(episode.group, path)
    if stored is None:
        raise LewmError(f"{episode.at} has no {path}")
    if not is_table(stored):
        raise LewmError(
            f"{episode.at}: {path} is {stored.dtype} of shape {stored.shape}, and actions are numbers (rows, "
            "dimensions); name others with --map action=PATH"
        )
    return width_of(stored)


def _proprioception(free: dict[str, h5py.Dataset]) -> tuple[str, ...]:
    taken = {path for paths in QUANTITIES.values() for path in paths}
    kinds = ([path for path in free if re.fullmatch(kind, path) and path not in taken] for kind in PROPRIOCEPTION)
    return tuple(sorted(next(filter(None, kinds), ()), key=in_order))


def _rate(file: h5py.File) -> float | None:
    """Frames per second: robomimic keeps the rate of control among the settings of the environment."""
    try:
        rate = json.loads(file["data"].attrs["env_args"])["env_kwargs"]["control_freq"]
        return float(rate) if 0 < rate < float("inf") else None
    except (KeyError, ValueError, TypeError):
        return rate_attribute(file, "fps")


def _with_episodes(source: HDF5Source, layout: GroupLayout, asked: Asked) -> HDF5Source:
    """Look at every episode, and refuse what is other than the first."""
    rows: list[EpisodeRows] = []
    names: list[SourceEpisode] = []
    empty: list[str] = []
    masks: set[str] = set()
    said: dict[tuple[Path | None, str], list[str]] = {}  # by file and number; all files of ALOHA count together
    check = _Check(source)
    for path in source.files:
        try:
            with looked_into(path) as file:
                refuse_elsewhere(file)
                episodes = list(_episodes(file, path, layout))
                masks |= set(_masks(file))
                chosen = _masked(file, episodes, source.name, asked)
                for episode in episodes:
                    whole = layout.parent is None or len(source.files) == 1
                    name = episode.name if whole else f"{path.name}/{episode.name}"
                    said.setdefault((None if layout.parent is None else path, episode.said), []).append(name)
                    if chosen is not None and episode.group.name.rpartition("/")[2] not in chosen:
                        continue
                    place = check.place(episode)
                    if place.frames or place.fault:
                        rows.append(place)
                        names.append(SourceEpisode(name, place.frames or None))
                    else:
                        empty.append(name)
        except UsageError:
            raise
        except LewmError as error:
            if len(source.files) == 1:
                raise
            rows.append(EpisodeRows(path, "", 0, 0, 0, 0, str(error)))
            names.append(SourceEpisode(path.name))
    for (_, number), alike in said.items():
        if len(alike) > 1:
            raise LewmError(
                f"{' and '.join(alike[:2])} of {source.name} both say that they are episode {number}; remove one of "
                "them, or give it another number"
            )
    if not rows:
        raise LewmError(f"{source.name} has no episode with frames; record some, or copy it again")
    notes = [*source.notes, *check.notes]
    if empty:
        notes.append(f"{counted(len(empty), 'episode')} without frames left out: {few(empty)}")
    if masks and asked.episodes is None:
        notes.append(
            f"all episodes are taken; --episodes mask/{min(masks)} takes those of one mask ({few(sorted(masks))})"
        )
    kept = tuple(one for one in source.quantities if one.name not in check.missing)
    return replace(source, rows=tuple(rows), episodes=tuple(names), quantities=kept, notes=tuple(notes))


def _masks(file: h5py.File) -> list[str]:
    """The masks of a robomimic file: lists of names of its demonstrations."""
    group = file.get("mask")
    return [name for name in group if dataset_at(group, name) is not None] if isinstance(group, h5py.Group) else []


def _masked(file: h5py.File, episodes: list[_Episode], name: str, asked: Asked) -> set[str] | None:
    """The names of the episodes that the mask names which was asked for; None if none was."""
    if asked.episodes is None:
        return None
    mask = asked.episodes.removeprefix("mask/")
    if mask not in (masks := _masks(file)):
        there = f"; of its masks there are {few(masks)}" if masks else ""
        raise UsageError(f"--episodes {asked.episodes}: {name} has one group per episode, and no such mask{there}")
    values = [
        one.decode() if isinstance(one, bytes) else str(one) for one in read_whole(file[f"mask/{mask}"]).reshape(-1)
    ]
    unknown = sorted(set(values) - {one.group.name.rpartition("/")[2] for one in episodes})
    if unknown or not values:
        said = f"{few(unknown)}, and there is no such episode" if unknown else "no episode"
        raise LewmError(f"mask/{mask} of {file.filename} names {said}; write it again, or leave out --episodes")
    return set(values)


class _Check:
    """Compares every episode with the first that has frames."""

    def __init__(self, source: HDF5Source) -> None:
        self.source = source
        self.first = ""
        self.shape: tuple[int, ...] = ()
        self.widths: dict[str, int] = {}
        self.missing: dict[str, str] = {}

    @property
    def notes(self) -> list[str]:
        """The columns that not every episode has, in words."""
        return [f"{name} is left out, for {place} has none that fits" for name, place in self.missing.items()]

    def place(self, episode: _Episode) -> EpisodeRows:
        """The rows of an episode, or what it lacks, or has otherwise than the first."""
        pixels = dataset_at(episode.group, self.source.pixels)
        frames = 0 if pixels is None else len(pixels)
        place = EpisodeRows(episode.file, episode.group.name.strip("/"), 0, frames, 0, 0)
        if pixels is None:
            return replace(place, fault=f"{episode.at} has no {self.source.pixels}, and others have")
        if not frames:
            return place
        try:
            width = sum(_action_width(episode, path) for path in self.source.action)
        except LewmError as error:
            return replace(place, fault=str(error))
        shape = () if self.source.encoded else pixels.shape[1:]
        if not self.first:
            self.first, self.shape, self.widths["action"] = episode.name, shape, width
        rows = {len(episode.group[path]) for path in self.source.action}
        place = replace(place, actions=max(rows), fault=self._fault(shape, width, frames, rows, episode.at))
        for quantity in self.source.quantities if not place.fault else ():
            there = [dataset_at(episode.group, path) for path in quantity.paths]
            tables = [one for one in there if one is not None and is_table(one)]
            wide = sum(map(width_of, tables))
            fits = len(tables) == len(there) and {len(one) for one in tables} in ({frames}, {frames - 1})
            if not fits or self.widths.setdefault(quantity.name, wide) != wide:
                self.missing.setdefault(quantity.name, episode.name)
        return place

    def _fault(self, shape: tuple[int, ...], width: int, frames: int, rows: set[int], at: str) -> str:
        """The fault of an episode in words; empty if it is like the first."""
        if shape != self.shape:
            return f"{at} has frames of shape {shape}, and {self.first} of {self.shape}; a recording has one size"
        if width != self.widths["action"]:
            return f"{at} has actions of {counted(width, 'dimension')}, and {self.first} of {self.widths['action']}"
        if len(rows) > 1 or not rows <= {frames, frames - 1}:
            held = " and ".join(map(str, sorted(rows)))
            return (
                f"{at} has {counted(frames, 'frame')} and {held} rows of actions; every frame needs one, and the "
                "last may go without"
            )
        return ""
