"""A config.json goes through fixed tables: what it names is never imported, and whatever is unknown is said by name."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from pickles import FIXTURES, STATES, assert_one_sentence

from lewm_cli.config import ModelConfig
from lewm_cli.errors import LewmError
from lewm_cli.store.formats import ModelSpec, read_checkpoint
from lewm_cli.store.formats.config_json import read_config_json

WRITTEN = json.loads((FIXTURES / "config.json").read_text())

PART = "stable_worldmodel.wm.lewm.module"


def released(action: int = 10) -> dict[str, Any]:
    """The config.json of the release."""
    mlp = {"_target_": f"{PART}.MLP", "input_dim": 192, "output_dim": 192, "hidden_dim": 2048}
    mlp["norm_fn"] = {"_target_": "torch.nn.BatchNorm1d", "_partial_": True}
    return {
        "_target_": "stable_worldmodel.wm.lewm.LeWM",
        "encoder": {
            "_target_": "stable_pretraining.backbone.utils.vit_hf",
            "size": "tiny",
            "patch_size": 14,
            "image_size": 224,
            "pretrained": False,
            "use_mask_token": False,
        },
        "predictor": {
            "_target_": f"{PART}.Predictor",
            "num_frames": 3,
            "input_dim": 192,
            "hidden_dim": 192,
            "output_dim": 192,
            "depth": 6,
            "heads": 16,
            "mlp_dim": 2048,
            "dim_head": 64,
            "dropout": 0.1,
            "emb_dropout": 0.0,
        },
        "action_encoder": {"_target_": f"{PART}.Embedder", "input_dim": action, "emb_dim": 192},
        "projector": mlp,
        "pred_proj": copy.deepcopy(mlp),
    }


def changed(tree: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy with one dotted key set, or left out if the value is `...`."""
    tree = copy.deepcopy(tree)
    *parents, last = key.split(".")
    table = tree
    for parent in parents:
        table = table[parent]
    if value is ...:
        del table[last]
    else:
        table[last] = value
    return tree


def file(folder: Path, tree: Any) -> Path:
    path = folder / "config.json"
    path.write_text(tree if isinstance(tree, str) else json.dumps(tree))
    return path


@pytest.mark.parametrize("action", [10, 25])
def test_released_configuration_is_ours(action, tmp_path):
    assert read_config_json(file(tmp_path, released(action))) == ModelSpec(ModelConfig(), action, "lewm")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("_target_", "jepa.JEPA"),
        ("_target_", "stable_worldmodel.wm.lewm.lewm.LeWM"),
        ("predictor._target_", "module.ARPredictor"),
        ("action_encoder._target_", "module.Embedder"),
        ("projector._target_", "module.MLP"),
        ("predictor.output_dim", None),
        ("predictor.dim_head", ...),
        ("embed_dim", 192),
        ("history_size", 3),
        ("encoder.size", ...),
    ],
)
def test_old_names_and_defaults_mean_the_same(key, value, tmp_path):
    assert read_config_json(file(tmp_path, changed(released(), key, value))).sizes == ModelConfig()


@pytest.mark.parametrize(
    ("size", "width", "depth", "heads"), [("tiny", 192, 12, 3), ("small", 384, 12, 6), ("base", 768, 12, 12)]
)
def test_sizes_of_the_vit(size, width, depth, heads, tmp_path):
    tree = changed(changed(released(), "encoder.size", size), "projector.input_dim", width)
    encoder = read_config_json(file(tmp_path, tree)).sizes.encoder
    assert (encoder.width, encoder.depth, encoder.heads, encoder.mlp) == (width, depth, heads, 4 * width)


