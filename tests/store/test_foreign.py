"""Checkpoints of other tools go by name in every layout and every command, or a sentence says why not."""

import json
import os
import pickle
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import torch
from safetensors.torch import save_file

import lewm_cli
from commands import flat, lewm, lewm_here
from families import AROUND_LEWM
from lewm_cli.config import ActionStats, ModelConfig
from lewm_cli.data import open_dataset
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.store import Home, RunFiles, StoredStatistics, read_card, save_derived, save_run
from lewm_cli.store.formats import read_checkpoint
from synthetic import write_recording

pytest_plugins = ("recordings",)

FIXTURES = Path(__file__).parents[1] / "fixtures" / "checkpoints"
STATE, OBJECT = "tf4_weight.ckpt", "jepa_tf4_object.ckpt"
HUB = "checkpoints/models--quentinll--lewm-pusht"

LAYOUTS = {
    "pusht/lejepa_object.ckpt": (OBJECT, "pusht/lejepa"),
    "checkpoints/pusht/lejepa_object.ckpt": ("swm_tf5_object.ckpt", "pusht/lejepa"),
    "checkpoints/pusht/lejepa_weight.ckpt": (STATE, "pusht/lejepa"),
    "pusht/lejepa_weights.ckpt": ("tf5_weight.ckpt", "pusht/lejepa"),
    "pusht/best.pt": ("jepa_tf5_legacy.ckpt", "pusht/best"),
    "dmc/reacher/best.ckpt": ("lightning_tf4.ckpt", "dmc/reacher/best"),
    "pusht/lejepa/weights.pt": (STATE, "pusht/lejepa"),
    "checkpoints/run/weights_epoch_3.pt": ("tf5_weight.ckpt", "run"),
    f"{HUB}/weights.pt": (STATE, "quentinll/lewm-pusht"),
    f"{HUB}/snapshots/22b330c/weights.pt": (STATE, "quentinll/lewm-pusht"),
    f"{HUB}/snapshots/22b330c/other.ckpt": (OBJECT, "quentinll/lewm-pusht"),
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def place(home: Path, where: str, fixture: str = STATE) -> Path:
    """Put a checkpoint into a home, with its config.json if it is a state dict."""
    path = home / where
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(FIXTURES / fixture, path)
    if "object" not in fixture and "legacy" not in fixture:
        shutil.copy(FIXTURES / "config.json", path.parent)
    return path


def record(home: Path, name: str = "tworoom/demos", **options: Any) -> Path:
    return write_recording(home / f"{name}.h5", **({"dims": 2, "size": 16, "task": "tworoom"} | options))


def refused(home: Path, *arguments: object, code: int = 1) -> str:
    return lewm_here(home, *arguments).sentence(code)


def shown(home: Path, *arguments: object) -> dict[str, Any]:
    done = lewm_here(home, "show", *arguments, "--json")
    assert done.code == 0, done.err
    return done.json()


def listed(home: Path) -> dict[str, dict[str, Any]]:
    return {run["name"]: run for run in lewm_here(home, "ls", "--json").json()["runs"]}


# Paths in place of names


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("HOME/own/good.safetensors", "own/good"),
        ("HOME/own/good_object.ckpt", "own/good"),
        ("HOME/own/good", "own/good"),
        ("own/good.safetensors", "own/good"),
        ("./own/good.safetensors", "own/good"),
        ("own/good.run/", "own/good"),
        ("own//good.run/results", "own/good"),
        ("../home/own/good.safetensors", "own/good"),
        ("own\\good.safetensors", "own/good"),
        (".\\own\\good", "own/good"),
        ("~/link/own/good.safetensors", "own/good"),
        ("HOME/f/a/weights.pt", "f/a"),
        ("f/a/", "f/a"),
        ("f/e/weights_epoch_7.pt", "f/e@7"),
        ("~/copy.pt", "f/b"),
        ("checkpoints/u/c.pt", "u/c"),
        ("checkpoints/models--u--r/snapshots/1/weights.pt", "u/r"),
        ("f/sh/model-00002-of-00002.bin", "f/sh/model"),
        ("f/sh/model.bin.index.json", "f/sh/model"),
    ],
)
@pytest.mark.parametrize("here", ["home", "home/own", "."])
def test_a_run_is_found_by_the_path_of_its_file(
    home: Path, small_model: JEPA, small_card, monkeypatch, typed: str, name: str, here: str
):
    """From the home, a folder in it and one around it; through links; with the folder of another name."""
    save_run(RunFiles(home / "own" / "good"), small_model, small_card(small_model))
    (home / "own" / "good.run").mkdir()
    for place in ("f/a/weights.pt", "f/e/weights_epoch_7.pt", "f/b.pt", "checkpoints/u/c.pt"):
        (home / place).parent.mkdir(parents=True, exist_ok=True)
        (home / place).touch()
    for place in (
        "checkpoints/models--u--r/snapshots/1/weights.pt",
        *(f"f/sh/model-0000{n}-of-00002.bin" for n in "12"),
    ):
        (home / place).parent.mkdir(parents=True, exist_ok=True)
        (home / place).touch()
    (home / "f" / "sh" / "model.bin.index.json").touch()
    (home.parent / "user").mkdir()
    (home.parent / "user" / "link").symlink_to(home)
    (home.parent / "user" / "copy.pt").symlink_to(home / "f" / "b.pt")
    monkeypatch.setenv("HOME", str(home.parent / "user"))
    monkeypatch.chdir(home.parent / here)
    if here != "home" and typed.startswith(".."):
        pytest.skip("leads there from the home only")
    found = Home(home, (home,)).find_run(typed.replace("HOME", str(home)))
    assert found.name == name
    with pytest.raises(MissingError, match="did you mean 'own/good'"):  # a folder of our runs is none
        Home(home, (home,)).find_run(f"{home}/own/")


