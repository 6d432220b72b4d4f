"""`lewm pack` copies a recording frame by frame, whatever happens meanwhile, and the copy stands for it."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from commands import Done, ended, left_behind, lewm, lewm_here, running, wait_until
from faults import kill_points, killed_at_byte, killed_at_step
from lewm_cli.data import frame_writer, open_dataset, packed_copy, packing_of
from lewm_cli.doctor import State, disk
from lewm_cli.files import locked
from lewm_cli.flows import pack as packing
from lewm_cli.flows.pack import packing_advice
from lewm_cli.flows.training_request import task_recording
from lewm_cli.store import Home, weights_digest
from lewm_cli.store.origin import FetchedFile, Origin, dataset_origin
from lewm_cli.tasks import TWOROOM
from synthetic import write_recording

pytest_plugins = ("recordings",)

DATA, COPY = "robot/pick", "robot/pick-packed"
LENGTHS = (30, 24, 40)
ROWS, SIZE = 94, 8


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    columns = {"state": np.random.default_rng(0).normal(size=(ROWS, 2)).astype("<f8"), "label": np.arange(ROWS)}
    write_recording(home / f"{DATA}.h5", LENGTHS, size=SIZE, columns=columns, note="by hand", seed=4)
    return home


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames are packed ten at a time, and kept after twenty."""
    monkeypatch.setattr(packed_copy, "ROWS_AT_ONCE", 10)
    for place in (packed_copy, frame_writer):
        monkeypatch.setattr(place, "KEPT_ROWS", 20)


def pack(home: Path, *arguments: object, name: str = DATA) -> Done:
    return lewm_here(home, "pack", name, "--workers", 1, *arguments)


def packed(home: Path, *arguments: object, name: str = DATA) -> dict:
    done = pack(home, *arguments, "--json", name=name)
    assert done.code == 0, done.err
    return done.json()


def halves(home: Path) -> list[Path]:
    return list(home.rglob(".packing-*"))


# What is copied


@pytest.mark.parametrize("arguments", [(), ("--codec", "zstd"), ("--workers", 2)])
def test_copy_is_the_recording_frame_by_frame(home: Path, small_steps: None, arguments: tuple):
    made = packed(home, *arguments)
    assert (made["name"], made["rows"], made["there"]) == (COPY, ROWS, False)
    source, copy = (open_dataset(home / f"{name}.h5", name) for name in (DATA, COPY))
    assert copy.identity.fingerprint == source.identity.fingerprint
    found = packing_of(copy)
    assert found is not None
    codec = "zstd" if "zstd" in arguments else "lz4"
    assert (found.codec, found.size, found.source_name) == (codec, SIZE, "pick")
    assert found.source == source.identity.fingerprint
    assert packing_of(source) is None
    with source.opened() as one, copy.opened() as other:
        assert set(one) == set(other)
        assert dict(one.attrs) == dict(other.attrs)
        for name, item in one.items():
            assert item.dtype == other[name].dtype, name
            assert item[()].tobytes() == other[name][()].tobytes(), name
    assert halves(home) == left_behind(home) == []
    [verified] = lewm_here(home, "verify", COPY, "--json").json()["checked"]
    assert (verified["state"], verified["decoded"], verified["checksums"]) == ("ok", ROWS, True)
    assert verified["packed"]["codec"] == codec


def test_frames_are_made_smaller_by_areas(home: Path):
    made = packed(home, "--size", SIZE, "--name", "same")
    assert made["packing"]["size"] == SIZE
    write_recording(home / "large.h5", (5, 4), size=20)
    assert packed(home, "--size", 10, name="large")["name"] == "large-packed-10"
    frames = open_dataset(home / "large.h5", "large").read("pixels", slice(None))
    means = frames.reshape(9, 10, 2, 10, 2, 3).mean(axis=(2, 4))
    smaller = open_dataset(home / "large-packed-10.h5", "x").read("pixels", slice(None))
    assert np.abs(smaller - means).max() <= 0.75


def as_images(file: h5py.File, frames: np.ndarray) -> None:
    coded = [cv2.imencode(".png", frame[..., ::-1])[1].ravel() for frame in frames]
    file.create_dataset("pixels", (len(frames),), h5py.vlen_dtype(np.uint8))[:] = coded


