"""Hostile and damaged files: nothing of theirs runs, every one ends in a sentence, in little time and memory."""

import builtins
import copyreg
import functools
import importlib
import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from argparse import Namespace
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pickles import FIXTURES, OBJECTS, STATES, assert_one_sentence, in_legacy, in_zip, little_cpu, mutated, take_apart

from commands import PATIENCE
from lewm_cli.config import ModelConfig
from lewm_cli.errors import LewmError
from lewm_cli.methods import JEPA
from lewm_cli.store.formats import read_checkpoint

CODE = "import pathlib, os; pathlib.Path(os.environ['CANARY']).touch()"
EXTENSION = 0xF0


class Call:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.call

    def __call__(self) -> None:
        """There, so that pickle takes it for the function of another call."""


class Stateful:
    """Pickles as an object with a state."""

    def __init__(self, function: Callable[..., Any], state: object) -> None:
        self.built = function, (), state

    def __reduce__(self) -> tuple[object, ...]:
        return self.built


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def as_long(number: int) -> bytes:
    return b"\x8a\x0b" + number.to_bytes(11, "little")


SHELL = "touch $CANARY"
RUN = text(SHELL) + b"\x85R."
LINEAR = b"ctorch.nn.modules.linear\nLinear\n"
STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x01tQ"
COLLIDING = [number * (2**61 - 1) for number in range(20_000)]
DOUBLING = b")" + b"2\x86" * 200
ENDLESS_VIT = (
    text("_modules")
    + b"}("
    + b"".join(text(name) + b"cjepa\nJEPA\n)\x81" for name in ("predictor", "action_encoder", "projector"))
    + text("encoder")
    + b"ctransformers.models.vit.modeling_vit\nViTModel\n)\x81}("
    + text("config")
    + b"ctransformers.models.vit.configuration_vit\nViTConfig\n)\x81}("
    + b"".join(text(name) + b"K\x01" for name in ("hidden_size", "num_hidden_layers", "intermediate_size"))
    + (text("num_attention_heads") + b"K\x01" + text("num_channels") + b"K\x03")
    + (text("hidden_act") + text("gelu") + text("layer_norm_eps") + b"G" + struct.pack(">d", 1e-12))
    + (text("hidden_dropout_prob") + b"K\x00" + text("attention_probs_dropout_prob") + b"K\x00")
    + (text("image_size") + DOUBLING + DOUBLING + b"\x86")
    + b"ububu"
)
SELF = text("_modules") + b"}(" + text("a") + b"h\x00" + text("b") + b"h\x00u"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"

CALLS = {
    "os.system": Call(os.system, SHELL),
    "exec": Call(exec, CODE),
    "eval": Call(eval, f"exec({CODE!r})"),
    "a chain of getattr": Call(Call(getattr, Call(importlib.import_module, "os"), "system"), SHELL),
    "import_module": Call(importlib.import_module, "antigravity"),
    "partial": Call(Call(functools.partial, os.system, SHELL)),
    "torch.load": Call(torch.load, "/dev/null"),
    "torch.hub": Call(torch.hub.load, "somebody/something", "model"),
    "subprocess": Call(subprocess.Popen, ["sh", "-c", SHELL]),
    "open": Call(builtins.open, "canary", "w"),
    "inside a state dict": OrderedDict(a=torch.Size([1]), b=Call(os.system, SHELL)),
    "deep inside": {"state_dict": {"a": [{"b": (Call(os.system, SHELL),)}]}},
    "state of a foreign object": Stateful(io.BytesIO, (b"abc", 0, {})),
    "state of a known object": Stateful(OrderedDict, {"a": Call(eval, CODE)}),
    "a class of this process": Call(Call, os.system),
    "foreign class": Call(Fraction, 1),
    "among settings": {"state_dict": {}, "hyper_parameters": {"root": Path("/"), "at": Call(os.system, SHELL)}},
    "argument of something inert": Call(Path, Call(os.system, SHELL)),
    "state of something inert": Stateful(Namespace, {"a": Call(eval, CODE)}),
    "item of something inert": defaultdict(list, a=Call(exec, CODE)),
    "something inert that is made anew": defaultdict(Call(os.system, SHELL)),
}

