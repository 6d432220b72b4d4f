"""PLDM is LeWM's network with the same names: it is told by its class, wherever that is written, or by its name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pickles import FIXTURES, assert_one_sentence, in_zip, take_apart
from safetensors.torch import save_file
from stable_worldmodel.wm import lewm, pldm
from stable_worldmodel.wm.lewm import module as lewm_parts
from stable_worldmodel.wm.pldm import module as pldm_parts
from torch import nn

import lewm_cli
from commands import flat, lewm_here
from lewm_cli.errors import LewmError
from lewm_cli.store.formats import ChoiceError, config_tree, read_checkpoint, read_trusted
from lewm_cli.store.formats.config_json import read_config_json
from synthetic import write_recording
from theirs import BLOCK_DIM, build_theirs

PACKAGE = "stable_worldmodel.wm"
MODELS = {"lewm": (lewm.LeWM, lewm_parts), "pldm": (pldm.PLDM, pldm_parts)}
ROOTS = {
    f"{PACKAGE}.lewm.LeWM": "lewm",
    f"{PACKAGE}.lewm.lewm.LeWM": "lewm",
    f"{PACKAGE}.pldm.PLDM": "pldm",
    f"{PACKAGE}.pldm.pldm.PLDM": "pldm",
    "jepa.JEPA": None,
}
HOMES = ("module", f"{PACKAGE}.lewm.module", f"{PACKAGE}.pldm.module")
PARTS = {"predictor": "Predictor", "action_encoder": "Embedder", "projector": "MLP", "pred_proj": "MLP"}


@pytest.fixture(scope="module")
def build(small_config, scramble) -> Callable[..., nn.Module]:
    def made(method: str = "pldm", parts: ModuleType | None = None) -> nn.Module:
        model, own_parts = MODELS[method]
        return scramble(build_theirs(small_config, model, parts or own_parts)).eval()

    return made


@pytest.fixture(scope="module")
def theirs(build) -> nn.Module:
    """A PLDM of stable_worldmodel."""
    return build()


@pytest.fixture(scope="module")
def tree(small_config) -> dict[str, Any]:
    """The config.json of that model, as a training script of stable_worldmodel writes it."""
    written = json.dumps(config_tree(small_config, BLOCK_DIM))
    return json.loads(
        written.replace("wm.lewm.LeWM", "wm.pldm.pldm.PLDM").replace("wm.lewm.module.", "wm.pldm.module.")
    )


def write(folder: Path, name: str, content: object, tree: dict[str, Any] | None = None, **options: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path, **options)
    if tree:
        path.with_name("config.json").write_text(json.dumps(tree))
    return path


@torch.no_grad()
def computed(model: Any) -> dict[str, torch.Tensor]:
    """Latents, a prediction and costs of plans."""
    draw = torch.Generator().manual_seed(3)
    frames, goal = torch.randn(2, 1, 2, 3, 64, 64, generator=draw)
    blocks = torch.randn(1, 2, BLOCK_DIM, generator=draw)
    plans = torch.randn(1, 6, 5, BLOCK_DIM, generator=draw)
    made = model.encode({"pixels": frames, "action": blocks})
    found = {"emb": made["emb"], "predicted": model.predict(made["emb"], made["act_emb"])}
    start, goal = (each[:, None, :1].expand(-1, 6, -1, -1, -1, -1) for each in (frames, goal))
    info = {"pixels": start, "goal": goal, "action": torch.zeros(1, 6, 1, BLOCK_DIM)}
    return found | {"cost": model.get_cost(info, plans)}


@pytest.mark.parametrize("form", ["object", "legacy object", "object in a dictionary", "hub", "epoch", "safetensors"])
def test_pldm_says_what_it_is_in_every_format(form: str, theirs: nn.Module, tree: dict[str, Any], tmp_path: Path):
    home, state = tmp_path / "home", theirs.state_dict()
    match form:
        case "object":
            write(home, "task/best_object.ckpt", theirs)
        case "legacy object":
            write(home, "task/best.pt", theirs, _use_new_zipfile_serialization=False)
        case "object in a dictionary":
            write(home, "task/best.ckpt", {"model": theirs, "epoch": 3})
        case "hub":
            write(home, "task/best/weights.pt", state, tree)
        case "epoch":
            write(home, "task/best/weights_epoch_3.pt", state, tree)
        case "safetensors":
            write(home, "task/other.pt", {}, tree).unlink()
            save_file(state, home / "task" / "best.safetensors")
    model = lewm_cli.AutoCostModel("task/best", cache_dir=home)
    for name, value in computed(theirs).items():
        assert value.abs().max() > 1e-3
        torch.testing.assert_close(computed(model)[name], value, rtol=1e-5, atol=1e-5)
    shown = lewm_here(home, "show", "task/best", "--json").json()
    assert (shown["method"], shown["tensors"]) == ("pldm", len(state))
    assert " method pldm " in flat(lewm_here(home, "show", "task/best").out)
    (checked,) = lewm_here(home, "verify", "--json").json()["checked"]
    assert (checked["method"], checked["problems"]) == ("pldm", [])
    assert f"method pldm, {len(state)}/{len(state)} tensors" in lewm_here(home, "verify").out
    # A list opens no pickles.
    (listed,) = lewm_here(home, "ls", "--json").json()["runs"]
    assert listed["method"] == (None if "object" in form else "pldm")
    write_recording(home / "demos.h5", dims=2, size=64, task="tworoom")
    assert lewm_here(home, "show", "task/best", "--stats-from", "demos").code == 0
    run = lewm_cli.load("task/best", cache_dir=home)
    assert (run.method, run.card.method) == ("pldm", "pldm")
    assert "method pldm" in repr(run)


@pytest.mark.parametrize("name", ["swm_tf4_object.ckpt", "swm_tf5_object.ckpt"])
def test_objects_of_both_generations_of_transformers_are_read(name: str, tmp_path: Path):
    """Those of PLDM differ from LeWM's in the names of classes alone."""
    content, storages = take_apart(FIXTURES / name)
    assert content.count(b".wm.lewm.") > 5
    path = tmp_path / name
    path.write_bytes(
        in_zip(content.replace(b".wm.lewm.lewm\nLeWM", b".wm.pldm.pldm\nPLDM").replace(b".lewm.", b".pldm."), storages)
    )
    read, expected = read_checkpoint(path), read_checkpoint(FIXTURES / name)
    assert (read.spec.method, expected.spec.method) == ("pldm", "lewm")
    assert read.spec.sizes == expected.spec.sizes
    assert read.source == expected.source.replace("lewm.lewm.LeWM", "pldm.pldm.PLDM")
    assert all(torch.equal(read.state[key], value) for key, value in expected.state.items())


