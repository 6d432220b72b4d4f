"""Reads a checkpoint of any generation: its state, its configuration and a word on the kind of file it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lewm_cli.config import NetworkConfig
from lewm_cli.errors import LewmError, MissingError, UsageError
from lewm_cli.methods import DEFAULT, METHODS, Method
from lewm_cli.store.formats.config_json import read_config_json
from lewm_cli.store.formats.module_config import read_configuration, walk
from lewm_cli.store.formats.refused import DamagedError, RefusalError
from lewm_cli.store.formats.standins import RESTORE, CapturedObject, StoredTensor, Value
from lewm_cli.store.formats.state import (
    NamedTensors,
    TensorEntry,
    blank_model,
    read_state,
    recognize_release,
    under_our_names,
)
from lewm_cli.store.formats.torch_file import TorchFile, read_torch_file

LIGHTNING = "model."
"""Prefix of every name of the model in a Lightning checkpoint; beside it lies the loss, which has learned nothing."""

_SAFETENSORS = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """Weights from another tool or of ours, exactly the tensors of a model of this method and these sizes.

    Args:
        state: by our names, float32 (the counters of BatchNorm int64), on the CPU.
        model: the configuration of the network.
        block_dim: width of an action block.
        source: what was read, in words: "object checkpoint (jepa.JEPA, transformers 4 names)".
        method: what other tools make are LeWMs.
    """

    state: dict[str, Tensor]
    model: NetworkConfig
    block_dim: int
    source: str
    method: str


def read_checkpoint(path: Path, config: Path | Method | None = None) -> Checkpoint:
    """Read a checkpoint without running anything in it.

    Args:
        path: a state dict of torch.save or Lightning, an object checkpoint, or safetensors; told by content.
        config: its config.json, or the model that it must fit (on any device); the config.json beside it if not given,
            and without either only the released architecture is recognized. Object checkpoints carry theirs.

    Raises:
        MissingError: there is no such file.
        LewmError: in one sentence, why it is not read.
    """
    if not path.is_file():
        raise MissingError(f"there is no file {path}")
    with _explained(path):
        if _is_safetensors(path):
            return _from_entries(_safetensors(path), path, config, "safetensors")
        return _from_torch(read_torch_file(path), config)


def read_trusted(path: Path, config: Path | None = None) -> Checkpoint:
    """Read a state dict or a pickled module by running what it says, for those who trust whoever made it.

    Its classes must be importable here; a module of another than the released architecture needs its config.json.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # whatever a stranger's code raises
        raise LewmError(f"{path}: its code failed with {type(error).__name__}: {error}".splitlines()[0]) from error
    state = content.state_dict() if isinstance(content, torch.nn.Module) else content
    state = state.get("state_dict", state) if isinstance(state, dict) else None
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise LewmError(f"{path}: it holds neither a module nor a state dict")
    entries = {
        str(key): TensorEntry(tuple(tensor.shape), tensor.dtype, tensor.detach().clone) for key, tensor in state.items()
    }
    with _explained(path):
        return _from_entries(entries, path, config, "trusted pickle")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (RefusalError, UsageError) as error:  # the second from sizes that contradict each other
        raise LewmError(f"{path}: {error}") from error
    except OSError as error:  # also of the configuration
        raise LewmError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error


def _from_torch(file: TorchFile, config: Path | Method | None) -> Checkpoint:
    content = file.content
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        return _from_entries(_entries(file, content["state_dict"]), file.path, config, "Lightning checkpoint")
    if isinstance(content, dict):
        return _from_entries(_entries(file, content), file.path, config, "state dict")
    if not isinstance(content, CapturedObject) or content.kind not in (RESTORE, "LeWM"):
        raise RefusalError("it holds neither the tensors of a model nor a LeWM")
    if isinstance(config, Path):
        raise RefusalError("an object checkpoint carries its sizes, and no others are taken; leave out --config")
    model, named, source = _from_ours(file, content) if content.kind == RESTORE else _from_object(file, content)
    if config is not None and any(
        getattr(config, part) != getattr(model, part) for part in ("name", "config", "block_dim")
    ):
        raise RefusalError("it holds a model of other sizes")
    return Checkpoint(read_state(named, model), model.config, model.block_dim, source, model.name)


