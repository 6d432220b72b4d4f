"""What a pickle of a model may name, and the inert objects that stand in for it: they hold state and do nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import torch

from lewm_cli.store.formats.inert import INERT
from lewm_cli.store.formats.refusals import DamagedError, ForeignError, shown

Value: TypeAlias = object
"""None, bool, int, float, str, bytes, tuple, list, dict with str or int keys, or one of the classes below."""

MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class Named:
    """A reference by name that is on the list; never imported."""

    name: str


@dataclass(eq=False)
class Captured:
    """An object of a known class: what its pickle says about it.

    Args:
        kind: which part of a model it is.
        name: of its class, in the pickle.
        arguments: of the call that makes it.
        state: its attributes.
    """

    kind: str
    name: str
    arguments: tuple[Value, ...] = ()
    state: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Opaque:
    """An object that is nothing to a model; what its pickle says about it was thrown away, so it equals nothing.

    Args:
        name: of its class, or of the function that makes it.
    """

    name: str


@dataclass(frozen=True)
class Storage:
    """A run of numbers in the file."""

    key: str
    dtype: torch.dtype
    numel: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that has not been read: a dense view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Number of values."""
        count = 1
        for length in self.shape:
            count *= length
        return count

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.numel * self.storage.dtype.itemsize


STORAGES = {
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}

_LEWM = "stable_worldmodel.wm.lewm"
_PARTS = ("Transformer", "ConditionalBlock", "Attention", "FeedForward", "Embedder", "MLP")
_VIT = ("Model", "Embeddings", "PatchEmbeddings", "Encoder", "Layer", "MLP", "Intermediate", "Output")
_VIT_ATTENTION = ("Attention", "SelfAttention", "SdpaAttention", "SdpaSelfAttention", "SelfOutput")

MODULES = (
    {"jepa.JEPA": "LeWM", f"{_LEWM}.LeWM": "LeWM", f"{_LEWM}.lewm.LeWM": "LeWM"}
    | {f"{home}.{part}": part for home in ("module", f"{_LEWM}.module") for part in _PARTS}
    | {f"{home}.{old}": "Predictor" for home in ("module", f"{_LEWM}.module") for old in ("ARPredictor", "Predictor")}
    | {f"transformers.models.vit.modeling_vit.ViT{part}": f"ViT{part}" for part in (*_VIT, *_VIT_ATTENTION)}
    | {
        f"torch.nn.modules.{name}": name.split(".")[1]
        for name in (
            "activation.GELU",
            "activation.SiLU",
            "activation.Softmax",
            "batchnorm.BatchNorm1d",
            "container.ModuleList",
            "container.Sequential",
            "conv.Conv1d",
            "conv.Conv2d",
            "dropout.Dropout",
            "linear.Identity",
            "linear.Linear",
            "normalization.LayerNorm",
        )
    }
    | {
        "transformers.activations.GELUActivation": "GELUActivation",
        "transformers.models.vit.configuration_vit.ViTConfig": "ViTConfig",
    }
)
"""Classes whose objects are captured: full name in the pickle to the kind of the stand-in."""

_VALUES = frozenset(
    {"torch._C._nn.gelu", "torch.nn.functional.gelu", *(f"torch.{kind}" for kind in ("float32", "float16", "bfloat16"))}
)
"""Names that occur as plain values."""


def resolve(name: str) -> Named:
    """A reference, if it is on the list.

    Raises:
        ForeignError: it is not.
    """
    if name in MODULES or name in CALLS or name in STORAGES or name in _VALUES or name in INERT:
        return Named(name)
    raise ForeignError(f"names {shown(name)}")


def construct(target: Value, arguments: Value) -> Value:
    """What calling a known name stands for; a class gives an empty stand-in, and only known functions take arguments.

    Arguments of what is inert are dropped.

    Raises:
        ForeignError: something else is called.
        DamagedError: the arguments are not what the function takes.
    """
    if not isinstance(target, Named):
        raise ForeignError("calls an object")
    if not isinstance(arguments, tuple):
        raise DamagedError(f"{target.name} is called without a tuple")
    if target.name in MODULES and not arguments:
        return Captured(MODULES[target.name], target.name)
    if target.name in INERT:
        return Opaque(target.name)
    if target.name in CALLS:
        return CALLS[target.name](arguments)
    raise ForeignError(f"calls {target.name}")


def _mapping(arguments: tuple[Value, ...]) -> Value:
    if arguments:
        raise DamagedError("an ordered dictionary is not built item by item")
    return {}


def _collection(arguments: tuple[Value, ...]) -> Value:
    # The list itself: copies of one list, many times over, would fill the memory.
    if not arguments:
        return []
    if len(arguments) == 1 and isinstance(arguments[0], list | tuple):
        return arguments[0]
    raise DamagedError("a set is built from something else than a list")


def _tensor(arguments: tuple[Value, ...]) -> Value:
    # storage, offset, size, stride, requires_grad, hooks[, metadata]
    if not 6 <= len(arguments) <= 7:
        raise DamagedError("a tensor has the wrong number of arguments")
    storage, offset, shape, stride = arguments[:4]
    if not isinstance(storage, Storage) or not isinstance(offset, int):
        raise DamagedError("a tensor has no storage")
    if not isinstance(shape, tuple) or not isinstance(stride, tuple) or len(shape) > MOST_DIMENSIONS:
        raise DamagedError("a tensor has no shape")
    lengths = tuple(length for length in shape if type(length) is int and length >= 0)
    steps = tuple(step for step in stride if type(step) is int and step >= 0)
    if len(lengths) != len(shape) or len(steps) != len(stride) or len(steps) != len(lengths):
        raise DamagedError("a tensor has no shape")
    tensor = StoredTensor(storage, offset, lengths, steps)
    last = sum((length - 1) * step for length, step in zip(lengths, steps, strict=True))
    if tensor.numel and last + 1 != tensor.numel:
        raise DamagedError("a tensor repeats or skips numbers of its storage")
    if offset < 0 or offset + tensor.numel > storage.numel:
        raise DamagedError("a tensor reaches beyond its storage")
    return tensor


def _parameter(arguments: tuple[Value, ...]) -> Value:
    if len(arguments) != 3 or not isinstance(arguments[0], StoredTensor):
        raise DamagedError("a parameter holds no tensor")
    return arguments[0]


def _shape(arguments: tuple[Value, ...]) -> Value:
    if len(arguments) != 1 or not isinstance(arguments[0], tuple):
        raise DamagedError("a shape is no tuple")
    return arguments[0]


RESTORE = "lewm_cli.store.objects.restore_model"

CALLS: dict[str, Callable[[tuple[Value, ...]], Value]] = {
    "collections.OrderedDict": _mapping,
    "builtins.set": _collection,
    "__builtin__.set": _collection,
    "torch.Size": _shape,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    RESTORE: lambda arguments: Captured(RESTORE, RESTORE, arguments),
}
"""Functions, and what stands for their result."""
