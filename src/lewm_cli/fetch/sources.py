"""Asks for a file where it is published: the Hub, Google Drive, any address, or this machine."""

import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, unquote, urljoin, urlsplit

import httpx2
from huggingface_hub import HfApi, constants, errors, get_hf_file_metadata, get_token, hf_hub_url

from lewm_cli import __version__
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.fetch.catalog import HubPlace, PublishedFile
from lewm_cli.fetch.http_source import connection_explained, open_client, refusal
from lewm_cli.fetch.remote import Remote
from lewm_cli.fetch.target import Target

DRIVE_ADDRESS = "https://drive.google.com"


def find_sources(target: Target) -> tuple[Remote | Path, ...]:
    """Asks for the files of a target; no byte of them is downloaded yet.

    Raises:
        MissingError: there is no such thing.
        LewmError: the source cannot be reached, or refuses.
    """
    published = target.published
    if published.hub:
        return tuple(_on_hub(published.hub, target.kind, file) for file in target.files)
    url = published.url or ""
    if drive := published.drive or drive_identifier(url):
        if len(target.files) > 1:
            raise LewmError("one file on Google Drive cannot be several; name an archive in the catalog entry")
        return (_on_drive(drive, target.files[0]),)
    found: list[Remote | Path] = []
    for file in target.files:
        whole, name = f"{url}{file.name}" if url.endswith("/") else url, f"{file.name} from {urlsplit(url).netloc}"
        found.append(local_path(whole) or Remote(whole, name, (), file.size, file.sha256))
    return tuple(found)


def local_path(url: str) -> Path | None:
    """Returns the file of this machine that a file:// address names, or refuses it; None for other addresses."""
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


def _on_hub(place: HubPlace, repo_type: str, file: PublishedFile) -> Remote:
    url = hf_hub_url(place.repo, file.name, repo_type=repo_type, revision=place.revision)
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    headers = (("authorization", f"Bearer {token}"),) if token else ()
    remote = Remote(url, f"{file.name} of {place.repo}", headers, file.size, file.sha256)
    with connection_explained(remote, constants.ENDPOINT):
        try:
            metadata = get_hf_file_metadata(url, library_name="lewm", library_version=__version__)
        except errors.OfflineModeIsEnabled as error:
            raise LewmError(
                "HF_HUB_OFFLINE is set, so the Hub is not asked; unset it, or name a copy with --source file:///PATH"
            ) from error
        except errors.HFValidationError as error:
            raise LewmError(f"{place.repo} is no name of a repository ({error}); mend the catalog entry") from error
        except errors.RevisionNotFoundError as error:
            raise MissingError(
                f"{place.repo} has no revision {place.revision!r}; leave out --revision for the one in the catalog"
            ) from error
        except errors.EntryNotFoundError as error:
            raise MissingError(_instead(place, repo_type, file)) from error
        except errors.HfHubHTTPError as error:
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


def drive_identifier(url: str) -> str | None:
    """Returns the file that an address on Google Drive means; None if it is elsewhere."""
    parts = urlsplit(url)
    if parts.hostname not in ("drive.google.com", "docs.google.com"):
        return None
    found = re.match(r"/file/(?:u/\d+/)?d/([-\w]+)", parts.path)
    return found[1] if found else parse_qs(parts.query).get("id", [None])[0]


def _on_drive(identifier: str, file: PublishedFile) -> Remote:
    """Asks for a file and, if its size asks for it, fills in a form that confirms."""
    url = f"{DRIVE_ADDRESS}/uc?id={identifier}&export=download"
    remote = Remote(url, f"{file.name} on Google Drive", (), file.size, file.sha256, identity=f"drive:{identifier}")
    with (
        open_client(remote, httpx2.Timeout(30.0)) as client,
        connection_explained(remote, "Google Drive"),
        client.stream("GET", url) as response,
    ):
        if not response.is_success:
            raise refusal(remote, response)
        if "content-disposition" in response.headers:
            return remote
        page, form = response.read().decode(errors="replace"), _DownloadForm()
    form.feed(page)
    if form.action is None:
        found = re.search(r'<p class="uc-error-subcaption">(.*?)(?:\. |</p>)', page, re.DOTALL)
        reason = html.unescape(found[1]).rstrip(".") if found else "it is not shared with everybody"
        raise LewmError(
            f"Google Drive does not give {remote.name}: {reason}; try again tomorrow, or name another place with "
            "--source"
        )
    address = httpx2.URL(urljoin(str(response.url), form.action))
    return replace(remote, url=str(address.copy_merge_params(form.fields)))


class _DownloadForm(HTMLParser):
    """The form that confirms a download without a scan for viruses."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form" and found.get("id") == "download-form":
            self.action = found.get("action")
        elif tag == "input" and found.get("type") == "hidden" and found.get("name"):
            self.fields[str(found["name"])] = found.get("value") or ""
