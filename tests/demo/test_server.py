"""The server of a demo: it answers the page and nobody else, and goes on after errors."""

import base64
import gzip
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

import lewm_cli.report.demo
from lewm_cli.config import PlannerConfig
from lewm_cli.demo import LiveEpisode, serve, try_port
from lewm_cli.demo.live_episode import PlanRequest
from lewm_cli.demo.server import MOST_BYTES, DemoServer
from lewm_cli.errors import LewmError

pytest_plugins = ("headless", "living")

Build = Callable[[str], LiveEpisode]

PAGE = '<!doctype html><title>Plans</title><link rel="icon" href="data:,"><p>Grüße</p>'
CEM = {"candidates": 40, "elites": 8, "iterations": 2, "horizon": 3, "receding": 1, "warm_start": True}


@contextmanager
def running(page: str, episode: LiveEpisode | None, files: dict[str, Path] | None = None) -> Iterator[DemoServer]:
    """A server, and a thread that does what is asked of its episode."""
    with DemoServer(page, episode, files=files) as server:
        thread = Thread(target=server.work)
        thread.start()
        yield server
        server.stop()
        thread.join()


@pytest.fixture
def served(live_episode: Build) -> Iterator[DemoServer]:
    with running(PAGE, live_episode("pusht")) as server:
        yield server


@pytest.fixture
def bare() -> Iterator[DemoServer]:
    """A server without an episode."""
    with running(PAGE, None) as server:
        yield server


