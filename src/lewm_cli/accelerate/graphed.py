"""A computation recorded as one graph, so that a fast device does not wait for every kernel to be launched."""

import threading
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

SHAPES = 16
"""Graphs that are kept; every one holds memory for its inputs and its result."""


class CudaRecorder:
    """Records CUDA graphs, which share the memory for what lies between inputs and result; one is replayed at a time.

    Args:
        device: where it records; it need not be the current one.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            # torch's own stream for recording belongs to the device that recorded first.
            self._stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._pool = torch.cuda.graph_pool_handle()

    def record(self, compute: Callable[[], Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """Returns the recorded computation, and the tensor that holds its result once it is replayed."""
        graph = torch.cuda.CUDAGraph()
        recording = torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local")
        with torch.cuda.device(self._device), recording:
            result = compute()
        return graph, result


RECORDERS: dict[str, Callable[[torch.device], CudaRecorder]] = {"cuda": CudaRecorder}
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
        self._asked = dict[tuple[object, ...], Callable[..., Tensor]]()  # by shapes: the function, or its recording
        self._recorders = dict[torch.device, CudaRecorder]()
        self._fails, self._lock = False, threading.Lock()

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The result of the function, in memory of its own."""
        device = inputs[0].device
        if torch.is_grad_enabled() or self._fails or device.type not in RECORDERS:
            return self._function(*inputs)
        shapes = tuple((tensor.device, tensor.dtype, tensor.shape) for tensor in inputs)
        with self._lock:
            compute = self._asked.pop(shapes, None)
            if compute is self._function:
                compute = self._record(device, inputs)
            self._asked[shapes] = compute = compute or self._function
            if len(self._asked) > SHAPES:
                del self._asked[next(iter(self._asked))]
            return compute(*inputs)

    def _record(self, device: torch.device, inputs: tuple[Tensor, ...]) -> Callable[..., Tensor]:
        try:
            if device not in self._recorders:
                self._recorders[device] = RECORDERS[device.type](device)
            with torch.inference_mode():
                held = tuple(tensor.clone() for tensor in inputs)
                graph, result = self._recorders[device].record(lambda: self._function(*held))
        except RuntimeError as error:
            self._fails = True
            warnings.warn(
                f"what is computed on {device} could not be recorded, and is slower for it: {error}", stacklevel=3
            )
            return self._function

        def replay(*inputs: Tensor) -> Tensor:
            with torch.inference_mode():  # as it was recorded
                for tensor, given in zip(held, inputs, strict=True):
                    tensor.copy_(given)
                graph.replay()
            # Whoever is not in inference mode gets what may become part of a gradient.
            return result.clone()

        return replay
