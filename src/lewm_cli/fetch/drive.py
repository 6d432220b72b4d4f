"""Asks Google Drive for a file; a large one lies behind a form that asks for confirmation."""

import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx2

from lewm_cli.errors import LewmError
from lewm_cli.fetch.catalog import PublishedFile
from lewm_cli.fetch.http_source import asked_once, open_client, refusal
from lewm_cli.fetch.remote import Remote

ADDRESS = "https://drive.google.com"


def drive_identifier(url: str) -> str | None:
    """Returns the file that an address on Google Drive means; None if it is elsewhere."""
    parts = urlsplit(url)
    if parts.hostname not in ("drive.google.com", "docs.google.com"):
        return None
    found = re.match(r"/file/(?:u/\d+/)?d/([-\w]+)", parts.path)
    return found[1] if found else parse_qs(parts.query).get("id", [None])[0]


def drive_remote(identifier: str, file: PublishedFile) -> Remote:
    """Asks for a file and, if its size asks for it, confirms; no byte of it is downloaded yet.

    Raises:
        MissingError: there is no such file.
        LewmError: Drive cannot be reached, or does not give it: not shared, or asked for too often.
    """
    url = f"{ADDRESS}/uc?id={identifier}&export=download"
    remote = Remote(url, f"{file.name} on Google Drive", (), file.size, file.sha256, identity=f"drive:{identifier}")
    with (
        open_client(remote, httpx2.Timeout(30.0)) as client,
        asked_once(remote, "Google Drive"),
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
    address = urljoin(str(response.url), form.action)
    separator = "&" if urlsplit(address).query else "?"
    return replace(remote, url=f"{address}{separator}{urlencode(form.fields)}")


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