@pytest.mark.parametrize("typed", ["down loads/weights.pt", "down loads/", "DIR/down loads/weights.pt", "down loads"])
def test_weights_outside_of_the_home_come_in_by_the_command_that_is_said(home: Path, monkeypatch, typed: str):
    folder = place(home.parent, "down loads/weights.pt").parent
    home.mkdir()
    monkeypatch.chdir(home.parent)
    said = refused(home, "show", typed.replace("DIR", str(home.parent)))
    assert "lies outside the home" in said
    before, _, show = said.partition("type: ")[2].rpartition(" && ")
    subprocess.run(before, shell=True, check=True)
    assert sorted(path.name for path in home.rglob("*.*")) == sorted(path.name for path in folder.iterdir())
    assert shown(home, *shlex.split(show)[2:])["tensors"] > 9
    if "/" in typed:
        assert "lies outside" in refused(home, "eval", typed.replace("DIR", str(home.parent)))


@pytest.mark.parametrize(
    "typed", ["/nowhere/own/good.safetensors", "~/x.pt", "C:\\runs\\x.pt", "../x.ckpt", "./a/", f"/{5000 * 'x'}"]
)
def test_a_path_that_leads_nowhere_is_said(home: Path, typed: str, monkeypatch):
    home.mkdir()
    monkeypatch.chdir(home)
    for command in (("show",), ("eval",), ("report",)):
        said = refused(home, *command, typed)
        assert "there is no " in said
        assert "'/" not in said.replace(repr(typed), "").partition(" under ")[0]


@pytest.mark.parametrize("name", ["epoch=3-step=400.ckpt", "my run.bin", "läuft.pth", "a.b.pkl"])
def test_names_of_other_tools_are_names(home: Path, name: str):
    where = f"lightning_logs/version_0/checkpoints/{name}"
    path = place(home, where)
    for typed in (where.rpartition(".")[0], where, path):
        assert shown(home, typed)["path"] == str(path)
    assert list(listed(home)) == [where.rpartition(".")[0]]
    assert lewm_here(home, "verify", path).code == 0


# Several models in one file


def test_one_of_several_models_has_a_name(home: Path, monkeypatch):
    home.mkdir()
    monkeypatch.chdir(home.parent)
    path = place(home, "a/run.pt")
    state = torch.load(path, weights_only=True)
    shifted = {key: value + 1 if value.is_floating_point() else value for key, value in state.items()}
    torch.save({"model": state, "ema": shifted, "epoch": 3}, path)
    record(home)
    said = refused(home, "show", "a/run")
    assert "it holds 2 models that differ, model and ema; choose one by its name: a/run@model or a/run@ema" in said
    assert "a/run@model" in flat(lewm_here(home, "verify", "a/run").out)
    for word, expected in (("model", state), ("ema", shifted)):
        found = shown(home, f"a/run@{word}", "--stats-from", "tworoom/demos")
        assert (found["name"], found["path"]) == (f"a/run@{word}", str(path))
        assert f"taken out of {word}; left out: " in found["source"]
        model = lewm_cli.load(f"a/run@{word}", cache_dir=home).model.state_dict()
        assert torch.equal(model["projector.net.0.bias"], expected["projector.net.0.bias"])
        done = lewm_here(home, "surprise", "tworoom/demos", "--run", f"a/run@{word}")
        assert done.code == 0, done.err
        assert lewm_here(home, "verify", f"a/run@{word}").code == 0
        assert list((home / "a" / f"run@{word}.run" / "results").glob("surprise-*.json"))
    for typed in (path, f"{home.name}/a/run", "a/run.pt"):
        assert shown(home, f"{typed}@ema")["name"] == "a/run@ema"
    assert "it holds no emma; there is model, ema" in refused(home, "show", "a/run@emma")
    assert "type its name without @ema" in refused(home, "rm", "a/run@ema", "--yes")
    place(home, "a/run@other.pt")  # a run of its own
    (home / "a" / "run@other.run").mkdir()
    assert lewm_here(home, "rm", "a/run", "--yes").code == 0
    assert {path.name for path in (home / "a").iterdir()} == {"config.json", "run@other.pt", "run@other.run"}


@pytest.mark.parametrize("typed", ["home/a/run", "./home/a/run", "home/a/run.pt", "home/a", "a/run"])
def test_a_path_may_look_like_a_name(home: Path, typed: str, monkeypatch):
    place(home, "a/run.pt")
    monkeypatch.chdir(home.parent)
    assert shown(home, typed)["name"] == "a/run"
    assert lewm_here(home, "verify", typed).code == 0


def test_nothing_waits_for_a_pipe(home: Path):
    place(home, "a/run.pt")
    for name in ("own.safetensors", "other.pt", "recording.h5"):
        os.mkfifo(home / name)
    assert list(listed(home)) == ["a/run"]
    for name in ("own", "other", "own.safetensors"):
        assert "there is no " in refused(home, "show", name)
    for name in ("recording", home / "recording.h5"):
        assert "it is a pipe" in refused(home, "show", name)
    assert lewm_here(home, "verify").code == 0


def test_our_own_runs_are_one_model(home: Path, small_model: JEPA, small_card):
    save_run(RunFiles(home / "tworoom" / "lewm"), small_model, small_card(small_model))
    assert "tworoom/lewm is one model, which lewm trained; type 'tworoom/lewm'" in refused(
        home, "show", "tworoom/lewm@ema"
    )


