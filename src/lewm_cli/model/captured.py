"""A computation recorded as one graph, so that a fast device does not wait for every kernel to be launched."""

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
    """Records computations of which one is replayed at a time."""

    def record(self, compute: Callable[[], Tensor]) -> tuple[Graph, Tensor]:
        """The computation, and where its result will be once it is replayed."""
        ...


class CudaRecorder:
    """Records CUDA graphs, which share the memory for what lies between inputs and result."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, compute: Callable[[], Tensor]) -> tuple[Graph, Tensor]:
        """See `Recorder`."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            result = compute()
        return graph, result


RECORDERS: dict[str, Callable[[], Recorder]] = {"cuda": CudaRecorder}
"""By kind of device: what records there."""


class Captured:
    """A function of tensors that is recorded the second time it is asked for some shapes, and replayed from then on.

    The first time warms up what libraries allocate. Where a gradient is wanted, where nothing records, and where
    recording has failed, which is warned of, the function is called as it is.

    Args:
        function: of tensors on one device to a new tensor; it must not read their values on the host, and what else it
            reads must stay where it is.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._recorded = OrderedDict[tuple[object, ...], _Recorded | None]()
        self._recorder: Recorder | None = None
        self._fails = False

    def __call__(self, *inputs: Tensor) -> Tensor:
        """What the function gives, in memory of its own."""
        if torch.is_grad_enabled() or self._fails or inputs[0].device.type not in RECORDERS:
            return self._function(*inputs)
        key = tuple((tensor.device, tensor.dtype, tensor.shape) for tensor in inputs)
        if key not in self._recorded:
            self._remember(key, None)
            return self._function(*inputs)
        recorded = self._recorded[key]
        if recorded is None:
            try:
                self._recorder = self._recorder or RECORDERS[inputs[0].device.type]()
                recorded = _Recorded(self._recorder, self._function, inputs)
            except RuntimeError as error:
                self._fails = True
                warnings.warn(f"imagining could not be recorded, and is slower for it: {error}", stacklevel=2)
                return self._function(*inputs)
        self._remember(key, recorded)
        return recorded(*inputs)

    def _remember(self, key: tuple[object, ...], recorded: "_Recorded | None") -> None:
        self._recorded[key] = recorded
        self._recorded.move_to_end(key)
        if len(self._recorded) > SHAPES:
            self._recorded.popitem(last=False)


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
