"""Checkpoints of every generation become exactly our tensors, or a sentence says what does not fit."""

import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pickles import FIXTURES, OBJECTS, STATES, assert_one_sentence, in_zip, take_apart, with_value
from safetensors.torch import load_file, save_file

from lewm_cli.config import EncoderConfig, ModelConfig
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.methods import JEPA
from lewm_cli.store.formats import ModelSpec, read_checkpoint, read_trusted
from lewm_cli.store.keys import LEWM_NAMES, our_key, released_key
from lewm_cli.store.objects import save_object

CONFIG = FIXTURES / "config.json"

COMPARE = """
import sys

FOREIGN = {"transformers", "stable_worldmodel", "stable_pretraining", "jepa", "module"}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in FOREIGN:
            raise ImportError(f"{name} must not be imported")

sys.meta_path.insert(0, Refuse())

from pathlib import Path
import torch
from safetensors.torch import load_file
from lewm_cli.store.formats import read_checkpoint

folder = Path(sys.argv[1])
for name in sys.argv[2:]:
    checkpoint = read_checkpoint(folder / name)
    model = checkpoint.spec.network().eval()
    model.load_state_dict(checkpoint.state, strict=True)
    assert all(value.dtype in (torch.float32, torch.int64) for value in checkpoint.state.values())
    data = load_file(folder / f"{'tf4' if 'tf4' in name else 'tf5'}_expected.safetensors")
    with torch.no_grad():
        encoded = model.encode({"pixels": data["pixels"], "action": data["candidates"][:, 0]})
        predicted = model.predict(data["emb_in"], model.embed_actions(data["act_in"]))
        info = {key: data[key].unsqueeze(1).expand(-1, 5, -1, -1, -1, -1) for key in ("pixels", "goal")}
        cost = model.get_cost(info, data["candidates"])
    found = {"emb": encoded["emb"], "act_emb": encoded["act_emb"], "predicted": predicted, "cost": cost}
    found["rollout"] = info["predicted_emb"]
    for key, value in found.items():
        assert data[key].std() > 1e-3 or value.numel() < 5, key
        torch.testing.assert_close(value, data[key], rtol=0, atol=1e-4)
    print(name, checkpoint.source)
assert not FOREIGN & sys.modules.keys()
"""


@pytest.mark.slow
def test_fixtures_compute_what_the_real_classes_computed_without_those_classes():
    names = [path.name for path in (*OBJECTS, *STATES)]
    assert len(names) == 8
    ran = subprocess.run([sys.executable, "-c", COMPARE, FIXTURES, *names], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == 8
    assert "jepa_tf4_object.ckpt object checkpoint (jepa.JEPA, transformers 4 names)" in ran.stdout
    assert "state dict (transformers 5 names, config.json)" in ran.stdout


def test_fixtures_agree_with_torchs_own_reader():
    for path in (FIXTURES / "tf4_weight.ckpt", FIXTURES / "tf5_weight.ckpt"):
        reference = torch.load(path, weights_only=True)
        state = read_checkpoint(path).state
        assert len(state) == len(reference)
        for key, value in reference.items():
            torch.testing.assert_close(state[our_key(key)], value, rtol=0, atol=0)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return dict(torch.load(FIXTURES / "tf4_weight.ckpt", weights_only=True))


def written(folder: Path, state: object, name: str = "weights.pt", **options: object) -> Path:
    torch.save(state, folder / name, **options)
    return folder / name


def reason(path: Path, config: Path | None = CONFIG) -> str:
    with pytest.raises(LewmError) as caught:
        read_checkpoint(path, config)
    assert_one_sentence(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_floats_become_float32(state, dtype, legacy, tmp_path):
    stored = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
    path = written(tmp_path, stored, _use_new_zipfile_serialization=not legacy)
    read = read_checkpoint(path, CONFIG).state
    for key, value in stored.items():
        assert read[our_key(key)].dtype == (torch.float32 if value.is_floating_point() else torch.int64)
        assert torch.equal(read[our_key(key)], value.float() if value.is_floating_point() else value)
    tensors = {key: value.contiguous() for key, value in stored.items()}
    save_file(tensors, tmp_path / "weights.safetensors")
    again = read_checkpoint(tmp_path / "weights.safetensors", CONFIG)
    assert again.source == "safetensors (transformers 4 names, config.json)"
    assert all(torch.equal(again.state[key], value) for key, value in read.items())


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int8, torch.uint8, torch.bool])
def test_other_numbers_are_refused_by_name(state, dtype, tmp_path):
    state["projector.net.0.bias"] = state["projector.net.0.bias"].to(dtype)
    message = reason(written(tmp_path, state))
    assert f"projector.net.0.bias is {str(dtype)[6:]}, not float32 or float16 or bfloat16 or float64" in message
    save_file(state, tmp_path / "weights.safetensors")
    assert "projector.net.0.bias is" in reason(tmp_path / "weights.safetensors")


