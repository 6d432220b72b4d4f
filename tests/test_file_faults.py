"""Every call to the file system about our files fails once: nothing is lost, nothing half-done is left, and it is said.

The calls are those that Python makes; HDF5 and safetensors make their own.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from commands import left_behind, lewm_here
from faults import CODES, failing
from lewm_cli.data import open_dataset, packing_of, record, recording
from lewm_cli.errors import LewmError
from lewm_cli.exchange import recognized
from lewm_cli.exchange.source import Asked
from lewm_cli.files import write_text
from lewm_cli.flows.convert import convert_run
from lewm_cli.flows.import_recording import ImportRequest, import_recording
from lewm_cli.flows.pack import pack as pack_recording
from lewm_cli.flows.rm import plan_removals, remove_all
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.store import Home, RunFiles, load_run, save_derived, save_run, silent
from lewm_cli.store.conversion import Target
from lewm_cli.system_errors import explain
from lewm_cli.tasks import Episode, find_task
from lewm_cli.train import JsonLog
from lewm_cli.train.events import Warned
from synthetic import write_recording
from toy_source import open_toy, write_toy


@contextmanager
def unseen(label: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Shows no progress."""
    yield lambda done: None


RUN, DATA = "tworoom/lewm", "robot/pick"


@dataclass(frozen=True)
class Work:
    """Something that is done to a home.

    Args:
        begin: makes the home as it is before.
        do: does it.
        state: what the home holds then, as the next command finds it.
        again: it can be done once more where it is done already.
    """

    begin: Callable[[Home], object]
    do: Callable[[Home], object]
    state: Callable[[Home], object]
    again: bool = True