def ask(server: DemoServer, path: str, content: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
    """Status, body and headers of an answer; POST if there is content, which is JSON unless it is bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    body = content if isinstance(content, bytes | None) else json.dumps(content).encode()
    sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET" if content is None else "POST", path, body, sent)
    answer = connection.getresponse()
    found = answer.read()
    connection.close()
    is_json = answer.headers["Content-Type"] == "application/json" and "Content-Encoding" not in answer.headers
    return answer.status, json.loads(found) if is_json else found, dict(answer.headers)


def test_the_page_may_have_threads_and_reach_nobody_else(bare: DemoServer) -> None:
    status, page, headers = ask(bare, "/")
    assert (status, page.decode()) == (200, PAGE)
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert "connect-src 'self'" in headers["Content-Security-Policy"]
    assert bare.url == f"http://127.0.0.1:{bare.server_port}/"


def test_headers_alone_come_without_the_page(bare: DemoServer) -> None:
    with socket.create_connection(("127.0.0.1", bare.server_port), timeout=60) as connection:
        connection.sendall(b"HEAD /?fresh HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.0 200 ")
    assert b"Content-Length: %d\r\n" % len(PAGE.encode()) in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.slow  # waits on purpose
def test_a_large_page_may_take_longer_than_a_connection_may_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lewm_cli.demo.server._Handler.timeout", 2)
    page, part = " " * 2**26, 2**23
    with running(page, None) as server, socket.create_connection(("127.0.0.1", server.server_port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer, length = connection.makefile("rb"), 0
        while read := len(answer.read(part)):
            length += read
            time.sleep(0.5)
    assert length > len(page)


def test_it_answers_once_its_address_is_told() -> None:
    def started(url: str) -> None:
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert answer.read().decode() == PAGE
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        serve(PAGE, None, 0, started)


def test_files_of_the_page_are_packed_on_their_way(tmp_path: Path) -> None:
    content = b"nothing but zeros" + bytes(10**6)
    (tmp_path / "library").write_bytes(content)
    with running(PAGE, None, {"/webgpu.wasm": tmp_path / "library"}) as server:
        status, packed, headers = ask(server, "/webgpu.wasm", Accept_Encoding="gzip")
        assert (status, gzip.decompress(packed)) == (200, content)
        assert len(packed) < 10**5
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert ask(server, "/webgpu.wasm")[:2] == (200, content)
        assert ask(server, "/webgpu.wasm", Origin="http://evil.example")[0] == 403
        assert ask(server, "/library")[0] == 404


def test_it_does_what_the_episode_does(served: DemoServer, live_episode: Build) -> None:
    episode = live_episode("pusht")
    assert ask(served, "/begin", {"seed": 1})[:2] == (200, episode.begin(1).model_dump(mode="json"))
    actions = np.float32([[0.1, 0.2], [0.3, -0.1]])
    expected = episode.act(actions).model_dump(mode="json")
    assert ask(served, "/act", {"actions": actions.ravel().tolist()})[:2] == (200, expected)
    status, found, _ = ask(served, "/plan", {"settings": CEM, "seed": 5, "warm": None})
    plan = episode.plan(PlanRequest(settings=PlannerConfig(**CEM), seed=5)).model_dump(mode="json")
    assert status == 200
    assert found | {"milliseconds": 0} == plan | {"milliseconds": 0}
    assert ask(served, "/begin", {"seed": 1})[1] == episode.begin(1).model_dump(mode="json")  # a second time


def test_frames_are_packed_on_their_way(served: DemoServer) -> None:
    _, packed, headers = ask(served, "/begin", {"seed": 0}, Accept_Encoding="gzip, deflate")
    assert headers["Content-Encoding"] == "gzip"
    assert len(packed) < 50_000
    assert json.loads(gzip.decompress(packed)) == ask(served, "/begin", {"seed": 0})[1]


@pytest.mark.parametrize(
    ("path", "headers", "status", "words"),
    [
        ("/", {"Host": "evil.example"}, 403, "and not 'evil.example'"),
        ("/", {"Host": "127.0.0.1.evil.example:80"}, 403, "this server is http://127.0.0.1:"),
        ("/", {"Host": "["}, 403, "and not '['"),
        ("/", {"Origin": "http://evil.example"}, 403, "and not 'http://evil.example'"),
        ("/", {"Origin": "null"}, 403, "and not 'null'"),
        ("/index.html", {}, 404, "there is only the page here, at /"),
        ("/../../etc/passwd", {}, 404, "there is only the page here"),
        ("/begin", {}, 404, "there is only the page here"),
    ],
)
def test_who_asks_for_something_else_is_refused(
    bare: DemoServer, path: str, headers: dict[str, str], status: int, words: str
) -> None:
    found, answer, _ = ask(bare, path, **headers)
    assert (found, list(answer)) == (status, ["error"])
    assert words in answer["error"]
    assert ask(bare, "/")[0] == 200


def test_the_page_may_come_by_another_port_and_name(bare: DemoServer) -> None:
    assert ask(bare, "/", Host="localhost:9000", Origin="http://localhost:9000")[0] == 200


@pytest.mark.parametrize(
    ("path", "content", "headers", "status", "words"),
    [
        ("/begin", {"seed": 1}, {"Host": "evil.example"}, 403, "and not 'evil.example'"),
        ("/begin", {"seed": 1}, {"Origin": "https://evil.example"}, 403, "only the page of this server may ask it"),
        ("/begin", {"seed": 1}, {"Content-Type": "text/plain"}, 415, "a request is JSON, and says so"),
        ("/begin", b"{", {}, 400, "the request is no JSON (Expecting property name"),
        ("/begin", b"\xff\xfe{", {}, 400, "the request is no JSON"),
        ("/begin", b"[" * 200_000, {}, 400, "the request is no JSON"),
        ("/begin", [1], {}, 400, "the request is no JSON object"),
        ("/begin", {}, {}, 400, "seed"),
        ("/begin", {"seed": -1}, {}, 400, "greater than or equal to 0 (in /begin)"),
        ("/begin", {"seed": 1, "sed": 2}, {}, 400, "unknown setting 'sed'; did you mean 'seed'? (in /begin)"),
        ("/begin", b" " * (MOST_BYTES + 1), {}, 413, "a request has at most 1,000,000 bytes"),
        ("/begin", b"{}", {"Content-Length": "nine"}, 411, "does not say how long it is"),
        ("/act", {"actions": [0.1, 0.2]}, {}, 400, "no episode has begun; begin one first"),
        ("/plan", {"settings": CEM}, {}, 400, "no episode has begun; begin one first"),
        ("/", {"seed": 1}, {}, 404, "nothing answers at '/'"),
        ("/stop", {"seed": 1}, {}, 404, "nothing answers at '/stop'"),
    ],
)
def test_requests_that_are_refused(
    served: DemoServer, path: str, content: Any, headers: dict[str, str], status: int, words: str
) -> None:
    found, answer, _ = ask(served, path, content, **headers)
    assert (found, list(answer)) == (status, ["error"])
    assert words in answer["error"]
    assert ask(served, "/begin", {"seed": 1})[0] == 200


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("/act", {"actions": [0.1, 0.2, 0.3]}, "3 numbers are no actions of 2 numbers each"),
        ("/act", {"actions": []}, "the shape (0, 2)"),
        ("/act", {"actions": [0.1, float("nan")]}, "should be a finite number (in /act)"),
        ("/act", {"actions": [0.1, "far"]}, "actions.1 = 'far'"),
        ("/act", {"actions": [0.1, 1e200]}, "not a finite number in float32"),
        ("/plan", {"settings": CEM | {"candidates": 10**8}}, "ask for at most 1,000,000"),
        ("/plan", {"settings": CEM | {"elites": 41}}, "elites 41 is more than candidates 40"),
        ("/plan", {"settings": CEM | {"objective": "probe"}}, "pusht/lewm"),
        ("/plan", {"settings": CEM, "seed": 2**70}, "seed"),
        ("/plan", {"settings": CEM, "warm": {"blocks": ["a"]}}, "warm.blocks.0"),
    ],
)
def test_an_episode_goes_on_after_an_error(served: DemoServer, path: str, content: Any, words: str) -> None:
    ask(served, "/begin", {"seed": 0})
    status, answer, _ = ask(served, path, content)
    assert status == 400
    assert words in answer["error"]
    assert ask(served, "/act", {"actions": [0.0, 0.0]})[0] == 200


def test_a_simulator_that_fails_says_so_and_goes_on(served: DemoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(error: Exception) -> Callable[..., None]:
        def begin(*arguments: Any) -> None:
            raise error

        return begin

    ask(served, "/begin", {"seed": 0})
    simulator = served.episode._simulator
    with monkeypatch.context() as broken:
        broken.setattr(simulator, "begin", fail(LewmError("the state was refused")))
        assert ask(served, "/begin", {"seed": 0})[:2] == (400, {"error": "the state was refused"})
        broken.setattr(simulator, "begin", fail(FloatingPointError("the block has no place")))
        error = {"error": "FloatingPointError: the block has no place"}
        assert ask(served, "/begin", {"seed": 0})[:2] == (500, error)
    assert ask(served, "/act", {"actions": [0, 0]})[1] == {"error": "no episode has begun; begin one first"}
    assert ask(served, "/begin", {"seed": 0})[0] == 200


@pytest.mark.parametrize(
    "line", [b"nonsense\r\n\r\n", b"DELETE / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"\x00\xff\r\n\r\n"]
)
def test_whatever_is_no_request_is_answered_in_words(
    bare: DemoServer, line: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(("127.0.0.1", bare.server_port), timeout=30) as connection:
        connection.sendall(line)
        answer = connection.makefile("rb").read()
    assert list(json.loads(answer.split(b"\r\n\r\n")[-1])) == ["error"]
    with socket.create_connection(("127.0.0.1", bare.server_port)) as connection:
        connection.sendall(b"POST /begin HTTP/1.1\r\nContent-Length: 500\r\n\r\nno more")
    assert ask(bare, "/")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_a_port_that_is_taken(bare: DemoServer) -> None:
    with pytest.raises(LewmError, match=rf"port {bare.server_port} of this machine cannot be had \(Address already"):
        try_port(bare.server_port)
    with pytest.raises(LewmError, match="port 99999 of this machine cannot be had"):
        try_port(99999)


def test_ctrl_c_ends_it() -> None:
    program = "from lewm_cli.demo import serve\nserve('page', None, 0, lambda url: print(url, flush=True))"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    url = process.stdout.readline().strip()
    port = int(url.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)):  # one that says nothing does not keep it
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert error.rstrip().endswith("KeyboardInterrupt")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_page_drives_the_simulator(browser: Any, live_episode: Build) -> None:
    folder = Path(lewm_cli.report.demo.__file__).parent
    script = (folder / "remote.js").read_text(encoding="utf-8")
    page = f'{PAGE}<script>{script}\nconst world = new RemoteWorld({{run: "pusht/lewm"}});</script>'
    said: list[str] = []
    with running(page, live_episode("pusht")) as server:
        opened = browser.new_page()
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.goto(server.url)
        assert opened.evaluate("crossOriginIsolated")
        opened.evaluate("world.begin(2)")
        episode = live_episode("pusht")
        begun = episode.begin(2)
        assert opened.evaluate("[world.size, world.editable, world.kinematics, world.follow(), world.walls]") == [
            224,
            False,
            None,
            None,
            [],
        ]
        read = "Array.from(%s, (byte) => String.fromCharCode(byte)).join('')"
        rgba = np.frombuffer(opened.evaluate(read % "world.goal.frame.data").encode("latin-1"), np.uint8)
        goal = episode._simulator.goal_frame()
        assert np.array_equal(rgba.reshape(224, 224, 4)[..., :3], goal)
        assert (rgba.reshape(224, 224, 4)[..., 3] == 255).all()

        assert opened.evaluate(read % "world.now.seen").encode("latin-1") == base64.b64decode(begun.now.seen)
        moments = opened.evaluate(
            "world.act(Float32Array.of(0.1, 0.2, 0.3, 0.1))"
            ".then((every) => every.map(({position, distance, reached}) => ({position, distance, reached})))"
        )
        acted = episode.act(np.float32([[0.1, 0.2], [0.3, 0.1]])).moments
        assert moments == [
            {"position": list(one.position), "distance": one.distance, "reached": one.reached} for one in acted
        ]
        assert opened.evaluate("world.now.position") == list(acted[-1].position)
        request = f"{{settings: {json.dumps(CEM)}, seed: 3, warm: null}}"
        found = opened.evaluate(
            f"world.plan({request}).then((found) => (globalThis.found = found, "
            "[Array.from(found.actions), found.blocks.length, found.imagined.length, found.iterations.length,"
            " Array.from(found.iterations[1].candidates[0].actions), found.iterations[1].candidates[0].elite]))"
        )
        plan = episode.plan(PlanRequest(settings=PlannerConfig(**CEM), seed=3))
        unpacked = np.frombuffer(base64.b64decode(plan.actions), "<f4").tolist()
        cheapest = np.frombuffer(base64.b64decode(plan.iterations[1].candidates[0].actions), "<f4").tolist()
        assert found == [unpacked, 30, 32, 2, cheapest, True]
        warm = f"world.plan({{settings: {json.dumps(CEM)}, seed: 4, warm: found}}).then(({{cost}}) => cost)"
        assert opened.evaluate(warm) != opened.evaluate(warm.replace("warm: found", "warm: null"))
        wrong = "world.act(Float32Array.of(0.1)).catch((error) => error.message)"
        assert opened.evaluate(wrong) == "The simulator says: 1 numbers are no actions of 2 numbers each."
    gone = opened.evaluate("world.begin(1).catch((error) => error.message)")
    again = "type lewm demo pusht/lewm --serve again, and open the address that it prints"
    assert gone == f"The simulator does not answer: {again}."
    opened.close()
    assert [text for text in said if "Failed to load resource" not in text] == []
