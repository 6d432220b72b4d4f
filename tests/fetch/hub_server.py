"""A server on loopback that answers like the Hugging Face Hub, its CDN, Google Drive and a plain web server.

    with HubServer() as hub:
        url = hub.put("/data/pusht.h5.zst", b"...")                  # a plain file
        hub.add(ServedRepo("someone/lewm-pusht", {"weights.pt": ServedFile(b"...")}))
        hub.share(DriveFile("1r31os0d4", "lejepa.tar.zst", b"..."))
        hub.script(Cut(100), Answer(500), on="/data/")         # the next two requests for it; then it behaves
        ...
        assert hub.sent(on="/data/") == 1100                         # bytes of bodies that went out

Everything that is asked is kept in `hub.requests`. The CDN listens on a port of its own, so it is another host.
"""

import hashlib
import html
import json
import re
import secrets
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import pytest

SENT_AT_ONCE = 2**18
"""Bytes that go to a socket in one call."""

LARGE_SUFFIXES = (".ckpt", ".h5", ".pt", ".safetensors", ".zst")
"""What the Hub keeps outside git, whatever its size."""

MODIFIED = "Mon, 05 Jan 2026 10:00:00 GMT"


@dataclass(frozen=True)
class ServedFile:
    """A file as a server gives it.

    Args:
        content: its bytes.
        tag: whether it has an ETag: "strong", "weak" or "none".
        modified: its Last-Modified, if it has one.
        content_type: what the server says that it is.
        ranges: whether a part of it can be asked for.
        length: whether its length is said beforehand; otherwise it comes in chunks.
    """

    content: bytes = field(repr=False)
    tag: str = "strong"
    modified: str | None = MODIFIED
    content_type: str = "application/octet-stream"
    ranges: bool = True
    length: bool = True

    @cached_property
    def etag(self) -> str | None:
        """Quoted, as the header has it."""
        value = f'"{hashlib.md5(self.content, usedforsecurity=False).hexdigest()}"'
        return {"strong": value, "weak": f"W/{value}", "none": None}[self.tag]

    @cached_property
    def sha256(self) -> str:
        """By which the Hub knows large files."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def blob(self) -> str:
        """By which git, and so the Hub, knows small files."""
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class ServedRepo:
    """A repository of the Hub.

    Args:
        name: owner and name.
        files: by path in the repository.
        kind: "model" or "dataset".
        commit: what `main` and every one of `revisions` stand for; it can be asked for by its hash too.
        revisions: names of branches and tags beside `main`.
        token: what the bearer token has to be; None lets everybody read.
        gated: whether its terms have to be accepted, which nobody here has done.
    """

    name: str
    files: Mapping[str, ServedFile]
    kind: str = "model"
    commit: str = "6903a2de048b13819d812da0b4dd661290bc01e4"
    revisions: tuple[str, ...] = ()
    token: str | None = None
    gated: bool = False

    def is_large(self, path: str) -> bool:
        """Whether a file is kept outside git, and so comes from the CDN."""
        return path.endswith(LARGE_SUFFIXES) or len(self.files[path].content) >= 10 * 2**20


@dataclass(frozen=True)
class DriveFile:
    """A file on Google Drive.

    Args:
        key: its id.
        name: of the file that is sent.
        content: its bytes.
        confirm: whether it is too large for the virus scan, so that a form has to be sent first.
        state: "shared", "quota" (too many have downloaded it) or "private".
    """

    key: str
    name: str
    content: bytes
    confirm: bool = False
    state: str = "shared"


@dataclass
class Seen:
    """A request that came, and what became of it.

    Args:
        method: GET or HEAD.
        path: with the query.
        headers: names in lower case.
        status: of the answer; 0 while there is none.
        sent: bytes of the body that went out.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    status: int = 0
    sent: int = 0


