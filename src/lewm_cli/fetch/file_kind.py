"""Recognizes a file by its first bytes, never by its name: a web page that was downloaded has the right name too."""

import tarfile
from typing import Literal

from lewm_cli.fetch.archive_errors import DamagedError, RefusedError

FileKind = Literal["zstd", "tar", "HDF5"]

HEAD_BYTES = tarfile.BLOCKSIZE
"""Bytes that decide what a file is."""

READABLE = "only .tar.zst, .tar, .zst and HDF5 files are unpacked here"

OTHERS = {
    b"PK": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"\x04\x22\x4d\x18": "an lz4 archive",
    b"version https://git-lfs": "a Git LFS pointer in place of the file that it stands for",
}

PAGE_STARTS = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")


def recognize(head: bytes) -> FileKind:
    """Recognizes what begins with these bytes: `HEAD_BYTES` of them, fewer only where there are no more.

    Raises:
        DamagedError: nothing is there, or a web page was downloaded.
        RefusedError: something else that is not unpacked here.
    """
    if not head:
        raise DamagedError("it is empty")
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return "zstd"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "HDF5"
    if len(head) == HEAD_BYTES and not any(head):  # an empty tar archive is nothing but zeros
        return "tar"
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        pass
    else:
        return "tar"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGE_STARTS):
        raise DamagedError("it is a web page, which a server sends in place of a file that it does not give away")
    unknown = f"of no format known here (it begins with {head[:8].hex(' ')})"
    found = next((name for start, name in OTHERS.items() if head.startswith(start)), unknown)
    raise RefusedError(f"it is {found}, and {READABLE}", "unpack it by hand, should it hold a dataset")
