"""Whatever an HDF5 file holds: it is read, or refused in one sentence, and memory stays bounded."""

import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lewm_cli.data import DecodedFrames, open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.report import dataset_tables, dataset_tree
from lewm_cli.store import dataset_task
from synthetic import write_recording

READ_WHOLE = 2**20
MEMORY = 2**26
"""Bytes that a file of a few kilobytes may take at most while it is looked at."""

ROWS = 24

NAMES = (
    *("pixels", "action", "ep_len", "ep_offset", "ep_idx", "episode_index", "step_idx", "episode_ends"),
    *("done", "is_last", "is_first", "terminals", "timeouts", "truncated", "actions", "observations", "proprio"),
    *("observation.images.top", "image", "meta/episode_ends", "data/demo_0/obs/image", "data/demo_0/actions"),
    *("observations/images/top", "episode_0/observations", "a/b/c/d"),
)

TYPES = (
    *("u1", "i1", ">u2", "<i4", "u8", "i8", "f2", ">f4", "f8", "c8", "?", "S7", "V5"),
    np.dtype([("x", "f4"), ("y", "i8")]),
    h5py.enum_dtype({"left": 0, "right": 1}, "i1"),
    h5py.vlen_dtype(np.uint8),
    h5py.vlen_dtype(np.float32),
    h5py.string_dtype(),
    h5py.ref_dtype,
    h5py.regionref_dtype,
    np.dtype((np.float32, (2, 2))),
)

SIDES = st.sampled_from([0, 1, 2, 3, 4, 8, 16, ROWS, ROWS, ROWS - 1, ROWS + 1])

Change = Callable[[h5py.File, str], None]
Draw = Callable[[st.SearchStrategy], object]


@st.composite
def numbers(draw: Draw) -> Change:
    """A data set with rows of any type and shape."""
    kind = np.dtype(draw(st.sampled_from(TYPES)))
    shape = tuple(draw(st.lists(SIDES, max_size=5)))
    seed, limit = draw(st.integers(0, 3)), draw(st.sampled_from([2, 4, 256, 2**31]))
    chunked = draw(st.booleans()) and 0 not in shape and len(shape) > 0
    while np.prod(shape) > 2**16:
        shape = shape[:-1]

    def change(file: h5py.File, name: str) -> None:
        stored = file.create_dataset(name, shape, kind, chunks=True if chunked else None)
        if kind.kind in "uif" and stored.size:
            values = np.random.default_rng(seed).integers(0, limit, shape)
            stored[...] = values if seed else np.sort(values, 0)

    return change


@st.composite
def vast(draw: Draw) -> Change:
    """A data set that claims more rows, or larger ones, than were ever written."""
    sides = draw(st.lists(st.sampled_from([3, ROWS, 2**20, 2**40]), min_size=1, max_size=4))
    kind, rows = draw(st.sampled_from(["u1", "f4", "i8"])), draw(st.sampled_from([ROWS, 2**20, 2**40]))

    def change(file: h5py.File, name: str) -> None:
        file.create_dataset(name, (rows, *sides[1:]), kind, chunks=(1,) * len(sides))

    return change


def constant(value: object) -> Change:
    return lambda file, name: file.__setitem__(name, value)


def virtual(file: h5py.File, name: str) -> None:
    layout = h5py.VirtualLayout((ROWS, 3), "f4")
    layout[:] = h5py.VirtualSource("gone.h5", "action", (ROWS, 3))
    file.create_virtual_dataset(name, layout)


def outside(file: h5py.File, name: str) -> None:
    file.create_dataset(name, (ROWS, 3), "f4", external=[("gone.raw", 0, ROWS * 12)])


