"""Measures how many frames per second surprise takes one by one, against embedding them alone.

    python bench/streaming.py [--rounds 9] [--out docs/performance.md]

Untrained models of TwoRoom's presets, random frames of their size, one thread. Frames are embedded one by one, embedded
in batches as other measurements do it, and followed by `lewm_cli.Surprise`, in turn, so that all see the same machine;
the first round warms up and is not counted. Processor seconds are counted, which depend less on what else the machine
does, and ratios are within rounds: their median, with a 95 % interval over the rounds (bootstrap).
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from lewm_cli.config import ActionStats, DatasetIdentity, Inputs, ModelConfig
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.store import Run, RunFiles
from lewm_cli.surprise import SurpriseStream
from lewm_cli.tasks import find_task
from results import write_section

FRAMESKIP, DIMS = 5, 2
FRAMES = {"small": 128, "release": 16}
"""Frames of a round, by preset."""

RESAMPLES = 2000


def untrained(preset: str) -> Run:
    """Builds a run of a preset's sizes with random weights."""
    sizes = ModelConfig.model_validate(find_task("tworoom").presets[preset].get("model", {}))
    torch.manual_seed(0)
    model = JEPA(sizes, FRAMESKIP * DIMS).eval()
    inputs = Inputs(task="tworoom", frameskip=FRAMESKIP, actions=ActionStats(mean=(0.0,) * DIMS, std=(1.0,) * DIMS))
    nothing = DatasetIdentity(name="noise", episodes=1, rows=1, fingerprint="")
    card = RunCard(method="lewm", model=sizes, inputs=inputs, statistics_from=nothing)
    return Run(preset, RunFiles(Path(preset)), model, "lewm", card, tensors=0, sha256="")


def ways(run: Run, count: int) -> dict[str, Callable[[], object]]:
    """Makes what is measured: each takes the same frames."""
    generator, size = np.random.default_rng(0), run.card.model.image_size
    frames = generator.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    actions = generator.normal(size=(FRAMESKIP, DIMS)).astype(np.float32)
    stream = SurpriseStream(run)
    stream.update(frames[0])
    return {
        "embedded": lambda: [run.embed(frame[None]) for frame in frames],
        "batches": lambda: run.embed(frames),
        "followed": lambda: [stream.update(frame, actions) for frame in frames],
    }


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of some work."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def ratio(ratios: np.ndarray) -> str:
    """Median of ratios within rounds, with its interval."""
    drawn = np.random.default_rng(0).choice(ratios, (RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    return f"{np.median(ratios):.2f} [{low:.2f}, {high:.2f}]"


def row(preset: str, rounds: int) -> str:
    """Measures one preset; a row of the table."""
    run = untrained(preset)
    compared = ways(run, FRAMES[preset])
    found = [{name: seconds(work) for name, work in compared.items()} for _ in range(rounds + 1)][1:]
    cost = {name: np.array([one[name] for one in found]) / FRAMES[preset] for name in compared}
    rates = " | ".join(
        f"{float(f'{1 / np.median(cost[name]):.3g}'):,g}" for name in ("batches", "embedded", "followed")
    )
    share = ratio(cost["embedded"] / cost["followed"])
    return f"| {preset}, {run.card.model.image_size} pixels | {rates} | {share} |"


def main() -> None:
    """Measure both presets and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path("docs/performance.md"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = "\n".join(row(preset, options.rounds) for preset in FRAMES)
    write_section(
        options.out,
        "streaming",
        f"""## Surprise while frames are taken

Frames per processor second of one core: embedded in batches of up to 64, embedded one by one, and followed by `lewm_cli.Surprise`, which embeds each frame alone and predicts it. Untrained models of TwoRoom's presets, {options.rounds} rounds in which all took turns, the ratio with a 95 % interval over them. A model step is {FRAMESKIP} frames of the camera. Made by `python bench/streaming.py`.

| preset | in batches | one by one | followed | followed / one by one |
|---|---|---|---|---|
{rows}
""",  # noqa: E501
    )


if __name__ == "__main__":
    main()
