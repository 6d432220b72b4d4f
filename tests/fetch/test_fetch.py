"""`lewm fetch` from the shell, against servers that answer like the Hub and Google Drive."""

import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import typer
from hub_server import Answer, Corrupt, Cut, Drip, HubServer, ServedFile, ServedRepo
from huggingface_hub import constants
from standins import CHECKPOINTS, DATA, REVISION, WEIGHTS, Standins, compressed, small_recording, tarred

from commands import Done, ended, lewm, lewm_here, running, wait_until
from lewm_cli.data import open_dataset, packing_of
from lewm_cli.fetch import catalog, download, install, sources
from lewm_cli.fetch.download import RetryPolicy
from lewm_cli.store.origin import Origin

pytest_plugins = ("hub_server",)

RELEASED = "tworoom/lewm-release"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user's own catalog entries."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "lewm" / "catalog"


@pytest.fixture
def served(hub: HubServer, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server here stands in for the Hub."""
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    # huggingface_hub has read it already, for commands in this process.
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub-home"))  # no token of whoever runs the tests


@pytest.fixture
def standins(hub: HubServer, served: None, user: Path, tmp_path: Path) -> Standins:
    """TwoRoom, published on a server here."""
    return Standins(hub, user, small_recording(tmp_path / "made" / "tworoom.h5"))


@pytest.fixture
def large(standins: Standins, tmp_path: Path) -> Standins:
    """The same with a recording that takes a moment to unpack."""
    noise = np.random.default_rng(0).integers(256, size=(180, 250_000), dtype=np.uint8)
    with h5py.File(standins.recording, "a") as file:
        rows = len(file["action"])
        file["filler"] = np.resize(noise, (rows, 250_000))
    return Standins(standins.hub, standins.catalog, standins.recording)


def ok(done: Done) -> Done:
    assert done.code == 0, done.err
    return done


def names(home: Path) -> tuple[set[str], set[str]]:
    """Datasets and runs as `lewm ls` lists them."""
    listed = ok(lewm_here(home, "ls", "--json")).json()
    return {entry["name"] for entry in listed["datasets"]}, {entry["name"] for entry in listed["runs"]}


# What there is


def test_catalog_is_printed_without_a_network(home: Path, user: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    listed = ok(lewm_here(home, "fetch", "--list")).out
    for name in ("tworoom", "tworoom/lewm", "tworoom/pldm", "not published", "404 since June 2026"):
        assert name in listed
    entries = ok(lewm_here(home, "fetch", "--list", "--json")).json()["entries"]
    [tworoom] = [entry for entry in entries if entry["name"] == "tworoom"]
    assert tworoom["dataset"]["file"]["size"] == 3_425_937_909
    assert tworoom["checkpoints"]["lewm"]["hub"]["revision"] == "77adaae0bc31deab21c93740d1f8bb947cd0bdec"


def test_dry_run_says_what_and_where_without_a_network(home: Path, user: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    planned = ok(lewm_here(home, "fetch", "two-room", "--dry-run", "--json")).json()["planned"]
    assert [one["name"] for one in planned] == ["tworoom", RELEASED]
    assert [one["path"] for one in planned] == [str(home / "tworoom.h5"), str(home / RELEASED)]
    assert planned[0]["bytes"] == 3_425_937_909
    assert not home.exists()
    assert "12.8 GB" in ok(lewm_here(home, "fetch", "tworoom", "--dry-run")).out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("tworom",), 1, "did you mean 'tworoom'?"),
        (("tworoom/pldm",), 1, "PLDM for tworoom cannot be fetched: the authors' Google Drive folder answers 404"),
        (("pusht/dinowm_noprop",), 1, "and only the one with proprioception is published elsewhere"),
        (("reacher/dinowm",), 1, "the catalog has no reacher/dinowm; did you mean 'reacher/dinowm_noprop'?"),
        (("tworoom/sac",), 1, "the catalog has no tworoom/sac; there is tworoom/lewm, tworoom/pldm"),
        (("tworoom", "--source", "drive"), 1, "knows no file of tworoom on Google Drive; the authors' folder 1r31"),
        (("tworoom", "--source", "nowhere"), 2, "neither hub, drive, an http, https or file address"),
        (("tworoom", "--source", "https://example.org/x"), 2, "add --dataset or --checkpoint"),
        (("tworoom", "--source", "file:///x", "--dataset", "--revision", "main"), 2, "leave it out"),
        (("tworoom/lejepa", "--dataset"), 2, "is a checkpoint; leave out --dataset"),
        (("robot", "--source", "file:///x.h5"), 2, "is not in the catalog; say what it is"),
        (("../robot", "--source", "file:///x.h5", "--dataset"), 2, "is no path under the home"),
        ((), 2, "say what to fetch"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_network(
    home: Path, user: Path, words: tuple[str, ...], code: int, said: str
):
    assert said in lewm_here(home, "fetch", *words).sentence(code)
    assert not home.exists()


def test_more_than_fits_is_refused_before_the_first_byte(home: Path, standins: Standins):
    standins.write(unpacked=10**15)
    said = lewm_here(home, "fetch", "tworoom").sentence()
    assert "tworoom and tworoom/lewm-release needs 1,000,000.0 GB" in said
    assert standins.hub.requests == []


@pytest.mark.parametrize("content", ["[dataset", 'dataset = { name = "x" }', '[checkpoints.lewm]\nmethod = "LeWM"'])
def test_entry_that_means_nothing_is_named(home: Path, user: Path, content: str):
    user.mkdir(parents=True)
    (user / "broken.toml").write_text(content, encoding="utf-8")
    done = lewm_here(home, "fetch", "--list")
    assert "broken.toml" in done.sentence(done.code)
    assert done.code in (1, 2)


def test_task_of_which_nothing_is_published_breaks_no_other(home: Path, user: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(catalog, "FILE", "none.toml")
    assert ok(lewm_here(home, "fetch", "--list", "--json")).json()["entries"] == []


# The way of the files


@pytest.mark.slow
def test_recording_and_weights_come_under_their_names(home: Path, standins: Standins):
    done = ok(lewm(home, "fetch", "tworoom", "--json"))
    dataset, weights = done.json()["fetched"]
    assert Path(dataset["path"]).read_bytes() == standins.recording.read_bytes()
    assert (home / RELEASED / "weights.pt").read_bytes() == standins.weights["weights.pt"]
    assert dataset["transferred"] == len(standins.packed.content)
    assert [file["sha256"] for file in dataset["origin"]["published"]] == [standins.packed.sha256]
    assert (weights["origin"]["source"], weights["origin"]["revision"]) == (WEIGHTS, REVISION)
    assert names(home) == ({"tworoom"}, {RELEASED})
    assert "next: lewm train tworoom" in done.err
    assert not list(home.rglob(".fetching-*"))
    for name in ("tworoom/lejepa", "tworoom/lewm"):  # and the statistics come from the recording beside them
        assert ok(lewm_here(home, "show", name, "--json")).json()["name"] == RELEASED
    assert "ok" in ok(lewm_here(home, "verify")).out

    before = len(standins.hub.requests)
    again = ok(lewm_here(home, "fetch", "tworoom"))
    assert "is there already" in again.err
    assert len(standins.hub.requests) == before


@pytest.mark.slow
def test_recording_is_packed_in_its_place_if_asked_to(home: Path, standins: Standins):
    before = open_dataset(standins.recording, "tworoom").identity
    done = ok(lewm_here(home, "fetch", "tworoom", "--dataset", "--pack", "--json")).json()
    [packed] = done["packed"]
    assert (packed["name"], packed["path"]) == ("tworoom", str(home / "tworoom.h5"))
    after = open_dataset(home / "tworoom.h5", "tworoom")
    assert after.identity == before
    assert packing_of(after) is not None
    assert names(home)[0] == {"tworoom"}
    # Where it came from is known as before, and so is what it is now.
    assert "ok" in ok(lewm_here(home, "verify", "tworoom")).out
    origin = Origin.read(home / "tworoom.origin.json")
    assert origin is not None
    assert [file.sha256 for file in origin.published] == [standins.packed.sha256]
    assert [(file.name, file.size) for file in origin.files] == [("tworoom.h5", packed["bytes"])]
    again = ok(lewm_here(home, "fetch", "tworoom", "--dataset", "--pack"))
    assert "nothing was done" in again.err
    assert "--pack is about recordings" in lewm_here(home, "fetch", "tworoom", "--checkpoint", "--pack").sentence(2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("terminal", "answer", "packs"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_packing_is_asked_about_once_and_on_a_terminal_only(
    home: Path, standins: Standins, monkeypatch: pytest.MonkeyPatch, terminal: bool, answer: bool, packs: bool
):
    asked: list[str] = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(typer, "confirm", lambda question, **_: [asked.append(question), answer][1])
    for _ in range(2):
        ok(lewm_here(home, "fetch", "tworoom", "--dataset"))
    assert len(asked) == terminal
    assert all("pack tworoom once fetched" in question for question in asked)
    packed = packing_of(open_dataset(home / "tworoom.h5", "tworoom")) is not None
    assert packed == (terminal and answer)


@pytest.mark.slow
def test_damage_after_fetching_is_found_and_fetched_again(home: Path, standins: Standins):
    ok(lewm_here(home, "fetch", "tworoom"))
    with (home / RELEASED / "config.json").open("a") as file:
        file.write("\n")
    content = bytearray((home / "tworoom.h5").read_bytes())
    content[-1] ^= 1
    (home / "tworoom.h5").write_bytes(content)
    wrong = lewm_here(home, "verify")
    assert wrong.code == 1
    assert "tworoom.h5 is not what was fetched" in " ".join(wrong.out.split())
    assert "config.json has" in " ".join(wrong.out.split())
    assert "lewm fetch tworoom --dataset --force" in " ".join(wrong.out.split())
    ok(lewm_here(home, "fetch", "tworoom", "--force"))
    assert ok(lewm_here(home, "verify"))
    ok(lewm_here(home, "rm", "tworoom", RELEASED, "--yes"))
    assert list(home.rglob("*.json")) == []


@pytest.mark.parametrize("archive", ["tworoom.h5", "tworoom.h5.zst", "tworoom.tar.zst"])
def test_any_packing_is_told_by_content(home: Path, standins: Standins, archive: str):
    other = Standins(standins.hub, standins.catalog, standins.recording, archive)
    ok(lewm_here(home, "fetch", "tworoom", "--dataset", "--keep-archive"))
    assert (home / "tworoom.h5").read_bytes() == other.recording.read_bytes()
    assert (home / archive).exists()


def test_archive_that_is_here_is_not_downloaded(home: Path, standins: Standins):
    home.mkdir()
    (home / standins.archive).write_bytes(standins.packed.content)
    done = ok(lewm_here(home, "fetch", "tworoom", "--dataset", "--json"))
    assert done.json()["fetched"][0]["transferred"] == 0
    assert standins.hub.requests == []
    assert (home / standins.archive).exists()  # it was not ours to remove


@pytest.mark.parametrize("how", ["path", "file", "http"])
def test_any_address_gives_the_published_file(home: Path, standins: Standins, tmp_path: Path, how: str):
    mirror = tmp_path / "mirror.bin"
    mirror.write_bytes(standins.packed.content)
    served = standins.hub.put("/mirror/tworoom.tar.zst", standins.packed)
    source = {"path": str(mirror), "file": mirror.as_uri(), "http": served}[how]
    ok(lewm_here(home, "fetch", "tworoom", "--dataset", "--source", source))
    assert (home / "tworoom.h5").read_bytes() == standins.recording.read_bytes()


def test_other_file_at_an_address_is_refused_with_both_hashes(home: Path, standins: Standins, tmp_path: Path):
    other = ServedFile(bytes(reversed(standins.packed.content)))
    source = standins.hub.put("/mirror/tworoom.tar.zst", other)
    said = lewm_here(home, "fetch", "tworoom", "--dataset", "--source", source).sentence()
    assert other.sha256 in said
    assert standins.packed.sha256 in said
    assert names(home) == (set(), set())


def test_file_of_this_machine_is_read_where_it_lies(home: Path, standins: Standins, tmp_path: Path):
    mirror = tmp_path / "my drive" / "r\u00e9sum\u00e9\\ #1.bin"  # a name that has to be quoted
    mirror.parent.mkdir()
    mirror.write_bytes(standins.packed.content)
    ask = ("fetch", "tworoom", "--dataset", "--source", mirror.as_uri())
    assert ok(lewm_here(home, *ask, "--json")).json()["fetched"][0]["transferred"] == 0
    assert mirror.read_bytes() == standins.packed.content
    mirror.write_bytes(bytes(reversed(standins.packed.content)))
    said = lewm_here(home, *ask, "--force").sentence()
    assert standins.packed.sha256 in said
    assert ServedFile(mirror.read_bytes()).sha256 in said
    assert (home / "tworoom.h5").read_bytes() == standins.recording.read_bytes()
    alone = mirror.with_name(".a\\b\n.h5")
    shutil.copy(standins.recording, alone)
    ok(lewm_here(home, "fetch", "alone", "--dataset", "--source", alone))
    for path, says in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        source = ("fetch", "robot", "--dataset", "--source", path.as_uri())
        assert says in lewm_here(home, *source).sentence()
    source = ("fetch", "robot", "--dataset", "--source", "file://elsewhere/f")
    assert "names no file of this machine" in lewm_here(home, *source).sentence()


def test_unlisted_recording_and_weights_come_from_an_address(home: Path, standins: Standins, tmp_path: Path):
    packed = tmp_path / "pick.tar"
    packed.write_bytes(tarred({"data/pick.h5": standins.recording.read_bytes(), "data/README": b"hello"}))
    ok(lewm_here(home, "fetch", "robot/pick", "--dataset", "--source", packed))
    run = tmp_path / "run.tar.zst"
    run.write_bytes(compressed(tarred({f"run/{name}": content for name, content in standins.weights.items()})))
    ok(lewm_here(home, "fetch", "robot", "--checkpoint", "--source", run))
    ok(lewm_here(home, "fetch", "other", "--checkpoint", "--source", CHECKPOINTS / "jepa_tf4_object.ckpt"))
    nameless = standins.hub.put("/get", ServedFile((CHECKPOINTS / "jepa_tf4_object.ckpt").read_bytes()))
    ok(lewm_here(home, "fetch", "third", "--checkpoint", "--source", f"{nameless}?id=3"))
    hidden = standins.hub.put("/.x%0A.h5", ServedFile(standins.recording.read_bytes()))
    ok(lewm_here(home, "fetch", "hidden", "--dataset", "--source", hidden))
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in standins.weights.items():
        (folder / name).write_bytes(content)
    ok(lewm_here(home, "fetch", "fourth", "--checkpoint", "--source", folder))
    assert names(home) == (
        {"robot/pick", "hidden"},
        {f"{name}/lewm-release" for name in ("robot", "other", "third", "fourth")},
    )
    assert "is a folder" in lewm_here(home, "fetch", "fifth", "--dataset", "--source", folder).sentence(2)


def test_drive_confirms_and_gives_the_file(home: Path, standins: Standins, monkeypatch: pytest.MonkeyPatch):
    file = standins.on_drive()
    monkeypatch.setattr(sources, "DRIVE_ADDRESS", standins.hub.url)
    standins.write(drive=file.key)
    ok(lewm_here(home, "fetch", "tworoom", "--dataset", "--source", "drive"))
    assert (home / "tworoom.h5").read_bytes() == standins.recording.read_bytes()


@pytest.mark.parametrize(
    ("url", "identifier"),
    [
        ("https://drive.google.com/file/d/1r31-os_d4/view?usp=sharing", "1r31-os_d4"),
        ("https://drive.google.com/file/u/0/d/1r31/view", "1r31"),
        ("https://drive.google.com/uc?id=1r31&export=download", "1r31"),
        ("https://drive.google.com/open?id=1r31", "1r31"),
        ("https://drive.google.com/drive/folders/1r31os0d4-rR0mdHc7OlY_e5nh3XT4r4e", None),
        ("https://example.org/file/d/1r31", None),
    ],
)
def test_address_of_drive_is_recognized(url: str, identifier: str | None):
    assert sources.drive_identifier(url) == identifier


@pytest.mark.parametrize(
    ("state", "said"),
    [("quota", "Too many users have viewed or downloaded this file"), ("private", "try again tomorrow"), ("", "404")],
)
def test_drive_that_gives_nothing_is_explained(
    home: Path, standins: Standins, monkeypatch: pytest.MonkeyPatch, state: str, said: str
):
    from dataclasses import replace

    file = standins.on_drive()
    if state:
        standins.hub.share(replace(file, state=state))
    monkeypatch.setattr(sources, "DRIVE_ADDRESS", standins.hub.url)
    standins.write(drive=file.key if state else "1gone")
    assert said in lewm_here(home, "fetch", "tworoom", "--dataset", "--source", "drive").sentence()


# What the Hub says


@pytest.mark.slow
def test_private_and_gated_repositories_ask_for_a_token(
    home: Path, standins: Standins, monkeypatch: pytest.MonkeyPatch
):
    files = {standins.archive: standins.packed}
    standins.hub.add(ServedRepo(DATA, files, kind="dataset", gated=True))
    assert "is gated: accept its terms at" in lewm_here(home, "fetch", "tworoom", "--dataset").sentence()
    standins.hub.add(ServedRepo(DATA, files, kind="dataset", token="secret"))
    assert "HF_TOKEN" in lewm_here(home, "fetch", "tworoom", "--dataset").sentence()
    monkeypatch.setenv("HF_TOKEN", "secret")
    ok(lewm_here(home, "fetch", "tworoom", "--dataset"))
    cdn = [seen for seen in standins.hub.requests if seen.path.startswith("/cdn")]
    assert all("authorization" not in {name.lower() for name in seen.headers} for seen in cdn)


def test_lance_dataset_at_a_revision_is_named(home: Path, standins: Standins):
    lance = {"tworoom.lance/data/0.lance": ServedFile(b"x" * 64), "README.md": ServedFile(b"hello")}
    standins.hub.add(ServedRepo(DATA, lance, kind="dataset", commit="f" * 40))
    said = lewm_here(home, "fetch", "tworoom", "--dataset", "--revision", "main").sentence()
    assert "a Lance dataset (tworoom.lance)" in said
    assert "has no revision 'v9'" in lewm_here(home, "fetch", "tworoom", "--dataset", "--revision", "v9").sentence()


def test_other_revision_is_believed_and_the_pinned_one_is_compared(home: Path, standins: Standins, tmp_path: Path):
    newer = small_recording(tmp_path / "newer" / "tworoom.h5")
    with h5py.File(newer, "a") as file:
        file.attrs["policy"] = "another"
    packed = ServedFile(compressed(tarred({"tworoom.h5": newer.read_bytes()})))
    standins.hub.add(ServedRepo(DATA, {standins.archive: packed}, kind="dataset"))
    said = lewm_here(home, "fetch", "tworoom", "--dataset").sentence()
    assert packed.sha256 in said
    assert standins.packed.sha256 in said
    ok(lewm_here(home, "fetch", "tworoom", "--dataset", "--revision", "main"))
    assert (home / "tworoom.h5").read_bytes() == newer.read_bytes()


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("pusht/dinowm", "prejepa_pusht_object.ckpt"),
        ("tworoom/dinowm_noprop", "prejepa_tworoom_object.ckpt"),
        ("cube/dinowm_noprop", "prejepa_cube_object.ckpt"),
    ],
)
def test_weights_of_unknown_hash_are_compared_with_what_came_first(
    home: Path, hub: HubServer, served: None, name: str, file: str
):
    content = (CHECKPOINTS / "jepa_tf4_object.ckpt").read_bytes()
    hub.add(ServedRepo("HazelNam/anygoal", {file: ServedFile(content)}))
    first = ok(lewm_here(home, "fetch", name))
    assert f"note: {name}-release: published by others than the authors" in first.err
    assert f"{name}-release: the catalog has no hash of {file}; that of what came is in origin.json" in first.err
    origin = Origin.read(home / f"{name}-release" / "origin.json")
    assert [(one.name, one.sha256) for one in origin.published] == [(file, ServedFile(content).sha256)]
    again = ok(lewm_here(home, "fetch", name, "--force"))
    assert "the catalog has no hash" not in again.err
    hub.add(ServedRepo("HazelNam/anygoal", {file: ServedFile((CHECKPOINTS / "tf4_weight.ckpt").read_bytes())}))
    said = lewm_here(home, "fetch", name, "--force").sentence()
    assert "is another file than when it was first fetched: its sha256 is " in said
    assert f"now and was {ServedFile(content).sha256}; nothing was replaced: to take the new one, remove" in said
    weights = home / f"{name}-release" / "weights.pt"
    assert weights.read_bytes() == content
    weights.write_bytes(content[:-1] + b"x")
    wrong = lewm_here(home, "verify")
    assert wrong.code == 1
    assert f"lewm fetch {name}" in " ".join(wrong.out.split())


@pytest.mark.slow
def test_hub_that_cannot_be_asked_is_explained(home: Path, standins: Standins, monkeypatch: pytest.MonkeyPatch):
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(standins.hub.url, "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9 cannot be reached" in lewm_here(home, "fetch", "tworoom").sentence()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in lewm(home, "fetch", "tworoom").sentence()
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_TOKEN", "tökén")
    assert "check HF_TOKEN" in lewm_here(home, "fetch", "tworoom").sentence()


def test_captive_portal_is_recognized(home: Path, standins: Standins):
    portal = Answer(200, {"Content-Type": "text/html"}, b"<html>Please log in</html>")
    standins.hub.always(portal)
    standins.hub.always(portal, method="HEAD")
    assert "log" in lewm_here(home, "fetch", "tworoom").sentence()
    assert names(home) == (set(), set())


# What is not what it says


def test_archive_that_leads_out_is_refused_and_the_next_one_is_taken(home: Path, standins: Standins, tmp_path: Path):
    evil = tmp_path / "evil.tar"
    evil.write_bytes(tarred({"../../escaped.h5": b"x"}))
    said = lewm_here(home, "fetch", "robot", "--dataset", "--source", evil).sentence()
    assert "escaped.h5" in said
    assert not list(tmp_path.rglob("escaped.h5"))
    assert names(home) == (set(), set())
    ok(lewm_here(home, "fetch", "robot", "--dataset", "--source", standins.recording))


def test_recording_without_our_columns_does_not_appear(home: Path, user: Path, tmp_path: Path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["x"] = [1, 2, 3]
    assert "'pixels'" in lewm_here(home, "fetch", "robot", "--dataset", "--source", path).sentence()
    assert names(home) == (set(), set())


def test_weights_that_cannot_be_read_do_not_appear(home: Path, standins: Standins, tmp_path: Path):
    path = tmp_path / "weights.pt"
    for content in (b"PK\x03\x04 nothing", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"):
        path.write_bytes(content)
        said = lewm_here(home, "fetch", "robot", "--checkpoint", "--source", path).sentence()
        assert names(home) == (set(), set())
    assert "what came as weights.pt of robot" in said
    assert "it is a Git LFS pointer" in said
    assert str(home) not in said  # where it lay for a moment


def test_run_of_the_user_is_never_replaced(home: Path, standins: Standins):
    own = home / RELEASED / "weights.pt"
    own.parent.mkdir(parents=True)
    shutil.copy(CHECKPOINTS / "jepa_tf4_object.ckpt", own)
    assert "though not by lewm fetch" in ok(lewm_here(home, "fetch", "tworoom", "--checkpoint")).err
    assert (
        "was not put there by lewm fetch" in lewm_here(home, "fetch", "tworoom", "--checkpoint", "--force").sentence()
    )
    assert own.read_bytes() == (CHECKPOINTS / "jepa_tf4_object.ckpt").read_bytes()


def test_folder_with_other_files_is_never_replaced(home: Path, standins: Standins):
    ok(lewm_here(home, "fetch", "tworoom", "--checkpoint"))
    notes = home / RELEASED / "notes.txt"
    notes.write_text("mine")
    said = lewm_here(home, "fetch", "tworoom", "--checkpoint", "--force").sentence()
    assert "holds other files too ('notes.txt')" in said
    notes.unlink()
    ok(lewm_here(home, "fetch", "tworoom", "--checkpoint", "--force"))


def test_link_to_weights_is_replaced_and_what_it_leads_to_stays(home: Path, standins: Standins, tmp_path: Path):
    ok(lewm_here(home, "fetch", "tworoom", "--checkpoint"))
    elsewhere = (home / RELEASED).rename(tmp_path / "elsewhere")
    (home / RELEASED).symlink_to(elsewhere)
    ok(lewm_here(home, "fetch", "tworoom", "--checkpoint", "--force"))
    assert not (home / RELEASED).is_symlink()
    assert (elsewhere / "weights.pt").read_bytes() == standins.weights["weights.pt"]


@pytest.mark.slow
def test_what_comes_meanwhile_is_not_replaced(home: Path, standins: Standins):
    standins.hub.script(Drip(4096, 0.05), on="cdn")
    with running(home, "fetch", "tworoom", "--dataset") as process:
        wait_until(lambda: any(home.rglob(".tworoom.tar.zst.part")), process)
        (home / "tworoom.h5").write_bytes(b"mine")
        done = ended(process)
    assert "has come there meanwhile" in done.sentence()
    assert (home / "tworoom.h5").read_bytes() == b"mine"


@pytest.mark.parametrize("layout", ["datasets", "checkpoints"])
def test_forced_fetch_replaces_what_is_found_first(home: Path, standins: Standins, layout: str):
    ok(lewm_here(home, "fetch", "tworoom"))
    (home / layout).mkdir()  # from now on new things go there
    files = home / "tworoom.h5", home / RELEASED / "weights.pt"
    before = [file.stat().st_ino for file in files]
    ok(lewm_here(home, "fetch", "tworoom", "--force"))
    # Each on its own: the number that one of them sets free may be given to the other.
    assert all(file.stat().st_ino != number for file, number in zip(files, before, strict=True))
    assert list((home / layout).iterdir()) == []


def test_forced_fetch_leaves_a_shared_home_alone(
    home: Path, standins: Standins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shared = tmp_path / "shared"
    ok(lewm_here(shared, "fetch", "tworoom"))
    before = {path: path.stat().st_ino for path in shared.rglob("*")}
    done = ok(lewm_here(shared, "fetch", "tworoom", "--force", "--home", home, "--json"))
    assert [one["path"] for one in done.json()["fetched"]] == [str(home / "tworoom.h5"), str(home / RELEASED)]
    assert {path: path.stat().st_ino for path in shared.rglob("*")} == before


# Interruptions


@pytest.mark.parametrize("moved", [False, True])
def test_origin_of_a_recording_holds_whenever_its_replacement_is_killed(
    home: Path, standins: Standins, monkeypatch: pytest.MonkeyPatch, moved: bool
):
    ok(lewm_here(home, "fetch", "tworoom", "--dataset", "--pack"))  # which is not as it was published
    put_last = install.put_last

    def killed(source: Path, target: Path) -> None:
        if moved:
            put_last(source, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(install, "put_last", killed)
        assert lewm_here(home, "fetch", "tworoom", "--dataset", "--force").code == 130
    assert (packing_of(open_dataset(home / "tworoom.h5", "tworoom")) is None) == moved
    ok(lewm_here(home, "verify", "tworoom"))
    ok(lewm_here(home, "fetch", "tworoom", "--dataset", "--force"))
    ok(lewm_here(home, "verify", "tworoom"))
    origin = Origin.read(home / "tworoom.origin.json")
    assert origin is not None
    assert len(origin.files) == 1


def test_leftovers_of_a_fetch_killed_after_its_last_rename_go(home: Path, standins: Standins):
    ok(lewm_here(home, "fetch", "tworoom", "--dataset"))
    stage, mark = home / ".fetching-tworoom.h5", home / ".fetched-tworoom.h5"
    stage.mkdir()
    (stage / standins.archive).write_bytes(standins.packed.content)
    ok(lewm_here(home, "fetch", "tworoom", "--dataset"))
    assert stage.exists()  # of a fetch with --force that was interrupted
    mark.touch()
    ok(lewm_here(home, "fetch", "tworoom", "--dataset"))
    assert not stage.exists()
    assert not mark.exists()


def test_room_of_what_was_unpacked_halfway_counts_as_free(
    home: Path, standins: Standins, monkeypatch: pytest.MonkeyPatch
):
    half = home / ".fetching-tworoom.h5" / "unpacked" / "tworoom.h5"
    half.parent.mkdir(parents=True)
    half.write_bytes(standins.recording.read_bytes()[:100_000])
    needed = len(standins.packed.content) + standins.recording.stat().st_size
    monkeypatch.setattr("lewm_cli.fetch.destinations.free_bytes", lambda folder: needed - 100_001)
    assert "needs" in lewm_here(home, "fetch", "tworoom", "--dataset").sentence()
    monkeypatch.setattr("lewm_cli.fetch.destinations.free_bytes", lambda folder: needed - 100_000)
    ok(lewm_here(home, "fetch", "tworoom", "--dataset"))


def test_room_of_half_a_download_counts_once(home: Path, standins: Standins, monkeypatch: pytest.MonkeyPatch):
    packed = standins.packed.content
    part = home / ".fetching-tworoom.h5" / f".{standins.archive}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(packed[:1000])
    needed = len(packed) - 1000 + standins.recording.stat().st_size
    monkeypatch.setattr("lewm_cli.fetch.destinations.free_bytes", lambda folder: needed - 1)
    assert "needs" in lewm_here(home, "fetch", "tworoom", "--dataset").sentence()
    monkeypatch.setattr("lewm_cli.fetch.destinations.free_bytes", lambda folder: needed)
    ok(lewm_here(home, "fetch", "tworoom", "--dataset"))


def test_cut_download_goes_on_in_the_next_command(home: Path, standins: Standins, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(download, "RetryPolicy", partial(RetryPolicy, pause=0.01))
    packed = standins.packed.content
    standins.hub.script(*[Cut(len(packed) // 3)] + [Cut(0)] * 40, on="cdn")
    said = lewm_here(home, "fetch", "tworoom", "--dataset").sentence()
    assert "the same command goes on from there" in said
    assert names(home) == (set(), set())
    standins.hub.behave()
    before = standins.hub.sent()
    done = ok(lewm_here(home, "fetch", "tworoom", "--dataset", "--json"))
    assert done.json()["fetched"][0]["transferred"] == len(packed) - len(packed) // 3
    assert standins.hub.sent() - before < len(packed)


@pytest.mark.slow
@pytest.mark.parametrize("stopped_by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_fetch_lists_nothing_and_goes_on(home: Path, standins: Standins, stopped_by: signal.Signals):
    standins.hub.script(Drip(64, 0.02), on="cdn")
    with running(home, "fetch", "tworoom", "--dataset") as process:
        wait_until(lambda: any(path.stat().st_size > 1000 for path in home.rglob(".tworoom.tar.zst.part")), process)
        process.send_signal(stopped_by)
        code = process.wait()
        said = process.stderr.read() if process.stderr else ""
    assert code == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[stopped_by]
    assert ("the same command goes on from there" in said) is (stopped_by is not signal.SIGKILL)
    assert names(home) == (set(), set())
    done = ok(lewm_here(home, "fetch", "tworoom", "--dataset", "--json"))
    assert 0 < done.json()["fetched"][0]["transferred"] < len(standins.packed.content)
    assert (home / "tworoom.h5").read_bytes() == standins.recording.read_bytes()


def kill_anywhere(home: Path, standins: Standins, kills: int) -> None:
    """Kill fetches at random moments of their whole way, and let the last one finish."""
    draw = random.Random(kills)
    longest = 0.2
    for _ in range(kills):
        standins.hub.requests.clear()
        with running(home, "fetch", "tworoom") as process:
            wait_until(lambda: standins.hub.requests, process)
            begun = time.monotonic()
            try:
                process.wait(draw.uniform(0, longest))
                longest = 1.2 * (time.monotonic() - begun)  # it came to its end: that is how long all of it takes
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                longest *= 1.3
        datasets, runs = names(home)
        assert datasets <= {"tworoom"}
        assert runs <= {RELEASED}
        assert not datasets or (home / "tworoom.h5").read_bytes() == standins.recording.read_bytes()
        assert ok(lewm_here(home, "verify"))
        if datasets and runs:
            shutil.rmtree(home)  # the next one has something to do
    ok(lewm_here(home, "fetch", "tworoom"))
    assert names(home) == ({"tworoom"}, {RELEASED})
    assert ok(lewm_here(home, "verify"))
    assert not list(home.rglob(".fetching-*"))


@pytest.mark.slow
def test_killed_anywhere_the_next_fetch_finishes(home: Path, large: Standins):
    kill_anywhere(home, large, 5)


@pytest.mark.soak
def test_killed_anywhere_many_times_the_next_fetch_finishes(home: Path, large: Standins):
    kill_anywhere(home, large, 60)


@pytest.mark.slow
def test_second_fetch_of_the_same_is_refused_while_the_first_runs(home: Path, standins: Standins):
    standins.hub.script(Drip(64, 0.05), on="cdn")
    with running(home, "fetch", "tworoom", "--dataset") as process:
        wait_until(lambda: any(home.rglob("*.part")), process)
        assert "another process is fetching tworoom.h5" in lewm_here(home, "fetch", "tworoom", "--dataset").sentence()
        process.send_signal(signal.SIGINT)
        process.wait()


def test_wrong_bytes_are_kept_by_nobody(home: Path, standins: Standins):
    standins.hub.always(Corrupt(10), on="cdn")
    said = lewm_here(home, "fetch", "tworoom", "--dataset").sentence()
    assert standins.packed.sha256 in said
    assert not list(home.rglob("*.part"))
    standins.hub.behave()
    ok(lewm_here(home, "fetch", "tworoom", "--dataset"))


@pytest.mark.slow
def test_without_a_terminal_progress_is_lines(home: Path, standins: Standins):
    done = ok(lewm(home, "fetch", "tworoom", "--dataset"))
    assert "downloading tworoom.tar.zst" in done.err
    assert "ETA" in done.err
    assert "\x1b" not in done.err
    quiet = ok(lewm_here(home, "fetch", "tworoom", "--dataset", "--force", "--quiet"))
    assert quiet.err == ""


# From nothing to a surprise


@pytest.mark.slow
def test_four_commands_in_an_empty_home(
    home: Path, standins: Standins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = tmp_path / "recorded"
    ok(lewm(made, "collect", "pusht", "--episodes", 12, "--seed", 0, "--name", "pusht/demos"))
    ok(lewm(made, "collect", "pusht", "--episodes", 2, "--seed", 1, "--name", "pusht/video"))
    Standins(standins.hub, standins.catalog, made / "pusht" / "demos.h5", "pusht_expert_train.h5.zst", "pusht")
    shutil.copy(made / "pusht" / "video.h5", tmp_path / "video.h5")
    monkeypatch.chdir(tmp_path)

    fetched = ok(lewm(home, *["fetch", "pusht"]))
    assert "next: lewm train pusht" in fetched.err
    trained = ok(lewm(home, *["train", "pusht", "--lambda", "0.09"], "--steps", 20))
    assert "dataset: pusht_expert_train" in trained.err
    evaluated = ok(lewm(home, *["eval", "pusht/lewm"], "--episodes", 4, "--json")).json()
    assert (evaluated["run"], evaluated["overall"]["success"]["trials"]) == ("pusht/lewm", 4)
    surprised = ok(lewm(home, *["surprise", "video.h5", "--json"])).json()
    assert surprised["run"] == "pusht/lewm"
    assert names(home) == ({"pusht_expert_train"}, {"pusht/lewm", "pusht/lewm-release"})