@pytest.fixture
def works(
    small_model: JEPA, small_card: Callable[[JEPA], RunCard], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> dict[str, Work]:
    card, older = small_card(small_model), JEPA(small_model.config, block_dim=10).eval()
    outside, task = write_recording(tmp_path / "outside.h5", (3, 4), size=8), find_task("tworoom")

    def files(home: Home) -> RunFiles:
        return RunFiles(home.write / RUN)

    def save_all(home: Home) -> None:
        save_run(files(home), small_model, card)
        save_derived(files(home), small_model, "lewm")
        write_text(files(home).config, "")

    def a_recording(home: Home) -> None:
        write_recording(home.write / f"{DATA}.h5", (30, 24), size=8)

    def weights(home: Home) -> object:
        tensors = load_run(home, RUN).model.state_dict().values() if home.run_is_taken(RUN) else ()
        return [float(tensor.double().sum()) for tensor in tensors]

    def data(home: Home) -> object:
        path = home.dataset_file(DATA)
        return open_dataset(path, DATA).identity if path else None

    def hub(home: Home) -> object:
        return {path.name: path.read_text()[:60] for path in sorted((home.write / "hub").glob("*.json"))}

    def old_hub(home: Home) -> None:
        save_all(home)
        convert_run(home, RUN, Target.HUB, output=home.write / "hub")
        (home.write / "hub/config.json").write_text("{}")

    def demonstrations(*_: object) -> Iterator[recording.Packed]:
        pixels = np.arange(5 * 8 * 8 * 3, dtype=np.uint8).reshape(5, 8, 8, 3)
        yield recording.packed(Episode(pixels, np.ones((5, 2), np.float32), {}))

    monkeypatch.setattr(recording, "_demonstrations", demonstrations)
    path = f"{DATA}.h5"
    settings = {"episodes": 1, "seed": 0, "workers": 1, "any_start": False, "vary_color": False}
    settings |= {"policy": next(iter(task.demonstrators)), "advance": lambda done: None}

    def pack_anew(home: Home) -> None:
        pack_recording(home, DATA, workers=1, say=silent, progress=unseen, replace=True)

    def packing(home: Home) -> object:
        found = open_dataset(home.write / f"{DATA}.h5", DATA)
        return found.identity, packing_of(found)

    monkeypatch.setattr(recognized, "OPENERS", (open_toy,))
    toy = write_toy(tmp_path / "toy", [{"frames": np.ones((4, 8, 8), np.uint8), "actions": np.ones((3, 2))}] * 2)

    def import_toy(home: Home) -> None:
        import_recording(home, ImportRequest(str(toy), Asked(), DATA), workers=1, say=silent, progress=unseen)

    def remove(home: Home) -> None:
        remove_all(home, plan_removals(home, [RUN], None), silent)

    def fetch(home: Home) -> None:
        done = lewm_here(home.write, "fetch", DATA, "--dataset", "--source", outside.as_uri(), "--force")
        if done.code:
            raise LewmError(done.sentence())

    return {
        "text": Work(
            lambda home: write_text(home.write / "a.json", "old"),
            lambda home: write_text(home.write / "a.json", "new"),
            lambda home: (home.write / "a.json").read_text(),
        ),
        "weights": Work(
            lambda home: save_run(files(home), older, card),
            lambda home: save_run(files(home), small_model, card),
            weights,
        ),
        "derived": Work(save_all, lambda home: save_derived(files(home), small_model, "lewm"), weights),
        "log": Work(
            lambda home: JsonLog(home.write / "log")(Warned(1, "old")),
            lambda home: JsonLog(home.write / "log")(Warned(2, "new")),
            lambda home: [json.loads(line)["step"] for line in (home.write / "log").read_text().splitlines()],
            again=False,
        ),
        "recording": Work(
            lambda home: None, lambda home: record(task, home.write / path, **settings), data, again=False
        ),
        "packed": Work(a_recording, pack_anew, packing),
        "imported": Work(lambda home: None, import_toy, data, again=False),
        "removal": Work(save_all, remove, weights, again=False),
        "hub": Work(
            old_hub, lambda home: convert_run(home, RUN, Target.HUB, output=home.write / "hub", overwrite=True), hub
        ),
        "fetched": Work(a_recording, fetch, data),
    }


def survive(work: Work, place: Path, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    """Lets each call fail, with one of every so many errors, and looks at what is left."""
    place.mkdir()
    monkeypatch.setenv("STABLEWM_HOME", str(place / "home"))
    home, copy = Home.locate(), place / "copy"
    home.write.mkdir()
    work.begin(home)
    before = work.state(home)
    shutil.copytree(home.write, copy)
    with failing(home.write, None) as calls:
        work.do(home)
    after = work.state(home)
    assert len(calls) > 3
    # Of many writes in a row the first and the last.
    edges = [number for number in range(len(calls)) if len({*calls[max(0, number - 1) : number + 2]}) > 1]
    for turn, number in enumerate(edges):
        for code in CODES[turn % every :: every]:
            if code == errno.ENOENT and calls[number] in ASKS:
                continue
            shutil.rmtree(home.write)
            shutil.copytree(copy, home.write)
            said = None
            with failing(home.write, number, code) as made:
                try:
                    work.do(home)
                except LewmError as error:
                    said = str(error)
                except OSError as error:
                    said = str(explain(error))
            case = f"call {number} ({made[number]}) fails: {os.strerror(code)}; said: {said}"
            assert not said or left_behind(home.write) == [], case
            found = work.state(home)
            assert found == after or (said and found == before), case
            if said:
                assert len(said) > 20, case
                assert "said no more" not in said, case
            if said and (work.again or found == before):
                work.do(home)
                assert work.state(home) == after, case


ASKS = ("open", "stat", "lstat", "listdir", "scandir", "unlink")
"""Calls that may say that something is not there, which is an answer and no fault."""

WORKS = ("text", "weights", "derived", "log", "recording", "packed", "imported", "removal", "hub", "fetched")


@pytest.mark.parametrize("name", WORKS)
def test_call_that_fails_costs_nothing(works, name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    slow = name in ("hub", "fetched", "packed", "imported")  # of these, every other call
    survive(works[name], tmp_path / "place", monkeypatch, every=len(CODES) * (1 + slow))


@pytest.mark.soak
@pytest.mark.parametrize("name", WORKS)
def test_no_call_that_fails_in_any_way_costs_anything(works, name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    survive(works[name], tmp_path / "place", monkeypatch, every=1)
