"""The memory that a training has taken at most."""

import re
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch


def process_peak() -> int:
    """Bytes of main memory that this process has held at most, without the processes that it has started."""
    with suppress(OSError, IndexError):  # not Linux, or a sandbox that tells less
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(re.findall(r"VmHWM:\s*(\d+)", status)[0]) * 1024
    # Second, for on Linux it may be that of the program that started this one.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def device_peak(device: torch.device) -> int | None:
    """Bytes that tensors have held at most on a CUDA device; None for others, which do not count them."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
