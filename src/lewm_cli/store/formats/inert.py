"""Names of what training tools keep beside weights: settings, paths, times, numbers; read past and never made."""

_NUMPY = ("scalar", "_reconstruct")
_PATHS = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
_PLAIN = ("dict", "list", "tuple", "int", "long", "float", "str", "unicode", "bool", "bytes")  # of either Python
_NODES = ("AnyNode", "IntegerNode", "FloatNode", "StringNode", "BooleanNode", "BytesNode", "PathNode")

INERT = frozenset(
    {f"{home}.{name}" for home in ("pathlib", "pathlib._local") for name in _PATHS}
    | {f"{home}.{name}" for home in ("builtins", "__builtin__") for name in _PLAIN}
    | {f"{home}.multiarray.{name}" for home in ("numpy.core", "numpy._core") for name in _NUMPY}
    | {"numpy.ndarray", "numpy.dtype", "_codecs.encode"}
    | {f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")}
    | {f"collections.{name}" for name in ("defaultdict", "deque", "Counter")}
    | {"omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"}
    | {"omegaconf.base.Metadata", "omegaconf.base.ContainerMetadata", *(f"omegaconf.nodes.{node}" for node in _NODES)}
    | {"typing.Any", "argparse.Namespace", "torch.device"}
)
"""Full names. Not one of them is imported or called, whatever its real namesake could do: an `Opaque` stands for it."""
