"""Reads a data set with the package lerobot, and keeps what it gives as one npz file; run by a Python that has it.

Usage: python read_by_lerobot.py FOLDER OUTPUT [BACKEND]
"""

import sys
from pathlib import Path

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset


def read(folder: Path, backend: str) -> dict[str, np.ndarray]:
    """All rows by key, frames as uint8 (N, H, W, 3); statistics as `stats/KEY/NAME`; clips as `clip/KEY`."""
    dataset = LeRobotDataset("export/test", root=folder, video_backend=backend)
    items = [dataset[number] for number in range(len(dataset))]
    found = {}
    for key in dataset.features:
        rows = np.stack([item[key].numpy() for item in items])
        frames = key in dataset.meta.camera_keys
        found[key] = (rows * 255).round().astype(np.uint8).transpose(0, 2, 3, 1) if frames else rows
    found["task"] = np.array([item["task"] for item in items])
    found["episodes"] = np.array(
        [[each["dataset_from_index"], each["dataset_to_index"]] for each in dataset.meta.episodes]
    )
    for key, statistics in dataset.meta.stats.items():
        found |= {f"stats/{key}/{name}": np.asarray(value) for name, value in statistics.items()}
    later = LeRobotDataset(
        "export/test",
        root=folder,
        video_backend=backend,
        delta_timestamps={key: [0, 1 / dataset.fps] for key in ("action", *dataset.meta.camera_keys)},
    )
    return found | {f"clip/{key}": later[0][key].numpy() for key in ("action", *dataset.meta.camera_keys)}


if __name__ == "__main__":
    folder, output, backend = [*sys.argv[1:], "torchcodec"][:3]
    np.savez(output, **read(Path(folder), backend))
