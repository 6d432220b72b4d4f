"""Asks a web server for a file from any byte on, and turns what goes wrong into sentences."""

import email.utils
import html
import re
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2

from lewm_cli import __version__
from lewm_cli.config import Section
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.fetch.remote import Remote
from lewm_cli.file_kind import FileKind, look_at

RETRYABLE = (408, 425, 429, 500, 502, 503, 504)  # such a server may answer better next time

SNIFFED_BYTES = 64  # looked at before they are taken for the file
PAGE_BYTES = 4096  # of a web page, that may hold its title


class Identity(Section):
    """The file that some bytes are the beginning of."""

    same_as: str  # its URL, or what stands for it
    etag: str | None = None  # a strong one
    modified: str | None = None  # as the source writes it
    size: int | None = None
    sha256: str | None = None

    @property
    def validator(self) -> str | None:
        """Becomes another one when the file does."""
        return self.etag or self.modified

    def begins(self, remote: Remote) -> bool:
        """Tells if the beginning of this file begins `remote` too, as far as can be known before asking."""
        if None not in (remote.size, self.size) and remote.size != self.size:
            return False
        if self.sha256 and remote.sha256:
            return self.sha256 == remote.sha256
        return self.same_as == remote.same_as and (self.validator is not None or remote.sha256 is not None)

    def is_part_of(self, now: "Identity") -> bool:
        """Tells if it is still the same file, from what its source says of it now."""
        if None not in (self.size, now.size) and self.size != now.size:
            return False
        if self.sha256 and self.sha256 == now.sha256 and self.same_as != now.same_as:
            return True  # another source of the same bytes has another ETag
        if self.etag or now.etag:
            return self.etag == now.etag
        return self.modified == now.modified


@dataclass(frozen=True)
class Answer:
    """Bytes that begin to come."""

    identity: Identity  # what they are a part of; without a size it ends where the pieces end
    offset: int  # of the first of them in the file: the one that was asked for, or 0
    pieces: Iterator[bytes]  # may end too early


@dataclass(eq=False)
class RetryableError(Exception):
    """An attempt that failed, and may go well next time."""

    reason: str
    wait: float | None = None  # seconds that the source asks to wait for
    advice: str = ""  # where trying again is not all
    at_once: bool = False  # give up, unless the source has answered before
    changed: bool = False  # the bytes that are on disk already are no part of what the source has now


def open_client(remote: Remote, timeout: httpx2.Timeout) -> httpx2.Client:
    """Opens a client; proxies and certificates as the environment says, if it can be used."""
    try:
        return httpx2.Client(
            follow_redirects=True,
            max_redirects=10,
            timeout=timeout,
            # Ranges count the bytes of the file, not those of a compressed form of it.
            headers={"User-Agent": f"lewm-cli/{__version__}", "Accept-Encoding": "identity"},
        )
    except (ValueError, ImportError, httpx2.InvalidURL) as error:
        raise _unusable_proxy(remote, error) from error


