"""Honest archives, of Debian's tools and of Python's, come out as they went in."""

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import h5py
import pytest
import zstandard
from archives import GNU, V7, extended, hdf5, header, member, padded, rle_frame, sample_hdf5, skippable, tar, zst

from commands import PATIENCE
from lewm_cli.errors import LewmError
from lewm_cli.fetch.remote import LocalFile
from lewm_cli.fetch.unpack import unpack

pytest_plugins = ("recordings",)

NAME = "tworoom.h5"
BINARY_SIZE = b"\x80" + (3).to_bytes(11, "big")

needs_tar = pytest.mark.skipif(not (shutil.which("tar") and shutil.which("zstd")), reason="tar and zstd are missing")


def unpacked(archive: Path, limit: int = 1 << 30) -> dict[str, bytes]:
    """What is in an archive, by name; size, digest, mode and progress are right."""
    folder = archive.parent / "new"
    folder.mkdir()
    read: list[int] = []
    files = unpack(archive, folder, limit=limit, advance=read.append)
    assert sum(read) == archive.stat().st_size
    assert min(read) >= 0
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    assert there == {str(file.path) for file in files}
    contents = {}
    for file in files:
        content = (folder / file.path).read_bytes()
        assert file == LocalFile(PurePosixPath(file.path), len(content), hashlib.sha256(content).hexdigest())
        contents[str(file.path)] = content
    return contents