def test_shards_are_one_run(home: Path):
    state = list(torch.load(FIXTURES / STATE, weights_only=True).items())
    folder = place(home, "f/other.pt").with_name("sh")
    folder.mkdir()
    shutil.copy(FIXTURES / "config.json", folder)
    names = [f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2)]
    for n, name in enumerate(names):
        torch.save(dict(state[n::2]), folder / name)
    index = {"weight_map": {key: names[n % 2] for n, (key, _) in enumerate(state)}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    found = shown(home, "f/sh")
    assert (found["name"], found["source"]) == (
        "f/sh/pytorch_model",
        "2 shards (transformers 4 names, config.json)",
    )
    run = listed(home)["f/sh/pytorch_model"]
    assert run["bytes"] == sum((folder / name).stat().st_size for name in names)
    record(home)
    assert lewm_here(home, "show", "f/sh", "--stats-from", "tworoom/demos").code == 0
    assert shown(home, "f/sh")["card"] is not None
    torch.save({key: value + 1 for key, value in state[1::2]}, folder / names[1])
    assert shown(home, "f/sh")["card"] is None  # other weights
    assert lewm_here(home, "rm", "f/sh/pytorch_model", "--yes").code == 0
    assert remaining(home) == {"f/other.pt", "f/config.json", "f/sh/config.json", "tworoom/demos.h5"}


# Files that stand in the place of others


@pytest.mark.parametrize("where", ["a/run.pt", "a/run.safetensors", "a/run_object.ckpt", "a/run/weights.pt"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "a Git LFS pointer in place of"),
        (b"<!DOCTYPE html><title>Sign in</title>", "a web page"),
        (b"", "an empty file; fetch or copy it again"),
        (bytes(2000), "a file of zeros"),
        (b'{"error": "Repository not found"}', 'begins with \'{"error": "Repository not found"}\''),
        (b"<?xml version='1.0'?><Error/>", "an XML message"),
        (b"PK\x03\x04" + bytes(200), "a zip archive, not weights; unpack it first"),
        (b"\x89HDF\r\n\x1a\n" + bytes(200), "an HDF5 file, not weights"),
    ],
)
def test_what_stands_in_place_of_weights_is_said(home: Path, where: str, content: bytes, said: str):
    place(home, where).write_bytes(content)
    for command in (("show",), ("eval",)):
        assert said in refused(home, *command, "a/run")
    lewm_here(home, "ls")


def test_endings_may_be_exchanged(home: Path):
    shutil.copy(FIXTURES / STATE, place(home, "a/one.safetensors"))
    state = torch.load(FIXTURES / STATE, weights_only=True)
    save_file({key: value.contiguous() for key, value in state.items()}, place(home, "a/two.pt"))
    assert shown(home, "a/one")["source"].startswith("state dict")
    assert shown(home, "a/two")["source"].startswith("safetensors")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "config.json is a Git LFS pointer"),
        (b"<html>", "config.json is a web page"),
        (b"", "config.json is no JSON: it is an empty file"),
        (b"Entry not found", "begins with 'Entry not found'"),
    ],
)
def test_what_stands_in_place_of_sizes_is_said(home: Path, content: bytes, said: str):
    config = place(home, "a/run.pt").with_name("config.json")
    mark = "utf-16" if said.endswith("page") else "utf-8-sig"
    config.write_text(config.read_text(), encoding=mark)
    assert shown(home, "a/run")["tensors"] > 9
    config.write_bytes(content)
    assert said in refused(home, "show", "a/run")


# Names and layouts


@pytest.mark.slow
@pytest.mark.parametrize("where", LAYOUTS)
def test_every_layout_loads_by_name(home: Path, where: str):
    fixture, name = LAYOUTS[where]
    path = place(home, where, fixture)
    expected = read_checkpoint(path)
    model = lewm_cli.AutoCostModel(name, cache_dir=home)
    assert not model.training
    assert all(torch.equal(value, expected.state[key]) for key, value in model.state_dict().items())
    found = shown(home, name)
    assert (found["name"], found["path"], found["tensors"]) == (name, str(path), len(expected.state))
    assert (found["source"], found["card"]) == (expected.source, None)
    (run,) = listed(home).values()
    assert (run["name"], run["path"], run["problem"], run["needs_statistics"]) == (name, str(path), None, True)
    done = lewm_here(home, "verify", name)
    assert done.code == 0, done.err
    assert f"{len(expected.state)}/{len(expected.state)} tensors" in flat(done.out)


def test_folder_with_one_file_is_that_file(home: Path):
    place(home, "solo/anything.pt")
    assert shown(home, "solo")["name"] == "solo/anything"
    assert "solo: solo/anything is what goes by this name here" in lewm_here(home, "show", "solo").err
    assert list(listed(home)) == ["solo/anything"]


def test_foreign_safetensors_are_read(home: Path):
    (home / "a").mkdir(parents=True)
    state = torch.load(FIXTURES / STATE, weights_only=True)
    save_file({key: value.contiguous() for key, value in state.items()}, home / "a" / "run.safetensors")
    shutil.copy(FIXTURES / "config.json", home / "a")
    assert shown(home, "a/run")["source"] == "safetensors (transformers 4 names, config.json)"


def test_epochs_have_numbers(home: Path):
    for epoch in (9, 10, 2):
        place(home, f"checkpoints/run/weights_epoch_{epoch}.pt")
    assert shown(home, "run")["path"].endswith("weights_epoch_10.pt")
    assert shown(home, "run@2")["path"].endswith("weights_epoch_2.pt")
    assert shown(home, "run@2")["name"] == "run@2"
    assert list(listed(home)) == ["run"]
    assert "there is no run@3 in " in (said := refused(home, "show", "run@3"))
    assert "there is run@2, run@9, run@10" in said
    assert shown(home, "run/weights_epoch_9.pt")["name"] == "run@9"


def test_one_file_and_our_own_runs_have_no_numbers(home: Path, small_model: JEPA, small_card):
    place(home, "pusht/lejepa_weight.ckpt")
    assert "pusht/lejepa is one file, without a number" in refused(home, "eval", "pusht/lejepa@3")
    save_run(RunFiles(home / "tworoom" / "lewm"), small_model, small_card(small_model))
    assert "lewm keeps only the last state of its own runs; type 'tworoom/lewm'" in refused(
        home, "eval", "tworoom/lewm@3"
    )
    record(home)
    said = refused(home, "train", "tworoom", "--preset", "small", "--name", "tworoom/a@3", code=2)
    assert "choose a --name without @" in said


def test_newest_snapshot_of_a_cache_is_taken(home: Path):
    for age, revision in enumerate(("new", "old")):
        folder = place(home, f"{HUB}/snapshots/{revision}/weights.pt").parent
        os.utime(folder, (1e9 - age, 1e9 - age))
    assert "/snapshots/new/" in shown(home, "quentinll/lewm-pusht")["path"]


