"""Makes docs/methods.md: every training method on TwoRoom, by the size of the latent, on the same pairs.

    python bench/methods.py HOME [--jobs 2] [--out docs/methods.md]

First the weight of each method's own regularizer is chosen on a recording of its own, then every method is trained with
three seeds and measured on a third recording. What is done already is not done again, so that an interrupted bench goes
on; the page has what is finished.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path

from lewm_cli.evaluate import EvalResult
from results import Done, Step, do

TASK = "tworoom"
LATENTS = (8, 64, 192)
SEEDS = (0, 1, 2)
OFFSETS = (25, 100)
OBJECTIVES = ("last", "reach")
PAIRS = 300

CANDIDATES = {
    "lewm": (0.03, 0.003),
    "pldm": (1.0, 0.1),
    "delta": (1.0, 10.0, 100.0),
    "inverse": (0.1, 1.0, 10.0),
}
"""Values of lambda that are tried, by method."""

CHOSEN_AT = (8, 64)
"""Latent sizes at which they are tried, with one training seed each."""

CHOOSING_PAIRS = 100

ADDED = {"cosine": 0.5, "straightness": 0.1, "rollout": 1.0}
"""Additions to LeWorldModel's objective, with the weights of their papers; that of `rollout` is of no paper."""

ADDED_AT = (8, 64)

RECORDINGS = {"demos": (300, 0), "validation": (200, 500), "test": (520, 1000)}
"""Episodes and seed of each."""

PLANNER = ("--solver", "icem", "--set", "planner.candidates=100", "--set", "planner.iterations=5")


@dataclass(frozen=True)
class Variant:
    """One configuration of the `small` preset.

    Args:
        method: that is trained.
        latent: dimension of the latent space.
        seed: of training.
        weight: lambda; None for a method without.
        addition: to the objective, with its weight in `ADDED`.
    """

    method: str
    latent: int
    seed: int
    weight: float | None = None
    addition: str | None = None

    @property
    def run(self) -> str:
        """Name of its run."""
        weight = None if self.weight is None else f"{self.weight:g}".replace(".", "_")
        words = (self.method, weight, self.addition, f"latent{self.latent}", f"seed{self.seed}")
        return f"{TASK}/{'-'.join(word for word in words if word)}"

    @property
    def training(self) -> Step:
        """Its training."""
        options = ["--method", self.method, "--set", f"model.latent={self.latent}"]
        if self.weight is not None:
            options += ["--lambda", f"{self.weight:g}"]
        if self.addition:
            options += ["--set", f"objective.{self.addition}={ADDED[self.addition]:g}"]
        where = ("train", TASK, "--dataset", f"{TASK}/demos", "--preset", "small", "--seed", str(self.seed))
        return self._step("", "training", *where, *options, "--name", self.run, "--overwrite")

    @property
    def fitting(self) -> Step:
        """Its reachability head."""
        return self._step("-reach-head", "training", "fit", self.run, "--kind", "reach")

    @property
    def probing(self) -> Step:
        """What can be read off its latents."""
        return self._step("-probe", "evaluating", "probe", self.run, "--dataset", f"{TASK}/test")

    def evaluating(self, dataset: str, objective: str, pairs: int) -> Step:
        """Success on a recording, by what plans are judged by."""
        where = ("eval", self.run, "--dataset", f"{TASK}/{dataset}", "--protocol", "heldout", "--episodes", str(pairs))
        how = ("--offsets", ",".join(map(str, OFFSETS)), *PLANNER, "--set", f"planner.objective={objective}")
        return self._step(f"-{dataset}-{objective}", "evaluating", *where, *how, "--films", "0", "--workers", "1")

    def _step(self, suffix: str, kind: str, *command: str) -> Step:
        return Step(f"{self.run.removeprefix(f'{TASK}/')}{suffix}", kind, command)

    @property
    def tried(self) -> tuple[Step, ...]:
        """What has to be done to choose its lambda."""
        return self.training, self.evaluating("validation", "last", CHOOSING_PAIRS)

    @property
    def measured(self) -> tuple[Step, ...]:
        """What has to be done to measure it."""
        return (
            self.training,
            self.evaluating("test", "last", PAIRS),
            self.fitting,
            self.evaluating("test", "reach", PAIRS),
        )


def recordings() -> list[Step]:
    """Demonstrations to train on, to choose with, and to measure on."""
    return [
        Step(
            name,
            "recording",
            ("collect", TASK, "--episodes", str(many), "--seed", str(seed), "--name", f"{TASK}/{name}"),
        )
        for name, (many, seed) in RECORDINGS.items()
    ]


def candidates() -> list[Variant]:
    """Every lambda of every method at every size that it is tried at."""
    return [
        Variant(method, latent, 0, weight)
        for latent in CHOSEN_AT
        for method, weights in CANDIDATES.items()
        for weight in weights
    ]


def choose(home: Path) -> dict[str, float]:
    """The lambda of each method with the most successes on the validation recording, over offsets and sizes."""

    def successes(method: str, weight: float) -> float:
        steps = [Variant(method, latent, 0, weight).tried[1] for latent in CHOSEN_AT]
        return sum(one.overall.success.rate for step in steps for one in results(do(home, FOLDER, step)))

    return {method: max(weights, key=partial(successes, method)) for method, weights in CANDIDATES.items()}


def results(done: Done) -> list[EvalResult]:
    """Of an evaluation, by offset."""
    return [EvalResult.model_validate(one) for one in json.loads(done.printed)]


FOLDER = "methods"


def work(home: Path, steps: Sequence[Step]) -> None:
    """Do steps one after the other."""
    for step in steps:
        do(home, FOLDER, step)


def in_parallel(home: Path, jobs: int, chains: Sequence[Sequence[Step]]) -> None:
    """Do chains of steps, so many at a time."""
    with Pool(jobs) as pool:
        for _ in pool.imap_unordered(partial(work, home), chains, chunksize=1):
            pass


def variants(chosen: dict[str, float]) -> list[Variant]:
    """Everything that is measured, the most wanted first."""
    methods = {**chosen, "prediction": None}
    plain = [
        Variant(method, latent, seed, weight)
        for latent in LATENTS
        for seed in SEEDS
        for method, weight in methods.items()
    ]
    added = [
        Variant("lewm", latent, seed, chosen["lewm"], addition)
        for latent in ADDED_AT
        for seed in SEEDS
        for addition in ADDED
    ]
    return [*plain, *added]


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("--jobs", type=int, default=2, help="commands at a time")
    parser.add_argument("--out", type=Path, default=Path("docs/methods.md"))
    options = parser.parse_args()
    home = options.home.absolute()
    work(home, recordings())
    in_parallel(home, options.jobs, [one.tried for one in candidates()])
    every = variants(choose(home))
    in_parallel(home, options.jobs, [one.measured for one in every])
    in_parallel(home, options.jobs, [(one.probing,) for one in every])


if __name__ == "__main__":
    main()