def _from_object(file: TorchFile, root: CapturedObject) -> tuple[Method, NamedTensors, str]:
    modules, tensors = walk(root)
    named = under_our_names(_entries(file, dict(tensors)))
    source = f"object checkpoint ({root.name}, transformers {named.generation} names)"
    return blank_model(*read_configuration(modules, named)), named, source


def _from_ours(file: TorchFile, call: CapturedObject) -> tuple[Method, NamedTensors, str]:
    older = len(call.arguments) == 3  # from before methods had names
    match (*call.arguments, DEFAULT) if older else call.arguments:
        case (str(written), int(block_dim), dict(state), str(method)) if method in METHODS and block_dim is not True:
            try:
                config = METHODS[method].Sizes.model_validate_json(written)
            except ValidationError as error:
                raise DamagedError("the configuration in it is not one of this version of lewm") from error
            model = blank_model(config, block_dim, method)
            return model, under_our_names(_entries(file, state)), "object checkpoint (lewm)"
    raise DamagedError("its model is of no method that this version of lewm knows, or incomplete")


def _from_entries(entries: dict[str, TensorEntry], path: Path, config: Path | Method | None, kind: str) -> Checkpoint:
    if all(key.startswith((LIGHTNING, "sigreg.")) for key in entries):
        entries = {key.removeprefix(LIGHTNING): entry for key, entry in entries.items() if key.startswith(LIGHTNING)}
    named = under_our_names(entries)
    beside = path.with_name("config.json")
    if config is None and beside.is_file():
        config = beside
    if config is None:
        model, known_by = blank_model(*recognize_release(named)), "released architecture"
    elif isinstance(config, Path):
        model, known_by = blank_model(*read_config_json(config)), config.name
    else:
        model, known_by = config, "sizes as given"
    source = f"{kind} (transformers {named.generation} names, {known_by})"
    return Checkpoint(read_state(named, model), model.config, model.block_dim, source, model.name)


def _entries(file: TorchFile, state: dict[str, Value]) -> dict[str, TensorEntry]:
    """The tensors of a state dict; together no larger than the file, however often a storage is used."""
    entries, taken = {}, 0
    for key, tensor in state.items():
        if not isinstance(key, str) or not isinstance(tensor, StoredTensor):
            raise RefusalError("it is a dictionary, but not of tensors by name, and so no state dict")
        entries[key] = TensorEntry(tensor.shape, tensor.storage.dtype, partial(file.read, tensor))
        taken += tensor.numel * tensor.storage.dtype.itemsize
    if taken > sum(storage.nbytes for storage in file.starts):
        raise RefusalError("several of its tensors share the same numbers, and those of a LeWM do not")
    return entries


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(9)
    # The length of the header, then its JSON; no pickle and no zip archive starts so.
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size


def _safetensors(path: Path) -> dict[str, TensorEntry]:
    try:
        file = safe_open(path, framework="pt")
        entries = {}
        for key in file.keys():  # type: ignore[no-untyped-call]  # noqa: SIM118  (not a dictionary)
            view = file.get_slice(key)  # type: ignore[no-untyped-call]
            kind = _SAFETENSORS.get(view.get_dtype())
            if kind is None:
                raise RefusalError(f"its numbers are {view.get_dtype()}, not float32, float16 or bfloat16")
            entries[key] = TensorEntry(tuple(view.get_shape()), kind, partial(file.get_tensor, key))
    except SafetensorError as error:
        raise DamagedError(f"its safetensors header does not hold ({error})") from error
    return entries
