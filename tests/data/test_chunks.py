"""Frames that are read around HDF5 are those that HDF5 reads, and damage is a sentence."""

import multiprocessing
import pickle
import re
import struct
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commands import lewm_here
from lewm_cli.data import HDF5Dataset, open_dataset
from lewm_cli.data.chunks import READ_WHOLE, _within
from lewm_cli.data.compression import BLOSC, LZ4, WORDS, ZSTANDARD, DamagedError, UnknownFormatError, fletcher32
from lewm_cli.data.compression import CODECS as CUTS
from lewm_cli.errors import LewmError
from synthetic import write_recording

pytest_plugins = ("recordings",)

ROWS, SIZE = 60, 12

CODECS = {
    "none": {},
    "lz4": dict(hdf5plugin.LZ4()),
    "lz4 in blocks": dict(hdf5plugin.LZ4(nbytes=100)),
    "zstandard": dict(hdf5plugin.Zstd()),
    "blosc lz4": dict(hdf5plugin.Blosc("lz4", 5, hdf5plugin.Blosc.NOSHUFFLE)),
    "blosc lz4hc": dict(hdf5plugin.Blosc("lz4hc", 9, hdf5plugin.Blosc.SHUFFLE)),
    "blosc zstandard": dict(hdf5plugin.Blosc("zstd", 3, hdf5plugin.Blosc.NOSHUFFLE)),
    "blosc stored": dict(hdf5plugin.Blosc("lz4", 0, hdf5plugin.Blosc.NOSHUFFLE)),
}
LEFT_TO_HDF5 = {
    "blosc bits shuffled": dict(hdf5plugin.Blosc("lz4", 5, hdf5plugin.Blosc.BITSHUFFLE)),
    "blosclz": dict(hdf5plugin.Blosc("blosclz", 5, hdf5plugin.Blosc.NOSHUFFLE)),
    "gzip": {"compression": "gzip"},
    "lz4 of pieces of frames": {**hdf5plugin.LZ4(), "chunks": (1, 6, 12, 3)},
}


def frames_of(seed: int, size: int = SIZE) -> np.ndarray:
    """Random frames, every third of which is noise that no codec makes smaller, and the others nearly flat."""
    generator = np.random.default_rng(seed)
    frames = generator.integers(0, 256, (ROWS, size, size, 3), dtype=np.uint8)
    frames[np.arange(ROWS) % 3 > 0, 2:] = 7
    return frames


