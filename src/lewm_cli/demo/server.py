"""Serves the page of a run on this machine alone, and does there what the page asks for."""

import gzip
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue
from socketserver import TCPServer
from threading import Thread
from typing import Any, Self

import numpy as np
from pydantic import Field

from lewm_cli.config import Section
from lewm_cli.demo.live_episode import LiveEpisode, PlanRequest
from lewm_cli.errors import LewmError

ADDRESS = "127.0.0.1"
"""No other machine reaches it."""

NAMES = {ADDRESS, "localhost"}
"""Names that a browser may know the server by: a page that another name leads here (DNS rebinding) is not answered."""

MOST_BYTES = 10**6
"""Of a request."""

LOOKED_THROUGH = 2**24
"""Bytes of a refused request that are read all the same: who is still sending would not hear the answer."""

LONGEST = 16
"""Digits of the length of a request, at most."""

SECONDS = 30
"""For which a connection that says nothing is kept."""

HEARD = 0.5
"""Seconds until a signal to stop is heard, at most."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:",
        "worker-src blob:",
        "connect-src 'self' blob: data:",
        "style-src 'unsafe-inline'",
        "img-src data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    # Together they give the page threads: nothing else can look into its memory.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

Job = tuple[Future[Section], Callable[[], Section]]


class BeginRequest(Section):
    """A new episode that is asked for."""

    seed: int = Field(ge=0, lt=2**63)


class ActRequest(Section):
    """Actions to take: (L * A) numbers."""

    actions: tuple[float, ...]


class RefusedError(Exception):
    """A request that is not answered, and why."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class DemoServer(ThreadingHTTPServer):
    """Answers in threads of its own while it is entered; what the episode does is done by whoever calls `work`.

    Args:
        page: HTML.
        episode: None where the page brings its own simulator.
        port: 0 for any that is free.
        files: that the page may ask for, by path.

    Attributes:
        url: of the page.

    Raises:
        LewmError: the port cannot be had.
    """

    daemon_threads = True

    def __init__(
        self, page: str, episode: LiveEpisode | None, port: int = 0, files: Mapping[str, Path] | None = None
    ) -> None:
        self.page, self.episode, self.files = page.encode(), episode, files or {}
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        try:
            super().__init__((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "there is no such port"
            raise LewmError(
                f"port {port} of this machine cannot be had ({reason}); choose another one, or leave --port out for "
                "any that is free"
            ) from error
        self.url = f"http://{ADDRESS}:{self.server_port}/"

    def __enter__(self) -> Self:
        Thread(target=self.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *details: object) -> None:
        self.shutdown()
        self.server_close()

    def server_bind(self) -> None:
        """Bind without asking who this machine is, which takes seconds where nobody knows."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[0], self.server_address[1]  # type: ignore[assignment]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a browser that has gone before its answer came is no news."""

    def work(self) -> None:
        """Do here what requests ask of the episode, one thing at a time, until `stop` is called."""
        while job := self._next_job():
            future, do = job
            try:
                future.set_result(do())
            except Exception as error:  # simulators raise anything, and the next request may be answered again
                future.set_exception(error)

    def stop(self) -> None:
        """Let `work` end; may be called by any thread."""
        self._jobs.put(None)

    def _next_job(self) -> Job | None:
        while True:  # a signal that comes right before the wait is only heard after it
            with suppress(Empty):
                return self._jobs.get(timeout=HEARD)

    def do(self, work: Callable[[], Section]) -> Section:
        """Have work done by the thread that is in `work`; raises what it raises."""
        future: Future[Section] = Future()
        self._jobs.put((future, work))
        return future.result()


def try_port(port: int) -> None:
    """Try whether a port can be had, before work is spent on what is served there; raises LewmError if not."""
    DemoServer("", None, port).server_close()


def serve(
    page: str,
    episode: LiveEpisode | None,
    port: int,
    started: Callable[[str], None],
    files: Mapping[str, Path] | None = None,
) -> None:
    """Serve a page until Ctrl-C.

    Args:
        page: HTML.
        episode: that the page acts in; None where it brings its own simulator.
        port: of this machine; 0 for any that is free.
        started: gets the address; the page is answered already.
        files: that the page may ask for, by path.

    Raises:
        LewmError: the port cannot be had.
        KeyboardInterrupt: Ctrl-C; the port is free again.
    """
    with DemoServer(page, episode, port, files) as server:
        started(server.url)
        server.work()


class _Handler(BaseHTTPRequestHandler):
    server: DemoServer
    server_version, sys_version = "lewm", ""
    timeout = SECONDS
    wbufsize = 2**16  # so that the timeout is for a part of an answer: a page of 80 MB may take minutes on its way

    def do_GET(self) -> None:
        """Answer with the page."""
        try:
            self._check_sender()
            file = self.server.files.get(self._asked_for)
            if self._asked_for != "/" and not file:
                raise RefusedError(HTTPStatus.NOT_FOUND, "there is only the page here, at /")
        except RefusedError as error:
            self.send_error(error.status, str(error))
        else:
            if file:
                return self._send(HTTPStatus.OK, file.read_bytes(), "application/octet-stream", packed=self._unpacks)
            self._send(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")

    do_HEAD = do_GET  # noqa: N815  (as http.server looks for it)

    def do_POST(self) -> None:
        """Do what the page asks for, and answer with what came of it."""
        try:
            content = self._content()
            self._check_sender()
            work = self._work(self._tree(content))
        except RefusedError as error:
            return self.send_error(error.status, str(error))
        except LewmError as error:
            return self.send_error(HTTPStatus.BAD_REQUEST, str(error))
        try:
            answer = self.server.do(work).model_dump_json().encode()
        except LewmError as error:
            return self.send_error(HTTPStatus.BAD_REQUEST, str(error))
        except Exception as error:  # simulators raise anything
            return self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")
        # Frames are mostly of one color.
        return self._send(HTTPStatus.OK, answer, "application/json", packed=self._unpacks)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with a sentence."""
        sentence = message or HTTPStatus(code).phrase
        self._send(HTTPStatus(code), json.dumps({"error": sentence}).encode(), "application/json")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: what the user does in the page is to be seen in the page."""

    @property
    def _asked_for(self) -> str:
        return self.path.partition("?")[0]

    @property
    def _unpacks(self) -> bool:
        return "gzip" in self.headers.get("Accept-Encoding", "")

    def _check_sender(self) -> None:
        """Refuse whatever does not come from the page itself."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if host.partition(":")[0] not in NAMES:
            raise RefusedError(HTTPStatus.FORBIDDEN, f"this server is {self.server.url}, and not {host!r}")
        if origin is not None and origin != f"http://{host}":
            raise RefusedError(HTTPStatus.FORBIDDEN, f"only the page of this server may ask it, and not {origin!r}")

    def _content(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < LONGEST):
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "the request does not say how long it is")
        if int(length) > MOST_BYTES:
            left = min(int(length), LOOKED_THROUGH)
            while left and (part := self.rfile.read(min(left, 2**16))):
                left -= len(part)
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request has at most {MOST_BYTES:,} bytes")
        return self.rfile.read(int(length))

    def _tree(self, content: bytes) -> dict[str, Any]:
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a request is JSON, and says so in its Content-Type")
        try:
            tree = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"the request is no JSON ({error})") from error
        if not isinstance(tree, dict):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the request is no JSON object")
        return tree

    def _work(self, tree: dict[str, Any]) -> Callable[[], Section]:
        """The work that a request asks for; raises RefusedError or LewmError if it asks for none."""
        episode, path = self.server.episode, self._asked_for
        if episode and path == "/begin":
            begin = BeginRequest.build(tree, path)
            return lambda: episode.begin(begin.seed)
        if episode and path == "/act":
            act = ActRequest.build(tree, path)
            dims = episode.run.card.inputs.actions.dim
            if len(act.actions) % dims:
                raise LewmError(f"{len(act.actions)} numbers are no actions of {dims} numbers each")
            return lambda: episode.act(np.reshape(act.actions, (-1, dims)))
        if episode and path == "/plan":
            plan = PlanRequest.build(tree, path)
            return lambda: episode.plan(plan)
        raise RefusedError(HTTPStatus.NOT_FOUND, f"nothing answers at {path!r}")

    def _send(self, status: HTTPStatus, content: bytes, kind: str, *, packed: bool = False) -> None:
        content = gzip.compress(content, compresslevel=1) if packed else content
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
