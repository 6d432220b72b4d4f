"""What a file is, by its first bytes: never by its name, which on a failed download is the right one too."""

from enum import Enum

from lewm_cli.fetch.unpack.faults import Damage, Refusal
from lewm_cli.fetch.unpack.tar import BLOCK, is_header

HEAD_BYTES = BLOCK
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


class Kind(Enum):
    """How a file is unpacked."""

    ZSTD = "zstd"
    TAR = "tar"
    HDF5 = "HDF5"


def recognize(head: bytes) -> Kind:
    """What begins with these bytes, at most `HEAD_BYTES` of them, fewer only where there are no more.

    Raises:
        Damage: nothing is there, or a web page was downloaded.
        Refusal: something else that is not unpacked here.
    """
    if not head:
        raise Damage("it is empty")
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return Kind.ZSTD
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return Kind.HDF5
    if is_header(head) or (len(head) == BLOCK and not any(head)):  # an empty tar is nothing but zeros
        return Kind.TAR
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGE_STARTS):
        raise Damage("it is a web page, which a server sends in place of a file that it does not give away")
    for start, name in OTHERS:
        if head.startswith(start):
            raise Refusal(f"it is {name}, and {READABLE}", UNPACK_IT)
    raise Refusal(f"its first bytes ({head[:8].hex(' ')}) are those of no format known here, and {READABLE}", UNPACK_IT)
