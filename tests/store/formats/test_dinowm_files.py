"""DINO-WMs of stable_worldmodel are read in every layout without its classes, or a sentence says why not."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import prejepas
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pickles import FIXTURES, assert_one_sentence, in_legacy, in_zip, little_cpu, mutated, take_apart
from prejepas import BLOCK, HISTORY, PACKAGE, PATCH, PROPRIO, SIZE, TRAINED, WIDTH
from safetensors.torch import save_file
from stable_worldmodel.wm.gcrl.gcrl import GCRL
from stable_worldmodel.wm.prejepa import PreJEPA
from torch import nn

from commands import flat, lewm_here
from lewm_cli.config import DinoWMConfig, DinoWMNopropConfig
from lewm_cli.errors import LewmError
from lewm_cli.methods import METHODS
from lewm_cli.store import Home, RunFiles, load_weights, read_card, save_derived, save_run
from lewm_cli.store import conversion as adapter
from lewm_cli.store.formats import read_checkpoint, read_trusted
from lewm_cli.store.formats.config_json import read_config_json
from lewm_cli.store.objects import read_derived, restore_model

ASSUMED = "sizes from shapes; heads of 64, dropout 0.1 and a history of 3 or 1 as published"
LAYOUTS = {
    "now_object.ckpt": "object checkpoint (stable_worldmodel.wm.prejepa.prejepa.PreJEPA, transformers 5 names)",
    "legacy_object.ckpt": "object checkpoint (stable_worldmodel.wm.prejepa.prejepa.PreJEPA, transformers 5 names)",
    "released_object.ckpt": "object checkpoint (stable_worldmodel.wm.prejepa.PreJEPA, transformers 4 names)",
    "tf5.pt": f"state dict (transformers 5 names, {ASSUMED})",
    "tf4.pt": f"state dict (transformers 4 names, {ASSUMED})",
    "maskless.safetensors": f"safetensors (transformers 5 names, {ASSUMED}; taken out of world_model)",
    "configured/weights.pt": "state dict (transformers 5 names, config.json)",
    "lightning.ckpt": f"Lightning checkpoint (transformers 4 names, {ASSUMED}; "
    "taken out of state_dict.model, backbone.backbone; left out: optimizer_states)",
}
MODELS: dict[str, dict[str, Any]] = {
    "dinowm": {},
    "dinowm_noprop": {"proprio": False},
    "single": {"proprio": False, "history": 1},
}
TOLD = {"dinowm": "dinowm", "dinowm_noprop": "dinowm_noprop", "single": "dinowm_noprop"}


def write(folder: Path, name: str, change: Callable[[Any], object] = id, **sizes: Any) -> Path:
    """One of the layouts of a model, to which something is done before."""
    model, path = prejepas.build(**sizes), folder / name
    change(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = model.state_dict()
    match name:
        case "now_object.ckpt":
            return prejepas.save(model, path)
        case "legacy_object.ckpt":
            return prejepas.save(model, path, _use_new_zipfile_serialization=False)
        case "released_object.ckpt":
            return prejepas.save_as_released(model, path)
        case "maskless.safetensors":
            left_out = (".bias_mask", "mask_token")
            kept = {
                key: value for key, value in state.items() if not key.endswith(("layers.0.0.bias", "layers.1.0.bias"))
            }
            save_file({f"world_model.{key}": value for key, value in kept.items() if left_out[1] not in key}, path)
            return path
        case "lightning.ckpt":
            wrapped = {f"model.{key}".replace("backbone.", "backbone.backbone."): value for key, value in state.items()}
            state = {"state_dict": prejepas.fourth(wrapped), "optimizer_states": [torch.zeros(2)]}
        case "tf4.pt":
            state = prejepas.fourth(state)
        case "configured/weights.pt":
            path.with_name("config.json").write_text(json.dumps(prejepas.tree(**sizes)))
    torch.save(state, path)
    return path


COMPARE = """
import sys

FOREIGN = {"transformers", "stable_worldmodel", "stable_pretraining"}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in FOREIGN:
            raise ImportError(f"{name} must not be imported")

sys.meta_path.insert(0, Refuse())

from pathlib import Path
import torch
from safetensors.torch import load_file
from lewm_cli.store.formats import read_checkpoint

