"""Small recordings made of noise, in the released schema, and a model small enough to train on them in a second."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from lewm_cli.data import Dataset

TINY = """
method = "lewm"
seed = 7
data = { workers = 0, frameskip = 2 }
objective = { projections = 16, knots = 9 }
optimizer = { lr = 1e-3, batch_size = 16, precision = "float32" }
schedule = { stop = "40 steps", warmup = 0.1 }
monitor = { every = 10, clips = 16, log_every = 5 }

[model]
image_size = 16
latent = 4
encoder = { patch_size = 8, width = 16, depth = 1, heads = 2, mlp = 32 }
projector = { hidden = 16 }
predictor = { depth = 1, heads = 2, head_dim = 8, mlp = 32, dropout = 0.1 }
"""
"""Laid over a preset with --config. Dropout, so that the random generator matters."""


def join_recordings(path: Path, parts: Sequence[tuple[Dataset, Sequence[int]]], **attributes: object) -> Path:
    """Writes a recording of some episodes of others, which have the same columns."""
    chosen = [(dataset, int(episode)) for dataset, episodes in parts for episode in episodes]
    lengths = np.array([dataset.lengths[episode] for dataset, episode in chosen])
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for column in parts[0][0].columns:
            pieces = [
                dataset.read(column.name, slice(dataset.offsets[episode], dataset.offsets[episode] + length))
                for (dataset, episode), length in zip(chosen, lengths, strict=True)
            ]
            file[column.name] = np.concatenate(pieces)
        file["ep_len"], file["ep_offset"] = lengths, np.cumsum(lengths) - lengths
        file.attrs.update(attributes)
    return path


def write_recording(
    path: Path,
    lengths: Sequence[int] = (30, 24, 40, 20, 32, 28),
    *,
    dims: int = 3,
    size: int = 20,
    noise: int = 0,
    columns: dict[str, np.ndarray | None] | None = None,
    **attributes: object,
) -> Path:
    """Writes a recording of noise.

    Args:
        path: of the file.
        lengths: rows per episode.
        dims: action dimensions.
        size: side of a frame.
        noise: its seed.
        columns: replace what would be written under these names; None leaves a column out.
        attributes: of the file.
    """
    generator = np.random.default_rng(noise)
    lengths = np.array(lengths, np.int64)
    rows = int(lengths.sum())
    action = generator.normal(0.5, 2.0, (rows, dims)).astype(np.float32)
    action[np.cumsum(lengths) - 1] = np.nan
    content = {
        "pixels": generator.integers(0, 256, (rows, size, size, 3), dtype=np.uint8),
        "action": action,
        "ep_len": lengths,
        "ep_offset": np.cumsum(lengths) - lengths,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in (content | (columns or {})).items():
            if values is not None:
                file[name] = values
        file.attrs.update(attributes)
    return path