def channels_first(file: h5py.File, frames: np.ndarray) -> None:
    file["pixels"] = np.moveaxis(frames, -1, 1)


def in_a_group(file: h5py.File, frames: np.ndarray) -> None:
    file["seen/front"] = frames.astype(np.float32) / 255
    file["seen/depth"] = np.ones((len(frames), 5))


def actions_between(file: h5py.File, frames: np.ndarray) -> None:
    file["pixels"] = frames
    file["actions"] = np.delete(file["action"][()], [29, 53, 93], axis=0)
    del file["action"]


def flags(file: h5py.File, frames: np.ndarray) -> None:
    file["pixels"] = frames
    del file["ep_len"], file["ep_offset"]
    file["done"] = np.isin(np.arange(ROWS), [29, 53, 93])


def in_other_files(file: h5py.File, frames: np.ndarray) -> None:
    beside = Path(file.filename).with_name("frames.bin")
    with h5py.File(beside, "w") as other:
        other["frames"], other["extra"] = frames, np.arange(len(frames))
    for name, inside in (("pixels", frames), ("extra", np.arange(len(frames)))):
        layout = h5py.VirtualLayout(inside.shape, inside.dtype)
        layout[:] = h5py.VirtualSource("frames.bin", "frames" if name == "pixels" else name, inside.shape)
        file.create_virtual_dataset(name, layout)


LAYOUTS = (as_images, channels_first, in_a_group, actions_between, flags, in_other_files)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_that_is_read_becomes_the_released_schema(home: Path, layout: Callable):
    path = home / f"{DATA}.h5"
    with h5py.File(path, "r+") as file:
        frames = file["pixels"][()]
        del file["pixels"]
        layout(file, frames)
    source = open_dataset(path, DATA)
    packed(home)
    for beside in home.rglob("frames.bin"):  # the copy needs no other file
        beside.unlink()
    copy = open_dataset(home / f"{COPY}.h5", COPY)
    assert copy.notes == ()
    assert np.array_equal(copy.read("pixels", slice(None)), frames)
    assert np.array_equal(copy.actions, source.actions, equal_nan=True)
    assert (copy.lengths.tolist(), copy.offsets.tolist()) == (source.lengths.tolist(), source.offsets.tolist())
    assert {column.name for column in copy.columns} >= {column.name for column in source.columns}
    with copy.opened() as file:
        assert ("seen/depth" in file) == (layout is in_a_group)
        assert "seen/front" not in file


def test_recording_by_path_is_packed_into_the_home(home: Path, tmp_path: Path):
    path = tmp_path / "elsewhere.h5"
    shutil.move(home / f"{DATA}.h5", path)
    assert packed(home, name=str(path))["path"] == str(home / "elsewhere-packed.h5")


# Replaced, or beside


def test_copy_replaces_the_recording_only_if_asked_to(home: Path, monkeypatch: pytest.MonkeyPatch):
    before = open_dataset(home / f"{DATA}.h5", DATA).identity
    flushed: list[tuple[str, bool]] = []

    def note(path: Path) -> None:
        flushed.append((path.name, packing_of(open_dataset(home / f"{DATA}.h5", DATA)) is not None))

    monkeypatch.setattr(packing, "sync", note)
    made = packed(home, "--replace")
    assert flushed == [("copy.h5", False), ("robot", True)]
    assert (made["name"], made["path"]) == (DATA, str(home / f"{DATA}.h5"))
    after = open_dataset(home / f"{DATA}.h5", DATA)
    assert after.identity == before
    assert packing_of(after) is not None
    again = packed(home, "--replace")
    assert again["there"]
    assert packed(home, "--replace", "--codec", "zstd")["packing"]["codec"] == "zstd"
    assert [entry["name"] for entry in lewm_here(home, "ls", "--json").json()["datasets"]] == [DATA]