def test_counter_that_was_cast_with_the_rest_is_an_integer_again(state, tmp_path):
    state = {key: value.double() for key, value in state.items()}
    read = read_checkpoint(written(tmp_path, state), CONFIG)
    assert read.source == "state dict (transformers 4 names, config.json, float64 rounded to float32)"
    assert read.state["projector.net.1.num_batches_tracked"].dtype == torch.int64
    assert all(torch.equal(read.state[our_key(key)].double(), value) for key, value in state.items())


def test_missing_extra_and_reshaped_tensors_are_named(state, tmp_path):
    total = len(state)
    value = state.pop("encoder.encoder.layer.0.attention.attention.query.weight")
    message = reason(written(tmp_path, state))
    assert f"{total - 1}/{total} tensors fit; missing: encoder.encoder.layer.0.attention.attention.query.w" in message
    state["encoder.pooler.dense.bias"] = value
    assert "; extra: encoder.pooler.dense.bias" in reason(written(tmp_path, state))
    state["predictor.pos_embedding"] = torch.zeros(1, 5, 4)
    message = reason(written(tmp_path, state))
    assert "another shape: predictor.pos_embedding [1, 5, 4] instead of [1, 3, 4]" in message


def test_mixed_generations_are_refused_by_name(state, tmp_path):
    state["encoder.layers.0.mlp.fc1.bias"] = torch.zeros(16)
    message = reason(written(tmp_path, state))
    assert "mixes the names of transformers 4 ('encoder.encoder.layer.0." in message
    assert "and 5 ('encoder.layers.0.mlp.fc1.bias')" in message


def test_tied_and_sliced_tensors_are_read(state, tmp_path):
    state["pred_proj.net.3.bias"] = state["projector.net.3.bias"]
    key = "projector.net.0.weight"
    state[key] = torch.cat([state[key]] * 3, dim=1)[:, : state[key].shape[1]]
    read = read_checkpoint(written(tmp_path, state), CONFIG).state
    assert all(torch.equal(read[our_key(key)], value) for key, value in state.items())


def test_few_numbers_repeated_many_times_are_refused(state, tmp_path):
    state = {key: torch.tensor(0.0).expand(value.shape) for key, value in state.items()}
    assert "share the same few numbers" in reason(written(tmp_path, state))


def test_transposed_tensors_come_out_right(state, tmp_path):
    key = "projector.net.0.weight"
    state[key] = state[key].t().contiguous().t()
    read = read_checkpoint(written(tmp_path, state), CONFIG).state[key]
    assert torch.equal(read, state[key])
    assert read.is_contiguous()


def test_without_configuration_another_architecture_is_refused_with_what_shapes_do_not_tell(state, tmp_path):
    message = reason(written(tmp_path, state), config=None)
    assert "not the released architecture" in message
    assert "predictor heads" in message
    assert "put its config.json beside the weights, or name it: --config FILE" in message


@pytest.fixture(scope="module")
def release() -> JEPA:
    return JEPA(ModelConfig(), block_dim=25)


@pytest.mark.parametrize("name", [released_key, str])
def test_release_is_recognized_by_its_shapes(release, name, tmp_path):
    path = written(tmp_path, {name(key): value for key, value in release.state_dict().items()})
    checkpoint = read_checkpoint(path)
    assert len(checkpoint.state) == 303
    assert checkpoint.spec == ModelSpec(ModelConfig(), 25)
    assert "released architecture" in checkpoint.source
    assert all(torch.equal(checkpoint.state[key], value) for key, value in release.state_dict().items())


def test_own_object_checkpoint_is_read(small_model, tmp_path):
    save_object(small_model, "lewm", tmp_path / "lewm_object.ckpt")
    checkpoint = read_checkpoint(tmp_path / "lewm_object.ckpt")
    assert checkpoint.spec == ModelSpec(small_model.config, small_model.block_dim, "lewm")
    assert checkpoint.source == "object checkpoint (lewm)"
    assert all(torch.equal(checkpoint.state[key], value) for key, value in small_model.state_dict().items())


def test_object_checkpoint_needs_no_configuration():
    assert "leave out --config" in reason(OBJECTS[0])


def test_objects_carry_heads_and_dropout():
    model = read_checkpoint(OBJECTS[0]).spec.sizes
    assert (model.encoder.heads, model.predictor.heads, model.predictor.head_dim) == (2, 2, 4)
    assert (model.predictor.dropout, model.predictor.embedding_dropout) == (0.1, 0.0)
    assert model == read_checkpoint(STATES[0]).spec.sizes


def number(value: float) -> bytes:
    return b"G" + struct.pack(">d", value)


