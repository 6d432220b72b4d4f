"""Files of torch.save, zip and legacy: reads the pickle and finds the numbers, checked before anything is allocated."""

import io
import os
import struct
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from lewm_cli.store.formats.refused import DamagedError, printable
from lewm_cli.store.formats.standins import Storage, StoredTensor, Value
from lewm_cli.store.formats.unpickler import unpickle

ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

LARGEST_PICKLE = 16 * 2**20
"""Bytes without the tensors; a pickled model of the released size takes 0.1 MB."""

LARGEST_DIRECTORY = 2 * 2**20
"""Bytes of a zip directory; that of the released weights takes 30 KB."""

_END = struct.Struct("<4s4H2LH")
_LOCAL_HEADER = struct.Struct("<26x2H")


@dataclass(frozen=True)
class TorchFile:
    """A file of torch.save with nothing but its pickle read; `starts` says where the bytes of each storage begin."""

    path: Path
    content: Value
    starts: dict[Storage, int]

    def read(self, tensor: StoredTensor) -> Tensor:
        """Read one tensor: contiguous, in the file's dtype, sharing memory with nothing."""
        flat = torch.empty(tensor.span, dtype=tensor.storage.dtype)
        with self.path.open("rb") as file:
            file.seek(self.starts[tensor.storage] + tensor.offset * flat.itemsize)
            got = file.readinto(flat.view(torch.uint8).numpy().data) if tensor.span else 0
        if got != flat.nbytes:
            raise DamagedError("it ends early")
        return flat.as_strided(tensor.shape, tensor.stride).contiguous()


def read_torch_file(path: Path) -> TorchFile:
    """Read the pickle of a torch file and check that every storage it claims is there."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        read = _read_zip if file.read(len(ZIP_MAGIC)) == ZIP_MAGIC else _read_legacy
        return TorchFile(path, *read(file, size))


def _read_zip(file: BinaryIO, size: int) -> tuple[Value, dict[Storage, int]]:
    entries = _zip_entries(file, size)
    pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise DamagedError("it is a zip archive without the data.pkl of torch.save")
    root = pickles[0].removesuffix("data.pkl")
    order = entries.get(f"{root}byteorder")
    if order and _content(file, order[0], min(order[1], 8)) != sys.byteorder.encode():
        raise DamagedError("its numbers are in another byte order")
    start, length = entries[pickles[0]]
    storages: dict[str, Storage] = {}
    content = unpickle(io.BytesIO(_content(file, start, min(length, LARGEST_PICKLE))), storages)
    starts = {}
    for key, storage in storages.items():
        start, length = entries.get(f"{root}data/{key}", (0, -1))
        if length != storage.nbytes:
            raise _not_there(key)
        starts[storage] = start
    return content, starts


def _zip_entries(file: BinaryIO, size: int) -> dict[str, tuple[int, int]]:
    """Start and length of the entries by name: stored as they are, inside the file, apart from each other."""
    # The directory comes last, and is bounded before it is read; torch writes no comment behind it.
    if size < _END.size:
        raise DamagedError("it ends early")
    signature, _, _, _, count, _, _, comment = _END.unpack(_content(file, size - _END.size, _END.size))
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
    entries: dict[str, tuple[int, int]] = {}
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.flag_bits & 1 or info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise DamagedError(f"its entry {printable(info.filename)} is compressed or encrypted, not plainly stored")
        if info.filename in entries:
            raise DamagedError(f"it has two entries named {printable(info.filename)}")
        start = _data_start(file, info, directory)
        if info.header_offset < end or start + info.file_size > directory:
            raise DamagedError("entries of its zip archive overlap or reach beyond the file")
        entries[info.filename] = start, info.file_size
        end = start + info.file_size
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
    length = _LOCAL_HEADER.size + len(name)
    if not 0 <= info.header_offset <= directory - length:
        raise DamagedError("its zip directory points outside the file")
    local = _content(file, info.header_offset, length)
    name_size, extra_size = _LOCAL_HEADER.unpack_from(local)
    method = int.from_bytes(local[8:10], "little")
    if not local.startswith(ZIP_MAGIC) or method != 0 or name_size != len(name) or not local.endswith(name):
        raise DamagedError(f"its zip directory disagrees with the entry {printable(info.filename)}")
    return info.header_offset + length + int(extra_size)


def _content(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    content = file.read(length)
    if len(content) != length:
        raise DamagedError("it ends early")
    return content


def _read_legacy(file: BinaryIO, size: int) -> tuple[Value, dict[Storage, int]]:
    file.seek(0)
    head = io.BytesIO(file.read(LARGEST_PICKLE))
    if unpickle(head, {}) != LEGACY_MAGIC:
        raise DamagedError("it is a pickle, but not one of torch.save")
    protocol, system = unpickle(head, {}), unpickle(head, {})
    if protocol != 1001 or not isinstance(system, dict):
        raise DamagedError("it is of an unknown version of torch.save")
    if system.get("little_endian") is not (sys.byteorder == "little"):
        raise DamagedError("its numbers are in another byte order")
    storages: dict[str, Storage] = {}
    content, keys = unpickle(head, storages), unpickle(head, {})
    if not isinstance(keys, list) or {*map(type, keys)} - {str} or sorted(keys) != sorted(storages):
        raise DamagedError("its list of storages is not that of its pickle")
    starts: dict[Storage, int] = {}
    position = head.tell()
    for key in keys:
        file.seek(position)
        claimed = int.from_bytes(file.read(8), sys.byteorder)
        start, storage = position + 8, storages[key]
        position = start + storage.nbytes
        if claimed != storage.numel or position > size:
            raise _not_there(key)
        starts[storage] = start
    return content, starts


def _not_there(key: str) -> DamagedError:
    return DamagedError(f"its storage {printable(key)} is not there or not as long as its pickle says")
