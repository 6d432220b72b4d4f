"""`lewm convert` keeps every tensor bit for bit, what others load computes the same, and no file is lost."""

import json
import os
import random
import re
import shutil
import signal
import sys
import typing
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from stable_worldmodel.policy import AutoCostModel as their_AutoCostModel
from stable_worldmodel.wm.pldm import PLDM

import lewm_cli
from commands import Done, left_behind, lewm, lewm_here
from faults import kill_points, killed_at_byte, killed_at_step
from lewm_cli.cli import convert as convert_command
from lewm_cli.config import EncoderConfig, ModelConfig
from lewm_cli.errors import LewmError
from lewm_cli.files import atomic_folder, locked
from lewm_cli.flows.convert import convert_run
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.store import Home, RunFiles, load_run, load_weights, read_card, save_derived, save_run, weights_digest
from lewm_cli.store import conversion as adapter
from lewm_cli.store.conversion import FOLDERS, HUB_FILES, Names, Target
from lewm_cli.store.formats import config_tree
from lewm_cli.store.formats.classes import STABLE_WORLDMODEL
from lewm_cli.store.keys import released_key
from lewm_cli.store.objects import read_derived
from synthetic import write_recording

pytest_plugins = ("recordings",)

NAME = "tworoom/lewm"
BLOCK_DIM = 10
INSTALLED = Names(f"transformers-{transformers.__version__.partition('.')[0]}")
BACK = [
    ("safetensors", "back.safetensors", "back"),
    ("object", "back_object.ckpt", "back"),
    ("swm-object", "back.pt", "back"),
    ("hub", "back", "back"),
    ("weights", "back/weights.pt", "back"),
]
"""Formats, where each is written under the home, and the name under which it is found again."""

PLDM_CLASSES = ("PLDM", "module.Predictor", "module.Embedder", "module.MLP", "module.MLP")
RELEASED_KEYS = Path(__file__).parents[1] / "parity" / "released_keys.txt"


@pytest.fixture
def files(home: Home, small_model: JEPA, small_card: Callable[[JEPA], RunCard], tmp_path, monkeypatch) -> RunFiles:
    """A finished run, and an empty current directory."""
    files = RunFiles(home.run_stem(NAME))
    save_run(files, small_model, small_card(small_model))
    save_derived(files, small_model, "lewm")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return files


def convert(home: Home, *arguments: object) -> Done:
    return lewm_here(home.write, "convert", NAME, "--to", *arguments)


def content(home: Home) -> dict[Path, bytes]:
    """Everything in the home and in the current directory."""
    folders = (home.write, Path.cwd())
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in paths if path.suffix != ".lock"}


def assert_same_tensors(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value), key


def released(model: JEPA) -> dict[str, torch.Tensor]:
    return {released_key(key): value for key, value in model.state_dict().items()}


def named_as_installed(model: JEPA) -> dict[str, torch.Tensor]:
    """The tensors under the names that they have in the installed transformers."""
    return model.state_dict() if INSTALLED is Names.CURRENT else released(model)


@torch.no_grad()
def assert_computes_the_same(module: torch.nn.Module, model: JEPA) -> None:
    """Encodes, predicts and judges plans as our model does, to 1e-4."""
    assert not module.training
    generator = torch.Generator().manual_seed(0)
    size, block = model.config.image_size, model.block_dim
    frames = torch.randn(2, 2, 3, size, size, generator=generator)
    blocks = torch.randn(2, 2, block, generator=generator)
    ours, theirs = ({"pixels": frames, "action": blocks} for _ in range(2))
    ours, theirs = model.encode(ours), module.encode(theirs)
    for key in ("emb", "act_emb"):
        assert ours[key].abs().max() > 1e-3
        torch.testing.assert_close(theirs[key], ours[key], rtol=0, atol=1e-4)
    emb, act_emb = ours["emb"], ours["act_emb"]
    torch.testing.assert_close(module.predict(emb, act_emb), model.predict(emb, act_emb), rtol=0, atol=1e-4)

    planned = torch.randn(1, 6, 5, block, generator=generator)
    start, goal = torch.randn(2, 1, 1, 1, 3, size, size, generator=generator).expand(-1, -1, 6, -1, -1, -1, -1)
    info = {"pixels": start, "goal": goal, "action": torch.zeros(1, 6, 1, block)}
    costs = model.get_cost(dict(info), planned)
    assert costs.std() > 1e-3
    torch.testing.assert_close(module.get_cost(dict(info), planned), costs, rtol=1e-4, atol=1e-4)