@dataclass(frozen=True)
class Reply:
    """An answer before it is sent."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | memoryview = b""


class Fault:
    """Something that goes wrong with one answer: what overrides nothing changes nothing."""

    def of_file(self, file: ServedFile) -> ServedFile:
        """Change the file that is served."""
        return file

    def of_reply(self, reply: Reply) -> Reply:
        """Change the answer."""
        return reply

    def before(self, closed: threading.Event) -> bool:
        """Do something before anything is said; whether anything will be."""
        return True

    def pieces(self, body: memoryview, closed: threading.Event) -> Iterator[memoryview]:
        """The body as it goes out, with pauses."""
        for start in range(0, len(body), SENT_AT_ONCE):
            yield body[start : start + SENT_AT_ONCE]

    def after(self, connection: socket.socket) -> bool:
        """Do something to the connection in the end; whether it is still good."""
        return True


@dataclass(frozen=True)
class Cut(Fault):
    """End the connection after so many bytes of the body; by a reset, which may destroy what was just sent, or not."""

    after_bytes: int
    reset: bool = False

    def pieces(self, body: memoryview, closed: threading.Event) -> Iterator[memoryview]:
        yield from super().pieces(body[: self.after_bytes], closed)

    def after(self, connection: socket.socket) -> bool:
        if self.reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False


@dataclass(frozen=True)
class Stall(Fault):
    """Say nothing more after so many bytes of the body, and keep the connection."""

    after_bytes: int

    def pieces(self, body: memoryview, closed: threading.Event) -> Iterator[memoryview]:
        yield from super().pieces(body[: self.after_bytes], closed)
        closed.wait()

    def after(self, connection: socket.socket) -> bool:
        return False


@dataclass(frozen=True)
class Silence(Fault):
    """Take the request and never answer."""

    def before(self, closed: threading.Event) -> bool:
        closed.wait()
        return False


@dataclass(frozen=True)
class Drip(Fault):
    """Send pieces of so many bytes with pauses of so many seconds."""

    piece: int
    pause: float

    def pieces(self, body: memoryview, closed: threading.Event) -> Iterator[memoryview]:
        for start in range(0, len(body), self.piece):
            closed.wait(self.pause)
            yield body[start : start + self.piece]


@dataclass(frozen=True)
class WrongLength(Fault):
    """Say a length that is wrong by so many bytes; the body is as long as it is, and the connection ends after it."""

    by: int

    def of_reply(self, reply: Reply) -> Reply:
        return replace(reply, headers={**reply.headers, "Content-Length": str(len(reply.body) + self.by)})

    def after(self, connection: socket.socket) -> bool:
        return False


@dataclass(frozen=True)
class NoLength(Fault):
    """Say no length at all, as old servers do: the end of the connection is the end of the file."""

    def of_reply(self, reply: Reply) -> Reply:
        return replace(reply, headers={**reply.headers, "Connection": "close"})

    def after(self, connection: socket.socket) -> bool:
        return False


@dataclass(frozen=True)
class Corrupt(Fault):
    """Turn one byte of the body into another."""

    at: int = 0

    def of_reply(self, reply: Reply) -> Reply:
        body = bytearray(reply.body)
        if self.at < len(body):
            body[self.at] ^= 0xFF
        return replace(reply, body=bytes(body))


@dataclass(frozen=True)
class IgnoreRange(Fault):
    """Send all of it, whatever part was asked for."""

    def of_file(self, file: ServedFile) -> ServedFile:
        return replace(file, ranges=False)


@dataclass(frozen=True)
class Changed(Fault):
    """Serve another file, with another ETag; `tag` and `modified` may hide that it is another one."""

    content: bytes = field(repr=False)
    tag: str = "strong"
    modified: str | None = "Tue, 06 Jan 2026 10:00:00 GMT"

    def of_file(self, file: ServedFile) -> ServedFile:
        return replace(file, content=self.content, tag=self.tag, modified=self.modified)


@dataclass(frozen=True)
class Answer(Fault):
    """Say something else: 500, 429 with Retry-After, 416, the page of a captive portal."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def of_reply(self, reply: Reply) -> Reply:
        return Reply(self.status, {"Content-Type": "text/plain", **self.headers}, self.body)

    def after(self, connection: socket.socket) -> bool:
        return self.headers.get("Connection") != "close"


def redirect(to: str, status: int = 302) -> Answer:
    """Send on to another address; to the same one, it is a loop."""
    return Answer(status, {"Location": to})


PORTAL = Answer(
    200,
    {"Content-Type": "text/html; charset=utf-8"},
    b"<!DOCTYPE html>\n<html><head><title>Guest Wi-Fi: log in</title></head><body>Welcome</body></html>",
)
"""What a hotel's network says to everything."""


@dataclass
class _Rule:
    on: str
    method: str
    faults: deque[Fault | None]
    stays: bool


