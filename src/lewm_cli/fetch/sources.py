"""Asks for a file where it is published: the Hub, Google Drive, any address, or this machine."""

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx2
from huggingface_hub import HfApi, constants, get_hf_file_metadata, get_token, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
)

from lewm_cli import __version__
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.fetch.catalog import HubPlace, PublishedFile
from lewm_cli.fetch.drive import drive_identifier, drive_remote
from lewm_cli.fetch.http_source import asked_once, refusal
from lewm_cli.fetch.remote import Remote
from lewm_cli.fetch.target import Target


def find_sources(target: Target) -> tuple[Remote | Path, ...]:
    """Asks for the files of a target; no byte of them is downloaded yet.

    Raises:
        MissingError: there is no such thing.
        LewmError: the source cannot be reached, or refuses.
    """
    published = target.published
    if published.hub:
        return tuple(_on_hub(published.hub, target.kind, file) for file in target.files)
    if published.drive:
        if len(target.files) > 1:
            raise LewmError("one file on Google Drive cannot be several; name an archive in the catalog entry")
        return (drive_remote(published.drive, target.files[0]),)
    return tuple(_at_address(published.url or "", file) for file in target.files)


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


def _at_address(url: str, file: PublishedFile) -> Remote | Path:
    if identifier := drive_identifier(url):
        return drive_remote(identifier, file)
    whole = f"{url}{file.name}" if url.endswith("/") else url
    return local_path(whole) or Remote(whole, f"{file.name} from {urlsplit(url).netloc}", (), file.size, file.sha256)


def _on_hub(place: HubPlace, repo_type: str, file: PublishedFile) -> Remote:
    url = hf_hub_url(place.repo, file.name, repo_type=repo_type, revision=place.revision)
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    headers = (("authorization", f"Bearer {token}"),) if token else ()
    remote = Remote(url, f"{file.name} of {place.repo}", headers, file.size, file.sha256)
    with asked_once(remote, constants.ENDPOINT):
        try:
            metadata = get_hf_file_metadata(url, library_name="lewm", library_version=__version__)
        except OfflineModeIsEnabled as error:
            raise LewmError(
                "HF_HUB_OFFLINE is set, so the Hub is not asked; unset it, or name a copy with --source file:///PATH"
            ) from error
        except HFValidationError as error:
            raise LewmError(f"{place.repo} is no name of a repository ({error}); mend the catalog entry") from error
        except RevisionNotFoundError as error:
            raise MissingError(
                f"{place.repo} has no revision {place.revision!r}; leave out --revision for the one in the catalog"
            ) from error
        except EntryNotFoundError as error:
            raise MissingError(_instead(place, repo_type, file)) from error
        except HfHubHTTPError as error:
            raise refusal(remote, error.response) from error
    # The Hub gives the sha256 of large files; small ones have a hash of git's.
    sha256 = metadata.etag if re.fullmatch("[0-9a-f]{64}", metadata.etag or "") else None
    if sha256 and file.sha256 and sha256 != file.sha256:
        raise LewmError(
            f"{remote.name} is not the file that the catalog knows: its sha256 is {sha256} on the Hub and "
            f"{file.sha256} in the catalog; nothing was fetched: name a --revision to take what the Hub has"
        )
    return replace(remote, size=file.size or metadata.size, sha256=file.sha256 or sha256)


def _instead(place: HubPlace, repo_type: str, file: PublishedFile) -> str:
    """Says what a repository has where a file is missing."""
    missing = f"{place.repo} has no {file.name} at revision {place.revision}"
    try:
        names = HfApi().list_repo_files(place.repo, repo_type=repo_type, revision=place.revision)
    except httpx2.HTTPError:
        names = []
    lance = next((part for name in names for part in name.split("/")[:-1] if part.endswith(".lance")), None)
    if lance:
        return (
            f"{missing}, but a Lance dataset ({lance}), which lewm does not read; leave out --revision for the HDF5 "
            "recording in the catalog"
        )
    there = [name for name in names if not name.startswith(".")]
    return f"{missing}; there is {', '.join(there[:5]) or 'nothing'}: leave out --revision for what the catalog knows"
