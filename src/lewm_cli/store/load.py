"""Loads a run by name: strictly, whichever tool wrote the weights, and without running anything in them."""

import os
from pathlib import Path

import torch

from lewm_cli.config import ActionStats, Inputs, ProprioConfig, ProprioStats
from lewm_cli.data import Dataset, RecordedFacts, require_proprio
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.files import write_text
from lewm_cli.methods import DEFAULT, RunCard
from lewm_cli.model import WorldModel, resolve_device
from lewm_cli.store.external import NO_OPTIONS, ExternalWeights, Say, silent
from lewm_cli.store.formats import Checkpoint, ChoiceError, ForeignError, MistakenError, read_checkpoint, read_trusted
from lewm_cli.store.header import read_card
from lewm_cli.store.home import Home
from lewm_cli.store.locate import FoundRun
from lewm_cli.store.names import dataset_task, method_of, named_task
from lewm_cli.store.runs import LoadedWeights, Run, read_tensors, weights_digest
from lewm_cli.store.stored_statistics import StoredStatistics, stored_statistics
from lewm_cli.suggestion import command
from lewm_cli.tasks import GENERIC


def load_weights(
    home: Home,
    name: str,
    device: torch.device | str = "cpu",
    *,
    external: ExternalWeights = NO_OPTIONS,
    say: Say = silent,
) -> LoadedWeights:
    """Find a run by name and load its model strictly; nothing needs to be known of its normalization.

    Args:
        name: run name, `pusht/lewm`, one state of it, `pusht/lewm@7`, or one of the models in it, `pusht/lewm@ema`.

    Raises:
        UsageError: the run carries its sizes and they are given too.
        LewmError: there is no such run, several, or its tensors are not exactly the model's.
    """
    found = home.find_run(name)
    weights = found.files.weights
    if found.name != name:
        say(f"{name}: {found.name} is what goes by this name here")
    card = source = None
    if found.own:
        if external.config is not None:
            raise UsageError(f"{found.name} carries its own sizes, and they are always used; leave out --config")
        card = read_card(weights)
        method, model = card.method, card.new_model()
        state = read_tensors(weights, model)
    else:
        read = _read(found, external)
        source, state = read.source, read.state
        method, model = method_of(found.name, read.spec.method), read.spec.network()
        if read.spec.method is None and method != DEFAULT:
            say(f"{found.name}: no class in its files says what trained it; it is taken for {method}, after its name")
    model.load_state_dict(state, strict=True)
    model = model.to(device).eval()
    return LoadedWeights(found.name, found.files, model, method, card, len(state), weights_digest(weights), source)


def load_run(
    home: Home,
    name: str,
    device: torch.device | str = "cpu",
    *,
    external: ExternalWeights = NO_OPTIONS,
    say: Say = silent,
) -> Run:
    """Find a run by name and load it as `load_weights` does, with its normalization as from `with_statistics`."""
    loaded = load_weights(home, name, device, external=external, say=say)
    say(f"run: {loaded.name} ({loaded.origin})")
    return with_statistics(home, loaded, external.stats_from, say)


def with_statistics(home: Home, loaded: LoadedWeights, stats_from: str | None, say: Say = silent) -> Run:
    """Returns the run with its normalization: the one it carries, or a stored one, or one computed now and stored.

    Args:
        stats_from: compute it from this recording. Without, what is stored is used, and if nothing is, the released
            recording of the task if it lies in the home.

    Raises:
        UsageError: the run carries its own.
        LewmError: nothing is known, the recording does not fit, or nothing can be written in the home.
    """
    if stats_from is not None and loaded.source is None:
        raise UsageError(f"{loaded.name} carries its own statistics, and they are always used; leave out --stats-from")
    notes = home.sidecar(loaded.name, loaded.files)
    # What is stored may be damaged, and is then replaced.
    card = stored_card(home, loaded) if stats_from is None else None
    if card is None:
        dataset = home.find_dataset(stats_from or _released_recording(home, loaded))
        inputs = _fitted(loaded, dataset)
        statistics = StoredStatistics(weights_sha256=loaded.sha256, dataset=dataset.identity, inputs=inputs)
        write_text(notes.statistics, statistics.model_dump_json())
        say(f"statistics: computed from {dataset.name} ({dataset.path}) and stored in {notes.statistics}")
        card = _card_of_external(loaded, statistics)
    return Run(**vars(loaded) | {"card": card, "notes": notes})


