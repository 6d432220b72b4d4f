"""The run that is measured, and the episodes that it may be measured on."""

from dataclasses import dataclass

import numpy as np
import torch

from lewm_cli.data import Dataset, require_usable
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.store import ExternalWeights, Home, Run, Say, dataset_task, load_run
from lewm_cli.suggestion import command
from lewm_cli.tasks import GENERIC, Task, find_task


def load_world_model(home: Home, name: str, device: torch.device, external: ExternalWeights, say: Say) -> Run:
    """Load a run with its threads set; raises LewmError if there is none, or it is a policy."""
    run = load_run(home, name, device, external=external, say=say)
    run.require_world_model()
    run.use_threads()
    return run


@dataclass(frozen=True)
class UnseenEpisodes:
    """Episodes (E,) of a recording to measure on; `held_out` says whether the run was trained on none of them."""

    dataset: Dataset
    episodes: np.ndarray
    held_out: bool


def find_unseen(home: Home, run: Run, task: Task, name: str | None, say: Say, *, every: bool = False) -> UnseenEpisodes:
    """Find the episodes of a recording that a run was never trained on, by their content, not by the file's name.

    Args:
        name: of the recording; the one that the run was trained on if not given.
        every: take all episodes, those that the run was trained on included.

    Raises:
        LewmError: no such recording, one of another task or in which frames are missing, or one that was trained on as
            a whole.
    """
    card, dataset = run.card, find_recording(home, run, task, name, say)
    require_usable(dataset, say)
    unseen = is_unseen(run, dataset)
    taken, held_out = np.arange(dataset.episodes), bool(unseen.all())
    whole = f"episodes: all {dataset.episodes} of {dataset.name}"
    if every:
        known = f"it was not trained on {unseen.sum()} of them" if card.provenance else "nobody knows on which of them"
        say(f"{whole}, whether or not the run was trained on them ({known})")
    elif card.provenance is None:
        say(f"{whole}; nobody knows which of them the run was trained on")
    elif held_out:
        say(f"{whole}; the run was trained on none of them")
    elif unseen.any():
        say(f"episodes: the {unseen.sum()} of {dataset.episodes} in {dataset.name} that the run was not trained on")
        taken, held_out = np.flatnonzero(unseen), True
    elif card.provenance.train.data.split == "clip" and dataset.identity.fingerprint == card.dataset.fingerprint:
        say(f"episodes: of {dataset.name}, and the run was trained on them (it held out clips, not episodes)")
    else:
        raise LewmError(
            f"{run.name} was trained on every episode of {dataset.name}; record others to measure on, for example: "
            + command("collect", task.name, "--episodes", 100, "--seed", 1, "--name", f"{task.name}/test")
        )
    return UnseenEpisodes(dataset, taken, held_out)


def find_recording(home: Home, run: Run, task: Task, name: str | None, say: Say, option: str = "--dataset") -> Dataset:
    """Find the recording of a name, or else what the run was trained on; raises LewmError if it is none of its task."""
    try:
        dataset = home.find_dataset(name or run.card.dataset.name, say)
    except MissingError as error:
        if name:
            raise
        trained = f"{run.name} was trained on {run.card.dataset.name}"
        raise MissingError(f"{trained}, and {error}; name another one with {option}") from error
    refuse_unfit(run, task, dataset)
    return dataset


def is_unseen(run: Run, dataset: Dataset) -> np.ndarray:
    """True for each episode (E,) that the run is known never to have been trained on, judged by content."""
    if run.card.provenance is None:
        return np.zeros(dataset.episodes, bool)
    return np.array([digest not in run.card.trained_on for digest in dataset.episode_digests])


def refuse_unfit(run: Run, task: Task, dataset: Dataset) -> None:
    """Raises LewmError if a recording is of another task than a run, or its actions have another width."""
    recorded = dataset.task or dataset_task(dataset).name
    # Of a task without a simulator, whatever it is called there, is what a generic run was trained on too.
    if find_task(recorded) not in (task, GENERIC) and dataset_task(dataset) is not task:
        raise LewmError(f"{dataset.name} is a recording of {recorded}, and {run.name} was trained on {task.name}")
    width, dims = dataset.actions.shape[1], run.card.inputs.actions.dim
    if width != dims:
        raise LewmError(
            f"{dataset.name} has {width} action dimensions, and {run.name} was trained with {dims}; "
            f"`{command('ls')}` lists the recordings and runs there are"
        )