def test_predictor_may_be_wider_than_the_latent(tmp_path):
    assert (
        read_config_json(file(tmp_path, changed(released(), "predictor.hidden_dim", 384))).sizes.predictor.width == 384
    )


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("_target_", "os.system", "_target_ is 'os.system', which is no part of LeWM, PLDM or DINO-WM"),
        ("_target_", "stable_worldmodel.wm.prejepa.PreJEPA", "encoder._target_ is 'stable_pretraining.backbone.utils"),
        ("_target_", "stable_worldmodel.wm.tdmpc2.TDMPC2", "_target_ is 'stable_worldmodel.wm.tdmpc2.TDMPC2', which"),
        ("_target_", "stable_worldmodel.wm.pldm.module.MLP", "_target_ is 'stable_worldmodel.wm.pldm.module.MLP'"),
        ("predictor._target_", "stable_worldmodel.wm.pldm.module.MLP", "predictor._target_ is"),
        ("_target_", ..., "lacks _target_"),
        ("encoder._target_", "antigravity.fly", "encoder._target_ is 'antigravity.fly'"),
        ("encoder._target_", ["os.system"], "encoder._target_ is a list"),
        ("projector.norm_fn._target_", "torch.nn.LayerNorm", "projector.norm_fn._target_ is 'torch.nn.LayerNorm'"),
        ("projector.norm_fn._partial_", False, "projector.norm_fn._partial_ is False"),
        ("projector.norm_fn.eps", 0.1, "an unknown key, projector.norm_fn.eps"),
        ("projector.act_fn", "x", "an unknown key, projector.act_fn"),
        ("encoder.hidden_act", "relu", "an unknown key, encoder.hidden_act"),
        ("encoder.pretrained", True, "encoder.pretrained is True"),
        ("encoder.use_mask_token", True, "encoder.use_mask_token is True"),
        ("encoder.size", "giant", "encoder.size is 'giant'"),
        ("encoder.image_size", 225, "not a multiple"),
        ("encoder.image_size", "${img_size}", "encoder.image_size is '${img_size}'"),
        ("encoder.num_attention_heads", 5, "not a multiple"),
        ("predictor.heads", "16", "predictor.heads is '16'"),
        ("predictor.heads", 0, "predictor.heads is 0"),
        ("predictor.heads", 1.5, "predictor.heads is 1.5"),
        ("predictor.heads", True, "predictor.heads is True"),
        ("predictor.heads", ..., "lacks predictor.heads"),
        ("predictor.dropout", 1.0, "predictor.dropout is 1.0"),
        ("predictor", None, "predictor is None"),
        ("extra\x1b[31m", 1, "an unknown key, 'extra\\x1b[31m'"),
        ("predictor.input_dim", 96, "predictor.input_dim is 96, but projector.output_dim is 192"),
        ("pred_proj.hidden_dim", 96, "pred_proj.hidden_dim is 96, but projector.hidden_dim is 2048"),
        ("encoder.size", "small", "projector.input_dim is 192, but the width of the encoder is 384"),
        ("embed_dim", 96, "embed_dim is 96"),
        ("history_size", 1, "history_size is 1, but predictor.num_frames is 3"),
    ],
)
def test_what_is_unknown_or_contradictory_is_refused_by_name(key, value, told, tmp_path):
    with pytest.raises(LewmError) as caught:
        read_config_json(file(tmp_path, changed(released(), key, value)))
    assert told in str(caught.value)
    assert_one_sentence(caught.value)
    assert "antigravity" not in sys.modules


def test_everything_that_is_missing_is_named_at_once(tmp_path):
    tree = changed(changed(released(), "predictor.heads", ...), "encoder.use_mask_token", ...)
    with pytest.raises(LewmError) as caught:
        read_config_json(file(tmp_path, tree))
    assert "config.json lacks encoder.use_mask_token, predictor.heads; " in str(caught.value)
    assert "--config FILE" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"a": NaN}',
        '{"_target_": "jepa.JEPA", "_target_": "os.system"}',
        '{"a": ' + "9" * 5000 + "}",
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
        " " * (2**20 + 1),
    ],
)
def test_files_that_are_no_configuration_are_refused(text, tmp_path):
    with pytest.raises(LewmError) as caught:
        read_config_json(file(tmp_path, text))
    assert_one_sentence(caught.value)


@pytest.mark.parametrize(
    ("key", "value"), [("predictor.depth", 10**9), ("encoder.num_hidden_layers", 10**30), ("predictor.heads", 10**12)]
)
def test_monstrous_sizes_are_refused_at_once(key, value, tmp_path):
    with pytest.raises(LewmError, match="larger than any LeWM"):
        read_checkpoint(STATES[0], file(tmp_path, changed(WRITTEN, key, value)))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("predictor.depth", 2, "missing: predictor.transformer.layers.1."),
        ("encoder.patch_size", 8, "another shape: encoder.embeddings.position_embeddings"),
        ("predictor.mlp_dim", 9, "another shape: predictor.transformer.layers.0.mlp.net.1.weight"),
        ("action_encoder.input_dim", 5, "another shape: action_encoder.patch_embed.weight"),
    ],
)
def test_configuration_of_another_model_is_refused(key, value, told, tmp_path):
    with pytest.raises(LewmError, match="tensors fit") as caught:
        read_checkpoint(STATES[0], file(tmp_path, changed(WRITTEN, key, value)))
    assert told in str(caught.value)
