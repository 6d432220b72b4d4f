"""Tells what a file is, by its content and never by its name."""

import json
import tarfile
from enum import Enum
from pathlib import Path

HEAD = 1024
"""Bytes that are looked at first."""

SHOWN = 80
"""Bytes of a text that are shown in a message."""

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class FileKind(Enum):
    """The kind of a file; the value says it in words."""

    EMPTY = "an empty file"
    ZEROS = "a file of zeros, as a download or a copy leaves it that broke off"
    LFS_POINTER = "a Git LFS pointer in place of the file that it stands for"
    WEB_PAGE = "a web page, which a server sends in place of a file that it does not give away"
    XML = "an XML message, which a server sends in place of a file that it does not give away"
    HDF5 = "an HDF5 file"
    SAFETENSORS = "a safetensors file"
    TORCH = "a file of torch.save"
    NUMPY = "a NumPy file"
    PARQUET = "a Parquet file"
    ROS_BAG = "a ROS bag"
    MCAP = "an MCAP file, as ROS 2 writes them"
    SQLITE = "an SQLite file, as the bags of ROS 2 are"
    ARROW = "an Arrow file"
    MATLAB = "a MATLAB file of a version before 7.3"
    VIDEO = "a video"
    IMAGE = "an image"
    ZIP = "a zip archive"
    GZIP = "a gzip archive"
    ZSTD = "a Zstandard archive"
    BZIP2 = "a bzip2 archive"
    XZ = "an xz archive"
    SEVEN_ZIP = "a 7-Zip archive"
    RAR = "a RAR archive"
    LZ4 = "an lz4 archive"
    TAR = "a tar archive"
    PICKLE = "a Python pickle"
    JSON = "a JSON file"
    TEXT = "a text file"
    PIPE = "a pipe, which can be read only once"
    UNKNOWN = "a file of no format known here"

    @property
    def advice(self) -> str | None:
        """The way to get the file that should be there, if this only stands in its place; else None."""
        return _INSTEAD.get(self)

    @property
    def is_binary(self) -> bool:
        """True if it is a kind of file that is known, and no text."""
        return self not in (
            FileKind.EMPTY,
            FileKind.WEB_PAGE,
            FileKind.XML,
            FileKind.JSON,
            FileKind.TEXT,
            FileKind.UNKNOWN,
        )


_ARCHIVES = (
    *(FileKind.ZIP, FileKind.GZIP, FileKind.ZSTD, FileKind.BZIP2, FileKind.XZ),
    *(FileKind.SEVEN_ZIP, FileKind.RAR, FileKind.LZ4, FileKind.TAR),
)

_INSTEAD = {
    **dict.fromkeys(_ARCHIVES, "unpack it first"),
    FileKind.EMPTY: "fetch or copy it again",
    FileKind.ZEROS: "fetch or copy it again",
    FileKind.PIPE: "write what comes out of it into a file",
    FileKind.LFS_POINTER: "get the file itself: git lfs pull in its repository, or `lewm fetch NAME`",
    FileKind.WEB_PAGE: "open its address in a browser, sign in if asked, and download it again",
    FileKind.XML: "open its address in a browser, read what it says, and download it again",
}

_STARTS = {
    b"version https://git-lfs": FileKind.LFS_POINTER,
    HDF5_SIGNATURE: FileKind.HDF5,
    b"\x93NUMPY": FileKind.NUMPY,
    b"PAR1": FileKind.PARQUET,
    b"#ROSBAG": FileKind.ROS_BAG,
    b"\x89MCAP0": FileKind.MCAP,
    b"SQLite format 3": FileKind.SQLITE,
    b"ARROW1": FileKind.ARROW,
    b"MATLAB 5.0": FileKind.MATLAB,
    b"\x1a\x45\xdf\xa3": FileKind.VIDEO,  # Matroska and WebM
    b"FLV\x01": FileKind.VIDEO,
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": FileKind.VIDEO,  # Windows Media
    b"OggS": FileKind.VIDEO,
    b"\x00\x00\x01\xba": FileKind.VIDEO,  # MPEG
    b"\x89PNG": FileKind.IMAGE,
    b"\xff\xd8\xff": FileKind.IMAGE,
    b"GIF8": FileKind.IMAGE,
    b"\x1f\x8b": FileKind.GZIP,
    b"BZh": FileKind.BZIP2,
    b"\xfd7zXZ\x00": FileKind.XZ,
    b"7z\xbc\xaf\x27\x1c": FileKind.SEVEN_ZIP,
    b"Rar!": FileKind.RAR,
    b"\x04\x22\x4d\x18": FileKind.LZ4,
    b"\x28\xb5\x2f\xfd": FileKind.ZSTD,
}

