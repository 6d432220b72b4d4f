"""How fast archives are unpacked: by this package, which hashes and flushes what it writes, against tar and zstd.

    python bench/unpack.py [--megabytes 1500] [--rounds 7]

A compressible recording (about as much as the released ones) and an incompressible one are packed as `.tar.zst` and as
`.zst`, and unpacked in turn by both, so that both see the same machine; the first round is not counted. The others do
not hash; they are timed as they are, and with the flush to disk that this package does. Ratios are seconds of ours
over seconds of theirs, with a 95 % bootstrap interval over rounds; processor seconds tell how much of that was work.
Everything lies in a temporary folder, which takes four times the megabytes.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from lewm_cli.fetch.unpack import unpack

FRAME = 224 * 224 * 3

PEAK = """
import sys
from pathlib import Path
from lewm_cli.fetch.unpack import unpack
def peak():  # of this program alone; getrusage knows the parent's too
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
unpack(Path(sys.argv[1]), Path(sys.argv[2]), limit=1 << 40, advance=lambda count: None)
print(before, peak())
"""


@dataclass(frozen=True)
class Timing:
    """Seconds of one unpacking: by the clock, and of all processors together."""

    wall: float
    cpu: float


def write_recording(path: Path, frames: int, compressible: bool) -> None:
    """Frames of noise, or of gray noise of 32 levels."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        pixels = file.create_dataset("pixels", (frames, 224, 224, 3), np.uint8, chunks=(100, 224, 224, 3))
        for start in range(0, frames, 100):
            count = min(100, frames - start)
            if compressible:
                gray = rng.integers(0, 32, (count, 224, 224, 1), dtype=np.uint8)
                noise = np.repeat(gray, 3, axis=3)
            else:
                noise = rng.integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)
            pixels[start : start + count] = noise


def flush(folder: Path) -> None:
    """Wait until the files in a folder are on the disk."""
    for path in folder.iterdir():
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def timed(work: Callable[[Path], object], folder: Path) -> Timing:
    """How long `work` takes with a new folder."""
    out = folder / "out"
    out.mkdir()
    subprocess.run(["sync", "-f", folder], check=True)
    cpu, started = cpu_seconds(), time.perf_counter()
    work(out)
    timing = Timing(time.perf_counter() - started, cpu_seconds() - cpu)
    shutil.rmtree(out)
    return timing


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def contenders(archive: Path) -> dict[str, Callable[[Path], object]]:
    """Who unpacks an archive, by name; the first is this package."""
    if archive.name.endswith(".tar.zst"):
        name, command = "tar --zstd -xf", ["tar", "--zstd", "-xf", str(archive), "-C"]
        target = "."
    else:
        name, command, target = "zstd -d", ["zstd", "-qd", str(archive), "-o"], "x.h5"

    def theirs(out: Path) -> None:
        subprocess.run([*command, str(out / target)], check=True)

    def theirs_flushed(out: Path) -> None:
        theirs(out)
        flush(out)

    return {
        "lewm, hashed and flushed": lambda out: unpack(archive, out, limit=1 << 40, advance=lambda count: None),
        name: theirs,
        f"{name}, flushed": theirs_flushed,
    }


def ratio_interval(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Ratio of the medians, and its 95 % interval over rounds drawn anew."""
    pairs = np.array([ours, theirs])
    draws = np.random.default_rng(0).integers(0, pairs.shape[1], (10_000, pairs.shape[1]))
    medians = np.median(pairs[:, draws], axis=2)
    low, high = np.percentile(medians[0] / medians[1], (2.5, 97.5))
    return float(np.median(pairs[0]) / np.median(pairs[1])), float(low), float(high)


def measure(archive: Path, rounds: int, size: int) -> None:
    """Unpack an archive in turn, and print how that went."""
    unpackers = contenders(archive)
    timings: dict[str, list[Timing]] = {name: [] for name in unpackers}
    order = list(unpackers)
    for _ in range(rounds + 1):
        for name in order:
            timings[name].append(timed(unpackers[name], archive.parent))
        order = order[1:] + order[:1]  # whoever comes after a large file is removed has it easier
    walls = {name: [timing.wall for timing in kept[1:]] for name, kept in timings.items()}
    cpus = {name: [timing.cpu for timing in kept[1:]] for name, kept in timings.items()}
    ours = next(iter(unpackers))
    print(f"{archive.name}: {archive.stat().st_size / 1e6:,.0f} MB, unpacked {size / 1e6:,.0f} MB")
    for name in unpackers:
        median = statistics.median(walls[name])
        line = f"  {name:26} {median:6.2f} s ({min(walls[name]):.2f} to {max(walls[name]):.2f})"
        line += f", {size / median / 1e9:5.2f} GB/s, {statistics.median(cpus[name]):5.2f} s of processors"
        if name != ours:
            line += "; ratio {:.2f} [{:.2f}, {:.2f}]".format(*ratio_interval(walls[ours], walls[name]))
            line += ", of processors {:.2f} [{:.2f}, {:.2f}]".format(*ratio_interval(cpus[ours], cpus[name]))
        print(line, flush=True)


def print_peak(archive: Path) -> None:
    """What a process takes to unpack an archive."""
    out = archive.parent / "out"
    out.mkdir()
    done = subprocess.run([sys.executable, "-c", PEAK, archive, out], check=True, capture_output=True, text=True)
    shutil.rmtree(out)
    before, after = (int(word) / 1024 for word in done.stdout.split())
    print(f"  peak memory {after:.0f} MiB, of which {after - before:.0f} MiB after the imports", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for kind in ("compressible", "incompressible"):
            recording = Path(place) / f"{kind}.h5"
            write_recording(recording, options.megabytes * 1_000_000 // FRAME, kind == "compressible")
            size = recording.stat().st_size
            packed, bare = Path(place) / f"{kind}.tar.zst", Path(place) / f"{kind}.h5.zst"
            subprocess.run(["tar", "-C", place, "--zstd", "-cf", packed, recording.name], check=True)
            subprocess.run(["zstd", "-q", recording, "-o", bare], check=True)
            recording.unlink()
            for archive in (packed, bare):
                measure(archive, options.rounds, size)
                print_peak(archive)
                archive.unlink()


if __name__ == "__main__":
    main()
