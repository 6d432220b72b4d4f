"""Reads what is published for a task and where: one TOML beside each task, and those that a user adds."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Self

import platformdirs
from pydantic import AfterValidator, Field, model_validator

from lewm_cli.config import Section, read_toml
from lewm_cli.errors import LewmError
from lewm_cli.tasks import TASKS

FILE = "catalog.toml"  # in the folder of a task


def _stays_inside(name: str) -> str:
    parts = name.split("/")
    if not all(part and not part.startswith(".") for part in parts) or "\\" in name:
        raise ValueError(f"{name!r} is no path under the home")
    return name


PathUnderHome = Annotated[str, AfterValidator(_stays_inside)]


class HubPlace(Section):
    """A repository of the Hugging Face Hub at a revision, which pins every byte of it."""

    repo: Annotated[str, Field(pattern="^[^/]+/[^/]+$")]
    revision: str


class PublishedFile(Section):
    """One file as it is published; size in bytes."""

    name: PathUnderHome
    size: int | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


class Published(Section):
    """Places to get something from: any of them, or the reason why there is none."""

    hub: HubPlace | None = None
    drive: str | None = None  # identifier of a file on Google Drive
    url: str | None = None  # http, https or file
    unavailable: str | None = None  # why there is nothing to fetch, in half a sentence
    note: str | None = None  # what else to know before it is used, in half a sentence

    @model_validator(mode="after")
    def _from_somewhere(self) -> Self:
        if bool(self.hub or self.drive or self.url) == bool(self.unavailable):
            raise ValueError("name hub, drive or url, or say in `unavailable` why there is none")
        return self


class DatasetRelease(Published):
    """A recording."""

    name: PathUnderHome  # in the home
    file: PublishedFile  # HDF5, or an archive that holds it
    unpacked: int | None = None  # bytes of the recording itself at most


class CheckpointRelease(Published):
    """Weights."""

    method: str  # what was trained, as the literature calls it
    files: tuple[PublishedFile, ...] = ()  # weights and their config.json, or an archive that holds them


class Entry(Section):
    """Everything published for a task, or under a name that a user gave."""

    name: PathUnderHome  # as typed on the command line
    aliases: tuple[str, ...] = ()
    title: str = ""
    dataset: DatasetRelease | None = None
    checkpoints: dict[str, CheckpointRelease] = Field(default_factory=dict)  # the model is `lewm`; others are baselines
    drive_folder: str | None = None  # of the authors, which answers 404 since June 2026
    origin: Path  # the file that says so


def read_catalog() -> tuple[Entry, ...]:
    """Reads all entries; one that a user wrote, in a file of its name, stands in for ours.

    Raises:
        UsageError: a file says something that means nothing.
        LewmError: a file cannot be read.
    """
    named: dict[Path, dict[str, Any]] = {
        task.folder / FILE: {"name": task.name, "aliases": task.aliases, "title": task.title}
        for task in TASKS
        if (task.folder / FILE).exists()  # nothing is published for a task without
    }
    with suppress(RuntimeError):  # a user without a home folder has no entries either
        user = platformdirs.user_config_path("lewm") / "catalog"
        for path in sorted(user.rglob("*.toml")):
            named[path] = {"name": path.relative_to(user).with_suffix("").as_posix()}
    entries = {}
    for path, names in named.items():
        try:
            tree = read_toml(path).tree
        except LewmError as error:
            raise LewmError(f"no catalog entry can be read: {error}; mend it or take it away") from error
        entry = Entry.build({**tree, **names, "origin": path}, str(path))
        entries[entry.name] = entry
    return tuple(entries.values())
