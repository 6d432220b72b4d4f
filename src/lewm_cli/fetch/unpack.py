"""Unpacks an archive, hostile until proven otherwise: recognized, decoded, written and hashed, checked, flushed."""

import hashlib
import io
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

import zstandard

from lewm_cli.errors import LewmError, MissingError
from lewm_cli.fetch.archive_checks import (
    READABLE,
    DamagedError,
    RefusedError,
    check_stands_alone,
    gigabytes,
    member_path,
    plain_name,
    quoted,
    recognize,
    remember_name,
)
from lewm_cli.fetch.remote import LocalFile
from lewm_cli.files import sync
from lewm_cli.system_errors import explain, explained

READ_BYTES = 1 << 18

WINDOW_LIMIT = 1 << 27
"""Bytes of memory for looking back, the bound of `zstd -d` and `tar --zstd` themselves: whatever they unpack without
being told `--long=31` is unpacked here, `zstd -19 --long` and `--ultra -22` included, and nothing needs more memory."""

MAX_MEMBERS = 1024  # published archives hold a handful, and all their names are remembered

EXTENSION_BYTES, HEADERS_BYTES = 1 << 14, 1 << 20
"""Bytes that one header may add about a member (long names, attributes), and those of all headers of an archive:
tarfile holds them in memory, and takes time that grows with the square of one."""

PADDING_BYTES = 1 << 24  # zeros that may follow the end of a tar archive; tar itself pads to 10 KiB

REFUSED_TYPES = {
    tarfile.LNKTYPE: "is a hard link",
    tarfile.SYMTYPE: "is a symbolic link",
    tarfile.CHRTYPE: "is a device",
    tarfile.BLKTYPE: "is a device",
    tarfile.FIFOTYPE: "is a pipe",
}

HDF5_SUFFIXES = (".h5", ".hdf5")


def unpack(archive: Path, folder: Path, *, limit: int, advance: Callable[[int], None]) -> tuple[LocalFile, ...]:
    """Unpacks by content, not by suffix: `.tar.zst`, `.tar`, `.zst` of one HDF5 file, or HDF5 as it is.

    All files are on the disk when this returns. On any error, an interrupt included, `folder` is empty again.

    Args:
        folder: new and empty; nothing is written anywhere else.
        limit: bytes that may be written at most.

    Raises:
        LewmError: the archive is damaged, of another kind, or holds what is not unpacked here (links, names that lead
            elsewhere, files that refer to other files, more than `limit`), or the disk is full.
    """
    if any(folder.iterdir()):
        raise LewmError(f"{folder} is not empty, so nothing is unpacked into it; choose a new folder")
    try:
        files = tuple(_write_all(archive, _Writer(folder, limit), advance))
        for file in files:
            check_stands_alone(folder / file.path, quoted(str(file.path)))
        folders = {above for file in files for above in file.path.parents}
        for path in (*(file.path for file in files), *sorted(folders, reverse=True)):
            with explained(folder / path):
                sync(folder / path)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        if isinstance(error, Exception) and (sentence := _sentence(archive, error)):
            raise sentence from error
        raise
    return files


def _sentence(archive: Path, error: Exception) -> LewmError | None:
    """Says what is wrong with an archive, if anything is."""
    match error:
        case FileNotFoundError():
            return MissingError(f"there is no archive {archive}; fetch it again")
        case PermissionError():
            return explain(error, archive, "read")
        case tarfile.FilterError():
            error = RefusedError(str(error), "do without it")
        case zstandard.ZstdError() if "too much memory" in str(error):
            reason = f"it takes more than {WINDOW_LIMIT >> 20} MiB of memory for looking back"
            error = RefusedError(reason, "unpack it with `zstd -d --long=31`")
        case zstandard.ZstdError():
            error = DamagedError(f"a zstd frame is damaged ({error})")
    return LewmError(f"{archive} {error.outcome}: {error}; {error.advice}") if isinstance(error, RefusedError) else None


class _Reader(io.FileIO):
    """An archive as it is, which tells how much of it was read."""

    def __init__(self, path: Path, advance: Callable[[int], None]) -> None:
        super().__init__(path)
        self._advance = advance

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        count = super().readinto(buffer) or 0
        self._advance(count)
        return count