STREAMS = {
    "GLOBAL": b"cos\nsystem\n" + RUN,
    "GLOBAL that is dropped": b"cos\nsystem\n0N.",
    "GLOBAL with a space": b"cos path\nsystem\n.",
    "STACK_GLOBAL": b"\x80\x04" + text("os") + text("system") + b"\x93" + RUN,
    "STACK_GLOBAL with dots": b"\x80\x04" + text("torch") + text("serialization.os.system") + b"\x93" + RUN,
    "STACK_GLOBAL from the memo": b"\x80\x04" + text("os") + b"\x94" + text("system") + b"\x94h\x00h\x01\x93" + RUN,
    "STACK_GLOBAL of numbers": b"\x80\x04K\x01K\x02\x93.",
    "INST": b"(" + text(SHELL) + b"ios\nsystem\n.",
    "OBJ": b"(cos\nsystem\n" + text(SHELL) + b"o.",
    "OBJ of nothing": b"(o.",
    "NEWOBJ": b"\x80\x02cos\nsystem\n" + text(SHELL) + b"\x85\x81.",
    "NEWOBJ_EX": b"\x80\x04cos\nsystem\n" + text(SHELL) + b"\x85}\x92.",
    "EXT1": b"\x80\x02\x82" + bytes([EXTENSION]) + RUN,
    "EXT2": b"\x80\x02\x83" + struct.pack("<H", EXTENSION) + RUN,
    "EXT4": b"\x80\x02\x84" + struct.pack("<i", EXTENSION) + RUN,
    "a known class with arguments": LINEAR + text(SHELL) + b"\x85R.",
    "a known class with keywords": b"\x80\x04" + LINEAR + b")}" + text("in_features") + b"K\x01s\x92.",
    "INST of a known class with arguments": b"(K\x01itorch.nn.modules.linear\nLinear\n.",
    "state of a class": LINEAR + b"}" + text("forward") + b"K\x01sb.",
    "state of a class by slots": LINEAR + b"N}" + text("forward") + b"K\x01s\x86b.",
    "state of a list": b"]}b.",
    "state that is no dictionary": b"\x80\x02" + LINEAR + b")\x81K\x01b.",
    "state twice": b"\x80\x02" + LINEAR + b")\x81}" + text("a") + b"K\x01sb}" + text("a") + b"K\x02sb.",
    "a stored function called": b"ctorch._C._nn\ngelu\n)R.",
    "something inert called": b"cpathlib\nPosixPath\n" + text("/") + b"\x85R" + RUN,
    "something inert with keywords": b"\x80\x04cbuiltins\ndict\n)}" + text("a") + b"K\x01s\x92.",
    "something inert without a tuple": b"cpathlib\nPosixPath\n" + text("/") + b"R.",
    "something inert as a model": b"cpathlib\nPosixPath\n)R.",
    "something inert as a tensor": b"}" + text("state_dict") + b"}" + text("a") + b"cnumpy\nndarray\n)Rss.",
    "something inert as a storage": TENSOR + b"(cnumpy\nndarray\n)RK\x00K\x01\x85K\x01\x85I00\n}tR.",
    "something inert as a shape": TENSOR + b"(" + STORAGE + b"K\x00ctyping\nAny\n)RK\x01\x85I00\n}tR.",
    "something inert as a length": TENSOR + b"(" + STORAGE + b"K\x00cbuiltins\nint\n)R\x85K\x01\x85I00\n}tR.",
    "something inert as a kind of storage": b"("
    + text("storage")
    + b"cnumpy\ndtype\n"
    + text("0")
    + text("cpu")
    + b"K\x01tQ.",
    "a result called": b"ccollections\nOrderedDict\n)R)R.",
    "PERSID": b"Pos.system\n.",
    "BINPERSID of a number": b"K\x01Q.",
    "BINPERSID of nothing": b"NQ.",
    "BINPERSID of a list": b"]Q.",
    "BINPERSID of a tuple": b"(" + text("storage") + b"K\x01K\x01K\x01K\x01tQ.",
    "BINPERSID of a module": b"(" + text("module") + b"cos\nsystem\nNNtQ.",
    "BINPERSID of a text as module": b"(" + text("module") + text("os") + b"NNtQ.",
    "BUFFER": b"\x80\x05\x97.",
    "FROZENSET": b"\x80\x04(\x91.",
    "memo of nothing": b"h\x05.",
    "memo far away": b"Nr\xff\xff\xff\x7f0j\xff\xff\xff\x7f.",
    "memo by text": b"Np99999999999999999999\ng99999999999999999999\n.",
    "negative memo": b"Np-1\n.",
    "huge LONG4": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "negative LONG4": b"\x80\x02\x8b\xff\xff\xff\xff.",
    "huge BINUNICODE8": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b".",
    "huge BINBYTES8": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b".",
    "huge BYTEARRAY8": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
    "huge BINBYTES": b"\x80\x03B\xff\xff\xff\xff.",
    "huge FRAME": b"\x80\x04\x95" + struct.pack("<Q", 2**63) + b"N.",
    "large number": b"\x80\x02\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000 + b".",
    "large number in words": b"I" + b"9" * 5000 + b"\n.",
    "line without an end": b"c" + b"a" * 1_000_000,
    "long text": text("a" * 2_000_000) + b".",
    "numbers that collide": b"}(" + b"".join(as_long(number) + b"N" for number in COLLIDING) + b"u.",
    "places that collide": b"N" + b"".join(b"p%d\n" % number for number in COLLIDING) + b".",
    "shapes that compare for ever": b"\x80\x02cjepa\nJEPA\n)\x81}(" + ENDLESS_VIT + b"ub.",
    "long key": b"}" + text("a" * 5000) + b"Ns.",
    "key that is a tuple": b"})Ns.",
    "key that is a nested tuple": b"}" + b")" + b"2\x86" * 60 + b"Ns.",
    "doubling lists": b"]" + b"2]2a" * 100 + b".",
    "doubling tuples": b")" + b"2\x86" * 1000 + b".",
    "a list in itself": b"]q\x00h\x00a.",
    "a state dict in itself": b"}q\x00" + text("state_dict") + b"h\x00s.",
    "deep lists": b"]" * 100_000 + b"a" * 99_999 + b".",
    "deep tuples": b")" + b"\x85" * 190_000 + b".",
    "deep marks": b"(" * 190_000 + b".",
    "long pickle": b"N0" * 300_000 + b"N.",
    "many dictionaries": b"(" + b"}" * 190_000 + b"l.",
    "growing list": b"](" + b"N" * 1000 + b"lq\x00" + b"h\x00a" * 1000 + b".",
    "copies of a list": b"](" + b"N" * 9000 + b"lq\x00" + b"c__builtin__\nset\nh\x00\x85R0" * 2000 + b".",
    "empty": b"",
    "only STOP": b".",
    "two objects": b"NN.",
    "an open mark": b"(N.",
    "no STOP": b"N",
    "unknown instruction": b"\xff.",
    "surrogates": b"Vos\\ud800\n" + b"0c\xed\xa0\x80\nsystem\n.",
    "escape sequences": b"c\x1b[31mos\nsystem\x07\n.",
    "storage that is not there": TENSOR + b"(" + STORAGE + b"K\x00)){}tR.",
    "tensor beyond its storage": TENSOR + b"(" + STORAGE + b"K\x05K\x01\x85K\x01\x85I00\n}tR.",
    "tensor without strides": TENSOR + b"(" + STORAGE + b"K\x00K\x01\x85)I00\n}tR.",
    "huge tensor of one number": TENSOR + b"(" + STORAGE + b"K\x00J\x00\x00\x00\x40\x85K\x00\x85I00\n}tR.",
    "tensor of many dimensions": TENSOR + b"(" + STORAGE + b"K\x00(" + b"K\x01" * 99 + b"t2I00\n}tR.",
    "tensor with a negative length": TENSOR + b"(" + STORAGE + b"K\x00J\xff\xff\xff\xff\x85K\x01\x85I00\n}tR.",
    "tensor of no storage": TENSOR + b"(NK\x00))I00\n}tR.",
    "parameter of no tensor": b"ctorch._utils\n_rebuild_parameter\nNNN\x87R.",
    "restore_model of nothing": b"clewm_cli.store.objects\nrestore_model\n)R.",
    "restore_model of garbage": b"clewm_cli.store.objects\nrestore_model\n("
    + text("{}x")
    + b"K\x01}"
    + text("lewm")
    + b"tR.",
    "a model of nothing": b"\x80\x02cjepa\nJEPA\n)\x81}b.",
    "a model in itself": b"\x80\x02cjepa\nJEPA\n)\x81q\x00}(" + SELF + b"ub.",
}

