"""Names that a pickle of a model may use, and the inert objects that stand in for them: they hold state and do nothing.

Nothing on these lists is imported or called, whatever its real namesake could do.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import TypeAlias

import torch

from lewm_cli.store.formats.refused import DamagedError, ForeignError, printable

Value: TypeAlias = object
"""None, bool, int, float, str, bytes, tuple, list, dict with str or int keys, or one of the classes below."""

MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class Reference:
    """A name that is on one of the lists."""

    name: str


@dataclass(eq=False)
class CapturedObject:
    """An object of a known class: everything that its pickle says about it.

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
    """An object that is nothing to a model; what its pickle says about it was thrown away, so it equals nothing."""


@dataclass(frozen=True)
class Storage:
    """A run of numbers in the file."""

    key: str
    dtype: torch.dtype
    numel: int

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.numel * self.dtype.itemsize


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
        return prod(self.shape)

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
_VIT = "transformers.models.vit"
_PARTS = "Transformer ConditionalBlock Attention FeedForward Embedder MLP"
_VIT_PARTS = (
    "Model Embeddings PatchEmbeddings Encoder Layer MLP Intermediate Output "
    "Attention SelfAttention SdpaAttention SdpaSelfAttention SelfOutput"
)
_LAYERS = (
    "activation.GELU activation.SiLU activation.Softmax batchnorm.BatchNorm1d container.ModuleList "
    "container.Sequential conv.Conv1d conv.Conv2d dropout.Dropout linear.Identity linear.Linear normalization.LayerNorm"
)

MODULES = (
    {"jepa.JEPA": "LeWM", f"{_LEWM}.LeWM": "LeWM", f"{_LEWM}.lewm.LeWM": "LeWM"}
    | {f"{home}.{part}": part for home in ("module", f"{_LEWM}.module") for part in _PARTS.split()}
    | {f"{home}.{old}": "Predictor" for home in ("module", f"{_LEWM}.module") for old in ("ARPredictor", "Predictor")}
    | {f"{_VIT}.modeling_vit.ViT{part}": f"ViT{part}" for part in _VIT_PARTS.split()}
    | {f"{_VIT}.configuration_vit.ViTConfig": "ViTConfig", "transformers.activations.GELUActivation": "GELUActivation"}
    | {f"torch.nn.modules.{name}": name.split(".")[1] for name in _LAYERS.split()}
)
"""Classes whose objects are captured: full name in the pickle to the kind of the stand-in."""

_VALUES = frozenset(
    {"torch._C._nn.gelu", "torch.nn.functional.gelu", *(f"torch.{kind}" for kind in ("float32", "float16", "bfloat16"))}
)
"""Names that occur as plain values."""

_PATHS = "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath"
_PLAIN = "dict list tuple int long float str unicode bool bytes"  # of either Python
_NODES = "AnyNode IntegerNode FloatNode StringNode BooleanNode BytesNode PathNode"

INERT = frozenset(
    {f"{home}.{name}" for home in ("pathlib", "pathlib._local") for name in _PATHS.split()}
    | {f"{home}.{name}" for home in ("builtins", "__builtin__") for name in _PLAIN.split()}
    | {f"{home}.multiarray.{name}" for home in ("numpy.core", "numpy._core") for name in ("scalar", "_reconstruct")}
    | {"numpy.ndarray", "numpy.dtype", "_codecs.encode"}
    | {f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")}
    | {f"collections.{name}" for name in ("defaultdict", "deque", "Counter")}
    | {"omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"}
    | {"omegaconf.base.Metadata", "omegaconf.base.ContainerMetadata"}
    | {f"omegaconf.nodes.{node}" for node in _NODES.split()}
    | {"typing.Any", "argparse.Namespace", "torch.device"}
)
"""Names of what training tools keep beside weights: settings, paths, times, numbers. An `Opaque` stands for each."""


def resolve(name: str) -> Reference:
    """Refer to a name, if it is on one of the lists.

    Raises:
        ForeignError: it is not.
    """
    if any(name in known for known in (MODULES, CALLS, STORAGES, _VALUES, INERT)):
        return Reference(name)
    raise ForeignError(f"names {printable(name)}")


def construct(target: Value, arguments: Value) -> Value:
    """Make what stands for the result of a call: a class gives an empty stand-in, and known functions take arguments.

    Arguments of what is inert are dropped.

    Raises:
        ForeignError: something else is called.
        DamagedError: the arguments are not what the function takes.
    """
    if not isinstance(target, Reference):
        raise ForeignError("calls an object")
    if not isinstance(arguments, tuple):
        raise DamagedError(f"{target.name} is called without a tuple")
    if target.name in MODULES and not arguments:
        return CapturedObject(MODULES[target.name], target.name)
    if target.name in INERT:
        return Opaque()
    if target.name in CALLS:
        return CALLS[target.name](arguments)
    raise ForeignError(f"calls {target.name}")


def _mapping(arguments: tuple[Value, ...]) -> Value:
    if arguments:
        raise DamagedError("an ordered dictionary is not built item by item")
    return {}


def _collection(arguments: tuple[Value, ...]) -> Value:
    # The list itself: copies of one list, many times over, would fill the memory.
    match arguments:
        case ():
            return []
        case (list() | tuple() as items,):
            return items
    raise DamagedError("a set is built from something else than a list")


def _tensor(arguments: tuple[Value, ...]) -> Value:
    match arguments:  # the rest: requires_grad, hooks[, metadata]
        case (Storage() as storage, int(offset), tuple(shape), tuple(stride), _, _, *rest) if len(rest) < 2:
            pass
        case _:
            raise DamagedError("a tensor has no storage, no shape or the wrong number of arguments")
    sizes = [length for length in (*shape, *stride) if type(length) is int and length >= 0]
    if len(shape) != len(stride) or len(sizes) != 2 * len(shape) or len(shape) > MOST_DIMENSIONS:
        raise DamagedError("a tensor has no shape")
    tensor = StoredTensor(storage, offset, shape, stride)
    last = sum((length - 1) * step for length, step in zip(shape, stride, strict=True))
    if tensor.numel and last + 1 != tensor.numel:
        raise DamagedError("a tensor repeats or skips numbers of its storage")
    if offset < 0 or offset + tensor.numel > storage.numel:
        raise DamagedError("a tensor reaches beyond its storage")
    return tensor


def _parameter(arguments: tuple[Value, ...]) -> Value:
    match arguments:
        case (StoredTensor() as tensor, _, _):
            return tensor
    raise DamagedError("a parameter holds no tensor")


def _shape(arguments: tuple[Value, ...]) -> Value:
    match arguments:
        case (tuple() as lengths,):
            return lengths
    raise DamagedError("a shape is no tuple")


RESTORE = "lewm_cli.store.objects.restore_model"

CALLS: dict[str, Callable[[tuple[Value, ...]], Value]] = {
    "collections.OrderedDict": _mapping,
    "builtins.set": _collection,
    "__builtin__.set": _collection,
    "torch.Size": _shape,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    RESTORE: lambda arguments: CapturedObject(RESTORE, RESTORE, arguments),
}
"""Functions that may be called, and what makes the stand-in of their result."""
