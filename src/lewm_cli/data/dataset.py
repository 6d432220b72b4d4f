"""A recording on disk in the released HDF5 schema: flat columns of N rows, and where each episode lies in them."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (registers the Blosc filter that released pixels are compressed with)
import numpy as np

from lewm_cli.config import DatasetIdentity
from lewm_cli.errors import LewmError, MissingError

BOOKKEEPING = ("ep_len", "ep_offset")

SAMPLED_FRAMES = 8
"""Frames that go into a fingerprint: recordings of the same actions can look different."""


@dataclass(frozen=True)
class Column:
    """A recorded quantity: its name, the shape of one row and its dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Dataset:
    """A recording whose bookkeeping has been checked; nothing of its frames is in memory.

    Args:
        path: the HDF5 file.
        name: as typed on the command line.
        lengths: (E,) rows per episode.
        offsets: (E,) first row of each episode.
        columns: everything recorded per row, pixels and actions included.
        task: the recorded task attribute, None in files that have none.
        policy: what acted, where the file says it.
        seed: of the recording, where the file says it.
    """

    path: Path
    name: str
    lengths: np.ndarray
    offsets: np.ndarray
    columns: tuple[Column, ...]
    task: str | None
    policy: str | None
    seed: int | None

    @property
    def episodes(self) -> int:
        """Number of episodes E."""
        return len(self.lengths)

    @property
    def rows(self) -> int:
        """Number of rows in all episodes."""
        return int(self.lengths.sum())

    def column(self, name: str) -> Column:
        """The column of this name.

        Raises:
            LewmError: the recording has no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise LewmError(
            f"{self.path} has no column {name!r} (it has {', '.join(c.name for c in self.columns)}); "
            "`lewm show` prints what a recording holds"
        )

    def read(self, name: str, rows: np.ndarray | slice) -> np.ndarray:
        """Rows of one column, in the order asked for; a row may be asked for twice."""
        self.column(name)
        with self.opened() as file:
            if isinstance(rows, slice):
                return file[name][rows]
            # h5py wants increasing, unique rows.
            unique, inverse = np.unique(rows, return_inverse=True)
            return file[name][unique][inverse]

    @cached_property
    def actions(self) -> np.ndarray:
        """All actions (N, A), float32."""
        return self.read("action", slice(None)).astype(np.float32)

    @cached_property
    def identity(self) -> DatasetIdentity:
        """Which recording this is, wherever it lies: over bookkeeping, actions and a sample of frames, not the name."""
        digest = hashlib.sha256()
        with self.opened() as file:
            sample = [file["pixels"][row] for row in np.linspace(0, self.rows - 1, SAMPLED_FRAMES).astype(int)]
        for array in (self.lengths, self.offsets, self.actions, *sample):
            digest.update(np.ascontiguousarray(array).tobytes())
        return DatasetIdentity(name=self.name, episodes=self.episodes, rows=self.rows, fingerprint=digest.hexdigest())

    @cached_property
    def episode_digests(self) -> tuple[str, ...]:
        """What identifies each episode in any recording: its actions, and its proprioception where there is one."""
        recorded = [self.actions]
        if any(column.name == "proprio" for column in self.columns):
            recorded.append(self.read("proprio", slice(None)))
        digests = []
        for length, offset in zip(self.lengths, self.offsets, strict=True):
            digest = hashlib.sha256()
            for rows in recorded:
                digest.update(np.ascontiguousarray(rows[offset : offset + length]).tobytes())
            digests.append(digest.hexdigest()[:16])
        return tuple(digests)

    @contextmanager
    def opened(self) -> Iterator[h5py.File]:
        """The HDF5 file, open for reading.

        Raises:
            LewmError: what is read turns out to be damaged.
        """
        with readable(self.path), h5py.File(self.path, "r", locking="best-effort") as file:
            yield file


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what the HDF5 library says while reading `path` into a sentence.

    Raises:
        LewmError: the file is damaged, no HDF5 file, not there, or may not be read.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise MissingError(f"there is no recording {path}; `lewm ls` lists what there is") from error
    except PermissionError as error:
        raise LewmError(f"{path} may not be read ({error.strerror}); ask its owner, or record your own") from error
    except OSError as error:
        if error.errno is not None:  # the system's, not the HDF5 library's
            raise
        raise _damaged(path, error) from error


def open_dataset(path: Path, name: str) -> Dataset:
    """Open a recording and check that it can be trusted: columns, dtypes, and episodes that lie apart.

    Raises:
        LewmError: not an HDF5 file, a truncated one, or one whose schema or bookkeeping is wrong.
    """
    with readable(path), h5py.File(path, "r", locking="best-effort") as file:
        try:
            return _read_schema(file, path, name)
        except (
            ValueError,
            TypeError,
            LookupError,
            RuntimeError,
        ) as error:  # what h5py makes of damaged types and links
            raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> LewmError:
    return LewmError(
        f"{path} cannot be read as HDF5 (cut short, damaged, or another format): {error}; fetch or record it again"
    )


def _read_schema(file: h5py.File, path: Path, name: str) -> Dataset:
    for required in ("pixels", "action", *BOOKKEEPING):
        if not isinstance(file.get(required), h5py.Dataset):
            raise LewmError(
                f"{path} has no column {required!r}, so it is not a recording in the released schema; "
                "docs/datasets.md describes the columns"
            )
    pixels, action = file["pixels"], file["action"]
    for key in BOOKKEEPING:
        if file[key].dtype.kind not in "iuf" or file[key].ndim != 1:
            raise LewmError(
                f"{path}: {key} is {file[key].dtype} of shape {file[key].shape}; one number per episode is needed"
            )
    lengths, offsets = (file[key][()].astype(np.int64) for key in BOOKKEEPING)
    square = pixels.ndim == 4 and pixels.shape[1] == pixels.shape[2] > 0
    if pixels.dtype != np.uint8 or not square or pixels.shape[3] != 3:
        raise LewmError(
            f"{path}: pixels are {pixels.dtype} of shape {pixels.shape}; square RGB frames (N, size, size, 3) "
            "of uint8 are needed: convert the frames first"
        )
    if action.dtype.kind != "f" or action.ndim != 2 or action.shape[1] == 0:
        raise LewmError(
            f"{path}: actions are {action.dtype} of shape {action.shape}; floats (N, dimensions) are needed"
        )
    columns = tuple(
        Column(key, tuple(item.shape[1:]), str(item.dtype))
        for key, item in file.items()
        if isinstance(item, h5py.Dataset) and item.ndim and len(item) == len(pixels) and key not in BOOKKEEPING
    )
    _check_episodes(path, lengths, offsets, rows=min(len(pixels), len(action)))
    task, policy, seed = (file.attrs.get(key) for key in ("task", "policy", "seed"))
    return Dataset(
        path=path,
        name=name,
        lengths=lengths,
        offsets=offsets,
        columns=columns,
        # Other tools may mean something else by these.
        task=task if isinstance(task, str) else None,
        policy=policy if isinstance(policy, str) else None,
        seed=int(seed) if isinstance(seed, np.integer) else None,
    )


def _check_episodes(path: Path, lengths: np.ndarray, offsets: np.ndarray, rows: int) -> None:
    if len(lengths) == 0:
        raise LewmError(f"{path} holds no episodes; record some with `lewm collect`")
    if len(lengths) != len(offsets):
        raise LewmError(
            f"{path}: ep_len describes {len(lengths)} episodes and ep_offset {len(offsets)}; "
            "the file is damaged: fetch or record it again"
        )
    order = np.argsort(offsets, kind="stable")
    ends = (offsets + lengths)[order]
    if lengths.min() < 1 or offsets.min() < 0 or ends[-1] > rows or (ends[:-1] > offsets[order][1:]).any():
        raise LewmError(
            f"{path}: ep_len and ep_offset do not describe episodes that lie apart within its {rows} rows; "
            "the file is damaged or incomplete: fetch or record it again"
        )
