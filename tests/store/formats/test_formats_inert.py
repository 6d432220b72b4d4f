"""What training tools keep beside the weights is read past: none of it is made, and none of it gets near a tensor."""

import argparse
import collections
import datetime
import pathlib
import sys
import types
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pickles import FIXTURES, OBJECTS, assert_one_sentence, in_zip, take_apart, with_value

from lewm_cli.errors import LewmError
from lewm_cli.store.formats import read_checkpoint

CONFIG, STATE = FIXTURES / "config.json", FIXTURES / "tf4_weight.ckpt"
OPAQUE = b"cnumpy\nndarray\n)R"


class MadeError(Exception):
    """An object was made from the file."""


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A DictConfig as omegaconf pickles it, from modules that are gone before anything is read."""

    def module(name: str, **contents: object) -> None:
        built = types.ModuleType(name)
        vars(built).update(contents)
        monkeypatch.setitem(sys.modules, name, built)

    def a_class(home: str, name: str) -> type:
        return type(name, (), {"__module__": home, "__setstate__": _refuse})

    names = {
        "omegaconf.dictconfig": ("DictConfig",),
        "omegaconf.listconfig": ("ListConfig",),
        "omegaconf.base": ("ContainerMetadata", "Metadata"),
        "omegaconf.nodes": ("AnyNode",),
    }
    classes = {name: a_class(home, name) for home, inside in names.items() for name in inside}
    module("omegaconf")
    for home, inside in names.items():
        module(home, **{name: classes[name] for name in inside})

    def make(name: str, **state: object) -> Any:
        made = classes[name]()
        vars(made).update(state)
        return made

    container = make(
        "ContainerMetadata",
        ref_type=typing.Any,
        object_type=dict,
        optional=True,
        key=None,
        flags={},
        resolver_cache=collections.defaultdict(dict, a={"b": 1}),
        key_type=typing.Any,
        element_type=int,
    )
    root = make("DictConfig", _metadata=container, _parent=None, _flags_cache=None)
    node = make("AnyNode", _metadata=make("Metadata", ref_type=typing.Any, key="lr"), _parent=root, _val=3e-4)
    names_of = make("ListConfig", _metadata=container, _parent=root, _content=[node, node])
    vars(root)["_content"] = {"lr": node, "names": names_of}
    return root


def _refuse(self: object, state: object) -> None:
    raise MadeError


@pytest.fixture
def checkpoint(settings: Any) -> dict[str, Any]:
    """As Lightning keeps one, with everything that people have in theirs."""
    state = torch.load(STATE, weights_only=True)
    return {
        "epoch": 9,
        "global_step": np.int64(1200),
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {f"model.{key}": value for key, value in state.items()},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": collections.Counter(ready=9)}}},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5), "dirpath": pathlib.PurePath("a/b")}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": np.float32(0.1)}]}],
        "hparams_name": "cfg",
        "hyper_parameters": {
            "cfg": settings,
            "root": Path("/data/worlds"),
            "mean": np.array([0.5, 0.25]),
            "tags": np.array(["a", None], dtype=object),
            "started": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
            "took": datetime.timedelta(seconds=3),
            "arguments": argparse.Namespace(lr=0.1, betas=(0.9, 0.95)),
            "last": collections.deque([1, 2], maxlen=3),
            "device": torch.device("cpu"),
        },
    }


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("zipped", [True, False])
def test_lightning_checkpoint_with_settings_is_read(checkpoint, protocol, zipped, tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    torch.save(checkpoint, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    for name in [name for name in sys.modules if name.startswith("omegaconf")]:
        monkeypatch.delitem(sys.modules, name)
    read = read_checkpoint(path, CONFIG)
    expected = read_checkpoint(STATE, CONFIG)
    assert read.source == (
        "Lightning checkpoint (transformers 4 names, config.json; taken out of state_dict.model; "
        "left out: callbacks, optimizer_states)"
    )
    assert read.spec == expected.spec
    assert all(torch.equal(value, expected.state[key]) for key, value in read.state.items())
    assert not any(name.startswith("omegaconf") for name in sys.modules)


def test_nothing_of_the_settings_is_made(checkpoint, tmp_path):
    """The modules are still there, and their classes refuse to be filled."""
    path = tmp_path / "last.ckpt"
    torch.save(checkpoint, path)
    with pytest.raises(MadeError):
        torch.load(path, weights_only=False)
    assert read_checkpoint(path, CONFIG).state


@pytest.mark.parametrize("value", [np.zeros((4, 4), np.float32), Path("a"), collections.Counter(a=1)])
def test_settings_are_no_tensors(checkpoint, value, tmp_path):
    first = next(iter(checkpoint["state_dict"]))
    checkpoint["state_dict"][first] = value
    torch.save(checkpoint, tmp_path / "last.ckpt")
    with pytest.raises(LewmError, match="tensors fit; missing: ") as caught:
        read_checkpoint(tmp_path / "last.ckpt", CONFIG)
    assert_one_sentence(caught.value)


@pytest.mark.parametrize("attribute", ["num_attention_heads", "hidden_size", "heads", "num_frames", "eps", "stride"])
def test_settings_are_no_sizes(attribute, tmp_path):
    content, storages = take_apart(OBJECTS[-2])
    path = tmp_path / "run_object.ckpt"
    path.write_bytes(in_zip(with_value(content, attribute, OPAQUE), storages))
    with pytest.raises(LewmError, match="Opaque") as caught:
        read_checkpoint(path)
    assert_one_sentence(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "omegaconf.OmegaConf",
        "omegaconf._utils.eval",
        "numpy.load",
        "numpy.core.multiarray.fromfile",
        "pathlib.Path.unlink",
        "builtins.eval",
        "builtins.getattr",
        "datetime.sys",
        "collections.abc.sys",
        "typing.get_type_hints",
    ],
)
def test_other_names_of_the_same_modules_are_refused(name, tmp_path):
    home, _, last = name.rpartition(".")
    path = tmp_path / "run.ckpt"
    path.write_bytes(in_zip(f"c{home}\n{last}\n)R.".encode()))
    with pytest.raises(
        LewmError, match=f"names {name}, which no checkpoint of LeWM, PLDM or DINO-WM needs; nothing was run"
    ):
        read_checkpoint(path)