CONTAINERS: dict[str, Callable[[bytes], bytes]] = {"zip": in_zip, "legacy": in_legacy, "bare": bytes}


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "canary"
    monkeypatch.setenv("CANARY", str(path))
    monkeypatch.chdir(tmp_path)
    return path


def refusal(path: Path) -> str:
    """The sentence with which a file is refused, at little cost."""
    with pytest.raises(LewmError) as caught, little_cpu():
        read_checkpoint(path)
    assert_one_sentence(caught.value)
    return str(caught.value)


def test_canary_sings(canary):
    pickle.loads(pickle.dumps(CALLS["os.system"]))
    assert canary.exists()


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", CALLS)
def test_calls_are_refused_before_anything_runs(name, container, canary, tmp_path):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path = tmp_path / "lewm_object.ckpt"
        path.write_bytes(CONTAINERS[container](pickle.dumps(CALLS[name], protocol)))
        assert "; nothing was run" in refusal(path)
    assert not canary.exists()
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name.startswith("deep") else name for name in STREAMS]
)
def test_streams_are_refused(name, container, canary, tmp_path):
    path = tmp_path / "lewm_object.ckpt"
    path.write_bytes(CONTAINERS[container](STREAMS[name]))
    copyreg.add_extension("os", "system", EXTENSION)
    try:
        message = refusal(path)
    finally:
        copyreg.remove_extension("os", "system", EXTENSION)
    if b"system" in STREAMS[name] and name not in ("surrogates", "PERSID"):
        assert "refused: the pickle names" in message
        assert "system" in message
    assert not canary.exists()


