"""The zip container of torch.save: where each entry lies, checked against the file before anything is allocated."""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from lewm_cli.store.formats.refusals import DamagedError, shown

MAGIC = b"PK\x03\x04"

LARGEST_DIRECTORY = 2 * 2**20
"""Bytes of a central directory; that of the released weights takes 30 KB."""

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT = 0xFFFF
_IN_EXTRA = 0xFFFFFFFF
_ENCRYPTED = 1


@dataclass(frozen=True)
class Extent:
    """A range of bytes of the file."""

    start: int
    size: int

    @property
    def end(self) -> int:
        """One past its last byte."""
        return self.start + self.size


def read_directory(file: BinaryIO, file_size: int) -> dict[str, Extent]:
    """Every entry of a zip file, by name: stored as it is, inside the file, apart from all others.

    Raises:
        DamagedError: the directory is missing (a truncated file), entries are compressed or encrypted, overlap, share
            a name, or claim bytes that are not there.
    """
    count, directory = _find_directory(file, file_size)
    content = _read(file, directory.start, directory.size)
    entries: dict[str, Extent] = {}
    taken: list[Extent] = []
    position = 0
    for _ in range(count):
        if position + _CENTRAL.size > len(content):
            raise DamagedError("its zip directory lists more entries than it holds")
        signature, *fields = _CENTRAL.unpack_from(content, position)
        _, _, flags, method, _, _, _, packed, size, name_size, extra_size, comment_size, _, _, _, header = fields
        names_end = position + _CENTRAL.size + name_size
        raw_name = content[position + _CENTRAL.size : names_end]
        extra = content[names_end : names_end + extra_size]
        position = names_end + extra_size + comment_size
        if signature != b"PK\x01\x02" or position > len(content):
            raise DamagedError("its zip directory is garbled")
        name = raw_name.decode("utf-8", "replace")
        size, packed, header = _widen(extra, size, packed, header)
        if flags & _ENCRYPTED or method != 0 or packed != size:
            raise DamagedError(f"its entry {shown(name)} is compressed or encrypted, and torch.save stores plainly")
        if name in entries:
            raise DamagedError(f"it has two entries named {shown(name)}")
        start = _data_start(file, header, raw_name, directory.start)
        entries[name] = Extent(start, size)
        taken.append(Extent(header, start + size - header))
    _check_apart(taken, directory.start)
    return entries


def _find_directory(file: BinaryIO, file_size: int) -> tuple[int, Extent]:
    """Number of entries and place of the central directory."""
    tail_start = max(0, file_size - _END.size - _LONGEST_COMMENT)
    tail = _read(file, tail_start, file_size - tail_start)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise DamagedError("its zip directory, which comes last, is missing; the file looks truncated")
    _, _, _, _, count, size, start, comment = _END.unpack_from(tail, at)
    end = tail_start + at
    if end + _END.size + comment != file_size:
        raise DamagedError("bytes follow its zip directory")
    locator_start = end - _END64_LOCATOR.size
    if locator_start >= 0 and _read(file, locator_start, 4) == b"PK\x06\x07":
        _, _, end, _ = _END64_LOCATOR.unpack(_read(file, locator_start, _END64_LOCATOR.size))
        if end + _END64.size > locator_start:
            raise DamagedError("its zip directory is garbled")
        signature, _, _, _, _, _, _, count, size, start = _END64.unpack(_read(file, end, _END64.size))
        if signature != b"PK\x06\x06":
            raise DamagedError("its zip directory is garbled")
    if start + size > end or size > LARGEST_DIRECTORY:
        raise DamagedError("its zip directory does not fit into the file")
    return count, Extent(start, size)


def _widen(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """Sizes and offset that do not fit into 32 bits stand in an extra field, in this order, only those that need it."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        field = extra[position + 4 : position + 4 + length]
        position += 4 + length
        if kind == 1:
            wide = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
            size, packed, header = (next(wide, -1) if value == _IN_EXTRA else value for value in (size, packed, header))
            break
    if min(size, packed, header) < 0 or _IN_EXTRA in (size, packed, header):
        raise DamagedError("its zip directory is garbled")
    return size, packed, header


def _data_start(file: BinaryIO, header: int, name: bytes, limit: int) -> int:
    if header + _LOCAL.size + len(name) > limit:
        raise DamagedError("its zip directory points outside the file")
    local = _read(file, header, _LOCAL.size + len(name))
    signature, _, _, method, _, _, _, _, _, name_size, extra_size = _LOCAL.unpack_from(local)
    if signature != MAGIC or method != 0 or name_size != len(name) or local[_LOCAL.size :] != name:
        raise DamagedError(f"its zip directory disagrees with the entry {shown(name.decode('utf-8', 'replace'))}")
    return header + _LOCAL.size + int(name_size) + int(extra_size)


def _check_apart(taken: list[Extent], limit: int) -> None:
    end = 0
    for extent in sorted(taken, key=lambda extent: extent.start):
        if extent.start < end or extent.end > limit:
            raise DamagedError("entries of its zip archive overlap or reach beyond the file")
        end = extent.end


def _read(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    content = file.read(size)
    if len(content) != size:
        raise DamagedError("it ends early")
    return content