def test_own_weights_win_over_everything_of_their_name(home: Path, small_model: JEPA, small_card):
    files = RunFiles(home / "tworoom" / "lewm")
    save_run(files, small_model, small_card(small_model))
    save_derived(files, small_model, "lewm")
    for where in ("tworoom/lewm.pt", "tworoom/lewm/weights.pt"):
        place(home, where)
    assert shown(home, "tworoom/lewm")["path"] == str(files.weights)
    assert list(listed(home)) == ["tworoom/lewm"]


def test_object_stands_for_its_state_dict_too(home: Path):
    path = place(home, "a/run_object.ckpt", OBJECT)
    place(home, "a/run_weight.ckpt")
    assert shown(home, "a/run")["path"] == str(path)


@pytest.mark.parametrize(
    "places",
    [
        ("run/weights.pt", "run/other.pt"),
        ("run/one.pt", "run/two.ckpt"),
        ("run.pt", "run_weight.ckpt"),
        ("run_weight.ckpt", "run_weights.ckpt"),
        ("run.pt", "run/weights.pt"),
        ("run/weights.pt", "run/weights_epoch_1.pt"),
    ],
)
def test_several_checkpoints_of_one_name_are_named(home: Path, places: tuple[str, ...]):
    for where in places:
        place(home, where)
    said = refused(home, "show", "run")
    assert all(where in said for where in places)
    named = places == ("run/one.pt", "run/two.ckpt")
    advice = "type 'run/one' or 'run/two'" if named else "leave only one of them there"
    assert f"different checkpoints; {advice}" in said
    if "run" in listed(home):
        assert "different checkpoints" in listed(home)["run"]["problem"]
        assert "different checkpoints" in refused(home, "rm", "run", "--yes")
        assert lewm_here(home, "verify", "run").code == 1


@pytest.mark.slow
def test_released_weights_have_three_names(home: Path, small_model: JEPA, small_card):
    place(home, "tworoom/lejepa_object.ckpt", OBJECT)
    for name in ("tworoom/lewm-release", "tworoom/lewm"):
        assert shown(home, name)["name"] == "tworoom/lejepa"
        assert f"{name}: tworoom/lejepa is what goes by this name here" in lewm_here(home, "show", name).err
    place(home, "tworoom/lewm-release_object.ckpt", OBJECT)
    assert shown(home, "tworoom/lewm")["name"] == "tworoom/lewm-release"
    assert shown(home, "tworoom/lejepa")["name"] == "tworoom/lejepa"
    save_run(RunFiles(home / "tworoom" / "lewm"), small_model, small_card(small_model))
    assert shown(home, "tworoom/lewm")["source"] is None


def test_release_of_another_method_goes_by_the_name_of_the_method(home: Path, small_model: JEPA, small_card):
    place(home, "pusht/pldm-release_object.ckpt", OBJECT)
    found = shown(home, "pusht/pldm")
    assert (found["name"], found["method"]) == ("pusht/pldm-release", "pldm")
    for name in ("pusht/lewm", "pusht/lejepa", "pusht/pldm-2", "pusht/pldm-release-release"):
        assert f"there is no run or dataset '{name}'; " in refused(home, "show", name)
    assert "did you mean 'pusht/pldm-release'?" in refused(home, "rm", "pusht/pldm", "--yes")
    save_run(RunFiles(home / "pusht" / "pldm"), small_model, small_card(small_model, "pldm"))
    assert shown(home, "pusht/pldm")["source"] is None
    assert {name: run["method"] for name, run in listed(home).items()} == {
        "pusht/pldm": "pldm",
        "pusht/pldm-release": "pldm",
    }


def test_runs_of_every_method_live_in_one_home(home: Path, small_model: JEPA, small_card):
    for method in AROUND_LEWM:
        save_run(RunFiles(home / "tworoom" / method), small_model, small_card(small_model, method))
    assert {name: run["method"] for name, run in listed(home).items()} == {
        f"tworoom/{name}": name for name in AROUND_LEWM
    }
    table = flat(lewm_here(home, "ls").out)
    for method in AROUND_LEWM:
        run = lewm_cli.load(f"tworoom/{method}", cache_dir=home)
        assert (run.method, run.card.method) == (method, method)
        assert shown(home, f"tworoom/{method}")["method"] == method
        assert f" by {method}" in table
    assert "tworoom/inverse" in refused(home, "show", "tworoom/invers")


@pytest.mark.parametrize("name", ["pusht/lejep", "pusht/lejeap", "psht/lejepa"])
def test_near_misses_are_offered(home: Path, name: str):
    place(home, "pusht/lejepa_object.ckpt", OBJECT)
    place(home, "pusht/other_object.ckpt", OBJECT)
    assert "did you mean 'pusht/lejepa'?" in refused(home, "eval", name)


def test_folder_of_our_runs_is_no_run(home: Path, small_model: JEPA, small_card):
    save_run(RunFiles(home / "tworoom" / "lewm"), small_model, small_card(small_model))
    place(home, "tworoom/other.pt")
    assert "did you mean one of tworoom/lewm, tworoom/other?" in refused(home, "eval", "tworoom")


def test_other_homes_are_read_and_the_own_one_is_written(home: Path, tmp_path: Path, monkeypatch):
    path = place(home, "tworoom/lejepa/weights.pt")
    record(home)
    own = tmp_path / "own"
    monkeypatch.setattr("lewm_cli.store.home.os.access", lambda place, mode: Path(place).is_relative_to(own))
    before = sorted(home.rglob("*"))
    found = shown(home, "tworoom/lejepa", "--stats-from", "tworoom/demos", "--home", own)
    assert found["path"] == str(path)
    assert (own / "tworoom" / "lejepa.stats.json").exists()
    assert shown(home, "tworoom/lejepa", "--home", own)["card"] is not None
    done = lewm_here(home, "surprise", "tworoom/demos", "--run", "tworoom/lejepa", "--home", own)
    assert done.code == 0, done.err
    assert list((own / "tworoom" / "lejepa.run" / "results").glob("surprise-*.json"))
    assert sorted(home.rglob("*")) == before
    assert "outside the home that takes the writes" in refused(home, "rm", "tworoom/lejepa", "--yes", "--home", own)


# Statistics


