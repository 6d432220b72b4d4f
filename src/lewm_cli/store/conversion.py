"""Writes a run in any format; tensors stay the same, bit for bit, except where the format has others."""

import json
import shutil
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lewm_cli.errors import LewmError
from lewm_cli.files import atomic_folder, atomic_path
from lewm_cli.methods import DEFAULT
from lewm_cli.model import Network, WorldModel
from lewm_cli.store.formats import config_tree
from lewm_cli.store.formats.classes import KINDS, STABLE_WORLDMODEL, home_of_parts
from lewm_cli.store.formats.dinowm_family import DINOV2_CONFIG, DINOV2_MODEL, MODULES
from lewm_cli.store.formats.lewm_family import BATCH_NORM, VIT, VIT_SIZES
from lewm_cli.store.objects import named_tensors, save_object, save_state_dict, write_torch
from lewm_cli.store.onnx_export import CARD, ONNX_FILES, card_text, write_onnx
from lewm_cli.store.runs import Run, save_weights, weights_digest
from lewm_cli.suggestion import command
from lewm_cli.tasks.swm import import_stable_worldmodel


class Target(StrEnum):
    """A format."""

    SAFETENSORS = "safetensors"
    OBJECT = "object"
    WEIGHTS = "weights"
    HUB = "hub"
    SWM_OBJECT = "swm-object"
    ONNX = "onnx"


class Names(StrEnum):
    """Names of the encoder's tensors in the weights of a hub folder, which are loaded strictly."""

    RELEASED = "transformers-4"
    CURRENT = "transformers-5"


HUB_FILES = ("config.json", "weights.pt", CARD)
"""Files of a hub folder. The configuration first: a folder without it is not loaded."""

FOLDERS = {Target.HUB: HUB_FILES, Target.ONNX: ONNX_FILES}
"""The formats that are folders, and their files."""


OF_WORLD_MODELS = (Target.HUB, Target.SWM_OBJECT, Target.ONNX)
"""The formats that have no place for a policy."""


@dataclass(frozen=True)
class WrittenFile:
    """A file that was written, with its size and the sha256 of its content."""

    path: Path
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Conversion:
    """A run in another format.

    Args:
        names: of the tensors, where they can be chosen.
        tensors: how many.
        path: the file or folder.
        largest_difference: of a number that it computes from the run's, where its tensors are not the same.
        remarks: what a person should know.
    """

    run: str
    target: Target
    names: Names | None
    tensors: int
    path: Path
    files: tuple[WrittenFile, ...]
    largest_difference: float | None
    remarks: tuple[str, ...]


def write_as(target: Target, run: Run, path: Path, names: Names = Names.RELEASED) -> Conversion:
    """Write a run, on the CPU, in one step over a file, or over a folder that holds nothing but the files of `FOLDERS`.

    Raises LewmError where the format cannot hold the run, a package is missing, or the place cannot be written.
    """
    difference = None
    if target in OF_WORLD_MODELS and not isinstance(run.model, WorldModel):
        kept = f"{Target.SAFETENSORS}, {Target.OBJECT} or {Target.WEIGHTS}"
        raise LewmError(
            f"{run.name} is a policy ({run.method}), and {target} holds world models only; choose --to {kept}"
        )
    match target:
        case Target.SAFETENSORS if run.files.external:
            save_weights(path, run.model, run.card)
        case Target.SAFETENSORS:
            _copy(run, path)
        case Target.OBJECT:
            save_object(run.model, run.method, path)
        case Target.WEIGHTS:
            save_state_dict(run.model, path)
        case Target.HUB:
            _write_hub(run, path, names)
        case Target.SWM_OBJECT:
            write_torch(swm_module(run.model, run.method), path)
        case Target.ONNX:
            difference = write_onnx(run, path)
    files = [path / name for name in FOLDERS[target]] if target in FOLDERS else [path]
    return Conversion(
        run=run.name,
        target=target,
        names=names if target is Target.HUB else None,
        tensors=run.tensors,
        path=path,
        files=tuple(WrittenFile(file, file.stat().st_size, weights_digest(file)) for file in files),
        largest_difference=difference,
        remarks=_remarks(run, target, names),
    )


