"""Reads what is published for a task and where: one TOML beside each task, and those that a user adds."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

import platformdirs
from pydantic import AfterValidator, Field, model_validator

from lewm_cli.config import Section, nearest
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.tasks import TASKS

FILE = "catalog.toml"
"""Its name in the folder of a task."""

OURS = ("lewm", "lewm-release", "lejepa")
"""Names of the released LeWM behind the task: `pusht/lejepa`; the last is its old name."""


def _stays_inside(name: str) -> str:
    parts = name.split("/")
    if not all(part and not part.startswith(".") for part in parts) or "\\" in name:
        raise ValueError(f"{name!r} is no path under the home")
    return name


Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
PathUnderHome = Annotated[str, AfterValidator(_stays_inside)]


class HubPlace(Section):
    """A repository of the Hugging Face Hub at a revision, which pins every byte of it."""

    repo: Annotated[str, Field(pattern="^[^/]+/[^/]+$")]
    revision: str


class PublishedFile(Section):
    """One file as it is published; size in bytes."""

    name: PathUnderHome
    size: int | None = None
    sha256: Sha256 | None = None


class Published(Section):
    """Places to get something from: any of them, or the reason why there is none.

    Args:
        hub: a repository of the Hugging Face Hub.
        drive: identifier of a file on Google Drive.
        url: any other address, http, https or file.
        unavailable: why there is nothing to fetch, in half a sentence.
    """

    hub: HubPlace | None = None
    drive: str | None = None
    url: str | None = None
    unavailable: str | None = None

    @model_validator(mode="after")
    def _from_somewhere(self) -> Self:
        somewhere = self.hub or self.drive or self.url
        if bool(somewhere) == bool(self.unavailable):
            raise ValueError("name hub, drive or url, or say in `unavailable` why there is none")
        return self


class DatasetRelease(Published):
    """A recording.

    Args:
        name: what it is called in the home.
        file: as published: HDF5, or an archive that holds it.
        unpacked: bytes of the recording itself at most.
    """

    name: PathUnderHome
    file: PublishedFile
    unpacked: int | None = None


class CheckpointRelease(Published):
    """Weights.

    Args:
        method: what was trained, as the literature calls it.
        files: as published: weights and their config.json, or an archive that holds them.
    """

    method: str
    files: tuple[PublishedFile, ...] = ()

    @property
    def size(self) -> int | None:
        """The bytes of all files together, as far as they are known."""
        return sum(file.size or 0 for file in self.files) or None


class Entry(Section):
    """Everything published for a task, or under a name that a user gave.

    Args:
        name: as typed on the command line.
        aliases: other names of it.
        title: a few words for tables.
        dataset: its recording.
        checkpoints: weights by name; `lewm` is the model itself, the others are what it is compared with.
        drive_folder: the authors' folder on Google Drive, which answers 404 since June 2026.
        origin: the file that says so.
    """

    name: PathUnderHome
    aliases: tuple[str, ...] = ()
    title: str = ""
    dataset: DatasetRelease | None = None
    checkpoints: dict[str, CheckpointRelease] = Field(default_factory=dict)
    drive_folder: str | None = None
    origin: Path


def user_catalog() -> Path:
    """Returns the folder whose TOML files add entries, one each, named like the file."""
    return platformdirs.user_config_path("lewm") / "catalog"


def read_catalog() -> tuple[Entry, ...]:
    """Reads all entries; one that a user wrote stands in for ours of the same name.

    Raises:
        UsageError: a file says something that means nothing.
        LewmError: a file cannot be read.
    """
    entries = {entry.name: entry for entry in (*_of_tasks(), *_of_user())}
    return tuple(entries.values())


def find_entry(name: str) -> Entry | None:
    """Finds the entry with this name, or alias, or whose recording is called so; None if there is none."""
    catalog = read_catalog()
    exact = [entry for entry in catalog if name == entry.name]
    alias = [entry for entry in catalog if name in entry.aliases]
    holding = [entry for entry in catalog if entry.dataset and name == entry.dataset.name]
    return next(iter((*exact, *alias, *holding)), None)


def missing_entry(name: str) -> MissingError:
    """Makes the error for a name that the catalog does not have; the nearest one is offered."""
    known = [word for entry in read_catalog() for word in (entry.name, *entry.aliases)]
    near = nearest(name, known)
    offer = f"did you mean {near!r}?" if near else "`lewm fetch --list` shows what there is"
    return MissingError(f"nothing called {name!r} is in the catalog; {offer}")


def _of_tasks() -> Iterator[Entry]:
    for task in TASKS:
        if (task.folder / FILE).exists():  # nothing is published for a task without
            yield _read(task.folder / FILE, {"name": task.name, "aliases": task.aliases, "title": task.title})


def _of_user() -> Iterator[Entry]:
    folder = user_catalog()
    for path in sorted(folder.rglob("*.toml")):
        yield _read(path, {"name": path.relative_to(folder).with_suffix("").as_posix()})


def _read(path: Path, names: dict[str, object]) -> Entry:
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LewmError(f"{path} is no catalog entry that can be read ({error}); mend it or take it away") from error
    return Entry.build({**tree, **names, "origin": path}, str(path))