@pytest.mark.slow
def test_statistics_are_computed_once_and_stored(home: Path):
    path = place(home, "tworoom/run_object.ckpt", OBJECT)
    recording = record(home)
    said = refused(home, "surprise", "tworoom/demos", "--run", "tworoom/run")
    assert "lewm show tworoom/run --stats-from DATASET" in said
    with pytest.raises(LewmError, match="--stats-from"):
        lewm_cli.load("tworoom/run", cache_dir=home)
    run = lewm_cli.load("tworoom/run", cache_dir=home, stats_from=Path("tworoom/demos"))
    dataset = open_dataset(recording, "tworoom/demos")
    assert run.card.inputs.actions == ActionStats.fit(dataset.actions)
    assert (run.card.inputs.task, run.card.inputs.frameskip) == ("tworoom", 2)
    assert (run.card.provenance, run.card.statistics_from) == (None, dataset.identity)
    stored = StoredStatistics.model_validate_json((home / "tworoom" / "run.stats.json").read_text())
    assert (stored.inputs, stored.weights_sha256) == (run.card.inputs, run.sha256)
    assert lewm_cli.load("tworoom/run", cache_dir=home).card == run.card
    assert shown(home, "tworoom/run")["card"]["statistics_from"]["name"] == "tworoom/demos"
    entry = listed(home)["tworoom/run"]
    assert (entry["task"], entry["needs_statistics"]) == ("tworoom", False)
    assert "elsewhere" in flat(lewm_here(home, "ls").out)
    assert "of tworoom/demos: 174 rows" in flat(lewm_here(home, "show", "tworoom/run").out)

    shutil.copy(FIXTURES / "swm_tf4_object.ckpt", path)  # other weights
    assert "--stats-from" in refused(home, "surprise", "tworoom/demos", "--run", "tworoom/run")
    assert "of earlier weights" in flat(lewm_here(home, "verify", "tworoom/run").out)
    (home / "tworoom" / "run.stats.json").write_text("{")
    assert "holds no statistics that can be read" in refused(home, "surprise", "tworoom/demos", "--run", "tworoom/run")
    assert lewm_here(home, "verify", "tworoom/run").code == 1
    assert not lewm_cli.AutoCostModel("tworoom/run", cache_dir=home).training  # needs none
    assert shown(home, "tworoom/run", "--stats-from", "tworoom/demos")["card"] is not None
    assert shown(home, "tworoom/run")["card"] is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tworoom/lejepa", "tworooms/best", "quentinll/lewm-tworooms"])
def test_released_recording_of_the_task_is_used_and_named(home: Path, name: str):
    where = "checkpoints/models--quentinll--lewm-tworooms/weights.pt" if "quentinll" in name else f"{name}.pt"
    place(home, where)
    released = write_recording(home / "tworoom.h5", dims=2, size=16)
    done = lewm_here(home, "surprise", "tworoom", "--run", name)
    assert done.code == 0, done.err
    assert f"statistics: computed from tworoom ({released})" in done.err
    assert "tensors from " in done.err
    assert "(state dict (transformers 4 names, config.json))" in done.err
    assert "computed" not in lewm_here(home, "surprise", "tworoom", "--run", name).err


def test_task_is_that_of_the_recording_else_that_of_the_name(home: Path):
    place(home, "tworoom/run.pt")
    place(home, "robot/run.pt")
    write_recording(home / "arm.h5", dims=2, size=16)
    assert shown(home, "tworoom/run", "--stats-from", "arm")["card"]["inputs"]["task"] == "tworoom"
    assert shown(home, "robot/run", "--stats-from", "arm")["card"]["inputs"]["task"] == "generic"
    write_recording(home / "wide.h5", dims=3, size=16)
    said = refused(home, "show", "robot/run", "--stats-from", "wide")
    assert "takes 4 numbers per action block, which is no whole number of the 3 action dimensions of wide" in said
    assert "there is no dataset 'nowhere'" in refused(home, "show", "robot/run", "--stats-from", "nowhere")


def test_own_run_takes_no_other_statistics(home: Path, small_model: JEPA, small_card):
    save_run(RunFiles(home / "tworoom" / "lewm"), small_model, small_card(small_model))
    record(home)
    for command in (("show",), ("eval",), ("probe",), ("surprise", "tworoom/demos", "--run")):
        said = refused(home, *command, "tworoom/lewm", "--stats-from", "tworoom/demos", code=2)
        assert "tworoom/lewm carries its own statistics" in said


@pytest.mark.slow
def test_surprise_chooses_own_runs_then_others_that_can_be_fed_then_the_release(home: Path, small_model, small_card):
    def chosen() -> str:
        done = lewm_here(home, "surprise", "tworoom/demos")
        assert done.code == 0, done.err
        return next(line for line in done.err.splitlines() if line.startswith("run: "))

    record(home, size=64)
    said = refused(home, "surprise", "tworoom/demos")
    assert "there is no run yet" in said
    place(home, "tworoom/lejepa.pt")
    place(home, "pusht/lejepa.pt")
    assert "no run fits tworoom/demos" in refused(home, "surprise", "tworoom/demos")
    write_recording(home / "tworoom.h5", dims=2, size=16)
    assert chosen() == "run: tworoom/lejepa, the released weights of tworoom (--run chooses another)"
    path = place(home, "mine/best_object.ckpt", OBJECT)
    os.utime(path, (1e9, 1e9))
    assert lewm_here(home, "show", "mine/best", "--stats-from", "tworoom/demos").code == 0
    (home / "tworoom" / "lejepa.stats.json").unlink()
    assert chosen() == "run: mine/best, the newest run of tworoom that another tool made (--run chooses another)"
    shutil.copy(FIXTURES / "swm_tf4_object.ckpt", path)  # other weights: what is stored is not theirs
    assert chosen() == "run: tworoom/lejepa, the released weights of tworoom (--run chooses another)"
    files = RunFiles(home / "tworoom" / "old")
    save_run(files, small_model, small_card(small_model))
    os.utime(files.weights, (1e8, 1e8))
    assert chosen() == "run: tworoom/old, the newest run of tworoom (--run chooses another)"


