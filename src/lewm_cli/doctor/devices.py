"""What can compute here, how fast bf16 is on it, and which device `--device auto` takes."""

import os
import re
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from lewm_cli.doctor.finding import Finding, State
from lewm_cli.model import resolve_device
from lewm_cli.workers import available_cores

CPU_SIDE, GPU_SIDE = 512, 4096
"""Matrices large enough to be bound by arithmetic, small enough to take no time."""

REPEATS = 5


@dataclass(frozen=True, kw_only=True)
class DeviceFinding(Finding):
    """A device.

    Args:
        bf16_speed: of a matrix product, in multiples of float32's speed; None where it cannot be measured.
        float64: whether it has double precision.
        memory_bytes: of a GPU.
        free_bytes: of these, not in use by anyone.
        capability: compute capability of a CUDA device.
    """

    bf16_speed: float | None = None
    float64: bool = True
    memory_bytes: int | None = None
    free_bytes: int | None = None
    capability: str | None = None


@dataclass(frozen=True, kw_only=True)
class CpuFinding(DeviceFinding):
    """The processor.

    Args:
        cores: that this process may use.
        threads: that torch uses.
        blas: library behind torch's matrix products.
    """

    cores: int
    threads: int
    blas: str


@dataclass(frozen=True, kw_only=True)
class AutoFinding(Finding):
    """What `--device auto` takes."""

    device: str


def devices() -> Iterator[Finding]:
    """CPU, CUDA, MPS, and which one is taken."""
    yield _cpu()
    yield from _cuda()
    yield _mps()
    taken = str(resolve_device("auto"))
    yield AutoFinding(name="--device auto", state=State.OK, says=f"takes {taken}", device=taken)


def _cpu() -> CpuFinding:
    cores, threads = available_cores(), torch.get_num_threads()
    blas = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    library = blas.group(1) if blas else "unknown"
    speed = _bf16_speed("cpu", CPU_SIDE)
    crowded = threads > cores
    named = os.environ.get("OMP_NUM_THREADS")
    return CpuFinding(
        name="cpu",
        state=State.WARNING if crowded else State.OK,
        says=f"{_count(cores, 'core')}, {_count(threads, 'torch thread')}"
        + (f" (OMP_NUM_THREADS={named})" if named else "")
        + f", BLAS {library}; bf16 {speed:.2g} x float32's speed"
        + ("; more threads than cores make everything slow" if crowded else ""),
        advice=f"export OMP_NUM_THREADS={cores}" if crowded else None,
        cores=cores,
        threads=threads,
        blas=library,
        bf16_speed=speed,
    )


def _cuda() -> Iterator[DeviceFinding]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        yield _no_cuda(" ".join(str(warning.message) for warning in said))
        return
    for number in range(torch.cuda.device_count()):
        yield _gpu(number)


def _gpu(number: int) -> DeviceFinding:
    name = f"cuda:{number}"
    try:
        properties = torch.cuda.get_device_properties(number)
        free, memory = torch.cuda.mem_get_info(number)
        supported = properties.major >= 8 or torch.version.hip is not None
        torch.ones(2, device=name).sum().item()  # a GPU that torch knows may still be one that it has no kernels for
        speed = _bf16_speed(name, GPU_SIDE) if supported else None
    except RuntimeError as error:  # no kernels for this GPU, no memory left, an ailing driver
        return DeviceFinding(
            name=name,
            state=State.BROKEN if number == 0 else State.WARNING,  # the first one is what auto takes
            says=f"fails: {str(error).strip().splitlines()[0]}",
            advice="nvidia-smi (what uses it? which driver?); meanwhile: --device cpu",
        )
    return DeviceFinding(
        name=name,
        state=State.OK if supported else State.WARNING,
        advice=None if supported else "lewm train ... --set optimizer.precision=float32",
        says=f"{properties.name}, {memory / 1e9:.0f} GB ({free / 1e9:.0f} free), "
        f"compute capability {properties.major}.{properties.minor}; "
        + (f"bf16 {speed:.2g} x float32's speed" if supported else "no bf16"),
        memory_bytes=memory,
        free_bytes=free,
        capability=f"{properties.major}.{properties.minor}",
        bf16_speed=speed,
    )


def _no_cuda(said: str) -> DeviceFinding:
    if not (Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi")):
        return DeviceFinding(name="cuda", state=State.NONE, says="no NVIDIA GPU here")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        says, advice = f"hidden by CUDA_VISIBLE_DEVICES={visible!r}", "unset CUDA_VISIBLE_DEVICES"
    elif torch.version.cuda is None:
        says, advice = f"a driver is here, but torch {torch.__version__} is built without CUDA", _TORCH_AGAIN
    else:
        says = f"a driver is here, but torch, built for CUDA {torch.version.cuda}, sees no GPU"
        advice = "nvidia-smi"
    return DeviceFinding(
        name="cuda", state=State.WARNING, says=f"{says}: {said.splitlines()[0]}" if said else says, advice=advice
    )


def _mps() -> DeviceFinding:
    if not torch.backends.mps.is_available():
        told = "this torch is built without it" if sys.platform == "darwin" else "no Apple GPU here"
        return DeviceFinding(name="mps", state=State.NONE, says=told, float64=False)
    speed = _bf16_speed("mps", GPU_SIDE)
    return DeviceFinding(
        name="mps",
        state=State.OK,
        says=f"available; bf16 {speed:.2g} x float32's speed; no float64",
        bf16_speed=speed,
        float64=False,
    )


def _bf16_speed(device: str, side: int) -> float:
    return _seconds(device, torch.float32, side) / _seconds(device, torch.bfloat16, side)


def _seconds(device: str, dtype: torch.dtype, side: int) -> float:
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(REPEATS):
        begun = time.perf_counter()
        (matrix @ matrix)[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - begun)
    return best


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


_TORCH_AGAIN = "pip install --force-reinstall torch torchvision"
