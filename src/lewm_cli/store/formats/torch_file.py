"""Files of torch.save, zip and legacy: what the pickle describes, and where the numbers lie."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from lewm_cli.store.formats import archive
from lewm_cli.store.formats.archive import Extent
from lewm_cli.store.formats.refusals import DamagedError, ForeignError, shown
from lewm_cli.store.formats.standins import MODULES, STORAGES, Named, Storage, StoredTensor, Value
from lewm_cli.store.formats.unpickler import PickleStream, unpickle

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001


@dataclass(frozen=True)
class TorchFile:
    """A file of torch.save with nothing but its pickle read.

    Args:
        path: where it is.
        content: what the pickle describes, in stand-ins.
        storages: where the bytes of each storage lie; every extent is inside the file and as long as its storage says.
    """

    path: Path
    content: Value
    storages: dict[str, Extent]

    def read(self, tensor: StoredTensor) -> Tensor:
        """Read one tensor: contiguous, in the file's dtype, sharing memory with nothing.

        Raises:
            DamagedError: the file has changed since it was opened.
        """
        start = self.storages[tensor.storage.key].start + tensor.offset * tensor.storage.dtype.itemsize
        flat = torch.empty(tensor.numel, dtype=tensor.storage.dtype)
        with self.path.open("rb") as file:
            file.seek(start)
            got = file.readinto(flat.view(torch.uint8).numpy().data) if tensor.numel else 0
        if got != flat.nbytes:
            raise DamagedError("it ends early")
        return flat.as_strided(tensor.shape, tensor.stride).contiguous()


def read_torch_file(path: Path) -> TorchFile:
    """Read the pickle of a torch file and check that every storage it claims is there.

    Raises:
        RefusalError: the pickle asks for more than reading weights needs, or the file is damaged.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(len(archive.MAGIC)) == archive.MAGIC:
            content, storages = _read_zip(file, size)
        else:
            file.seek(0)
            content, storages = _read_legacy(file, size)
    return TorchFile(path, content, storages)


class _Storages:
    """Storages that a pickle mentions, each always with the same size and dtype."""

    def __init__(self) -> None:
        self.seen: dict[str, Storage] = {}

    def resolve(self, identity: Value) -> Value:
        """What a persistent id stands for: a storage, or (legacy) a class that comes with its source."""
        match identity:
            case ("module", Named(name) as reference, _, _) if name in MODULES:
                return reference  # its source code is not looked at
        if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
            raise ForeignError("holds a persistent id that is no storage")
        kind, key, _, numel = identity[1:5]
        if not isinstance(kind, Named) or kind.name not in STORAGES:
            raise ForeignError("holds a storage of an unknown kind")
        if type(key) is not str or type(numel) is not int or numel < 0:
            raise DamagedError("a storage in its pickle has no key or no size")
        if identity[5:] not in ((), (None,)):
            raise DamagedError("a storage is a view of another one, as only very old torch wrote it")
        storage = Storage(key, STORAGES[kind.name], numel)
        if self.seen.setdefault(key, storage) != storage:
            raise DamagedError("a storage has two sizes or kinds")
        return storage


def _nothing_persistent(_: Value) -> Value:
    raise ForeignError("holds a persistent id where none belongs")


def _read_zip(file: BinaryIO, size: int) -> tuple[Value, dict[str, Extent]]:
    entries = archive.read_directory(file, size)
    pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise DamagedError("it is a zip archive without the data.pkl of torch.save")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}byteorder" in entries:
        _check_byteorder(file, entries[f"{root}byteorder"])
    file.seek(entries[pickles[0]].start)
    storages = _Storages()
    content = unpickle(PickleStream(file, entries[pickles[0]].size), storages.resolve)
    found = {}
    for storage in storages.seen.values():
        extent = entries.get(f"{root}data/{storage.key}")
        if extent is None or extent.size != storage.numel * storage.dtype.itemsize:
            raise DamagedError(f"its storage {shown(storage.key)} is not there or not as long as its pickle says")
        found[storage.key] = extent
    return content, found


def _check_byteorder(file: BinaryIO, extent: Extent) -> None:
    file.seek(extent.start)
    if extent.size > len("little") or file.read(extent.size).decode("ascii", "replace") != sys.byteorder:
        raise DamagedError("its numbers are in another byte order")


def _read_legacy(file: BinaryIO, size: int) -> tuple[Value, dict[str, Extent]]:
    def next_pickle(storages: _Storages | None = None) -> Value:
        return unpickle(PickleStream(file, size - file.tell()), storages.resolve if storages else _nothing_persistent)

    if next_pickle() != LEGACY_MAGIC:
        raise DamagedError("it is a pickle, but not one of torch.save")
    system = (next_pickle(), next_pickle())
    if system[0] != LEGACY_PROTOCOL or not isinstance(system[1], dict):
        raise DamagedError("it is of an unknown version of torch.save")
    if system[1].get("little_endian") is not (sys.byteorder == "little"):
        raise DamagedError("its numbers are in another byte order")
    storages = _Storages()
    content = next_pickle(storages)
    keys = next_pickle()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise DamagedError("its list of storages is garbled")
    found: dict[str, Extent] = {}
    position = file.tell()
    for key in keys:
        storage = storages.seen.get(key)
        if storage is None or key in found:
            raise DamagedError("its list of storages is not that of its pickle")
        file.seek(position)
        claimed = int.from_bytes(file.read(8), sys.byteorder)
        extent = Extent(position + 8, storage.numel * storage.dtype.itemsize)
        if claimed != storage.numel or extent.end > size:
            raise DamagedError(f"its storage {shown(key)} is not there or not as long as its pickle says")
        found[key] = extent
        position = extent.end
    if found.keys() != storages.seen.keys():
        raise DamagedError("it ends early")
    return content, found