# Sizes


def elsewhere(home: Path, tree: Any) -> Path:
    """A configuration that lies beside no weights."""
    path = home.parent / "sizes.json"
    path.write_text(tree if isinstance(tree, str) else json.dumps(tree))
    return path


WRITTEN = json.loads((FIXTURES / "config.json").read_text())


@pytest.mark.slow
def test_sizes_may_lie_elsewhere(home: Path, tmp_path: Path):
    path = place(home, "a/run.pt")
    expected = read_checkpoint(path)
    (home / "a" / "config.json").unlink()
    record(home)
    assert "put its config.json beside the weights, or name it: --config FILE" in refused(home, "show", "a/run")
    sizes = elsewhere(home, WRITTEN)
    found = shown(home, "a/run", "--config", sizes)
    assert found["source"] == "state dict (transformers 4 names, sizes.json)"
    for model in (
        lewm_cli.AutoCostModel("a/run", cache_dir=home, config=sizes),
        lewm_cli.load("a/run", cache_dir=home, stats_from="tworoom/demos", config=str(sizes)).model,
    ):
        assert all(torch.equal(value, expected.state[key]) for key, value in model.state_dict().items())
    # What was stored knows the statistics and no sizes.
    surprise = ("surprise", "tworoom/demos", "--run", "a/run")
    assert "--config FILE" in refused(home, *surprise)
    done = lewm_here(home, *surprise, "--config", sizes)
    assert done.code == 0, done.err
    copied = tmp_path / "run.safetensors"
    done = lewm_here(home, "convert", "a/run", "--to", "safetensors", "--output", copied, "--config", sizes)
    assert done.code == 0, done.err
    assert read_card(copied).model == expected.spec.sizes
    for command in ("eval", "probe"):
        assert "transformers 4 names, sizes.json)" in lewm_here(home, command, "a/run", "--config", sizes).err
    shutil.copy(sizes, home / "a" / "config.json")
    assert lewm_here(home, *surprise).code == 0


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ("{", "sizes.json is no JSON"),
        ({**WRITTEN, "_target_": "os.system"}, "'os.system', which is no part of LeWM, PLDM or DINO-WM"),
        ({"_target_": "jepa.JEPA"}, "sizes.json lacks encoder, predictor, action_encoder, projector, pred_proj; add"),
        ({**WRITTEN, "history_size": 9}, "sizes.json contradicts itself: history_size is 9"),
        ({**WRITTEN, "encoder": {**WRITTEN["encoder"], "num_hidden_layers": 9}}, "tensors fit; missing: encoder."),
    ],
)
def test_sizes_that_mean_nothing_are_refused(home: Path, tree: Any, said: str):
    place(home, "a/run.pt")
    sizes = elsewhere(home, tree)
    assert said in refused(home, "show", "a/run", "--config", sizes)
    assert said in refused(home, "eval", "a/run", "--config", sizes, "--trust")


def test_unreadable_sizes_are_named(home: Path):
    place(home, "a/run.pt")
    for path, why in ((home / "nothing.json", "No such file"), (home / "a", "Is a directory")):
        assert f"{path} cannot be read ({why}" in refused(home, "show", "a/run", "--config", path)


def test_what_carries_its_sizes_takes_no_others(home: Path, small_model: JEPA, small_card):
    save_run(RunFiles(home / "tworoom" / "lewm"), small_model, small_card(small_model))
    place(home, "a/run_object.ckpt", OBJECT)
    record(home)
    sizes = elsewhere(home, WRITTEN)
    for command in (("show",), ("eval",), ("probe",), ("surprise", "tworoom/demos", "--run")):
        said = refused(home, *command, "tworoom/lewm", "--config", sizes, code=2)
        assert "tworoom/lewm carries its own sizes, and they are always used; leave out --config" in said
    assert "leave out --config" in refused(home, "show", "a/run", "--config", sizes)


# Trust


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_checkpoint_runs_without_trust(home: Path, tmp_path: Path):
    canary = tmp_path / "canary"
    (home / "evil").mkdir(parents=True)
    torch.save({"a": Canary(canary)}, home / "evil" / "run_object.ckpt")
    (home / "evil" / "plain.pt").write_bytes(pickle.dumps(Canary(canary)))
    for name in ("evil/run", "evil/plain"):
        for command in (("show",), ("verify",), ("eval",), ("probe",)):
            done = lewm_here(home, *command, name)
            assert done.code == 1
            assert len(done.err.splitlines()) == 1 or command == ("verify",)
        assert "lewm: unexpected" not in done.err
    lewm_here(home, "ls")
    with pytest.raises(LewmError):
        lewm_cli.AutoCostModel("evil/run", cache_dir=home)
    assert not canary.exists()
    assert "nothing was run; --trust would run it" in refused(home, "show", "evil/run")
    assert "neither a module nor a state dict" in refused(home, "show", "evil/run", "--trust")
    assert canary.exists()


class Wrapped(dict):
    """A state dict of a class of its own, which the restricted reader does not know."""


def test_trust_reads_what_is_refused_without(home: Path):
    path = place(home, "a/run.pt")
    state = Wrapped(torch.load(FIXTURES / STATE, weights_only=True))
    torch.save(state, path)
    assert "--trust would run it" in refused(home, "show", "a/run")
    found = shown(home, "a/run", "--trust")
    assert found["source"].startswith("trusted pickle")
    record(home)
    done = lewm_here(
        home, "surprise", "tworoom/demos", "--run", "a/run", "--stats-from", "tworoom/demos", "--trust", "--json"
    )
    assert done.code == 0, done.err


# The other commands