@pytest.mark.parametrize("root", ["lewm", "pldm"])
def test_trusted_objects_say_it_too(root: str, build, tmp_path: Path, small_config):
    tree = config_tree(small_config, BLOCK_DIM) | {"_target_": "jepa.JEPA"}
    path = write(tmp_path, "model.pt", {"model": build(root)}, tree)
    assert read_trusted(path).spec.method == root


# Mixtures


@pytest.mark.parametrize(("root", "parts"), [("pldm", lewm_parts), ("lewm", pldm_parts)])
def test_the_model_says_the_method_and_not_its_parts(root: str, parts: ModuleType, build, tmp_path: Path):
    """The parts are the same code in both packages; PLDM was trained with those of LeWM, too."""
    model = build(root, parts)
    read = read_checkpoint(write(tmp_path, "model.ckpt", model))
    assert read.spec.method == root
    network = read.spec.network().eval()
    network.load_state_dict(read.state, strict=True)
    torch.testing.assert_close(computed(network), computed(model), rtol=1e-5, atol=1e-5)


def test_a_file_of_both_asks_which(build, tmp_path: Path):
    path = write(tmp_path, "both.ckpt", {"one": build("lewm"), "other": build("pldm")})
    with pytest.raises(LewmError, match="it holds 2 models that differ, one and other") as caught:
        read_checkpoint(path)
    assert isinstance(caught.value.__cause__, ChoiceError)
    assert [read_checkpoint(path, copy=copy).spec.method for copy in ("one", "other")] == ["lewm", "pldm"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            b"c%s.pldm.pldm\nPLDM\n",
            b"c%s.pldm.module\nMLP\n",
            "neither the tensors of a model nor a LeWM, PLDM or DINO-WM",
        ),
        (b"c%s.pldm.pldm\nPLDM\n", b"c%s.prejepa.prejepa\nPreJEPA\n", "has no Dinov2Model as backbone, which DINO"),
        (b"c%s.pldm.module\nPredictor\n", b"c%s.pldm.module\nEmbedder\n", "has no Predictor as predictor, which LeWM"),
        (b"c%s.pldm.module\nPredictor\n", b"c%s.pldm.pldm\nPLDM\n", "has no Predictor as predictor, which LeWM"),
        (b"c%s.pldm.module\nEmbedder\n", b"cposix\nsystem\n", "names posix.system, which no checkpoint of LeWM"),
    ],
)
def test_objects_with_classes_in_wrong_places_are_refused(old, new, said: str, theirs: nn.Module, tmp_path: Path):
    content, storages = take_apart(write(tmp_path, "honest.ckpt", theirs))
    package = PACKAGE.encode()
    assert content.count(old % package) == 1
    path = tmp_path / "model.ckpt"
    path.write_bytes(in_zip(content.replace(old % package, new % package if b"%" in new else new), storages))
    with pytest.raises(LewmError) as caught:
        read_checkpoint(path)
    assert said in str(caught.value)
    assert_one_sentence(caught.value)


