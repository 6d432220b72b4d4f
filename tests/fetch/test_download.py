"""Downloads: whatever the network, the server, the disk or the user do, a file is whole and right or not there."""

import email.utils
import hashlib
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pytest
from hub_server import (
    PORTAL,
    Answer,
    Changed,
    Corrupt,
    Cut,
    Drip,
    DriveFile,
    Fault,
    HubServer,
    IgnoreRange,
    NoLength,
    ServedFile,
    ServedRepo,
    Silence,
    Stall,
    WrongLength,
    redirect,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from commands import PATIENCE, wait_until
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.fetch.download import RetryPolicy, download
from lewm_cli.fetch.remote import Advance, LocalFile, Remote, Transfer
from lewm_cli.files import locked

pytest_plugins = ("hub_server", "recordings")

QUICK = RetryPolicy(silence=20.0, connecting=5.0, attempts=4, pause=0.001, longest=60.0)
ONCE = replace(QUICK, attempts=1)
NERVOUS = replace(QUICK, silence=0.4)

NAME = "tworoom.tar.zst"


def content(size: int, seed: int = 0) -> bytes:
    """Bytes in which no place looks like another."""
    return random.Random(seed).randbytes(size)


DATA = content(300_000)
OTHER = content(300_000, seed=1)


def remote(url: str, data: bytes | None = None, **more: object) -> Remote:
    """A file to ask for; with `data`, its size and hash are known beforehand."""
    known = {} if data is None else {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return Remote(url, f"{NAME} from here", **{**known, **more})


class Pause(NamedTuple):
    """A wait before another attempt."""

    reason: str
    seconds: float


@dataclass
class Watched:
    """What a download tells while it gets on."""

    transfers: list[Transfer] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)

    def begin(self, transfer: Transfer) -> Advance:
        self.transfers.append(transfer)
        return self.counts.append

    def pause(self, reason: str, seconds: float) -> None:
        self.pauses.append(Pause(reason, seconds))


@dataclass(frozen=True)
class Place:
    """Where a file is downloaded to."""

    path: Path

    @property
    def part(self) -> Path:
        return self.path.with_name(f".{self.path.name}.part")

    @property
    def note(self) -> Path:
        return self.path.with_name(f".{self.path.name}.identity.part")

    def get(self, what: Remote, policy: RetryPolicy = QUICK, watched: Watched | None = None) -> LocalFile:
        watched = watched or Watched()
        return download(what, self.path, watched.begin, pausing=watched.pause, policy=policy)

    def refused(self, what: Remote, policy: RetryPolicy = QUICK) -> str:
        """The sentence that it ends with."""
        with pytest.raises(LewmError) as refused:
            self.get(what, policy)
        said = str(refused.value)
        assert "\n" not in said
        assert NAME in said
        return said

    def files(self) -> set[str]:
        """What lies in the folder, but for the lock."""
        return {path.name for path in self.path.parent.iterdir() if not path.name.endswith(".lock")}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder with nothing in it."""
    return Place(tmp_path / "home" / NAME)


@pytest.fixture
def url(hub: HubServer) -> str:
    """Where `DATA` is."""
    return hub.put(f"/data/{NAME}", DATA)


def asked(hub: HubServer) -> list[str]:
    """The ranges of all requests; empty where all of it was asked for."""
    return [request.headers.get("range", "") for request in hub.requests]


# A file that comes


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 300_000])
@pytest.mark.parametrize("length", [True, False])
def test_file_comes_whole(hub: HubServer, place: Place, size: int, length: bool):
    data = content(size)
    watched = Watched()
    done = place.get(remote(hub.put("/f", ServedFile(data, length=length))), watched=watched)
    assert place.path.read_bytes() == data
    assert (done.size, done.sha256, done.transferred) == (size, hashlib.sha256(data).hexdigest(), size)
    assert watched.transfers == [Transfer(size if length or not size else None, 0)]
    assert sum(watched.counts) == size
    assert watched.pauses == []
    assert place.files() == {NAME}


def test_file_replaces_the_one_that_was_there(hub: HubServer, place: Place, url: str):
    place.path.parent.mkdir()
    place.path.write_bytes(b"old")
    hub.script(Cut(1000))
    place.refused(remote(url), ONCE)
    assert place.path.read_bytes() == b"old"
    place.get(remote(url))
    assert place.path.read_bytes() == DATA


@pytest.mark.slow
def test_memory_stays_the_same_for_a_large_file(hub: HubServer, place: Place):
    url = hub.put("/large", content(48 * 2**20))
    tracemalloc.start()
    try:
        place.get(remote(url))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20


# Interruptions


@pytest.mark.parametrize("calls", ["one call", "one call for every cut"])
@pytest.mark.parametrize(
    ("cuts", "size"), [(5, 2_000_000), pytest.param(100, 200_000_000, marks=pytest.mark.soak, id="soak")]
)
def test_nothing_comes_twice_after_cuts_at_random_places(
    hub: HubServer, place: Place, cuts: int, size: int, calls: str
):
    data = content(size, seed=cuts)
    url = hub.put("/data/large", data)
    places = sorted(random.Random(cuts).sample(range(64, size), cuts))
    hub.script(*(Cut(end - start) for start, end in zip([0, *places], places, strict=False)))
    if calls == "one call":
        assert place.get(remote(url)).transferred == size
    else:
        for end in places:
            said = place.refused(remote(url), ONCE)
            assert f"{end:,} bytes are kept, and the same command goes on from there" in said
        done = place.get(remote(url))
        assert done.transferred == size - places[-1]
    assert place.path.read_bytes() == data
    assert asked(hub) == ["", *(f"bytes={end}-" for end in places)]
    print(f"{cuts} cuts, {calls}: {size:,} bytes, of which {hub.sent() - size:,} came twice")
    assert hub.sent() == size


@pytest.mark.parametrize("fault", [Cut(100_000, reset=True), Stall(100_000), WrongLength(50_000)])
def test_connection_that_fails_is_made_again(hub: HubServer, place: Place, url: str, fault: Fault):
    hub.script(fault, Answer(500), Answer(502), fault, Answer(503))
    watched = Watched()
    done = place.get(remote(url), NERVOUS, watched)
    assert place.path.read_bytes() == DATA
    assert len(watched.pauses) >= 3
    assert sum(watched.counts) == done.transferred
    assert watched.transfers[0].already == 0


def test_slow_server_is_waited_for(hub: HubServer, place: Place):
    data = content(2_000)
    url = hub.put("/slow", data)
    hub.always(Drip(piece=50, pause=0.05))  # all together twice as long as the silence that is borne
    assert place.get(remote(url), replace(QUICK, silence=1.0)).transferred == len(data)
    assert len(hub.requests) == 1


def test_attempts_are_counted_from_the_last_new_byte(hub: HubServer, place: Place, url: str):
    hub.script(*[Answer(503), Answer(503), Cut(1000)] * 3)
    place.get(remote(url))
    hub.requests.clear()
    hub.always(Answer(503))
    said = place.refused(remote(url))
    assert len(hub.requests) == QUICK.attempts
    assert "answered 503 Service Unavailable, 4 times in a row without a new byte" in said


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_interrupted_download_is_gone_on_with(hub: HubServer, place: Place, url: str, stop: type[BaseException]):
    came = []

    def advance(count: int) -> None:
        came.append(count)
        if sum(came) > 100_000:
            raise stop

    with pytest.raises(stop):
        download(remote(url), place.path, lambda transfer: advance, policy=QUICK)
    assert place.files() == {place.part.name, place.note.name}
    there = place.part.stat().st_size
    assert there == sum(came)
    watched = Watched()
    done = place.get(remote(url), watched=watched)
    assert done.transferred == len(DATA) - there
    assert watched.transfers == [Transfer(len(DATA), there)]
    assert sum(watched.counts) == done.transferred
    assert place.path.read_bytes() == DATA
    assert place.files() == {NAME}


DOWNLOAD = """
import sys
from pathlib import Path
from typing import NamedTuple
from lewm_cli.fetch.download import download
from lewm_cli.fetch.remote import Remote
download(Remote(sys.argv[1], "tworoom.tar.zst from here"), Path(sys.argv[2]))
"""


def starting(url: str, path: Path, **options: object) -> subprocess.Popen[str]:
    """A download in another process."""
    return subprocess.Popen(
        [sys.executable, "-c", DOWNLOAD, url, str(path)], stderr=subprocess.PIPE, text=True, **options
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill", "interrupt"])
@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.soak, id="soak")])
def test_killed_download_is_gone_on_with(hub: HubServer, place: Place, kills: int, number: int):
    data = content(kills * 1_000_000)
    url = hub.put("/large", data)
    generator = random.Random(kills)
    there = 0
    for _ in range(kills):
        hub.behave()
        hub.always(Drip(piece=16_384, pause=0.005))
        with starting(url, place.path) as process:
            count = len(hub.requests)
            wait_until(lambda before=count: len(hub.requests) > before, process)
            time.sleep(generator.uniform(0.0, 0.2))
            process.send_signal(number)
            process.communicate(timeout=PATIENCE)
            assert process.returncode == -number
        assert hub.requests[-1].headers.get("range", "") == (f"bytes={there}-" if there else "")
        assert not place.path.exists()
        there = place.part.stat().st_size if place.part.exists() else 0
        if there:
            assert data.startswith(place.part.read_bytes())
    hub.behave()
    assert 0 < there < len(data)
    assert place.get(remote(url)).transferred == len(data) - there
    assert place.path.read_bytes() == data
    assert place.files() == {NAME}


def cut_at(hub: HubServer, place: Place, what: Remote, size: int) -> None:
    """Leave the beginning of a file."""
    hub.script(Cut(size))
    place.refused(what, ONCE)
    assert place.part.stat().st_size == size
    hub.requests.clear()


def test_what_is_read_again_is_told(hub: HubServer, place: Place, url: str):
    reread = Watched()
    cut_at(hub, place, remote(url), 100_000)
    download(remote(url), place.path, rereading=reread.begin, policy=QUICK)
    assert reread.transfers == [Transfer(100_000, 0)]
    assert sum(reread.counts) == 100_000
    place.path.unlink()
    download(remote(url), place.path, rereading=reread.begin, policy=QUICK)
    assert len(reread.transfers) == 1


def test_after_a_power_failure_only_what_was_synced_is_trusted(hub: HubServer, place: Place, url: str):
    cut_at(hub, place, remote(url), 1000)
    with place.part.open("ab") as file:  # a file that grew, and whose last blocks were never written
        file.write(bytes(500))
    note = json.loads(place.note.read_text())
    assert note["synced"] == 1000
    place.note.write_text(json.dumps(note | {"boot": "another one"}))
    place.get(remote(url))
    assert asked(hub) == ["bytes=1000-"]
    assert place.path.read_bytes() == DATA


def test_killed_between_the_last_byte_and_the_name(hub: HubServer, place: Place, url: str):
    cut_at(hub, place, remote(url), 1000)
    place.part.write_bytes(DATA)
    watched = Watched()
    assert place.get(remote(url), watched=watched).transferred == 0
    assert hub.requests == []
    assert watched.transfers == [Transfer(len(DATA), len(DATA))]
    assert place.path.read_bytes() == DATA


@pytest.mark.parametrize("note", ["", "{", "[]", '{"identity": 3}', None])
def test_bytes_of_unknown_origin_are_not_gone_on_with(hub: HubServer, place: Place, url: str, note: str | None):
    place.path.parent.mkdir()
    place.part.write_bytes(OTHER[:1000])
    if note is not None:
        place.note.write_text(note)
    place.get(remote(url))
    assert asked(hub) == [""]
    assert place.path.read_bytes() == DATA


def test_second_process_is_refused(hub: HubServer, place: Place, url: str):
    with locked(place.path, None):
        assert "another process is downloading" in place.refused(remote(url))
    assert hub.requests == []
    place.get(remote(url))


# One file is never joined to another


@pytest.mark.parametrize("tag", ["strong", "weak", "none"])
@pytest.mark.parametrize("size", [300_000, 200_000, 400_000, 500])
@pytest.mark.parametrize("when", ["between calls", "in one call"])
def test_file_that_changes_meanwhile_comes_anew(hub: HubServer, place: Place, tag: str, size: int, when: str):
    now = content(size, seed=2)
    url = hub.put("/f", ServedFile(DATA, tag=tag))
    if when == "between calls":
        cut_at(hub, place, remote(url), 100_000)
    else:
        hub.script(Cut(100_000))
    hub.always(Changed(now, tag=tag))
    place.get(remote(url))
    assert place.path.read_bytes() == now


@pytest.mark.parametrize("validator", ["etag", "modified", "none"])
def test_beginning_is_only_used_if_something_says_that_it_is_one(hub: HubServer, place: Place, validator: str):
    tag = "strong" if validator == "etag" else "none"
    file = ServedFile(DATA, tag=tag, modified="Mon, 05 Jan 2026 10:00:00 GMT" if validator == "modified" else None)
    url = hub.put("/f", file)
    cut_at(hub, place, remote(url), 1000)
    place.get(remote(url))
    assert asked(hub) == ([""] if validator == "none" else ["bytes=1000-"])
    same_as = {"etag": file.etag, "modified": file.modified, "none": None}[validator]
    assert hub.requests[0].headers.get("if-range") == same_as
    assert place.path.read_bytes() == DATA


def test_known_hash_is_enough_to_go_on_even_from_elsewhere(hub: HubServer, place: Place):
    here = hub.put("/here", ServedFile(DATA, tag="none", modified=None))
    there = hub.put("/there", ServedFile(DATA, modified=None))
    cut_at(hub, place, remote(here, DATA), 1000)
    assert place.get(remote(there, DATA)).transferred == len(DATA) - 1000
    assert asked(hub) == ["bytes=1000-"]
    assert place.path.read_bytes() == DATA


@pytest.mark.parametrize("known", [True, False])
def test_beginning_of_another_file_is_not_used(hub: HubServer, place: Place, url: str, known: bool):
    cut_at(hub, place, remote(url, DATA if known else None), 1000)
    there = hub.put("/there", OTHER)
    place.get(remote(there, OTHER if known else None))
    assert asked(hub) == [""]
    assert place.path.read_bytes() == OTHER


def test_address_that_changes_every_time_is_known_by_its_identity(hub: HubServer, place: Place, url: str):
    cut_at(hub, place, remote(f"{url}?uuid=1", identity="drive 17"), 1000)
    place.get(remote(f"{url}?uuid=2", identity="drive 17"))
    assert asked(hub) == ["bytes=1000-"]
    assert place.path.read_bytes() == DATA


def test_server_without_ranges_sends_all_of_it_again(hub: HubServer, place: Place, url: str):
    hub.always(IgnoreRange())
    hub.script(Cut(100_000), IgnoreRange())
    watched = Watched()
    assert place.get(remote(url), watched=watched).transferred == len(DATA) + 100_000
    assert place.path.read_bytes() == DATA
    assert watched.transfers == [Transfer(len(DATA), 0), Transfer(len(DATA), 0)]


def test_server_without_ranges_is_not_asked_for_ever(hub: HubServer, place: Place):
    url = hub.put("/f", ServedFile(DATA, ranges=False))
    hub.always(Cut(200_000))
    said = place.refused(remote(url))
    assert "the server cannot go on in the middle of it" in said
    assert "kept" not in said
    assert len(hub.requests) <= 2 * QUICK.attempts


def test_empty_answer_does_not_cost_what_is_there(hub: HubServer, place: Place, url: str):
    cut_at(hub, place, remote(url, DATA), 1000)
    hub.script(Answer(200, {"Connection": "close"}))
    assert place.get(remote(url, DATA)).transferred == len(DATA) - 1000
    assert asked(hub) == ["bytes=1000-", "bytes=1000-"]


def test_range_behind_the_end(hub: HubServer, place: Place):
    """A server that does not say the length beforehand says with 416 that there is nothing more."""
    url = hub.put("/f", ServedFile(DATA, length=False))
    hub.script(Cut(len(DATA)))
    assert place.get(remote(url)).transferred == len(DATA)
    assert [request.status for request in hub.requests] == [200, 416]
    assert place.path.read_bytes() == DATA


@pytest.mark.parametrize("said", ["bytes */1000", "bytes */999", "nonsense", ""])
def test_refused_range_is_not_taken_for_the_end(hub: HubServer, place: Place, url: str, said: str):
    hub.script(Cut(1000), Answer(416, {"Content-Range": said}))
    place.get(remote(url))
    assert place.path.read_bytes() == DATA
    assert asked(hub) == ["", "bytes=1000-", ""]


@pytest.mark.parametrize("said", ["bytes 999-299999/300000", "bytes 0-299999/300000", "bytes 1000-299999/*", ""])
def test_other_range_than_was_asked_for_is_not_taken(hub: HubServer, place: Place, said: str):
    url = hub.put("/f", ServedFile(DATA, length=False))
    hub.script(Cut(1000), Answer(206, {"Content-Range": said, "ETag": ServedFile(DATA).etag}, OTHER))
    place.get(remote(url))
    assert place.path.read_bytes() == DATA


# What has to be refused


def test_wrong_hash_is_refused_and_nothing_kept(hub: HubServer, place: Place, url: str):
    hub.script(Corrupt(at=7))
    said = place.refused(remote(url, DATA))
    assert hashlib.sha256(DATA).hexdigest() in said
    assert hashlib.sha256(bytes([*DATA[:7], DATA[7] ^ 0xFF, *DATA[8:]])).hexdigest() in said
    assert place.files() == set()
    place.get(remote(url, DATA))
    assert place.path.read_bytes() == DATA


def test_wrong_byte_before_a_cut_is_found_too(hub: HubServer, place: Place, url: str):
    cut_at(hub, place, remote(url, DATA), 1000)
    place.part.write_bytes(b"?" + DATA[1:1000])
    assert "instead of" in place.refused(remote(url, DATA))
    assert place.files() == set()


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
def test_wrong_length_is_refused_before_anything_comes(hub: HubServer, place: Place, url: str, size: int):
    said = place.refused(remote(url, DATA, size=size))
    assert f"{size:,}" in said
    assert f"{len(DATA):,}" in said
    assert place.files() == set()


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
def test_wrong_length_of_what_came_is_refused(hub: HubServer, place: Place, size: int):
    url = hub.put("/f", ServedFile(DATA, length=False))
    said = place.refused(remote(url, size=size))
    assert f"{size:,}" in said
    assert place.files() == set()
    assert len(hub.requests) == 1


def test_length_that_nobody_says_is_refused(hub: HubServer, place: Place, url: str):
    hub.always(NoLength())
    assert "half of it could not be told from the whole" in place.refused(remote(url))
    place.get(remote(url, DATA))
    assert place.path.read_bytes() == DATA


@pytest.mark.parametrize(
    "page",
    [
        PORTAL,
        Answer(200, {"Content-Type": "application/octet-stream"}, PORTAL.body),
        Answer(200, {}, b"\xef\xbb\xbf\n <!-- hello --> <HTML lang=en><title>Guest Wi-Fi: log in</title>"),
        Answer(206, {"Content-Type": "text/html", "Content-Range": "bytes 1000-1999/2000"}, PORTAL.body),
        Answer(200, {"Content-Type": "text/html"}, b"no title"),
    ],
)
@pytest.mark.parametrize("there", [0, 1000])
def test_web_page_is_not_taken_for_the_file(hub: HubServer, place: Place, url: str, page: Answer, there: int):
    if there:
        cut_at(hub, place, remote(url), there)
    hub.script(page)
    said = place.refused(remote(url))
    assert "gave a web page" in said
    assert ("('Guest Wi-Fi: log in')" in said) == (b"<title>" in page.body)
    assert place.get(remote(url)).transferred == len(DATA) - there


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "answered 400 Bad Request"),
        (401, "access is refused"),
        (403, "HTTPS_PROXY"),
        (404, "there is no such file"),
        (407, "HTTPS_PROXY"),
        (410, "it is there no more"),
        (204, "answered 204"),
        (304, "answered 304"),
        (501, "answered 501"),
    ],
)
def test_refusal_is_a_sentence(hub: HubServer, place: Place, url: str, status: int, said: str):
    cut_at(hub, place, remote(url), 1000)
    hub.script(Answer(status))
    assert said in place.refused(remote(url))
    assert place.get(remote(url)).transferred == len(DATA) - 1000


def test_refused_download_leaves_nothing(hub: HubServer, place: Place):
    with pytest.raises(MissingError):
        place.get(remote(f"{hub.url}/nowhere"))
    assert list(place.path.parent.iterdir()) == []


@pytest.mark.parametrize("asks", ["2", "date", "RateLimit"])
def test_server_that_asks_to_wait_is_waited_for(
    hub: HubServer, place: Place, url: str, asks: str, monkeypatch: pytest.MonkeyPatch
):
    slept: list[float] = []
    now = time.time()
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "time", lambda: now)
    date = email.utils.formatdate(now + 30, usegmt=True)
    headers = {"RateLimit": '"resolvers";r=0;t=30'} if asks == "RateLimit" else {"Retry-After": asks}
    hub.script(Answer(429, {"Retry-After": date} if asks == "date" else headers))
    watched = Watched()
    place.get(remote(url), watched=watched)
    assert [pause.seconds for pause in watched.pauses] == slept
    assert "429 Too Many Requests" in watched.pauses[0].reason
    assert slept == [pytest.approx(2 if asks == "2" else 30, abs=1 if asks == "date" else 0)]  # dates know no fractions


@pytest.mark.parametrize("asks", ["-5", "soon", ""])
def test_nonsense_in_retry_after_is_not_obeyed(hub: HubServer, place: Place, url: str, asks: str):
    hub.script(Answer(429, {"Retry-After": asks}))
    watched = Watched()
    place.get(remote(url), watched=watched)
    assert [pause.seconds for pause in watched.pauses] == [QUICK.pause]


def test_wait_that_is_too_long_is_left_to_the_user(hub: HubServer, place: Place, url: str):
    cut_at(hub, place, remote(url), 1000)
    hub.script(Answer(503, {"Retry-After": "3600"}))
    said = place.refused(remote(url))
    assert "asks to wait 3,600 s; 1,000 bytes are kept, and the same command goes on from there" in said


@pytest.mark.parametrize("fault", [Silence(), Stall(0)])
def test_server_that_never_answers_is_given_up(hub: HubServer, place: Place, url: str, fault: Fault):
    hub.always(fault)
    assert "4 times in a row without a new byte" in place.refused(remote(url), NERVOUS)
    assert place.files() == set()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:1/f", "127.0.0.1:1 refuses connections"),
        ("http://nowhere.invalid/f", "finds no host nowhere.invalid"),
        ("ftp://127.0.0.1/f", "has to begin with https://"),
        ("127.0.0.1/f", "has to begin with https://"),
    ],
)
def test_address_that_leads_nowhere_is_a_sentence_at_once(
    place: Place, url: str, said: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it is tried again"))
    assert said in place.refused(remote(url), RetryPolicy())
    assert place.files() == set()


# Redirects, proxies, certificates


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_and_ranges_with_them(hub: HubServer, place: Place, url: str, status: int):
    for number in range(5):
        hub.always(redirect(f"/step/{number + 1}" if number < 4 else url, status), on=f"/step/{number}")
    hub.script(Cut(1000), on=f"/data/{NAME}")
    place.get(remote(f"{hub.url}/step/0"))
    assert place.path.read_bytes() == DATA
    assert hub.sent(on="/data/") == len(DATA)


def test_redirects_in_a_circle_end(hub: HubServer, place: Place):
    hub.always(redirect("/circle"), on="/circle")
    assert "only sends from one address to another" in place.refused(remote(f"{hub.url}/circle"))
    assert len(hub.requests) <= 20


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_hub_file_comes_from_the_cdn_without_the_token(hub: HubServer, place: Place, kind: str):
    files = {NAME: ServedFile(DATA), "config.json": ServedFile(b"{}")}
    hub.add(ServedRepo("someone/lewm", files, kind=kind, token="hf_secret"))
    base = f"{hub.url}/{'datasets/' if kind == 'dataset' else ''}someone/lewm/resolve/main"
    headers = (("Authorization", "Bearer hf_secret"),)
    hub.script(Cut(1000), on="/cdn/")
    place.get(remote(f"{base}/{NAME}", DATA, headers=headers))
    assert place.path.read_bytes() == DATA
    at_cdn = hub.seen("/cdn/")
    assert [request.headers.get("range") for request in at_cdn] == [None, "bytes=1000-"]
    assert all("authorization" not in request.headers for request in at_cdn)
    small = place.path.with_name("config.json")
    download(remote(f"{base}/config.json", headers=headers), small, policy=QUICK)
    assert small.read_bytes() == b"{}"
    assert hub.seen("resolve-cache")[0].headers["authorization"] == "Bearer hf_secret"


@pytest.mark.parametrize(
    ("repo", "path", "token", "said"),
    [
        ("someone/lewm", "none.pt", None, "there is no such file"),
        ("someone/none", "weights.pt", None, "set HF_TOKEN"),
        ("someone/none", "weights.pt", "hf_x", "there is no such repository"),
        ("someone/gated", "weights.pt", None, "/someone/gated and set HF_TOKEN"),
        ("someone/gated", "weights.pt", "hf_x", "accept its terms at"),
        ("someone/private", "weights.pt", None, "set HF_TOKEN"),
        ("someone/private", "weights.pt", "hf_x", "the token does not open it"),
    ],
)
def test_refusal_of_the_hub_says_what_to_do(
    hub: HubServer, place: Place, repo: str, path: str, token: str | None, said: str
):
    files = {"weights.pt": ServedFile(DATA)}
    for served in (
        ServedRepo("someone/lewm", files),
        ServedRepo("someone/gated", files, gated=True),
        ServedRepo("someone/private", files, token="hf_secret"),
    ):
        hub.add(served)
    headers = (("Authorization", f"Bearer {token}"),) if token else ()
    assert said in place.refused(remote(f"{hub.url}/{repo}/resolve/main/{path}", headers=headers))


@pytest.mark.parametrize("token", ["hf_secret\n", "hf_secr\u00e9t", "hf_\u2026secret", "hf_secret\r\nX-Other: 1"])
def test_token_that_cannot_be_sent_is_not_repeated(hub: HubServer, place: Place, url: str, token: str):
    said = place.refused(remote(url, headers=(("Authorization", f"Bearer {token}"),)))
    assert "check HF_TOKEN" in said
    assert "secr" not in said
    assert hub.requests == []


def test_revision_that_is_not_there(hub: HubServer, place: Place):
    hub.add(ServedRepo("someone/lewm", {"weights.pt": ServedFile(DATA)}))
    said = place.refused(remote(f"{hub.url}/someone/lewm/resolve/v2/weights.pt"))
    assert "there is no such revision" in said


def test_page_of_drive_is_not_taken_for_the_file(hub: HubServer, place: Place):
    url = hub.share(DriveFile("k", NAME, DATA, state="quota"))
    assert "'Google Drive - Quota exceeded'" in place.refused(remote(url))
    place.get(remote(hub.share(DriveFile("k", NAME, DATA))))
    assert place.path.read_bytes() == DATA


def test_proxy_of_the_environment_is_used(hub: HubServer, place: Place, monkeypatch: pytest.MonkeyPatch):
    hub.put(f"/data/{NAME}", DATA)
    monkeypatch.setenv("HTTP_PROXY", hub.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    place.get(remote(f"http://files.invalid/data/{NAME}"))
    assert place.path.read_bytes() == DATA
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert "or the proxy that the environment names, refuses" in place.refused(remote("http://files.invalid/x"))
    monkeypatch.setenv("HTTP_PROXY", "gopher://127.0.0.1:1")
    assert "the proxy in the environment cannot be used" in place.refused(remote("http://files.invalid/x"))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that nobody signed, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", str(key), "-out", str(certificate)),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    certificate.write_text(certificate.read_text() + key.read_text())
    return certificate


def test_certificate_has_to_be_trusted(place: Place, certificate: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with HubServer(certificate=certificate) as hub:
        url = hub.put("/f", DATA)
        said = place.refused(remote(url), RetryPolicy())
        assert hub.requests == []
        assert "is not to be trusted (self-signed certificate)" in said
        assert "SSL_CERT_FILE" in said
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        place.get(remote(url))
    assert place.path.read_bytes() == DATA


def test_plain_server_behind_https_is_a_sentence(place: Place, url: str):
    said = place.refused(remote(url.replace("http:", "https:")))
    assert "no secure connection" in said


# The disk


def test_full_disk_is_a_sentence_and_the_beginning_stays(hub: HubServer, small_disk: Callable[[str], Path]):
    data = content(400_000)
    disk = small_disk("256k")
    url = hub.put("/f", data)
    place = Place(disk / NAME)
    said = place.refused(remote(url))
    there = place.part.stat().st_size
    assert 0 < there < len(data)
    assert f"the disk under {disk} is full after {there:,} bytes" in said
    assert "free some space, and the same command goes on from there" in said
    assert not place.path.exists()
    subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
    assert place.get(remote(url)).transferred == len(data) - there
    assert place.path.read_bytes() == data


@pytest.mark.slow
def test_file_system_that_takes_no_larger_files_is_a_sentence(hub: HubServer, place: Place):
    url = hub.put("/f", DATA)

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    with starting(url, place.path, preexec_fn=limited) as process:
        said = process.communicate(timeout=PATIENCE)[1]
    assert f"{place.path.parent} takes no larger files after 100,000 bytes of {NAME}" in said
    assert place.get(remote(url)).transferred == len(DATA) - 100_000
    assert place.path.read_bytes() == DATA


def test_folder_that_is_none_is_a_sentence(hub: HubServer, tmp_path: Path, url: str):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(LewmError, match="cannot be written"):
        download(remote(url), tmp_path / "file" / NAME)


# Everything at once


@pytest.fixture(scope="module")
def steady() -> Iterator[HubServer]:
    """One server for many examples."""
    with HubServer() as server:
        yield server


WHOLE = content(5_000, seed=3)
NEWER = content(5_000, seed=4)
LONGER = content(6_000, seed=5)

places = st.integers(0, 6_000)
passing_faults = st.one_of(
    st.none(),
    st.builds(Cut, places, st.booleans()),
    st.builds(WrongLength, st.integers(1, 100)),
    st.builds(Answer, st.sampled_from([416, 429, 500, 502, 503, 404, 403])),
    st.builds(Changed, st.sampled_from([NEWER, LONGER]), st.sampled_from(["strong", "weak", "none"])),
    st.sampled_from([IgnoreRange(), PORTAL]),
)
lying_faults = st.one_of(passing_faults, st.builds(Corrupt, places), st.builds(WrongLength, st.integers(-100, -1)))


def survive_faults(
    steady: HubServer, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, known: bool, file: ServedFile
):
    place = Place(tmp_path_factory.mktemp("any") / NAME)
    url = steady.put("/any", file)
    what = remote(url, WHOLE if known else None)
    for _ in range(data.draw(st.integers(1, 3), "calls")):
        steady.behave()
        steady.script(*data.draw(st.lists(lying_faults if known else passing_faults, max_size=6), "faults"))
        stop_after = data.draw(st.one_of(st.none(), places), "interrupted after")
        came = 0

        def advance(count: int, stop_after: int | None = stop_after) -> None:
            nonlocal came
            came += count
            if stop_after is not None and came > stop_after:
                raise KeyboardInterrupt

        try:
            download(what, place.path, lambda transfer: advance, policy=QUICK)
        except (LewmError, KeyboardInterrupt):
            assert not place.path.exists()
        else:
            assert place.path.read_bytes() in ([WHOLE] if known else [WHOLE, NEWER, LONGER])
            place.path.unlink()
    steady.behave()
    with suppress(LewmError):  # a beginning that turns out wrong is thrown away, so that the next call is right
        place.get(what)
    place.get(what)
    assert place.path.read_bytes() in ([WHOLE] if known else [WHOLE, NEWER, LONGER])
    assert place.files() == {NAME}


any_faults = given(
    data=st.data(),
    known=st.booleans(),
    file=st.builds(
        ServedFile,
        st.just(WHOLE),
        st.sampled_from(["strong", "weak", "none"]),
        ranges=st.booleans(),
        length=st.booleans(),
    ),
)
test_no_sequence_of_faults_ends_with_a_wrong_file = pytest.mark.slow(
    settings(max_examples=30)(any_faults(survive_faults))
)
test_no_long_sequence_of_faults_does_either = pytest.mark.soak(settings(max_examples=1000)(any_faults(survive_faults)))
