"""From nothing to a report: record, train, evaluate, probe, surprise; what is there already is not done again."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from lewm_cli.config import Layer
from lewm_cli.diagnose import FilmResult
from lewm_cli.evaluate import HELD_OUT, EvalResult, find_protocol
from lewm_cli.flows import Progress, stopped_with
from lewm_cli.flows.collect import collect
from lewm_cli.flows.evaluate import evaluate_run
from lewm_cli.flows.perturb import PERTURBED_EPISODES, perturb_run
from lewm_cli.flows.planned import EvalRequest
from lewm_cli.flows.probe import PROBED_FRAMES, probe_run
from lewm_cli.flows.report import Page, draw_page
from lewm_cli.flows.results import stored_results
from lewm_cli.flows.surprise import surprise_run
from lewm_cli.flows.train import train
from lewm_cli.flows.training_request import TrainingRequest
from lewm_cli.probe import ProbeResult, rows_before
from lewm_cli.store import Home, Measurement, RunFiles, Say, StoredResults, load_run
from lewm_cli.surprise import PerturbationResult, SurpriseResult, draw_episodes
from lewm_cli.tasks import TWOROOM
from lewm_cli.train import Listener, task_preset
from lewm_cli.workers import available_cores

PRESET = task_preset(TWOROOM, "small")

DEMOS, TEST, RUN = "tworoom/demos", "tworoom/test", f"{TWOROOM.name}/{PRESET.method}"

STAGED = TWOROOM.perturbations[:2]
"""Those of the paper; others take more time."""

SEED = 0
"""The seed of probes and perturbations."""


@dataclass(frozen=True)
class QuickstartSize:
    """The amount of work; the defaults take a few minutes on two cores.

    Args:
        steps: of training; those of the preset if not given.
        pairs: planned for.
        frames: probed.
        perturbed: episodes simulated with each perturbation.
    """

    train_episodes: int = 300
    test_episodes: int = 100
    steps: int | None = None
    pairs: int = 100
    frames: int = PROBED_FRAMES
    perturbed: int = PERTURBED_EPISODES


@stopped_with(lambda: "stopped; what is done is kept, and the same command goes on from there")
def quickstart(
    folder: Path, size: QuickstartSize, device: str, listeners: tuple[Listener, ...], say: Say, progress: Progress
) -> Page:
    """Do what is not done yet in a home of its own, the only one that is read, and draw the page.

    Raises:
        LewmError: whatever stops a stage; the stages before it stay done.
        StoppedError: Ctrl-C or SIGTERM; the same call goes on from there.
    """
    folder = folder.expanduser().absolute()
    home = Home(write=folder, read=(folder,))
    for name, episodes, seed in ((DEMOS, size.train_episodes, 0), (TEST, size.test_episodes, 1)):
        if not home.dataset_file(name):
            say(f"recording {episodes} episodes of {TWOROOM.title} as {name}")
            cores = available_cores()
            collect(home, TWOROOM.name, episodes=episodes, seed=seed, workers=cores, progress=progress, name=name)
    files = RunFiles(home.run_stem(RUN))
    if not files.object.exists():  # written after the last step
        say("training a world model")
        steps = (Layer("the quickstart", {"schedule": {"stop": f"{size.steps} steps"}}),) if size.steps else ()
        if files.stopped:
            request = TrainingRequest(RUN, name=RUN, device=device, resume=True)
        else:
            # A training that was killed early may have left weights, and nothing to go on from.
            begun = TrainingRequest(TWOROOM.name, preset=PRESET.name, dataset=DEMOS, settings=steps)
            request = replace(begun, name=RUN, device=device, overwrite=True)
        train(home, request, listeners=listeners, say=say, progress=progress)
    _measure(home, size, device, say, progress)
    return draw_page(load_run(home, RUN), _measured(home, size), folder / "report.html")


def _measure(home: Home, size: QuickstartSize, device: str, say: Say, progress: Progress) -> None:
    results = _measured(home, size)
    if not results.of(EvalResult) or not results.of(FilmResult):
        say(f"planning from {size.pairs} recorded starts to recorded goals")
        begun = any(RunFiles(home.run_stem(RUN)).results.glob("eval-*.journal"))
        request = EvalRequest(TEST, settings=_pairs(size), protocol=HELD_OUT, resume=begun)
        # In this process: the perturbations below need a simulator here, and importing it takes longest.
        evaluate_run(home, RUN, request, say, progress, workers=1, device=device)
    if not results.of(ProbeResult):
        say("probing what the latents know")
        probe_run(home, RUN, say, progress, dataset=TEST, frames=size.frames, seed=SEED, device=device)
    if not results.of(SurpriseResult):
        say("measuring surprise along the test episodes")
        surprise_run(home, TEST, say, progress, run=RUN, seed=SEED, device=device)
    staged = {result.perturbation for result in results.of(PerturbationResult)}
    for perturbation in STAGED:
        if perturbation.name not in staged:
            say(f"staging a surprise: {perturbation.title}")
            perturb = partial(perturb_run, home, TEST, perturbation.name, say, progress, run=RUN, seed=SEED)
            perturb(device=device, episodes=size.perturbed)


def _measured(home: Home, size: QuickstartSize) -> StoredResults:
    """Select the results that a quickstart of this size measures among all results of the run."""
    run, test = load_run(home, RUN), home.find_dataset(TEST)
    protocol = find_protocol(TWOROOM, HELD_OUT, _pairs(size))
    drawn = draw_episodes(run, test, np.arange(test.episodes), count=size.perturbed, seed=SEED)

    def here(one: Measurement) -> bool:
        match one:
            case EvalResult() | FilmResult():
                alike = one.protocol == protocol
            case ProbeResult():
                frames = one.train_frames + one.test_frames
                usable = int((test.lengths - rows_before(run)).clip(0).sum())
                alike = (one.seed, frames) == (SEED, min(size.frames, usable))
            case SurpriseResult():
                episodes = len(one.episodes) + len(one.left_out)
                alike = (one.seed, episodes, one.horizon) == (SEED, test.episodes, 1)
            case PerturbationResult():
                alike = (one.seed, len(one.episodes), one.horizon) == (SEED, len(drawn), 1)
        return alike and one.dataset == test.identity

    return stored_results(home, run).only(here)


def _pairs(size: QuickstartSize) -> tuple[Layer, ...]:
    return (Layer("the quickstart", {"pairs": size.pairs}),)