def test_first_foreign_name_is_told(tmp_path, canary):
    path = tmp_path / "lewm_object.ckpt"
    torch.save({"a": torch.ones(2), "b": Call(os.system, SHELL), "c": Call(eval, CODE)}, path)
    assert "refused: the pickle names posix.system, which no checkpoint of LeWM, PLDM or DINO-WM needs" in refusal(path)


def test_hidden_in_the_state_of_a_real_module(tmp_path, canary):
    content, storages = take_apart(OBJECTS[0])
    at = content.index(b"}q", 40)
    path = tmp_path / "lewm_object.ckpt"
    path.write_bytes(in_zip(content[:at] + b"cos\nsystem\n" + text(SHELL) + b"\x85R0" + content[at:], storages))
    assert "names os.system" in refusal(path)
    assert not canary.exists()


def test_source_code_in_a_legacy_file_is_not_looked_at(tmp_path):
    path = tmp_path / "lewm_object.ckpt"
    named = b"ctorch.nn.modules.linear\nLinear\n" + text("/tmp/linear.py") + text("raise SystemExit")
    path.write_bytes(in_legacy(b"\x80\x02(" + text("module") + named + b"tQ."))
    assert "neither the tensors of a model nor a LeWM, PLDM or DINO-WM" in refusal(path)


LIES = ["deflated", "overlap", "longer entry", "short storage", "huge storage", "no storage", "two entries", "trailing"]
LIES += ["big endian", "many entries", "renamed entry", "no pickle"]


