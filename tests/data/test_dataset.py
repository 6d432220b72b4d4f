"""Recordings in HDF5 and other formats; those that are cut short or damaged are refused in a sentence."""

import multiprocessing
from pathlib import Path

import h5py
import numpy as np
import pytest

from commands import lewm_here
from lewm_cli.data import Dataset, DecodedFrames, MemoryFrames, open_dataset
from lewm_cli.errors import LewmError
from synthetic import write_recording

pytest_plugins = ("recordings",)


class ReadWhole(Dataset):
    """A second format, which reads every column whole."""

    def read(self, name: str, rows: np.ndarray | slice) -> np.ndarray:
        stored = open_dataset(self.path, self.name)
        return stored.read(name, slice(None))[rows]


def read_whole(stored: Dataset) -> ReadWhole:
    facts = (stored.lengths, stored.offsets, stored.columns, stored.task, stored.policy, stored.seed)
    return ReadWhole(stored.path, stored.name, *facts)


def test_format_is_one_class_that_reads_columns(tmp_path: Path):
    stored = open_dataset(write_recording(tmp_path / "stored.h5"), "stored")
    other, rows = read_whole(stored), np.array([40, 3, 3, 173])
    assert other.identity == stored.identity
    assert other.episode_digests == stored.episode_digests
    frames = DecodedFrames(stored, 16).rows(rows)
    assert np.array_equal(DecodedFrames(other, 16).rows(rows), frames)
    assert np.array_equal(MemoryFrames.of(DecodedFrames(other, 16), 174, lambda done: None).rows(rows), frames)


@pytest.mark.parametrize("chunks", [None, (7, 20, 20, 3), (500, 20, 20, 3)])
def test_rows_come_in_the_order_asked_for(tmp_path: Path, chunks: tuple[int, ...] | None):
    frames = np.random.default_rng(0).integers(256, size=(600, 20, 20, 3), dtype=np.uint8)
    path = write_recording(tmp_path / "stored.h5", lengths=(600,), columns={"pixels": None})
    with h5py.File(path, "a") as file:
        file.create_dataset("pixels", data=frames, chunks=chunks)
    stored = open_dataset(path, "stored")
    for rows in (np.array([599, 0, 7, 6, 7, 300]), np.arange(600), np.array([], int), slice(3, 9)):
        assert np.array_equal(stored.read("pixels", rows), frames[rows])
    with pytest.raises(LewmError, match="has no column 'depth'"):
        stored.read("depth", slice(None))


ROWS = 60


