"""Finds devices that compute here, and the one that `--device auto` takes."""

import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from lewm_cli.cgroup import cpu_quota
from lewm_cli.doctor.finding import Finding, State
from lewm_cli.model import has_bf16, resolve_device
from lewm_cli.workers import available_cores


@dataclass(frozen=True, kw_only=True)
class DeviceFinding(Finding):
    """A device: double precision or not, and the memory and compute capability of a CUDA device."""

    float64: bool = True
    memory_bytes: int | None = None
    free_bytes: int | None = None
    capability: str | None = None


@dataclass(frozen=True, kw_only=True)
class CpuFinding(DeviceFinding):
    """The processor: cores that this process may use, torch's threads, and the library of its matrix products.

    Args:
        quota: cores' worth of time that a container allows; None without a limit.
    """

    cores: int
    quota: float | None
    threads: int
    blas: str


@dataclass(frozen=True, kw_only=True)
class AutoFinding(Finding):
    """The device that `--device auto` takes."""

    device: str


def devices() -> Iterator[Finding]:
    """Look at CPU, CUDA and MPS, and at the one that is taken."""
    yield _cpu()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if available:
        yield from map(_gpu, range(torch.cuda.device_count()))
    else:
        yield _no_cuda(" ".join(str(warning.message) for warning in caught))
    if torch.backends.mps.is_available():
        yield DeviceFinding(name="mps", state=State.OK, says="available; no float64", float64=False)
    else:
        says = "this torch is built without it" if sys.platform == "darwin" else "no Apple GPU here"
        yield DeviceFinding(name="mps", state=State.NONE, says=says, float64=False)
    taken = str(resolve_device("auto"))
    yield AutoFinding(name="--device auto", state=State.OK, says=f"takes {taken}", device=taken)


def _cpu() -> CpuFinding:
    cores, threads = available_cores(), torch.get_num_threads()
    crowded = threads > cores
    blas = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    library = blas.group(1) if blas else "unknown"
    quota = cpu_quota()
    says = f"{cores} core{'s' * (cores != 1)}"
    if quota is not None:
        says += f" (the container's CPU quota is {quota:g} of {os.cpu_count()})"
    says += f", {threads} torch thread{'s' * (threads != 1)}"
    if named := os.environ.get("OMP_NUM_THREADS"):
        says += f" (OMP_NUM_THREADS={named})"
    says += f", BLAS {library}"
    return CpuFinding(
        name="cpu",
        state=State.WARNING if crowded else State.OK,
        says=f"{says}; more threads than cores make everything slow" if crowded else says,
        advice=f"export OMP_NUM_THREADS={cores}" if crowded else None,
        cores=cores,
        quota=quota,
        threads=threads,
        blas=library,
    )


def _gpu(number: int) -> DeviceFinding:
    name = f"cuda:{number}"
    try:
        properties = torch.cuda.get_device_properties(number)
        free, memory = torch.cuda.mem_get_info(number)
        torch.ones(2, device=name).sum().item()  # a GPU that torch knows may still be one that it has no kernels for
    except RuntimeError as error:  # no kernels for this GPU, no memory left, an ailing driver
        return DeviceFinding(
            name=name,
            state=State.BROKEN if number == 0 else State.WARNING,  # the first one is what auto takes
            says=f"fails: {str(error).strip().splitlines()[0]}",
            advice="nvidia-smi (what uses it? which driver?); meanwhile: --device cpu",
        )
    capability = f"{properties.major}.{properties.minor}"
    says = f"{properties.name}, {memory / 1e9:.0f} GB ({free / 1e9:.0f} free), compute capability {capability}"
    return DeviceFinding(
        name=name,
        state=State.OK,
        says=says if has_bf16(torch.device(name)) else f"{says}; no bf16, so training computes in float32",
        memory_bytes=memory,
        free_bytes=free,
        capability=capability,
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
    says = f"{says}: {warned.splitlines()[0]}" if warned else says
    return DeviceFinding(name="cuda", state=State.WARNING, says=says, advice=advice)