def _remarks(run: Run, target: Target, names: Names) -> tuple[str, ...]:
    inputs = run.card.inputs
    lost = f"normalization of pixels and actions, frameskip {inputs.frameskip} and task {inputs.task}"
    match target:
        case Target.SAFETENSORS:
            return ()
        case Target.HUB:
            other = next(name for name in Names if name is not names)
            version = names.rpartition("-")[2]
            return (
                *_taken_for_lewm(run),
                f"weights.pt loads with transformers {version}; for the other version: --names {other}",
                f"{lost} are in card.json, which other tools do not read",
            )
        case Target.ONNX:
            size = run.card.model.image_size
            return (
                f"frames go in as uint8 and actions in the environment's units: their normalization is inside; resize "
                f"frames to {size} x {size} by area before",
                "card.json has everything else: sizes, history, frameskip, statistics",
            )
        case Target.WEIGHTS:
            lost = f"method {run.method}, {lost}"
    taken = _taken_for_lewm(run) if target is Target.SWM_OBJECT else ()
    return (*taken, f"not in it: {lost}; {command('show', run.name, '--json')} has them")


def _taken_for_lewm(run: Run) -> tuple[str, ...]:
    if run.method in STABLE_WORLDMODEL:
        return ()
    return (f"stable_worldmodel has no class for what {run.method} trains: written as its LeWM, and taken for one",)


def _copy(run: Run, path: Path) -> None:
    with atomic_path(path) as part:
        shutil.copyfile(run.files.weights, part)
        if weights_digest(part) != run.sha256:
            raise LewmError(f"{run.name} was written anew while it was copied; type the command again")


def _write_hub(run: Run, path: Path, names: Names) -> None:
    config = config_tree(run.model.config, run.model.block_dim, run.method)
    with atomic_folder(path, replaces=HUB_FILES) as part:
        (part / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        with (part / "weights.pt").open("wb") as file:  # torch does not say that the disk is full where it opens it
            torch.save(named_tensors(run.model, int(names.rpartition("-")[2])), file)
        (part / CARD).write_text(card_text(run), encoding="utf-8")


def swm_module(model: Network, method: str = DEFAULT) -> nn.Module:
    """Build the same model as a module of stable_worldmodel and transformers, in eval mode; both must be installed."""
    module = build(config_tree(model.config, model.block_dim, method))
    states = [named_tensors(model, version) for version in (4, 5)]  # of transformers
    module.load_state_dict(next(state for state in states if state.keys() == module.state_dict().keys()), strict=True)
    return module.eval()


def build(tree: dict[str, Any]) -> nn.Module:
    """Build the module that a config.json describes, from a fixed table: nothing that it names is imported."""
    try:
        import_stable_worldmodel()
        models, parts = STABLE_WORLDMODEL.values(), ("Predictor", "CausalPredictor", "Embedder", "MLP")
        paths = (*models, *(f"{home_of_parts(model)}.{part}" for model in models for part in parts))
        places = {path: path.rpartition(".") for path in paths if path in KINDS}
        table = {path: getattr(import_module(home), name) for path, (home, _, name) in places.items()}
        from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel
    except ImportError as error:
        raise LewmError(
            f"swm-object is made of stable_worldmodel's modules around an encoder of transformers, and {error.name} "
            "is not installed; type: pip install stable-worldmodel==0.1.1 transformers"
        ) from error

    def vit(size: str, use_mask_token: bool, pretrained: bool, **settings: Any) -> Any:
        config = ViTConfig(**{**VIT_SIZES[size], **settings})
        return ViTModel(config, add_pooling_layer=False, use_mask_token=use_mask_token)

    table |= {BATCH_NORM: nn.BatchNorm1d, VIT: vit, MODULES: nn.ModuleDict}
    table |= {DINOV2_CONFIG: Dinov2Config, DINOV2_MODEL: Dinov2Model}

    def made(node: dict[str, Any]) -> Any:
        given = {key: made(value) if isinstance(value, dict) else value for key, value in node.items()}
        if "_target_" not in given:
            return given
        target = table[given.pop("_target_")]
        return partial(target, **given) if given.pop("_partial_", False) else target(**given)

    module: nn.Module = made(tree)
    return module
