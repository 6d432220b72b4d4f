"""A stand-in for a GPU: its tensors compute on the CPU, and torch is as strict with them as with a GPU's.

It says `cuda`, and refuses to mix its tensors with those of the CPU. What is recorded on it is computed anew into the
same memory when it is replayed, and not at all while it is recorded, as CUDA graphs do.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("cuda", 0)


class Far(Tensor):
    """A tensor on the device; `near` holds its numbers."""

    @staticmethod
    def __new__(cls, near: Tensor) -> "Far":
        return Tensor._make_wrapper_subclass(
            cls, near.shape, near.stride(), near.storage_offset(), dtype=near.dtype, device="meta"
        )

    def __init__(self, near: Tensor) -> None:
        self.near = near

    @property
    def device(self) -> torch.device:
        return DEVICE

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return computed(function, args, kwargs or {})


def computed(function: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Computes a function on the CPU; the result is on the device where torch would have computed it."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    far = [tensor for tensor in tensors if isinstance(tensor, Far)]
    asked = kwargs.get("device")
    moves = function in (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)
    if far and not moves and any(tensor.dim() for tensor in tensors if not isinstance(tensor, Far)):
        raise RuntimeError(f"{function} is asked of tensors on two devices")
    there = bool(far) if asked is None else torch.device(asked).type == DEVICE.type
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    near_args, near_kwargs = tree_map_only(Far, lambda tensor: tensor.near, (args, kwargs))
    result = function(*near_args, **near_kwargs)
    if function._schema.is_mutable and isinstance(result, Tensor):
        return args[0]
    return tree_map_only(Tensor, Far, result) if there else result


class Accelerator(TorchDispatchMode):
    """Puts tensors that are made for the device there."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return computed(function, args, kwargs or {})


def send(module: torch.nn.Module) -> torch.nn.Module:
    """Moves the weights of a module to the device."""
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    held[name] = Far(tensor.detach())
    return module


@dataclass
class Tape(TorchDispatchMode):
    """Operations computed while it recorded; memory that it allocated holds NaN until it is replayed."""

    steps: list[tuple[Any, tuple, dict[str, Any], Any]] = field(default_factory=list)
    replays: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        result = function(*args, **(kwargs or {}))
        self.steps.append((function, args, kwargs or {}, result))
        return result

    def forget(self) -> None:
        """Fills what was computed with NaN, as if nothing was computed yet."""
        given, made = set(), {}
        for _, args, kwargs, result in self.steps:
            given |= {place(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)} - made.keys()
            made |= {place(leaf): leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)}
        for tensor in (tensor for where, tensor in made.items() if where not in given and tensor.is_floating_point()):
            tensor.fill_(torch.nan)

    def replay(self) -> None:
        """Computes everything anew into the same memory."""
        self.replays += 1
        for function, args, kwargs, result in self.steps:
            again = function(*args, **kwargs)
            for kept, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(kept, Tensor) and place(kept) != place(new):
                    kept.copy_(new)


def place(tensor: Tensor) -> int:
    """Address at which its memory begins."""
    return (tensor.near if isinstance(tensor, Far) else tensor).untyped_storage().data_ptr()


@dataclass
class Recorder:
    """Records, and keeps its tapes."""

    tapes: list[Tape] = field(default_factory=list)

    def record(self, compute: Callable[[], Tensor]) -> tuple[Tape, Tensor]:
        tape = Tape()
        with tape:
            result = compute()
        tape.forget()
        self.tapes.append(tape)
        return tape, result
