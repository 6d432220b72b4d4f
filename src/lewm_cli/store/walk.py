"""Looking through the folders of a home."""

import os
from collections.abc import Iterator
from pathlib import Path


def walk(base: Path, suffixes: str | tuple[str, ...]) -> Iterator[Path]:
    """Files of a suffix under a folder, by name; into linked folders too, once, and into nothing hidden or of a run."""
    entered = set()
    for folder, inner, files in os.walk(base, followlinks=True):
        inner[:] = sorted(name for name in inner if not name.startswith(".") and not name.endswith(".run"))
        real = os.path.realpath(folder)
        if real in entered:
            inner.clear()
            continue
        entered.add(real)
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(suffixes) and name[0] != ".")


def names_in(folder: Path) -> list[str]:
    """Visible names in a folder, sorted; none where there is no folder, or one that may not be read."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return []
