"""The whole way of an archive: recognized, decoded, written and hashed, looked into, flushed; or removed again."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path, PurePosixPath

from lewm_cli.errors import LewmError, MissingError
from lewm_cli.fetch.unpack.faults import Damage, Refusal, quoted
from lewm_cli.fetch.unpack.hdf5 import check_stands_alone
from lewm_cli.fetch.unpack.kinds import HEAD_BYTES, READABLE, Kind, recognize
from lewm_cli.fetch.unpack.names import checked
from lewm_cli.fetch.unpack.sources import Decoded, Plain
from lewm_cli.fetch.unpack.stream import Stream
from lewm_cli.fetch.unpack.tar import members
from lewm_cli.fetch.unpack.writer import UnpackedFile, Writer
from lewm_cli.files import explained, sync

HDF5_SUFFIXES = (".h5", ".hdf5")
ARCHIVE_SUFFIXES = (".zst", ".tzst", ".tar")

HDF5_ONLY = "download the same dataset as HDF5"
LANCE_FOLDERS = ("_versions", "_transactions", "_indices", "data")


def unpack(archive: Path, folder: Path, *, limit: int, advance: Callable[[int], None]) -> tuple[UnpackedFile, ...]:
    """Unpack by content, not by suffix: `.tar.zst`, `.tar`, `.zst` of one HDF5 file, or HDF5 as it is.

    All files are on the disk when this returns. On any error, an interrupt included, `folder` is empty again.

    Args:
        archive: what was downloaded; it is only read.
        folder: new and empty; nothing is written anywhere else.
        limit: bytes that may be written at most.
        advance: told the bytes of the archive read since it was last called.

    Raises:
        LewmError: the archive is damaged, of another kind, or holds what is not unpacked here (links, names that lead
            elsewhere, files that refer to other files, more than `limit`), or the disk is full.
    """
    if any(folder.iterdir()):
        raise LewmError(f"{folder} is not empty, so nothing is unpacked into it; choose a new folder")
    try:
        with _explained(archive):
            files = _write_all(archive, folder, limit, advance)
            for file in files:
                check_stands_alone(folder / file.path, quoted(str(file.path)))
        _flush(folder, files)
    except BaseException:
        _clear(folder)
        raise
    return files


def _write_all(archive: Path, folder: Path, limit: int, advance: Callable[[int], None]) -> tuple[UnpackedFile, ...]:
    with _opened(archive) as file:
        head = file.read(HEAD_BYTES)
        file.seek(0)
        kind = recognize(head)
        source = Decoded(file) if kind is Kind.ZSTD else Plain(file)
        with Stream(source, advance) as stream:
            writer = Writer(folder, limit, stream)
            if kind is Kind.ZSTD:
                kind = recognize(stream.peek(HEAD_BYTES))
            if kind is Kind.ZSTD:
                raise Refusal(f"it was compressed twice, and {READABLE}")
            if kind is Kind.TAR:
                return tuple(_members_written(stream, writer))
            path = _only_file(archive)
            writer.check_fits(path, source.declared)
            return (writer.write(path, stream.rest()),)


def _members_written(stream: Stream, writer: Writer) -> Iterator[UnpackedFile]:
    files = 0
    for member in members(stream):
        name = quoted(str(member.path))
        for above, below in zip(member.path.parts, member.path.parts[1:], strict=False):
            if above.endswith(".lance") and below in LANCE_FOLDERS:
                raise Refusal(f"it holds the Lance dataset {quoted(above)}, and only HDF5 is read here", HDF5_ONLY)
        if not member.is_folder:
            writer.check_fits(member.path, member.size)
            yield writer.write(member.path, stream.pieces(member.size, name))
            files += 1
    if not files:
        raise Damage("it holds no files")


def _only_file(archive: Path) -> PurePosixPath:
    """What the HDF5 file inside `archive` is called."""
    name = archive.name
    while name.endswith(ARCHIVE_SUFFIXES):
        name = name[: name.rindex(".")]
    return checked((name if name.endswith(HDF5_SUFFIXES) else f"{name}.h5").encode("utf-8", "surrogateescape"))


@contextmanager
def _opened(archive: Path) -> Iterator[FileIO]:
    if archive.exists() and not archive.is_file():
        raise Damage("it is no regular file")
    try:
        file = archive.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise MissingError(f"there is no archive {archive}; fetch it again") from error
    except OSError as error:
        raise LewmError(f"{archive} cannot be read ({error.strerror}); remove it and fetch it again") from error
    with file:
        yield file


@contextmanager
def _explained(archive: Path) -> Iterator[None]:
    """Turn what is wrong with `archive` into a sentence."""
    try:
        yield
    except Damage as error:
        raise LewmError(f"{archive} cannot be unpacked: {error}; remove it and fetch it again") from error
    except Refusal as error:
        raise LewmError(f"{archive} was not unpacked, and nothing of it was kept: {error}; {error.advice}") from error


def _flush(folder: Path, files: tuple[UnpackedFile, ...]) -> None:
    paths = {folder / file.path for file in files}
    folders = {folder / above for file in files for above in file.path.parents}
    for path in (*sorted(paths), *sorted(folders, reverse=True)):
        with explained(path):
            sync(path)


def _clear(folder: Path) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