def test_same_command_again_says_that_it_is_there(home: Path):
    packed(home)
    before = (home / f"{COPY}.h5").stat().st_mtime_ns
    done = pack(home)
    assert f"{COPY} is there already" in done.err
    assert (home / f"{COPY}.h5").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["robot/pck"], 1, "did you mean 'robot/pick'?"),
        ([DATA, "--size", 7], 2, "--size"),
        ([DATA, "--size", 9], 2, "--size can only make them smaller"),
        ([DATA, "--codec", "gzip"], 2, "value for '--codec': 'gzip' is not one of 'lz4', 'zstd'"),
        (
            [DATA, "--name", "a/tworoom"],
            2,
            "released dataset; choose another --name, like a/tworoom-own",
        ),
        ([DATA, "--name", "../a"], 2, "cannot name a dataset"),
        ([DATA, "--name", DATA], 1, "exists and is no such copy"),
        ([DATA, "--name", "x", "--replace"], 2, "leave out --name"),
        (["large", "--size", 10, "--replace"], 2, "would lose the frames of 20 pixels"),
        (["packed"], 1, "packed is packed already (lz4, 8 x 8, one frame per chunk)"),
        (["link", "--replace"], 1, "so it is not replaced"),
        (["damaged"], 1, "damaged.h5"),
    ],
)
def test_what_cannot_be_packed_is_refused(home: Path, arguments: list, code: int, said: str):
    write_recording(home / "large.h5", (5, 4), size=20)
    packed(home, "--name", "packed")
    (home / "link.h5").symlink_to(home / f"{DATA}.h5")
    (home / "damaged.h5").write_bytes((home / f"{DATA}.h5").read_bytes()[:-900])
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*.h5") if not path.is_symlink()}
    assert said in lewm_here(home, "pack", *arguments).sentence(code)
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*.h5") if not path.is_symlink()} == before
    assert halves(home) == []


def test_whole_copy_stands_for_its_source_and_a_smaller_one_for_nothing(tmp_path: Path):
    for number, name in enumerate(("tworoom", "tworoom/other")):
        write_recording(tmp_path / f"{name}.h5", dims=2, noise=number, task="tworoom")

    def chosen() -> str:
        return task_recording(Home(write=tmp_path, read=(tmp_path,)), TWOROOM, None).name

    assert chosen() == "tworoom"
    packed(tmp_path, "--size", 10, name="tworoom")
    assert chosen() == "tworoom"
    packed(tmp_path, name="tworoom")
    assert chosen() == "tworoom-packed"
    packed(tmp_path, name="tworoom/other")
    assert chosen() == "tworoom-packed"
    (tmp_path / "tworoom.h5").unlink()
    assert chosen() == "tworoom-packed"


# What comes between


def test_killed_pack_goes_on_where_it_was(home: Path, small_steps: None):
    packed(home)
    whole = (home / f"{COPY}.h5").read_bytes()
    went_on = set()
    for count in range(500, len(whole), 2503):
        (home / f"{COPY}.h5").unlink()
        assert killed_at_byte(count, lambda: pack(home)) == -signal.SIGXFSZ
        assert [entry["name"] for entry in lewm_here(home, "ls", "--json").json()["datasets"]] == [DATA]
        done = pack(home)
        assert done.code == 0, done.err
        went_on |= {line for line in done.err.splitlines() if line.startswith("going on at frame ")}
        assert (home / f"{COPY}.h5").read_bytes() == whole, count
        assert halves(home) == []
    assert {f"going on at frame {row} of {ROWS}" for row in (20, 40, 60, 80)} & went_on


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("replace", [True, False])
def test_pack_killed_around_any_step_never_leaves_a_broken_file(
    home: Path, small_steps: None, tmp_path: Path, every: int, replace: bool
):
    path = home / f"{DATA if replace else COPY}.h5"
    arguments = ["--replace"] if replace else []
    recorded = home / f"{DATA}.h5"
    arrived = FetchedFile(name=recorded.name, size=recorded.stat().st_size, sha256=weights_digest(recorded))
    origin = Origin(source="a hub", published=(arrived,), files=(arrived,), fetched="2026-11-01", version="1")
    origin.write(dataset_origin(recorded))
    shutil.copytree(home, tmp_path / "before")
    expected = open_dataset(home / f"{DATA}.h5", DATA).identity.fingerprint
    points = kill_points(path, lambda: pack(home, *arguments))
    assert len(points) >= 16
    for step, calls in points[::-every]:
        shutil.rmtree(home)
        shutil.copytree(tmp_path / "before", home)
        killed_at_step(step, calls, path, lambda: pack(home, *arguments))
        there = {entry["name"]: Path(entry["path"]) for entry in lewm_here(home, "ls", "--json").json()["datasets"]}
        assert {DATA} <= there.keys() <= {DATA, COPY}
        for name, file in there.items():
            assert open_dataset(file, name).identity.fingerprint == expected, (step, calls)
        # Its origin says of what is there what it is, at any moment.
        assert lewm_here(home, "verify", DATA).code == 0, (step, calls)
        done = pack(home, *arguments)
        assert done.code == 0, (step, calls, done.err)
        assert packing_of(open_dataset(path, "x")) is not None
        assert lewm_here(home, "verify", DATA).code == 0
        assert halves(home) == left_behind(home) == []


