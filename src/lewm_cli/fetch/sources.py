"""Finds the source of a file: the Hub, Google Drive, any address, or a file of this machine."""

from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from lewm_cli.errors import LewmError, UsageError
from lewm_cli.fetch.catalog import Published, PublishedFile
from lewm_cli.fetch.drive import drive_identifier, drive_remote
from lewm_cli.fetch.hub import RepoType, hub_remote
from lewm_cli.fetch.member_names import plain_name
from lewm_cli.fetch.remote import Remote

HUB, DRIVE = "hub", "drive"

LONGEST_NAME = 60
"""Characters of what an address ends with that become the name of a file."""


def address(source: str) -> str | None:
    """Reads what was typed after --source as an address; a file here may go by its path; None for hub and drive.

    Raises:
        UsageError: it is none of these.
    """
    if source in (HUB, DRIVE):
        return None
    if urlsplit(source).scheme in ("http", "https", "file"):
        return source
    if Path(source).exists():
        return Path(source).absolute().as_uri() + ("/" if Path(source).is_dir() else "")
    raise UsageError(f"--source {source!r} is neither hub, drive, an http, https or file address, nor a file here")


def file_name(url: str) -> str:
    """Names the file behind an address, as far as a file here may be called so."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return plain_name(name).lstrip(".")[-LONGEST_NAME:] or "download"


def local_path(url: str) -> Path | None:
    """Returns the file of this machine that a file:// address names; None for other addresses.

    Raises:
        LewmError: it names no file of this machine.
    """
    parts = urlsplit(url)
    if parts.scheme != "file":
        return None
    path = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not path.is_absolute():
        raise LewmError(
            f"{url} names no file of this machine; write file:// and the whole path, "
            "such as file:///data/tworoom.tar.zst"
        )
    return path


def find_sources(
    published: Published, files: tuple[PublishedFile, ...], repo_type: RepoType
) -> tuple[Remote | Path, ...]:
    """Asks for files where they are published; no byte of them is downloaded yet.

    Args:
        published: where they are.
        files: what they are called there.
        repo_type: the kind of repository, if it is the Hub.

    Raises:
        MissingError: there is no such thing.
        LewmError: the source cannot be reached, or refuses.
    """
    if published.hub:
        return tuple(hub_remote(published.hub, repo_type, file) for file in files)
    if published.drive:
        if len(files) > 1:
            raise LewmError("one file on Google Drive cannot be several; name an archive in the catalog entry")
        return (drive_remote(published.drive, files[0]),)
    assert published.url
    return tuple(_at_address(published.url, file) for file in files)


def _at_address(url: str, file: PublishedFile) -> Remote | Path:
    if identifier := drive_identifier(url):
        return drive_remote(identifier, file)
    whole = f"{url}{file.name}" if url.endswith("/") else url
    return local_path(whole) or Remote(whole, f"{file.name} from {urlsplit(url).netloc}", (), file.size, file.sha256)
