"""Text files of any editor, shell and system are read, or one sentence says what they are."""

import codecs
from pathlib import Path

import pytest

from commands import lewm_here
from lewm_cli.config import read_toml
from lewm_cli.errors import LewmError

pytest_plugins = ("recordings",)

TEXT = '# größer\r\n[model]\r\nlatent = 8\r\nname = "größer 🤖"\r\n'
TREE = {"model": {"latent": 8, "name": "größer 🤖"}}


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        TEXT.replace("\r\n", "\n").encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.encode("utf-16"),  # with a mark, as PowerShell writes it
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
    ],
)
def test_every_encoding_with_a_mark_is_read(tmp_path: Path, content: bytes):
    path = tmp_path / "own.toml"
    path.write_bytes(content)
    assert read_toml(path).tree == TREE


def test_empty_file_sets_nothing(tmp_path: Path):
    path = tmp_path / "own.toml"
    path.touch()
    assert read_toml(path).tree == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (TEXT.encode("latin-1", "replace"), r"is not a TOML file in UTF-8 \(byte 0xf6 in line 1\); save it as UTF-8"),
        (b"x = 1\ny = '\x80'", r"in UTF-8 \(byte 0x80 in line 2\)"),
        (codecs.BOM_UTF16_LE + b"x\0=\0\0", r"is not a TOML file in UTF-16 \(byte 0x00"),
        ("latent = 8".encode("utf-16-le"), "it holds zero bytes; if it is UTF-16, save it as UTF-8"),
        (b"latent = 8\0", "it holds zero bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is a Git LFS pointer .*; get the file itself"),
        (b"\n<!DOCTYPE html><html>", "is a web page, .*; open its address"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file; name a TOML file"),
        (b"\x80\x04\x95" + bytes(100), "is a Python pickle; name a TOML file"),
        (b"latent", "is not a TOML file: "),
        (b"x = " + b"[" * 10_000, "is not a TOML file: "),
    ],
)
def test_what_is_no_toml_is_named(tmp_path: Path, content: bytes, said: str):
    path = tmp_path / "own.toml"
    path.write_bytes(content)
    with pytest.raises(LewmError, match=said):
        read_toml(path)


def test_folder_and_endless_file_are_refused(tmp_path: Path):
    with pytest.raises(LewmError, match="cannot be read"):
        read_toml(tmp_path)
    with pytest.raises(LewmError, match="far too long"):
        read_toml(Path("/dev/zero"))


def test_command_reads_what_powershell_wrote(tmp_path: Path, robot: Path):
    printed = lewm_here(robot, "presets", "generic/small").out
    path = tmp_path / "mine.toml"
    path.write_bytes(printed.replace("\n", "\r\n").encode("utf-16"))
    wrong = lewm_here(robot, "train", "robot/pick", "--config", path, "--set", "model.latnt=1").sentence(2)
    assert "unknown setting 'model.latnt'; did you mean 'model.latent'? (in " in wrong