@pytest.mark.slow
def test_interrupted_pack_says_how_to_go_on(tmp_path: Path):
    write_recording(tmp_path / "long.h5", (40_000,), size=16)
    with running(tmp_path, "pack", "long") as process:
        wait_until(lambda: any(half.joinpath("places").exists() for half in halves(tmp_path)), process)
        process.send_signal(signal.SIGINT)
        done = ended(process)
    assert "what is packed so far is kept, and the same command goes on from there" in done.sentence(130)
    again = lewm(tmp_path, "pack", "long")
    assert again.code == 0, again.err
    assert "going on at frame " in again.err
    assert halves(tmp_path) == []


def half_packed(home: Path) -> None:
    """Leaves half a pack, of which the first 60 frames are kept."""
    packed(home)
    count = (home / f"{COPY}.h5").stat().st_size * 3 // 4
    (home / f"{COPY}.h5").unlink()
    assert killed_at_byte(count, lambda: pack(home)) == -signal.SIGXFSZ
    assert halves(home)


def test_half_a_pack_that_nobody_goes_on_with_is_named_until_it_goes(home: Path, small_steps: None):
    half_packed(home)
    [half] = halves(home)
    said = f"if it is not to: rm -r {half}"
    assert said in pack(home, "--name", "other").err
    with locked(home / f"{COPY}.h5", "busy"):  # somebody goes on with it
        assert said not in pack(home, "--name", "another").err
        assert list(disk.half_copies(home)) == []
    [found] = disk.half_copies(home)
    assert (found.state, str(half) in found.advice) == (State.WARNING, True)
    assert said not in pack(home).err
    assert halves(home) == list(disk.half_copies(home)) == []


def test_half_a_pack_goes_with_the_recording_that_it_would_have_replaced(home: Path, small_steps: None):
    assert killed_at_byte(5000, lambda: pack(home, "--replace")) == -signal.SIGXFSZ
    assert halves(home)
    assert lewm_here(home, "rm", DATA, "--yes").code == 0
    assert halves(home) == []


@pytest.mark.parametrize("change", ["recording", "codec", "size", "damage"])
def test_half_a_pack_of_something_else_is_thrown_away(home: Path, small_steps: None, change: str):
    half_packed(home)
    if change == "recording":
        write_recording(home / f"{DATA}.h5", LENGTHS, size=SIZE, noise=1)
    if change == "damage":
        halves(home)[0].joinpath("source.json").write_bytes(b"\xff\xfe")
    arguments = {"codec": ["--codec", "zstd"], "size": ["--size", 8]}.get(change, [])
    if change == "size":
        write_recording(home / f"{DATA}.h5", LENGTHS, size=12)
    done = pack(home, "--name", COPY, *arguments)
    assert done.code == 0, done.err
    assert "is of another recording or in another way" in done.err
    assert "going on" not in done.err
    assert lewm_here(home, "verify", COPY).code == 0


def test_half_a_pack_that_was_damaged_is_noticed(home: Path, small_steps: None):
    half_packed(home)
    [half] = halves(home)
    place = np.fromfile(half / "places", np.int64)[0]
    with (half / "copy.h5").open("r+b") as file:
        file.seek(place + 40)
        file.write(bytes(30))
    assert "one of the frames 0 to 9 of the copy is not that of" in pack(home).sentence()
    assert pack(home).code == 0
    assert lewm_here(home, "verify", COPY).code == 0


