"""LeRobot data sets of the Hub: from its cache, else from a server that answers like it; one camera only."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from hub_server import Answer, HubServer, ServedFile, ServedRepo
from huggingface_hub import constants

from lewm_cli.errors import LewmError, MissingError, UsageError
from lewm_cli.exchange.lerobot_source import lerobot_files, open_lerobot
from lewm_cli.exchange.source import Asked
from lewm_cli.fetch.hub_dataset import hub_dataset

pytest_plugins = ("hub_server",)

FIXTURES = Path(__file__).parents[1] / "fixtures"
NAME = "someone/pick"


def served(name: str) -> dict[str, ServedFile]:
    """The files of a fixture."""
    folder = FIXTURES / name
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): ServedFile(path.read_bytes()) for path in paths}


@pytest.fixture
def server(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """The Hub, with a data set of each version; its cache is empty."""
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    hub.add(ServedRepo(NAME, served("lerobot_v30"), kind="dataset", revisions=("v3.0",)))
    hub.add(ServedRepo("someone/older", served("lerobot_v21"), kind="dataset"))
    return hub


shown: list[int] = []


@contextmanager
def progress(label: str, total: int, unit: str) -> Iterator:
    shown[:] = [0, total]

    def advance(more: int) -> None:
        shown[0] += more

    yield advance


def got(repo: str = NAME, said: list[str] | None = None, camera: str | None = "top", *, download: bool = True) -> Path:
    """The folder of a data set, of which one camera is asked for."""
    wanted = partial(lerobot_files, name=repo, asked=Asked(camera=camera))
    say = (said if said is not None else []).append
    return hub_dataset(repo, wanted, say, progress, download=download)


@pytest.mark.parametrize(("repo", "files"), [(NAME, 2), ("someone/older", 6)])
def test_only_one_camera_is_downloaded_and_only_once(server: HubServer, repo: str, files: int):
    said: list[str] = []
    folder = got(repo, said)
    assert said == [f"downloading {files} files of {repo} from {server.url} to {constants.HF_HUB_CACHE}"]
    assert shown == [files, files]
    source = open_lerobot(folder, repo, Asked(camera="top"))
    assert source is not None
    assert [len(list(source.read(number).frames)) for number in range(3)] == [9, 5, 7]
    assert not server.seen(on="wrist")
    asked = len(server.requests)
    assert got(repo) == folder
    assert got(repo, download=False) == folder
    assert len(server.requests) == asked
    got(repo, camera="wrist")  # the tables are there already
    assert shown == [files // 2, files // 2]


def test_camera_has_to_be_chosen_before_anything_large_comes(server: HubServer):
    with pytest.raises(UsageError, match=r"has 2 cameras, observation\.images\.top \(64 x 48\)"):
        got(camera=None)
    assert not server.seen(on="resolve/main/data")
    assert not server.seen(on="videos")


def test_tag_of_a_version_that_is_read_comes_before_the_branch(server: HubServer):
    got()
    assert server.seen(on="/revision/v3.0")
    assert not server.seen(on="/revision/main")
    got("someone/older")
    assert server.seen(on="/revision/main")


def refused(repo: str = NAME, kind: type[LewmError] = LewmError, **kept: bool) -> str:
    with pytest.raises(kind) as raised:
        got(repo, **kept)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_hub_that_does_not_give_it_is_explained(server: HubServer, monkeypatch: pytest.MonkeyPatch):
    by_hand = f"hf download {NAME} --repo-type dataset"
    assert refused(download=False) == (
        f"{NAME} is not in the cache of the Hub, and a dry run downloads nothing; type: {by_hand}"
    )
    assert not server.requests
    assert "the Hub has no data set someone/else, or keeps it private" in refused("someone/else", MissingError)
    files = served("lerobot_v30")
    server.add(ServedRepo("someone/gated", files, kind="dataset", gated=True))
    terms = f"someone/gated is gated: accept its terms at {server.url}/datasets/someone/gated"
    assert terms in refused("someone/gated", MissingError)
    server.add(ServedRepo("someone/text", {"README.md": ServedFile(b"nothing")}, kind="dataset"))
    assert "someone/text on the Hub holds no meta/info.json" in refused("someone/text")
    del files["data/chunk-000/file-000.parquet"]
    server.add(ServedRepo("someone/half", files, kind="dataset"))
    assert "someone/half on the Hub lacks data/chunk-000/file-000.parquet" in refused("someone/half", MissingError)
    server.always(Answer(500), on="/api/datasets/")
    assert f"where there is a network: {by_hand}" in refused()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "cannot be asked (HF_HUB_OFFLINE is set)" in refused()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert f"where there is a network: {by_hand}" in refused()


def test_version_that_is_not_read_is_told_before_anything_large_comes(server: HubServer):
    files = served("lerobot_v21")
    files["meta/info.json"] = ServedFile(files["meta/info.json"].content.replace(b'"v2.1"', b'"v2.0"'))
    server.add(ServedRepo("someone/v20", files, kind="dataset"))
    assert "lerobot.datasets.v21.convert_dataset_v20_to_v21" in refused("someone/v20")
    assert not server.seen(on="parquet")
