"""Members of a tar archive: regular files and folders of POSIX, GNU and V7 archives, and nothing else.

A small strict reader in place of `tarfile`: whatever two readers could understand differently is refused, and nothing
that an archive declares decides how much memory is taken.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from lewm_cli.fetch.unpack.faults import Damage, Refusal, gigabytes, quoted
from lewm_cli.fetch.unpack.names import MAX_ENTRIES, Names, checked
from lewm_cli.fetch.unpack.stream import Stream

BLOCK = 512
EXTENSION_BYTES = 1 << 18
"""What a header may add about one member: long names and extended attributes, which are ignored."""

PADDING_BYTES = 1 << 24
"""Zeros that may follow the end of an archive; tar itself pads to 10 KiB."""

NAME, SIZE, CHECKSUM, KIND, LINK = slice(0, 100), slice(124, 136), slice(148, 156), slice(156, 157), slice(157, 257)
MAGIC, PREFIX = slice(257, 263), slice(345, 500)

FILES = (b"0", b"\0", b"7")
FOLDER, SPARSE = b"5", b"S"
LONG_NAME, LONG_LINK, EXTENSION, GLOBAL_EXTENSION = b"L", b"K", b"x", b"g"
HEADERS = (LONG_NAME, LONG_LINK, EXTENSION, GLOBAL_EXTENSION)
REFUSED = {
    b"1": "is a hard link",
    b"2": "is a symbolic link",
    b"3": "is a device",
    b"4": "is a device",
    b"6": "is a pipe",
    SPARSE: "is a sparse file (pack it again without `tar --sparse`)",
    b"M": "continues a file of another archive",
    b"V": "is a volume label",
    b"D": "is the list of an incremental backup",
}

RECORD = re.compile(rb"([0-9]{1,7}) ([^=\0]+)=")


@dataclass(frozen=True)
class Extension:
    """What goes before the header of a member because it does not fit in.

    Args:
        path: its name, raw, if given.
        size: its size in bytes, if given.
        is_sparse: its content is that of a sparse file.
    """

    path: bytes | None = None
    size: int | None = None
    is_sparse: bool = False

    def __or__(self, other: "Extension") -> "Extension":
        """Both together.

        Raises:
            Refusal: they say the same thing twice.
        """
        if None not in (self.path, other.path) or None not in (self.size, other.size):
            raise Refusal("one of its members has two names or two sizes")
        return Extension(
            path=self.path if other.path is None else other.path,
            size=self.size if other.size is None else other.size,
            is_sparse=self.is_sparse or other.is_sparse,
        )


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive.

    Args:
        path: checked, relative to where it is unpacked.
        size: bytes, 0 for a folder.
        is_folder: it is a folder.
    """

    path: PurePosixPath
    size: int
    is_folder: bool


def is_header(block: bytes) -> bool:
    """Whether a tar header begins here: its checksum is right."""
    if len(block) != BLOCK or not any(block):
        return False
    try:
        return _number(block[CHECKSUM], "") == sum(block) - sum(block[CHECKSUM]) + 8 * ord(" ")
    except Damage:
        return False


def members(stream: Stream) -> Iterator[Member]:
    """The members in order; the caller takes the bytes of each from the stream before it asks for the next.

    Raises:
        Damage: a header is damaged, or the archive ends without its end mark.
        Refusal: a member is no plain file or folder, or its name is refused.
    """
    names = Names()
    for _ in range(MAX_ENTRIES):
        header, extension = _next_header(stream)
        if header is None:
            _check_end(stream)
            return
        member = _member(header, extension)
        names.add(member.path, member.is_folder)
        yield member
        stream.take(-member.size % BLOCK, f"{quoted(str(member.path))}")
    raise Refusal(f"it has more than {MAX_ENTRIES} members")