@dataclass(frozen=True)
class HttpSource:
    """One file at an http:// or https:// URL, asked for through a client that `open_client` has opened."""

    remote: Remote
    client: httpx2.Client

    @contextmanager
    def ask(self, offset: int, identity: Identity | None) -> Iterator[Answer]:
        """Asks for everything from the byte `offset` on; `identity` is what the bytes before it are a part of.

        Raises:
            RetryableError: the connection or the server failed, also out of the pieces, or it has another file by now.
            LewmError: the server refuses, gives a web page instead of the file, or cannot be talked to.
        """
        headers = dict(self.remote.headers)
        if offset and identity is not None:
            headers["Range"] = f"bytes={offset}-"
            if identity.same_as == self.remote.same_as and identity.validator is not None:
                headers["If-Range"] = identity.validator
        with (
            connection_explained(self.remote),
            self.client.stream("GET", self.remote.url, headers=headers) as response,
        ):
            yield self._answer(response, offset, identity)

    def _answer(self, response: httpx2.Response, offset: int, identity: Identity | None) -> Answer:
        status, headers = response.status_code, response.headers
        if status in RETRYABLE:
            raise RetryableError(_answered(response), wait=_wait(headers))
        if status == httpx2.codes.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
            return self._part(response, offset, identity)
        if status not in (httpx2.codes.OK, httpx2.codes.PARTIAL_CONTENT):
            raise refusal(self.remote, response)
        if "html" in headers.get("Content-Type", ""):
            raise self._page(response, _head(response.iter_raw(), PAGE_BYTES))
        if status == httpx2.codes.PARTIAL_CONTENT:
            return self._part(response, offset, identity)
        length, size = headers.get("Content-Length", ""), None
        if "Transfer-Encoding" not in headers:
            # Without a length, nothing tells the end of the file from the end of the connection but what was known.
            size = int(length) if length.isdecimal() else self.remote.size
            if size is None and self.remote.sha256 is None:
                raise self.remote.error(
                    f"{_host(response)} does not say how long it is, so that half of it could not be told from the "
                    "whole; download it by other means"
                )
        return Answer(self._identity(response, size), 0, self._file(response))

    def _part(self, response: httpx2.Response, offset: int, identity: Identity | None) -> Answer:
        """Reads an answer about a range: the rest of the file, or that nothing comes after what is there (416)."""
        changed = RetryableError("the server has another file every time", wait=0.0, changed=True)
        found = re.fullmatch(r"bytes\s+(?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if found is None or identity is None:
            raise changed
        size = identity.size if found[2] == "*" else int(found[2])
        first = int(found[1]) if found[1] else size
        now = self._identity(response, size)
        more = response.status_code == httpx2.codes.PARTIAL_CONTENT
        if not more:  # the end is where it says now, whatever it said before
            identity = identity.model_copy(update={"size": size})
        if size is None or first != offset or not identity.is_part_of(now):
            raise changed
        return Answer(now, offset, response.iter_raw() if more else iter(()))

    def _identity(self, response: httpx2.Response, size: int | None) -> Identity:
        etag = response.headers.get("ETag")
        return Identity(
            same_as=self.remote.same_as,
            # A weak one stays the same when bytes change.
            etag=None if etag is None or etag.startswith("W/") else etag,
            modified=response.headers.get("Last-Modified"),
            size=size,
            sha256=self.remote.sha256,
        )

    def _file(self, response: httpx2.Response) -> Iterator[bytes]:
        pieces = response.iter_raw()
        head = _head(pieces, SNIFFED_BYTES)
        if look_at(head) is FileKind.WEB_PAGE:
            raise self._page(response, head + _head(pieces, PAGE_BYTES))
        if head:
            yield head
        yield from pieces

    def _page(self, response: httpx2.Response, head: bytes) -> LewmError:
        found = re.search(r"<title[^>]*>(.*?)</title", head.decode("utf-8", "replace"), re.IGNORECASE | re.DOTALL)
        title = " ".join(html.unescape(found[1]).split())[:80] if found else ""
        named = f" ({title!r})" if title else ""
        return self.remote.error(
            f"{_host(response)} gave a web page{named} instead of the file; open the address in a browser: perhaps "
            "this network asks for a login first, or the file is offered no more"
        )


@contextmanager
def connection_explained(remote: Remote, asked_once: str = "") -> Iterator[None]:
    """Turns what httpx raises into a sentence or, if another attempt may go better, into a RetryableError.

    There is no other attempt where a place is `asked_once` about the file, before any download.
    """
    try:
        yield
    except (UnicodeEncodeError, httpx2.LocalProtocolError) as error:
        # What cannot be sent is not repeated, because it may be a token.
        names = ", ".join(name for name, _ in remote.headers) or "a header"
        raise remote.error(
            f"what {names} would say cannot be sent; check HF_TOKEN for line breaks and for letters that no token has"
        ) from error
    except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
        raise remote.error(f"{remote.url} leads to no web address ({error}); it has to begin with https://") from error
    except httpx2.HTTPError as error:
        failure = _broken_connection(remote, error)
        if asked_once and isinstance(failure, RetryableError):
            failure = LewmError(
                f"{asked_once} cannot be reached ({failure.reason}); check the network, and HTTPS_PROXY if it needs a "
                "proxy, or name a copy with --source"
            )
        raise failure from error
    except (ValueError, ImportError) as error:
        if asked_once:
            raise _unusable_proxy(remote, error) from error
        raise


def refusal(remote: Remote, response: httpx2.Response) -> LewmError:
    """Explains a refusal of a server: the reason, and what to try next."""
    status, headers, said = response.status_code, response.headers, _answered(response)
    code = headers.get("X-Error-Code", "")
    if code == "GatedRepo":
        page = remote.url.partition("/resolve/")[0]
        return remote.error(
            f"it is gated: accept its terms at {page} and set HF_TOKEN to a token of that account ({said})"
        )
    if status in (401, 403) and (code or "X-Error-Message" in headers or "X-Repo-Commit" in headers):  # the Hub
        if any(name.lower() == "authorization" for name, _ in remote.headers):
            return remote.error(f"the token does not open it ({said}); set HF_TOKEN to one that may read it")
        return remote.error(
            f"it is private or not there ({said}); check the name, or set HF_TOKEN to a token that may read it"
        )
    if status in (401, 403, 407):
        return remote.error(
            f"access is refused ({said}); open the address in a browser to see what it asks for, "
            f"and check that no proxy of this network is in the way (HTTPS_PROXY, NO_PROXY)"
        )
    if status in (404, 410):
        gone = "it is there no more" if status == 410 else "there is no such file"
        missing = {"RepoNotFound": "there is no such repository", "RevisionNotFound": "there is no such revision"}
        return remote.error(f"{missing.get(code, gone)} ({said}); check the address {remote.url}", MissingError)
    return remote.error(f"{said}; check the address {remote.url}, and try again later")


def _broken_connection(remote: Remote, error: httpx2.HTTPError) -> RetryableError | LewmError:
    # Behind a redirect, the host is another one than that of the URL.
    host, network = error.request.url.netloc.decode("ascii", "replace"), "check the network"
    proxy = "if yours needs a proxy, name it in HTTPS_PROXY"
    certificate = _cause(error, ssl.SSLCertVerificationError)
    if isinstance(certificate, ssl.SSLCertVerificationError):
        return remote.error(
            f"the certificate of {host} is not to be trusted ({certificate.verify_message}); check the clock, "
            "and if this network replaces certificates, name the file of its authority in SSL_CERT_FILE"
        )
    match error:
        case httpx2.TooManyRedirects():
            return remote.error(f"{host} only sends from one address to another; check the address {remote.url}")
        case httpx2.ProxyError():
            return remote.error(f"the proxy of this network refused ({error}); check HTTPS_PROXY and NO_PROXY")
        case httpx2.ReadTimeout():
            return RetryableError(f"nothing came from {host} any more", advice=network)
        case httpx2.ConnectTimeout():
            return RetryableError(f"{host} does not answer", advice=f"{network}; {proxy}", at_once=True)
        case httpx2.ConnectError():
            if urllib.request.getproxies().keys() & {"http", "https", "all"}:
                host = f"{host}, or the proxy that the environment names,"
            reasons = {
                socket.gaierror: f"this machine finds no host {host}",
                ConnectionRefusedError: f"{host} refuses connections",
                ssl.SSLError: f"no secure connection to {host} can be made",
            }
            otherwise = f"{host} cannot be reached ({error})"
            reason = next((reason for kind, reason in reasons.items() if _cause(error, kind)), otherwise)
            return RetryableError(reason, advice=f"check the address and the network; {proxy}", at_once=True)
    return RetryableError(f"the connection to {host} was cut", advice=network)


def _unusable_proxy(remote: Remote, error: Exception) -> LewmError:
    return remote.error(
        f"the proxy in the environment cannot be used ({error}); "
        "write HTTPS_PROXY as http://host:port, or unset it (HTTP_PROXY and ALL_PROXY too)"
    )


def _cause(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error


def _host(response: httpx2.Response) -> str:
    return response.url.netloc.decode("ascii", "replace")


def _answered(response: httpx2.Response) -> str:
    return f"{_host(response)} answered {response.status_code} {response.reason_phrase}".strip()


def _head(pieces: Iterator[bytes], enough: int) -> bytes:
    head = b""
    while len(head) < enough and (piece := next(pieces, b"")):
        head += piece
    return head


def _wait(headers: httpx2.Headers) -> float | None:
    """Reads the seconds that the server asks to wait, in any of the ways that are in use."""
    limit = re.search(r"\br\s*=\s*0\s*;\s*t\s*=\s*(\d+)", headers.get("RateLimit", ""))
    asked = headers.get("Retry-After", "").strip() or (limit[1] if limit else "")
    if asked.isdecimal():
        return float(asked)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(asked).timestamp() - time.time())
    except ValueError:
        return None
