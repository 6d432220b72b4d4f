"""Weights in several files, with an index that says which: a JSON file that maps the name of each tensor to a file."""

import json
import os
from pathlib import Path

from lewm_cli.store.formats.refused import DamagedError, RefusalError, printable

INDEX = ".index.json"

LARGEST_INDEX = 16 * 2**20
"""Bytes."""

MOST_SHARDS = 1000


def shard_files(path: Path) -> tuple[Path, ...]:
    """The files that weights are in: those that an index names, all in its folder, or the file itself.

    Raises:
        RefusalError: the index is damaged, names files elsewhere, or a file is missing.
    """
    if not path.name.endswith(INDEX):
        return (path,)
    with path.open("rb") as file:
        content = file.read(LARGEST_INDEX)
    try:
        names = sorted(set(json.loads(content)["weight_map"].values()))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError("it is no index of shards") from error
    if not 0 < len(names) <= MOST_SHARDS:
        raise DamagedError("it names no shards, or far too many")
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or name.endswith(INDEX):
            raise RefusalError(f"it names {printable(name)}, and shards lie beside their index")
        if not os.path.isfile(path.parent / name):  # never an error, whatever the name is
            raise RefusalError(f"its shard {printable(name)} is missing; fetch or copy all {len(names)} of them")
    return tuple(path.parent / name for name in names)
