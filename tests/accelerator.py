"""A stand-in for a GPU: its tensors compute on the CPU, and torch is as strict with them as with a GPU's.

It says `cuda`, and refuses to mix its tensors with those of the CPU. What is recorded on it is computed anew into the
same memory when it is replayed, and not at all while it is recorded, as CUDA graphs do. What is copied on a stream of
its own is not there before another stream has waited for it, and what the host waits for is counted.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("cuda", 0)
MOVES = (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)
READS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)


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
    if far and function not in MOVES and any(tensor.dim() for tensor in tensors if not isinstance(tensor, Far)):
        raise RuntimeError(f"{function} is asked of tensors on two devices")
    # Where torch itself makes a tensor beside one of the device, it asks for the device that it knows of.
    there = bool(far) if asked is None else torch.device(asked).type in (DEVICE.type, "meta")
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    near_args, near_kwargs = tree_map_only(Far, lambda tensor: tensor.near, (args, kwargs))
    result = function(*near_args, **near_kwargs)
    if function._schema.is_mutable and isinstance(result, Tensor):
        return args[0]
    return tree_map_only(Tensor, Far, result) if there else result


class Event:
    """A moment of a stream: what was under way on it then."""

    def __init__(self, under_way: list[Callable[[], object]]) -> None:
        self.under_way = under_way


class Stream:
    """A queue of copies to the device."""

    def __init__(self, device: torch.device | None = None) -> None:
        self.under_way: list[Callable[[], object]] = []

    def record_event(self) -> Event:
        return Event(list(self.under_way))

    def query(self) -> bool:
        return True

    def wait_event(self, event: Event) -> None:
        for arrive in event.under_way:
            arrive()


class Accelerator(TorchDispatchMode):
    """Puts tensors that are made for the device there.

    Attributes:
        streams: the one in use is the last, the first is the device's own.
        waits: what the host has waited for: numbers of the device that it read, and copies that it saw through.
    """

    def __init__(self) -> None:
        super().__init__()
        self.streams = [Stream()]
        self.waits: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = computed(function, args, kwargs or {})
        given = {isinstance(leaf, Far) for leaf in tree_leaves((args, result)) if isinstance(leaf, Tensor)}
        crosses = function in MOVES and len(given) == 2
        if crosses and self._sends(args[0], kwargs or {}):
            self._send(args[0], result)
        elif crosses or (function in READS and True in given):
            self.waits.append(str(function))
        return result

    def _sends(self, source: Tensor, how: dict[str, Any]) -> bool:
        return how.get("non_blocking", False) and getattr(source, "pinned", False)

    def _send(self, source: Tensor, sent: Far) -> None:
        if self.streams[-1] is not self.streams[0]:
            sent.near.zero_()
            self.streams[-1].under_way.append(lambda: sent.near.copy_(source))


@contextlib.contextmanager
def attached(patch: pytest.MonkeyPatch) -> Iterator[Accelerator]:
    """The device is there, as far as torch is asked."""
    make, accelerator = torch.tensor, Accelerator()

    def tensor(values: object, device: torch.device | None = None, **more: object) -> Tensor:
        # Made of numbers, it would be sent before anybody can see it.
        return make(values, **more) if device is None else make(values, **more).to(device)

    def pin_memory(self: Tensor) -> Tensor:
        pinned = self.clone()
        pinned.pinned = True
        return pinned

    @contextlib.contextmanager
    def stream(one: Stream) -> Iterator[None]:
        accelerator.streams.append(one)
        yield
        accelerator.streams.pop()

    patch.setattr(torch, "tensor", tensor)
    patch.setattr(Tensor, "pin_memory", pin_memory)
    patch.setattr(Tensor, "is_pinned", lambda self: getattr(self, "pinned", False))
    patch.setattr(Tensor, "record_stream", lambda self, stream: setattr(self, "used_on", stream))
    patch.setattr(torch.cuda, "_lazy_init", lambda: None)
    patch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    patch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    patch.setattr(torch.cuda, "Stream", Stream)
    patch.setattr(torch.cuda, "stream", stream)
    patch.setattr(torch.cuda, "current_stream", lambda device: accelerator.streams[-1])
    with accelerator:
        yield accelerator


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