def write(
    path: Path, frames: np.ndarray, chunk: int = 1, *, written: slice = slice(None), **how: object
) -> HDF5Dataset:
    """Writes a recording of these frames; of the rest, HDF5 knows that it was never written."""
    write_recording(path, (len(frames) // 2, len(frames) - len(frames) // 2), columns={"pixels": None})
    with h5py.File(path, "a") as file:
        kind = {"chunks": (chunk, *frames.shape[1:]), "maxshape": (None, *frames.shape[1:]), **how}
        file.create_dataset("pixels", frames.shape, "u1", **kind)[written] = frames[written]
    return open_dataset(path, path.stem)


@given(
    seed=st.integers(0, 99),
    codec=st.sampled_from([*CODECS, *LEFT_TO_HDF5]),
    chunk=st.sampled_from([1, 1, 7, 100]),
    checked=st.booleans(),
    size=st.sampled_from([8, 9, 12, 40]),
    rows=st.lists(st.integers(0, ROWS - 1), max_size=30),
)
@settings(max_examples=100, deadline=None)
def test_frames_are_those_that_hdf5_reads(seed: int, codec: str, chunk: int, checked: bool, size: int, rows: list[int]):
    frames, how = frames_of(seed, size), CODECS.get(codec) or LEFT_TO_HDF5.get(codec, {})
    how = {**how, "chunks": (1, size // 2, size, 3)} if "chunks" in how else how
    with tempfile.TemporaryDirectory() as folder:
        stored = write(Path(folder, "x.h5"), frames, chunk, fletcher32=checked, **how)
        assert (stored.chunks is None) == (codec in ("gzip", "lz4 of pieces of frames"))
        for _ in range(2):  # the second time, checksums are known to be right
            wanted = np.array(rows, int)
            assert np.array_equal(stored.read("pixels", wanted), frames[wanted])
            with h5py.File(stored.path) as file:
                assert np.array_equal(stored.read("pixels", wanted), file["pixels"][()][wanted])
        assert np.array_equal(stored.read("pixels", slice(3, None, 2)), frames[3::2])


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "none"])
@pytest.mark.parametrize("chunk", [1, 16])
def test_known_codecs_are_read_around_hdf5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, chunk: int):
    frames = frames_of(0)
    stored = write(tmp_path / "x.h5", frames, chunk, **CODECS[codec])
    assert stored.chunks is not None
    monkeypatch.setattr(h5py, "File", None)
    rows = np.array([59, 0, 17, 17, 16])
    assert np.array_equal(stored.read("pixels", rows), frames[rows])


def test_chunk_that_a_filter_skipped(tmp_path: Path):
    frames = frames_of(0)
    stored = write(tmp_path / "x.h5", frames, fletcher32=True, **CODECS["lz4"])
    with h5py.File(stored.path, "a") as file:
        row = frames[4].tobytes()
        for number, skipped in ((4, 0b11), (5, 0b01)):
            row = frames[number].tobytes()
            behind = b"" if skipped & 0b10 else fletcher32(row).to_bytes(4, "little")
            file["pixels"].id.write_direct_chunk((number, 0, 0, 0), row + behind, skipped)
        assert np.array_equal(file["pixels"][()], frames)
    assert np.array_equal(open_dataset(stored.path, "x").read("pixels", np.arange(ROWS)), frames)


def test_frame_that_was_never_written_is_what_hdf5_gives_for_it(tmp_path: Path):
    frames = frames_of(0)
    stored = write(tmp_path / "x.h5", frames, written=slice(0, 50), fillvalue=9, **CODECS["zstandard"])
    found = np.zeros((6, SIZE, SIZE, 6), np.uint8)
    for into in (found[:3, ..., :3], np.ascontiguousarray(found[3:, ..., :3])):  # with gaps in memory, and without
        stored.read_frames(np.array([3, 55, 49]), into)
        assert (into[1] == 9).all()
        assert np.array_equal(into[[0, 2]], frames[[3, 49]])


def test_user_block_is_left_to_hdf5(tmp_path: Path):
    frames = frames_of(0)
    write(tmp_path / "x.h5", frames, **CODECS["lz4"])
    with h5py.File(tmp_path / "x.h5") as old, h5py.File(tmp_path / "y.h5", "w", userblock_size=512) as new:
        for name in old:
            old.copy(name, new)
    stored = open_dataset(tmp_path / "y.h5", "y")
    assert stored.chunks is None
    assert np.array_equal(stored.read("pixels", np.array([3, 2])), frames[[3, 2]])


@given(
    st.binary(max_size=999),
    st.sampled_from([1, 99, 2 * WORDS, 2 * WORDS + 3, 9 * WORDS]),
    st.sampled_from([b"", b"\0", b"\xff", b"\xff\xfe\x01"]),
)
@settings(max_examples=50, deadline=None)
def test_checksum_is_the_one_of_hdf5(content: bytes, times: int, end: bytes):
    stored = np.frombuffer(content * (times // (len(content) + 1)) + content + end + b"x", np.uint8)
    with h5py.File.in_memory() as file:
        kept = file.create_dataset("x", data=stored, chunks=stored.shape, fletcher32=True)
        assert kept.id.read_direct_chunk((0,))[1][-4:] == fletcher32(stored.tobytes()).to_bytes(4, "little")


@pytest.mark.parametrize("content", [b"\0", b"\xff\xff", b"\xff\xff\0", b"\0\0\xff\xff", b"\xff\xfe\0\1" * 3])
def test_sums_that_only_seem_to_be_zero(content: bytes):
    with h5py.File.in_memory() as file:
        stored = np.frombuffer(content, np.uint8)
        kept = file.create_dataset("x", data=stored, chunks=stored.shape, fletcher32=True)
        assert kept.id.read_direct_chunk((0,))[1][-4:] == fletcher32(content).to_bytes(4, "little")


@pytest.mark.parametrize("codec", ["none", "blosc lz4"])
def test_checksum_of_a_large_chunk_is_compared_once(tmp_path: Path, codec: str):
    stored = write(tmp_path / "x.h5", frames_of(0, 64), 30, fletcher32=True, **CODECS[codec])
    with h5py.File(stored.path) as file:
        place = file["pixels"].id.get_chunk_info(1)
    assert place.size > READ_WHOLE
    before = open_dataset(stored.path, "x")
    assert before.read("pixels", np.array([45])).any()
    with stored.path.open("r+b") as file:
        file.seek(place.byte_offset + place.size - 1)  # of the checksum
        last = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([last ^ 1]))
    assert before.read("pixels", np.array([45])).any()
    with pytest.raises(LewmError, match="its checksum is that of other bytes"):
        open_dataset(stored.path, "x").read("pixels", np.array([45]))


def spoil(blob: bytes, how: str) -> bytes:
    """Damages a chunk, of the size that it had but for what is cut."""
    noise = np.random.default_rng(0).bytes(len(blob))
    return {
        "noise": noise,
        "noise behind the header": blob[:16] + noise[16:],
        "ones": b"\xff" * len(blob),
        "one byte": b"\0",
        "cut": blob[: len(blob) // 2],
        "cut header": blob[:7],
        "another size": struct.pack(">QII", 2**40, 2**20, 2**20) + blob[16:],
        "a bit flipped": blob[:40] + bytes([blob[40] ^ 1]) + blob[41:],
    }[how]


@pytest.mark.parametrize("codec", ["lz4", "lz4 in blocks", "zstandard", "blosc lz4", "blosc zstandard"])
@pytest.mark.parametrize(
    "how",
    ["noise", "noise behind the header", "ones", "one byte", "cut", "cut header", "another size", "a bit flipped"],
)
@pytest.mark.parametrize("checked", [True, False])
def test_damage_is_a_sentence(tmp_path: Path, codec: str, how: str, checked: bool):
    stored = write(tmp_path / "x.h5", frames_of(0), fletcher32=checked, **CODECS[codec])
    with h5py.File(stored.path, "a") as file:
        pixels = file["pixels"].id
        blob = pixels.read_direct_chunk((4, 0, 0, 0))[1]
        pixels.write_direct_chunk((4, 0, 0, 0), spoil(blob, how))
    damaged = open_dataset(stored.path, "x")
    if not checked and (how == "a bit flipped" or (codec.startswith("blosc") and how in ("noise", "ones"))):
        return  # nothing says what it should be, or the header is that of a codec that is left to HDF5
    with pytest.raises(LewmError, match=r"x.h5 cannot be read as HDF5: it is damaged \(.*\); fetch or record it again"):
        damaged.read("pixels", np.array([3, 4]))
    assert np.array_equal(damaged.read("pixels", np.array([3, 5])), frames_of(0)[[3, 5]])


@pytest.mark.parametrize(
    ("how", "place"),
    [
        (CODECS["lz4"], "pixels in rows 28 to 34, step 28 of episode 0 to step 4 of episode 1: "),
        (LEFT_TO_HDF5["gzip"], "pixels in row 29, step 29 of episode 0: "),
    ],
)
def test_damage_is_named_with_its_rows_and_episodes(tmp_path: Path, how: dict[str, object], place: str):
    stored = write(tmp_path / "x.h5", frames_of(0), chunk=7, **how)
    with h5py.File(stored.path, "a") as file:
        file["pixels"].id.write_direct_chunk((28, 0, 0, 0), bytes(100))
    damaged = open_dataset(stored.path, "x")
    with pytest.raises(LewmError, match=re.escape(f"it is damaged ({place}")):
        damaged.read("pixels", np.array([3, 29]))
    assert np.array_equal(damaged.read("pixels", np.array([27, 35])), frames_of(0)[[27, 35]])


def test_places_outside_of_episodes_are_named_as_that(tmp_path: Path):
    path = write_recording(tmp_path / "x.h5", (10, 10))
    with h5py.File(path, "a") as file:
        file["ep_len"][:], file["ep_offset"][:] = (4, 5), (12, 2)
    stored = open_dataset(path, "x")
    assert stored.place(0, 2) == "rows 0 to 1 of no episode"
    assert stored.place(1, 3) == "rows 1 to 2, step 0 of episode 1"
    assert stored.place(6, 14) == "rows 6 to 13, step 4 of episode 1 to step 1 of episode 0"


@given(
    codec=st.sampled_from(["lz4", "lz4 in blocks", "zstandard", "blosc lz4", "blosc zstandard"]),
    changes=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=6),
    kept=st.integers(0, 400),
    header=st.sampled_from([b"", b"\x28\xb5\x2f\xfd\xe0" + (2**40).to_bytes(8, "little")]),
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_decoded_or_damaged(codec: str, changes: list[tuple[int, int]], kept: int, header: bytes):
    """Also where a header claims more than any memory holds."""
    frame = frames_of(0)[1]
    with h5py.File.in_memory() as file:
        made = file.create_dataset("x", data=frame[None], chunks=(1, *frame.shape), **CODECS[codec])
        blob = bytearray(made.id.read_direct_chunk((0, 0, 0, 0))[1])
    for place, value in changes:
        blob[place % len(blob)] = value
    stored = (header + bytes(blob))[: max(kept, len(header))]
    number = {"l": LZ4, "z": ZSTANDARD, "b": BLOSC}[codec[0]]
    read = partial(_within, stored)
    try:
        blocks = CUTS[number](read, len(stored), frame.nbytes)
        content = b"".join(blocks.block(place) for place in range(len(blocks.places)))
    except (DamagedError, UnknownFormatError):
        return
    assert len(content) == frame.nbytes


@pytest.mark.parametrize("place", [0, 2**62, 2**63, 2**64 - 1])
def test_place_that_no_file_has_is_a_sentence_or_what_hdf5_gives(tmp_path: Path, place: int):
    path, frames = tmp_path / "x.h5", frames_of(0)
    write(path, frames, **CODECS["lz4"])  # in the oldest format, whose indexes have no checksums
    with h5py.File(path) as file:
        there = file["pixels"].id.get_chunk_info(4).byte_offset.to_bytes(8, "little")
    content = path.read_bytes()
    assert content.count(there) == 1
    path.write_bytes(content.replace(there, place.to_bytes(8, "little")))
    damaged = open_dataset(path, "x")
    try:
        with h5py.File(path) as file:
            expected = file["pixels"][3:6]
    except OSError:
        with pytest.raises(LewmError, match=r"x.h5 cannot be read as HDF5: it is damaged"):
            damaged.read("pixels", np.array([3, 4, 5]))
    else:
        assert np.array_equal(damaged.read("pixels", np.array([3, 4, 5])), expected)


@pytest.mark.parametrize("codec", ["none", "lz4", "blosc lz4"])
@pytest.mark.parametrize("chunk", [1, 30])  # of which only parts are read
@pytest.mark.parametrize("kept", [0, 5, 30])
def test_file_cut_while_it_is_open_is_a_sentence(tmp_path: Path, codec: str, chunk: int, kept: int):
    stored = write(tmp_path / "x.h5", frames_of(0, 64), chunk, **CODECS[codec])
    assert stored.read("pixels", np.array([59])).any()
    with stored.path.open("r+b") as file:
        file.truncate(int(stored.chunks.places[-1]) + kept)
    with pytest.raises(LewmError, match=r"cannot be read as HDF5: .* cut short|ends too early"):
        stored.read("pixels", np.array([59]))


def test_threads_and_processes_read_side_by_side(tmp_path: Path):
    frames = frames_of(0)
    stored = write(tmp_path / "x.h5", frames, fletcher32=True, **CODECS["zstandard"])
    parts = [np.random.default_rng(seed).integers(0, ROWS, 40) for seed in range(20)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda rows: stored.read("pixels", rows), parts))
    assert all(np.array_equal(part, frames[rows]) for part, rows in zip(found, parts, strict=True))
    again = pickle.loads(pickle.dumps(stored))
    assert np.array_equal(again.read("pixels", parts[0]), frames[parts[0]])
    for how in ("fork", "spawn"):
        with multiprocessing.get_context(how).Pool(2) as processes:
            read = processes.starmap(stored.read, [("pixels", rows) for rows in parts])
        assert all(np.array_equal(part, frames[rows]) for part, rows in zip(read, parts, strict=True))


def test_training_on_damaged_chunks_is_refused_in_a_sentence(tmp_path: Path, tiny: Path):
    path = tmp_path / "damaged.h5"
    write(path, frames_of(0, 20), fletcher32=True, **CODECS["lz4"])
    with h5py.File(path, "a") as file:
        file["pixels"].id.write_direct_chunk((31, 0, 0, 0), bytes(100))
    for chosen in ((), ("data.in_memory=false", "data.workers=2")):
        options = [word for setting in chosen for word in ("--set", setting)]
        said = lewm_here(tmp_path, "train", "damaged", "--config", tiny, *options).sentence()
        assert said.startswith(f"lewm: {path} cannot be read as HDF5: it is damaged (pixels in row 31, ")
