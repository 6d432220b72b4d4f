"""How fast `lewm eval`'s loop is: simulators in this process against one process per core, on the same pairs.

    python bench/evaluation.py HOME [--run tworoom/lewm] [--dataset tworoom/test] [--pairs 50] [--rounds 5]

Both are measured in turn, so that both see the same machine; the first round is not counted. Imports and the start of
processes are left out, as in the results. Printed are seconds of wall time, seconds of CPU time in this process and in
the simulators', the ratio with a 95 % interval over the rounds (bootstrap of the median), and whether the aim is met.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from lewm_cli.config import EvalProtocol
from lewm_cli.control import Planner
from lewm_cli.data import Dataset
from lewm_cli.evaluate import EvalResult, choose_pairs, evaluate
from lewm_cli.simulate import Pair, SimulatorPool, simulator_pool
from lewm_cli.store import Home, Run, load_run
from lewm_cli.tasks import find_task
from lewm_cli.workers import available_cores

AIM = 4.0
"""Seconds for 50 TwoRoom episodes with the small model on two cores."""


def measure(run: Run, dataset: Dataset, pairs: list[Pair], fleet: SimulatorPool) -> tuple[float, float, EvalResult]:
    """Wall seconds, CPU seconds of this process, and the result."""
    protocol = EvalProtocol(pairs=len(pairs))
    fleet.wait()
    wall, cpu = time.perf_counter(), time.process_time()
    result = evaluate(
        run,
        find_task(run.card.inputs.task),
        dataset,
        pairs,
        protocol,
        Planner(run, protocol.planner),
        held_out=True,
        advance=lambda done: None,
        simulators=fleet,
    )
    return time.perf_counter() - wall, time.process_time() - cpu, result


def interval(ratios: np.ndarray) -> tuple[float, float]:
    """Of the median, 95 %, over resampled rounds."""
    drawn = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("--run", default="tworoom/lewm")
    parser.add_argument("--dataset", default="tworoom/test")
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    home = Home(options.home, (options.home,))
    run, dataset = load_run(home, options.run, torch.device("cpu")), home.find_dataset(options.dataset)
    task = find_task(run.card.inputs.task)
    pairs = choose_pairs(dataset, task, np.arange(dataset.episodes), EvalProtocol(pairs=options.pairs))
    cores = max(2, available_cores())
    with simulator_pool(task, 1, print) as here, simulator_pool(task, cores, print) as fleet:
        rounds = [[measure(run, dataset, pairs, one) for one in (here, fleet)] for _ in range(options.rounds + 1)][1:]
    assert len({round_[number][2].episodes for round_ in rounds for number in (0, 1)}) == 1, "outcomes differ"
    print(f"{options.pairs} pairs, {cores} simulator processes, {options.rounds} rounds, load {os.getloadavg()[0]:.1f}")
    for name, column in (("1 worker", 0), (f"{cores} workers", 1)):
        wall, cpu = (statistics.median(round_[column][field] for round_ in rounds) for field in (0, 1))
        split = rounds[-1][column][2].split
        parts = ", ".join(f"{part} {seconds:.2f}" for part, seconds in split.model_dump().items())
        print(f"{name:>10}: {wall:6.2f} s wall, {cpu:6.2f} s CPU of this process; last round: {parts}")
    ratios = np.array([round_[0][0] / round_[1][0] for round_ in rounds])
    low, high = interval(ratios)
    print(f"1 worker takes {np.median(ratios):.2f} x the time of {cores} [{low:.2f}, {high:.2f}]")
    wall = statistics.median(round_[1][0] for round_ in rounds)
    print(f"the aim of {AIM} s is {'met' if wall <= AIM else 'missed'}")


if __name__ == "__main__":
    main()