# Formats


def test_safetensors_is_a_copy_with_the_card(home: Home, files: RunFiles, small_model: JEPA):
    done = convert(home, "safetensors", "--output", "deep/copy.safetensors", "--json")
    assert done.code == 0, done.err
    copy = Path("deep/copy.safetensors").resolve()
    assert copy.read_bytes() == files.weights.read_bytes()
    assert read_card(copy) == read_card(files.weights)
    assert_same_tensors(load_file(copy), small_model.state_dict())
    tree = done.json()
    assert tree["files"] == [{"path": str(copy), "bytes": copy.stat().st_size, "sha256": weights_digest(copy)}]
    assert (tree["run"], tree["target"], tree["path"], tree["tensors"]) == (NAME, "safetensors", str(copy), 104)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["object", "weights"])
@pytest.mark.parametrize("state", ["missing", "damaged", "good"])
def test_derived_files_are_written_anew_beside_the_run(home: Home, files: RunFiles, small_model: JEPA, target, state):
    path = files.object if target == "object" else files.state_dict
    if state == "missing":
        path.unlink()
    elif state == "damaged":
        path.write_bytes(b"damaged")
    done = convert(home, target, "--json")
    assert done.code == 0, done.err
    assert [file["path"] for file in done.json()["files"]] == [str(path)]
    card = read_card(files.weights)
    assert_same_tensors(read_derived(files.state_dict, card), small_model.state_dict())
    assert_same_tensors(read_derived(files.object, card), small_model.state_dict())
    assert lewm_here(home.write, "verify", NAME).code == 0


def test_object_elsewhere_is_the_model(home: Home, files: RunFiles, small_model: JEPA):
    assert convert(home, "object", "--output", "mine_object.ckpt", "-q").code == 0
    model = their_AutoCostModel("mine", cache_dir=Path.cwd())
    assert_same_tensors(model.state_dict(), small_model.state_dict())


@pytest.mark.slow
def test_object_of_stable_worldmodel_computes_the_same(home: Home, files: RunFiles, small_model: JEPA):
    done = convert(home, "swm-object", "--output", "swm_object.ckpt")
    assert done.code == 0, done.err
    module = torch.load("swm_object.ckpt", weights_only=False)
    assert type(module).__module__.startswith("stable_worldmodel.")
    assert_same_tensors(module.state_dict(), named_as_installed(small_model))
    assert_computes_the_same(module, small_model)
    assert_computes_the_same(their_AutoCostModel("swm", cache_dir=Path.cwd()), small_model)


@pytest.mark.parametrize("method", ["lewm", "pldm", "delta"])
@pytest.mark.parametrize(("target", "output", "name"), BACK)
def test_method_comes_back(home, small_model: JEPA, small_card, tmp_path, method, target, output, name):
    """What the format cannot say is said instead; a state dict goes by its name."""
    save_run(RunFiles(home.run_stem(NAME)), small_model, small_card(small_model, method))
    done = convert(home, target, "--output", home.write / output, "--json")
    assert done.code == 0, done.err
    if target == "weights":
        sizes = config_tree(small_model.config, BLOCK_DIM) | {"_target_": "jepa.JEPA"}  # which says no method
        (home.write / output).with_name("config.json").write_text(json.dumps(sizes))
    back = load_weights(home, name)
    known = method in STABLE_WORLDMODEL
    kept = target in ("safetensors", "object") or (known and target != "weights")
    assert back.method == (method if kept else "lewm")
    assert_same_tensors(back.model.state_dict(), small_model.state_dict())
    remarks = " ".join(done.json()["remarks"])
    assert (f"no class for what {method} trains: written as its LeWM" in remarks) == (
        not known and target in ("hub", "swm-object")
    )
    assert (f"not in it: method {method}, normalization" in remarks) == (target == "weights")