def config_of(model: ModelConfig, block_dim: int) -> dict[str, Any]:
    """A config.json as the Hub has it."""
    mlp = {"_target_": "stable_worldmodel.wm.lewm.module.MLP", "output_dim": model.latent}
    mlp |= {"hidden_dim": model.projector.hidden, "norm_fn": {"_target_": "torch.nn.BatchNorm1d", "_partial_": True}}
    encoder, predictor, actions = model.encoder, model.predictor, model.action_encoder
    return {
        "_target_": "stable_worldmodel.wm.lewm.LeWM",
        "encoder": {
            "_target_": "stable_pretraining.backbone.utils.vit_hf",
            "patch_size": encoder.patch_size,
            "image_size": model.image_size,
            "use_mask_token": False,
            "hidden_size": encoder.width,
            "num_hidden_layers": encoder.depth,
            "num_attention_heads": encoder.heads,
            "intermediate_size": encoder.mlp,
        },
        "predictor": {
            "_target_": "stable_worldmodel.wm.lewm.module.Predictor",
            "num_frames": model.history,
            "input_dim": model.latent,
            "hidden_dim": predictor.width or model.latent,
            "output_dim": model.latent,
            "depth": predictor.depth,
            "heads": predictor.heads,
            "mlp_dim": predictor.mlp,
            "dim_head": predictor.head_dim,
            "dropout": predictor.dropout,
            "emb_dropout": predictor.embedding_dropout,
        },
        "action_encoder": {
            "_target_": "stable_worldmodel.wm.lewm.module.Embedder",
            "input_dim": block_dim,
            "smoothed_dim": actions.smoothed,
            "emb_dim": model.latent,
            "mlp_scale": actions.expansion,
        },
        "projector": mlp | {"input_dim": encoder.width},
        "pred_proj": mlp | {"input_dim": model.latent},
    }


def as_another_tool_has_it(files: RunFiles) -> tuple[str, str]:
    """Copies of a run as an object checkpoint, and as a state dict in a folder with its configuration."""
    folder = files.stem.parent
    card = read_card(files.weights)
    shutil.copy(files.object, folder / "module_object.ckpt")
    (folder / "state").mkdir()
    shutil.copy(files.state_dict, folder / "state" / "weights.pt")
    (folder / "state" / "config.json").write_text(json.dumps(config_of(card.model, card.inputs.block_dim)))
    return f"{folder.name}/module", f"{folder.name}/state"


@pytest.mark.slow
def test_copy_of_our_run_measures_the_same_surprise(
    home: Path, small_model: JEPA, small_card: Callable[[JEPA], RunCard]
):
    recording = record(home, size=64)
    card = small_card(small_model)
    actions = ActionStats.fit(open_dataset(recording, "demos").actions)
    card = card.model_copy(update={"inputs": card.inputs.model_copy(update={"actions": actions})})
    files = RunFiles(home / "tworoom" / "lewm")
    save_run(files, small_model, card)
    save_derived(files, small_model, "lewm")
    theirs = as_another_tool_has_it(files)

    def measured(name: str, *options: object) -> tuple[Any, Any]:
        done = lewm_here(home, "surprise", "tworoom/demos", "--run", name, *options, "--json")
        assert done.code == 0, done.err
        result = done.json()
        held_out = result["held_out"]
        for field in ("run", "weights_sha256", "held_out", "seconds", "command", "time"):
            del result[field]
        return held_out, result

    held_out, expected = measured("tworoom/lewm")
    assert held_out is True
    for name in theirs:
        held_out, result = measured(name, "--stats-from", "tworoom/demos")
        assert held_out is False
        assert result == expected
        assert "may have been trained on 6 of these 6 episodes" in (
            lewm_here(home, "surprise", "tworoom/demos", "--run", name).err
        )
    for page in (lewm_here(home, "report", theirs[1]), lewm_here(home, "show", theirs[1])):
        assert page.code == 0, page.err
    assert "by another tool" in (home / "tworoom" / "state.run" / "report.html").read_text()


@pytest.mark.slow
def test_probe_of_a_copy_says_what_is_not_known(home: Path, small_model: JEPA, small_card):
    files = RunFiles(home / "tworoom" / "lewm")
    save_run(files, small_model, small_card(small_model))
    save_derived(files, small_model, "lewm")
    name, _ = as_another_tool_has_it(files)
    lengths = (30,) * 8
    states = np.random.default_rng(0).normal(size=(240, 2)).astype(np.float32)
    record(home, lengths=lengths, size=64, columns={"proprio": states})
    done = lewm_here(home, "probe", name, "--frames", 120, "--stats-from", "tworoom/demos")
    assert done.code == 0, done.err
    assert "nobody knows which of them the run was trained on" in done.err
    assert "EPISODES THE MODEL MAY HAVE BEEN TRAINED ON" in flat(done.out)


@pytest.mark.slow
def test_training_starts_from_foreign_weights_and_never_resumes_them(home: Path, tiny: Path):
    write_recording(home / "robot" / "pick.h5", dims=2, size=16)
    place(home, "robot/old_object.ckpt", OBJECT)
    arguments = ("train", "robot/pick", "--name", "robot/new", "--init-from", "robot/old", "--config", tiny)
    assert "lewm show robot/old --stats-from DATASET" in refused(home, *arguments)
    assert lewm_here(home, "show", "robot/old", "--stats-from", "robot/pick").code == 0
    said = refused(home, *arguments)
    assert "set model.latent=4, model.image_size=16, data.frameskip=2" in said
    model = read_checkpoint(FIXTURES / OBJECT).spec.sizes
    tree = {"model": model.model_dump(exclude_none=True), "data": {"workers": 0, "frameskip": 2}}
    theirs = home / "theirs.toml"
    theirs.write_text(tomli_w.dumps(tree))
    done = lewm_here(home, *arguments[:-1], theirs, "--preset", "small", "--steps", 2, "--batch-size", 8)
    assert done.code == 0, done.err
    started = read_card(home / "robot" / "new.safetensors")
    assert started.provenance is not None
    assert started.provenance.init_from == "robot/old"
    said = refused(home, "train", "robot/pick", "--name", "robot/old", "--resume")
    assert "another tool, which left nothing to resume" in said


