"""The device that computes."""

import torch

from lewm_cli.errors import LewmError, UsageError


def resolve_device(name: str) -> torch.device:
    """The device for `--device auto|cpu|cuda|mps`; `auto` takes the first of cuda, mps, cpu that is there.

    Raises:
        UsageError: the name is none of these.
        LewmError: the device is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, available in there.items() if available))
    kind = name.partition(":")[0]
    if kind not in there:
        raise UsageError(f"unknown device {name!r}; choose auto, cpu, cuda or mps")
    if not there[kind]:
        raise LewmError(
            f"device {name!r} is not available here: this torch ({torch.__version__}) sees no such device; "
            "use --device auto or --device cpu"
        )
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} is not available here; use --device {kind}") from error


def has_bf16(device: torch.device) -> bool:
    """True if a device multiplies matrices in bfloat16 itself: CUDA from Ampere on, and newer processors of servers."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    told: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch do not say
    return device.type == "cpu" and any(told.get(unit, False) for unit in ("amx_bf16", "avx512_bf16"))
