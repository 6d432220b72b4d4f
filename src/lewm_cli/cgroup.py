"""Reads what a container allows from the control groups, versions 1 and 2, that this process is in."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

PROC = Path("/proc/self")

UNLIMITED = 2**60
"""Bytes that no machine has; version 1 has a number like this for no limit."""


def cpu_quota() -> float | None:
    """Cores' worth of time that this process may use, 0.5 for half a core; None without a limit."""
    quotas = []
    for folder in _groups("cpu"):
        with suppress(OSError, ValueError, ZeroDivisionError):
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota, period = ((folder / f"cpu.cfs_{part}_us").read_text() for part in ("quota", "period"))
            if int(quota) > 0:
                quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def memory_limit() -> int | None:
    """Bytes of memory that this process and those with it may use; None without a limit."""
    limits = []
    for folder in _groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):  # "max" is no number
                limits.append(int((folder / name).read_text()))
    return min((limit for limit in limits if limit < UNLIMITED), default=None)


def memory_left() -> int | None:
    """Bytes of that limit that are not used yet, or by files that may be read again; None without a limit."""
    left = []
    for folder in _groups("memory"):
        for limit, used in (("max", "current"), ("limit_in_bytes", "usage_in_bytes")):
            with suppress(OSError, ValueError):
                allowed, taken = (int((folder / f"memory.{name}").read_text()) for name in (limit, used))
                lines = (folder / "memory.stat").read_text().splitlines()
                counts = {name: int(value) for name, value in map(str.split, lines)}
                files = counts.get("total_inactive_file", counts.get("inactive_file", 0))
                left.append((allowed, max(0, allowed - taken + files)))
    return min((free for limit, free in left if limit < UNLIMITED), default=None)


def _groups(controller: str) -> Iterator[Path]:
    """Folders of the groups that this process is in, from the innermost outwards; each limits those in it."""
    try:
        memberships, mounts = ((PROC / name).read_text(errors="replace") for name in ("cgroup", "mountinfo"))
    except OSError:  # not Linux
        return
    for membership in memberships.splitlines():
        _, controllers, group = membership.split(":", 2)
        for mount in mounts.splitlines():
            # "ID PARENT DEVICE ROOT POINT OPTIONS ... - TYPE SOURCE SUPER_OPTIONS"
            before, _, after = mount.partition(" - ")
            kind, *_, options = after.split()
            version_2 = kind == "cgroup2" and not controllers
            version_1 = kind == "cgroup" and all(controller in names.split(",") for names in (controllers, options))
            if version_1 or version_2:
                root, point = before.split()[3:5]
                inner = PurePosixPath(group)
                # What is mounted in a container may begin with the container's own group.
                folder = Path(point) / (inner.relative_to(root) if inner.is_relative_to(root) else "")
                yield from (above for above in (folder, *folder.parents) if above.is_relative_to(point))