given = load_file(sys.argv[1])
for name in sys.argv[2:]:
    path = Path(name)
    data = load_file(path.parents[path.parent.name == "configured"] / "expected.safetensors")
    checkpoint = read_checkpoint(path)
    model = checkpoint.spec.network().eval()
    model.load_state_dict(checkpoint.state, strict=True)
    assert all(value.dtype == torch.float32 for value in checkpoint.state.values())
    with torch.no_grad():
        steps = model.history
        emb = model.embed(given["pixels"][:, :steps], given["proprio"][:, :steps])
        predicted = model.predict(emb, model.embed_actions(given["action"][:, :steps]))
        starts = {key: given[key][:, None, :1] for key in ("pixels", "proprio", "goal", "goal_proprio")}
        info = {key: value.expand(-1, 4, *value.shape[2:]) for key, value in starts.items()}
        cost = model.get_cost(info, given["candidates"])
    for key, value in {"emb": emb, "predicted": predicted, "cost": cost}.items():
        assert data[key].std() > 1e-3, key
        torch.testing.assert_close(value, data[key], rtol=1e-4, atol=1e-4)
    print(checkpoint.spec.method, checkpoint.source, sep=": ")
assert not FOREIGN & sys.modules.keys()
"""


def test_files_compute_what_the_real_classes_compute_without_those_classes(tmp_path: Path):
    files = []
    save_file(prejepas.inputs(), tmp_path / "inputs.safetensors")
    for name, sizes in MODELS.items():
        files += [write(tmp_path / name, layout, **sizes) for layout in LAYOUTS]
        save_file(
            prejepas.expected(prejepas.build(**sizes), prejepas.inputs()), tmp_path / name / "expected.safetensors"
        )
    command = [sys.executable, "-c", COMPARE, tmp_path / "inputs.safetensors", *files]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [f"{TOLD[name]}: {said}" for name in MODELS for said in LAYOUTS.values()]


def refusal(path: Path, config: Path | None = None) -> str:
    with pytest.raises(LewmError) as caught:
        read_checkpoint(path, config)
    assert_one_sentence(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("layout", ["now_object.ckpt", "released_object.ckpt", "configured/weights.pt", "tf4.pt"])
def test_sizes_are_read_from_every_layout(layout: str, tmp_path: Path):
    spec = read_checkpoint(write(tmp_path, layout)).spec
    sizes = spec.sizes
    assert isinstance(sizes, DinoWMConfig)
    assert (spec.method, spec.block_dim, sizes.proprio, sizes.image_size) == ("dinowm", BLOCK, PROPRIO, SIZE)
    encoder, predictor = sizes.encoder, sizes.predictor
    assert (encoder.width, encoder.depth, encoder.heads, encoder.mlp) == (WIDTH, 2, 1, 2 * WIDTH)
    assert (encoder.patch_size, encoder.grid, encoder.epsilon, encoder.layer_scale) == (PATCH, TRAINED, 1e-6, True)
    assert (predictor.depth, predictor.heads, predictor.head_dim, predictor.mlp) == (2, 2, 64, 24)
    assert (predictor.dropout, predictor.embedding_dropout, sizes.history) == (0.1, 0.0, HISTORY)


@pytest.mark.slow
@pytest.mark.parametrize(("patches", "size"), [(196, 196), (256, 224)])
def test_release_is_recognized_by_its_shapes(patches: int, size: int, tmp_path: Path):
    with torch.device("meta"):
        model = prejepas.released(patches)
    state = {key: torch.rand(value.shape, dtype=torch.float16) for key, value in model.state_dict().items()}
    masks = [f"predictor.transformer.layers.{layer}.0.bias" for layer in range(6)]
    torch.save({key: value for key, value in state.items() if key not in masks}, tmp_path / "a.pt")
    spec = read_checkpoint(tmp_path / "a.pt").spec
    assert (spec.method, spec.block_dim, spec.sizes.image_size, spec.sizes.history) == ("dinowm_noprop", 25, size, 3)
    assert isinstance(spec.sizes, DinoWMNopropConfig)
    assert (spec.sizes.encoder.heads, spec.sizes.encoder.grid, spec.sizes.latent_dim) == (6, 37, patches * 384)
    assert (spec.sizes.predictor.heads, spec.sizes.predictor.head_dim) == (16, 64)


# Names


@pytest.mark.parametrize("layout", ["released_object.ckpt", "tf4.pt"])
@pytest.mark.parametrize("name", ["dinowm", "dinowm_noprop"])
def test_fetched_files_go_by_the_name_of_the_method(name: str, layout: str, tmp_path: Path):
    written = write(tmp_path / "download", layout, **MODELS[name])
    suffix = "_object.ckpt" if "object" in layout else ".pt"
    path = tmp_path / "home" / "pusht" / f"{name}-release{suffix}"
    path.parent.mkdir(parents=True)
    written.rename(path)
    shown = lewm_here(tmp_path / "home", "show", f"pusht/{name}", "--json").json()
    assert (shown["name"], shown["method"], shown["path"]) == (f"pusht/{name}-release", name, str(path))
    assert f" method {name} " in flat(lewm_here(tmp_path / "home", "show", f"pusht/{name}").out)
    (listed,) = lewm_here(tmp_path / "home", "ls", "--json").json()["runs"]
    assert listed["method"] == name
    (checked,) = lewm_here(tmp_path / "home", "verify", "--json").json()["checked"]
    assert (checked["method"], checked["problems"]) == (name, [])


@pytest.mark.parametrize(
    ("name", "method", "layout"),
    [("pusht/dinowm", "dinowm", "released_object.ckpt"), ("cube/dinowm_noprop", "dinowm_noprop", "tf4.pt")],
)
def test_published_files_are_fetched_and_read(name: str, method: str, layout: str, home: Home, tmp_path: Path):
    source = write(tmp_path / "download", layout, **MODELS[method])
    done = lewm_here(home.write, "fetch", name, "--source", source)
    assert done.code == 0, done.err
    count = len(prejepas.build(**MODELS[method]).state_dict()) - 3  # two masks, and a token
    assert f"{name}-release: method {method}, {count}/{count} tensors" in done.out
    shown = lewm_here(home.write, "show", name, "--json").json()
    assert (shown["name"], shown["method"], shown["tensors"]) == (f"{name}-release", method, count)


def test_a_name_says_nothing_about_the_network(tmp_path: Path):
    """LeWM's network does not become a DINO-WM by being called so."""
    path = tmp_path / "pusht" / "dinowm_object.ckpt"
    path.parent.mkdir()
    path.write_bytes((FIXTURES / "jepa_tf4_object.ckpt").read_bytes())
    assert lewm_here(tmp_path, "show", "pusht/dinowm", "--json").json()["method"] == "lewm"


