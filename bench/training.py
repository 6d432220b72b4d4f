"""Measures a training step: against stable_worldmodel's, and how its time and memory grow with batch, frame and depth.

    python bench/training.py [--rounds 20] [--out docs/performance.md]

Both start from the same weights, with dropout on and the same random numbers, and see the same random frames; nothing
is read. Theirs is its LeWM around a ViT of transformers, its SIGReg, clipping and AdamW. Ours is the step of `lewm
train`, which standardizes the frames as well. They take turns on one thread, so that they see the same machine, and
processor seconds are counted; the first round warms up. Ratios are within rounds: their median, with a 95 % interval
over the rounds (bootstrap). Each size of the growth is a process of its own: the least of some steps, and the most
memory it ever held beyond what it held before the first.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from lewm_cli.config import ActionStats, Inputs
from lewm_cli.data import Clip
from lewm_cli.methods import JEPA, TrainConfig
from lewm_cli.model import Batch
from lewm_cli.train import find_preset
from lewm_cli.train.learner import Learner
from results import write_section

RESAMPLES = 2000
INPUTS = Inputs(task="tworoom", frameskip=5, actions=ActionStats(mean=(0.0, 0.0), std=(1.0, 1.0)))
AIMS = {"release, float32": 1.2, "release, bf16": 2.5}
"""Times as fast as theirs that a step is to be."""


@dataclass(frozen=True)
class Size:
    """What is trained, and on how much.

    Args:
        preset: of TwoRoom.
        batch: clips in a step.
        image: side of a frame, pixels; that of the preset if not given.
        depth: blocks of the encoder; those of the preset if not given.
        checkpointing: whether the encoder's blocks are computed again for the gradient.
    """

    preset: str
    batch: int
    image: int = 0
    depth: int = 0
    checkpointing: bool = False

    def config(self) -> TrainConfig:
        """The settings of the preset, at this size."""
        config = find_preset(f"tworoom/{self.preset}").config("lewm")
        encoder = config.model.encoder.model_copy(update={"depth": self.depth or config.model.encoder.depth})
        image = self.image or config.model.image_size
        optimizer = config.optimizer.model_copy(update={"checkpointing": self.checkpointing})
        return config.model_copy(
            update={
                "optimizer": optimizer,
                "model": config.model.model_copy(update={"encoder": encoder, "image_size": image}),
            }
        )

    def clips(self, seed: int) -> Clip:
        """Random ones."""
        generator, model = torch.Generator().manual_seed(seed), self.config().model
        shape = self.batch, model.history + 1
        pixels = torch.randint(
            256, (*shape, model.image_size, model.image_size, 3), dtype=torch.uint8, generator=generator
        )
        return Clip(pixels, torch.randn(*shape, INPUTS.block_dim, generator=generator))

    def learner(self, *, bf16: bool = False) -> Learner:
        """What takes our steps."""
        config = self.config()
        torch.manual_seed(config.seed)
        learner = Learner(config, INPUTS, JEPA(config.model, INPUTS.block_dim), torch.device("cpu"))
        learner.autocast = bf16
        return learner


def their_step(config: TrainConfig, network: nn.Module) -> Callable[[Batch], Tensor]:
    """The step of stable_worldmodel from the weights of one of our networks."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from stable_worldmodel.wm.loss import SIGReg

    from theirs import build_theirs

    model, settings, objective = build_theirs(config.model).train(), config.optimizer, config.objective
    model.load_state_dict(network.state_dict(), strict=True)
    sigreg = SIGReg(objective.knots, objective.projections)
    optimizer = optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)

    def step(batch: Batch) -> Tensor:
        info = model.encode({"pixels": batch.pixels, "action": batch.blocks})
        predicted = model.predict(info["emb"][:, :-1], info["act_emb"][:, :-1])
        loss = F.mse_loss(predicted, info["emb"][:, 1:]) + objective.lambda_ * sigreg(info["emb"].transpose(0, 1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        return loss.detach()

    return step


@dataclass(frozen=True)
class Speed:
    """A step against theirs.

    Args:
        title: what is trained, and in which precision.
        theirs: milliseconds of a processor, the median over rounds.
        ours: the same of our step.
        ratio: how many times as fast ours is in the same round, the median over rounds.
        low: end of its 95 % interval.
        high: end of its 95 % interval.
        apart: the largest difference of two losses of the same step.
        steps: so many.
    """

    title: str
    theirs: float
    ours: float
    ratio: float
    low: float
    high: float
    apart: float
    steps: int

    @classmethod
    def of(cls, title: str, theirs: np.ndarray, ours: np.ndarray) -> "Speed":
        """Compares seconds and losses (rounds, 2); the seconds of the first round are left out."""
        ratios = theirs[1:, 0] / ours[1:, 0]
        drawn = np.random.default_rng(0).integers(len(ratios), size=(RESAMPLES, len(ratios)))
        low, high = np.quantile(np.median(ratios[drawn], axis=1), [0.025, 0.975])
        ms = (1000 * float(np.median(seconds[1:, 0])) for seconds in (theirs, ours))
        apart = float(np.abs(theirs[:, 1] - ours[:, 1]).max())
        return cls(title, *ms, float(np.median(ratios)), float(low), float(high), apart, len(theirs))


def against_theirs(size: Size, rounds: int) -> list[Speed]:
    """Our steps in both precisions against theirs."""
    exact, half = size.learner(), size.learner(bf16=True)
    theirs = their_step(size.config(), exact.model)
    lr = size.config().optimizer.lr
    contenders: dict[str, Callable[[Clip, Batch], Tensor]] = {
        "theirs": lambda clips, batch: theirs(batch),
        "float32": lambda clips, batch: exact.step(clips, lr)[0].total.detach(),
        "bf16": lambda clips, batch: half.step(clips, lr)[0].total.detach(),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for step in range(rounds + 1):
        clips = size.clips(step)
        batch = exact.batch(clips)
        for name, take in contenders.items():
            torch.manual_seed(step)  # the same dropout, and the same directions
            begun = time.process_time()
            loss = take(clips, batch)
            found[name].append((time.process_time() - begun, loss.item()))
    rows = {name: np.array(row) for name, row in found.items()}
    return [Speed.of(f"{size.preset}, {name}", rows["theirs"], rows[name]) for name in contenders if name != "theirs"]


@dataclass(frozen=True)
class Cost:
    """The time, milliseconds of a processor, and the memory, MB, of a step."""

    milliseconds: float
    memory: float


def measure(size: Size, steps: int = 2) -> Cost:
    """What a step costs; memory only means something in a new process."""
    learner, clips = size.learner(), size.clips(0)
    before, seconds = _peak(), []
    for _ in range(steps):
        begun = time.process_time()
        learner.step(clips, 1e-4)
        seconds.append(time.process_time() - begun)
    return Cost(1000 * min(seconds), _peak() - before)


def growth() -> list[tuple[Size, Cost]]:
    """The costs of sizes around the release preset, one changed at a time, with and without checkpointing."""
    base = Size("release", 4, 224, 12)
    sizes = [replace(base, batch=batch) for batch in (2, 4, 8)]
    sizes += [replace(base, image=image) for image in (112, 336)]
    sizes += [replace(base, depth=depth) for depth in (6, 24)]
    sizes = [replace(size, checkpointing=again) for size in sizes for again in (False, True)]
    return [(size, _in_process(size)) for size in sizes]


def _in_process(size: Size) -> Cost:
    command = [sys.executable, __file__, "--one", json.dumps(asdict(size))]
    return Cost(**json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def page(speeds: list[Speed], costs: list[tuple[Size, Cost]]) -> str:
    """All that was measured, as Markdown; what is short of its aim is said."""
    lines = [
        "## A training step",
        "",
        f"Made by `python bench/training.py`, which says how; torch {torch.__version__}.",
    ]
    lines += ["", "| trained | CPU ms, stable_worldmodel in float32 | CPU ms | times as fast | losses apart |"]
    lines += ["|---|---|---|---|---|"]
    lines += [
        f"| {one.title} | {one.theirs:.0f} | {one.ours:.0f} | {one.ratio:.2f} [{one.low:.2f}, {one.high:.2f}] | "
        f"{one.apart:.0e} in {one.steps} steps |"
        for one in speeds
    ]
    short = [f"{one.title} is short of {AIMS[one.title]}" for one in speeds if one.ratio < AIMS.get(one.title, 0)]
    lines += ["", f"Batches: 4 clips of four frames (release), 64 (small). {'; '.join(short) or 'The aims are met'}."]
    if costs:
        lines += ["", "| clips | pixels | blocks | CPU ms | MB | CPU ms, checkpointing | MB, checkpointing |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for (size, plain), (_, again) in zip(costs[::2], costs[1::2], strict=True):
            lines.append(
                f"| {size.batch} | {size.image} | {size.depth} | {plain.milliseconds:.0f} | {plain.memory:.0f} | "
                f"{again.milliseconds:.0f} | {again.memory:.0f} |"
            )
        lines += ["", "Release preset, float32, one thread; memory is that of a step, beside weights and frames."]
    return "\n".join(lines)


def main() -> None:
    """Measures, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, help="page to write the section to")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a size of the growth, as JSON
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.one:
        print(json.dumps(asdict(measure(Size(**json.loads(options.one))))))
        return
    costs = growth()
    speeds = [
        speed for size in (Size("release", 4), Size("small", 64)) for speed in against_theirs(size, options.rounds)
    ]
    text = page(speeds, costs)
    print(text)
    if options.out:
        write_section(options.out, "training", text)


if __name__ == "__main__":
    main()
