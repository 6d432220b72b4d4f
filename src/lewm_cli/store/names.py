"""Names of datasets and runs, and the tasks that they stand for."""

import os
import re
from math import prod
from pathlib import PurePosixPath

from lewm_cli.data import DATASET_SUFFIXES, Dataset
from lewm_cli.errors import UsageError
from lewm_cli.methods import DEFAULT
from lewm_cli.store.formats.classes import STABLE_WORLDMODEL, TRAINED_BY
from lewm_cli.store.run_files import BEST
from lewm_cli.tasks import GENERIC, TASKS, Task, find_task

WEIGHT_SUFFIXES = {
    "_object.ckpt": "object checkpoint",
    "_weight.ckpt": "state dict",
    "_weights.ckpt": "state dict",
    ".safetensors": "safetensors",
    ".safetensors.index.json": "shards",
    ".bin.index.json": "shards",
    ".pt": "torch file",
    ".pth": "torch file",
    ".ckpt": "torch file",
    ".bin": "torch file",
    ".pkl": "torch file",
}
"""Suffixes of files that hold a run, ours or another tool's, and what they are, as far as that tells."""

RUN_SUFFIXES = (*WEIGHT_SUFFIXES, ".run")
RESERVED = ("datasets", "checkpoints")
"""Folders of a home with a meaning of their own."""

RELEASE = "-release"
"""Ends the names of released weights, so that they never take the name of a run."""

LEWM_RELEASE = (f"lewm{RELEASE}", "lejepa")
"""Names of the released LeWM of a task; the second is its old one."""

_FOLDER_WEIGHTS = re.compile(r"(.+)/weights(?:_epoch_(\d+))?")
"""Weights, without suffix, that go by the name of the folder they lie in."""

LONGEST = 200
"""Characters of a name."""

LONGEST_PART = 220
"""Bytes of a folder or file in a name; file systems take 255, and `.NAME_weight.ckpt.12345678.part` comes to it."""


RELEASED = {task.released_dataset for task in TASKS}
"""Names of released datasets, which no own recording takes."""


def check_name(name: str, kind: str) -> str:
    """Returns the name of a "run" or "dataset" if it is one; else raises UsageError that says which to type."""
    for suffix in RUN_SUFFIXES if kind == "run" else DATASET_SUFFIXES:
        if name.endswith(suffix):
            plain = run_name(name) if kind == "run" else name.removesuffix(suffix)
            offer = f"its name without suffix: {plain!r}" if is_name(plain) else "a name under the home"
            raise UsageError(f"{name!r} is a file; a {kind} goes by {offer}")
    if name.isprintable() and any(map(_is_too_long, name.split("/"))):
        raise UsageError(
            f"{name!r} is too long: a part of a name has at most {LONGEST_PART} bytes; choose a shorter one"
        )
    if not is_name(name):
        blank = " with no blank before or behind a part of it" if _has_blank_end(name) else ""
        raise UsageError(f"{name!r} cannot name a {kind}; a name is a path under the home{blank}, like 'tworoom/lewm'")
    return name


def run_name(path: str) -> str:
    """The name of the run of a weight file under the home: `pusht` for pusht/weights.pt, `pusht@7` for an epoch."""
    plain = next((path.removesuffix(suffix) for suffix in RUN_SUFFIXES if path.endswith(suffix)), path)
    inside = _FOLDER_WEIGHTS.fullmatch(plain) if path.endswith(".pt") else None
    if inside is None:
        return plain
    folder, epoch = inside.groups()
    return f"{folder}@{epoch}" if epoch else str(folder)


def split_step(name: str) -> tuple[str, int | None]:
    """A run name and the state of it that is asked for: `pusht/lewm@7` is state 7 of pusht/lewm."""
    plain, at, step = name.rpartition("@")
    return (plain, int(step)) if at and plain and step.isdecimal() else (name, None)


def names_state(name: str) -> bool:
    """Tell whether a name means one state of a run, like `pusht/lewm@best`; such a name cannot be chosen."""
    return split_step(name)[1] is not None or name.endswith(BEST)


def split_copy(name: str) -> tuple[str, str | None]:
    """A run name and the model of it that is asked for, if its file holds several: `pusht/lewm@ema`."""
    plain, at, copy = name.rpartition("@")
    return (plain, copy) if at and plain and copy and not copy.isdecimal() else (name, None)


def other_names(name: str) -> tuple[str, ...]:
    """Other names of a run: `T/pldm` is `T/pldm-release` if no run has it; `T/lewm` is also `T/lejepa`."""
    folder, _, last = name.rpartition("/")
    if not folder:
        return ()
    if last in ("lewm", *LEWM_RELEASE):
        return tuple(f"{folder}/{other}" for other in LEWM_RELEASE if other != last)
    return () if last.endswith(RELEASE) else (f"{name}{RELEASE}",)


def names_release(name: str) -> bool:
    """Tell whether a run is called as only released weights are."""
    plain = split_step(name)[0]
    return plain.endswith(RELEASE) or plain.rpartition("/")[2] in LEWM_RELEASE


def named_method(name: str) -> str | None:
    """The method of other tools that a run name speaks of: `pusht/pldm`, `pldm_reacher`."""
    longest_first = "|".join(sorted(STABLE_WORLDMODEL, key=len, reverse=True))
    return next(iter(re.findall(rf"(?<![a-z])(?:{longest_first})(?![a-z])", name.lower())[::-1]), None)


def method_of(name: str, said: str | None) -> str:
    """The method of a run that another tool made: what its files say, else its name; else it is taken for a LeWM."""
    if said:
        return said
    named = named_method(name)  # files that say nothing hold the network of LeWM, which not every method trains
    return named if named and named in TRAINED_BY.values() else DEFAULT


def is_name(name: str) -> bool:
    """Tell whether something could be called this: a path that stays under the home, as short as can be written."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or path.parts[0] in RESERVED or len(name) > LONGEST:
        return False
    # Control characters, and bytes that are no text, cannot be shown or typed.
    if not name.isprintable() or _has_blank_end(name) or any(map(_is_too_long, path.parts)):
        return False
    return str(path) == name and not any(part.startswith(".") or part.endswith(".run") for part in path.parts)


def _has_blank_end(name: str) -> bool:
    return any(part != part.strip() for part in name.split("/"))  # nobody sees it, and few type it


def _is_too_long(part: str) -> bool:
    return len(os.fsencode(part)) > LONGEST_PART


def dataset_task(dataset: Dataset) -> Task:
    """The task of a recording: as the file says, else by a released file's name, else by its columns, else generic."""
    if dataset.task is not None:
        return find_task(dataset.task) or GENERIC
    named = (task for task in TASKS if task.released_dataset == dataset.path.stem)
    widths = {(column.name, prod(column.shape)) for column in dataset.columns}
    recognized = (task for task in TASKS if task.recognized_by and widths.issuperset(task.recognized_by))
    return [*named, *recognized, GENERIC][0]


def named_task(name: str) -> Task | None:
    """The task that a run name speaks of: `tworoom/lejepa`, or `quentinll/lewm-tworooms` as the Hub has it."""
    parts = split_step(name)[0].split("/")
    found = (find_task(part) or find_task(part.removeprefix("lewm-")) for part in parts)
    return next((task for task in found if task not in (None, GENERIC)), None)
