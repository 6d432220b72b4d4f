"""Weights as training loops save them: the same tensors come out of every stack of wrappers, or it is refused."""

import collections
import json
from argparse import Namespace
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pickles import FIXTURES, assert_one_sentence
from safetensors.torch import save_file

from lewm_cli.errors import LewmError
from lewm_cli.methods import JEPA
from lewm_cli.store.formats import ChoiceError, read_checkpoint, read_trusted
from lewm_cli.store.keys import our_key
from lewm_cli.store.objects import _Reduced

CONFIG = FIXTURES / "config.json"
State = dict[str, torch.Tensor]
STATES: list[State] = [
    dict(torch.load(FIXTURES / f"{names}_weight.ckpt", weights_only=True)) for names in ("tf4", "tf5")
]
STATE = STATES[0]
OPTIMIZER = {"state": {0: {"step": torch.tensor(5.0), "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]}
OTHER = {key: value + 1 if value.is_floating_point() else value.clone() for key, value in STATE.items()}


def under(prefix: str, state: State = STATE) -> State:
    return {prefix + key: value for key, value in state.items()}


def inside(module: str, wrapper: str, state: State = STATE) -> State:
    """A wrapper's name behind that of a module."""
    cut = len(module) + 1
    return {
        f"{module}.{wrapper}.{key[cut:]}" if key.startswith(f"{module}.") else key: value
        for key, value in state.items()
    }


def with_attributes(state: State, kind: Callable[[torch.Tensor], torch.Tensor]) -> State:
    made = {key: kind(value.clone()) if value.is_floating_point() else value for key, value in state.items()}
    for tensor in made.values():
        tensor.tensor_model_parallel = True  # type: ignore[attr-defined]
    return made


def written(folder: Path, content: object, name: str = "weights.pt") -> Path:
    torch.save(content, folder / name)
    return folder / name


def assert_same(read: State, state: State = STATE) -> None:
    assert len(read) == len(state)
    assert all(torch.equal(read[our_key(key)], value.float()) for key, value in state.items())


def refusal(path: Path, copy: str | None = None) -> str:
    with pytest.raises(LewmError) as caught:
        read_checkpoint(path, CONFIG, copy)
    assert_one_sentence(caught.value)
    return str(caught.value)


DDP = inside("predictor.transformer.layers.0", "_checkpoint_wrapped_module", under(""))
EVERY_PART = {key.replace(".", "._orig_mod.", 1): value for key, value in STATE.items()}

SAVED: dict[str, tuple[Any, str]] = {
    "compiled": (under("_orig_mod."), "; taken out of _orig_mod)"),
    "distributed": (under("module."), "; taken out of module)"),
    "distributed and compiled": (under("module._orig_mod."), "; taken out of module._orig_mod)"),
    "accelerated": (under("_forward_module.model."), "; taken out of _forward_module.model)"),
    "one part compiled": (inside("encoder", "_orig_mod"), "; taken out of encoder._orig_mod)"),
    "all parts compiled": (EVERY_PART, "encoder._orig_mod, predictor._orig_mod, action_encoder._orig_mod and 2 more)"),
    "sharded with checkpointing": (under("_fsdp_wrapped_module.", DDP), "layers.0._checkpoint_wrapped_module)"),
    "under the name of a part": (under("encoder."), "; taken out of encoder)"),
    "a backbone around the encoder": (inside("encoder", "encoder"), "; taken out of encoder.encoder)"),
    "beside an optimizer": ({"model": STATE, "optimizer": OPTIMIZER, "epoch": 7}, "model; left out: optimizer)"),
    "deep": ({"a": {"b": [{"c.d": under("model.model.")}]}}, "; taken out of a.b.0.c.d.model.model)"),
    "in a tuple": ((STATE, OPTIMIZER), "; taken out of 0; left out: 1)"),
    "averaged": ({"n_averaged": torch.tensor(3), **under("module.")}, "; taken out of module; left out: n_averaged)"),
    "with a probe": (
        {"state_dict": {**under("model."), "probes.a.weight": torch.zeros(2), "sigreg.t": torch.zeros(1)}, "epoch": 1},
        "taken out of state_dict.model; left out: probes, sigreg)",
    ),
    "with much else": (
        {"net": STATE, **{name: torch.zeros(1) for name in "abcde"}},
        "; taken out of net; left out: a, b, c and 2 more)",
    ),
    "with a target encoder": ({**STATE, "target_encoder.x": torch.zeros(1)}, "; left out: target_encoder)"),
    "with a teacher of another size": (
        {"model": STATE, "teacher": {key: value[None] for key, value in STATE.items()}},
        "; taken out of model; left out: teacher)",
    ),
    "with momenta by name": (
        {"model": STATE, "optim": {"state": {key: {"momentum": value} for key, value in STATE.items()}}},
        "; taken out of model; left out: optim)",
    ),
    "one state under two names": ({"model": STATE, "state_dict": STATE}, "; taken out of model; left out: state_dict)"),
    "equal copies": ({"model": STATE, "best": dict(STATE)}, "; taken out of model; left out: best)"),
    "with values of Python": (
        {"model": STATE, "x": [Decimal(1), UUID(int=1), slice(2), range(3), {4}, frozenset({5}), 6j, bytearray(b"7")]},
        "; taken out of model)",
    ),
    "with settings": ({"model": STATE, "args": Namespace(lr=1), "torch": torch.__version__}, "; taken out of model)"),
    "parameters": (with_attributes(STATE, torch.nn.Parameter), "config.json)"),
    "tensors with attributes": (with_attributes(STATE, torch.Tensor.contiguous), "config.json)"),
    "ordered": (collections.OrderedDict(STATE), "config.json)"),
}


@pytest.mark.parametrize("how", SAVED)
def test_weights_are_found_whatever_stands_around_them(how: str, tmp_path: Path):
    content, said = SAVED[how]
    for read in (read_checkpoint, read_trusted):
        checkpoint = read(written(tmp_path, content), CONFIG)
        assert_same(checkpoint.state)
        assert "transformers 4 names, config.json" in checkpoint.source
        assert checkpoint.source.endswith(said)
        assert_one_sentence(LewmError(checkpoint.source))


def test_safetensors_have_prefixes_too(tmp_path: Path):
    tensors = {
        key: value.contiguous() for key, value in {**under("model.module."), "probe.weight": torch.zeros(3)}.items()
    }
    save_file(tensors, tmp_path / "weights.pt")
    read = read_checkpoint(tmp_path / "weights.pt", CONFIG)
    assert_same(read.state)
    assert read.source == "safetensors (transformers 4 names, config.json; taken out of model.module; left out: probe)"


SEVERAL: dict[str, tuple[Any, tuple[str, str]]] = {
    "keys": ({"model": STATE, "ema": OTHER, "step": 5}, ("model", "ema")),
    "prefixes": ({"state_dict": {**under("model."), **under("ema_model.", OTHER)}}, ("model", "ema_model")),
    "half prefixes": ({"state_dict": STATE, "state_dict_ema": OTHER}, ("state_dict", "state_dict_ema")),
    "one within the other": ({**STATE, **under("ema.", OTHER)}, ("main", "ema")),
    "shared ends": ({"model": under("module."), "ema": {"module": under("module.", OTHER)}}, ("model", "ema")),
    "in a callback": (
        {"state_dict": under("model."), "callbacks": {"EMA": {"weights": under("model.", OTHER)}}},
        ("state_dict", "callbacks"),
    ),
    "without words": ([STATE, OTHER], ("copy-1", "copy-2")),
    "beside equal copies": ([STATE, dict(STATE), OTHER, dict(OTHER)], ("copy-1", "copy-2")),
    "equal copies below": ({"net": STATE, "ema": {"net": OTHER, "copy": dict(OTHER)}}, ("net", "ema")),
    "unprintable": ({"\x1b[31m": STATE, "a b": OTHER}, ("copy-1", "copy-2")),
    "moments": ({"model": STATE, "exp_avg": OTHER}, ("model", "exp_avg")),
}


@pytest.mark.parametrize("how", SEVERAL)
def test_of_several_models_one_is_chosen_by_a_word(how: str, tmp_path: Path):
    content, words = SEVERAL[how]
    path = written(tmp_path, content)
    with pytest.raises(LewmError, match=f"it holds 2 models that differ, {words[0]} and {words[1]}") as caught:
        read_checkpoint(path, CONFIG)
    assert isinstance(caught.value.__cause__, ChoiceError)
    assert caught.value.__cause__.names("a/b") == f"a/b@{words[0]} or a/b@{words[1]}"
    for word, state in zip(words, (STATE, OTHER), strict=True):
        assert_same(read_checkpoint(path, CONFIG, word).state, state)
        assert_same(read_trusted(path, CONFIG, word).state, state)
    assert f"it holds no what; there is {words[0]}, {words[1]}" in refusal(path, "what")


BROKEN = {
    "lacking one": {"state_dict": {key: value for key, value in under("a.").items() if "pos_emb" not in key}},
    "adapted": {**inside("encoder.encoder.layer.0.output.dense", "base_layer"), **under("x.", {})}
    | {"encoder.encoder.layer.0.output.dense.lora_A.weight": torch.zeros(1)},
    "parametrized": {
        key.replace("to_qkv.weight", "to_qkv.parametrizations.weight.original"): value for key, value in STATE.items()
    },
    "with a layer too many": {**STATE, "encoder.encoder.layer.9.output.dense.bias": torch.zeros(8)},
    "half wrapped": {**inside("encoder", "_orig_mod"), "encoder.pooler": torch.zeros(1)},
    "in two places": {
        "a": {k: v for k, v in STATE.items() if "encoder" in k},
        "b": STATE | {"projector.net.0.bias": {}},
    },
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_not_exactly_the_model_is_refused(how: str, tmp_path: Path):
    said = refusal(written(tmp_path, BROKEN[how]))
    assert "tensors fit; " in said
    if how == "lacking one":
        assert f"under state_dict.a, {len(STATE) - 1}/{len(STATE)} tensors fit; missing: predictor.pos_emb" in said


# Every stack

WORDS = ["_orig_mod", "module", "model", "net", "a.b", "state_dict", "encoder", "0", "layers", "ünï"]
MODULES = [
    "encoder",
    "predictor",
    "predictor.transformer",
    "predictor.transformer.layers.0",
    "projector",
    "action_encoder",
]
EXTRAS: list[Any] = [torch.zeros(2), {"weight": torch.zeros(3)}, 7, None, "text", [OPTIMIZER], {"encoder": {}}, {}]


@st.composite
def stacks(draw: st.DrawFn) -> tuple[State, Any]:
    """A state dict, and what became of it in a few hands."""
    state = draw(st.sampled_from(STATES))
    content: Any = dict(state)
    for module in draw(st.lists(st.sampled_from(MODULES), max_size=2, unique=True)):
        if all(key.startswith(("encoder", "predictor", "projector", "pred_proj", "action")) for key in content):
            content = inside(module, draw(st.sampled_from(["_orig_mod", "module", "_fsdp_wrapped_module"])), content)
    for kind, word in draw(
        st.lists(st.tuples(st.sampled_from(["prefix", "key", "list", "beside"]), st.sampled_from(WORDS)), max_size=4)
    ):
        if kind == "prefix" and isinstance(content, dict):
            content = {f"{word}.{key}": value for key, value in content.items()}
        elif kind == "key":
            content = {word: content}
        elif kind == "list":
            content = [draw(st.sampled_from(EXTRAS)), content]
        elif isinstance(content, dict):
            content = {f"{word}_beside": draw(st.sampled_from(EXTRAS)), **content}
    return state, content


def tensors_in(content: Any) -> list[tuple[Any, Any]]:
    """Places of all tensors: a container, and the key in it."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    found: list[tuple[Any, Any]] = []
    for key, value in list(pairs):
        found += [(content, key)] if isinstance(value, torch.Tensor) else tensors_in(value)
    return found


@settings(max_examples=60)
@given(stack=stacks())
def test_the_same_tensors_come_out_of_every_stack(stack: tuple[State, Any], tmp_path_factory: pytest.TempPathFactory):
    state, content = stack
    assert_same(read_checkpoint(written(tmp_path_factory.getbasetemp(), content), CONFIG).state, state)


@settings(max_examples=60)
@given(stack=stacks(), data=st.data())
def test_a_model_is_never_filled_in_part(stack: tuple[State, Any], data: st.DataObject, tmp_path_factory):
    state, content = stack
    values = {value.data_ptr() for value in state.values()}
    places = [(holder, key) for holder, key in tensors_in(content) if holder[key].data_ptr() in values]
    holder, key = data.draw(st.sampled_from(places))
    kept = holder[key]
    change = data.draw(st.sampled_from(["gone", "renamed", "reshaped", "no tensor"]))
    if change in ("gone", "renamed"):
        del holder[key]
        holder |= {f"{key}_": kept} if change == "renamed" else {}
    else:
        holder[key] = kept[None] if change == "reshaped" else None
    assert "tensors fit; " in refusal(written(tmp_path_factory.getbasetemp(), content))


# Modules, shards and bounds


def test_our_module_is_found_in_a_dictionary(small_model: JEPA, tmp_path: Path):
    path = written(tmp_path, {"model": _Reduced(small_model, "lewm"), "epoch": 3, "optimizer": OPTIMIZER})
    read = read_checkpoint(path)
    assert read.source == "object checkpoint (lewm; taken out of model; left out: optimizer)"
    assert all(torch.equal(read.state[key], value) for key, value in small_model.state_dict().items())
    path = written(tmp_path, {"model": _Reduced(small_model, "lewm"), "ema": _Reduced(small_model, "lewm")})
    with pytest.raises(LewmError, match="it holds 2 models that differ, model and ema"):
        read_checkpoint(path)
    assert len(read_checkpoint(path, copy="ema").state) == len(small_model.state_dict())


def sharded(folder: Path, ending: str) -> Path:
    """Weights in two files, with their index; its path."""
    keys = list(STATE)
    halves = {f"model-0000{n + 1}-of-00002.{ending}": {key: STATE[key] for key in keys[n::2]} for n in range(2)}
    for name, half in halves.items():
        if ending == "bin":
            torch.save(half, folder / name)
        else:
            save_file({key: value.contiguous() for key, value in half.items()}, folder / name)
    index = {"metadata": {}, "weight_map": {key: name for name, half in halves.items() for key in half}}
    (folder / f"model.{ending}.index.json").write_text(json.dumps(index))
    return folder / f"model.{ending}.index.json"


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_shards_are_one_model(ending: str, tmp_path: Path):
    index = sharded(tmp_path, ending)
    read = read_checkpoint(index, CONFIG)
    assert_same(read.state)
    assert read.source == "2 shards (transformers 4 names, config.json)"
    (tmp_path / f"model-00002-of-00002.{ending}").unlink()
    assert f"its shard model-00002-of-00002.{ending} is missing; fetch or copy all 2 of them" in refusal(index)


def test_a_tensor_lies_in_one_shard(tmp_path: Path):
    index = sharded(tmp_path, "bin")
    torch.save(OTHER, tmp_path / "model-00002-of-00002.bin")
    assert "two of its shards hold " in refusal(index)


@pytest.mark.parametrize(
    "name", ["../a.bin", "/etc/passwd", "", "..", "a/b.bin", 7, "model.bin.index.json", "x" * 300, "a\0b"]
)
def test_an_index_names_files_beside_it_only(name: object, tmp_path: Path):
    (tmp_path / "model.bin.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    assert "model.bin.index.json" in refusal(tmp_path / "model.bin.index.json")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"weight_map": []}', '{"weight_map": {}}', "[" * 10_000])
def test_an_index_that_is_none_is_refused(content: str, tmp_path: Path):
    (tmp_path / "model.bin.index.json").write_text(content)
    assert "damaged or not a checkpoint" in refusal(tmp_path / "model.bin.index.json")


def doubling(value: Any, times: int) -> Any:
    for _ in range(times):
        value = {"a": value, "b": value}
    return value


@pytest.mark.parametrize(
    "content",
    [
        doubling(STATE, 12),
        doubling(dict.fromkeys("abc", 1), 60),
        {".".join(["encoder"] * 200): torch.zeros(1)},
        {f"{'predictor.encoder.' * 12}{n}": torch.zeros(1) for n in range(500)},
        {f"{n}.encoder.a": torch.zeros(1) for n in range(200)},
        {"a" * 1000: {"b" * 1000: torch.zeros(1)}},
        {"encoder": {}, "encoder.a": torch.zeros(1)},
    ],
    ids=["copies", "values", "depth", "parts", "places", "names", "empty"],
)
def test_endless_content_is_refused_at_once(content: Any, tmp_path: Path):
    refusal(written(tmp_path, content))


def test_one_name_twice_is_refused(tmp_path: Path):
    path = written(tmp_path, {"a": STATE, "a.projector": {"net.0.bias": torch.zeros(8)}})
    assert "twice" in refusal(path)
