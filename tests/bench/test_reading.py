"""Files that reading is measured on hold the frames of the recording, and a page keeps the sections of others."""

from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
from test_results_page import generator

from lewm_cli.data import open_dataset
from synthetic import write_recording


@pytest.fixture(scope="module")
def reading() -> ModuleType:
    generator("results")
    return generator("reading")


@pytest.mark.parametrize(("layout", "chunk"), [("released", 100), ("packed", 1)])
def test_layouts_hold_the_same_frames(
    reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, chunk: int
):
    monkeypatch.setattr(reading, "ROWS", 500)
    recorded = write_recording(tmp_path / "recorded.h5", lengths=(130, 100), size=12)
    frames = open_dataset(recorded, "recorded").read("pixels", slice(0, 200))
    path = reading.write_layout(recorded, tmp_path / "written.h5", layout)
    written = open_dataset(path, "written")
    assert written.chunks.rows == chunk
    assert (written.rows, written.episodes) == (600, 6)
    with h5py.File(path) as file:
        assert np.array_equal(file["pixels"][()], np.tile(frames, (3, 1, 1, 1)))
    assert np.array_equal(written.read("pixels", np.array([599, 3])), frames[[199, 3]])
    clips = reading.ours(path, 2)
    assert next(clips).shape == (128, 4, 12, 12, 3)
    clips.close()


def test_section_of_a_page_is_replaced_and_others_stay(reading: ModuleType, tmp_path: Path):
    page = tmp_path / "performance.md"
    reading.write_section(page, "reading", "old")
    page.write_text(page.read_text() + "\n<!-- step -->\nother\n<!-- /step -->\n")
    reading.write_section(page, "reading", "new \\1")
    assert page.read_text() == (
        "# Performance\n\n<!-- reading -->\nnew \\1\n<!-- /reading -->\n\n<!-- step -->\nother\n<!-- /step -->\n"
    )