LINKS = [
    h5py.SoftLink("/nowhere"),
    h5py.SoftLink("/pixels"),
    h5py.SoftLink("/"),
    h5py.ExternalLink("gone.h5", "/pixels"),
    h5py.ExternalLink(".", "/pixels"),
    h5py.Empty("f4"),
    np.dtype("f4"),
    np.float32(3),
    "text",
    np.array([b"\xff\xd8\xff no image"] * ROWS),
    np.array([b"1", b"2", b"nan"]),
    np.arange(ROWS),
    np.repeat([0, 1, 2], ROWS // 3),
    np.arange(ROWS) % 8 == 7,
]

CHANGES = st.one_of(
    numbers(),
    vast(),
    st.sampled_from([constant(value) for value in LINKS] + [virtual, outside]),
    st.just(lambda file, name: file.create_group(name)),
)

ATTRIBUTES = st.one_of(
    st.text(max_size=5).filter(lambda text: "\0" not in text),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.booleans(),
    st.binary(min_size=1, max_size=5).map(np.void),
    st.sampled_from(
        [
            *(h5py.Empty("S1"), np.bytes_("tworoom\0"), np.array(["a", "b"], object), np.zeros((2, 0))),
            *(np.array([b"pusht"]), np.array(["3"], object), np.zeros(3), np.complex64(1), np.array([[7]])),
            *(np.zeros(1, [("x", "f4")]), np.array(np.inf), np.float16(2), np.uint64(2**64 - 1)),
        ]
    ),
)

FILES = {
    "changes": st.dictionaries(st.sampled_from(NAMES), CHANGES, max_size=4),
    "removed": st.sampled_from(
        [(), (), ("ep_len",), ("ep_offset",), ("ep_len", "ep_offset"), ("pixels",), ("pixels", "ep_len", "ep_offset")]
    ),
    "attributes": st.dictionaries(st.sampled_from(["task", "seed", "policy"]), ATTRIBUTES),
}


@pytest.fixture(autouse=True)
def less_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Reads little whole, so that the test need not allocate what a machine could."""
    monkeypatch.setattr("lewm_cli.data.hdf5_file.READ_WHOLE", READ_WHOLE)
    tracemalloc.start()
    yield
    tracemalloc.stop()


@given(**FILES)
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_file_is_read_or_refused_in_a_sentence(changes: dict, removed: tuple[str, ...], attributes: dict):
    look_at(changes, removed, attributes)


@pytest.mark.soak
@given(**FILES)
@settings(max_examples=1_000, suppress_health_check=list(HealthCheck))
def test_many_files_are_read_or_refused_in_a_sentence(changes: dict, removed: tuple[str, ...], attributes: dict):
    look_at(changes, removed, attributes)


def look_at(changes: dict[str, Change], removed: tuple[str, ...], attributes: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_recording(Path(folder, "x.h5"), (8, 8, 8), size=8, columns=dict.fromkeys(removed))
        with h5py.File(path, "a") as file:
            for name, change in changes.items():
                if name in file:
                    del file[name]
                try:
                    change(file, name)
                except (ValueError, TypeError, OSError, KeyError, RuntimeError):  # what h5py does not write
                    continue
            for name, value in attributes.items():
                file.attrs[name] = value
        tracemalloc.reset_peak()
        try:
            dataset = open_dataset(path, "x")
        except LewmError as error:
            assert_sentence(error, path)
        else:
            dataset_task(dataset)
            for what in (lambda: dataset_tables(dataset), lambda: dataset_tree(dataset)):
                try:
                    what()
                except LewmError as error:
                    assert_sentence(error, path)
            for column in dataset.columns:
                try:
                    values = dataset.read(column.name, np.array([0, len(dataset.actions) - 1, 0]))
                    assert values.shape[1:] == column.shape, column
                    DecodedFrames(dataset, 4).rows(np.array([1, 2]))
                except LewmError as error:
                    assert_sentence(error, path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY


def assert_sentence(error: LewmError, path: Path) -> None:
    text = str(error)
    assert "\n" not in text
    assert len(text) < 900
    assert "Error" not in text
