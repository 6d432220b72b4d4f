"""Turns what a server refuses, and what fails between here and the server, into sentences."""

import re
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx2

from lewm_cli.errors import LewmError, MissingError
from lewm_cli.fetch.remote import Remote, RetryableError

E = TypeVar("E", bound=BaseException)

PROXY = "if yours needs a proxy, name it in HTTPS_PROXY"


@contextmanager
def connection_explained(remote: Remote) -> Iterator[None]:
    """Turns what httpx raises into a sentence, or into an error that is worth another attempt.

    Raises:
        RetryableError: the connection failed.
        LewmError: no attempt would go better.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        raise _unusable_header(remote) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _broken_connection(remote, error) from error


@contextmanager
def asked_once(remote: Remote, place: str) -> Iterator[None]:
    """Turns every failure of a question about `remote`, asked before any download, into a sentence."""
    try:
        with connection_explained(remote):
            yield
    except RetryableError as error:
        raise LewmError(
            f"{place} cannot be reached ({error.reason}); check the network, and HTTPS_PROXY if it needs a proxy, or "
            "name a copy with --source"
        ) from error
    except (ValueError, ImportError) as error:
        raise unusable_proxy(remote, error) from error


def refusal(remote: Remote, response: httpx2.Response) -> LewmError:
    """Explains a refusal of a server: the reason, and what to try next."""
    status, said = response.status_code, answered(response)
    start = f"{remote.name} was not downloaded: "
    code = response.headers.get("X-Error-Code", "")
    on_hub = bool(code or "X-Error-Message" in response.headers or "X-Repo-Commit" in response.headers)
    if code == "GatedRepo":
        return LewmError(
            f"{start}it is gated: accept its terms at {_repo_page(remote)} and set HF_TOKEN to a token of that account "
            f"({said})"
        )
    if status in (401, 403) and on_hub:
        if any(name.lower() == "authorization" for name, _ in remote.headers):
            return LewmError(f"{start}the token does not open it ({said}); set HF_TOKEN to one that may read it")
        return LewmError(
            f"{start}it is private or not there ({said}); check the name, or set HF_TOKEN to a token that may read it"
        )
    if status in (401, 403, 407):
        return LewmError(
            f"{start}access is refused ({said}); open the address in a browser to see what it asks for, "
            f"and check that no proxy of this network is in the way (HTTPS_PROXY, NO_PROXY)"
        )
    if status in (404, 410):
        gone = "it is there no more" if status == 410 else "there is no such file"
        missing = {"RepoNotFound": "there is no such repository", "RevisionNotFound": "there is no such revision"}
        return MissingError(f"{start}{missing.get(code, gone)} ({said}); check the address {remote.url}")
    return LewmError(f"{start}{said}; check the address {remote.url}, and try again later")


def unusable_proxy(remote: Remote, error: Exception) -> LewmError:
    """Explains a proxy in the environment that makes no sense, or needs what is not installed."""
    return LewmError(
        f"{remote.name} was not downloaded: the proxy in the environment cannot be used ({error}); "
        "write HTTPS_PROXY as http://host:port, or unset it (HTTP_PROXY and ALL_PROXY too)"
    )


def host_of(response: httpx2.Response) -> str:
    """Names the host that answered."""
    return response.url.netloc.decode("ascii", "replace")


def answered(response: httpx2.Response) -> str:
    """Says who answered with what status."""
    return f"{host_of(response)} answered {response.status_code} {response.reason_phrase}".strip()


def _broken_connection(remote: Remote, error: httpx2.HTTPError | httpx2.InvalidURL) -> RetryableError | LewmError:
    start = f"{remote.name} was not downloaded: "
    host = _host(remote, error)
    certificate = _cause(error, ssl.SSLCertVerificationError)
    if certificate is not None:
        return LewmError(
            f"{start}the certificate of {host} is not to be trusted ({certificate.verify_message}); check the clock, "
            "and if this network replaces certificates, name the file of its authority in SSL_CERT_FILE"
        )
    if isinstance(error, httpx2.TooManyRedirects):
        return LewmError(f"{start}{host} only sends from one address to another; check the address {remote.url}")
    if isinstance(error, httpx2.LocalProtocolError):
        return _unusable_header(remote)
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.InvalidURL):
        return LewmError(f"{start}{remote.url} leads to no web address ({error}); it has to begin with https://")
    if isinstance(error, httpx2.ProxyError):
        return LewmError(f"{start}the proxy of this network refused ({error}); check HTTPS_PROXY and NO_PROXY")
    if isinstance(error, httpx2.ReadTimeout):
        return RetryableError(f"nothing came from {host} any more", advice="check the network")
    if isinstance(error, httpx2.ConnectTimeout):
        return RetryableError(f"{host} does not answer", advice=f"check the network; {PROXY}", at_once=True)
    if isinstance(error, httpx2.ConnectError):
        return _unconnected(host, error)
    return RetryableError(f"the connection to {host} was cut", advice="check the network")


def _unusable_header(remote: Remote) -> LewmError:
    # What cannot be sent is not repeated, because it may be a token.
    names = ", ".join(name for name, _ in remote.headers) or "a header"
    return LewmError(
        f"{remote.name} was not downloaded: what {names} would say cannot be sent; "
        "check HF_TOKEN for line breaks and for letters that no token has"
    )


def _unconnected(host: str, error: httpx2.ConnectError) -> RetryableError:
    if urllib.request.getproxies().keys() & {"http", "https", "all"}:
        host = f"{host}, or the proxy that the environment names,"
    if _cause(error, socket.gaierror) is not None:
        reason = f"this machine finds no host {host}"
    elif _cause(error, ConnectionRefusedError) is not None:
        reason = f"{host} refuses connections"
    elif _cause(error, ssl.SSLError) is not None:
        reason = f"no secure connection to {host} can be made"
    else:
        reason = f"{host} cannot be reached ({error})"
    return RetryableError(reason, advice=f"check the address and the network; {PROXY}", at_once=True)


def _repo_page(remote: Remote) -> str:
    return re.sub(r"/resolve/.*", "", remote.url)


def _host(remote: Remote, error: httpx2.HTTPError | httpx2.InvalidURL) -> str:
    """Names the host that was asked last: behind a redirect it is another one than that of the URL."""
    try:
        url = error.request.url if isinstance(error, httpx2.HTTPError) else httpx2.URL(remote.url)
    except (RuntimeError, httpx2.InvalidURL):
        return "the server"
    return url.netloc.decode("ascii", "replace")


def _cause(error: BaseException | None, kind: type[E]) -> E | None:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error
