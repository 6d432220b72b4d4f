"""Measures what a training step of each policy costs: when a frozen encoder sees its frames at each step, and once.

    python bench/policies.py [--rounds 8] [--json FILE]

The network, batch and optimizer are those of the preset `small` for policies in TwoRoom, on random frames, one thread.
Both ways take turns, so that they see the same machine; the first round warms up and is not counted. Processor seconds
are counted: the least of all rounds, which other work on the machine disturbs least.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from lewm_cli.config import ActionStats, EncoderConfig, FrozenEncoderConfig, Inputs
from lewm_cli.data import ClipBatches, ClipIndex, MemoryFrames
from lewm_cli.methods import TrainConfig
from lewm_cli.model import FrozenEncoder
from lewm_cli.train import EncodedFrames, find_preset
from lewm_cli.train.learner import Learner

POLICIES = ("gcbc", "gcivl", "gciql")
ROWS, EPISODE, ACTIONS = 2000, 50, 2
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Cost:
    """Processor seconds of a step in one phase: with the encoder at each step, and with its tokens in memory."""

    method: str
    phase: str
    each_step: float
    once: float

    @property
    def ratio(self) -> float:
        """Times as fast with tokens in memory."""
        return self.each_step / self.once


def main() -> None:
    """Measure all policies and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    costs = [cost for method in POLICIES for cost in measure(method, options.rounds)]
    print("| method | phase | encoder at each step | once | times as fast |\n|---|---|---|---|---|")
    for cost in costs:
        print(f"| `{cost.method}` | {cost.phase} | {cost.each_step:.3f} s | {cost.once:.3f} s | {cost.ratio:.2f} |")
    if options.json:
        options.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=2) + "\n")


def measure(method: str, rounds: int) -> list[Cost]:
    """The cost of a step in each phase of a method."""
    config, frames = small(method), noise()
    inputs = Inputs(task="tworoom", frameskip=1, actions=ActionStats(mean=(0.0,) * ACTIONS, std=(1.0,) * ACTIONS))
    torch.manual_seed(0)
    learner = Learner(config, inputs, type(config.objective).network(config.model, inputs.block_dim), CPU)
    encoder = learner.model.encoder
    assert isinstance(encoder, FrozenEncoder)
    known = EncodedFrames(frames, ROWS, encoder, inputs.pixels, CPU, "float32")
    known.fill_all(lambda done: None)
    length = config.model.history + 1
    firsts = np.arange(0, ROWS, EPISODE)
    starts = (firsts[:, None] + np.arange(EPISODE - length + 1)).ravel()
    index = ClipIndex(starts, length, 1, np.stack([firsts, np.full_like(firsts, EPISODE)], axis=1))
    actions = np.random.default_rng(1).normal(size=(ROWS, ACTIONS)).astype(np.float32)
    costs = []
    for phase in learner.objective.phases:
        learner.phase = phase
        ways: dict[EncodedFrames | None, list[float]] = {None: [], known: []}
        streams = {
            way: ClipBatches(index, frames, actions, inputs, encoded=way is not None)
            .toward(phase.goals)
            .stream(config.optimizer.clips, 0, 0, 0)
            for way in ways
        }
        for _ in range(rounds + 1):
            for way, spent in ways.items():
                learner.encoded = way
                begun = time.process_time()
                learner.step(next(streams[way]), 1e-3)
                spent.append(time.process_time() - begun)
        costs.append(Cost(method, phase.name or "all", min(ways[None][1:]), min(ways[known][1:])))
    return costs


def small(method: str) -> TrainConfig:
    """The preset, looking through the encoder of a run of `tworoom/small`."""
    preset = find_preset("tworoom/small")
    encoder = EncoderConfig.model_validate(preset.config().model.model_dump()["encoder"])
    tree = preset.layer(method).tree | {"method": method}
    tree["model"] = tree["model"] | {"encoder": FrozenEncoderConfig(**encoder.model_dump()).model_dump()}
    return TrainConfig.build(tree, "the benchmark")


def noise() -> MemoryFrames:
    """Frames of 64 pixels."""
    return MemoryFrames(np.random.default_rng(0).integers(256, size=(ROWS, 64, 64, 3), dtype=np.uint8))


if __name__ == "__main__":
    main()