@pytest.mark.parametrize("quietly", [True, False])
def test_recording_that_changes_meanwhile_is_noticed(
    home: Path, small_steps: None, monkeypatch: pytest.MonkeyPatch, quietly: bool
):
    path = home / f"{DATA}.h5"
    compare = packed_copy.PackedCopy.compare

    def changing(*arguments: object) -> None:
        before = path.stat().st_mtime_ns
        with h5py.File(path, "r+") as file:
            file["pixels"][51] ^= 1
        if quietly:
            os.utime(path, ns=(before, before))
        compare(*arguments)

    monkeypatch.setattr(packed_copy.PackedCopy, "compare", changing)
    said = pack(home, "--replace").sentence()
    assert ("frame 51 of the copy is not that of" if quietly else "has changed while it was packed") in said
    assert "nothing was replaced: type the same again" in said
    assert halves(home) == []
    assert packing_of(open_dataset(path, DATA)) is None


def test_disk_without_room_is_refused_before_the_first_frame(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packing, "free_bytes", lambda folder: 1000)
    said = pack(home).sentence()
    assert "packing robot/pick needs about " in said
    assert "and 1,000 bytes are free" in said
    assert halves(home) == []


def test_full_disk_is_a_sentence_and_nothing_is_lost(small_disk, monkeypatch: pytest.MonkeyPatch, small_steps: None):
    home = small_disk("1m")
    write_recording(home / "a.h5", (60, 60), size=32)  # 370 kB, and noise cannot be packed
    filler = home / "filler"
    filler.write_bytes(bytes(400_000))
    monkeypatch.setattr(packing, "free_bytes", lambda folder: 10**9)
    assert "the disk is full" in pack(home, name="a").sentence()
    assert [entry["name"] for entry in lewm_here(home, "ls", "--json").json()["datasets"]] == ["a"]
    filler.unlink()
    done = pack(home, name="a")
    assert done.code == 0, done.err
    assert "going on at frame " in done.err
    assert lewm_here(home, "verify", "a-packed").code == 0


def test_second_pack_of_one_name_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch):
    inner: list[Done] = []
    left = packed_copy.PackedCopy.left

    def meanwhile(*arguments: object) -> object:
        if not inner:
            inner.append(lewm(home, "pack", DATA))
        return left(*arguments)

    monkeypatch.setattr(packed_copy.PackedCopy, "left", meanwhile)
    packed(home)
    assert "another process is packing pick-packed.h5" in inner[0].sentence()


# What others say of it


@pytest.mark.parametrize(
    ("device", "packs", "says"), [("cuda", False, True), ("cuda", True, False), ("cpu", False, False)]
)
def test_training_on_a_gpu_says_what_packing_would_bring(home: Path, device: str, packs: bool, says: bool):
    if packs:
        packed(home, "--replace")
    advice = packing_advice(open_dataset(home / f"{DATA}.h5", DATA), device)
    assert (advice is not None) == says
    if advice:
        assert advice.endswith(f"lewm pack {DATA} --replace")


@pytest.mark.parametrize("chunks", [(5, SIZE, SIZE, 3), None])
def test_verify_finds_frames_that_do_not_lie_as_they_claim(home: Path, chunks: tuple | None):
    packed(home, "--replace")
    with h5py.File(home / f"{DATA}.h5", "r+") as file:
        frames, attributes = file["pixels"][()], dict(file["pixels"].attrs)
        del file["pixels"]
        file.create_dataset("pixels", data=frames, chunks=chunks).attrs.update(attributes)
    [checked] = lewm_here(home, "verify", DATA, "--json").json()["checked"]
    [problem] = checked["problems"]
    assert (
        f"claim to be packed with lz4, one frame of 8 x 8 per chunk, and lie in chunks of {chunks}" in problem["says"]
    )
    arguments = problem["advice"].partition("lewm ")[2].split()
    assert lewm_here(home, *arguments).code == 0
    assert lewm_here(home, "verify", DATA).code == 0


def test_damaged_copy_is_packed_again_from_what_it_was_packed_from(home: Path):
    packed(home, "--codec", "zstd")
    with h5py.File(home / f"{COPY}.h5") as file:
        place = file["pixels"].id.get_chunk_info(9).byte_offset
    with (home / f"{COPY}.h5").open("r+b") as file:
        file.seek(place + 40)
        file.write(bytes(30))
    [checked] = lewm_here(home, "verify", COPY, "--json").json()["checked"]
    advice = checked["problems"][0]["advice"]
    assert advice.startswith("pack it again: lewm rm ")
    for typed in advice.partition(": ")[2].split(" && "):
        assert lewm_here(home, *typed.split()[1:], *["--yes"] * (" rm " in typed)).code == 0
    assert lewm_here(home, "verify", COPY).code == 0
