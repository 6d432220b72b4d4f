"""Opens files of weights, one or shards of one, and lists the tensors and modules in them; nothing is made or run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from lewm_cli.file_kind import FileKind, look, mistaken
from lewm_cli.store.formats.candidates import named_leaves
from lewm_cli.store.formats.classes import ALL, MODELS
from lewm_cli.store.formats.refused import DamagedError, MistakenError, RefusalError, printable
from lewm_cli.store.formats.shards import shard_files
from lewm_cli.store.formats.standins import RESTORE, CapturedObject, StoredTensor
from lewm_cli.store.formats.state import TensorEntry
from lewm_cli.store.formats.torch_file import TorchFile, read_torch_file

REPEATED = 2
"""Uses that numbers of a file may have: tied weights are stored once, and one number may not fill the memory."""

_SAFETENSORS = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


@dataclass(frozen=True)
class Contents:
    """Describes what is in a file of weights.

    Args:
        kind: of the file, in words.
        tensors: by dotted name, through dictionaries and lists.
        bytes: of all numbers that are stored.
        modules: pickled models, by dotted name, each with the tensors of its own by name.
        method: that the class of a module says which was built to get the tensors.
    """

    kind: str
    tensors: dict[str, TensorEntry]
    bytes: int
    modules: dict[str, "PickledModule"] = field(default_factory=dict)
    method: str | None = None

    def check_bytes(self, taken: Iterable[TensorEntry]) -> None:
        """Raise RefusalError if tensors share so few numbers that they would fill far more memory than the file."""
        if sum(prod(entry.shape) * entry.dtype.itemsize for entry in taken) > REPEATED * self.bytes:
            raise RefusalError("its tensors share the same few numbers, and those of a model do not")


@dataclass(frozen=True)
class PickledModule:
    """A model as an object, and the file that its tensors are in."""

    content: CapturedObject
    file: TorchFile

    @property
    def ours(self) -> bool:
        """True if lewm wrote it."""
        return self.content.kind == RESTORE


def read_contents(path: Path) -> Contents:
    """List what is in a file, or in all the shards that an index names; raises RefusalError if it holds no weights."""
    shards = [_read(file) for file in shard_files(path)]
    if len(shards) == 1:
        return shards[0]
    tensors: dict[str, TensorEntry] = {}
    for shard in shards:
        if twice := tensors.keys() & shard.tensors.keys():
            raise DamagedError(f"two of its shards hold {printable(min(twice))}")
        tensors |= shard.tensors
    return Contents(f"{len(shards)} shards", tensors, sum(shard.bytes for shard in shards))


def entries(file: TorchFile, tensors: Mapping[str, StoredTensor]) -> dict[str, TensorEntry]:
    """The tensors of a torch file, not read yet."""
    return {
        name: TensorEntry(tensor.shape, tensor.storage.dtype, partial(file.read, tensor))
        for name, tensor in tensors.items()
    }


def _read(path: Path) -> Contents:
    kind = look(path)
    if kind is FileKind.SAFETENSORS:
        return Contents("safetensors", _safetensors(path), path.stat().st_size)
    if kind not in (FileKind.TORCH, FileKind.PICKLE, FileKind.UNKNOWN, FileKind.TEXT):
        raise MistakenError(mistaken(path, kind, "weights"))
    try:
        file = read_torch_file(path)
    except DamagedError as error:
        if kind is FileKind.TEXT:  # as pickles of the first protocols look, too
            raise MistakenError(mistaken(path, kind, "weights")) from error
        raise
    objects = named_leaves(file.content, CapturedObject).items()
    modules = {name: PickledModule(found, file) for name, found in objects if found.kind in (RESTORE, *MODELS)}
    tensors = entries(file, {name: found for name, found in named_leaves(file.content, StoredTensor).items() if name})
    if not tensors and not modules:
        raise RefusalError(f"it holds neither the tensors of a model nor a {ALL}")
    lightning = isinstance(file.content, dict) and isinstance(file.content.get("state_dict"), dict)
    stored = sum(storage.nbytes for storage in file.starts)
    return Contents("Lightning checkpoint" if lightning else "state dict", tensors, stored, modules)


def _safetensors(path: Path) -> dict[str, TensorEntry]:
    try:
        file = safe_open(path, framework="pt")
        found = {}
        for key in file.keys():  # type: ignore[no-untyped-call]  # noqa: SIM118  (not a dictionary)
            view = file.get_slice(key)  # type: ignore[no-untyped-call]
            kind = _SAFETENSORS.get(view.get_dtype())
            if kind is None:
                raise RefusalError(f"its numbers are {view.get_dtype()}, not float32, float16 or bfloat16")
            found[key] = TensorEntry(tuple(view.get_shape()), kind, partial(file.get_tensor, key))
    except SafetensorError as error:
        raise DamagedError(f"its safetensors header does not hold, or the file was cut short ({error})") from error
    return found
