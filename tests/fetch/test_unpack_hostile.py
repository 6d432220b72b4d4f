"""Archives that want to do harm, and those that were damaged on the way: nothing of them is kept, and they say why."""

import hashlib
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import zstandard
from archives import (
    BLOCK,
    GNU,
    extended,
    hdf5,
    header,
    member,
    padded,
    rle_frame,
    skippable,
    tar,
    with_checksum,
    zst,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lewm_cli.errors import LewmError, MissingError
from lewm_cli.fetch.remote import LocalFile
from lewm_cli.fetch.unpack import unpack

LIMIT = 1 << 22


@contextmanager
def guarded() -> Iterator[tuple[Path, Path]]:
    """A place for an archive and a folder to unpack into; whatever happens, nothing around the folder changes."""
    with tempfile.TemporaryDirectory() as place:
        outside = Path(place) / "outside"
        folder = outside / "new"
        folder.mkdir(parents=True)
        (outside / "victim").write_text("precious")
        yield Path(place) / "archive", folder
        assert {path.name for path in outside.iterdir()} == {"new", "victim"}
        assert (outside / "victim").read_text() == "precious"
        assert {path.name for path in Path(place).iterdir()} == {"archive", "outside"}


def attempt(content: bytes, limit: int = LIMIT) -> tuple[LocalFile, ...] | str:
    """What comes out of an archive, or the sentence that refuses it; nothing lies about then."""
    with guarded() as (archive, folder):
        archive.write_bytes(content)
        try:
            files = unpack(archive, folder, limit=limit, advance=lambda count: None)
        except LewmError as error:
            assert list(folder.iterdir()) == []
            assert archive.read_bytes() == content
            return one_sentence(str(error), archive)
        found = [path for path in folder.rglob("*") if not path.is_dir()]
        assert {path.relative_to(folder) for path in found} == {Path(file.path) for file in files}
        assert not any(path.is_symlink() or path.stat().st_nlink > 1 for path in found)
        for file in files:
            written = (folder / file.path).read_bytes()
            assert (file.size, file.sha256) == (len(written), hashlib.sha256(written).hexdigest())
        assert sum(file.size for file in files) <= limit
        return files


def one_sentence(message: str, archive: Path) -> str:
    """A message that fits on a terminal, names the archive, says what to do, and holds nothing a terminal obeys."""
    assert message.isprintable()
    assert str(archive) in message
    assert ";" in message
    assert len(message) < 500
    return message


HDF5 = hdf5()
GOOD = tar(member(b"a.h5", HDF5), member(b"b/c.txt", b"c" * 700))


def long_name(name: bytes) -> bytes:
    return member(b"././@LongLink", name + b"\0", b"L", magic=GNU)


NAMES = {
    "absolute": (b"/etc/passwd", "absolute"),
    "absolute, twice": (b"//etc/passwd", "absolute"),
    "above": (b"../victim", "leads out"),
    "above, later": (b"a/../../victim", "leads out"),
    "above at the end": (b"a/..", "leads out"),
    "above behind a dot": (b"./../victim", "leads out"),
    "above and back": (b"a/../new/b", "leads out"),
    "dots within": (b"a/./b", "empty or"),
    "dots at the start": (b"././a", "empty or"),
    "an empty folder": (b"a//b", "empty or"),
    "backslash": (b"..\\victim", "backslash"),
    "line break": (b"a\nb", "control"),
    "terminal": (b"a\x1b[2Jb", "control"),
    "not UTF-8": (b"a\xff\xfeb", "control or undecodable"),
    "written backwards": ("a\u202eb".encode(), "control"),
    "folder itself": (b".", "folder itself"),
    "long component": (b"x" * 256, "too long"),
    "long in bytes only": ("é".encode() * 128, "too long"),
    "long": (b"/".join([b"x" * 200] * 4), "too long"),
    "deep": (b"/".join([b"d"] * 9), "folders deep"),
}


@pytest.mark.parametrize("case", NAMES)
def test_name_that_leads_elsewhere_is_refused(case):
    name, says = NAMES[case]
    ways = [long_name(name) + member(b"cut", b"x"), extended((b"path", name)) + member(b"cut", b"x")]
    if len(name) <= 100:
        ways.append(member(name, b"x"))
    for way in ways:
        for content in (tar(way), zst(tar(member(b"first", b"y"), way))):
            assert says in attempt(content)


REFUSED = {
    "zero in a pax name": (extended((b"path", b"a\0b")) + member(b"c", b"x"), "control"),
    "no name": (member(b"", b"x"), "'' is empty"),
    "empty pax name": (extended((b"path", b"")) + member(b"c", b"x"), "'' is empty"),
    "symbolic link": (member(b"l", b"", b"2", link=b"../victim") + member(b"l/x", b"x"), "'l' is a symbolic link"),
    "symbolic link inside": (member(b"a", b"x") + member(b"l", b"", b"2", link=b"a"), "'l' is a symbolic link"),
    "hard link": (member(b"l", b"", b"1", link=b"/etc/passwd"), "'l' is a hard link"),
    "link with a long target": (
        member(b"././@LongLink", b"t" * 200 + b"\0", b"K") + member(b"l", b"", b"2", link=b"t" * 100),
        "'l' is a symbolic link",
    ),
    "character device": (member(b"d", b"", b"3"), "'d' is a device"),
    "block device": (member(b"d", b"", b"4"), "'d' is a device"),
    "pipe": (member(b"p", b"", b"6"), "'p' is a pipe"),
    "sparse, GNU": (member(b"s", b"x", b"S", magic=GNU), "'s' is a sparse file"),
    "sparse, pax": (
        extended((b"GNU.sparse.major", b"1"), (b"GNU.sparse.name", b"s"), (b"GNU.sparse.realsize", b"9"))
        + member(b"GNUSparseFile.1/s", b"x"),
        "is a sparse file",
    ),
    "several volumes": (member(b"m", b"x", b"M"), "of an unknown kind"),
    "unknown kind": (member(b"u", b"x", b"Z"), "of an unknown kind"),
    "folder with content": (member(b"d/", b"x" * 9, b"5"), "size of 'd' is wrong"),
    "twice": (member(b"a", b"x") + member(b"a", b"y"), "'a' twice"),
    "twice, once with ./": (member(b"a", b"x") + member(b"./a", b"y"), "'a' twice"),
    "but for case": (member(b"a/B", b"x") + member(b"a/b", b"y"), "case is ignored"),
    "but for case of a folder": (member(b"a/c", b"x") + member(b"A/d", b"y"), "case is ignored"),
    "but for how accents are written": (
        member("é".encode(), b"x") + member("e\u0301".encode(), b"y"),
        "case is ignored",
    ),
    "file, then folder": (member(b"a", b"x") + member(b"a/b", b"y"), "as a folder and as a file"),
    "folder, then file": (member(b"a/b", b"x") + member(b"a", b"y"), "as a folder and as a file"),
    "folder entry, then file": (member(b"a/", b"", b"5") + member(b"a", b"y"), "as a folder and as a file"),
    "large header": (header(b"x", 1 << 32, b"x"), "headers of its members take 4.3 GB"),
    "large name": (header(b"x", 1 << 32, b"L"), "headers of its members take"),
    "larger than allowed": (header(b"big", LIMIT + 1), "'big' it unpacks to 4,194,30"),
    "larger than any disk": (header(b"big", b"\x80" + b"\xff" * 11), "'big' it unpacks to"),
    "larger in an extended header": (extended((b"size", b"9" * 19)) + header(b"big", 1), "'big' it unpacks to"),
    "together larger": (member(b"a", b"x" * (LIMIT // 2 + 1)) + header(b"b", LIMIT // 2), "'b' it unpacks to"),
    "a thousand files": (b"".join(member(b"%d" % i) for i in range(1025)), "more than 1024 members"),
    "one folder many times": (member(b"d/", b"", b"5") * 1025, "more than 1024 members"),
    "headers without end": (extended((b"comment", b"x"), kind=b"g") * 1025, "too many headers"),
    "attributes without end": (
        b"".join(extended((b"comment", b"x" * 15_000)) for _ in range(80)) + member(b"a", b"x"),
        "headers of its members take",
    ),
    "sparse map without end": (
        extended((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"))
        + member(b"s", b"1000000000\n" + b"1\n" * (1 << 20)),
        "headers of its members take",
    ),
    "Lance": (member(b"a/push.lance/_versions/1.manifest", b"x"), "Lance dataset 'push.lance'"),
    "Lance, folders first": (
        member(b"push.lance/", b"", b"5") + member(b"push.lance/data/", b"", b"5"),
        "Lance dataset 'push.lance'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_member_is_refused_by_name(case):
    members, says = REFUSED[case]
    assert says in attempt(tar(members))
    assert says in attempt(zst(tar(member(b"first", b"y"), members)))


DISPUTED = {
    "zero in a name": member(b"a\0b", b"x"),
    "zero in a GNU name": long_name(b"a\0../b") + member(b"c", b"x"),
    "file that names a link": member(b"f", b"x", link=b"../victim"),
    "two long names": long_name(b"../a") + long_name(b"b") + member(b"c", b"x"),
    "two kinds of long name": long_name(b"a") + extended((b"path", b"b")) + member(b"c", b"x"),
    "two sizes": extended((b"size", b"1"), (b"size", b"2")) + member(b"c", b"x"),
    "a name for all": extended((b"path", b"a"), kind=b"g") + member(b"c", b"x"),
    "a size for all": extended((b"size", b"1"), kind=b"g") + member(b"c", b"x"),
    "record without length": member(b"x", b"path=a\n", b"x") + member(b"a", b"x"),
    "record longer than its header": member(b"x", b"99 path=a\n", b"x") + member(b"a", b"x"),
}


@pytest.mark.parametrize("case", DISPUTED)
def test_member_that_readers_understand_differently_stays_inside(case):
    attempt(tar(DISPUTED[case]))
    attempt(zst(tar(member(b"first", b"y"), DISPUTED[case])))


DAMAGED = {
    "no members": (tar(), "holds no files"),
    "folders only": (tar(member(b"d/", b"", b"5")), "holds no files"),
    "wrong checksum": (GOOD[:5] + b"!" + GOOD[6:], "no format known here"),
    "wrong checksum later": (tar(member(b"a", b"x"), b"!" + member(b"b", b"x")[1:]), "header of a member"),
    "size that is no number": (tar(header(b"a", b"12x45")), "no format known here"),
    "negative size": (tar(header(b"a", b"\xff" * 12)), "size of 'a' is wrong"),
    "negative size, later": (tar(extended((b"size", b"-1")) + member(b"a", b"x")), "size of 'a' is wrong"),
    "record of no length": (tar(member(b"x", b"0 path=a\n", b"x") + member(b"a", b"x")), "header of a member"),
    "no end mark": (GOOD[: -2 * BLOCK], "ends within the list"),
    "half an end mark": (GOOD[:-BLOCK], "ends within its end mark"),
    "half an end mark, then more": (tar(member(b"a", b"x"))[:-BLOCK] + member(b"b", b"x"), "follows its end"),
    "something after the end": (GOOD + b"x", "follows its end"),
    "a second archive after the end": (GOOD + GOOD, "follows its end"),
    "announced only": (tar(extended((b"path", b"a"))), "header of a member"),
    "zeros without end": (zst(GOOD) + rle_frame(1000), "zeros follow its end"),
    "garbage after a frame": (zst(GOOD) + b"garbage", "zstd frame is damaged"),
    "a few bytes after a frame": (zst(GOOD) + b"abcde", "zstd frame is damaged"),
    "wrong frame checksum": (zst(GOOD)[:-1] + bytes([zst(GOOD)[-1] ^ 1]), "zstd frame is damaged"),
    "skippable frames only": (skippable(b"x"), "is empty"),
    "empty frame": (zst(b""), "is empty"),
    "empty": (b"", "an empty file"),
    "web page": (b"\n<!DOCTYPE html><html><head><title>Quota exceeded</title>", "web page"),
    "web page, compressed": (zst(b"<html><body>404</body>" * 50), "web page"),
    "zip": (b"PK\x03\x04" + bytes(100), "zip archive"),
    "gzip": (b"\x1f\x8b\x08" + bytes(100), "gzip archive"),
    "gzip, compressed": (zst(b"\x1f\x8b\x08" + bytes(100)), "gzip archive"),
    "xz": (b"\xfd7zXZ\x00" + bytes(100), "xz archive"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
    "compressed twice": (zst(zst(GOOD)), "compressed twice"),
    "words": (b"not an archive at all", "a text file"),
    "window of 256 MiB": (rle_frame(10, window=(28 - 10) << 3), "more than 128 MiB"),
    "window of 3.75 TiB": (rle_frame(10, window=0xFF), "more than 128 MiB"),
    "window a little over 128 MiB": (rle_frame(10, window=((27 - 10) << 3) + 1), "more than 128 MiB"),
    "block of no kind": (b"\x28\xb5\x2f\xfd\x00\x50" + (3 << 1 | 1).to_bytes(3, "little"), "zstd frame is damaged"),
    "unknown feature": (b"\x28\xb5\x2f\xfd\x08\x50" + bytes(20), "Unsupported frame parameter"),
    "HDF5 cut short": (HDF5[: len(HDF5) // 2], "damaged HDF5"),
    "HDF5 cut short in an archive": (tar(member(b"x.h5", HDF5[:1000])), "'x.h5' in it is damaged HDF5"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_said(case):
    content, says = DAMAGED[case]
    assert says in attempt(content)


def test_frame_that_needs_a_dictionary():
    dictionary = zstandard.train_dictionary(
        1000, [os.urandom(50) + b"much the same every time" * 20 for _ in range(200)]
    )
    assert "Dictionary" in attempt(zst(GOOD, dict_data=dictionary))


def test_bomb_that_declares_its_size_is_refused_before_anything_is_written(monkeypatch: pytest.MonkeyPatch):
    with guarded() as (archive, folder):
        archive.write_bytes(zst(HDF5 + bytes(1 << 23)))
        monkeypatch.setattr(Path, "open", lambda path, *arguments: pytest.fail(f"{path} is written"))
        with pytest.raises(LewmError, match=r"unpacks to 8,390,8.. bytes or more"):
            unpack(archive, folder, limit=LIMIT, advance=lambda count: None)
        monkeypatch.undo()


def test_bomb_that_does_not_declare_its_size_ends_at_the_limit():
    for bomb in (rle_frame(1 << 16), rle_frame(1 << 14, declared=1 << 31)):  # 8 GiB, and 2
        says = attempt(zst(HDF5) + bomb)
        assert re.search(
            r"unpacks to 4,\d\d\d,\d\d\d bytes or more, and 4,194,304 bytes were declared or are free", says
        )


@pytest.mark.parametrize("make", ["missing", "folder", "pipe"])
def test_no_archive(make, tmp_path):
    archive, folder = tmp_path / "a.tar.zst", tmp_path / "new"
    folder.mkdir()
    if make == "folder":
        archive.mkdir()
    if make == "pipe":
        os.mkfifo(archive)
    with pytest.raises(MissingError if make == "missing" else LewmError, match=r"a\.tar\.zst"):
        unpack(archive, folder, limit=LIMIT, advance=lambda count: None)


def external_link(file: h5py.File) -> None:
    file.create_group("deep/er")["pixels"] = h5py.ExternalLink("/etc/passwd", "/x")


def external_behind_soft(file: h5py.File) -> None:
    file["a"] = h5py.SoftLink("/b/x")
    file["b"] = h5py.ExternalLink("../victim", "/")


def external_storage(file: h5py.File) -> None:
    file.create_dataset("secret", (10,), "u1", external=[("/etc/passwd", 0, 10)])


def virtual_source(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((10,), "u1")
    layout[:5] = h5py.VirtualSource(".", "inner", (5,))
    layout[5:] = h5py.VirtualSource("/home/me/other.h5", "x", (5,))
    file.create_virtual_dataset("pixels", layout)


def dangling(file: h5py.File) -> None:
    file["nowhere"] = h5py.SoftLink("../../victim")


def going_round(file: h5py.File) -> None:
    file["a"] = h5py.SoftLink("/b")
    file["b"] = h5py.SoftLink("/a")


def many(file: h5py.File) -> None:
    for i in range(10_001):
        file[f"link{i}"] = file["action"]


REFERENCES = [
    (external_link, "takes 'deep/er/pixels' from the file '/etc/passwd'"),
    (external_behind_soft, "takes 'b' from the file '../victim'"),
    (external_storage, "keeps the values of 'secret' in the file '/etc/passwd'"),
    (virtual_source, "takes the values of 'pixels' from the file '/home/me/other.h5'"),
    (dangling, "link 'nowhere' that leads nowhere"),
    (going_round, "that leads nowhere"),
    (many, "more than 10,000 objects"),
]


@pytest.mark.parametrize(("fill", "says"), REFERENCES)
def test_recording_that_refers_to_another_file(fill, says):
    content = hdf5(fill)
    for archive in (content, zst(content), zst(tar(member(b"first", b"x"), member(b"x.h5", content)))):
        assert says in attempt(archive)


def test_recording_behind_other_bytes_is_found(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        external_storage(file)
    content = path.read_bytes()
    assert not any(content[:512])
    assert "keeps the values of 'secret'" in attempt(tar(member(b"x.txt", content)))


# Archives that are altered at random


def sound() -> dict[str, bytes]:
    """Whole archives of every kind, small ones."""
    rng = np.random.default_rng(0)
    noise = rng.bytes(3000)
    return {
        "tar": tar(
            member(b"a.h5", HDF5), extended((b"path", b"b/c")) + member(b"c", noise), long_name(b"d") + member(b"e")
        ),
        "tar.zst": zst(GOOD),
        "frames": zst(GOOD[:1000]) + skippable(b"x" * 50) + zst(GOOD[1000:], level=19),
        "no checksum": zstandard.ZstdCompressor().compress(GOOD),
        "zst": zst(HDF5),
        "HDF5": HDF5,
    }


SOUND = sound()


@pytest.mark.parametrize("case", [name for name in SOUND if name != "HDF5"])
@pytest.mark.parametrize("percent", [1, 20, 50, 80, 99])
def test_cut_short(case, percent):
    assert_cut_short_is_damage(case, percent)


@pytest.mark.soak
@pytest.mark.parametrize("case", [name for name in SOUND if name != "HDF5"])
def test_cut_short_anywhere(case):
    for percent in range(1, 100):
        assert_cut_short_is_damage(case, percent)


def assert_cut_short_is_damage(case: str, percent: int) -> None:
    content = SOUND[case]
    says = attempt(content[: len(content) * percent // 100])
    assert isinstance(says, str)
    assert re.search("ends within|no format known|not enough data|damaged HDF5", says)


headers = st.builds(
    header,
    st.sampled_from([b"a", b"b/c", b"A", b"../x", b"/x", b"./d", b"d/", b"e.lance/data/x"]) | st.binary(max_size=100),
    st.integers(0, 2000) | st.binary(max_size=12),
    st.sampled_from([b"0", b"\0", b"5", b"1", b"2", b"6", b"L", b"K", b"x", b"g", b"S"])
    | st.binary(min_size=1, max_size=1),
    magic=st.sampled_from([b"ustar\x0000", b"ustar  \0", b"\0" * 8]),
    prefix=st.just(b"") | st.binary(max_size=100),
)
blocks = st.one_of(
    headers,
    st.just(bytes(BLOCK)),
    st.binary(max_size=BLOCK).map(padded),
    st.tuples(st.sampled_from([b"path", b"size", b"comment"]), st.binary(max_size=40)).map(lambda pair: extended(pair)),
    st.builds(
        lambda head, flip: with_checksum(bytes(h ^ f for h, f in zip(head, flip, strict=True))),
        headers,
        st.lists(st.sampled_from([0] * 60 + [1, 128]), min_size=BLOCK, max_size=BLOCK).map(bytes),
    ),
)


def check_headers(parts: list[bytes], compressed: bool) -> None:
    content = b"".join(parts)
    attempt(zst(content) if compressed else content, limit=1 << 16)


TOLERANT = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.slow
@given(st.lists(blocks, max_size=8), st.booleans())
@settings(max_examples=60, **TOLERANT)
def test_random_headers(parts, compressed):
    check_headers(parts, compressed)


@pytest.mark.soak
@given(st.lists(blocks, max_size=12), st.booleans())
@settings(max_examples=3_000, **TOLERANT)
def test_random_headers_for_long(parts, compressed):
    check_headers(parts, compressed)


MEMORY = 1 << 29
"""Bytes that a child may take over what it has after its imports: the largest window, twice, and the buffers."""


def alter(content: bytes, choose: random.Random) -> bytes:
    """The same archive with a few bytes changed, removed, repeated or swapped."""
    altered = bytearray(content)
    for _ in range(choose.choice((1, 1, 1, 2, 5, 20))):
        at = choose.randrange(len(altered)) if choose.random() < 0.7 else choose.randrange(min(64, len(altered)))
        length = choose.choice((1, 4, 512))
        what = choose.randrange(5)
        if what == 0:
            altered[at] ^= 1 << choose.randrange(8)
        elif what == 1:
            altered[at] = choose.choice((0, 1, 127, 128, 255))
        elif what == 2 and len(altered) > length:
            del altered[at : at + length]
        elif what == 3:
            altered[at:at] = altered[at : at + length]
        else:
            altered[at:at] = choose.randbytes(length)
    if choose.random() < 0.3:  # so that the headers behind the checksum are read
        for start in range(0, len(altered) - BLOCK + 1, BLOCK):
            if altered[start + 257 : start + 262] == b"ustar":
                altered[start : start + BLOCK] = with_checksum(bytes(altered[start : start + BLOCK]))
    return bytes(altered)


def attempt_altered(case: str, first: int, last: int) -> None:
    """Unpack altered archives in this process, which is given little memory and a minute for each."""
    attempt(SOUND[case])
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    for seed in range(first, last):
        signal.alarm(60)
        print(seed, flush=True)
        attempt(alter(SOUND[case], random.Random(seed)))


def assert_altered_does_no_harm(case: str, first: int, last: int) -> None:
    program = f"import test_unpack_hostile as t; t.attempt_altered({case!r}, {first}, {last})"
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True)
    assert child.returncode == 0, f"seed {child.stdout.split()[-1:]}: {child.stderr[-2000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("case", SOUND)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_altered(case):
    assert_altered_does_no_harm(case, 0, 40)


@pytest.mark.soak
@pytest.mark.parametrize("case", SOUND)
def test_altered_for_long(case):
    assert_altered_does_no_harm(case, 40, 5000)
