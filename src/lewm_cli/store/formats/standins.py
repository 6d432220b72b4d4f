"""Names that a pickle of a model may use, and the inert objects that stand in for them: they hold state and do nothing.

Nothing on these lists is imported or called, whatever its real namesake could do.
"""

from dataclasses import dataclass, field
from math import prod
from typing import TypeAlias

import torch

from lewm_cli.store.formats.classes import KINDS, POLICIES
from lewm_cli.store.formats.refused import DamagedError, ForeignError, PolicyError, printable

Value: TypeAlias = object
"""None, bool, int, float, str, bytes, tuple, list, dict with str or int keys, or one of the classes below."""


@dataclass(frozen=True)
class Reference:
    """A name that is on one of the lists."""

    name: str


@dataclass(eq=False)
class CapturedObject:
    """An object of a known class: which part of a model it is, and everything that its pickle says about it."""

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
    """A tensor that has not been read: a view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def span(self) -> int:
        """Number of values of the storage from its first to its last."""
        steps = ((length - 1) * step for length, step in zip(self.shape, self.stride, strict=True))
        return sum(steps) + 1 if self.numel else 0


STORAGES = {
    "torch.FloatStorage": torch.float32, "torch.DoubleStorage": torch.float64, "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16, "torch.LongStorage": torch.int64, "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16, "torch.CharStorage": torch.int8, "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}  # fmt: skip

_ENCODERS = {
    "vit.modeling_vit.ViT": "Model Embeddings PatchEmbeddings Encoder Layer MLP Intermediate Output "
    "Attention SelfAttention SdpaAttention SdpaSelfAttention SelfOutput",
    "vit.configuration_vit.ViT": "Config",
    "dinov2.modeling_dinov2.Dinov2": "Model Embeddings PatchEmbeddings Encoder Layer LayerScale DropPath MLP "
    "Attention SelfAttention SdpaAttention SdpaSelfAttention SelfOutput",
    "dinov2.configuration_dinov2.Dinov2": "Config",
}
"""Image encoders of transformers: the beginning of the names of their classes, and the ends."""

WRAPPER = "EvalOnly"
"""The kind of what keeps a module in eval mode, and is as good as that module."""

_LAYERS = (
    "activation.GELU activation.SiLU activation.Softmax batchnorm.BatchNorm1d container.ModuleDict "
    "container.ModuleList container.Sequential conv.Conv1d conv.Conv2d dropout.Dropout linear.Identity linear.Linear "
    "normalization.LayerNorm"
)

MODULES = (
    KINDS
    | {
        f"transformers.models.{name}{part}": f"{name.rpartition('.')[2]}{part}"
        for name, parts in _ENCODERS.items()
        for part in parts.split()
    }
    | {"transformers.activations.GELUActivation": "GELUActivation"}
    | {"stable_pretraining.backbone.utils.EvalOnly": WRAPPER}
    | {f"torch.nn.modules.{name}": name.split(".")[1] for name in _LAYERS.split()}
)
"""Classes whose objects are captured: full name in the pickle to the kind of the stand-in."""

_VALUES = frozenset(
    {"torch._C._nn.gelu", "torch.nn.functional.gelu", *(f"torch.{kind}" for kind in ("float32", "float16", "bfloat16"))}
)
"""Names that occur as plain values."""

_PATHS = "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath"
_PLAIN = "dict list tuple int long float complex str unicode bool bytes bytearray frozenset slice range xrange"
_NODES = "AnyNode IntegerNode FloatNode StringNode BooleanNode BytesNode PathNode"

INERT = frozenset(
    {f"{home}.{name}" for home in ("pathlib", "pathlib._local") for name in _PATHS.split()}
    | {f"{home}.{name}" for home in ("builtins", "__builtin__") for name in _PLAIN.split()}
    | {f"{home}.multiarray.{name}" for home in ("numpy.core", "numpy._core") for name in ("scalar", "_reconstruct")}
    | {"numpy.ndarray", "numpy.dtype", "_codecs.encode"}
    | {f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")}
    | {f"collections.{name}" for name in ("defaultdict", "deque", "Counter")}
    | {"decimal.Decimal", "uuid.UUID"}
    | {"omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"}
    | {"omegaconf.base.Metadata", "omegaconf.base.ContainerMetadata"}
    | {f"omegaconf.nodes.{node}" for node in _NODES.split()}
    | {"typing.Any", "argparse.Namespace", "types.SimpleNamespace", "torch.device", "torch.torch_version.TorchVersion"}
)
"""Names of what training tools keep beside weights: settings, paths, times, numbers. An `Opaque` stands for each."""


MOST_SKIPPED = 16
"""Numbers that are read for one of a tensor: a third of a matrix, sliced along its rows, takes three."""

RESTORE = "lewm_cli.store.objects.restore_model"

FUNCTIONS = frozenset(
    {"collections.OrderedDict", "builtins.set", "__builtin__.set", "torch.Size", RESTORE}
    | {"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"}
    | {"torch._utils._rebuild_parameter_with_state", "torch._tensor._rebuild_from_type_v2"}
)
"""Functions that may be called."""

TENSORS = frozenset(
    {"torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"}
)

KNOWN = frozenset(STORAGES).union(MODULES, FUNCTIONS, INERT, TENSORS, _VALUES)


def resolve(name: str) -> Reference:
    """Refer to a name, if it is on one of the lists."""
    if name.startswith(POLICIES):
        raise PolicyError(f"names {printable(name)}")
    if name not in KNOWN:
        raise ForeignError(f"names {printable(name)}")
    return Reference(name)


def resolve_persistent(identity: Value, storages: dict[str, Storage]) -> Value:
    """Resolve a persistent id: a storage, or (legacy) a class that comes with its source, which is not looked at."""
    match identity:
        case ("module", Reference(name) as reference, _, _) if name in MODULES:
            return reference
        case ("storage", Reference(kind), key, _, numel, *view) if kind in STORAGES:
            if type(key) is not str or type(numel) is not int or numel < 0:
                raise DamagedError("a storage in its pickle has no key or no size")
            if view not in ([], [None]):
                raise DamagedError("a storage is a view of another one, as only very old torch wrote it")
            storage = Storage(key, STORAGES[kind], numel)
            if storages.setdefault(key, storage) != storage:
                raise DamagedError("a storage has two sizes or kinds")
            return storage
    raise ForeignError("holds a persistent id that is no storage")


def construct(target: Value, arguments: Value) -> Value:
    """Make what stands for the result of a call: a class gives an empty stand-in, and known functions take arguments.

    Arguments of what is inert are dropped.
    """
    if not isinstance(target, Reference):
        raise ForeignError("calls an object")
    if not isinstance(arguments, tuple):
        raise DamagedError(f"{target.name} is called without a tuple")
    if target.name in MODULES and not arguments:
        return CapturedObject(MODULES[target.name], target.name)
    if target.name in INERT:
        return Opaque()
    if target.name not in FUNCTIONS:
        raise ForeignError(f"calls {target.name}")
    match target.name.rpartition(".")[2], arguments:
        case "OrderedDict", ():
            return {}
        case "set", ():
            return []
        # The list itself: copies of one list, many times over, would fill the memory.
        case ("set", (list() | tuple() as given,)) | ("Size", (tuple() as given,)):
            return given
        # Attributes that somebody set on a tensor are nothing to a model.
        case "_rebuild_parameter", (StoredTensor() as tensor, _, _):
            return tensor
        case "_rebuild_parameter_with_state", (StoredTensor() as tensor, _, _, _):
            return tensor
        case "_rebuild_from_type_v2", (Reference() as function, Reference(name), inner, _) if name in TENSORS:
            return construct(function, inner)
        case "_rebuild_tensor_v2", (Storage() as storage, int(offset), tuple(shape), tuple(stride), _, _, *rest):
            if len(rest) < 2:  # requires_grad, hooks[, metadata]
                return _tensor(storage, offset, shape, stride)
        case "restore_model", _:
            return CapturedObject(RESTORE, RESTORE, arguments)
    raise DamagedError(f"{target.name} is called with something else than it takes")


def _tensor(storage: Storage, offset: int, shape: tuple[Value, ...], stride: tuple[Value, ...]) -> StoredTensor:
    sizes = [length for length in (*shape, *stride) if type(length) is int and length >= 0]
    if len(shape) != len(stride) or len(sizes) != 2 * len(shape) or len(shape) > 8:
        raise DamagedError("a tensor has no shape")
    lengths, steps = tuple(sizes[: len(shape)]), tuple(sizes[len(shape) :])
    tensor = StoredTensor(storage, offset, lengths, steps)
    if tensor.span > MOST_SKIPPED * tensor.numel:
        raise DamagedError("a tensor skips nearly all numbers of its storage")
    if offset < 0 or offset + tensor.span > storage.numel:
        raise DamagedError("a tensor reaches beyond its storage")
    return tensor