FOREIGN = {
    "without pixels": {"columns": {"pixels": None}},
    "without actions": {"columns": {"action": None}},
    "without episodes": {"columns": {"ep_len": None, "ep_offset": None}},
    "pixels around zero": {"columns": {"pixels": np.linspace(-1, 1, ROWS * 1200).reshape(ROWS, 20, 20, 3)}},
    "pixels of 16 bits": {"columns": {"pixels": np.full((ROWS, 20, 20, 3), 300, np.uint16)}},
    "two channels": {"columns": {"pixels": np.zeros((ROWS, 20, 20, 2), np.uint8)}},
    "two cameras": {"columns": {"pixels": np.zeros((ROWS, 2, 20, 20, 3), np.uint8)}},
    "no images": {"columns": {"pixels": np.array([b"no image"] * ROWS)}},
    "oblong pixels": {"columns": {"pixels": np.zeros((ROWS, 20, 24, 3), np.uint8)}},
    "frames of no size": {"columns": {"pixels": np.zeros((ROWS, 0, 0, 3), np.uint8)}},
    "fewer frames than rows": {"columns": {"pixels": np.zeros((ROWS - 1, 20, 20, 3), np.uint8)}},
    "complex actions": {"columns": {"action": np.zeros((ROWS, 3), complex)}},
    "actions of two arms": {"columns": {"action": np.zeros((ROWS, 2, 3), np.float32)}},
    "one action for all": {"columns": {"action": np.float32(3)}},
    "actions of no dimension": {"columns": {"action": np.zeros((ROWS, 0), np.float32)}},
    "no finite action": {"columns": {"action": np.full((ROWS, 3), np.nan, np.float32)}},
    "infinite actions": {"columns": {"action": np.full((ROWS, 3), np.inf, np.float32)}},
    "no episodes": {"lengths": ()},
    "episodes too short": {"lengths": (1,) * 56},
    "one episode": {"lengths": (ROWS,)},
    "overlapping episodes": {"columns": {"ep_offset": np.array([0, 10])}},
    "episodes beyond the end": {"columns": {"ep_len": np.array([30, 31])}},
    "negative offset": {"columns": {"ep_offset": np.array([-30, 0])}},
    "an empty episode": {"columns": {"ep_len": np.array([0, 60])}},
    "lengths without offsets": {"columns": {"ep_offset": np.array([0])}},
    "lengths in words": {"columns": {"ep_len": np.array([b"thirty", b"thirty"])}},
    "one length for all": {"columns": {"ep_len": np.array(30)}},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_recording_is_refused_in_a_sentence(tmp_path: Path, tiny: Path, kind: str):
    write_recording(tmp_path / "foreign.h5", **({"lengths": (30, 30)} | FOREIGN[kind]))
    lewm_here(tmp_path, "train", "foreign", "--config", tiny).sentence()
    assert list(tmp_path.rglob("*.safetensors")) == []
    listed = lewm_here(tmp_path, "ls", "--json")
    assert listed.code == 0, listed.err
    assert [entry["name"] for entry in listed.json()["datasets"]] == ["foreign"]


def test_foreign_attributes_do_no_harm(tmp_path: Path):
    write_recording(tmp_path / "odd.h5", task=5, seed="none", policy=np.zeros(3))
    listed = lewm_here(tmp_path, "ls", "--json")
    assert listed.code == 0, listed.err
    assert [entry["name"] for entry in listed.json()["datasets"]] == ["odd"]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_recording_is_refused_in_a_sentence(tmp_path: Path, tiny: Path, share: float):
    path = write_recording(tmp_path / "cut.h5")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "cannot be read as HDF5" in lewm_here(tmp_path, "train", "cut", "--config", tiny).sentence()


def test_other_format_is_refused_in_a_sentence(tmp_path: Path):
    (tmp_path / "video.h5").write_bytes(b"RIFF" + bytes(4096))
    assert "cannot be read as HDF5" in lewm_here(tmp_path, "train", "video").sentence()


@pytest.mark.parametrize("settings", [(), ("data.in_memory=false",), ("data.in_memory=false", "data.workers=1")])
def test_damaged_frames_are_refused_in_a_sentence(tmp_path: Path, tiny: Path, settings: tuple[str, ...]):
    path = write_recording(tmp_path / "damaged.h5", columns={"pixels": None})
    with h5py.File(path, "a") as file:
        frames = np.random.default_rng(0).integers(0, 9, (174, 20, 20, 3), dtype=np.uint8)
        pixels = file.create_dataset("pixels", data=frames, chunks=(10, 20, 20, 3), compression="gzip")
        where = pixels.id.get_chunk_info(6)
    with path.open("r+b") as file:
        file.seek(where.byte_offset)
        file.write(bytes(where.size))
    options = [word for setting in settings for word in ("--set", setting)]
    said = lewm_here(tmp_path, "train", "damaged", "--config", tiny, *options).sentence()
    assert said.startswith(f"lewm: {path} cannot be read as HDF5")
    assert multiprocessing.active_children() == []  # Python would wait for them


def test_order_of_bytes_does_not_make_other_episodes(tmp_path: Path):
    """Else a run would be measured on what it was trained on, as if it had never seen it."""
    proprio = np.random.default_rng(0).normal(size=(174, 4))
    here, there = (
        open_dataset(write_recording(tmp_path / f"{order}.h5", columns={"proprio": proprio.astype(kind)}), order)
        for order, kind in (("little", "<f8"), ("big", ">f8"))
    )
    assert here.episode_digests == there.episode_digests
