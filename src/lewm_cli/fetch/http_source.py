"""A web server as the source of a download: ranges, redirects, and what is sent in place of the file."""

import email.utils
import html
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from lewm_cli import __version__
from lewm_cli.errors import LewmError
from lewm_cli.fetch.http_errors import answered, connection_explained, host_of, refusal, unusable_proxy
from lewm_cli.fetch.remote import Answer, ChangedError, Identity, Remote, RetryableError

MOST_REDIRECTS = 10

RETRYABLE = (408, 425, 429, 500, 502, 503, 504)
"""Statuses of a server that may answer better next time."""

SNIFFED_BYTES, PAGE_BYTES = 64, 4096
"""Bytes that are looked at before they are taken for the file, and those of a web page that may hold its title."""

HTML = re.compile(rb"^(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL)


def open_client(remote: Remote, timeout: httpx2.Timeout) -> httpx2.Client:
    """Opens a client; proxies and certificates as the environment says.

    Raises:
        LewmError: the environment names a proxy that cannot be used.
    """
    try:
        return httpx2.Client(
            follow_redirects=True,
            max_redirects=MOST_REDIRECTS,
            timeout=timeout,
            # Ranges count the bytes of the file, not those of a compressed form of it.
            headers={"User-Agent": f"lewm-cli/{__version__}", "Accept-Encoding": "identity"},
        )
    except (ValueError, ImportError, httpx2.InvalidURL) as error:
        raise unusable_proxy(remote, error) from error


class HttpSource:
    """Asks for one file over HTTP.

    Args:
        remote: an http:// or https:// URL.
        client: what `open_client` has opened.
    """

    def __init__(self, remote: Remote, client: httpx2.Client) -> None:
        self._remote = remote
        self._client = client

    @contextmanager
    def ask(self, offset: int, identity: Identity | None) -> Iterator[Answer]:
        """Asks for everything from a byte on.

        Args:
            offset: the byte; 0 for the whole file.
            identity: what the bytes before it are a part of.

        Raises:
            RetryableError: the connection or the server failed; also out of the pieces.
            ChangedError: the server has another file by now.
            LewmError: the server refuses, gives a web page instead of the file, or cannot be talked to.
        """
        headers = dict(self._remote.headers)
        if offset and identity is not None:
            headers["Range"] = f"bytes={offset}-"
            if identity.same_as == self._remote.same_as and identity.validator is not None:
                headers["If-Range"] = identity.validator
        with (
            connection_explained(self._remote),
            self._client.stream("GET", self._remote.url, headers=headers) as response,
        ):
            yield self._answer(response, offset, identity)

    def _answer(self, response: httpx2.Response, offset: int, identity: Identity | None) -> Answer:
        status = response.status_code
        if status in RETRYABLE:
            raise RetryableError(answered(response), wait=_wait(response))
        if status == httpx2.codes.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
            return self._part(response, offset, identity)
        if status not in (httpx2.codes.OK, httpx2.codes.PARTIAL_CONTENT):
            raise refusal(self._remote, response)
        if "html" in response.headers.get("Content-Type", ""):
            raise self._page(response, _head(response.iter_raw(), PAGE_BYTES))
        if status == httpx2.codes.PARTIAL_CONTENT:
            return self._part(response, offset, identity)
        now = self._identity(response, _length(response))
        if now.size is None and "Transfer-Encoding" not in response.headers:
            # Nothing tells the end of the file from the end of the connection, but what was known beforehand.
            now = now.with_size(self._remote.size)
            if now.size is None and now.sha256 is None:
                raise LewmError(
                    f"{self._remote.name} was not downloaded: {host_of(response)} does not say how long it is, so that "
                    "half of it could not be told from the whole; download it by other means"
                )
        return Answer(now, 0, self._file(response))

    def _part(self, response: httpx2.Response, offset: int, identity: Identity | None) -> Answer:
        """Reads an answer about a range: the rest of the file, or that nothing comes after what is there (416)."""
        found = re.fullmatch(r"bytes\s+(?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if found is None or identity is None:
            raise ChangedError
        size = identity.size if found[2] == "*" else int(found[2])
        first = int(found[1]) if found[1] else size
        now = self._identity(response, size)
        more = response.status_code == httpx2.codes.PARTIAL_CONTENT
        if not more:  # the end is where it says now, whatever it said before
            identity = identity.with_size(size)
        if size is None or first != offset or not identity.is_part_of(now):
            raise ChangedError
        return Answer(now, offset, response.iter_raw() if more else iter(()))

    def _identity(self, response: httpx2.Response, size: int | None) -> Identity:
        etag = response.headers.get("ETag")
        return Identity(
            same_as=self._remote.same_as,
            # A weak one stays the same when bytes change.
            etag=None if etag is None or etag.startswith("W/") else etag,
            modified=response.headers.get("Last-Modified"),
            size=size,
            sha256=self._remote.sha256,
        )

    def _file(self, response: httpx2.Response) -> Iterator[bytes]:
        pieces = response.iter_raw()
        head = _head(pieces, SNIFFED_BYTES)
        if HTML.match(head):
            raise self._page(response, head + _head(pieces, PAGE_BYTES))
        if head:
            yield head
        yield from pieces

    def _page(self, response: httpx2.Response, head: bytes) -> LewmError:
        found = re.search(r"<title[^>]*>(.*?)</title", head.decode("utf-8", "replace"), re.IGNORECASE | re.DOTALL)
        title = " ".join(html.unescape(found[1]).split())[:80] if found else ""
        named = f" ({title!r})" if title else ""
        return LewmError(
            f"{self._remote.name} was not downloaded: {host_of(response)} gave a web page{named} instead of the file; "
            "open the address in a browser: perhaps this network asks for a login first, or the file is offered no more"
        )


def _head(pieces: Iterator[bytes], enough: int) -> bytes:
    head = b""
    while len(head) < enough and (piece := next(pieces, b"")):
        head += piece
    return head


def _length(response: httpx2.Response) -> int | None:
    said = response.headers.get("Content-Length", "")
    return int(said) if said.isdecimal() and "Transfer-Encoding" not in response.headers else None


def _wait(response: httpx2.Response) -> float | None:
    """Reads the seconds that the server asks to wait, in any of the ways that are in use."""
    asked = response.headers.get("Retry-After", "").strip()
    if asked.isdecimal():
        return float(asked)
    if asked:
        try:
            return max(0.0, email.utils.parsedate_to_datetime(asked).timestamp() - time.time())
        except ValueError:
            return None
    limit = re.search(r"\br\s*=\s*0\s*;\s*t\s*=\s*(\d+)", response.headers.get("RateLimit", ""))
    return float(limit[1]) if limit else None