def test_trusted_reading_agrees(tmp_path: Path):
    path = write(tmp_path, "now_object.ckpt")
    trusted, read = read_trusted(path), read_checkpoint(path)
    assert trusted.spec == read.spec
    assert all(torch.equal(trusted.state[key], value) for key, value in read.state.items())


# What is something else


BLOCKS = "predictor.transformer.layers"


@pytest.mark.parametrize("layout", ["now_object.ckpt", "released_object.ckpt"])
@pytest.mark.parametrize(
    ("where", "value", "told"),
    [
        ("predictor.num_frames", 2, "its predictor has 12 positions and says 2 frames of 4 patches"),
        ("predictor.num_patches", 6, "its predictor has 12 positions and says 3 frames of 6 patches"),
        ("predictor.num_frames", 10**15, "12 positions and says 1000000000000000 frames"),
        ("predictor.num_frames", None, "num_frames of the pickled module is None, not a positive whole number"),
        ("predictor.num_frames", -3, "num_frames of the pickled module is -3, not a positive whole number"),
        ("history_size", 1, "its predictor takes 3 frames, and its history_size is 1"),
        (f"{BLOCKS}.0.0.heads", 3, "heads differs between layers of the pickled module"),
        (f"{BLOCKS}.0.0.heads", 0, "is 0, not a positive whole number"),
        (f"{BLOCKS}.1.1.net.3.p", 0.5, "p differs between layers of the pickled module"),
        (f"{BLOCKS}.1.1.net.2.approximate", "tanh", "has approximate 'tanh', and only none is supported"),
        (f"{BLOCKS}.1.0.norm.eps", 1e-3, "its predictor.transformer.layers.1.0.norm has eps 0.001, and only 1e-05"),
        ("backbone.config.hidden_size", 65, "has normalized_shape a tuple, and only (65,) is supported"),
        ("backbone.config.hidden_size", 10**12, "larger than any LeWM, PLDM or DINO-WM"),
        ("backbone.config.num_hidden_layers", 3, "has nothing as encoder.backbone.layers.2.layernorm_before"),
        ("backbone.config.num_hidden_layers", 10**9, "larger than any LeWM, PLDM or DINO-WM"),
        ("backbone.config.num_attention_heads", 2, "its Dinov2 computes with 1 heads and says 2"),
        ("backbone.config.mlp_ratio", 3, "another shape: backbone."),
        ("backbone.config.image_size", 10**6, "larger than any LeWM, PLDM or DINO-WM"),
        ("backbone.config.image_size", 32, "another shape: backbone.embeddings.position_embeddings"),
        ("backbone.config.image_size", (24, 32), "the image_size of its Dinov2 is 24 x 32, and only squares are"),
        (
            "backbone.config.patch_size",
            4,
            "its encoder.backbone.embeddings.patch_embeddings.projection has kernel_size",
        ),
        ("backbone.config.patch_size", "8", "backbone.config.patch_size of the pickled module is '8', not a positive"),
        ("backbone.config.hidden_act", "relu", "its Dinov2 has hidden_act 'relu', and only gelu is supported"),
        ("backbone.config.use_swiglu_ffn", True, "its Dinov2 has use_swiglu_ffn True, and only False is supported"),
        ("extra_encoders.action.patch_embed.stride", (2,), "its extra_encoders.action.patch_embed has stride a tuple"),
    ],
)
def test_objects_that_contradict_themselves_are_refused(layout, where, value, told, tmp_path: Path):
    def change(model: Any) -> None:
        *path, last = where.split(".")
        for name in path:
            model = model[int(name)] if name.isdigit() else model[name] if name == "action" else getattr(model, name)
        vars(model)[last] = value  # past the checks of its class

    assert told in refusal(write(tmp_path, layout, change))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "prejepa.module\nEmbedder",
            "prejepa.module\nFeedForward",
            "has no Embedder as extra_encoders.proprio, which DINO",
        ),
        (
            "prejepa.module\nCausalPredictor",
            "prejepa.module\nTransformer",
            "has no CausalPredictor as predictor, which",
        ),
        (
            "prejepa.prejepa\nPreJEPA",
            "prejepa.module\nTransformer",
            "neither the tensors of a model nor a LeWM, PLDM or",
        ),
        ("prejepa.module\nAttention", "lewm.module\nAttention", "the pickled module does not say its heads"),
        ("prejepa.prejepa\nPreJEPA", "lewm.lewm\nLeWM", "has no Predictor as predictor, which LeWM and PLDM have"),
        (
            "prejepa.module\nEmbedder",
            "prejepa.module\ncreate_backbone",
            "names stable_worldmodel.wm.prejepa.module.create",
        ),
    ],
)
def test_objects_with_classes_in_wrong_places_are_refused(old: str, new: str, told: str, tmp_path: Path):
    content, storages = take_apart(write(tmp_path, "now_object.ckpt"))
    home = b"cstable_worldmodel.wm."
    assert home + old.encode() in content
    path = tmp_path / "changed_object.ckpt"
    path.write_bytes(in_zip(content.replace(home + old.encode(), home + new.encode()), storages))
    assert told in refusal(path)