def stored_card(home: Home, loaded: LoadedWeights) -> RunCard | None:
    """The card that weights carry, or the one that stored statistics make for them; None if there is neither."""
    if loaded.card:
        return loaded.card
    for stored in stored_statistics(home, loaded.name, loaded.files):
        # Those of other weights that had the name before are passed over.
        if stored.weights_sha256 == loaded.sha256 and _fit(stored.inputs, loaded):
            return _card_of_external(loaded, stored)
    return None


def load(
    run_name: str | Path,
    cache_dir: str | Path | None = None,
    device: str | torch.device = "cpu",
    *,
    external: ExternalWeights = NO_OPTIONS,
) -> Run:
    """Load a trained run as the Python API takes it: arguments and errors are those of `lewm_cli.load`."""
    return load_run(Home.locate(cache_dir), os.fspath(run_name), resolve_device(str(device)), external=external)


def AutoCostModel(  # noqa: N802  (its name elsewhere)
    run_name: str | Path, cache_dir: str | Path | None = None, config: str | Path | None = None
) -> WorldModel:
    """The model of a run in eval mode and frozen, as stable_worldmodel's solvers and policies take it.

    Args:
        run_name, cache_dir, config: as for `load`.

    Returns:
        a module with `encode`, `predict`, `rollout`, `criterion` and `get_cost`.

    Raises:
        LewmError: there is no such run, it is a policy, or it cannot be loaded strictly.
    """
    external = ExternalWeights(config=Path(config) if config else None)
    # Solvers that follow gradients follow them to the actions, and would leave some on the weights as well.
    return load_weights(Home.locate(cache_dir), os.fspath(run_name), external=external).world_model.requires_grad_(
        False
    )


def _read(found: FoundRun, external: ExternalWeights) -> Checkpoint:
    path, copy = found.files.weights, found.files.copy
    try:
        try:
            return read_checkpoint(path, external.config, copy)
        except LewmError as error:
            if external.trust and not isinstance(error.__cause__, ChoiceError | MistakenError):
                return read_trusted(path, external.config, copy)
            raise
    except LewmError as error:
        cause = error.__cause__
        if isinstance(cause, ForeignError):
            raise LewmError(f"{error}; --trust would run it") from error
        if isinstance(cause, ChoiceError):
            raise LewmError(f"{error}; choose one by its name: {cause.names(found.name)}") from error
        raise


def _fit(inputs: Inputs, loaded: LoadedWeights) -> bool:
    """Tell whether stored statistics are of what the network takes."""
    sizes, known = loaded.model.config, inputs.proprio.dim if inputs.proprio else None
    taken = sizes.proprio if isinstance(sizes, ProprioConfig) else None
    return (inputs.block_dim, known) == (loaded.model.block_dim, taken)


def _fitted(loaded: LoadedWeights, dataset: Dataset) -> Inputs:
    """Fit them to what a recording holds; the name of the run tells the task where the recording does not."""
    name, block_dim, sizes, proprio = loaded.name, loaded.model.block_dim, loaded.model.config, None
    dims = dataset.actions.shape[1]
    if block_dim % dims:
        raise LewmError(
            f"{name} takes {block_dim} numbers per action block, which is no whole number of the {dims} action "
            f"dimensions of {dataset.name}; name the recording that it was trained on with --stats-from"
        )
    if isinstance(sizes, ProprioConfig):
        instead = "name the recording that it was trained on with --stats-from"
        proprio = ProprioStats.fit(require_proprio(dataset, sizes.proprio, name, instead))
    task = dataset_task(dataset)
    if task is GENERIC:
        task = named_task(name) or GENERIC
    actions = ActionStats.fit(dataset.actions)
    facts = vars(RecordedFacts.of(dataset))
    return Inputs(task=task.name, frameskip=block_dim // dims, actions=actions, proprio=proprio, **facts)


def _card_of_external(loaded: LoadedWeights, statistics: StoredStatistics) -> RunCard:
    known = {"inputs": statistics.inputs, "statistics_from": statistics.dataset}
    return RunCard(method=loaded.method, model=loaded.model.config, **known)


def _released_recording(home: Home, loaded: LoadedWeights) -> str:
    task = named_task(loaded.name)
    if task and task.released_dataset and home.dataset_file(task.released_dataset):
        return task.released_dataset
    raise LewmError(
        f"{loaded.name} carries no statistics of actions, for another tool made it; compute them from the recording "
        "that it was trained on: " + command("show", loaded.name, "--stats-from", "DATASET")
    )
