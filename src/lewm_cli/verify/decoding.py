"""Decodes every frame of a recording, and checks that something moves in every episode."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from math import ceil, prod

import numpy as np

from lewm_cli.data import HDF5Dataset
from lewm_cli.verify.check import DatasetCheck, Finding, Problem
from lewm_cli.verify.columns import episode_of_rows

ROWS_AT_ONCE = 64
"""Frames that are decoded at a time at least; whole chunks, because HDF5 decodes nothing smaller."""

NAMED = 3
"""Places that are named before the rest is only counted."""

RowProgress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Enters a stage of so many rows, and yields what is told the number of rows done since the last call."""


def frame_findings(dataset: HDF5Dataset, progress: RowProgress, check: DatasetCheck) -> Iterator[Finding]:
    """Decode every frame, and count in the check what was decoded."""
    episodes = episode_of_rows(dataset)
    still = np.append(dataset.lengths > 1, False)  # rows that belong to no episode look up the last
    lost: list[tuple[int, int]] = []
    with dataset.opened() as file, progress(len(episodes)) as advance:
        pixels = file["pixels"]
        check.checksums = bool(pixels.fletcher32)
        if pixels.chunks:
            expected = prod(ceil(size / chunk) for size, chunk in zip(pixels.shape, pixels.chunks, strict=True))
            unwritten = expected - int(pixels.id.get_num_chunks())
            if unwritten:
                yield Problem(f"{unwritten:,} chunks of frames were never written: the recording broke off")
        chunk = pixels.chunks[0] if pixels.chunks else ROWS_AT_ONCE
        step = chunk * ceil(ROWS_AT_ONCE / chunk)
        last = np.empty(0)
        for start in range(0, len(pixels), step):
            stop = min(start + step, len(pixels))
            try:
                frames = pixels[start:stop]
            except OSError:
                lost.append((start, stop))
                # What cannot be decoded is reported as that, and says nothing about moving.
                still[episodes[start:stop]] = False
            else:
                check.decoded += stop - start
                for row in range(start, stop):
                    episode = episodes[row]
                    if still[episode] and row > dataset.offsets[episode]:
                        before = frames[row - start - 1] if row > start else last
                        still[episode] = np.array_equal(frames[row - start], before)
                last = frames[-1].copy()  # else the whole block stays in memory
            advance(stop - start)
    if lost:
        rows = sum(stop - start for start, stop in lost)
        places = ", ".join(f"{start:,} to {stop - 1:,}" for start, stop in lost[:NAMED])
        rest = ", ..." if len(lost) > NAMED else ""
        yield Problem(f"frames of {rows:,} rows cannot be decoded: rows {places}{rest}")
    unmoved = np.flatnonzero(still)
    if len(unmoved):
        named = ", ".join(map(str, unmoved[:NAMED])) + (", ..." if len(unmoved) > NAMED else "")
        yield Problem(f"all frames are the same in {len(unmoved):,} episodes: {named}")
