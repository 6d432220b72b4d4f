"""The origin of fetched files and the bytes that they have to have: a small file beside them."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError

from lewm_cli.config import Section
from lewm_cli.errors import LewmError
from lewm_cli.files import write_text
from lewm_cli.store.run_files import RunFiles

IN_FOLDER = "origin.json"
"""Its name where a whole folder was fetched."""


class FetchedFile(Section):
    """A file as it was when it arrived, beside its origin; size in bytes."""

    name: str = Field(pattern="^[^/]+$")
    size: int
    sha256: str


class Origin(Section):
    """The content of `<dataset>.origin.json`, or of `origin.json` in the folder of a checkpoint.

    Args:
        source: address, or repository of the Hub, that it came from.
        published: the files as they are published: an archive, or the same as `files`, which arrived.
        files: that lie beside it. While one is replaced, it is there twice by name, as it will be and as it was.
        fetched: when, UTC.
        version: of lewm.
    """

    format: Literal[1] = 1
    source: str
    revision: str | None = None
    published: tuple[FetchedFile, ...]
    files: tuple[FetchedFile, ...]
    fetched: str
    version: str

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read a file; None if there is none; raises LewmError if it cannot be read."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (ValidationError, UnicodeDecodeError, OSError) as error:
            raise LewmError(f"{path} does not say where its files came from; take it away") from error

    def replacing(self, before: Self | None) -> Self:
        """The same until files that were there before are replaced, so that a kill in between leaves nothing wrong."""
        files = (*self.files, *before.files) if before else self.files
        return self.model_copy(update={"files": tuple(dict.fromkeys(files))})

    def write(self, path: Path) -> None:
        """Replace a file by this, in one step."""
        write_text(path, self.model_dump_json(indent=2))


def dataset_origin(path: Path) -> Path:
    """The file beside a recording that says where it came from, if lewm fetched it."""
    return path.with_name(f"{path.stem}.origin.json")


def run_origin(files: RunFiles) -> Path | None:
    """The file in the folder of a run that says where it came from, if lewm fetched it; None if it has no folder."""
    return files.within / IN_FOLDER if files.within else None