class _TarStream:
    """A tar archive from front to back: tarfile reads headers and skips padding, contents are taken in pieces."""

    def __init__(self, source: IO[bytes]) -> None:
        self.ended = False  # fewer bytes came than were asked for
        self._source, self._header = source, b""
        self._position = self._headers = 0

    def read(self, size: int) -> bytes:
        """Reads a header, or what one adds; refuses too much of it."""
        self._headers += size
        if size > EXTENSION_BYTES or self._headers > HEADERS_BYTES:
            raise RefusedError(f"the headers of its members take {gigabytes(max(size, self._headers))} or more")
        self._header = self._take(size)
        return self._header

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        self._take(max(0, min(position - self._position, tarfile.BLOCKSIZE)))

    def pieces(self, size: int, within: str) -> Iterator[bytes]:
        """Yields exactly `size` bytes, of what `within` says if they are not there."""
        while size:
            piece = self._take(min(size, READ_BYTES))
            if not piece:
                raise DamagedError(f"it ends within {within}")
            size -= len(piece)
            yield piece

    def check_end(self) -> None:
        """Looks for the end mark, and for zeros only after it, all of which tarfile takes for granted."""
        if self.ended:
            raise DamagedError("it ends within the list of its members")
        if any(self._header):
            raise DamagedError("the header of a member is damaged")
        padding = 0
        while piece := self._take(READ_BYTES):
            padding += len(piece)
            if piece.strip(b"\0"):
                raise DamagedError("something follows its end")
            if padding > PADDING_BYTES:
                raise RefusedError(f"more than {gigabytes(PADDING_BYTES)} of zeros follow its end")
        if padding < tarfile.BLOCKSIZE:
            raise DamagedError("it ends within its end mark")

    def _take(self, size: int) -> bytes:
        data = self._source.read(size)
        self.ended = len(data) < size
        self._position += len(data)
        return data


class _Writer:
    """Writes files into one folder, hashed, and never more of them than allowed."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self._limit, self._written = folder, limit, 0

    def write(self, path: PurePosixPath, size: int, pieces: Iterable[bytes]) -> LocalFile:
        """Writes a new file, of `size` bytes as far as is known; its mode in the archive does not matter."""
        self._check_fits(path, size)
        target = self.folder / path
        digest, size = hashlib.sha256(), 0
        with explained(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                for piece in pieces:
                    self._check_fits(path, len(piece))
                    file.write(piece)
                    digest.update(piece)
                    self._written += len(piece)
                    size += len(piece)
        return LocalFile(Path(path), size, digest.hexdigest())

    def _check_fits(self, path: PurePosixPath, size: int) -> None:
        if self._written + size > self._limit:
            raise RefusedError(
                f"with {quoted(str(path))} it unpacks to {gigabytes(self._written + size)} or more, "
                f"and {gigabytes(self._limit)} were declared or are free",
                "free some space or choose another disk with --home, and if there is enough do without it",
            )


def _write_all(archive: Path, writer: _Writer, advance: Callable[[int], None]) -> Iterator[LocalFile]:
    if archive.exists() and not archive.is_file():
        raise DamagedError("it is no regular file")
    with _Reader(archive, advance) as reader:
        stream: io.BufferedReader[Any] = io.BufferedReader(reader, READ_BYTES)
        head, declared = stream.peek(), archive.stat().st_size
        kind = recognize(head)
        if kind == "zstd":
            decoder = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT).stream_reader(
                cast(BinaryIO, stream), read_size=READ_BYTES, read_across_frames=True
            )
            stream = io.BufferedReader(cast(Any, decoder), READ_BYTES)
            if not stream.peek():
                raise DamagedError("it ends within a zstd frame, or is empty")
            kind, declared = recognize(stream.peek()), zstandard.frame_content_size(head)
            if kind == "zstd":
                raise RefusedError(f"it was compressed twice, and {READABLE}")
        if kind == "tar":
            yield from _write_members(_TarStream(stream), writer)
        else:
            yield writer.write(_only_file(archive), declared, iter(lambda: stream.read(READ_BYTES), b""))


def _write_members(stream: _TarStream, writer: _Writer) -> Iterator[LocalFile]:
    files, names = 0, dict[str, tuple[str, bool]]()
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
        tarfile.data_filter(member, str(writer.folder))  # the judgment of the standard library, should ours have a hole
        remember_name(names, path, member.isdir())
        for above, below in pairwise(path.parts):
            if above.endswith(".lance") and below in ("_versions", "_transactions", "_indices", "data"):
                raise RefusedError(
                    f"it holds the Lance dataset {quoted(above)}, and only HDF5 is read here",
                    "download the same dataset as HDF5",
                )
        if member.isreg():
            yield writer.write(path, member.size, stream.pieces(member.size, name))
            files += 1
    if not files:
        raise DamagedError("it holds no files")


def _members(stream: _TarStream) -> Iterator[tarfile.TarInfo]:
    """Yields the members; the content of each has to be taken before the next one."""
    try:
        for member in tarfile.TarFile(fileobj=cast(IO[bytes], stream), encoding="utf-8"):
            if member.size < 0 or (member.size and member.isdir()):
                raise DamagedError(f"the size of {quoted(member.name)} is wrong")
            yield member
    except RecursionError as error:
        raise RefusedError("one of its members has too many headers") from error
    except (tarfile.TarError, ValueError, LookupError, ArithmeticError) as error:
        if not stream.ended:
            raise DamagedError(f"the header of a member is damaged ({error})") from error
    stream.check_end()


def _only_file(archive: Path) -> PurePosixPath:
    """Names the HDF5 file inside `archive`."""
    name = archive.name
    while name.endswith((".zst", ".tzst", ".tar")):
        name = name[: name.rindex(".")]
    return member_path(plain_name(name if name.endswith(HDF5_SUFFIXES) else f"{name}.h5"))
