"""A file is told by what it holds, and a sentence says what it is and how to get the file that was wanted."""

import io
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save

from lewm_cli.file_kind import FileKind, look, look_at, mistaken


def zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"1")
    return file.getvalue()


def tarred(name: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return file.getvalue()


def torched(**options: bool) -> bytes:
    file = io.BytesIO()
    torch.save({"a": torch.ones(2)}, file, **options)
    return file.getvalue()


def arrays(save: object, **content: object) -> bytes:
    file = io.BytesIO()
    save(file, **content)  # type: ignore[operator]
    return file.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 72271234\n"

FILES = {
    "nothing": (b"", FileKind.EMPTY),
    "zeros": (bytes(4096), FileKind.ZEROS),
    "pointer": (POINTER, FileKind.LFS_POINTER),
    "page": (b"\xef\xbb\xbf\n <!DOCTYPE html><title>Sign in</title>", FileKind.WEB_PAGE),
    "page of XML": (b'<?xml version="1.0"?>\n<html xmlns="http://www.w3.org/1999/xhtml">', FileKind.WEB_PAGE),
    "bucket": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', FileKind.XML),
    "answer": (b'{"error":"Invalid username or password."}', FileKind.JSON),
    "words": (b"Entry not found", FileKind.TEXT),
    "torch": (torched(), FileKind.TORCH),
    "torch, cut short": (torched()[:300], FileKind.TORCH),
    "old torch": (torched(_use_new_zipfile_serialization=False), FileKind.PICKLE),
    "safetensors": (save({"a": torch.ones(2)}), FileKind.SAFETENSORS),
    "arrays": (arrays(np.savez, a=np.ones(2)), FileKind.NUMPY),
    "compressed arrays": (arrays(np.savez_compressed, a=np.ones(2)), FileKind.NUMPY),
    "zip": (zipped("weights.pt"), FileKind.ZIP),
    "gzip": (b"\x1f\x8b\x08" + bytes(99), FileKind.GZIP),
    "tar": (tarred("weights.pt"), FileKind.TAR),
    "tar of something called PK": (tarred("PK/weights.pt"), FileKind.TAR),
    "bag": (b"#ROSBAG V2.0\n" + bytes(99), FileKind.ROS_BAG),
    "MCAP": (b"\x89MCAP0\r\n" + bytes(99), FileKind.MCAP),
    "SQLite": (b"SQLite format 3\0" + bytes(99), FileKind.SQLITE),
    "Arrow": (b"ARROW1\0\0" + bytes(99), FileKind.ARROW),
    "MATLAB": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\1IM", FileKind.MATLAB),
    "noise": (bytes(range(256)) * 9, FileKind.UNKNOWN),
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_told_by_content(name: str, tmp_path: Path):
    content, kind = FILES[name]
    path = tmp_path / "weights.h5"
    path.write_bytes(content)
    assert look(path) is kind
    said = mistaken(path, kind, "weights")
    assert said.isprintable()
    assert said.startswith(f"it is {kind.value}")
    assert "; " in said
    if kind in (FileKind.TEXT, FileKind.JSON):
        assert content.decode() in said


@pytest.mark.parametrize("block", [0, 512, 2048])
def test_hdf5_may_come_behind_a_block(block: int, tmp_path: Path):
    with h5py.File(tmp_path / "a", "w", userblock_size=block) as file:
        file["a"] = 1
    assert look(tmp_path / "a") is FileKind.HDF5


@given(
    st.one_of(
        st.binary(max_size=600), st.builds(bytes.__add__, st.sampled_from([c for c, _ in FILES.values()]), st.binary())
    )
)
@example(b"PK")
@example(b"{" * 1024)
@example(b"\xef\xbb\xbf")
def test_whatever_it_holds_it_is_something(content: bytes):
    assert look_at(content[:1024]).value