names = st.sampled_from(
    [*ROOTS, *(f"{home}.{part}" for home in HOMES for part in PARTS.values()), "os.system", "", f"{PACKAGE}.pldm", 5]
)


@given(root=names, parts=st.fixed_dictionaries(dict.fromkeys(PARTS, names)))
def test_a_configuration_is_read_if_every_class_is_in_its_place(root, parts, tree, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "config.json"
    path.write_text(json.dumps(tree | {"_target_": root} | {k: tree[k] | {"_target_": v} for k, v in parts.items()}))
    right = root in ROOTS and all(target in [f"{home}.{PARTS[k]}" for home in HOMES] for k, target in parts.items())
    if right:
        assert read_config_json(path).method == ROOTS[root]
        return
    with pytest.raises(
        LewmError, match="which is no part of LeWM, PLDM or DINO-WM that is known here; it was not imported"
    ):
        read_config_json(path)


@given(
    root=st.sampled_from([*ROOTS]),
    parts=st.fixed_dictionaries({k: st.sampled_from(HOMES).map(f"{{}}.{v}".format) for k, v in PARTS.items()}),
)
def test_parts_of_any_package_are_read(root, parts, tree, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "config.json"
    path.write_text(json.dumps(tree | {"_target_": root} | {k: tree[k] | {"_target_": v} for k, v in parts.items()}))
    assert read_config_json(path).method == ROOTS[root]


# Where no class says it


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("pusht/pldm", "pldm"),
        ("pusht/pldm-2", "pldm"),
        ("pldm_reacher", "pldm"),
        ("pldm/best", "pldm"),
        ("pusht/pldm/lewm", "lewm"),
        ("pusht/lejepa", "lewm"),
        ("pusht/pldmish", "lewm"),
    ],
)
def test_the_name_says_what_the_class_of_the_authors_does_not(tmp_path: Path, name: str, method: str):
    """They trained LeWM and PLDM in one class, `jepa.JEPA`."""
    path = tmp_path / f"{name}_object.ckpt"
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(FIXTURES / "jepa_tf4_object.ckpt", path)
    assert read_checkpoint(path).spec.method is None
    shown = lewm_here(tmp_path, "show", name, "--json")
    assert shown.json()["method"] == method
    assert ("it is taken for pldm, after its name" in shown.err) == (method == "pldm")
    assert lewm_here(tmp_path, "verify", name, "--json").json()["checked"][0]["method"] == method


def test_a_class_is_believed_before_a_name(theirs: nn.Module, tmp_path: Path):
    write(tmp_path, "pusht/lewm_object.ckpt", theirs)
    assert lewm_here(tmp_path, "show", "pusht/lewm", "--json").json()["method"] == "pldm"


@pytest.mark.parametrize("form", ["object", "folder"])
def test_files_of_the_catalogs_pldm_go_by_its_name(form: str, theirs, tree, tmp_path: Path, home):
    """Published nowhere: whoever has them fetches them from there."""
    said = lewm_here(home.write, "fetch", "pusht/pldm").sentence()
    assert said.endswith("if you have its file: lewm fetch pusht/pldm --source FILE")
    theirs_files = tmp_path / "download"
    if form == "object":
        source = write(theirs_files, "pldm_object.ckpt", theirs)
    else:
        source = write(theirs_files, "weights.pt", theirs.state_dict(), tree).parent
    done = lewm_here(home.write, "fetch", "pusht/pldm", "--source", source)
    assert done.code == 0, done.err
    assert "pusht/pldm-release: method pldm, 104/104 tensors" in done.out
    shown = lewm_here(home.write, "show", "pusht/pldm", "--json").json()
    assert (shown["name"], shown["method"]) == ("pusht/pldm-release", "pldm")
    write(home.write, "pusht/pldm_object.ckpt", theirs)
    assert lewm_here(home.write, "show", "pusht/pldm", "--json").json()["name"] == "pusht/pldm"