@pytest.mark.parametrize("target", ["hub", "swm-object"])
def test_pldm_is_written_as_stable_worldmodels_own(home: Home, small_model: JEPA, small_card, tmp_path, target: str):
    save_run(RunFiles(home.run_stem(NAME)), small_model, small_card(small_model, "pldm"))
    assert convert(home, target, "--output", tmp_path / "out").code == 0
    if target == "hub":
        tree = json.loads((tmp_path / "out" / "config.json").read_text())
        targets = re.findall(r"'_target_': '(stable_worldmodel\.[\w.]+)'", str(tree))
        assert targets == [f"stable_worldmodel.wm.pldm.{name}" for name in PLDM_CLASSES]
        module = adapter.build(tree)
        module.load_state_dict(named_as_installed(small_model), strict=True)
        module = module.eval()
    else:
        module = torch.load(tmp_path / "out", weights_only=False)
    assert type(module) is PLDM
    assert {type(part).__module__ for part in module.children() if "worldmodel" in type(part).__module__} == {
        "stable_worldmodel.wm.pldm.module"
    }
    assert_same_tensors(module.state_dict(), named_as_installed(small_model))
    assert_computes_the_same(module, small_model)


@pytest.mark.parametrize("names", [None, *Names])
def test_hub_folder_holds_every_tensor_and_the_card(home: Home, files: RunFiles, small_model: JEPA, names):
    done = convert(home, "hub", *(["--names", names] if names else []), "--json")
    assert done.code == 0, done.err
    folder = Path.cwd() / "tworoom-lewm-hub"
    assert sorted(path.name for path in folder.iterdir()) == sorted(HUB_FILES)
    expected = small_model.state_dict() if names is Names.CURRENT else released(small_model)
    assert_same_tensors(torch.load(folder / "weights.pt", weights_only=True), expected)
    assert RunCard.model_validate_json((folder / "card.json").read_text()) == read_card(files.weights)
    tree = done.json()
    assert tree["names"] == str(names or Names.RELEASED)
    assert {file["path"]: file["sha256"] for file in tree["files"]} == {
        str(folder / name): weights_digest(folder / name) for name in HUB_FILES
    }
    # The module that config.json describes, built by hand.
    module = adapter.build(json.loads((folder / "config.json").read_text()))
    module.load_state_dict(named_as_installed(small_model), strict=True)
    assert_computes_the_same(module.eval(), small_model)


def test_hub_folder_loads_in_stable_worldmodel(home: Home, files: RunFiles, small_model: JEPA):
    pytest.importorskip("hydra")
    pytest.importorskip("stable_pretraining")
    from stable_worldmodel.wm.utils import load_pretrained

    assert convert(home, "hub", "--names", INSTALLED).code == 0
    module = load_pretrained(str(Path.cwd() / "tworoom-lewm-hub"))
    assert_same_tensors(module.state_dict(), named_as_installed(small_model))
    assert_computes_the_same(module.eval(), small_model)


def test_configuration_of_the_release_is_the_released_one():
    expected = """
    {"_target_": "stable_worldmodel.wm.lewm.LeWM",
     "encoder": {"_target_": "stable_pretraining.backbone.utils.vit_hf", "size": "tiny", "patch_size": 14,
                 "image_size": 224, "pretrained": false, "use_mask_token": false},
     "predictor": {"_target_": "stable_worldmodel.wm.lewm.module.Predictor", "num_frames": 3, "input_dim": 192,
                   "hidden_dim": 192, "output_dim": 192, "depth": 6, "heads": 16, "mlp_dim": 2048, "dim_head": 64,
                   "dropout": 0.1, "emb_dropout": 0.0},
     "action_encoder": {"_target_": "stable_worldmodel.wm.lewm.module.Embedder", "input_dim": 10, "emb_dim": 192,
                        "smoothed_dim": 10, "mlp_scale": 4},
     "projector": {"_target_": "stable_worldmodel.wm.lewm.module.MLP", "input_dim": 192, "output_dim": 192,
                   "hidden_dim": 2048, "norm_fn": {"_target_": "torch.nn.BatchNorm1d", "_partial_": true}},
     "pred_proj": {"_target_": "stable_worldmodel.wm.lewm.module.MLP", "input_dim": 192, "output_dim": 192,
                   "hidden_dim": 2048, "norm_fn": {"_target_": "torch.nn.BatchNorm1d", "_partial_": true}}}
    """
    assert config_tree(ModelConfig(), BLOCK_DIM) == json.loads(expected)


