"""Measures how fast `lewm import` makes a recording of videos, against a plain script with cv2 and h5py.

    python bench/importing.py [--rounds 3] [--episodes 8] [--frames 300] [--out docs/performance.md]

A LeRobot folder (v2.1, H.264, 640 x 480) is written first: a texture with noise, in which something moves. The script
does what most people write: it decodes each video with cv2.VideoCapture in one process, takes the middle square,
averages areas to 224 pixels, and writes each frame into a chunk of its own under LZ4. All are whole commands, started
anew, and take turns in every round, so that all see the same machine; ratios are within rounds.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pyarrow
from pyarrow import parquet

from results import LEWM, write_section

HEIGHT, WIDTH, FPS = 480, 640, 30
CAMERA = "observation.images.front"

SCRIPT = """
import sys, pathlib, cv2, h5py, hdf5plugin
with h5py.File(sys.argv[2], "w") as file:
    kind = {"chunks": (1, 224, 224, 3), "maxshape": (None, 224, 224, 3), **hdf5plugin.LZ4()}
    pixels, row = file.create_dataset("pixels", (0, 224, 224, 3), "u1", **kind), 0
    for path in sorted(pathlib.Path(sys.argv[1]).glob("videos/*/*/*.mp4")):
        video = cv2.VideoCapture(str(path))
        while (read := video.read())[0]:
            square = cv2.cvtColor(read[1][:, 80:560], cv2.COLOR_BGR2RGB)
            pixels.resize(row + 1, 0)
            pixels[row] = cv2.resize(square, (224, 224), interpolation=cv2.INTER_AREA)
            row += 1
print(row)
"""


def write_source(folder: Path, episodes: int, frames: int) -> None:
    """Writes videos, tables and what LeRobot says of them."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(40, 216, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    texture = coarse.repeat(8, 0).repeat(8, 1).astype(np.int16)
    for number in range(episodes):
        moving = np.empty((frames, HEIGHT, WIDTH, 3), np.uint8)
        for row in range(frames):
            noise = generator.integers(-6, 7, texture.shape, dtype=np.int16)
            left = 80 + (3 * row + 40 * number) % 400
            moving[row] = (texture + noise).clip(0, 255)
            moving[row, 200:280, left : left + 80] = 230, 60, 30
        video = folder / f"videos/chunk-000/{CAMERA}/episode_{number:06d}.mp4"
        table = folder / f"data/chunk-000/episode_{number:06d}.parquet"
        for path in (video, table):
            path.parent.mkdir(parents=True, exist_ok=True)
        imageio.imwrite(video, moving, plugin="FFMPEG", fps=FPS, codec="libx264")
        rows = np.arange(frames)
        columns = {
            "action": list(generator.normal(size=(frames, 6)).astype(np.float32)),
            "timestamp": (rows / FPS).astype(np.float32),
            "frame_index": rows,
            "episode_index": np.full(frames, number),
            "index": rows + number * frames,
            "task_index": np.zeros(frames, np.int64),
        }
        parquet.write_table(pyarrow.table(columns), table)
    one = {"dtype": "int64", "shape": [1], "names": None}
    features = {
        "action": {"dtype": "float32", "shape": [6], "names": None},
        CAMERA: {"dtype": "video", "shape": [HEIGHT, WIDTH, 3], "names": ["height", "width", "channels"]},
        "timestamp": {**one, "dtype": "float32"},
        **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), one),
    }
    info = {
        "codebase_version": "v2.1",
        "fps": FPS,
        "chunks_size": 1000,
        "features": features,
        "total_tasks": 1,
        "total_episodes": episodes,
        "total_frames": episodes * frames,
        "total_chunks": 1,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }
    lines = [{"episode_index": number, "tasks": ["move"], "length": frames} for number in range(episodes)]
    (folder / "meta").mkdir()
    (folder / "meta/info.json").write_text(json.dumps(info))
    (folder / "meta/tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "move"}))
    (folder / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))


def seconds(command: list[str]) -> tuple[float, float]:
    """Seconds that a command takes, and seconds of processors."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    before, begun = _processor(), time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - begun, _processor() - before


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measures, and prints the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--frames", type=int, default=300, help="of an episode")
    parser.add_argument("--out", type=Path, help="page to write the section to")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    ways = {"a script with cv2": 0, "`lewm import --workers 1`": 1, f"`lewm import --workers {cores}`": cores}
    spent: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "source"
        write_source(source, options.episodes, options.frames)
        for number in range(options.rounds):
            for way, workers in ways.items():
                name = f"r{number}-{workers}"
                importing = [str(LEWM), "import", str(source), "--name", name, "--workers", str(workers)]
                script = [sys.executable, "-c", SCRIPT, str(source), f"{place}/{name}.h5"]
                spent[way].append(seconds([*importing, "--home", place] if workers else script))
                (Path(place) / f"{name}.h5").unlink()
                print(number, way, spent[way][-1], file=sys.stderr)
    frames, base = options.episodes * options.frames, np.array(spent["a script with cv2"])
    lines = ["| way | frames/s | times the script | frames per processor second |", "|---|---|---|---|"]
    for way, found in spent.items():
        wall, processor = np.array(found).T
        times = np.median(base[:, 0] / wall)
        lines.append(
            f"| {way} | {np.median(frames / wall):,.0f} | {times:.2f} | {np.median(frames / processor):,.0f} |"
        )
    text = "\n".join(
        [
            "## Importing videos",
            "",
            f"A LeRobot data set of {options.episodes} videos with {options.frames} frames of {WIDTH} x {HEIGHT} "
            f"(H.264), made a recording of 224 x 224: whole commands, medians of {options.rounds} rounds in which all "
            f"took turns; the machine ({cores} cores) did other things meanwhile. The script decodes with cv2, keeps "
            "the middle, and writes with h5py. Made by `python bench/importing.py`.",
            "",
            *lines,
        ]
    )
    print(text)
    if options.out:
        write_section(options.out, "importing", text)


if __name__ == "__main__":
    main()
