"""The store keeps what it was given, finds it by name, and never has half a file."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from stable_worldmodel.policy import AutoCostModel as their_AutoCostModel

import lewm_cli
from commands import PATIENCE, lewm_here
from lewm_cli.config import ModelConfig
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.files import atomic_path, locked, remove_stale_parts, write_text
from lewm_cli.flows.show import look_up
from lewm_cli.methods import JEPA
from lewm_cli.methods.lewm import LeWM
from lewm_cli.store import (
    Home,
    RunFiles,
    check_name,
    load_run,
    read_card,
    save_derived,
    save_run,
    take_inventory,
)
from lewm_cli.store.keys import released_key
from lewm_cli.store.objects import read_derived, restore_model
from lewm_cli.store.runs import HEADER, write_tensors
from lewm_cli.tasks import find_task

NAME = "tworoom/lewm"
OLDER_CARD = Path(__file__).parents[1] / "fixtures" / "card_of_before_methods.json"


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def write_recording(path: Path, task: str | None = None) -> Path:
    """The smallest recording in the released schema: one episode of two rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["pixels"] = np.zeros((2, 8, 8, 3), np.uint8)
        file["action"] = np.zeros((2, 2), np.float32)
        file["ep_len"], file["ep_offset"] = np.array([2]), np.array([0])
        if task:
            file.attrs["task"] = task
    return path


@pytest.fixture
def saved(home: Home, small_model: JEPA, small_card) -> RunFiles:
    """A run called `tworoom/lewm`, weights only."""
    files = RunFiles(home.run_stem(NAME))
    save_run(files, small_model, small_card(small_model))
    return files


def planning_case(model: JEPA) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    size = model.config.image_size
    frames = torch.randn(2, 2, 1, 1, 3, size, size, generator=generator)
    pixels, goal = frames.expand(-1, -1, 4, -1, -1, -1, -1)  # four candidates of two environments
    return {"pixels": pixels, "goal": goal}, torch.randn(2, 4, 5, model.block_dim, generator=generator)


@torch.no_grad()
def assert_same_model(model: torch.nn.Module, reference: JEPA) -> None:
    """In eval mode, with the same weights and the same costs, to the last bit."""
    assert not model.training
    ours, theirs = model.state_dict(), reference.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) and ours[key].dtype == theirs[key].dtype for key in ours)
    info, candidates = planning_case(reference)
    assert torch.equal(model.get_cost(dict(info), candidates), reference.get_cost(dict(info), candidates))


# Names


@pytest.mark.parametrize(
    ("typed", "kind", "name"),
    [
        ("pusht/lewm_object.ckpt", "run", "pusht/lewm"),
        ("pusht/lewm_weight.ckpt", "run", "pusht/lewm"),
        ("pusht/lewm_weights.ckpt", "run", "pusht/lewm"),
        ("pusht/lewm.safetensors", "run", "pusht/lewm"),
        ("pusht/lewm.run", "run", "pusht/lewm"),
        ("pusht/weights.pt", "run", "pusht"),
        ("pusht/weights_epoch_7.pt", "run", "pusht@7"),
        ("pusht_expert_train.h5", "dataset", "pusht_expert_train"),
        ("robot.hdf5", "dataset", "robot"),
    ],
)
def test_name_with_a_suffix_is_refused_with_the_name_to_type(typed, kind, name):
    with pytest.raises(UsageError) as caught:
        check_name(typed, kind)
    assert repr(typed) in str(caught.value)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", ["lewm", "tworoom/lewm", "a/b/c-2", "lewm-lambda-0.09", "ünï"])
def test_path_under_the_home_is_a_name(name):
    assert check_name(name, "run") == name


NO_NAMES = ["", ".", "..", "/", "/etc/a", "../a", "a/../../b", "a//b", "a/", "./a", "a/.hidden", "a.run/b", "datasets"]


@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize("kind", ["run", "dataset"])
def test_what_is_no_path_under_the_home_is_no_name(name, kind):
    with pytest.raises(UsageError, match="cannot name a"):
        check_name(name, kind)