@pytest.mark.parametrize("layout", ["now_object.ckpt", "released_object.ckpt"])
def test_calls_are_refused_before_anything_runs(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CANARY", str(tmp_path / "canary"))
    content, storages = take_apart(write(tmp_path, layout))
    path = tmp_path / "changed_object.ckpt"
    at = content.index(b"}q", 40)
    path.write_bytes(
        in_zip(content[:at] + b"cos\nsystem\nX\x0d\x00\x00\x00touch $CANARY\x85R0" + content[at:], storages)
    )
    assert "names os.system, which no checkpoint of LeWM, PLDM or DINO-WM needs; nothing was run" in refusal(path)
    content = content.replace(b"ctransformers.models.dinov2.modeling_dinov2\nDinov2MLP\n", b"cposix\nsystem\n")
    path.write_bytes(in_zip(content, storages))
    assert "names posix.system" in refusal(path)
    assert not (tmp_path / "canary").exists()


def other_backbone(kind: str) -> nn.Module:
    """A model around another encoder of transformers, tiny."""
    from transformers import ResNetConfig, ResNetModel, ViTConfig, ViTModel, VJEPA2Config, VJEPA2Model

    small = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 1}
    match kind:
        case "ViT":
            config = ViTConfig(**small, intermediate_size=8, image_size=SIZE, patch_size=PATCH)
            made: nn.Module = ViTModel(config, add_pooling_layer=False)
        case "ResNet":
            made = ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1]))
        case "V-JEPA":
            pred = {"pred_hidden_size": 8, "pred_num_attention_heads": 1, "pred_num_hidden_layers": 1}
            made = VJEPA2Model(VJEPA2Config(**small, **pred, crop_size=SIZE, patch_size=PATCH, pred_num_mask_tokens=1))
    model = prejepas.build()
    model.backbone = made
    return model


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("ViT", "has no Dinov2Model as backbone, which DINO-WM has"),
        (
            "ResNet",
            "names transformers.models.resnet.modeling_resnet.ResNetModel, which no checkpoint of LeWM, PLDM or",
        ),
        (
            "V-JEPA",
            "names transformers.models.vjepa2.modeling_vjepa2.VJEPA2Model, which no checkpoint of LeWM, PLDM or",
        ),
    ],
)
def test_another_backbone_is_refused(kind: str, told: str, tmp_path: Path):
    model = other_backbone(kind)
    assert told in refusal(prejepas.save(model, tmp_path / "run_object.ckpt"))
    torch.save(model.state_dict(), tmp_path / "run.pt")
    assert "its backbone is no DINOv2 of transformers, and no other is supported in a DINO-WM" in refusal(
        tmp_path / "run.pt"
    )


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (
            ("proprio", "state", "action"),
            "its extra_encoders are proprio, state, action, and a DINO-WM has proprio and",
        ),
        (
            ("action", "proprio"),
            "its extra_encoders are action, proprio, and a DINO-WM has proprio and action, in this",
        ),
        (
            ("proprio",),
            "its extra_encoders are proprio, and a DINO-WM has proprio and action, in this order, or action",
        ),
    ],
)
def test_other_extra_encoders_are_refused(names: tuple[str, ...], told: str, tmp_path: Path):
    model = prejepas.build()
    model.extra_encoders = nn.ModuleDict(dict.fromkeys(names, model.extra_encoders["action"]))
    assert told in refusal(prejepas.save(model, tmp_path / "run_object.ckpt"))