class HubServer:
    """The servers, each in threads of its own, from entering to leaving.

    Args:
        certificate: a certificate and its key in one PEM file; with it everything is served over TLS.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.requests: list[Seen] = []
        self._files: dict[str, ServedFile] = {}
        self._repos: dict[tuple[str, str], ServedRepo] = {}
        self._drive: dict[str, DriveFile] = {}
        self._tickets: dict[str, str] = {}
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._servers = [self._server(certificate), self._server(certificate)]
        scheme = "https" if certificate else "http"
        self.url, self.cdn_url = (f"{scheme}://127.0.0.1:{server.server_address[1]}" for server in self._servers)

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._closed.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    # What is served

    def put(self, path: str, file: ServedFile | bytes) -> str:
        """Serve a plain file; returns its URL."""
        served = file if isinstance(file, ServedFile) else ServedFile(file)
        _ = served.etag  # now, and not while a client waits
        self._files[path] = served
        return self.url + quote(path)

    def add(self, repo: ServedRepo) -> None:
        """Serve a repository of the Hub."""
        self._repos[repo.kind, repo.name] = repo

    def share(self, file: DriveFile) -> str:
        """Serve a file of Google Drive; returns the URL that a user would have."""
        self._drive[file.key] = file
        return f"{self.url}/uc?id={file.key}&export=download"

    # What goes wrong

    def script(self, *faults: Fault | None, on: str = "", method: str = "GET") -> None:
        """Let the next requests whose path contains `on` go wrong, one fault each; None is a request that goes well."""
        self._rules.append(_Rule(on, method, deque(faults), stays=False))

    def always(self, fault: Fault, on: str = "", method: str = "GET") -> None:
        """Let every request whose path contains `on` go wrong in this way, once what is scripted is used up."""
        self._rules.append(_Rule(on, method, deque([fault]), stays=True))

    def behave(self) -> None:
        """Forget every fault."""
        self._rules.clear()

    # What was asked

    def seen(self, on: str = "") -> list[Seen]:
        """The requests whose path contains `on`, in order."""
        return [request for request in self.requests if on in request.path]

    def sent(self, on: str = "") -> int:
        """Bytes of bodies that went out for paths that contain `on`."""
        return sum(request.sent for request in self.seen(on))

    # Answering

    def _server(self, certificate: Path | None) -> ThreadingHTTPServer:
        handler = type("Handler", (_Handler,), {"hub": self})
        server = _Server(("127.0.0.1", 0), handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        return server

    def _fault(self, seen: Seen) -> Fault:
        with self._lock:
            self.requests.append(seen)
            matching = [rule for rule in self._rules if rule.on in seen.path and rule.method == seen.method]
            for rule in sorted(matching, key=lambda rule: rule.stays):
                if rule.stays:
                    return rule.faults[0] or Fault()
                if rule.faults:
                    return rule.faults.popleft() or Fault()
        return Fault()

    def _reply(self, seen: Seen, fault: Fault) -> Reply:
        url = urlsplit(seen.path)
        query = {key: values[0] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        path = unquote(url.path)
        if path in self._files:
            return _reply_with(fault.of_file(self._files[path]), seen)
        if path.startswith("/cdn/"):
            return self._cdn(path, query, seen, fault)
        if path in ("/uc", "/download"):
            return self._drive_page(path, query, seen, fault)
        if found := _TREE.fullmatch(url.path):
            return self._tree(found, seen)
        if found := _REVISION.fullmatch(url.path):
            return self._revision(found, seen)
        if (found := _RESOLVE.fullmatch(url.path)) or (found := _RESOLVE_CACHE.fullmatch(url.path)):
            return self._resolve(found, seen, fault)
        return Reply(404, {"Content-Type": "text/plain"}, b"Not Found")

    # The Hub

    def _repo(self, kind: str, name: str, revision: str, seen: Seen) -> ServedRepo | Reply:
        repo = self._repos.get((kind, name))
        token = seen.headers.get("authorization", "").removeprefix("Bearer ")
        if repo is None or (repo.token and token != repo.token):
            if token and repo is not None:
                return _refusal(401, "", "Invalid credentials in Authorization header")
            return _refusal(404 if token else 401, "RepoNotFound", "Repository not found")
        if repo.gated:
            return _refusal(
                403 if token else 401, "GatedRepo", f"Access to {kind} {name} is restricted and you are not in the list"
            )
        if revision not in ("main", repo.commit, *repo.revisions):
            return _refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repo

    def _resolve(self, found: re.Match[str], seen: Seen, fault: Fault) -> Reply:
        parts = {key: unquote(value) for key, value in found.groupdict(default="").items()}
        kind = "dataset" if parts["kind"].startswith("datasets") else "model"
        repo = self._repo(kind, parts["name"], parts["revision"], seen)
        if isinstance(repo, Reply):
            return repo
        path = parts["path"]
        about = {"X-Repo-Commit": repo.commit, "Accept-Ranges": "bytes"}
        if path not in repo.files:
            return _refusal(404, "EntryNotFound", "Entry not found", about)
        file = repo.files[path]
        linked = file.sha256 if repo.is_large(path) else file.blob
        about |= {"X-Linked-Size": str(len(file.content)), "X-Linked-Etag": f'"{linked}"'}
        if repo.is_large(path):
            ticket = secrets.token_hex(8)
            self._tickets[ticket] = linked
            query = urlencode({"response-content-disposition": f'inline; filename="{path}"', "X-Amz-Signature": ticket})
            about["Location"] = f"{self.cdn_url}/cdn/{linked}?{query}"
            return Reply(302, {**about, "Content-Type": "text/plain"}, b"Found. Redirecting to " + linked.encode())
        if found.re is _RESOLVE:
            about["Location"] = f"/api/resolve-cache/{kind}s/{parts['name']}/{repo.commit}/{quote(path, safe='')}"
            about["ETag"] = f'"{file.blob}"'
            return Reply(307, {**about, "Content-Type": "text/plain"}, b"Temporary Redirect")
        reply = _reply_with(fault.of_file(file), seen)
        return replace(reply, headers={**reply.headers, **about, "ETag": f'"{fault.of_file(file).blob}"'})

    def _cdn(self, path: str, query: Mapping[str, str], seen: Seen, fault: Fault) -> Reply:
        key = path.removeprefix("/cdn/")
        if "authorization" in seen.headers:  # as S3: the signature is the only authorization
            return Reply(400, {"Content-Type": "application/xml"}, b"<Error><Code>InvalidArgument</Code></Error>")
        if self._tickets.get(query.get("X-Amz-Signature", "")) != key:
            return Reply(403, {"Content-Type": "application/xml"}, b"<Error><Code>AccessDenied</Code></Error>")
        for repo in self._repos.values():
            for file in repo.files.values():
                if file.sha256 == key:
                    return _reply_with(fault.of_file(file), seen)
        return Reply(404, {"Content-Type": "application/xml"}, b"<Error><Code>NoSuchKey</Code></Error>")

    def _tree(self, found: re.Match[str], seen: Seen) -> Reply:
        repo = self._repo(found["kind"].removesuffix("s"), unquote(found["name"]), unquote(found["revision"]), seen)
        if isinstance(repo, Reply):
            return repo
        listed = [
            {"type": "file", "oid": file.blob, "size": len(file.content), "path": path}
            for path, file in sorted(repo.files.items())
        ]
        return _json(listed)

    def _revision(self, found: re.Match[str], seen: Seen) -> Reply:
        repo = self._repo(found["kind"].removesuffix("s"), unquote(found["name"]), unquote(found["revision"]), seen)
        return repo if isinstance(repo, Reply) else _json({"id": repo.name, "sha": repo.commit, "tags": []})

    # Google Drive

    def _drive_page(self, path: str, query: Mapping[str, str], seen: Seen, fault: Fault) -> Reply:
        file = self._drive.get(query.get("id", ""))
        if file is None:
            return _page(404, "Error 404 (Not Found)!!1", "<p>The requested URL was not found on this server.</p>")
        if file.state == "private":
            return _page(
                200, "Sign in - Google Accounts", '<form action="/ServiceLogin" id="gaia_loginform">Sign in</form>'
            )
        if file.state == "quota":
            return _page(
                200,
                "Google Drive - Quota exceeded",
                '<p class="uc-error-caption">Sorry, you can&#39;t view or download this file at this time.</p>'
                '<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently. '
                "Please try accessing the file again later.</p>",
            )
        if path == "/uc":
            further = urlencode({"id": file.key, "export": "download"})
            return Reply(303, {"Location": f"{self.url}/download?{further}", "Content-Type": "text/html"}, b"")
        if file.confirm and query.get("confirm") != "t":
            return _page(200, "Google Drive - Virus scan warning", self._form(file))
        reply = _reply_with(fault.of_file(ServedFile(file.content, tag="none")), seen)
        named = f"attachment; filename=\"{file.name}\"; filename*=UTF-8''{quote(file.name)}"
        return replace(reply, headers={**reply.headers, "Content-Disposition": named})

    def _form(self, file: DriveFile) -> str:
        hidden = {"id": file.key, "export": "download", "confirm": "t", "uuid": secrets.token_hex(16)}
        inputs = "".join(f'<input type="hidden" name="{key}" value="{value}">' for key, value in hidden.items())
        return (
            '<p class="uc-warning-caption">Google Drive can&#39;t scan this file for viruses.</p>'
            f'<p class="uc-warning-subcaption"><a href="/open?id={file.key}">{html.escape(file.name)}</a> is too large '
            f'for Google to scan for viruses.</p><form id="download-form" action="{self.url}/download" method="get">'
            f'<input type="submit" id="uc-download-link" value="Download anyway"/>{inputs}</form>'
        )


_NAME = r"(?P<name>[^/]+/[^/]+)"
_TREE = re.compile(rf"/api/(?P<kind>models|datasets)/{_NAME}/tree/(?P<revision>[^/]+)")
_REVISION = re.compile(rf"/api/(?P<kind>models|datasets)/{_NAME}/revision/(?P<revision>[^/]+)")
_RESOLVE = re.compile(rf"/(?P<kind>datasets/)?{_NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_RESOLVE_CACHE = re.compile(rf"/api/resolve-cache/(?P<kind>models|datasets)/{_NAME}/(?P<revision>[^/]+)/(?P<path>.+)")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what is tested here, nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *arguments: object) -> None:
        """Requests are recorded, not printed."""

    def _answer(self) -> None:
        seen = Seen(self.command, self.path, {key.lower(): value for key, value in self.headers.items()})
        fault = self.hub._fault(seen)
        closed = self.hub._closed
        self.close_connection = True
        if not fault.before(closed):
            return
        reply = fault.of_reply(self.hub._reply(seen, fault))
        seen.status = reply.status
        headers = dict(reply.headers)
        chunked = headers.get("Transfer-Encoding") == "chunked"
        if not chunked and headers.get("Connection") != "close":
            headers.setdefault("Content-Length", str(len(reply.body)))
        self.send_response(reply.status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            self.close_connection = False
            return
        with suppress(OSError):  # the client went away
            for piece in fault.pieces(memoryview(reply.body), closed):
                seen.sent += len(piece)  # before it is sent, so that a client that has it finds it counted
                self.connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            good = fault.after(self.connection)
            if chunked and good:
                self.connection.sendall(b"0\r\n\r\n")
            self.close_connection = not good


def _reply_with(file: ServedFile, seen: Seen) -> Reply:
    headers = {"Content-Type": file.content_type}
    if file.etag:
        headers["ETag"] = file.etag
    if file.modified:
        headers["Last-Modified"] = file.modified
    if not file.length:
        headers["Transfer-Encoding"] = "chunked"
    size = len(file.content)
    body = memoryview(file.content)
    if not file.ranges:
        return Reply(200, headers, body)
    headers["Accept-Ranges"] = "bytes"
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", seen.headers.get("range", ""))
    same_as = seen.headers.get("if-range")
    if asked is None or (same_as is not None and not _is_same(same_as, file)):
        return Reply(200, headers, body)
    first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
    if first >= size:
        headers.pop("Transfer-Encoding", None)
        return Reply(416, {**headers, "Content-Range": f"bytes */{size}"})
    return Reply(206, {**headers, "Content-Range": f"bytes {first}-{last}/{size}"}, body[first : last + 1])


def _is_same(same_as: str, file: ServedFile) -> bool:
    return not same_as.startswith("W/") and same_as in (file.etag, file.modified)


def _refusal(status: int, code: str, message: str, about: Mapping[str, str] | None = None) -> Reply:
    coded = {"X-Error-Code": code} if code else {}
    reply = _json({"error": message}, status)
    return replace(reply, headers={**reply.headers, **(about or {}), **coded, "X-Error-Message": message})


def _json(content: object, status: int = 200) -> Reply:
    return Reply(status, {"Content-Type": "application/json; charset=utf-8"}, json.dumps(content).encode())


def _page(status: int, title: str, body: str) -> Reply:
    text = f"<!DOCTYPE html><html><head><title>{title}</title></head><body>{body}</body></html>"
    return Reply(status, {"Content-Type": "text/html; charset=utf-8"}, text.encode())


@pytest.fixture
def hub() -> Iterator[HubServer]:
    """A server for one test."""
    with HubServer() as server:
        yield server