PATH_PIECES = st.sampled_from(["..", ".", "/", "//", "~", "a", "datasets", "\\"]) | st.text(max_size=3)


@pytest.mark.parametrize("name", [" ", "a ", " a", "a/ b", "a /b", "a\u3000"])
@pytest.mark.parametrize("kind", ["run", "dataset"])
def test_blanks_at_the_ends_of_a_name_are_refused(name: str, kind: str):
    with pytest.raises(UsageError, match="with no blank before or behind a part of it, like 'tworoom/lewm'"):
        check_name(name, kind)
    assert check_name("a b/c d", kind) == "a b/c d"


@given(st.lists(PATH_PIECES, max_size=6).map("".join), st.sampled_from(["run", "dataset"]))
def test_accepted_names_never_leave_the_home(text, kind):
    try:
        name = check_name(text, kind)
    except UsageError:
        return
    assert os.path.normpath(f"/home/store/{name}") == f"/home/store/{name}"
    assert name.strip("/") == name != ""
    assert name.split("/")[0] not in ("datasets", "checkpoints")


def test_first_free_name_has_the_first_free_number(home: Home):
    assert next(home.free_names(NAME, "run")) == NAME
    touch(home.write / "tworoom/lewm.safetensors")
    assert next(home.free_names(NAME, "run")) == "tworoom/lewm-2"
    (home.write / "tworoom/lewm-2.run").mkdir()  # a training that was stopped before it saved weights
    assert next(home.free_names(NAME, "run")) == "tworoom/lewm-2"
    touch(home.write / "tworoom/lewm-2_weight.ckpt")
    assert next(home.free_names(NAME, "run")) == "tworoom/lewm-3"

    assert next(home.free_names("tworoom/expert", "dataset")) == "tworoom/expert"
    touch(home.write / "tworoom/expert.h5")
    assert next(home.free_names("tworoom/expert", "dataset")) == "tworoom/expert-2"


@pytest.mark.parametrize("external", ["lewm_object.ckpt", "lewm_weight.ckpt", "lewm_weights.ckpt"])
def test_name_of_another_tools_checkpoint_is_not_free(home: Home, external):
    """A run by that name would overwrite it with what is derived from its own weights."""
    touch(home.write / "tworoom" / external)
    assert next(home.free_names(NAME, "run")) == "tworoom/lewm-2"


# Homes and layouts


def test_home_is_what_the_variable_names(tmp_path: Path, home: Home):
    assert home == Home(write=tmp_path / "home", read=(tmp_path / "home",))


def test_default_home_also_reads_the_one_of_stable_worldmodel(home: Home, tmp_path: Path, monkeypatch):
    monkeypatch.delenv("STABLEWM_HOME")
    own, theirs = tmp_path / "user/.stable-wm", tmp_path / "user/.stable_worldmodel"
    assert Home.locate() == Home(write=own, read=(own, theirs))
    touch(theirs / "tworoom/lewm.safetensors")
    assert [name for name, _ in Home.locate().run_files()] == [NAME]


def test_other_places_take_the_writes_and_the_main_home_is_still_read(home: Home, tmp_path: Path, monkeypatch):
    main, variable, option = tmp_path / "home", tmp_path / "variable", tmp_path / "option"
    monkeypatch.setenv("LEWM_WRITE_HOME", str(variable))
    assert Home.locate() == Home(write=variable, read=(variable, main))
    assert Home.locate(option) == Home(write=option, read=(option, main))

    touch(main / "tworoom/lewm.safetensors")
    found = Home.locate(option)
    assert found.run_stem(NAME) == main / NAME
    assert found.new_run_stem(NAME) == option / NAME
    assert found.run_stem("tworoom/new") == option / "tworoom/new"
    assert found.dataset_path("new") == option / "new.h5"


