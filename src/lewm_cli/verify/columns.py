"""Can every column of a recording be read, and is what has to be finite finite?"""

from collections.abc import Iterator

import h5py
import numpy as np

from lewm_cli.data import Dataset
from lewm_cli.verify.bookkeeping import NOWHERE, episode_of_rows
from lewm_cli.verify.check import Finding, Problem, Remark

ROWS_AT_ONCE = 65_536

BOOKKEEPING = ("ep_len", "ep_offset")


def action_findings(dataset: Dataset, again: str) -> Iterator[Finding]:
    """Actions are finite, except that an episode's last row, after which nothing was done, may be NaN.

    Args:
        dataset: the recording.
        again: how to get it again.
    """
    actions = dataset.read("action", slice(None))
    episodes = episode_of_rows(dataset)
    last = np.zeros(len(actions), bool)
    last[dataset.offsets + dataset.lengths - 1] = True
    missing, endless = np.isnan(actions).any(axis=1), np.isinf(actions).any(axis=1)
    wrong = np.flatnonzero((episodes != NOWHERE) & (endless | (missing & ~last)))
    if len(wrong) == 0:
        return
    if np.isin(wrong, dataset.offsets).all() and not endless[wrong].any():
        says = f"action is NaN in the first row of {len(wrong):,} episodes; only an episode's last row may be"
    else:
        row = wrong[0]
        episode = episodes[row]
        step = row - dataset.offsets[episode]
        says = f"action is not finite in {len(wrong):,} rows, first in row {row:,}, step {step} of episode {episode}"
    yield Problem(says, again)


def column_findings(dataset: Dataset, again: str) -> Iterator[Finding]:
    """Read every other column; name those that say nothing.

    Args:
        dataset: the recording.
        again: how to get it again.
    """
    with dataset.opened() as file:
        frames = len(file["pixels"])
        for name in file:
            item = file.get(name)
            if not isinstance(item, h5py.Dataset) or not item.ndim or name in (*BOOKKEEPING, "pixels"):
                continue
            if len(item) not in (frames, dataset.episodes):
                yield Problem(f"{name} has {len(item):,} rows and pixels have {frames:,}", again)
            if name != "action":
                yield from _values(item, name, again)


def _values(item: h5py.Dataset, name: str, again: str) -> Iterator[Finding]:
    known, endless = 0, 0
    try:
        for start in range(0, len(item), ROWS_AT_ONCE):
            values = item[start : start + ROWS_AT_ONCE]
            if values.dtype.kind == "f":
                known += int((~np.isnan(values)).sum())
                endless += int(np.isinf(values).sum())
    except OSError as error:
        yield Problem(f"column {name} cannot be read ({error})", again)
        return
    if item.dtype.kind != "f" or not item.size:
        return
    if known == 0:
        yield Remark(f"{name} is NaN throughout")
    if endless:
        yield Remark(f"{name} holds infinity in {endless:,} places")
