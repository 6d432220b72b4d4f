"""Unpacks an archive, hostile until proven otherwise: recognized, decoded, written and hashed, checked, flushed."""

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

import zstandard

from lewm_cli.errors import LewmError, MissingError
from lewm_cli.fetch.archive_errors import DamagedError, RefusedError, gigabytes, quoted
from lewm_cli.fetch.file_kind import HEAD_BYTES, READABLE, FileKind, recognize
from lewm_cli.fetch.hdf5 import check_stands_alone
from lewm_cli.fetch.member_names import MemberNames, member_path
from lewm_cli.files import explained, sync

WINDOW_LIMIT = 1 << 27
"""Bytes of memory for looking back, the bound of `zstd -d` and `tar --zstd` themselves: whatever they unpack without
being told `--long=31` is unpacked here, `zstd -19 --long` and `--ultra -22` included, and nothing needs more memory."""

READ_BYTES = 1 << 18

MAX_MEMBERS = 1024
"""Members of one archive. Published ones hold a handful, and all their names are remembered."""

HEADER_BYTES, ALL_HEADERS_BYTES = 1 << 14, 1 << 20
"""Bytes that one header may add about a member (long names, attributes), and all of them together: tarfile holds them
in memory, and takes time that grows with the square of one."""

PADDING_BYTES = 1 << 24
"""Zeros that may follow the end of a tar archive; tar itself pads to 10 KiB."""

REFUSED_TYPES = {
    tarfile.LNKTYPE: "is a hard link",
    tarfile.SYMTYPE: "is a symbolic link",
    tarfile.CHRTYPE: "is a device",
    tarfile.BLKTYPE: "is a device",
    tarfile.FIFOTYPE: "is a pipe",
}

HDF5_SUFFIXES = (".h5", ".hdf5")
ARCHIVE_SUFFIXES = (".zst", ".tzst", ".tar")

LANCE_FOLDERS = ("_versions", "_transactions", "_indices", "data")


@dataclass(frozen=True)
class UnpackedFile:
    """A file that was unpacked.

    Args:
        path: relative to the folder that it was unpacked into.
        size: bytes.
        sha256: of its content, hexadecimal.
    """

    path: PurePosixPath
    size: int
    sha256: str


