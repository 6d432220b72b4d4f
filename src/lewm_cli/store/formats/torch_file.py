"""Files of torch.save, zip and legacy: reads the pickle and finds the numbers, checked before anything is allocated."""

import os
import struct
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from lewm_cli.store.formats.refused import DamagedError, ForeignError, printable
from lewm_cli.store.formats.standins import MODULES, STORAGES, Reference, Storage, StoredTensor, Value
from lewm_cli.store.formats.unpickler import PickleStream, unpickle

ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

LARGEST_DIRECTORY = 2 * 2**20
"""Bytes of a zip directory; that of the released weights takes 30 KB."""

_END = struct.Struct("<4s4H2LH")
_LOCAL_HEADER = struct.Struct("<26x2H")


@dataclass(frozen=True)
class Extent:
    """A range of bytes of the file."""

    start: int
    size: int

    @property
    def end(self) -> int:
        """One past its last byte."""
        return self.start + self.size


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
        if file.read(len(ZIP_MAGIC)) == ZIP_MAGIC:
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
        """Resolve a persistent id: to a storage, or (legacy) to a class that comes with its source."""
        match identity:
            case ("module", Reference(name) as reference, _, _) if name in MODULES:
                return reference  # its source code is not looked at
        if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
            raise ForeignError("holds a persistent id that is no storage")
        kind, key, _, numel = identity[1:5]
        if not isinstance(kind, Reference) or kind.name not in STORAGES:
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
    entries = _zip_entries(file, size)
    pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise DamagedError("it is a zip archive without the data.pkl of torch.save")
    root = pickles[0].removesuffix("data.pkl")
    order = entries.get(f"{root}byteorder")
    if order and (order.size > len("little") or _content(file, order).decode("ascii", "replace") != sys.byteorder):
        raise DamagedError("its numbers are in another byte order")
    file.seek(entries[pickles[0]].start)
    storages = _Storages()
    content = unpickle(PickleStream(file, entries[pickles[0]].size), storages.resolve)
    found = {}
    for storage in storages.seen.values():
        extent = entries.get(f"{root}data/{storage.key}")
        if extent is None or extent.size != storage.nbytes:
            raise DamagedError(f"its storage {printable(storage.key)} is not there or not as long as its pickle says")
        found[storage.key] = extent
    return content, found


def _zip_entries(file: BinaryIO, size: int) -> dict[str, Extent]:
    """Entries of a zip file by name: stored as they are, inside the file, apart from each other."""
    # The directory comes last, and is bounded before it is read; torch writes no comment behind it.
    if size < _END.size:
        raise DamagedError("it ends early")
    signature, _, _, _, count, _, _, comment = _END.unpack(_content(file, Extent(size - _END.size, _END.size)))
    if signature != b"PK\x05\x06" or comment:
        raise DamagedError("its zip directory, which comes last, is missing; the file looks truncated")
    try:
        with zipfile.ZipFile(_Bounded(file)) as archive:
            infos, directory = archive.infolist(), archive.start_dir
    # The parser was made for honest files: damage can make any of these out of it.
    except (zipfile.BadZipFile, struct.error, ValueError, LookupError, OverflowError, NotImplementedError) as error:
        raise DamagedError("its zip directory is garbled") from error
    if len(infos) != count:
        raise DamagedError("its zip directory lists more or fewer entries than it holds")
    entries: dict[str, Extent] = {}
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.flag_bits & 1 or info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise DamagedError(f"its entry {printable(info.filename)} is compressed or encrypted, not plainly stored")
        if info.filename in entries:
            raise DamagedError(f"it has two entries named {printable(info.filename)}")
        extent = Extent(_data_start(file, info, directory), info.file_size)
        if info.header_offset < end or extent.end > directory:
            raise DamagedError("entries of its zip archive overlap or reach beyond the file")
        entries[info.filename] = extent
        end = extent.end
    return entries


class _Bounded:
    """The file as zipfile may read it: no more at once than a directory may take."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell, self._file = file.seek, file.tell, file

    def read(self, size: int = LARGEST_DIRECTORY) -> bytes:
        if size > LARGEST_DIRECTORY:
            raise DamagedError("its zip directory is longer than that of any checkpoint")
        return self._file.read(size)


def _data_start(file: BinaryIO, info: zipfile.ZipInfo, directory: int) -> int:
    name = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
    header = Extent(info.header_offset, _LOCAL_HEADER.size + len(name))
    if header.start < 0 or header.end > directory:
        raise DamagedError("its zip directory points outside the file")
    local = _content(file, header)
    name_size, extra_size = _LOCAL_HEADER.unpack_from(local)
    method = int.from_bytes(local[8:10], "little")
    if not local.startswith(ZIP_MAGIC) or method != 0 or name_size != len(name) or not local.endswith(name):
        raise DamagedError(f"its zip directory disagrees with the entry {printable(info.filename)}")
    return header.end + int(extra_size)


def _content(file: BinaryIO, extent: Extent) -> bytes:
    file.seek(extent.start)
    content = file.read(extent.size)
    if len(content) != extent.size:
        raise DamagedError("it ends early")
    return content


def _read_legacy(file: BinaryIO, size: int) -> tuple[Value, dict[str, Extent]]:
    def next_pickle(storages: _Storages | None = None) -> Value:
        return unpickle(PickleStream(file, size - file.tell()), storages.resolve if storages else _nothing_persistent)

    if next_pickle() != LEGACY_MAGIC:
        raise DamagedError("it is a pickle, but not one of torch.save")
    protocol, system = next_pickle(), next_pickle()
    if protocol != LEGACY_PROTOCOL or not isinstance(system, dict):
        raise DamagedError("it is of an unknown version of torch.save")
    if system.get("little_endian") is not (sys.byteorder == "little"):
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
        extent = Extent(position + 8, storage.nbytes)
        if claimed != storage.numel or extent.end > size:
            raise DamagedError(f"its storage {printable(key)} is not there or not as long as its pickle says")
        found[key] = extent
        position = extent.end
    if found.keys() != storages.seen.keys():
        raise DamagedError("it ends early")
    return content, found