def test_tilde_means_the_users_folder(home: Home, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("STABLEWM_HOME", "~/shared")
    assert Home.locate().write == tmp_path / "user/shared"
    monkeypatch.setenv("LEWM_WRITE_HOME", "~/own")
    assert Home.locate().write == tmp_path / "user/own"


@pytest.mark.parametrize(
    ("existing", "run", "dataset"),
    [
        (None, "tworoom/lewm", "expert.h5"),
        ("old.h5", "tworoom/lewm", "expert.h5"),
        ("pusht/lewm_object.ckpt", "tworoom/lewm", "expert.h5"),
        ("datasets/old.h5", "checkpoints/tworoom/lewm", "datasets/expert.h5"),
        ("checkpoints/old.safetensors", "checkpoints/tworoom/lewm", "datasets/expert.h5"),
    ],
)
def test_writing_follows_the_layout_the_home_has(home: Home, existing, run, dataset):
    if existing:
        touch(home.write / existing)
    assert home.run_stem(NAME) == home.write / run
    assert home.dataset_path("expert") == home.write / dataset


@pytest.mark.parametrize("folder", ["", "datasets"])
def test_dataset_is_found_in_either_layout(home: Home, folder):
    path = write_recording(home.write / folder / "tworoom/expert.h5")
    assert home.find_dataset("tworoom/expert").path == path
    assert list(home.dataset_files()) == [("tworoom/expert", path)]


@pytest.mark.parametrize("existing", [".safetensors", "_object.ckpt"])
def test_older_run_in_the_flat_layout_is_overwritten_in_place(home: Home, existing):
    (home.write / "checkpoints").mkdir(parents=True)
    assert home.new_run_stem(NAME) == home.write / "checkpoints" / NAME
    touch(home.write / f"{NAME}{existing}")
    assert home.run_stem(NAME) == home.new_run_stem(NAME) == home.write / NAME


def test_linked_folders_are_searched(home: Home, saved: RunFiles, tmp_path: Path):
    disk = tmp_path / "disk"
    recording = write_recording(disk / "sub/expert.h5")
    shutil.copy(saved.weights, disk / "large.safetensors")
    (home.write / "linked").symlink_to(disk)
    (disk / "round").symlink_to(disk)  # ends
    assert list(home.dataset_files()) == [("linked/sub/expert", home.write / "linked/sub/expert.h5")]
    assert [name for name, _ in home.run_files()] == ["linked/large", NAME]
    assert home.find_dataset("linked/sub/expert").path.samefile(recording)
    assert load_run(home, "linked/large").tensors > 0
    for name in ("linked/sub/expert", "linked/large"):
        look_up(home, name)


@pytest.mark.parametrize("folder", ["", "checkpoints"])
def test_run_is_found_in_either_layout(home: Home, folder):
    path = touch(home.write / folder / "tworoom/lewm.safetensors")
    assert home.run_stem(NAME) == home.write / folder / NAME
    assert list(home.run_files()) == [(NAME, path)]


def test_first_home_and_flat_layout_are_read_first(home: Home, tmp_path: Path):
    own, main = tmp_path / "own", home.write
    both = Home.locate(own)
    places = [own, own / "datasets", main, main / "datasets"]
    paths = [write_recording(place / "expert.h5") for place in places]
    for path in paths:
        assert both.find_dataset("expert").path == path
        assert list(both.dataset_files()) == [("expert", path)]
        path.unlink()


def test_only_what_has_a_name_is_listed(home: Home):
    for unlisted in (".trash/a", "tworoom/.a", "tworoom/lewm.run/best"):
        touch(home.write / f"{unlisted}.h5")
        touch(home.write / f"{unlisted}.safetensors")
    assert list(home.dataset_files()) == []
    assert list(home.run_files()) == []


def test_recordings_of_a_task_come_with_the_release_first(home: Home):
    task = find_task("tworoom")
    assert task is not None
    write_recording(home.write / "another.h5", "tworoom")
    write_recording(home.write / "tworoom.h5")  # the released file says no task: its name does
    write_recording(home.write / "unrelated.h5")
    (home.write / "broken.h5").write_bytes(b"not HDF5")
    assert [dataset.name for dataset in home.datasets_of(task)] == ["tworoom", "another"]


def test_what_is_not_there_is_refused_with_what_is(home: Home):
    for find in (home.find_dataset, lambda name: load_run(home, name)):
        with pytest.raises(LewmError, match=f"under {home.write}; nothing is there yet: start with lewm"):
            find("nowhere")
    write_recording(home.write / "expert.h5")
    touch(home.write / "tworoom/lewm.safetensors")
    with pytest.raises(LewmError, match="there is expert"):
        home.find_dataset("nowhere")
    with pytest.raises(LewmError, match="there is tworoom/lewm"):
        load_run(home, "nowhere")


def test_inventory_lists_damaged_files_with_what_is_wrong(home: Home, saved: RunFiles):
    write_recording(home.write / "expert.h5", "tworoom")
    (home.write / "broken.h5").write_bytes(b"not HDF5")
    (home.write / "tworoom/broken.safetensors").write_bytes(b"not safetensors")
    inventory = take_inventory(home)
    assert [(entry.name, entry.task, entry.problem is None) for entry in inventory.datasets] == [
        ("broken", None, False),
        ("expert", "tworoom", True),
    ]
    assert [(entry.name, entry.card is None, entry.problem is None) for entry in inventory.runs] == [
        ("tworoom/broken", True, False),
        (NAME, False, True),
    ]


# Runs


def test_run_comes_back_exactly(home: Home, saved: RunFiles, small_model: JEPA, small_card):
    run = load_run(home, NAME)
    assert run.card == small_card(small_model)
    assert run.tensors == len(small_model.state_dict())
    assert run.files == saved
    assert_same_model(run.model, small_model)


def test_training_mode_is_not_saved(home: Home, small_model: JEPA, small_card):
    save_run(RunFiles(home.run_stem(NAME)), small_model.train(), small_card(small_model))
    assert small_model.training
    assert not load_run(home, NAME).model.training


def test_checksum_tells_weights_apart(home: Home, saved: RunFiles, small_model: JEPA, small_card):
    before = load_run(home, NAME).sha256
    assert load_run(home, NAME).sha256 == before
    with torch.no_grad():
        small_model.encoder.layernorm.bias[0] += 1e-3
    save_run(saved, small_model, small_card(small_model))
    assert load_run(home, NAME).sha256 != before


def rewrite(files: RunFiles, change_state=lambda state: None, change_card=lambda card: card) -> None:
    """Edit a run on disk, as a careless tool would."""
    state = load_file(files.weights)
    with safe_open(files.weights, framework="pt") as file:
        card = file.metadata()[HEADER]
    change_state(state)
    save_file(state, files.weights, metadata={HEADER: change_card(card)})


@pytest.mark.parametrize(
    ("written", "edited"),
    [
        ('"latent":8', '"latent":16'),
        ('"depth":2', '"depth":3'),
        ('"image_size":64', '"image_size":96'),
        ('"history":3', '"history":2'),
        ('"frameskip":5', '"frameskip":4'),
    ],
)
def test_card_edited_to_other_sizes_is_refused(home: Home, saved: RunFiles, written, edited):
    def edit(card: str) -> str:
        assert written in card
        return card.replace(written, edited)

    rewrite(saved, change_card=edit)
    with pytest.raises(LewmError, match="tensors are missing, extra or of another shape"):
        load_run(home, NAME)


def test_missing_tensor_is_refused_by_name(home: Home, saved: RunFiles):
    rewrite(saved, change_state=lambda state: state.pop("projector.net.1.running_mean"))
    with pytest.raises(LewmError, match=r"1 of \d+ tensors are missing.*'projector\.net\.1\.running_mean'"):
        load_run(home, NAME)


def test_extra_tensor_is_refused_by_name(home: Home, saved: RunFiles):
    rewrite(saved, change_state=lambda state: state.update(surplus=torch.zeros(1)))
    with pytest.raises(LewmError, match=r"1 of \d+ tensors are missing, extra.*'surplus'"):
        load_run(home, NAME)


@pytest.mark.parametrize("card", ["{}", "not json", '{"format": 2}'])
def test_card_of_another_kind_is_refused(home: Home, saved: RunFiles, card):
    rewrite(saved, change_card=lambda _: card)
    with pytest.raises(LewmError, match="no usable lewm header"):
        load_run(home, NAME)


def test_weights_without_a_card_are_refused(home: Home, saved: RunFiles):
    save_file(load_file(saved.weights), saved.weights)
    with pytest.raises(LewmError, match=r"not the released architecture.*put its config\.json beside the weights"):
        load_run(home, NAME)


@pytest.mark.parametrize("kept", [0, 4, 100, 0.1, 0.5, -1])
def test_truncated_weights_are_refused_with_a_sentence(home: Home, saved: RunFiles, kept):
    content = saved.weights.read_bytes()
    saved.weights.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    for read in (lambda: read_card(saved.weights), lambda: load_run(home, NAME)):
        with pytest.raises(LewmError, match=r"lewm\.safetensors(: it is an empty file| is damaged or not a safetens)"):
            read()


# Runs of earlier versions


@pytest.mark.parametrize("named", [True, False])
def test_run_of_before_there_were_several_methods_is_a_lewm(tmp_path: Path, named: bool):
    """Cards of then had fewer settings of the objective; older ones named no method."""
    tree = json.loads(OLDER_CARD.read_text())
    if not named:
        del tree["method"], tree["provenance"]["train"]["method"]
    model = JEPA(ModelConfig.model_validate(tree["model"]), block_dim=10)
    write_tensors(tmp_path / "old.safetensors", model.state_dict(), json.dumps(tree))
    shown = lewm_here(tmp_path, "show", "old", "--json").json()
    assert (shown["method"], shown["card"]["method"]) == ("lewm", "lewm")
    run = lewm_cli.load("old", cache_dir=tmp_path)
    inputs = run.card.inputs
    assert (inputs.bounds, inputs.action_names, inputs.fps, inputs.framing) == (None, (), None, None)
    assert inputs.dimensions == ("action_0", "action_1")
    train = run.card.provenance.train
    assert train.method == "lewm"
    assert isinstance(train.objective, LeWM)
    assert (train.objective.lambda_, train.objective.knots, train.objective.projections) == (0.09, 17, 1024)
    assert (train.objective.cosine, train.objective.straightness, train.objective.rollout) == (0, 0, 0)
    (listed,) = lewm_here(tmp_path, "ls", "--json").json()["runs"]
    assert listed["method"] == "lewm"
    (checked,) = lewm_here(tmp_path, "verify", "--json").json()["checked"]
    assert (checked["method"], checked["tensors"]) == ("lewm", len(model.state_dict()))
    assert [problem["says"] for problem in checked["problems"]] == [
        "missing, for other tools: old_weight.ckpt and old_object.ckpt"
    ]


# What is derived for other tools


def test_derived_state_dict_is_plain_and_has_the_released_names(saved: RunFiles, small_model: JEPA):
    save_derived(saved, small_model, "lewm")
    state = torch.load(saved.state_dict, weights_only=True)
    ours = small_model.state_dict()
    assert saved.state_dict.name == "lewm_weight.ckpt"
    assert list(state) == [released_key(key) for key in ours]
    assert "encoder.encoder.layer.0.attention.attention.query.weight" in state
    assert all(torch.equal(mine, derived) for mine, derived in zip(ours.values(), state.values(), strict=True))


def test_derived_object_is_the_module(saved: RunFiles, small_model: JEPA):
    save_derived(saved, small_model.train(), "lewm")
    assert saved.object.name == "lewm_object.ckpt"
    assert_same_model(torch.load(saved.object, weights_only=False), small_model.eval())


def test_derived_object_of_before_methods_had_names_is_the_module(saved: RunFiles, small_model: JEPA, small_card):
    class Older:
        def __reduce__(self):
            return restore_model, (
                small_model.config.model_dump_json(),
                small_model.block_dim,
                small_model.state_dict(),
            )

    torch.save(Older(), saved.object)
    assert_same_model(torch.load(saved.object, weights_only=False), small_model.eval())
    assert read_derived(saved.object, small_card(small_model)).keys() == small_model.state_dict().keys()


def test_derived_object_names_only_our_function_and_torchs_tensors(saved: RunFiles, small_model: JEPA):
    save_derived(saved, small_model, "lewm")
    named = set(torch.serialization.get_unsafe_globals_in_checkpoint(saved.object))
    assert named == {"lewm_cli.store.objects.restore_model"}
    with pytest.raises(pickle.UnpicklingError):
        torch.load(saved.object, weights_only=True)


@pytest.mark.parametrize("layout", ["flat", "nested"])
def test_stable_worldmodel_loads_the_run_by_name(home: Home, small_model: JEPA, small_card, layout):
    if layout == "nested":
        (home.write / "checkpoints").mkdir(parents=True)
    files = RunFiles(home.run_stem(NAME))
    save_run(files, small_model, small_card(small_model))
    save_derived(files, small_model, "lewm")
    files.folder.mkdir()
    folder = home.write / "checkpoints" if layout == "nested" else home.write
    assert_same_model(their_AutoCostModel(NAME, cache_dir=folder), small_model)


# The public API


def test_public_functions_load_a_run_by_name(home: Home, saved: RunFiles, small_model: JEPA, small_card, monkeypatch):
    assert_same_model(lewm_cli.AutoCostModel(NAME), small_model)
    assert lewm_cli.load(NAME).card == small_card(small_model)
    monkeypatch.delenv("STABLEWM_HOME")
    with pytest.raises(LewmError, match="there is no run"):
        lewm_cli.load(NAME)
    assert_same_model(lewm_cli.load(NAME, cache_dir=home.write).model, small_model)
    assert_same_model(lewm_cli.AutoCostModel(NAME, cache_dir=str(home.write)), small_model)


def test_public_functions_take_paths(home: Home, saved: RunFiles, small_model: JEPA):
    for path in (Path(NAME), saved.weights, "tworoom/lewm_object.ckpt"):
        assert lewm_cli.load(path).name == NAME
        assert_same_model(lewm_cli.AutoCostModel(path), small_model)


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cpu:x", torch.device("xpu"), 0])
def test_unknown_devices_are_said(home: Home, saved: RunFiles, device: Any):
    with pytest.raises(LewmError, match="device "):
        lewm_cli.load(NAME, device=device)
    assert lewm_cli.load(NAME, device=torch.device("cpu")).device.type == "cpu"


def test_importing_the_package_imports_nothing_heavy():
    script = (
        "import sys, lewm_cli\n"
        "lewm_cli.__version__, dir(lewm_cli)\n"
        "print(sorted({'torch', 'numpy', 'pydantic', 'gymnasium', 'stable_worldmodel'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'lewm_cli' has no attribute 'lode'"):
        _ = lewm_cli.lode


# Files are the old one or the new one


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_writer_that_raises_leaves_the_old_file_and_no_part(tmp_path: Path, error):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(error), atomic_path(path) as part:  # noqa: PT012  (what fails is the body)
        part.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_writer_that_finishes_replaces_the_file_and_leaves_no_part(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "file.txt"
    write_text(path, "old")
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            OSError(28, "No space left on device"),
            r"file\.txt cannot be written \(No space .*\): the disk is full",
        ),
        (OSError(122, "Disk quota exceeded"), "your quota of this disk is used up"),
        (RuntimeError("write failed: errno = 28"), "the disk is full"),
        (OSError("I/O error: No space left on device (os error 28)"), "the disk is full"),
        (
            OSError(5, "I/O error"),
            r"cannot be written \(Input/output error\): the disk or the network",
        ),
        (OSError(116, "Stale file handle"), "the network file system has lost it"),
        (OSError(24, "Too many open files"), "ulimit -n"),
    ],
)
def test_what_the_system_says_while_a_file_is_written_becomes_a_sentence(tmp_path: Path, error, sentence):
    with pytest.raises(LewmError, match=sentence), atomic_path(tmp_path / "file.txt"):
        raise error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(13, "Permission denied", "recording.h5"),
        FileNotFoundError(2, "not there", "/else/where"),
        BlockingIOError(11, "Resource temporarily unavailable"),  # a process that cannot be started
        RuntimeError("shapes do not fit"),
    ],
)
def test_other_errors_of_a_writer_are_its_own(tmp_path: Path, error):
    """They are about something that it reads meanwhile, or not about files."""
    with pytest.raises(type(error)) as caught, atomic_path(tmp_path / "file.txt"):
        raise error
    assert caught.value is error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            OSError(30, "Read-only file system"),
            r"cannot be written \(Read-only .*\): .* --home or \$LEWM_WRITE_HOME",
        ),
        (PermissionError(13, "Permission denied"), r"cannot be written \(Permission denied\)"),
        (OSError(28, "No space left on device"), "the disk is full"),
    ],
)
def test_folder_that_takes_no_file_is_found_before_anything_is_computed(tmp_path: Path, monkeypatch, error, sentence):
    def refuse(path: Path, **options: object) -> None:
        raise error

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(LewmError, match=sentence), atomic_path(tmp_path / "file.txt"):
        pytest.fail("the body was entered")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["lewm", "tworoom/lewm"])
