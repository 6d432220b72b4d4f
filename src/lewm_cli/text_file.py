"""Text files as editors and shells of any system write them."""

import codecs
from pathlib import Path

from lewm_cli import file_kind
from lewm_cli.errors import LewmError

LARGEST = 64 << 20
"""Bytes of the largest text that a person or a command of ours would write."""

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before the one of UTF-16, which it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte-order marks in front of a text, which tell its encoding; PowerShell and some editors write them."""


def read_text(path: Path, wanted: str) -> str:
    """Read a text file: UTF-8, or whatever a byte-order mark says.

    Args:
        wanted: what it should be, for errors: "a TOML file".

    Raises:
        LewmError: it is no text, or in another encoding.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise LewmError(f"{path} is far too long for {wanted}; name another file")
    return decode_text(content, path, wanted)


def decode_text(content: bytes, path: Path, wanted: str) -> str:
    """The text of a whole file, of which the content has been read; arguments and errors are those of `read_text`."""
    kind = file_kind.look_at(content[: file_kind.HEAD])
    if content and kind.advice:
        raise LewmError(f"{path} is {kind.value}; {kind.advice}")
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        name, byte = encoding.removesuffix("-sig").upper(), content[error.start]
        what = kind.value if kind.is_binary else f"not {wanted} in {name} (byte 0x{byte:02x} in line {line})"
        advice = f"name {wanted}" if kind.is_binary else "save it as UTF-8"
        raise LewmError(f"{path} is {what}; {advice}") from error
    if "\0" in text:
        raise LewmError(f"{path} is not {wanted}: it holds zero bytes; if it is UTF-16, save it as UTF-8")
    return text