@pytest.mark.parametrize(
    ("encoder", "size", "own"),
    [
        (EncoderConfig(width=384, heads=6, mlp=1536), "small", {}),
        (EncoderConfig(width=768, heads=12, mlp=3072), "base", {}),
        (EncoderConfig(depth=6), "tiny", {"num_hidden_layers": 6}),
        (EncoderConfig(width=384, heads=6), "tiny", {"hidden_size": 384, "num_attention_heads": 6}),
    ],
)
def test_encoder_of_any_size_is_a_named_one_with_settings_of_its_own(encoder: EncoderConfig, size: str, own: dict):
    tree = config_tree(ModelConfig(encoder=encoder), BLOCK_DIM)["encoder"]
    plain = config_tree(ModelConfig(), BLOCK_DIM)["encoder"]
    assert tree == {**plain, "size": size, **own}


def test_release_has_its_303_tensors_in_the_module_of_its_configuration():
    ours = JEPA(ModelConfig(), BLOCK_DIM)
    module = adapter.swm_module(ours)
    assert_same_tensors(module.state_dict(), named_as_installed(ours))
    names = {f"{key}\t{list(value.shape)}" for key, value in released(ours).items()}
    assert names == set(RELEASED_KEYS.read_text().splitlines())


@pytest.mark.parametrize("target", ["hub", "swm-object"])
def test_model_that_stable_worldmodel_does_not_have_is_refused(home, files, small_config, small_card, target):
    predictor = small_config.predictor.model_copy(update={"heads": 1, "head_dim": 8})
    model = JEPA(small_config.model_copy(update={"predictor": predictor}), BLOCK_DIM)
    save_run(files, model, small_card(model))
    assert "predictor.heads 1" in convert(home, target).sentence()
    assert list(Path.cwd().iterdir()) == []


def test_command_offers_every_format_and_every_naming():
    hints = typing.get_type_hints(convert_command.command)
    assert typing.get_args(hints["to"]) == tuple(Target)
    assert typing.get_args(typing.get_args(hints["names"])[0]) == tuple(Names)


