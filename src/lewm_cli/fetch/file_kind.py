"""Recognizes a file by its first bytes, never by its name: a web page that was downloaded has the right name too."""

import tarfile
from enum import Enum

from lewm_cli.fetch.archive_errors import DamagedError, RefusedError

HEAD_BYTES = tarfile.BLOCKSIZE
"""Bytes that decide what a file is."""

READABLE = "only .tar.zst, .tar, .zst and HDF5 files are unpacked here"

UNPACK_IT = "should it hold a dataset, unpack it with a tool for such files"

OTHERS = (
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive without files"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x04\x22\x4d\x18", "an lz4 archive"),
    (b"version https://git-lfs", "a Git LFS pointer in place of the file that it stands for"),
)

PAGE_STARTS = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")


class FileKind(Enum):
    """The ways to unpack a file."""

    ZSTD = "zstd"
    TAR = "tar"
    HDF5 = "HDF5"


def recognize(head: bytes) -> FileKind:
    """Recognizes what begins with these bytes: `HEAD_BYTES` of them, fewer only where there are no more.

    Raises:
        DamagedError: nothing is there, or a web page was downloaded.
        RefusedError: something else that is not unpacked here.
    """
    if not head:
        raise DamagedError("it is empty")
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return FileKind.ZSTD
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return FileKind.HDF5
    if _begins_tar(head):
        return FileKind.TAR
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGE_STARTS):
        raise DamagedError("it is a web page, which a server sends in place of a file that it does not give away")
    for start, name in OTHERS:
        if head.startswith(start):
            raise RefusedError(f"it is {name}, and {READABLE}", UNPACK_IT)
    raise RefusedError(
        f"its first bytes ({head[:8].hex(' ')}) are those of no format known here, and {READABLE}", UNPACK_IT
    )


def _begins_tar(head: bytes) -> bool:
    if len(head) == HEAD_BYTES and not any(head):  # an empty one is nothing but zeros
        return True
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True
