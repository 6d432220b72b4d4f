"""Files of the Hugging Face Hub: addresses, revisions, tokens and refusals, through huggingface_hub."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

import httpx2
from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import HfFileMetadata, get_hf_file_metadata
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from lewm_cli import __version__
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.fetch.catalog import HubPlace, PublishedFile
from lewm_cli.fetch.refusals import broken_connection, unusable_header, unusable_proxy
from lewm_cli.fetch.remote import Remote

Kind = Literal["dataset", "model"]

_SHA256 = re.compile("[0-9a-f]{64}")


def hub_remote(place: HubPlace, kind: Kind, file: PublishedFile) -> Remote:
    """Ask the Hub for a file; no byte of it is fetched yet.

    Args:
        place: repository and revision.
        kind: of repository.
        file: the file in it; without a sha256 the Hub's is believed.

    Raises:
        MissingError: there is no such repository, revision or file.
        LewmError: the Hub cannot be reached, refuses, or has another file under this revision.
    """
    url = hf_hub_url(place.repo, file.name, repo_type=kind, revision=place.revision)
    name = f"{file.name} of {place.repo}"
    headers = build_hf_headers(library_name="lewm", library_version=__version__)
    remote = Remote(url, name, tuple(headers.items()), file.size, file.sha256)
    with _explained(place, kind, file, remote):
        metadata = get_hf_file_metadata(url, library_name="lewm", library_version=__version__)
    sha256 = _sha256(metadata)
    if sha256 and file.sha256 and sha256 != file.sha256:
        raise LewmError(
            f"{name} is not the file that the catalog knows: its sha256 is {sha256} on the Hub and {file.sha256} in "
            "the catalog; nothing was fetched: name a --revision to take what the Hub has"
        )
    return replace(remote, size=file.size or metadata.size, sha256=file.sha256 or sha256)


def _sha256(metadata: HfFileMetadata) -> str | None:
    """The Hub gives it for large files; small ones have a hash of git's."""
    return metadata.etag if metadata.etag and _SHA256.fullmatch(metadata.etag) else None


@contextmanager
def _explained(place: HubPlace, kind: Kind, file: PublishedFile, remote: Remote) -> Iterator[None]:
    hub = constants.ENDPOINT
    page = f"{hub}/{'datasets/' if kind == 'dataset' else ''}{place.repo}"
    try:
        yield
    except GatedRepoError as error:
        raise LewmError(
            f"{place.repo} is gated: accept its terms at {page} and set HF_TOKEN to a token of that account"
        ) from error
    except RevisionNotFoundError as error:
        raise MissingError(
            f"{place.repo} has no revision {place.revision!r}; leave out --revision for the one in the catalog"
        ) from error
    except RepositoryNotFoundError as error:
        raise MissingError(
            f"{hub} has no {kind} repository {place.repo}, or hides it; if it is private, set HF_TOKEN to a token that "
            "may read it"
        ) from error
    except EntryNotFoundError as error:
        raise MissingError(_instead(place, kind, file)) from error
    except OfflineModeIsEnabled as error:
        raise LewmError(
            "HF_HUB_OFFLINE is set, so the Hub is not asked; unset it, or name a copy with --source file:///PATH"
        ) from error
    except HFValidationError as error:
        raise LewmError(f"{place.repo} is no name of a repository ({error}); mend the catalog entry") from error
    except HfHubHTTPError as error:
        raise LewmError(_refusal(hub, place, error)) from error
    except UnicodeEncodeError as error:
        raise unusable_header(remote) from error
    except httpx2.UnsupportedProtocol as error:
        raise LewmError(f"{hub} is no web address; write HF_ENDPOINT as https://HOST, or unset it") from error
    except httpx2.HTTPError as error:
        told = broken_connection(remote, error)
        if isinstance(told, LewmError):
            raise told from error
        raise LewmError(
            f"{hub} cannot be reached ({told.reason}); check the network, HTTPS_PROXY if it needs a proxy, and "
            "HF_ENDPOINT; or name a copy with --source"
        ) from error
    except (ValueError, ImportError, httpx2.InvalidURL) as error:
        raise unusable_proxy(remote, error) from error


def _refusal(hub: str, place: HubPlace, error: HfHubHTTPError) -> str:
    status = error.response.status_code
    match status:
        case 401 | 403:
            return f"{hub} refuses {place.repo} ({status}): set HF_TOKEN to a token that may read it"
        case 429:
            return f"{hub} asks for patience (429, too many requests); try again in some minutes, or set HF_TOKEN"
        case _:
            return f"{hub} answers {status} for {place.repo}; try again later, or another place with --source"


def _instead(place: HubPlace, kind: Kind, file: PublishedFile) -> str:
    """What a repository has where a file is missing."""
    missing = f"{place.repo} has no {file.name} at revision {place.revision}"
    try:
        names = HfApi().list_repo_files(place.repo, repo_type=kind, revision=place.revision)
    except (HfHubHTTPError, httpx2.HTTPError):
        return f"{missing}; leave out --revision for what the catalog knows"
    lance = next((part for name in names for part in name.split("/")[:-1] if part.endswith(".lance")), None)
    if lance:
        return (
            f"{missing}, but a Lance dataset ({lance}), which lewm does not read; leave out --revision for the HDF5 "
            "recording in the catalog"
        )
    there = [name for name in names if not name.startswith(".")]
    return f"{missing}; there is {', '.join(there[:5]) or 'nothing'}: leave out --revision for what the catalog knows"
