"""How fast weights of the released size are read: safetensors and torch.save by this package, against torch.load.

    python bench/loading.py [--rounds 7]

Everything is written to a temporary folder and read in turn, so that all see the same machine; the first round warms
the page cache and is not counted. Printed are the median, the spread, and the ratio to torch.load of the state dict.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from lewm_cli.config import ModelConfig
from lewm_cli.methods import JEPA
from lewm_cli.store.formats import read_checkpoint
from lewm_cli.store.objects import save_object

AIM = 0.3
"""Seconds for safetensors, after imports."""


def write_all(folder: Path) -> dict[str, Path]:
    """The same released-size weights in every format."""
    model = JEPA(ModelConfig(), block_dim=10).eval()
    state = model.state_dict()
    paths = {name: folder / name for name in ("weights.safetensors", "weights.pt", "legacy.pt", "lewm_object.ckpt")}
    save_file(state, paths["weights.safetensors"])
    torch.save(state, paths["weights.pt"])
    torch.save(state, paths["legacy.pt"], _use_new_zipfile_serialization=False)
    save_object(model, "lewm", paths["lewm_object.ckpt"])
    return paths


def build(state: dict[str, torch.Tensor]) -> None:
    """What a command does next: a model with these weights."""
    with torch.device("meta"):
        model = JEPA(ModelConfig(), 10)
    model.load_state_dict(state, strict=True, assign=True)


def contenders(paths: dict[str, Path]) -> dict[str, Callable[[], object]]:
    """What is timed, by name; the first is what the others are compared with."""
    pickle, tensors = paths["weights.pt"], paths["weights.safetensors"]
    return {
        "torch.load(weights_only=True), state dict": lambda: torch.load(pickle, weights_only=True),
        "torch.load(weights_only=False), state dict": lambda: torch.load(pickle, weights_only=False),
        "torch.load(weights_only=False), object": lambda: torch.load(paths["lewm_object.ckpt"], weights_only=False),
        "safetensors.load_file": lambda: load_file(tensors),
        "read_checkpoint, safetensors": lambda: read_checkpoint(tensors),
        "read_checkpoint, safetensors, into a model": lambda: build(read_checkpoint(tensors).state),
        "read_checkpoint, state dict": lambda: read_checkpoint(pickle),
        "read_checkpoint, legacy state dict": lambda: read_checkpoint(paths["legacy.pt"]),
        "read_checkpoint, object": lambda: read_checkpoint(paths["lewm_object.ckpt"]),
    }


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds of every round, by contender."""
    with tempfile.TemporaryDirectory() as folder:
        timed = contenders(write_all(Path(folder)))
        seconds: dict[str, list[float]] = {name: [] for name in timed}
        for _ in range(rounds + 1):
            for name, read in timed.items():
                started = time.perf_counter()
                read()
                seconds[name].append(time.perf_counter() - started)
    return {name: values[1:] for name, values in seconds.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seconds = measure(options.rounds)
    if options.json:
        print(json.dumps(seconds))
        return
    reference = statistics.median(next(iter(seconds.values())))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.rounds} rounds")
    print(f"{'median s':>9} {'from':>7} {'to':>7} {'ratio':>6}")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{median:9.4f} {min(values):7.4f} {max(values):7.4f} {median / reference:6.2f}   {name}")
    within = statistics.median(seconds["read_checkpoint, safetensors, into a model"]) < AIM
    print(f"the aim of {AIM} s for safetensors is {'met' if within else 'missed'}")


if __name__ == "__main__":
    main()
