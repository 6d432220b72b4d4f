"""Finds the frozen encoder that a training is to use: that of a run, in a folder, or on the Hub."""

import os
import re
from pathlib import Path

import torch

from lewm_cli.config import FrozenEncoderConfig
from lewm_cli.data import names_recording
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.methods import METHODS
from lewm_cli.store import (
    FoundRun,
    Home,
    Say,
    StoredEncoder,
    encoder_of_folder,
    encoder_of_run,
    is_pretrained,
    load_weights,
)
from lewm_cli.suggestion import command
from lewm_cli.tasks import find_task

WEIGHTS = (".safetensors", ".ckpt", ".bin")
"""Endings of files of weights, which models on the Hub do not have in their names."""


def find_encoder(home: Home, name: str, say: Say, *, download: bool = True) -> StoredEncoder:
    """The encoder that goes by a name.

    Args:
        name: of a run, ours or another tool's; a folder that transformers wrote; a model on the Hub.
        download: a model that is not in the cache of the Hub yet.

    Raises:
        LewmError: there is none, or it cannot be read; in one sentence.
    """
    if run := _found_run(home, name):
        beside = run.files.weights.parent
        if not run.own and is_pretrained(beside):  # somebody keeps encoders among runs
            return encoder_of_folder(beside, run.name)
        return encoder_of_run(home, name, say)
    folder = Path(os.path.expanduser(name))
    if os.path.isdir(folder):
        return encoder_of_folder(folder, str(folder.absolute()))
    from lewm_cli.fetch import hub_folder  # late: what talks to the Hub takes long to import

    return encoder_of_folder(hub_folder(name, say, download=download), name)


def parents_encoder(home: Home, parent: str, what: str, method: str) -> FrozenEncoderConfig:
    """The sizes of the encoder in the weights that a training starts from; LewmError if they are of another network."""
    loaded, objective = load_weights(home, parent), METHODS[method]
    sizes, network = loaded.model.config, None
    if type(sizes) is objective.Sizes:
        with torch.device("meta"):
            network = objective.network(sizes, loaded.model.block_dim)
    config = getattr(sizes, "encoder", None)
    if not isinstance(config, FrozenEncoderConfig) or type(network) is not type(loaded.model):
        raise LewmError(
            f"{loaded.name} has another network ({loaded.method}), whose weights do not fit {method}; take its encoder "
            f"alone: {command('train', what, '--method', method, '--encoder', loaded.name)}"
        )
    return config


def _found_run(home: Home, name: str) -> FoundRun | None:
    """The run of a name; None for what can only be a folder or a model on the Hub."""
    try:
        return home.find_run(name)
    except LewmError as error:
        beside = name.partition("/")[0]
        mistyped = find_task(beside) or any(run.startswith(f"{beside}/") for run, _ in home.run_files())
        repository = re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name, re.ASCII)
        on_hub = isinstance(error, MissingError) and repository and not mistyped
        file = os.path.isfile(os.path.expanduser(name)) or (on_hub and name.endswith(WEIGHTS))
        what = "a recording" if names_recording(name) else "a file" if file else ""
        if what and isinstance(error, MissingError):
            raise LewmError(
                f"{name} is {what}, no encoder; name a run as `{command('ls')}` has it, a folder that save_pretrained "
                "wrote, or a model on the Hub"
            ) from error
        if not on_hub and not os.path.isdir(os.path.expanduser(name)):
            raise
        return None
