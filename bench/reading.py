"""Measures how fast clips are read for training, against stable_worldmodel's HDF5Dataset in torch's DataLoader.

    python bench/reading.py [--rounds 7] [--episodes 12] [--home DIR] [--out docs/performance.md]

TwoRoom is recorded with `lewm collect` and written in two layouts, many times over so that a batch seldom meets a
chunk twice: as released (chunks of 100 frames, Blosc with LZ4) and packed (a chunk per frame, LZ4). Clips are those of
training, 4 frames of 224 pixels from 20 rows, in batches of 128, shuffled.

Every contender reads for some seconds in turn, so that all see the same machine; the first round warms the page cache
up, has checksums compared, and is not counted. Ratios are within rounds: their median, with a 95 % interval over the
rounds (bootstrap). Processor seconds are of all processes and threads.
"""

import argparse
import logging
import os
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import h5py
import hdf5plugin
import lz4.block
import numpy as np
import torch
from torch.utils.data import DataLoader

from lewm_cli.config import ActionStats, Inputs
from lewm_cli.data import ClipBatches, Dataset, DecodedFrames, Frames, MemoryFrames, open_dataset, resize
from lewm_cli.data.clips import ClipIndex
from lewm_cli.data.compression import fletcher32
from results import write_section

ROWS = 30_000
"""Rows of a file at least."""

CHUNK = 100
FRAMES, FRAMESKIP, BATCH = 4, 5, 128
SECONDS = 2.0
"""For which each contender reads in a round, at least."""

RESAMPLES = 2000
SMALL, SMALL_BATCH = 64, 64
"""Pixels and clips of a batch of the `small` presets."""

AIMS = {"released": 2.0, "packed": 10.0}
"""Times the clips/s of stable_worldmodel on the released layout that are asked for."""

WAYS = {"released": "chunks of 100, Blosc LZ4", "packed": "a chunk per frame, LZ4"}


# Files


def record(home: Path, episodes: int) -> Path:
    """Records TwoRoom, unless it has been."""
    path = home / "tworoom" / f"reading-{episodes}.h5"
    if not path.exists():
        command = ("collect", "tworoom", "--episodes", str(episodes), "--seed", "0", "--name", f"tworoom/{path.stem}")
        environment = {**os.environ, "STABLEWM_HOME": str(home)}
        subprocess.run([sys.executable, "-m", "lewm_cli", *command], env=environment, check=True)
    return path


