"""Measures what a training step of each method and addition costs, as a ratio to one of `lewm`.

    python bench/step.py [--rounds 15] [--latents 8 192] [--json FILE]

The network, batch and optimizer are those of TwoRoom's preset `small`, on random frames, one thread. A step is that
of training: frames made normal, loss, gradient, clipping and AdamW. All take turns, so that they see the same machine;
the first round warms up and is not counted. Processor seconds are counted, which depend less on what else the machine
does, and ratios are within rounds: their median, with a 95 % interval over the rounds (bootstrap).
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch

from lewm_cli.config import ActionStats, Inputs, ModelConfig
from lewm_cli.data import Clip
from lewm_cli.methods import DEFAULT, METHODS, TrainConfig
from lewm_cli.train import find_preset
from lewm_cli.train.learner import Learner

ADDED = {"cosine": 0.5, "straightness": 0.1, "rollout": 1.0}
"""Additions to the default method; what they cost does not depend on their weight."""

STEPS = 2
"""Steps of each in a round."""

RESAMPLES = 2000
LIMIT = 1.15
"""Times the step of `lewm` that a method may take."""


@dataclass(frozen=True)
class Contender:
    """A training that takes steps.

    Args:
        title: in the table.
        config: of the training.
    """

    title: str
    config: TrainConfig

    @classmethod
    def all(cls, latent: int) -> list[Self]:
        """Every method around LeWorldModel's network, the default one first, and every addition to that."""
        names = (name for name, method in METHODS.items() if method.Sizes is ModelConfig)
        found = [cls(f"`{name}`", cls._sized(name, latent, {})) for name in names]
        return found + [
            cls(f"`{DEFAULT}` + {term}", cls._sized(DEFAULT, latent, {term: weight})) for term, weight in ADDED.items()
        ]

    @staticmethod
    def _sized(method: str, latent: int, added: dict[str, float]) -> TrainConfig:
        config = find_preset("tworoom/small").config(method)
        return config.model_copy(
            update={
                "model": config.model.model_copy(update={"latent": latent}),
                "objective": config.objective.model_copy(update=added),
            }
        )

    def start(self) -> "Steps":
        """Builds all that is trained, with random weights."""
        return Steps(self.config)


class Steps:
    """A training without its data: the same random clips in every step."""

    def __init__(self, config: TrainConfig) -> None:
        torch.manual_seed(config.seed)
        inputs = Inputs(task="tworoom", frameskip=5, actions=ActionStats(mean=(0.0, 0.0), std=(1.0, 1.0)))
        model = config.objective.network(config.model, inputs.block_dim)
        self.learner = Learner(config, inputs, model, torch.device("cpu"))
        shape, size = (config.optimizer.batch_size, config.model.history + 1), config.model.image_size
        frames = torch.randint(256, (*shape, size, size, 3), dtype=torch.uint8)
        self.clips = Clip(frames, torch.randn(*shape, inputs.block_dim))

    def timed(self) -> float:
        """Processor seconds of a step."""
        begun = time.process_time()
        for _ in range(STEPS):
            self.learner.step(self.clips, self.learner.settings.lr)
        return (time.process_time() - begun) / STEPS


@dataclass(frozen=True)
class Cost:
    """What a step of one costs.

    Args:
        title: of the contender.
        latent: dimension of the latent space.
        milliseconds: of a processor, per step, the median over rounds.
        ratio: to a step of the default method in the same round, the median over rounds.
        low: end of its 95 % interval.
        high: end of its 95 % interval.
    """

    title: str
    latent: int
    milliseconds: float
    ratio: float
    low: float
    high: float


def costs(titles: list[str], latent: int, seconds: np.ndarray) -> list[Cost]:
    """Compares seconds (rounds, contenders) with those of the first contender."""
    ratios = seconds / seconds[:, :1]
    drawn = np.random.default_rng(0).integers(len(ratios), size=(RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[drawn], axis=1), [0.025, 0.975], axis=0)
    middle, ms = np.median(ratios, axis=0), 1000 * np.median(seconds, axis=0)
    return [
        Cost(title, latent, *map(float, numbers)) for title, *numbers in zip(titles, ms, middle, low, high, strict=True)
    ]


def table(found: list[Cost]) -> str:
    """The costs as Markdown; what is dearer than the limit is said below."""
    lines = ["| trained | latent | CPU ms per step | times `lewm` |", "|---|---|---|---|"]
    lines += [
        f"| {one.title} | {one.latent} | {one.milliseconds:.1f} | {one.ratio:.2f} [{one.low:.2f}, {one.high:.2f}] |"
        for one in found
    ]
    dear = [f"{one.title} at latent {one.latent}" for one in found if one.ratio > LIMIT]
    verdict = f"dearer are {', '.join(dear)}" if dear else "none is dearer"
    return "\n".join([*lines, "", f"At most {LIMIT} times `lewm` is asked for; {verdict}."])


def main() -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--latents", type=int, nargs="+", default=[8, 192])
    parser.add_argument("--json", type=Path, help="file to write the numbers to as well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for latent in options.latents:
        contenders = Contender.all(latent)
        running = [one.start() for one in contenders]
        rounds = [[one.timed() for one in running] for _ in range(options.rounds + 1)]
        found += costs([one.title for one in contenders], latent, np.array(rounds[1:]))
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