@pytest.mark.parametrize("where", ["a/run_weight.ckpt", "a/run/weights_epoch_4.pt", f"{HUB}/snapshots/1/weights.pt"])
def test_rm_removes_what_belongs_to_the_name_only(home: Path, where: str):
    name = "quentinll/lewm-pusht" if "models--" in where else "a/run"
    path = place(home, where)
    if "snapshots" in where:  # as huggingface_hub keeps them
        blob = home / HUB / "blobs" / "5d41402abc4b2a76"
        blob.parent.mkdir()
        path.rename(blob)
        path.symlink_to(Path("../../blobs") / blob.name)
    other = place(home, "b/other.pt")
    record(home)
    assert lewm_here(home, "show", name, "--stats-from", "tworoom/demos").code == 0
    done = lewm_here(home, "rm", name, "--yes")
    assert done.code == 0, done.err
    left = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    kept = {"b/other.pt", "b/config.json", "tworoom/demos.h5"}
    assert left == (kept | {"a/config.json"} if where.startswith("a/run_") else kept)
    assert other.exists()


def remaining(home: Path) -> set[str]:
    return {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}


def test_release_is_verified_and_removed_under_either_of_its_names(home: Path):
    place(home, "tworoom/lejepa_object.ckpt", OBJECT)
    for name in ("tworoom/lewm-release", "tworoom/lewm"):
        done = lewm_here(home, "verify", name, "--json")
        assert (done.code, done.json()["checked"][0]["name"]) == (0, "tworoom/lejepa")
    done = lewm_here(home, "rm", "tworoom/lewm-release", "tworoom/lejepa", "--dry-run")
    assert "tworoom/lejepa" in done.out
    assert "tworoom/lewm-release" not in done.out
    # Typed twice after a run of one's own, this would take the release.
    said = refused(home, "rm", "tworoom/lewm", "--yes")
    assert "there is no run or dataset 'tworoom/lewm'; did you mean 'tworoom/lejepa'?" in said
    done = lewm_here(home, "rm", "tworoom/lewm-release", "tworoom/lejepa", "--yes")
    assert done.code == 0, done.err
    assert "removed tworoom/lejepa (1 file," in done.err
    assert remaining(home) == set()


def test_folder_of_one_file_is_verified_and_removed_by_its_own_name_only(home: Path):
    place(home, "solo/anything.pt")
    assert lewm_here(home, "verify", "solo").code == 0
    assert "did you mean 'solo/anything'?" in refused(home, "rm", "solo", "--yes")


def test_one_epoch_is_verified_and_removed(home: Path):
    for epoch in (2, 9, 10):
        path = place(home, f"checkpoints/run/weights_epoch_{epoch}.pt")
    path.write_bytes(path.read_bytes()[:-100])
    record(home)
    assert lewm_here(home, "show", "run@9", "--stats-from", "tworoom/demos").code == 0
    assert lewm_here(home, "verify", "run").code == 1  # the last one
    done = lewm_here(home, "verify", "run@9", "--json")
    assert (done.code, done.json()["checked"][0]["name"]) == (0, "run@9")
    assert "there is no run@3" in refused(home, "verify", "run@3")
    assert "there is no run@3" in refused(home, "rm", "run@3", "--yes")
    others = {"tworoom/demos.h5", *(f"checkpoints/run/{name}" for name in ("config.json", "weights_epoch_2.pt"))}
    done = lewm_here(home, "rm", "run@9", "run@10", "run@9", "--yes")
    assert done.code == 0, done.err
    assert remaining(home) == others
    assert lewm_here(home, "verify", "run").code == 0
    done = lewm_here(home, "rm", "run@2", "--yes")  # with the last epoch its configuration goes
    assert done.code == 0, done.err
    assert remaining(home) == {"tworoom/demos.h5"}


def test_run_and_an_epoch_of_it_go_together(home: Path):
    for epoch in (1, 2):
        place(home, f"run/weights_epoch_{epoch}.pt")
    for names in (("run", "run@1"), ("run@1", "run")):
        done = lewm_here(home, "rm", *names, "--dry-run", "--json")
        assert len(done.json()["removals"]) == (1 if names[0] == "run" else 2)
    done = lewm_here(home, "rm", "run@1", "run", "--yes")
    assert done.code == 0, done.err
    assert remaining(home) == set()


def test_cache_of_the_hub_is_removed_as_a_whole(home: Path):
    for epoch in (1, 2):
        place(home, f"{HUB}/snapshots/1/weights_epoch_{epoch}.pt")
    assert lewm_here(home, "verify", "quentinll/lewm-pusht@1").code == 0
    said = refused(home, "rm", "quentinll/lewm-pusht@1", "--yes")
    assert "a cache of the Hub, and goes as a whole; type its name without @" in said


def test_damaged_and_endless_weights_are_found(home: Path):
    path = place(home, "a/run.pt")
    path.write_bytes(path.read_bytes()[:-100])
    done = lewm_here(home, "verify", "a/run")
    assert done.code == 1
    assert "damaged or not a checkpoint" in flat(done.out)
    state = torch.load(FIXTURES / STATE, weights_only=True)
    state["projector.net.0.bias"][0] = float("nan")
    torch.save(state, path)
    assert "1 of " in flat(lewm_here(home, "verify", "a/run").out)


@pytest.mark.slow
def test_copies_of_our_run_plan_the_same(trained: Path, other_demos: Path, tmp_path: Path):
    home = tmp_path / "home"
    shutil.copytree(trained, home)
    shutil.copy(other_demos / "tworoom" / "demos.h5", home / "tworoom" / "test.h5")
    theirs = as_another_tool_has_it(RunFiles(home / "tworoom" / "lewm"))
    # Without a protocol, weights that nobody knows the training of are measured as released ones are.
    arguments = ("--protocol", "release", "--dataset", "tworoom/test", "--episodes", 4, "--record", 0)
    arguments += ("--set", "planner.iterations=3")

    def planned(name: str, said: str, *options: object) -> tuple[Any, Any]:
        done = lewm(home, "eval", name, *arguments, *options, "--json")
        assert done.code == 0, done.err
        assert "104/104 tensors from " in done.err
        assert said in done.err
        return done.json()["overall"], done.json()["episodes"]

    expected = planned("tworoom/lewm", "lewm.safetensors)")
    for name, said in zip(theirs, ("(object checkpoint (lewm))", "transformers 4 names, config.json"), strict=True):
        assert planned(name, said, "--stats-from", "tworoom/demos") == expected