def test_missing_package_is_said_with_what_to_type(home: Home, files: RunFiles, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert convert(home, "swm-object").sentence().endswith("pip install stable-worldmodel==0.1.1 transformers")
    assert convert(home, "hub").code == 0  # needs neither


# What is there already


@pytest.mark.slow
@pytest.mark.parametrize("target", list(Target))
def test_other_files_are_overwritten_only_when_asked(home: Home, files: RunFiles, target: Target):
    output = Path("place")
    if target in FOLDERS:
        output.mkdir()
        for name in FOLDERS[target]:
            (output / name).write_text("old")
    else:
        output.write_text("old")
    before = content(home)
    assert "--overwrite" in convert(home, target, "--output", output).sentence()
    assert content(home) == before
    assert convert(home, target, "--output", output, "--overwrite").code == 0
    assert b"old" not in [path.read_bytes() for path in (output.iterdir() if output.is_dir() else [output])]
    assert left_behind(Path.cwd()) == []


@pytest.mark.parametrize("target", list(Target))
def test_files_of_the_run_are_never_written_in_another_format(home: Home, files: RunFiles, target: Target):
    before = content(home)
    own = {files.weights: None, files.object: Target.OBJECT, files.state_dict: Target.WEIGHTS}
    for path, its in own.items():
        if its is not target:
            said = convert(home, target, "--output", path, "--overwrite").sentence()
            assert "belongs to the run itself" in said
    assert content(home) == before


def test_place_of_another_kind_is_refused(home: Home, files: RunFiles):
    Path("folder").mkdir()
    Path("folder/weights_epoch_3.pt").touch()
    Path("file").touch()
    before = content(home)
    assert "is a folder" in convert(home, "weights", "--output", "folder", "--overwrite").sentence()
    for target in FOLDERS:
        assert f"{target} is a folder" in convert(home, target, "--output", "file", "--overwrite").sentence()
        assert "'weights_epoch_3.pt'" in convert(home, target, "--output", "folder", "--overwrite").sentence()
    assert "cannot be written" in convert(home, "hub", "--output", "file/inside").sentence()
    assert content(home) == before


@pytest.mark.parametrize("target", ["object", "weights"])
def test_derived_files_wait_for_the_end_of_a_training(home: Home, files: RunFiles, target: str):
    with locked(files.weights, "busy"):
        assert "another process is writing" in convert(home, target).sentence()
        assert convert(home, target, "--output", "elsewhere").code == 0
    files.object.unlink()
    files.folder.mkdir()
    files.resume.touch()
    assert "lewm train tworoom --name tworoom/lewm --resume" in convert(home, target).sentence()
    assert files.stopped


def test_names_are_for_hub_folders_only(home: Home, files: RunFiles):
    assert "leave it out" in convert(home, "weights", "--names", "transformers-5").sentence(code=2)


def test_wrong_usage_and_missing_runs_are_sentences(home: Home, files: RunFiles):
    assert "tflite" in convert(home, "tflite").sentence(code=2)
    assert "--to" in lewm_here(home.write, "convert", NAME).sentence(code=2)
    assert "there is no run" in lewm_here(home.write, "convert", "tworoom/no", "--to", "hub").sentence()
    files.weights.write_bytes(files.weights.read_bytes()[:-100])
    assert "damaged" in convert(home, "safetensors").sentence()
    assert list(Path.cwd().iterdir()) == []


# Half of anything


def test_copy_of_a_file_that_changes_meanwhile_is_refused(home: Home, files: RunFiles, small_card, monkeypatch):
    def changed_after_loading(home: Home, name: str, **options: object):
        run = load_run(home, name, **options)
        save_run(files, JEPA(run.model.config, BLOCK_DIM), run.card)
        return run

    monkeypatch.setattr("lewm_cli.flows.convert.load_run", changed_after_loading)
    with pytest.raises(LewmError, match="written anew while it was copied"):
        convert_run(home, NAME, Target.SAFETENSORS)
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("old", [False, True])
def test_interrupted_folder_is_the_old_one_or_none(tmp_path: Path, old: bool):
    folder = tmp_path / "hub"
    if old:
        folder.mkdir()
        (folder / "config.json").write_text("old")

    def interrupted() -> None:
        with atomic_folder(folder, replaces=HUB_FILES) as part:
            (part / "config.json").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == (["hub"] if old else [])
    if old:
        assert (folder / "config.json").read_text() == "old"


@pytest.mark.slow
@pytest.mark.parametrize("cases", [5, pytest.param(1000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("target", [target for target in Target if target not in FOLDERS])
def test_killed_at_any_point_it_leaves_the_old_file_or_the_new_one(home: Home, files: RunFiles, target, cases: int):
    place = Path("place").resolve()

    def write() -> None:
        done = convert(home, target, "--output", place, "--overwrite")
        assert done.code == 0, done.err

    write()
    new = place.read_bytes()
    points = kill_points(place, write)
    assert len(points) > 20
    chance = random.Random(cases)
    found = set()
    for step, calls in chance.sample(points, min(cases - 2, len(points))):
        place.write_bytes(b"old")
        assert killed_at_step(step, calls, place, write) in (-signal.SIGKILL, 0)  # 0: the calls go beyond its end
        assert place.read_bytes() in (b"old", new), (step, calls)
        found.add(place.read_bytes())
    assert cases == 5 or found == {b"old", new}
    for size in chance.sample(range(len(new)), min(cases // 2, 20)):
        place.write_bytes(b"old")
        assert killed_at_byte(size, write) == -signal.SIGXFSZ
        assert place.read_bytes() == b"old"
    write()
    assert place.read_bytes() == new


@pytest.mark.slow
@pytest.mark.parametrize("cases", [5, pytest.param(100, marks=pytest.mark.soak)])
@pytest.mark.parametrize("target", [target for target in Target if target not in FOLDERS])
def test_full_disk_leaves_the_old_file(home: Home, files: RunFiles, small_disk, target, cases: int):
    """However much of the new one it would have held."""
    disk = small_disk("2m")
    place, ballast = disk / "place", disk / "ballast"
    arguments = (target, "--output", place, "--overwrite")
    assert convert(home, *arguments).code == 0
    size = place.stat().st_size
    chance = random.Random(cases)
    for _ in range(cases):
        ballast.unlink(missing_ok=True)
        place.write_bytes(b"old")
        ballast.write_bytes(bytes(shutil.disk_usage(disk).free - chance.randrange(size)))
        assert "is full" in convert(home, *arguments).sentence()
        assert place.read_bytes() == b"old"
        assert sorted(os.listdir(disk)) == ["ballast", "place"]


@pytest.mark.parametrize("exchanges", [True, False])
def test_folder_is_replaced_whole(tmp_path: Path, monkeypatch, exchanges: bool):
    """Also where the system cannot exchange two folders; a link to the folder stays one."""
    if not exchanges:
        monkeypatch.setattr("lewm_cli.files.exchanged", lambda first, second: False)
    folder, link = tmp_path / "hub", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    for name in HUB_FILES:
        (folder / name).write_text("old")
    with atomic_folder(link, replaces=HUB_FILES) as part:
        (part / "config.json").write_text("new")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"config.json": "new"}
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(LewmError, match=r"'notes\.txt'"), atomic_folder(folder, replaces=HUB_FILES):
        pass
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "notes.txt"]
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub", "link"]


@pytest.mark.slow
@pytest.mark.parametrize("target", list(Target))
def test_full_disk_leaves_nothing(home: Home, files: RunFiles, small_disk, target: Target):
    disk = small_disk("256k")
    done = lewm(home.write, "convert", NAME, "--to", target, "--output", disk / "place", cwd=disk)
    assert "is full" in done.sentence()
    assert os.listdir(disk) == []


# Of other tools


@pytest.mark.slow
def test_run_of_another_tool_becomes_one_of_ours(tmp_path: Path):
    """Its statistics are computed once; afterwards it needs neither them nor its config.json."""
    fixtures = Path(__file__).parents[1] / "fixtures" / "checkpoints"
    source, home = tmp_path / "theirs", tmp_path / "ours"
    (source / "tworoom").mkdir(parents=True)
    shutil.copy(fixtures / "jepa_tf4_object.ckpt", source / "tworoom" / "lejepa_object.ckpt")
    before = (source / "tworoom" / "lejepa_object.ckpt").read_bytes()
    target = home / "tworoom" / "mine.safetensors"
    target.parent.mkdir(parents=True)
    arguments = ("convert", "tworoom/lejepa", "--to", "safetensors", "--output", target)
    assert "--stats-from" in lewm_here(source, *arguments).sentence()
    write_recording(source / "tworoom" / "demos.h5", dims=2, size=16, task="tworoom")
    done = lewm_here(source, *arguments, "--stats-from", "tworoom/demos", "--json")
    assert done.code == 0, done.err
    ours, theirs = lewm_cli.load("tworoom/mine", home), lewm_cli.load("tworoom/lejepa", source)
    assert ours.card == theirs.card
    assert ours.card.provenance is None
    for key, tensor in theirs.model.state_dict().items():
        assert torch.equal(tensor, ours.model.state_dict()[key]), key
    assert (source / "tworoom" / "lejepa_object.ckpt").read_bytes() == before


def test_run_of_another_tool_is_never_written_over_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fixtures = Path(__file__).parents[1] / "fixtures" / "checkpoints"
    home, here = tmp_path / "home", tmp_path / "here"
    (home / "tworoom").mkdir(parents=True)
    here.mkdir()
    monkeypatch.chdir(here)
    shutil.copy(fixtures / "jepa_tf4_object.ckpt", home / "tworoom" / "lejepa_object.ckpt")
    write_recording(home / "tworoom" / "demos.h5", dims=2, size=16, task="tworoom")
    arguments = ("convert", "tworoom/lejepa", "--to", "object", "--stats-from", "tworoom/demos")
    assert lewm_here(home, *arguments).code == 0
    assert [path.name for path in here.iterdir()] == ["tworoom-lejepa_object.ckpt"]
    taken = lewm_here(home, *arguments[:4], "--output", home / "tworoom" / "lejepa_object.ckpt")
    assert "is there already" in taken.sentence()