def test_masks_are_those_of_the_frames(tmp_path: Path):
    model = prejepas.build()
    model.predictor.transformer.layers[1][0].bias[0, 0, 0, -1] = 1  # the first frame sees the last
    torch.save(model.state_dict(), tmp_path / "run.pt")
    told = "its mask predictor.transformer.layers.1.0.bias is not that of 3 frames of 4 patches"
    assert told in refusal(tmp_path / "run.pt")
    assert told in refusal(prejepas.save(model, tmp_path / "run_object.ckpt"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"predictor.pos_embedding": (1, 15, 84)}, "of other sizes than published ones, of which heads and history"),
        (
            {"predictor.pos_embedding": (1, 3 * 64**2, 84)},
            "larger than any LeWM, PLDM or DINO-WM",
        ),
        ({"predictor.transformer.layers.0.0.to_qkv.weight": (96, 84)}, "of other sizes than published ones"),
        ({"extra_encoders.action.patch_embed.weight": (10, 9, 2)}, "another shape: extra_encoders.action.patch_embed"),
        ({"extra_encoders.state.patch_embed.weight": (10, 6, 1)}, "extra: extra_encoders.state.patch_embed.weight"),
        ({"backbone.layernorm.weight": None}, "missing: backbone.layernorm.weight"),
        (
            {"extra_encoders.action.patch_embed.weight": None},
            "it lacks extra_encoders.action.patch_embed.weight, which",
        ),
        ({"backbone.encoder.layer.9.norm1.weight": (64,)}, "missing: backbone.encoder.layer.2."),
        ({"decoder.weight": (3, 3)}, None),
    ],
)
def test_state_dicts_of_something_else_are_refused(change: dict[str, Any], told: str | None, tmp_path: Path):
    state = prejepas.build().state_dict()
    for key, shape in change.items():
        state.pop(key, None)
        if shape:
            state[key] = torch.rand(shape)
    torch.save(state, tmp_path / "run.pt")
    if told is None:
        assert read_checkpoint(tmp_path / "run.pt").source.endswith("; left out: decoder)")
        return
    said = refusal(tmp_path / "run.pt")
    assert told in said
    assert said.endswith("; put its config.json beside the weights, or name it: --config FILE")


@pytest.mark.parametrize("layout", ["now_object.ckpt", "released_object.ckpt", "tf4.pt"])
@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_truncated_files_are_refused(layout: str, part: float, tmp_path: Path):
    path = write(tmp_path, layout)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    assert "damaged or not a checkpoint" in refusal(path)


# config.json


def configured(folder: Path, tree: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(tree))
    return path