_PAGE_STARTS = (b"<!doctype", b"<html", b"<head", b"<!--")


def mistaken(path: Path, kind: FileKind, wanted: str) -> str:
    """Say in half a sentence what a file is, that it is not what was wanted, and how to get that."""
    if kind not in (FileKind.JSON, FileKind.TEXT):
        wrong = "" if kind.advice and kind not in _ARCHIVES else f", not {wanted}"
        return f"it is {kind.value}{wrong}; {kind.advice or 'check the path'}"
    with path.open("rb") as file:
        start = " ".join(file.read(SHOWN).decode("utf-8", "replace").split())
    shown = "".join(letter for letter in start if letter.isprintable())
    return f"it is {kind.value}, not {wanted}, and begins with {shown!r}; fetch or copy the file again"


def look(path: Path) -> FileKind:
    """Tell what a file is; raises OSError if it cannot be read."""
    if path.is_fifo():  # opening one waits for somebody who writes
        return FileKind.PIPE
    with path.open("rb") as file:
        head = file.read(HEAD)
    kind = look_at(head)
    # HDF5 allows a block of the user's own before the file, of zeros if nothing is in it.
    if kind in (FileKind.UNKNOWN, FileKind.TEXT, FileKind.ZEROS) and _hdf5_behind_a_block(path):
        return FileKind.HDF5
    return kind


def look_at(head: bytes) -> FileKind:
    """Tell what begins with these bytes, `HEAD` of them unless it has fewer."""
    if not head:
        return FileKind.EMPTY
    if len(head) >= tarfile.BLOCKSIZE and not any(head):
        return FileKind.ZEROS
    if _is_tar(head):  # first, for its first bytes are the name of a file
        return FileKind.TAR
    found = next((kind for start, kind in _STARTS.items() if head.startswith(start)), None)
    if found is not None:
        return found
    if head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:  # frames that zstd skips
        return FileKind.ZSTD
    if head[:2] == b"PK":
        return _zip_kind(head)
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", b"heic", b"heix", b"mif1"):
        return FileKind.IMAGE
    if head[:1] == head[188:189] == head[376:377] == b"\x47":  # an MPEG transport stream
        return FileKind.VIDEO
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide") or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return FileKind.VIDEO
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return FileKind.IMAGE
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32:  # the length of a header, then its JSON
        return FileKind.SAFETENSORS
    if head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return FileKind.PICKLE  # the older files of torch.save too
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.lower().startswith(_PAGE_STARTS):
        return FileKind.WEB_PAGE
    if text.startswith(b"<?xml"):
        return FileKind.WEB_PAGE if b"<html" in text.lower() else FileKind.XML
    return _text_kind(text)


def _is_tar(head: bytes) -> bool:
    block = head[: tarfile.BLOCKSIZE]
    if len(block) < tarfile.BLOCKSIZE:
        return False
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _text_kind(head: bytes) -> FileKind:
    # A letter of several bytes may be cut at the end.
    text = head.decode("utf-8", "ignore")
    if len(text.encode()) < len(head) - 3 or not all(letter.isprintable() or letter.isspace() for letter in text):
        return FileKind.UNKNOWN
    if len(head) < HEAD - 3:
        try:
            json.loads(text)
        except ValueError:
            return FileKind.TEXT
        return FileKind.JSON
    return FileKind.JSON if text.startswith(("{", "[")) else FileKind.TEXT


def _zip_kind(head: bytes) -> FileKind:
    """Tell by its first member, which programs that make these files write first."""
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    if name.endswith(b"data.pkl"):
        return FileKind.TORCH
    return FileKind.NUMPY if name.endswith(b".npy") else FileKind.ZIP


def _hdf5_behind_a_block(path: Path) -> bool:
    size, place = path.stat().st_size, 512
    with path.open("rb") as file:
        while place < size:
            file.seek(place)
            if file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE:
                return True
            place *= 2
    return False
