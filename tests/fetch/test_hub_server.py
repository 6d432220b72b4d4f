"""The loopback server is taken for the real ones by the clients that everybody uses."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from hub_server import Answer, HubServer, ServedFile, ServedRepo
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

pytest_plugins = ("hub_server",)

REPO = "someone/lewm"
WEIGHTS = ServedFile(bytes(range(256)) * 20)
CONFIG = ServedFile(b'{"_target_": "jepa.JEPA"}')


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[huggingface_hub.HfApi, HubServer]]:
    """The client of the Hub, and a hub of two repositories of one name, whose listings come in pages of two."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with HubServer(page=2) as hub:
        files = {"config.json": CONFIG, "weights.pt": WEIGHTS, "extra/a.txt": CONFIG, "extra/b.txt": CONFIG}
        hub.add(ServedRepo(REPO, files))
        hub.add(ServedRepo(REPO, {"data.tar.zst": WEIGHTS}, kind="dataset", revisions=("v1",)))
        hub.add(ServedRepo("someone/gated", files, gated=True))
        hub.add(ServedRepo("someone/private", files, token="hf_right"))
        yield huggingface_hub.HfApi(endpoint=hub.url, token=False), hub


def test_repository_is_described(api: tuple[huggingface_hub.HfApi, HubServer]):
    client, _ = api
    info = client.model_info(REPO, files_metadata=True)
    assert info.sha == ServedRepo(REPO, {}).commit
    found = {sibling.rfilename: sibling for sibling in info.siblings}
    assert found["weights.pt"].lfs.sha256 == WEIGHTS.sha256
    assert found["weights.pt"].size == len(WEIGHTS.content)
    assert found["config.json"].lfs is None
    assert found["config.json"].blob_id == CONFIG.blob
    assert [one.rfilename for one in client.dataset_info(REPO, revision="v1").siblings] == ["data.tar.zst"]


def test_tree_is_listed_page_by_page(api: tuple[huggingface_hub.HfApi, HubServer]):
    client, hub = api
    entries = list(client.list_repo_tree(REPO, recursive=True))
    assert [entry.path for entry in entries] == ["config.json", "extra", "extra/a.txt", "extra/b.txt", "weights.pt"]
    assert len(hub.seen("/tree/")) == 3
    assert [entry.path for entry in client.list_repo_tree(REPO)] == ["config.json", "extra", "weights.pt"]
    assert entries[-1].lfs.sha256 == WEIGHTS.sha256


@pytest.mark.parametrize(("path", "etag"), [("weights.pt", WEIGHTS.sha256), ("config.json", CONFIG.blob)])
def test_file_is_described_and_downloaded(
    api: tuple[huggingface_hub.HfApi, HubServer], tmp_path: Path, path: str, etag: str
):
    client, hub = api
    file = {"weights.pt": WEIGHTS, "config.json": CONFIG}[path]
    about = client.get_hf_file_metadata(url=f"{hub.url}/{REPO}/resolve/main/{path}")
    assert (about.etag, about.size) == (etag, len(file.content))
    assert about.commit_hash == ServedRepo(REPO, {}).commit
    assert Path(client.hf_hub_download(REPO, path, local_dir=tmp_path)).read_bytes() == file.content
    assert bool(hub.sent(on="/cdn/")) == (path == "weights.pt")


@pytest.mark.parametrize(
    ("repo", "path", "revision", "token", "raised"),
    [
        ("someone/none", "weights.pt", "main", False, RepositoryNotFoundError),
        ("someone/none", "weights.pt", "main", "hf_x", RepositoryNotFoundError),
        (REPO, "none.pt", "main", False, RemoteEntryNotFoundError),
        (REPO, "weights.pt", "v9", False, RevisionNotFoundError),
        ("someone/gated", "weights.pt", "main", False, GatedRepoError),
        ("someone/gated", "weights.pt", "main", "hf_x", GatedRepoError),
        ("someone/private", "weights.pt", "main", False, RepositoryNotFoundError),
        ("someone/private", "weights.pt", "main", "hf_x", HfHubHTTPError),
    ],
)
def test_refusals_are_understood(
    api: tuple[huggingface_hub.HfApi, HubServer],
    tmp_path: Path,
    repo: str,
    path: str,
    revision: str,
    token: str | bool,
    raised: type[Exception],
):
    client, _ = api
    with pytest.raises(raised):
        client.get_hf_file_metadata(url=f"{client.endpoint}/{repo}/resolve/{revision}/{path}", token=token)


def test_scripted_faults_are_used_up_in_order(hub: HubServer):
    url = hub.put("/f", b"content")
    hub.script(Answer(500), None, Answer(404), on="/f")
    statuses = []
    for _ in range(4):
        try:
            with urllib.request.urlopen(url) as answer:
                assert answer.read() == b"content"
                statuses.append(answer.status)
        except urllib.error.HTTPError as error:
            statuses.append(error.code)
    assert statuses == [500, 200, 404, 200] == [request.status for request in hub.requests]
    assert hub.sent() == 2 * len(b"content")