def unpack(archive: Path, folder: Path, *, limit: int, advance: Callable[[int], None]) -> tuple[UnpackedFile, ...]:
    """Unpacks by content, not by suffix: `.tar.zst`, `.tar`, `.zst` of one HDF5 file, or HDF5 as it is.

    All files are on the disk when this returns. On any error, an interrupt included, `folder` is empty again.

    Args:
        archive: what was downloaded; it is only read.
        folder: new and empty; nothing is written anywhere else.
        limit: bytes that may be written at most.
        advance: gets the bytes of the archive read since its last call.

    Raises:
        LewmError: the archive is damaged, of another kind, or holds what is not unpacked here (links, names that lead
            elsewhere, files that refer to other files, more than `limit`), or the disk is full.
    """
    if any(folder.iterdir()):
        raise LewmError(f"{folder} is not empty, so nothing is unpacked into it; choose a new folder")
    try:
        with _archive_named(archive):
            files = tuple(_write_files(archive, folder, limit, advance))
            for file in files:
                check_stands_alone(folder / file.path, quoted(str(file.path)))
        folders = {above for file in files for above in file.path.parents}
        for path in (*(file.path for file in files), *sorted(folders, reverse=True)):
            with explained(folder / path):
                sync(folder / path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        raise
    return files


class _Reader(io.FileIO):
    """An archive as it is, which tells how much of it was read."""

    def __init__(self, path: Path, advance: Callable[[int], None]) -> None:
        super().__init__(path)
        self._advance = advance

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._advance(len(data or b""))
        return data

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        count = super().readinto(buffer)
        self._advance(count or 0)
        return count


class _Stream:
    """The decoded bytes from front to back: tarfile reads headers with `read`, contents are taken in pieces.

    Attributes:
        header: the last bytes that tarfile read.
        ended: fewer bytes came than were asked for.
    """

    def __init__(self, source: BinaryIO) -> None:
        self.header, self.ended = b"", False
        self._source = source
        self._held = b""
        self._position = 0
        self._extensions = 0

    def peek(self, size: int) -> bytes:
        """Returns the first bytes without taking them; fewer only where there are no more."""
        self._held = self._source.read(size)
        return self._held

    def read(self, size: int) -> bytes:
        """Reads a header, or what one adds; fewer bytes only where there are no more.

        Raises:
            RefusedError: there is too much of it.
        """
        if size > tarfile.BLOCKSIZE:
            self._extensions += size
            if size > HEADER_BYTES or self._extensions > ALL_HEADERS_BYTES:
                raise RefusedError(f"the headers of one of its members take {gigabytes(size)}, which is too much")
        self.header = self._take(size)
        return self.header

    def tell(self) -> int:
        """Returns how many bytes were taken."""
        return self._position

    def seek(self, position: int) -> None:
        """Skips bytes; tarfile only goes forward, over the padding of a file."""
        self._take(min(position - self._position, tarfile.BLOCKSIZE))

    def pieces(self, size: int, within: str) -> Iterator[bytes]:
        """Yields exactly `size` bytes.

        Raises:
            DamagedError: the stream ends before.
        """
        while size:
            piece = self._take(min(size, READ_BYTES))
            if not piece:
                raise DamagedError(f"it ends within {within}")
            size -= len(piece)
            yield piece

    def rest(self) -> Iterator[bytes]:
        """Yields what is left."""
        while piece := self._take(READ_BYTES):
            yield piece

    def _take(self, size: int) -> bytes:
        data, self._held = self._held[:size], self._held[size:]
        if len(data) < size:
            data += self._source.read(size - len(data))
        self.ended = len(data) < size
        self._position += len(data)
        return data


class _Writer:
    """Writes files into one folder, hashed, and never more of them than allowed."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._written = 0

    def check_fits(self, path: PurePosixPath, size: int) -> None:
        """Refuses `size` more bytes if they are too many."""
        if self._written + size > self._limit:
            raise RefusedError(
                f"with {quoted(str(path))} it unpacks to {gigabytes(self._written + size)} or more, "
                f"and {gigabytes(self._limit)} were declared or are free",
                "free some space or choose another disk with --home, and if there is enough do without it",
            )

    def write(self, path: PurePosixPath, pieces: Iterator[bytes]) -> UnpackedFile:
        """Writes a new file; its mode in the archive does not matter."""
        target = self._folder / path
        digest = hashlib.sha256()
        size = 0
        with explained(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                for piece in pieces:
                    self.check_fits(path, len(piece))
                    file.write(piece)
                    digest.update(piece)
                    self._written += len(piece)
                    size += len(piece)
        return UnpackedFile(path, size, digest.hexdigest())


def _write_files(archive: Path, folder: Path, limit: int, advance: Callable[[int], None]) -> Iterator[UnpackedFile]:
    writer = _Writer(folder, limit)
    with _opened(archive, advance) as reader:
        head = os.pread(reader.fileno(), HEAD_BYTES, 0)
        kind, declared = recognize(head), archive.stat().st_size
        source: io.RawIOBase | zstandard.ZstdDecompressionReader = reader
        if kind is FileKind.ZSTD:
            source = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT).stream_reader(
                cast(BinaryIO, reader), read_size=READ_BYTES, read_across_frames=True, closefd=False
            )
        stream = _Stream(cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, source), READ_BYTES)))
        if kind is FileKind.ZSTD:
            inside = stream.peek(HEAD_BYTES)
            if not inside:
                raise DamagedError("it ends within a zstd frame, or is empty")
            kind, declared = recognize(inside), zstandard.frame_content_size(head)
            if kind is FileKind.ZSTD:
                raise RefusedError(f"it was compressed twice, and {READABLE}")
        if kind is FileKind.TAR:
            yield from _write_members(stream, folder, writer)
        else:
            path = _only_file(archive)
            writer.check_fits(path, declared)
            yield writer.write(path, stream.rest())


def _write_members(stream: _Stream, folder: Path, writer: _Writer) -> Iterator[UnpackedFile]:
    files = 0
    names = MemberNames()
    for count, member in enumerate(_members(stream)):
        path, name = member_path(member.name), quoted(member.name)
        if count == MAX_MEMBERS:
            raise RefusedError(f"it has more than {MAX_MEMBERS} members")
        if member.issparse() or any(key.startswith("GNU.sparse.") for key in member.pax_headers):
            raise RefusedError(f"its member {name} is a sparse file", "pack it again without `tar --sparse`")
        if not (member.isreg() or member.isdir()):
            kind = REFUSED_TYPES.get(member.type, "is of an unknown kind")
            raise RefusedError(f"its member {name} {kind}, and only files and folders are unpacked")
        if member.isreg() and not path.parts:
            raise RefusedError(f"the name of its member {name} is that of the folder itself")
        tarfile.data_filter(member, str(folder))  # the judgment of the standard library, should ours have a hole
        names.add(path, member.isdir())
        for above, below in zip(path.parts, path.parts[1:], strict=False):
            if above.endswith(".lance") and below in LANCE_FOLDERS:
                raise RefusedError(
                    f"it holds the Lance dataset {quoted(above)}, and only HDF5 is read here",
                    "download the same dataset as HDF5",
                )
        if member.isreg():
            writer.check_fits(path, member.size)
            yield writer.write(path, stream.pieces(member.size, name))
            files += 1
    if not files:
        raise DamagedError("it holds no files")


def _members(stream: _Stream) -> Iterator[tarfile.TarInfo]:
    """Yields the members; the content of each has to be taken before the next one.

    Raises:
        DamagedError: a header is damaged, or the archive ends without its end mark, which tarfile lets pass.
    """
    archive = None
    while True:
        try:
            archive = archive or tarfile.TarFile(
                fileobj=cast(IO[bytes], stream), encoding="utf-8", errors="surrogateescape"
            )
            member = archive.next()
        except RecursionError as error:
            raise RefusedError("one of its members has too many headers") from error
        except (tarfile.TarError, ValueError, LookupError, ArithmeticError) as error:
            if stream.ended:
                break
            raise DamagedError(f"the header of a member is damaged ({error})") from error
        if member is None:
            break
        if member.size < 0 or (member.size and member.isdir()):
            raise DamagedError(f"the size of {quoted(member.name)} is wrong")
        yield member
    if stream.ended:
        raise DamagedError("it ends within the list of its members")
    if any(stream.header):
        raise DamagedError("the header of a member is damaged")
    padding = 0
    for piece in stream.rest():
        padding += len(piece)
        if piece.strip(b"\0"):
            raise DamagedError("something follows its end")
        if padding > PADDING_BYTES:
            raise RefusedError(f"more than {gigabytes(PADDING_BYTES)} of zeros follow its end")
    if padding < tarfile.BLOCKSIZE:
        raise DamagedError("it ends within its end mark")


def _only_file(archive: Path) -> PurePosixPath:
    """Names the HDF5 file inside `archive`."""
    name = archive.name
    while name.endswith(ARCHIVE_SUFFIXES):
        name = name[: name.rindex(".")]
    return member_path(name if name.endswith(HDF5_SUFFIXES) else f"{name}.h5")


@contextmanager
def _opened(archive: Path, advance: Callable[[int], None]) -> Iterator[_Reader]:
    if archive.exists() and not archive.is_file():
        raise DamagedError("it is no regular file")
    try:
        reader = _Reader(archive, advance)
    except FileNotFoundError as error:
        raise MissingError(f"there is no archive {archive}; fetch it again") from error
    except OSError as error:
        raise LewmError(f"{archive} cannot be read ({error.strerror}); remove it and fetch it again") from error
    with reader:
        yield reader


@contextmanager
def _archive_named(archive: Path) -> Iterator[None]:
    """Turns what is wrong with `archive` into a sentence."""
    try:
        yield
    except zstandard.ZstdError as error:
        if "too much memory" in str(error):
            raise LewmError(
                f"{archive} was not unpacked: it takes more than {WINDOW_LIMIT >> 20} MiB of memory for looking back; "
                "unpack it with `zstd -d --long=31`"
            ) from error
        raise LewmError(
            f"{archive} cannot be unpacked: a zstd frame is damaged ({error}); remove it and fetch it again"
        ) from error
    except DamagedError as error:
        raise LewmError(f"{archive} cannot be unpacked: {error}; remove it and fetch it again") from error
    except tarfile.FilterError as error:
        raise LewmError(f"{archive} was not unpacked, and nothing of it was kept: {error}; do without it") from error
    except RefusedError as error:
        raise LewmError(f"{archive} was not unpacked, and nothing of it was kept: {error}; {error.advice}") from error
