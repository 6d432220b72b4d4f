"""Flat files: all episodes one after the other in columns, whatever these are called; D4RL is one of them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np

from lewm_cli.data.action_format import action_format
from lewm_cli.data.episodes import BOOKKEEPING, NUMBERS, SAY_EPISODES, Episodes, episodes_by, find_episodes
from lewm_cli.data.hdf5_file import datasets_in, looked_into, rate_attribute
from lewm_cli.data.imported import RESERVED
from lewm_cli.data.layouts import D4RL, color_frames, file_layout
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.exchange.chosen import chosen_camera
from lewm_cli.exchange.column_source import (
    WIDEST,
    ColumnSource,
    EpisodeRows,
    Quantity,
    chosen_dimensions,
    mapped_paths,
    refuse_wrong_map,
)
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
from lewm_cli.suggestion import command, few, offer

ACTIONS = ("action", "actions")

WHOLE = "file"
"""The word of `--episodes` for a file that is one episode."""

OneSource = TypeVar("OneSource", bound=ColumnSource)


def open_flat_hdf5(path: Path, name: str, asked: Asked) -> Source | None:
    """Open a file, or a folder of files, with flat columns; None if it is no HDF5."""
    files = hdf5_files(path)
    if not files:
        return None
    with looked_into(files[0]) as file:
        kind = "D4RL" if file_layout(file) is D4RL else "HDF5 with flat columns"
    return with_gaps_as_faults(flat_source(HDF5Source, kind, files, name, asked, looked_into))


def flat_source(
    make: type[OneSource],
    kind: str,
    files: tuple[Path, ...],
    name: str,
    asked: Asked,
    described: Callable[[Path], AbstractContextManager[h5py.File]],
) -> OneSource:
    """Find frames, actions and episodes in flat columns.

    Args:
        make: the class of the source.
        kind: of it, in words.
        files: of which every one has all columns; one of several that says nothing of episodes is one.
        name: as it was typed.
        described: opens a file as HDF5 with these columns, of which frames need not hold their values.

    Raises:
        LewmError: something is missing or damaged, or cannot be known without being asked for.
    """
    refuse_wrong_map(asked)
    sources, row = list[OneSource](), None
    for path in files:
        with described(path) as file:
            refuse_elsewhere(file)
            source = _of_file(make, kind, file, path, name, asked, sources[0] if sources else None, len(files) > 1)
            frame = () if source.encoded else file[source.pixels].shape[1:]
            width = sum(width_of(file[one]) for one in source.action)
        sources.append(source)
        row = row or (frame, width)
        if frame != row[0]:
            raise LewmError(
                f"{path} has frames of shape {frame}, and {files[0]} of {row[0]}; a recording has frames of one size: "
                f"import the files of {name} apart"
            )
        if width != row[1]:
            raise LewmError(
                f"{path} has actions of {counted(width, 'dimension')}, and {files[0]} of {row[1]}; import the files of "
                f"{name} apart"
            )
    return replace(
        sources[0],
        files=files,
        rows=tuple(rows for source in sources for rows in source.rows),
        episodes=tuple(episode for source in sources for episode in source.episodes),
        quantities=tuple(one for one in sources[0].quantities if all(one in source.quantities for source in sources)),
        notes=tuple(dict.fromkeys(note for source in sources for note in source.notes)),
    )


def _of_file(
    make: type[OneSource],
    kind: str,
    file: h5py.File,
    path: Path,
    name: str,
    asked: Asked,
    like: OneSource | None,
    of_several: bool,
) -> OneSource:
    """Read a file as if it were all; from the second on, `like` says which columns are frames and actions."""
    held = datasets_in(file, series=True)
    cameras = color_frames(file, series=True)
    pixels = like.pixels if like else _pixels(held, cameras, name, asked)
    action = like.action if like else mapped_paths(asked, "action", held, name) or _action(held, name)
    for column in (pixels, *action):
        if column not in held:
            raise LewmError(f"{path} has no {column}, and other files of {name} have; move it out of the folder")
        if not held[column].ndim or not len(held[column]):
            raise LewmError(f"{path}: {column} is empty; record it again, or move the file out of the folder")
    if len({len(held[one]) for one in action}) > 1:
        raise LewmError(
            f"{path}: {' and '.join(action)} have different numbers of rows; map columns that have the same"
        )
    rows = (len(held[pixels]), len(held[action[0]]))
    found = _episodes(file, held, rows, name, asked, of_several)
    for one in action:
        form, episodes = action_format(held[one], one, rows[0], found)
    dimensions, names = chosen_dimensions(name, {one: width_of(held[one]) for one in action}, asked)
    fewer = form.last_rows is not None
    places = tuple(
        EpisodeRows(path, "", int(start), int(length), int(start) - number * fewer, int(length) - fewer)
        for number, (start, length) in enumerate(zip(episodes.offsets, episodes.lengths, strict=True))
    )
    return make(
        kind=kind,
        name=name,
        files=(path,),
        camera=pixels,
        cameras=tuple(cameras) or (pixels,),
        episodes=tuple(SourceEpisode(_name(one, rows[0], of_several), one.frames) for one in places),
        action_names=names,
        fps=rate_attribute(file, "fps"),
        notes=(episodes.note,) if episodes.note else (),
        rows=places,
        pixels=pixels,
        encoded=is_encoded(held[pixels]),
        action=action,
        dimensions=dimensions,
        quantities=_quantities(held, {pixels, *cameras, *action}, rows, name, asked),
    )


def _name(rows: EpisodeRows, of_file: int, of_several: bool) -> str:
    """The name of an episode: its rows, in a file that holds more, and the file, if there are several."""
    last = rows.start + rows.frames - 1
    part = f"rows {rows.start} to {last}" if rows.frames < of_file or not of_several else ""
    return ", ".join(filter(None, (rows.file.name if of_several else "", part)))


def _pixels(held: dict[str, h5py.Dataset], cameras: dict[str, h5py.Dataset], name: str, asked: Asked) -> str:
    """The path of the frames, by --map or --camera, or of what is called pixels, or can be nothing else."""
    if mapped := mapped_paths(asked, "pixels", held, name):
        return mapped[0]
    if asked.camera in held:  # depth or gray, which nobody would take for a camera unasked
        return str(asked.camera)
    if asked.camera is None and "pixels" in held:
        return "pixels"
    if not cameras:
        naming = command("import", name, "--map", "pixels=COLUMN")
        raise UsageError(
            f"{name} holds {few(held) or 'nothing'}, none of them color frames; where it holds states alone, render "
            f"them, else name the frames: {naming}"
        )
    return chosen_camera(name, {path: frame_size(stored) for path, stored in cameras.items()}, asked)


def _action(held: dict[str, h5py.Dataset], name: str) -> tuple[str, ...]:
    """The path of the actions: `action`, or else `actions`."""
    found = next((one for one in ACTIONS if one in held), None)
    if found is None:
        naming = command("import", name, "--map", "action=COLUMN")
        raise UsageError(f"{name} has neither action nor actions, and holds {few(held)}; name the actions: {naming}")
    return (found,)


def _episodes(
    file: h5py.File,
    held: dict[str, h5py.Dataset],
    rows: tuple[int, int],
    name: str,
    asked: Asked,
    of_several: bool,
) -> Episodes:
    """The rows of every episode, by the column that was asked for, else by those with known names."""
    if asked.episodes is None:
        if of_several and not any(key in held for key in SAY_EPISODES):
            return _whole(rows)
        try:
            return find_episodes(file, rows)
        except LewmError as error:
            naming = command("import", name, "--episodes", "COLUMN")
            raise LewmError(f"{error}; or name the column that tells them apart: {naming}") from error
    if asked.episodes == WHOLE and WHOLE not in held:
        return _whole(rows)
    keys = tuple(key.strip().strip("/") for key in asked.episodes.split(","))
    for key in keys:
        if key not in held:
            near = offer(key, held, command("import", name, "--dry-run"))
            raise UsageError(f"--episodes {asked.episodes}: {name} has no {key!r}, and holds {few(held)}; {near}")
    return episodes_by(file, keys, rows)


def _whole(rows: tuple[int, int]) -> Episodes:
    """A file as one episode."""
    return Episodes(np.array([rows[0]]), np.array([0]), BOOKKEEPING)


def _quantities(
    held: dict[str, h5py.Dataset], used: set[str], rows: tuple[int, int], name: str, asked: Asked
) -> tuple[Quantity, ...]:
    """Columns that are mapped, and all others with a row of numbers for every frame or action, under their paths."""
    found = {}
    for column in asked.map:
        if column in ("pixels", "action"):
            continue
        paths = mapped_paths(asked, column, held, name)
        sizes = {len(held[path]) if is_table(held[path]) else 0 for path in paths}
        if len(sizes) > 1 or not sizes <= set(rows):
            raise LewmError(
                f"{name}: {' and '.join(paths)} cannot be {column}, for it is no table with a row for each of "
                f"{rows[0]:,} frames; --map another one"
            )
        found[column] = Quantity(column, paths, rows[0] not in sizes)
        used = used | set(paths)
    for path, stored in held.items():
        beside = path not in used and path not in found and path not in (*RESERVED, *NUMBERS) and "next_" not in path
        if beside and is_table(stored) and len(stored) in rows and width_of(stored) <= WIDEST:
            found[path] = Quantity(path, (path,), len(stored) != rows[0])
    return tuple(found.values())