def test_home_that_is_a_file_is_refused_with_a_sentence(home: Home, small_model: JEPA, small_card, name):
    home.write.write_text("not a folder")
    files = RunFiles(home.run_stem(name))
    with pytest.raises(LewmError, match="cannot be written"):
        save_run(files, small_model, small_card(small_model))
    with pytest.raises(LewmError, match="cannot be written"), locked(files.weights, "busy"):
        pass
    assert home.write.read_text() == "not a folder"


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Run a script in another process until it prints `ready`."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


HOLD_THE_LOCK = """
import sys
from pathlib import Path
from lewm_cli.files import locked
with locked(Path(sys.argv[1]), "busy"):
    print("ready", flush=True)
    sys.stdin.read()
"""

WRITE_HALF = """
import sys
from pathlib import Path
from lewm_cli.files import atomic_path
with atomic_path(Path(sys.argv[1])) as part:
    part.write_bytes(b"half a file")
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["leaves", "is killed"])
def test_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path, how):
    path = tmp_path / "tworoom" / "lewm.safetensors"
    with start(HOLD_THE_LOCK, path) as first:
        try:
            with pytest.raises(LewmError, match=r"^lewm is being trained already\.$"):
                locked(path, "lewm is being trained already.").__enter__()
            with locked(path.with_name("lewm-2.safetensors"), "another name is free"):
                pass
            if how == "is killed":
                first.kill()
            first.communicate()
        finally:
            first.kill()
    with locked(path, "busy"):
        pass


def test_writer_without_a_sentence_waits_for_the_first(tmp_path: Path):
    path = tmp_path / "frames.npy"
    entered = threading.Event()

    def wait_and_enter() -> None:
        with locked(path, busy=None):
            entered.set()

    with start(HOLD_THE_LOCK, path) as first:
        second = threading.Thread(target=wait_and_enter)
        second.start()
        try:
            assert not entered.wait(0.2)
        finally:
            first.kill()
    assert entered.wait(PATIENCE)
    second.join()


def test_error_under_the_lock_frees_it(tmp_path: Path):
    path = tmp_path / "file"
    with pytest.raises(ValueError, match="inside"), locked(path, "busy"):
        raise ValueError("inside")
    with locked(path, "busy"):
        pass


def test_killed_writer_leaves_the_old_file_and_a_part_that_is_never_listed(home: Home, saved: RunFiles):
    recording = write_recording(home.write / "expert.h5")
    targets = [saved.weights, recording, home.write / "tworoom/never.safetensors", home.write / "never.h5"]
    before = [path.read_bytes() if path.exists() else None for path in targets]
    for path in targets:
        with start(WRITE_HALF, path) as writer:
            writer.kill()
        assert writer.returncode == -signal.SIGKILL
    assert [path.read_bytes() if path.exists() else None for path in targets] == before
    assert len(list(home.write.rglob("*.part"))) == len(targets)

    assert [name for name, _ in home.run_files()] == [NAME]
    assert [name for name, _ in home.dataset_files()] == ["expert"]
    assert next(home.free_names("tworoom/never", "run")) == "tworoom/never"
    assert load_run(home, NAME).tensors > 0

    for path in targets:
        remove_stale_parts(path)
    assert list(home.write.rglob("*.part")) == []
