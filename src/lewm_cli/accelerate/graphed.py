"""A computation recorded as one graph, so that a fast device does not wait for every kernel to be launched."""

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

SHAPES = 16
"""Graphs that are kept; every one holds memory for its inputs and its result."""


class Graph(Protocol):
    """A recorded computation, which reads and writes the same memory whenever it is replayed."""

    def replay(self) -> None:
        """Compute anew."""
        ...


class Recorder(Protocol):
    """Records computations; one of them is replayed at a time."""

    def record(self, compute: Callable[[], Tensor]) -> tuple[Graph, Tensor]:
        """The recorded computation, and the tensor that holds its result once it is replayed."""
        ...


class CudaRecorder:
    """Records CUDA graphs, which share the memory for what lies between inputs and result.

    Args:
        device: where it records; it need not be the current one.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            # torch's own stream for recording belongs to the device that recorded first.
            self._stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._pool = torch.cuda.graph_pool_handle()

    def record(self, compute: Callable[[], Tensor]) -> tuple[Graph, Tensor]:
        """See `Recorder`."""
        graph = torch.cuda.CUDAGraph()
        recording = torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local")
        with torch.cuda.device(self._device), recording:
            result = compute()
        return graph, result


RECORDERS: dict[str, Callable[[torch.device], Recorder]] = {"cuda": CudaRecorder}
"""The recorder of each kind of device that has one."""


class GraphedCallable:
    """A function of tensors that is recorded the second time it is asked for some shapes, and replayed from then on.

    The first time warms up what libraries allocate. Where a gradient is wanted, where nothing records, and where
    recording has failed, which is warned of, the function is called as it is. Threads take turns.

    Args:
        function: of tensors on one device to a new tensor; it must not read their values on the host, and what else it
            reads must stay where it is.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._recorded = OrderedDict[tuple[object, ...], _Recorded | None]()
        self._recorders = dict[torch.device, Recorder]()
        self._fails, self._lock = False, threading.Lock()

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The result of the function, in memory of its own."""
        device = inputs[0].device
        if torch.is_grad_enabled() or self._fails or device.type not in RECORDERS:
            return self._function(*inputs)
        with self._lock:
            recorded = self._prepared(device, inputs)
            return self._function(*inputs) if recorded is None else recorded(*inputs)

    def _prepared(self, device: torch.device, inputs: tuple[Tensor, ...]) -> "_Recorded | None":
        key = tuple((tensor.device, tensor.dtype, tensor.shape) for tensor in inputs)
        recorded = self._recorded.get(key)
        if key in self._recorded and recorded is None:
            try:
                if device not in self._recorders:
                    self._recorders[device] = RECORDERS[device.type](device)
                recorded = _Recorded(self._recorders[device], self._function, inputs)
            except RuntimeError as error:
                self._fails = True
                warnings.warn(
                    f"what is computed on {device} could not be recorded, and is slower for it: {error}", stacklevel=3
                )
                return None
        self._recorded[key] = recorded
        self._recorded.move_to_end(key)
        if len(self._recorded) > SHAPES:
            self._recorded.popitem(last=False)
        return recorded


class _Recorded:
    """A function recorded for inputs of some shapes."""

    @torch.inference_mode()
    def __init__(self, recorder: Recorder, function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> None:
        self._inputs = tuple(tensor.clone() for tensor in inputs)
        self._graph, self._result = recorder.record(lambda: function(*self._inputs))

    def __call__(self, *inputs: Tensor) -> Tensor:
        with torch.inference_mode():  # as it was recorded
            for held, given in zip(self._inputs, inputs, strict=True):
                held.copy_(given)
            self._graph.replay()
        # Whoever is not in inference mode gets what may become part of a gradient.
        return self._result.clone()