def word(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


@pytest.mark.parametrize("name", ["swm_tf4_object.ckpt", "swm_tf5_object.ckpt"])
@pytest.mark.parametrize(
    ("attribute", "value", "told"),
    [
        ("layer_norm_eps", number(1e-6), "its ViT has layer_norm_eps 1e-06, and only 1e-12 is supported"),
        ("hidden_act", word("relu"), "its ViT has hidden_act 'relu'"),
        ("hidden_dropout_prob", number(0.5), "its ViT has hidden_dropout_prob 0.5"),
        ("num_attention_heads", b"K\x04", "computes with 2 heads and says 4"),
        ("num_hidden_layers", b"K\x02", "has nothing as encoder.layers.1.layernorm_before"),
        ("intermediate_size", b"K\x05", "tensors fit; another shape: encoder."),
        ("num_frames", b"K\x04", "its predictor has 3 positions and says num_frames 4"),
        ("heads", b"K\x03", "another shape: predictor.transformer.layers.0.attn.to_qkv.weight"),
        ("heads", b"K\x00", "is 0, not a positive whole number"),
        ("heads", b"N", "is None, not a positive whole number"),
        ("approximate", word("tanh"), "has approximate 'tanh', and only none is supported"),
        ("momentum", number(0.2), "its projector.net.1 has momentum 0.2"),
        ("padding", b")", "has padding a tuple"),
    ],
)
def test_objects_that_compute_something_else_are_refused(name, attribute, value, told, tmp_path):
    content, storages = take_apart(FIXTURES / name)
    path = tmp_path / name
    path.write_bytes(in_zip(with_value(content, attribute, value), storages))
    assert told in reason(path, config=None)


def test_trusted_reading_agrees(state, tmp_path):
    trusted = read_trusted(STATES[0])
    assert all(torch.equal(trusted.state[key], value) for key, value in read_checkpoint(STATES[0]).state.items())
    with pytest.raises(LewmError, match="neither a module nor a state dict"):
        read_trusted(written(tmp_path, [1]))
    (tmp_path / "garbage.ckpt").write_bytes(b"garbage")
    with pytest.raises(LewmError, match="its code failed with"):
        read_trusted(tmp_path / "garbage.ckpt")


def test_missing_files_are_said(tmp_path):
    with pytest.raises(MissingError, match=r"there is no file .*nothing\.pt"):
        read_checkpoint(tmp_path / "nothing.pt")
    with pytest.raises(LewmError, match=r"nothing\.json cannot be read \(No such file"):
        read_checkpoint(STATES[0], tmp_path / "nothing.json")


@pytest.mark.parametrize("content", [b"", b"\n", b"hello world", b"<!DOCTYPE html>", b"PK\x03\x04", bytes(99)])
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    assert re.search("damaged or not a checkpoint|not weights|in place of|an empty file", reason(path))


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, {"state_dict": {"a": "b"}}, "text", {1: torch.ones(1)}])
def test_other_torch_files_are_refused(value, tmp_path):
    assert re.search("it |0/[0-9]+ tensors fit", reason(written(tmp_path, value)))


def test_damaged_safetensors_are_refused(tmp_path):
    save_file({"a": torch.ones(9)}, tmp_path / "weights.safetensors")
    whole = (tmp_path / "weights.safetensors").read_bytes()
    (tmp_path / "weights.safetensors").write_bytes(whole[:-3])
    assert "header does not hold" in reason(tmp_path / "weights.safetensors")


@pytest.mark.slow
@given(st.integers(1, 40), st.integers(1, 3))
def test_names_of_both_generations_convert_back_and_forth(encoder, predictor):
    config = ModelConfig(
        image_size=4, latent=2, encoder=EncoderConfig(patch_size=4, width=2, depth=encoder, heads=1, mlp=2)
    )
    config = config.model_copy(update={"predictor": config.predictor.model_copy(update={"depth": predictor})})
    with torch.device("meta"):
        ours = list(JEPA(config, 2).state_dict())
    theirs = [released_key(key) for key in ours]
    assert [our_key(key) for key in theirs] == ours
    assert [our_key(key) for key in ours] == ours
    assert (LEWM_NAMES.version(theirs), LEWM_NAMES.version(ours)) == (4, 5)
    assert len(set(theirs)) == len(ours)
    assert sum(before != after for before, after in zip(ours, theirs, strict=True)) == 16 * encoder
    with pytest.raises(LewmError, match="mixes the names"):
        LEWM_NAMES.version([theirs[-1], *theirs, *ours])


def test_released_names_are_those_of_the_release():
    released = (Path(__file__).parents[2] / "parity" / "released_keys.txt").read_text().splitlines()
    with torch.device("meta"):
        state = JEPA(ModelConfig(), 10).state_dict()
    assert {our_key(line.split("\t")[0]) for line in released} == state.keys()


def test_configuration_beside_the_file_is_found(state, tmp_path):
    path = written(tmp_path, state)
    (tmp_path / "config.json").write_text(json.dumps(json.loads(CONFIG.read_text())))
    assert read_checkpoint(path).spec.block_dim == 4
    assert load_file(FIXTURES / "tf4_expected.safetensors")["candidates"].shape[-1] == 4
