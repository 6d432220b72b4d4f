"""Recordings in the released HDF5 schema."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (registers the Blosc filter that released pixels are compressed with)
import numpy as np

from lewm_cli.data.dataset import Column, Dataset
from lewm_cli.errors import LewmError, MissingError

BOOKKEEPING = ("ep_len", "ep_offset")

ROWS_AT_ONCE = 256
"""Rows between which one read of a column without chunks spans."""


class HDF5Dataset(Dataset):
    """A recording in an HDF5 file, opened for every read, which takes no time beside decoding."""

    def read(self, name: str, rows: np.ndarray | slice) -> np.ndarray:
        names = [column.name for column in self.columns]
        if name not in names:
            raise LewmError(
                f"{self.path} has no column {name!r} (it has {', '.join(names)}); "
                "`lewm show` prints what a recording holds"
            )
        with self.opened() as file:
            stored = file[name]
            if isinstance(rows, slice) or len(rows) == 0:
                values: np.ndarray = stored[rows]
                return values
            # One read per chunk: asked for a list of rows, HDF5 decodes the whole chunk again for each of them.
            unique, inverse = np.unique(rows, return_inverse=True)
            chunks = unique // (stored.chunks or (ROWS_AT_ONCE,))[0]
            groups = np.split(unique, np.flatnonzero(np.diff(chunks)) + 1)
            return np.concatenate([stored[group[0] : group[-1] + 1][group - group[0]] for group in groups])[inverse]

    def opened(self) -> AbstractContextManager[h5py.File]:
        """The HDF5 file, open for reading; a LewmError where what is read turns out to be damaged."""
        return _opened(self.path)


def open_dataset(path: Path, name: str) -> HDF5Dataset:
    """Open a recording and check that it can be trusted: columns, dtypes, and episodes that lie apart.

    Raises:
        LewmError: not an HDF5 file, a truncated one, or one whose schema or bookkeeping is wrong.
    """
    with _opened(path) as file:
        try:
            return _read_schema(file, path, name)
        except (ValueError, TypeError, LookupError, RuntimeError) as error:  # as h5py fails on damaged types and links
            raise _damaged(path, error) from error


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file, and turn errors of the library into sentences while it is open.

    Raises:
        LewmError: the file is damaged, no HDF5 file, not there, or may not be read.
    """
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            yield file
    except FileNotFoundError as error:
        raise MissingError(f"there is no recording {path}; `lewm ls` lists what there is") from error
    except PermissionError as error:
        raise LewmError(f"{path} may not be read ({error.strerror}); ask its owner, or record your own") from error
    except OSError as error:
        if error.errno is not None:  # the system's, not the HDF5 library's
            raise
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> LewmError:
    return LewmError(
        f"{path} cannot be read as HDF5 (cut short, damaged, or another format): {error}; fetch or record it again"
    )


def _read_schema(file: h5py.File, path: Path, name: str) -> HDF5Dataset:
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
    rows = min(len(pixels), len(action))
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
    task, policy, seed = (file.attrs.get(key) for key in ("task", "policy", "seed"))
    return HDF5Dataset(
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
