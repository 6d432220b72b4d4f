"""Frames that are written one chunk each are those of any HDF5 reader, and a disk that fails costs none of them."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from lewm_cli.data.compression import fletcher32
from lewm_cli.data.frame_writer import Codec, Packing, encode, stored_packing, written_frames

FLETCHER32 = 3
every_codec = pytest.mark.parametrize("codec", Codec)


def frames_of(rows: int, size: int, colors: int = 4) -> np.ndarray:
    return np.random.default_rng(rows).integers(0, colors, (rows, size, size, 3), dtype=np.uint8)


def write(path: Path, frames: np.ndarray, codec: Codec, *, known: bool = True) -> None:
    with written_frames(path, len(frames) if known else None) as writer:
        for start in range(0, len(frames), 5):
            writer.append(encode(frames[start : start + 5], codec))
        writer.file["action"] = np.ones((len(frames), 2), np.float32)


@contextmanager
def files_end_at(count: int) -> Iterator[None]:
    """Lets no file get longer than so many bytes; writing more is an error, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@every_codec
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("size", "colors"), [(16, 4), (16, 256), (1, 256)])
def test_hdf5_reads_what_was_written(tmp_path: Path, codec: Codec, known: bool, size: int, colors: int):
    frames = frames_of(23, size, colors)
    write(tmp_path / "a.h5", frames, codec, known=known)
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.array_equal(file["pixels"], frames)
        assert file["pixels"].chunks == (1, size, size, 3)
        assert file["action"][()].sum() == 46
        assert stored_packing(file["pixels"]) == Packing(codec, size)


@every_codec
def test_chunks_are_as_hdf5_itself_would_pack_and_sum_them(tmp_path: Path, codec: Codec):
    frames = frames_of(9, 31)
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        made = {"chunks": (1, 31, 31, 3), "fletcher32": True, **codec.filter}
        pixels = file.create_dataset("pixels", data=frames, **made)
        pixels.flush()
        theirs = [pixels.id.read_direct_chunk((row, 0, 0, 0))[1] for row in range(9)]
    assert [fletcher32(chunk[:-4]) for chunk in theirs] == [int.from_bytes(chunk[-4:], "little") for chunk in theirs]
    if codec is Codec.ZSTD:
        assert list(encode(frames, codec).chunks) == theirs


@every_codec
def test_no_flipped_bit_passes(tmp_path: Path, codec: Codec):
    path, frames = tmp_path / "a.h5", frames_of(3, 8)
    write(path, frames, codec)
    with h5py.File(path) as file:
        place = file["pixels"].id.get_chunk_info_by_coord((1, 0, 0, 0))
    whole = path.read_bytes()
    for at in range(place.byte_offset, place.byte_offset + place.size):
        content = bytearray(whole)
        content[at] ^= 1
        path.write_bytes(content)
        with h5py.File(path) as file, pytest.raises(OSError):
            file["pixels"][1]


def test_what_is_not_packed_so_is_not_taken_for_it(tmp_path: Path):
    frames = frames_of(4, 8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, made in {
            "whole": {},
            "two": {"chunks": (2, 8, 8, 3), **Codec.LZ4.filter},
            "gzip": {"chunks": (1, 8, 8, 3), "compression": "gzip"},
            "part": {"chunks": (1, 4, 8, 3), **Codec.LZ4.filter},
            "shuffled": {"chunks": (1, 8, 8, 3), "shuffle": True, **Codec.LZ4.filter},
        }.items():
            assert stored_packing(file.create_dataset(name, data=frames, **made)) is None, name
        theirs = file.create_dataset("theirs", data=frames, chunks=(1, 8, 8, 3), **Codec.ZSTD.filter)
        assert stored_packing(theirs) == Packing(Codec.ZSTD, 8)


@pytest.mark.parametrize("known", [True, False])
def test_full_disk_at_any_byte_is_an_error_and_the_frames_before_it_are_taken_over(tmp_path: Path, known: bool):
    frames, path = frames_of(60, 8), tmp_path / "a.h5"
    write(tmp_path / "whole.h5", frames, Codec.LZ4, known=known)
    whole = (tmp_path / "whole.h5").read_bytes()
    rows = len(frames) if known else None
    for count in [*range(1, len(whole), 307), len(whole) - 1]:
        path.unlink(missing_ok=True)
        places = [np.empty((0, 2), np.int64)]

        def written(places: list = places) -> None:
            with files_end_at(count), written_frames(path, rows) as writer:  # noqa: B023  (called at once)
                for start in range(0, 60, 5):
                    places.append(writer.append(encode(frames[start : start + 5], Codec.LZ4)))  # noqa: PERF401
                writer.file["action"] = np.ones((60, 2), np.float32)

        with pytest.raises(OSError):
            written()
        left = np.concatenate(places)
        with written_frames(path, rows) as writer:
            for start in range(0, len(left), 5):
                assert writer.take_over(Codec.LZ4, 8, left[start : start + 5])
            for start in range(len(left), 60, 5):
                writer.append(encode(frames[start : start + 5], Codec.LZ4))
            writer.file["action"] = np.ones((60, 2), np.float32)
        assert path.read_bytes() == whole, count


def test_frames_in_other_places_are_not_taken_over(tmp_path: Path):
    write(tmp_path / "a.h5", frames_of(5, 8), Codec.LZ4)
    with written_frames(tmp_path / "a.h5", 5) as writer:
        assert not writer.take_over(Codec.LZ4, 8, np.array([[1000, 90]]))
        writer.append(encode(frames_of(4, 8), Codec.LZ4))