@pytest.mark.parametrize("lie", LIES)
def test_zip_archives_that_lie_are_refused(lie, tmp_path):
    content, storages = take_apart(STATES[1])
    first = next(key for key, value in storages.items() if len(value) > 64)
    whole = in_zip(content, storages)
    directory = whole.rindex(b"PK\x05\x06")
    second = whole.index(b"PK\x01\x02", whole.index(b"PK\x01\x02") + 4)
    if lie == "deflated":
        whole = in_zip(content, storages | {first: bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    elif lie == "overlap":
        header = second + 42
        third = whole.index(b"PK\x01\x02", second + 4) + 42
        whole = whole[:third] + whole[header : header + 4] + whole[third + 4 :]
    elif lie == "longer entry":
        whole = whole[: second + 20] + struct.pack("<2L", 2**31, 2**31) + whole[second + 28 :]
    elif lie == "short storage":
        whole = in_zip(content, storages | {first: storages[first][:-4]})
    elif lie == "huge storage":
        last = b"K\x08tq"
        assert last in content
        whole = in_zip(content.replace(last, b"\x8a\x08" + struct.pack("<q", 2**60) + b"tq"), storages)
    elif lie == "no storage":
        whole = in_zip(content, {key: value for key, value in storages.items() if key != first})
    elif lie == "two entries":
        whole = whole.replace(b"archive/data/1\x00", b"archive/data/2\x00").replace(b"data/10", b"data/11")
    elif lie == "trailing":
        whole += b"more"
    elif lie == "big endian":
        whole = whole.replace(b"little", b"big   ")
    elif lie == "many entries":
        whole = whole[: directory + 8] + struct.pack("<2H", 60_000, 60_000) + whole[directory + 12 :]
    elif lie == "renamed entry":
        whole = whole.replace(b"archive/data/7", b"archive/data/X", 1)
    elif lie == "no pickle":
        whole = whole.replace(b"archive/data.pkl", b"archive/data.txt")
    path = tmp_path / "weights.pt"
    path.write_bytes(whole)
    assert ("not weights" if lie == "no pickle" else "damaged or not a checkpoint") in refusal(path)


@pytest.mark.parametrize("path", [OBJECTS[0], OBJECTS[-1], STATES[2]], ids=lambda path: path.name)
@pytest.mark.parametrize("part", [0.001, 0.2, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(path, part, tmp_path):
    whole = path.read_bytes()
    (tmp_path / path.name).write_bytes(whole[: int(len(whole) * part)])
    refusal(tmp_path / path.name)


@pytest.mark.soak
@pytest.mark.parametrize("path", [*OBJECTS, *STATES], ids=lambda path: path.name)
def test_files_truncated_anywhere_are_refused(path, tmp_path):
    whole = path.read_bytes()
    for percent in range(100):
        (tmp_path / path.name).write_bytes(whole[: len(whole) * percent // 100])
        refusal(tmp_path / path.name)


def survives(path: Path, seed: int, folder: Path) -> bool:
    """Tells whether a mutated file is still read; it is then a valid model, and else a sentence says what is wrong."""
    content, storages = take_apart(path)
    target = folder / f"{path.stem}_{seed}.ckpt"
    target.write_bytes(in_zip(mutated(content, seed), storages))
    try:
        with little_cpu():
            checkpoint = read_checkpoint(target, FIXTURES / "config.json" if path in STATES else None)
    except LewmError as error:
        assert_one_sentence(error)
        return False
    finally:
        target.unlink()
    checkpoint.spec.network().load_state_dict(checkpoint.state, strict=True)
    return True


FUZZED = [FIXTURES / "swm_tf5_object.ckpt", FIXTURES / "tf4_weight.ckpt"]
FUZZ = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.slow
@pytest.mark.parametrize("path", FUZZED, ids=lambda path: path.name)
@settings(max_examples=150, **FUZZ)
@given(seed=st.integers(0, 2**32))
def test_mutated_pickles_are_read_or_refused(path, seed, tmp_path_factory):
    survives(path, seed, tmp_path_factory.getbasetemp())


@pytest.mark.soak
@pytest.mark.parametrize("path", FUZZED, ids=lambda path: path.name)
@settings(max_examples=5000, **FUZZ)
@given(seed=st.integers(0, 2**32))
def test_many_mutated_pickles_are_read_or_refused(path, seed, tmp_path_factory):
    survives(path, seed, tmp_path_factory.getbasetemp())


@pytest.mark.slow
def test_some_mutations_pass_and_some_do_not(tmp_path):
    survived = {survives(FUZZED[0], seed, tmp_path) for seed in range(40)}
    assert survived == {True, False}, "or the fuzzing above tests nothing"


MEASURE = """
import resource, sys
from pathlib import Path
from lewm_cli.errors import LewmError
from lewm_cli.store.formats import read_checkpoint

read_checkpoint(Path(sys.argv[1]))  # what is imported and allocated once

def virtual():
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()

for name in sys.argv[2:]:
    path = Path(name)
    limit = virtual() + 2 * path.stat().st_size + ALLOWANCE
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    try:
        read = read_checkpoint(path)
        print(len(read.state))
        del read
    except LewmError as error:
        print("refused")
"""


def within_memory(paths: list[Path], allowance: int) -> list[str]:
    """What becomes of files in a process that may take twice their size, and an allowance."""
    script = MEASURE.replace("ALLOWANCE", str(allowance))
    command = [sys.executable, "-c", script, FUZZED[0], *paths]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a child as Linux does")
def test_hostile_files_stay_in_bounds(tmp_path):
    paths = []
    for number, content in enumerate(STREAMS.values()):
        paths += [tmp_path / f"{number}.pt", tmp_path / f"{number}.ckpt"]
        paths[-2].write_bytes(in_zip(content))
        paths[-1].write_bytes(in_legacy(content))
    bomb = tmp_path / "bomb.pt"
    bomb.write_bytes(in_zip(pickle.dumps({}), {"0": bytes(300_000_000)}, zipfile.ZIP_DEFLATED))
    assert within_memory([*paths, bomb], 128 * 2**20) == ["refused"] * (len(paths) + 1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a child as Linux does")
def test_large_files_take_twice_their_size_at_most(tmp_path):
    state = JEPA(ModelConfig(), 10).state_dict()
    halves = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    torch.save(state, tmp_path / "32.pt")
    torch.save(halves, tmp_path / "16.pt")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert within_memory([tmp_path / name for name in ("32.pt", "16.pt", "old.pt")], 16 * 2**20) == ["303"] * 3