def write_layout(recorded: Path, path: Path, layout: str, size: int | None = None) -> Path:
    """Writes the whole chunks of a recording many times over, as episodes of one chunk each."""
    if path.exists():
        return path
    dataset = open_dataset(recorded, recorded.stem)
    count = len(dataset.actions) // CHUNK
    times = -(-ROWS // (count * CHUNK))
    part = path.with_suffix(".part")
    with h5py.File(part, "w") as file:
        side = size or dataset.frame_size
        kind = (
            {"chunks": (CHUNK, side, side, 3), **hdf5plugin.Blosc("lz4", 5, hdf5plugin.Blosc.NOSHUFFLE)}
            if layout == "released"
            else {"chunks": (1, side, side, 3), "fletcher32": True, **hdf5plugin.LZ4()}
        )
        pixels = file.create_dataset("pixels", (times * count * CHUNK, side, side, 3), "u1", **kind)
        for number in range(count):
            frames = dataset.read("pixels", slice(number * CHUNK, (number + 1) * CHUNK))
            frames = resize(frames, side)
            if layout == "released":
                pixels[number * CHUNK : (number + 1) * CHUNK] = frames
                blobs = {number * CHUNK: pixels.id.read_direct_chunk((number * CHUNK, 0, 0, 0))}
            else:
                blobs = {number * CHUNK + row: (0, packed(frame.tobytes())) for row, frame in enumerate(frames)}
            for again in range(times):
                for row, (skipped, blob) in blobs.items():
                    pixels.id.write_direct_chunk((again * count * CHUNK + row, 0, 0, 0), blob, skipped)
        file["action"] = np.tile(dataset.actions[: count * CHUNK], (times, 1))
        file["ep_len"] = np.full(times * count, CHUNK)
        file["ep_offset"] = np.arange(times * count) * CHUNK
    part.rename(path)
    return path


def packed(frame: bytes) -> bytes:
    """A chunk of HDF5's filter for LZ4, and its checksum."""
    content = lz4.block.compress(frame, mode="high_compression", compression=4, store_size=False)
    chunk = struct.pack(">QII", len(frame), len(frame), len(content)) + content
    return chunk + fletcher32(chunk).to_bytes(4, "little")


# Contenders


def ours(path: Path, processes: int) -> Iterator[torch.Tensor]:
    """Endless batches of clips (B, T, H, W, 3) as training reads them; threads, though they are called processes."""
    dataset = opened(path)
    with closing(batches(dataset, DecodedFrames(dataset, dataset.frame_size)).stream(BATCH, 0, 0, processes)) as clips:
        for clip in clips:
            yield clip.pixels


@cache
def opened(path: Path) -> Dataset:
    """Once, as for a training: what was read in the first round has its checksums compared, as in a first epoch."""
    return open_dataset(path, path.stem)


def batches(dataset: Dataset, frames: Frames) -> ClipBatches:
    """All clips of a recording."""
    span = FRAMES * FRAMESKIP
    starts = (dataset.offsets[:, None] + np.arange(CHUNK - span + 1)).ravel()
    inputs = Inputs(task="tworoom", frameskip=FRAMESKIP, actions=ActionStats.fit(dataset.actions))
    return ClipBatches(ClipIndex(starts, FRAMES, FRAMESKIP), frames, dataset.actions, inputs)


def theirs(path: Path, processes: int) -> Iterator[torch.Tensor]:
    """Endless batches (B, T, 3, H, W) of stable_worldmodel, with actions in memory as it advises."""
    dataset = their_dataset(path)
    shuffled = torch.Generator().manual_seed(0)
    while True:
        loader = DataLoader(dataset, BATCH, shuffle=True, drop_last=True, num_workers=processes, generator=shuffled)
        for clip in loader:
            yield clip["pixels"]


def their_dataset(path: Path) -> torch.utils.data.Dataset:
    """Imports it late and quietly."""
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*fork.*")
    from stable_worldmodel.data.formats.hdf5 import HDF5Dataset

    keys = {"keys_to_load": ["pixels", "action"], "keys_to_cache": ["action"]}
    return HDF5Dataset(path=path, frameskip=FRAMESKIP, num_steps=FRAMES, **keys)


def check_same(path: Path) -> None:
    """Both read the same frames."""
    dataset = open_dataset(path, path.stem)
    rows = 7 + FRAMESKIP * np.arange(FRAMES)
    read = torch.from_numpy(DecodedFrames(dataset, dataset.frame_size).rows(rows)).permute(0, 3, 1, 2)
    assert torch.equal(their_dataset(path)[7]["pixels"], read)


# Measurement


@dataclass(frozen=True)
class Speed:
    """Clips that were read in a second, and in a second of one processor."""

    wall: float
    processor: float


def measured(read: Callable[[], Iterator[torch.Tensor]], processes: int) -> Speed:
    """Reads for some seconds, after as many batches as are under way at the beginning."""
    stream = read()
    for _ in range(2 * processes):
        next(stream)
    begun, used, count = time.perf_counter(), processor_seconds(), 0
    while time.perf_counter() - begun < SECONDS or count < 2 * processes:
        next(stream)
        count += BATCH
    speed = Speed(count / (time.perf_counter() - begun), count / (processor_seconds() - used))
    stream.close()
    return speed


def processor_seconds() -> float:
    """Of this process and those that it has started and that still run."""
    own, ticks = time.process_time(), os.sysconf("SC_CLK_TCK")
    for child in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        for number in child.read_text().split():
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            own += (int(fields[11]) + int(fields[12])) / ticks
    return own


def interval(ratios: np.ndarray) -> str:
    """The median of the rounds, and its 95 % interval."""
    drawn = np.random.default_rng(0).integers(len(ratios), size=(RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[drawn], axis=1), [0.025, 0.975])
    return f"{np.median(ratios):.1f} [{low:.1f}, {high:.1f}]"


def table(speeds: dict[tuple[str, str, int], list[Speed]]) -> list[str]:
    """Our clips/s beside theirs on the same file, and on the released layout."""

    def of(key: tuple[str, str, int], kind: str) -> np.ndarray:
        return np.array([getattr(speed, kind) for speed in speeds[key]])

    lines = [
        "| file | workers | stable_worldmodel, clips/s | lewm, clips/s | times | times, per processor second "
        "| times stable_worldmodel on the released layout |",
        "|---|---|---|---|---|---|---|",
    ]
    for layout, way in WAYS.items():
        for processes in (1, 2):
            pair = ((layout, "theirs", processes), (layout, "ours", processes))
            wall, processor = (of(pair[1], kind) / of(pair[0], kind) for kind in ("wall", "processor"))
            over = of(pair[1], "wall") / of(("released", "theirs", processes), "wall")
            medians = " | ".join(f"{np.median(of(key, 'wall')):,.0f}" for key in pair)
            cells = " | ".join(map(interval, (wall, processor, over)))
            lines.append(f"| {layout}: {way} | {processes} | {medians} | {cells} |")
    reached = []
    for layout, aim in AIMS.items():
        least = min(np.median(of((layout, "ours", n), "wall") / of(("released", "theirs", n), "wall")) for n in (1, 2))
        reached.append(f"{layout} {aim:g} ({'reached' if least >= aim else f'missed: {least:.1f}'})")
    return [*lines, "", f"Asked for are these times stable_worldmodel on the released layout: {', '.join(reached)}."]


def small_table(paths: dict[str, Path], rounds: int) -> list[str]:
    """Processor milliseconds for a batch of the `small` presets."""
    contenders: dict[str, ClipBatches] = {}
    for title, path in paths.items():
        dataset = open_dataset(path, path.stem)
        contenders[title] = batches(dataset, DecodedFrames(dataset, SMALL))
    kept = contenders["packed with `--size 64`"]
    memory = MemoryFrames.of(kept.frames, len(kept.actions), lambda done: None)
    contenders["in memory (`data.in_memory`)"] = batches(open_dataset(path, path.stem), memory)
    generator, seconds = np.random.default_rng(0), {title: [] for title in contenders}
    for _ in range(rounds + 1):
        clips = generator.integers(0, len(kept), SMALL_BATCH).tolist()
        for title, one in contenders.items():
            begun = time.process_time()
            one[clips]
            seconds[title].append(time.process_time() - begun)
    lines = ["| frames at 64 pixels | processor ms for a batch of 64 clips |", "|---|---|"]
    return lines + [f"| {title} | {1000 * np.median(values[1:]):.1f} |" for title, values in seconds.items()]


def main() -> None:
    """Measures, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--episodes", type=int, default=12, help="of the recording")
    parser.add_argument("--home", type=Path, help="where the recording is kept; a temporary folder if not given")
    parser.add_argument("--out", type=Path, help="page to write the section to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        home = options.home or Path(folder)
        recorded = record(home, options.episodes)
        paths = {layout: write_layout(recorded, home / f"{recorded.stem}-{layout}.h5", layout) for layout in WAYS}
        small = write_layout(recorded, home / f"{recorded.stem}-64.h5", "packed", SMALL)
        for path in paths.values():
            check_same(path)
        keys = [(layout, who, count) for count in (1, 2) for layout in paths for who in ("theirs", "ours")]
        speeds: dict[tuple[str, str, int], list[Speed]] = {key: [] for key in keys}
        for number in range(options.rounds + 1):
            for layout, who, count in keys:
                read = partial({"ours": ours, "theirs": theirs}[who], paths[layout], count)
                speeds[layout, who, count].append(measured(read, count))
                print(number, layout, who, count, speeds[layout, who, count][-1], file=sys.stderr)
        speeds = {key: values[1:] for key, values in speeds.items()}
        titles = {"packed with `--size 64`": small, "packed, resized": paths["packed"]}
        second = small_table({**titles, "released, resized": paths["released"]}, options.rounds)
        sizes = {layout: path.stat().st_size / len(open_dataset(path, "x").actions) for layout, path in paths.items()}
    bytes_said = ", ".join(f"{layout} {size / 1000:.1f} kB" for layout, size in sizes.items())
    import stable_worldmodel

    version = getattr(stable_worldmodel, "__version__", "0.1.1")
    text = "\n".join(
        [
            "## Reading clips",
            "",
            f"Clips of {FRAMES} frames of 224 pixels, {FRAMESKIP} rows apart, in shuffled batches of {BATCH}, from a "
            f"recording of TwoRoom ({bytes_said} a frame): stable_worldmodel {version}'s `HDF5Dataset` in torch's "
            "`DataLoader` with so many processes, against the reader of `lewm train` with so many threads. Medians of "
            f"{options.rounds} rounds in which all took turns, ratios with 95 % intervals over the rounds; the machine "
            f"({os.cpu_count()} cores) did other things meanwhile. Made by `python bench/reading.py`.",
            "",
            *table(speeds),
            "",
            "What a batch of the `small` presets costs one core, by where its frames are:",
            "",
            *second,
        ]
    )
    print(text)
    if options.out:
        write_section(options.out, "reading", text)


if __name__ == "__main__":
    main()
