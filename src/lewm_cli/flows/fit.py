"""Fit a head to the latents of a run, and keep it beside the run."""

from pathlib import Path

import numpy as np

from lewm_cli.data import Dataset, DecodedFrames, require_usable
from lewm_cli.errors import LewmError, MissingError, UsageError
from lewm_cli.files import try_writing
from lewm_cli.flows import Progress
from lewm_cli.flows.unseen import is_unseen, load_world_model, refuse_unfit
from lewm_cli.heads import KINDS, HeadFit, LatentEpisodes, LatentSplit, encode_episodes, save_head
from lewm_cli.model import resolve_device
from lewm_cli.store import NO_OPTIONS, ExternalWeights, Home, Run, Say
from lewm_cli.tasks import GENERIC, find_task
from lewm_cli.workers import available_memory

FEWEST_TESTED = 5
"""Episodes that an interval over episodes needs."""

TESTED_SHARE = 0.2
"""Share of the episodes to test on, where the run has not held out enough of them itself."""


def fit_head(
    home: Home,
    name: str,
    kind: str,
    say: Say,
    progress: Progress,
    *,
    steps: int | None = None,
    dataset: str | None = None,
    seed: int = 0,
    device: str = "auto",
    external: ExternalWeights = NO_OPTIONS,
) -> tuple[HeadFit, Path]:
    """Fits a head to frozen latents of episodes that the run was trained on, and tests it on others.

    Args:
        kind: of the head, by its name in `KINDS`.
        steps: of the optimizer; as many as are usual for the kind if not given.
        dataset: the recording that the run was trained on; as its card names it if not given.
        device: of the encoder; the head itself is fitted on the CPU.

    Returns:
        the result, and the file of the head.

    Raises:
        UsageError: there is no such kind.
        LewmError: no such run or dataset, a recording that does not fit, too few episodes, nothing to fit, or another
            process writes the run.
    """
    if kind not in KINDS:
        raise UsageError(f"there is no kind of head {kind!r}; --kind takes {' or '.join(KINDS)}")
    run = load_world_model(home, name, resolve_device(device), external, say)
    return fit_loaded(home, run, kind, say, progress, steps=steps, dataset=dataset, seed=seed)


def fit_loaded(
    home: Home,
    run: Run,
    kind: str,
    say: Say,
    progress: Progress,
    *,
    steps: int | None = None,
    dataset: str | None = None,
    seed: int = 0,
) -> tuple[HeadFit, Path]:
    """Fits a head to a world model that is loaded already; else as `fit_head`."""
    head = KINDS[kind]
    steps = steps or head.usual_steps
    try:
        recording = home.find_dataset(dataset or run.card.dataset.name, say)
    except MissingError as error:
        if dataset:
            raise
        raise MissingError(f"heads are fitted to what {run.name} was trained on, and {error}") from error
    refuse_unfit(run, find_task(run.card.inputs.task) or GENERIC, recording)
    require_usable(recording, say)
    try_writing(run.places[0].head(kind))
    to_fit, to_test, held_out = _choose(run, recording, head, seed, say)
    _require_memory(run, int(recording.lengths[np.concatenate([to_fit, to_test])].sum()))
    frames = DecodedFrames(recording, run.card.model.image_size)

    def encoded(numbers: np.ndarray, title: str) -> LatentEpisodes:
        with progress(title, int(recording.lengths[numbers].sum()), "frames") as advance:
            return encode_episodes(run, recording, frames, numbers, advance)

    split = LatentSplit(run, recording, encoded(to_fit, "encoding"), encoded(to_test, "encoding others"), held_out)
    with progress("fitting", head.total_steps(steps), "steps") as advance:
        networks, fit = head.fit(split, seed=seed, steps=steps, advance=advance)
    return fit, save_head(run, networks, fit)


def _require_memory(run: Run, frames: int) -> None:
    """Raises LewmError if latents of so many frames do not fit, which may be a hundred thousand numbers each."""
    needed, available = 4 * frames * run.world_model.config.latent_dim, available_memory()
    if needed > available:
        raise LewmError(
            f"{frames:,} latents of {run.name}, of {run.world_model.config.latent_dim:,} numbers each, take "
            f"{needed / 1e9:.1f} GB, and {available / 1e9:.1f} GB of memory are free; fit the head where there is more"
        )


def _choose(
    run: Run, dataset: Dataset, head: type[HeadFit], seed: int, say: Say
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Chooses episodes to fit to and to test on, and tells whether the run was trained on none of the latter.

    These are the ones it held out, or a fifth of the others if they are too few.
    """
    unseen = is_unseen(run, dataset)
    if unseen.all():
        raise LewmError(
            f"{run.name} was trained on no episode of {dataset.name}, and what it was never trained on is kept to "
            f"measure it on; name the recording it was trained on ({run.card.dataset.name}) with --dataset"
        )
    generator = np.random.default_rng(seed)
    seen, others = (generator.permutation(np.flatnonzero(chosen)) for chosen in (~unseen, unseen))
    held_out = len(others) >= FEWEST_TESTED
    if not held_out:
        apart = max(FEWEST_TESTED, round(TESTED_SHARE * len(seen)))
        others, seen = seen[:apart], seen[apart:]
    if len(seen) < FEWEST_TESTED:
        raise LewmError(
            f"{dataset.name} has {dataset.episodes} episodes, too few to fit a head to some and test it on others; "
            "record more, and train on them"
        )
    fitted, tested = _whole(dataset, seen, head.most_fitted), _whole(dataset, others, head.most_tested)
    whose = "that the run held out" if held_out else "that the run may have been trained on, and the head is not"
    which = "the run was trained on" if run.card.provenance else "there are"
    say(f"episodes: {len(fitted)} of those {which} in {dataset.name} to fit, {len(tested)} {whose} to test")
    return fitted, tested, held_out


def _whole(dataset: Dataset, numbers: np.ndarray, frames: int) -> np.ndarray:
    """Takes the first of these episodes that hold about so many frames, in the order of the recording."""
    kept = np.cumsum(dataset.lengths[numbers]) <= frames
    kept[:FEWEST_TESTED] = True
    return np.sort(numbers[kept])