def written(path: Path, content: bytes) -> Path:
    """A file of this content."""
    path.write_bytes(content)
    return path


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A recording of a few megabytes."""
    path = tmp_path / NAME
    sample_hdf5(path, frames=400)
    return path


@needs_tar
@pytest.mark.parametrize("form", ["gnu", "posix", "ustar", "v7"])
@pytest.mark.parametrize("suffix", [".tar", ".tar.zst", ".bin"])
def test_archive_of_tar(form, suffix, original, tmp_path):
    archive = tmp_path / f"tworoom{suffix}"
    compress = ["--zstd"] if suffix == ".tar.zst" else []
    subprocess.run(["tar", "-C", tmp_path, f"--format={form}", *compress, "-cf", archive, NAME], check=True)
    assert unpacked(archive) == {NAME: original.read_bytes()}


@pytest.mark.slow
@needs_tar
@pytest.mark.parametrize(
    "options", [["-1"], ["-19", "--long"], ["--ultra", "-22"], ["--no-check"], ["--fast=5", "-T2"], ["--rsyncable"]]
)
def test_recording_of_zstd(options, original, tmp_path):
    archive = tmp_path / "tworoom.h5.zst"
    subprocess.run(["zstd", "-q", *options, original, "-o", archive], check=True)
    assert unpacked(archive) == {NAME: original.read_bytes()}


@needs_tar
def test_stream_of_zstd_does_not_know_its_size(original, tmp_path):
    archive = tmp_path / "tworoom.h5.zst"
    with original.open("rb") as source, archive.open("wb") as target:
        subprocess.run(["zstd", "-q"], stdin=source, stdout=target, check=True)
    assert unpacked(archive) == {NAME: original.read_bytes()}


@needs_tar
def test_folders_of_tar(original, tmp_path):
    source = tmp_path / "source"
    for folder in ("ogbench", "ogbench/much/deeper", "empty"):
        (source / folder).mkdir(parents=True)
    shutil.copy(original, source / "ogbench" / "cube.h5")
    long = f"{'long-' * 40}name.txt"  # does not fit into a header
    (source / "ogbench/much/deeper" / long).write_text("words")
    (source / "Grüße.txt").write_text("")
    archive = tmp_path / "cube.tar.zst"
    for form in ("gnu", "posix"):
        subprocess.run(["tar", "-C", source, f"--format={form}", "--zstd", "-cf", archive, "."], check=True)
        expected = {"ogbench/cube.h5": original.read_bytes(), f"ogbench/much/deeper/{long}": b"words", "Grüße.txt": b""}
        assert unpacked(archive) == expected
        shutil.rmtree(tmp_path / "new")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archive_of_python(form, original, tmp_path):
    archive = tmp_path / "some.tar"
    long = f"{'a' * 120}/{'b' * 80}.h5"
    with tarfile.open(archive, "w", format=form) as file:
        file.add(original, NAME)
        file.add(original, long)
    content = original.read_bytes()
    assert unpacked(archive) == {NAME: content, long: content}


ZST = zst(hdf5())
NAMES = [
    ("pusht_expert_train.h5.zst", "pusht_expert_train.h5"),
    ("pusht.zst", "pusht.h5"),
    ("pusht.tar.zst", "pusht.h5"),
    ("pusht.hdf5.zst", "pusht.hdf5"),
    ("pusht.h5", "pusht.h5"),
    ("7cfbd6d9", "7cfbd6d9.h5"),
]


@pytest.mark.parametrize(("name", "expected"), NAMES)
def test_recording_without_tar_is_named_after_its_archive(name, expected, tmp_path):
    assert unpacked(written(tmp_path / name, ZST)) == {expected: hdf5()}


def test_recording_as_it_is(original, tmp_path):
    assert unpacked(original) == {NAME: original.read_bytes()}


WHOLE = tar(member(b"a/x.h5", hdf5()), member(b"b.txt", b"b" * 1000))
HALF = len(WHOLE) // 2

FRAMES = {
    "several frames": zst(WHOLE[:700]) + zst(WHOLE[700:HALF]) + zst(WHOLE[HALF:]),
    "an empty frame between": zst(WHOLE[:HALF]) + zst(b"") + zst(WHOLE[HALF:]),
    "skippable frames": skippable(b"zz" * 700)
    + zst(WHOLE[:HALF])
    + skippable(b"")
    + zst(WHOLE[HALF:])
    + skippable(b"x"),
    "a frame for each byte of the header": b"".join(zst(WHOLE[i : i + 1]) for i in range(600)) + zst(WHOLE[600:]),
    "no checksums": zstandard.ZstdCompressor().compress(WHOLE),
}


@pytest.mark.parametrize("case", FRAMES)
def test_all_frames_are_read(case, tmp_path):
    assert unpacked(written(tmp_path / "a", FRAMES[case])) == {"a/x.h5": hdf5(), "b.txt": b"b" * 1000}


MEMBERS = {
    "V7": member(b"f", b"abc", b"\0", magic=V7),
    "GNU": member(b"f", b"abc", magic=GNU),
    "contiguous": member(b"f", b"abc", b"7"),
    "beginning with ./": member(b"./f", b"abc"),
    "size in binary": header(b"f", BINARY_SIZE) + padded(b"abc"),
    "size in an extended header": extended((b"size", b"3")) + header(b"f", 0) + padded(b"abc"),
    "name in an extended header": extended((b"mtime", b"1.5"), (b"path", b"f")) + member(b"cut", b"abc"),
    "name in a GNU header": member(b"././@LongLink", b"f\0", b"L") + member(b"cut", b"abc"),
    "comment for all": extended((b"comment", b"made by git"), kind=b"g") + member(b"f", b"abc"),
    "attributes that are bytes": extended((b"SCHILY.xattr.user.x", bytes(range(256)))) + member(b"f", b"abc"),
    "folders around it": member(b"./", b"", b"5")
    + member(b"g/", b"", b"5")
    + member(b"f", b"abc")
    + member(b"g/", b"", b"5"),
    "a folder by its name": member(b"g/", b"", b"\0", magic=V7) + member(b"f", b"abc"),
}


@pytest.mark.parametrize("case", MEMBERS)
def test_member(case, tmp_path):
    assert unpacked(written(tmp_path / "a.tar", tar(MEMBERS[case]))) == {"f": b"abc"}


def test_prefix_is_a_folder(tmp_path):
    archive = written(tmp_path / "a.tar", tar(member(b"f", b"abc", prefix=b"much/above")))
    assert unpacked(archive) == {"much/above/f": b"abc"}


def test_modes_are_not_those_of_the_archive(tmp_path):
    archive = written(tmp_path / "a.tar", tar(member(b"d", b"x", mode=0o6777), member(b"e", b"", mode=0)))
    before = os.umask(0o027)
    try:
        unpacked(archive)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / "new" / name).stat().st_mode) for name in "de"]
    assert modes == [0o640, 0o640]


def test_links_within_a_recording_are_fine(tmp_path):
    def link(file: h5py.File) -> None:
        file["soft"] = h5py.SoftLink("/action")
        file["hard"] = file["action"]
        file.create_group("group")["self"] = file["/"]  # goes round
        layout = h5py.VirtualLayout((100, 2), "f4")
        layout[:] = h5py.VirtualSource(".", "action", (100, 2))
        file.create_virtual_dataset("virtual", layout)

    content = hdf5(link)
    assert unpacked(written(tmp_path / "x.h5", content)) == {"x.h5": content}


def test_limit_is_what_may_be_written(tmp_path):
    content = hdf5()
    assert unpacked(written(tmp_path / "x.h5", content), limit=len(content)) == {"x.h5": content}


def test_folder_with_something_in_it_is_left_alone(tmp_path):
    archive = written(tmp_path / "x.h5", hdf5())
    with pytest.raises(LewmError, match="not empty"):
        unpack(archive, tmp_path, limit=1 << 20, advance=lambda count: None)
    assert archive.read_bytes() == hdf5()


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, RuntimeError])
def test_interrupt_leaves_the_folder_empty_and_no_thread(interrupt, tmp_path):
    archive = written(tmp_path / "x.tar.zst", zst(tar(member(b"f", os.urandom(30_000_000)))))
    folder = tmp_path / "new"
    folder.mkdir()
    left, before = 3, set(threading.enumerate())

    def advance(count: int) -> None:
        nonlocal left
        left -= 1
        if not left:
            assert [path.name for path in folder.iterdir()] == ["f"]
            raise interrupt

    with pytest.raises(interrupt):
        unpack(archive, folder, limit=1 << 30, advance=advance)
    assert list(folder.iterdir()) == []
    assert set(threading.enumerate()) <= before


SLOWLY = """
import sys, time
from pathlib import Path
from lewm_cli.fetch.unpack import unpack
def advance(count):
    print("on", flush=True)
    time.sleep(0.05)
