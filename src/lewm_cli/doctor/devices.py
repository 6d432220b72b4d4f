"""Finds devices that compute here, the speed of bf16 on each, and the one that `--device auto` takes."""

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
    """The device that `--device auto` takes."""

    device: str


def devices() -> Iterator[Finding]:
    """Look at CPU, CUDA and MPS, and at the one that is taken."""
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
    says = f"{cores} core{'s' * (cores != 1)}, {threads} torch thread{'s' * (threads != 1)}"
    if named := os.environ.get("OMP_NUM_THREADS"):
        says += f" (OMP_NUM_THREADS={named})"
    says += f", BLAS {library}; {_speed_text(speed)}"
    return CpuFinding(
        name="cpu",
        state=State.WARNING if crowded else State.OK,
        says=f"{says}; more threads than cores make everything slow" if crowded else says,
        advice=f"export OMP_NUM_THREADS={cores}" if crowded else None,
        cores=cores,
        threads=threads,
        blas=library,
        bf16_speed=speed,
    )


def _cuda() -> Iterator[DeviceFinding]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if available:
        yield from map(_gpu, range(torch.cuda.device_count()))
    else:
        yield _no_cuda(" ".join(str(warning.message) for warning in caught))


def _gpu(number: int) -> DeviceFinding:
    name = f"cuda:{number}"
    try:
        properties = torch.cuda.get_device_properties(number)
        free, memory = torch.cuda.mem_get_info(number)
        capability = f"{properties.major}.{properties.minor}"
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
        f"compute capability {capability}; {_speed_text(speed)}",
        memory_bytes=memory,
        free_bytes=free,
        capability=capability,
        bf16_speed=speed,
    )


def _no_cuda(warned: str) -> DeviceFinding:
    if not (Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi")):
        return DeviceFinding(name="cuda", state=State.NONE, says="no NVIDIA GPU here")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        says, advice = f"hidden by CUDA_VISIBLE_DEVICES={visible!r}", "unset CUDA_VISIBLE_DEVICES"
    elif torch.version.cuda is None:
        says = f"a driver is here, but torch {torch.__version__} is built without CUDA"
        advice = "pip install --force-reinstall torch torchvision"
    else:
        says = f"a driver is here, but torch, built for CUDA {torch.version.cuda}, sees no GPU"
        advice = "nvidia-smi"
    return DeviceFinding(
        name="cuda", state=State.WARNING, says=f"{says}: {warned.splitlines()[0]}" if warned else says, advice=advice
    )


def _mps() -> DeviceFinding:
    if not torch.backends.mps.is_available():
        says = "this torch is built without it" if sys.platform == "darwin" else "no Apple GPU here"
        return DeviceFinding(name="mps", state=State.NONE, says=says, float64=False)
    speed = _bf16_speed("mps", GPU_SIDE)
    says = f"available; {_speed_text(speed)}; no float64"
    return DeviceFinding(name="mps", state=State.OK, says=says, bf16_speed=speed, float64=False)


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


def _speed_text(speed: float | None) -> str:
    return "no bf16" if speed is None else f"bf16 {speed:.2g} x float32's speed"