def changed(tree: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The tree with one dotted key set, or left out if the value is `...`."""
    *parents, last = key.split(".")
    table = tree
    for parent in parents:
        table = table[parent]
    if value is ...:
        del table[last]
    else:
        table[last] = value
    return tree


@pytest.mark.parametrize("root", ["stable_worldmodel.wm.PreJEPA", f"{PACKAGE}.PreJEPA", f"{PACKAGE}.prejepa.PreJEPA"])
@pytest.mark.parametrize("name", ["dinov2_small", "facebook/dinov2-small"])
def test_configuration_of_the_training_script_is_read(root: str, name: str, tmp_path: Path):
    tree = prejepas.tree() | {"_target_": root, "pixel_token": "patch"}  # the last is of a fork
    tree["encoder"] = {"_target_": f"{PACKAGE}.module.create_backbone", "name": name}
    tree["predictor"] |= {"num_patches": 196, "dim": 404, "depth": 6, "heads": 16, "mlp_dim": 2048}
    spec = read_config_json(configured(tmp_path, tree))
    encoder = {"layer_scale": True, "epsilon": 1e-6, "grid": 37}
    released = {"image_size": 196, "proprio": PROPRIO, "encoder": encoder}
    assert (spec.method, spec.block_dim) == ("dinowm", BLOCK)
    assert spec.sizes == DinoWMConfig.model_validate(released)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("encoder._target_", "os.system", "encoder._target_ is 'os.system', which is no part of LeWM, PLDM or DINO-WM"),
        ("encoder.config._target_", "builtins.exec", "encoder.config._target_ is 'builtins.exec', which is no part"),
        ("encoder.name", "dinov2_small", "encoder: transformers.Dinov2Model takes a config and nothing else"),
        ("encoder.config", ..., "encoder: transformers.Dinov2Model takes a config and nothing else"),
        (
            "encoder",
            {"_target_": f"{PACKAGE}.module.create_backbone", "name": "resnet_50"},
            "encoder.name: the encoder",
        ),
        (
            "encoder",
            {"_target_": f"{PACKAGE}.module.create_backbone", "name": "dinov2_giant"},
            "is DINOv2 here, small or",
        ),
        ("encoder", {"_target_": f"{PACKAGE}.module.create_backbone"}, "takes a name and nothing else"),
        ("encoder.config.hidden_act", "relu", "an unknown key, encoder.config.hidden_act"),
        ("encoder.config.patch_size", [8, 8], "encoder.config.patch_size is a list"),
        ("extra_encoders._target_", "torch.nn.ModuleList", "extra_encoders._target_ is 'torch.nn.ModuleList'"),
        ("extra_encoders.modules.state", {}, "an unknown key, extra_encoders.modules.state"),
        ("extra_encoders.modules.action", ..., "lacks extra_encoders.modules.action; add what is missing"),
        ("extra_encoders.modules.action.tubelet_size", 2, "extra_encoders.modules.action.tubelet_size is 2"),
        ("predictor._target_", "stable_worldmodel.wm.lewm.module.Predictor", "predictor._target_ is"),
        ("predictor.num_frames", "3", "predictor.num_frames is '3'"),
        ("predictor.num_frames", 1, "history_size is 3, but predictor.num_frames is 1"),
        (
            "predictor.num_patches",
            5,
            "its predictor sees 5 patches of a frame, and those of a square frame are a square",
        ),
        ("predictor.dim", 64, "predictor.dim is 64, but the encoder and extra_encoders make 84"),
        ("predictor.depth", ..., "lacks predictor.depth"),
        ("decoder", {"_target_": "os.system"}, "decoder is a dict"),
        ("num_pred", 2, "num_pred is 2"),
        ("history_size", 9, "history_size is 9, but predictor.num_frames is 3"),
    ],
)
def test_what_is_unknown_or_contradictory_is_refused_by_name(key: str, value: Any, told: str, tmp_path: Path):
    path = configured(tmp_path, changed(prejepas.tree(), key, value))
    with pytest.raises(LewmError) as caught:
        read_config_json(path)
    assert told in str(caught.value)
    assert_one_sentence(caught.value)


def test_embedders_come_in_the_order_of_the_tokens(tmp_path: Path):
    tree = prejepas.tree()
    tree["extra_encoders"]["modules"] = dict(reversed(tree["extra_encoders"]["modules"].items()))
    with pytest.raises(LewmError, match=r"extra_encoders\.modules: proprio has to stand before action"):
        read_config_json(configured(tmp_path, tree))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("predictor.depth", 3, "missing: predictor.transformer.layers.2."),
        ("predictor.heads", 3, "another shape: predictor.transformer.layers.0.0.to_qkv.weight"),
        ("encoder.config.image_size", 32, "another shape: backbone.embeddings.position_embeddings"),
        ("encoder.config.num_hidden_layers", 10**9, "larger than any LeWM, PLDM or DINO-WM"),
        ("predictor.num_patches", 10**30, "larger than any LeWM, PLDM or DINO-WM"),
        ("extra_encoders.modules.action.in_chans", 7, "another shape: extra_encoders.action.patch_embed.weight"),
    ],
)
def test_configuration_of_another_model_is_refused(key: str, value: Any, told: str, tmp_path: Path):
    path = write(tmp_path, "tf4.pt")
    assert told in refusal(path, configured(tmp_path, changed(prejepas.tree(), key, value)))


# Policies


@pytest.mark.parametrize("part", ["action_predictor", "value_predictor.student", "critic_predictor.teacher"])
def test_policies_are_recognized_and_refused(part: str, tmp_path: Path):
    state = {"encoder.embeddings.cls_token": torch.zeros(1, 1, 8), f"{part}.pos_embedding": torch.zeros(1, 3, 8)}
    state |= {"extra_encoders.proprio.patch_embed.weight": torch.zeros(1, 3, 8)}
    torch.save({"state_dict": {f"model.{key}": value for key, value in state.items()}}, tmp_path / "run.pt")
    told = f"it has {part.partition('.')[0]}, so it is a goal-conditioned policy of stable_worldmodel (GCBC, GCIVL or"
    assert told in refusal(tmp_path / "run.pt")


@pytest.mark.parametrize("name", ["gcrl.gcrl.GCRL", "gcrl.module.Predictor", "gcrl.GCRL"])
@pytest.mark.parametrize("container", [in_zip, in_legacy])
def test_pickled_policies_are_refused_by_name(name: str, container: Any, tmp_path: Path):
    module, _, last = name.rpartition(".")
    path = tmp_path / "gcbc_object.ckpt"
    path.write_bytes(container(f"\x80\x02cstable_worldmodel.wm.{module}\n{last}\n)\x81.".encode("latin-1")))
    said = refusal(path)
    assert f"it names stable_worldmodel.wm.{name}, so it is a goal-conditioned policy of stable_worldmodel" in said
    assert "train one with: lewm train TASK --method gcbc" in said


def test_real_policy_of_stable_worldmodel_is_not_evaluated_and_it_is_said_what_to_do(tmp_path: Path):
    policy = GCRL(encoder=nn.Linear(2, 2), action_predictor=nn.ModuleDict({"out_proj": nn.Linear(2, 2)}))
    (tmp_path / "tworoom").mkdir()
    torch.save(policy, tmp_path / "tworoom" / "gcbc_object.ckpt")
    said = lewm_here(tmp_path, "eval", "tworoom/gcbc").sentence()
    assert "so it is a goal-conditioned policy of stable_worldmodel (GCBC, GCIVL or GCIQL)" in said
    assert "lewm train TASK --method gcbc" in said


# And back


@pytest.fixture(params=["dinowm", "dinowm_noprop"])
def trained(request: pytest.FixtureRequest, home: Home, small_card: Any) -> RunFiles:
    """A run of ours, with the weights of one of theirs."""
    model, files = prejepas.build(**MODELS[request.param]), RunFiles(home.run_stem(f"pusht/{request.param}"))
    home.write.mkdir()
    torch.save(model.state_dict(), home.write / "theirs.pt")
    read = read_checkpoint(home.write / "theirs.pt")
    (home.write / "theirs.pt").unlink()
    ours = read.spec.network().eval()
    ours.load_state_dict(read.state)
    save_run(files, ours, small_card(ours, request.param))
    save_derived(files, ours, request.param)
    return files


def converted(home: Home, files: RunFiles, target: str, name: str, *options: object) -> Path:
    done = lewm_here(
        home.write, "convert", f"pusht/{files.stem.name}", "--to", target, "--output", home.write / name, *options
    )
    assert done.code == 0, done.err
    return home.write / name


def assert_theirs(module: Any, method: str) -> None:
    """It is the model that the run was made of."""
    original = prejepas.build(**MODELS[method])
    assert {key: tuple(value.shape) for key, value in module.state_dict().items()} == {
        key: tuple(value.shape) for key, value in original.state_dict().items()
    }
    found, wanted = (prejepas.expected(model.eval(), prejepas.inputs()) for model in (module, original))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_stable_worldmodel_builds_what_a_hub_folder_describes(home: Home, trained: RunFiles):
    method, version = trained.stem.name, transformers.__version__.partition(".")[0]
    folder = converted(home, trained, "hub", "hub", "--names", f"transformers-{version}")
    module = adapter.build(json.loads((folder / "config.json").read_text()))
    module.load_state_dict(torch.load(folder / "weights.pt", weights_only=True), strict=True)
    assert type(module) is PreJEPA
    assert_theirs(module, method)
    other = converted(home, trained, "hub", "other")
    assert torch.load(other / "weights.pt").keys() == prejepas.fourth(module.state_dict()).keys()


def test_object_of_stable_worldmodel_computes_the_same(home: Home, trained: RunFiles):
    module = torch.load(converted(home, trained, "swm-object", "swm_object.ckpt"), weights_only=False)
    assert type(module) is PreJEPA
    assert_theirs(module, trained.stem.name)


@pytest.mark.parametrize("target", ["hub", "swm-object", "object", "weights", "safetensors"])
def test_every_format_is_read_again(home: Home, trained: RunFiles, target: str):
    path = converted(home, trained, target, {"hub": "back", "safetensors": "back.safetensors"}.get(target, "back.pt"))
    back, run = load_weights(home, "back"), load_weights(home, f"pusht/{trained.stem.name}")
    assert path.exists()
    assert back.method == run.method == trained.stem.name
    assert all(torch.equal(value, run.model.state_dict()[key]) for key, value in back.model.state_dict().items())


@pytest.mark.parametrize("which", ["state_dict", "object"])
def test_derived_files_are_read_and_checked(trained: RunFiles, which: str):
    path, card = getattr(trained, which), read_card(trained.weights)
    state = read_derived(path, card)
    assert state.keys() == card.new_model().state_dict().keys()
    other = card.model.model_copy(update={"history": 1})
    with pytest.raises(LewmError, match=r"holds a model of other sizes|tensors fit; another shape"):
        read_derived(path, card.model_copy(update={"model": other}))


def test_another_encoder_than_dinov2_stays_with_lewm(home: Home, small_card: Any):
    sizes = {"image_size": SIZE, "encoder": {"patch_size": PATCH, "width": 12, "depth": 1, "heads": 3, "mlp": 24}}
    model = METHODS["dinowm_noprop"].network(DinoWMNopropConfig.model_validate(sizes), BLOCK)
    save_run(RunFiles(home.run_stem("pusht/own")), model, small_card(model, "dinowm_noprop"))
    for target in ("hub", "swm-object"):
        said = lewm_here(home.write, "convert", "pusht/own", "--to", target, "--output", home.write / "out").sentence()
        assert "the encoder of this run (its own) is another; --to object keeps the module of lewm" in said
    assert not (home.write / "out").exists()


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"proprio": None}, "does not say how many dimensions of proprioception it takes"),
        ({"history": 9000}, "larger than any LeWM, PLDM or DINO-WM"),
        ({"image_size": 60000, "encoder": {"patch_size": 1}}, "larger than any LeWM, PLDM or DINO-WM"),
    ],
)
def test_own_objects_of_impossible_sizes_are_refused(sizes: dict[str, Any], told: str, tmp_path: Path):
    config = DinoWMConfig.model_validate({"proprio": 4, **sizes})
    pickled = Calling(restore_model, config.model_dump_json(), BLOCK, {"a": torch.zeros(3)}, "dinowm")
    torch.save(pickled, tmp_path / "run_object.ckpt")
    assert told in refusal(tmp_path / "run_object.ckpt")


class Calling:
    """Pickles as a call."""

    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self.call[0], self.call[1:]


# Cuts and flips


@cache
def honest(layout: str) -> tuple[bytes, dict[str, bytes]]:
    """The pickle and the storages of a file."""
    with TemporaryDirectory() as folder:
        return take_apart(write(Path(folder), layout))


def survives(layout: str, seed: int, folder: Path) -> bool:
    """Tells whether a file with changes is still read; it is then a valid model, and else a sentence says why not."""
    content, storages = honest(layout)
    path = folder / "mutated_object.ckpt"
    whole = in_zip(mutated(content, seed), storages)
    path.write_bytes(whole[: len(whole) * (seed % 100) // 100] if seed % 3 == 0 else whole)
    try:
        with little_cpu():
            read = read_checkpoint(path)
    except LewmError as error:
        assert_one_sentence(error)
        return False
    read.spec.network().load_state_dict(read.state, strict=True)
    return True


FUZZ: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}
FUZZED = pytest.mark.parametrize("layout", ["now_object.ckpt", "released_object.ckpt", "tf4.pt"])


@FUZZED
@settings(max_examples=5, **FUZZ)
@given(seed=st.integers(0, 2**32))
def test_mutated_files_are_read_or_refused(layout: str, seed: int, tmp_path_factory: pytest.TempPathFactory):
    survives(layout, seed, tmp_path_factory.getbasetemp())


@pytest.mark.soak
@FUZZED
@settings(max_examples=2000, **FUZZ)
@given(seed=st.integers(0, 2**32))
def test_many_mutated_files_are_read_or_refused(layout: str, seed: int, tmp_path_factory: pytest.TempPathFactory):
    survives(layout, seed, tmp_path_factory.getbasetemp())


@pytest.mark.slow
def test_some_mutations_pass_and_some_do_not(tmp_path: Path):
    survived = {survives("now_object.ckpt", seed, tmp_path) for seed in range(1, 40)}
    assert survived == {True, False}, "or the fuzzing above tests nothing"