unpack(Path(sys.argv[1]), Path(sys.argv[2]), limit=1 << 40, advance=advance)
"""


@pytest.mark.slow
def test_control_c_leaves_the_folder_empty(tmp_path):
    archive = written(tmp_path / "x.tar.zst", zst(tar(member(b"f", os.urandom(60_000_000)))))
    folder = tmp_path / "new"
    folder.mkdir()
    child = subprocess.Popen([sys.executable, "-c", SLOWLY, archive, folder], stdout=subprocess.PIPE)
    for _ in range(4):
        assert child.stdout.readline() == b"on\n"
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=PATIENCE)
    assert child.returncode not in (0, None)
    assert list(folder.iterdir()) == []


MEASURED = """
import sys
from pathlib import Path
from lewm_cli.fetch.unpack import unpack
def peak():  # of this program alone; getrusage knows the parent's too
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
(file,) = unpack(Path(sys.argv[1]), Path(sys.argv[2]), limit=1 << 40, advance=lambda count: None)
print(file.size, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_is_constant(tmp_path):
    size = 2048 * (1 << 17)
    head = header(b"zeros", size)
    archive = written(tmp_path / "x.tar.zst", zst(head) + rle_frame(2048) + zst(bytes(1024)))
    folder = tmp_path / "new"
    folder.mkdir()
    child = subprocess.run(
        [sys.executable, "-c", MEASURED, archive, folder], capture_output=True, text=True, check=True
    )
    found, kibibytes = map(int, child.stdout.split())
    assert found == size
    assert 1_000 < kibibytes < 40_000


def test_full_disk_is_a_sentence(tmp_path, small_disk: Callable[[str], Path]):
    archive = written(tmp_path / "x.h5", hdf5(rows=100_000))
    folder = small_disk("256k") / "new"
    folder.mkdir()
    with pytest.raises(LewmError, match=r"x.h5 cannot be written .* the disk is full"):
        unpack(archive, folder, limit=1 << 30, advance=lambda count: None)
    assert list(folder.iterdir()) == []