def _next_header(stream: Stream) -> tuple[bytes | None, Extension]:
    """The header of the next member, None at the end mark, with what went before it about that member."""
    extension = Extension()
    for _ in range(MAX_ENTRIES):
        block = stream.take(BLOCK, "the list of its members")
        if not any(block):
            if extension != Extension():
                raise Damage("it ends where a member was announced")
            return None, extension
        if not is_header(block):
            raise Damage("the header of a member is damaged")
        kind = block[KIND]
        if kind not in HEADERS:
            return block, extension
        size = _number(block[SIZE], "the size of a header")
        if size > EXTENSION_BYTES:
            raise Refusal(f"the headers of one of its members take {gigabytes(size)}")
        content = stream.take(size, "a header")
        stream.take(-size % BLOCK, "a header")
        if kind == LONG_NAME:
            extension |= Extension(path=_terminated(content))
        elif kind == EXTENSION:
            extension |= _records(content)
        elif kind == GLOBAL_EXTENSION and _records(content) != Extension():
            raise Refusal("one of its headers gives all its members the same name or size")
    raise Refusal(f"one of its members has more than {MAX_ENTRIES} headers")


def _member(header: bytes, extension: Extension) -> Member:
    raw = _name(header) if extension.path is None else extension.path
    kind = header[KIND]
    shown = quoted(raw.decode("utf-8", "surrogateescape"))
    if kind in REFUSED or extension.is_sparse:
        raise Refusal(
            f"its member {shown} {REFUSED.get(kind, REFUSED[SPARSE])}, and only files and folders are unpacked"
        )
    if kind not in (*FILES, FOLDER):
        raise Refusal(f"its member {shown} is of a kind that is unknown here ({kind.decode('latin-1')!a})")
    if header[LINK].strip(b"\0"):
        raise Refusal(f"its member {shown} names another file as a link does")
    path = checked(raw)
    size = _number(header[SIZE], f"the size of {shown}") if extension.size is None else extension.size
    is_folder = kind == FOLDER or raw.endswith(b"/")
    if is_folder and size:
        raise Refusal(f"its member {shown} is a folder with the content of a file")
    if not is_folder and not path.parts:
        raise Refusal(f"the name of its member {shown} is that of the folder itself")
    return Member(path, size, is_folder)


def _name(header: bytes) -> bytes:
    name = _terminated(header[NAME])
    if header[MAGIC] != b"ustar\0":  # V7 has no prefix, and old GNU keeps other things there
        return name
    prefix = _terminated(header[PREFIX])
    return prefix + b"/" + name if prefix else name


def _terminated(field: bytes) -> bytes:
    """A name without the zeros that end it."""
    return _without_zeros(field.rstrip(b"\0"))


def _without_zeros(name: bytes) -> bytes:
    """A name behind whose first zero byte, where some readers stop, nothing hides.

    Raises:
        Refusal: something does.
    """
    if b"\0" in name:
        raise Refusal(f"the name of its member {quoted(name.decode('utf-8', 'surrogateescape'))} has a zero byte")
    return name


def _number(field: bytes, of_what: str) -> int:
    """A number as headers hold it: octal digits, or the bytes themselves after a mark where it is large."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not re.fullmatch(rb"[0-7]*", digits):
        raise Damage(f"{of_what} is no number")
    return int(digits or b"0", 8)


def _records(content: bytes) -> Extension:
    """What matters here of the records `length key=value` of an extended header (POSIX pax)."""
    found = Extension()
    at = 0
    while at < len(content):
        start = RECORD.match(content, at)
        end = at + int(start[1]) if start else 0
        if start is None or not start.end() < end <= len(content) or content[end - 1 : end] != b"\n":
            raise Damage("an extended header is damaged")
        key, value = start[2], content[start.end() : end - 1]
        if key == b"path":
            found |= Extension(path=_without_zeros(value))
        elif key == b"size":
            if not re.fullmatch(rb"[0-9]{1,19}", value):
                raise Damage("an extended header is damaged")
            found |= Extension(size=int(value))
        elif key.startswith(b"GNU.sparse."):
            found |= Extension(is_sparse=True)
        at = end
    return found


def _check_end(stream: Stream) -> None:
    """Two blocks of zeros end an archive; after them come zeros only, and not for ever."""
    if any(stream.take(BLOCK, "its end mark")):
        raise Damage("its end mark is damaged")
    padding = 0
    for piece in stream.rest():
        padding += len(piece)
        if bytes(piece).strip(b"\0"):
            raise Damage("something follows its end")
        if padding > PADDING_BYTES:
            raise Refusal(f"more than {gigabytes(PADDING_BYTES)} of zeros follow its end")
