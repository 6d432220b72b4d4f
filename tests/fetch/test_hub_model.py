"""`lewm train --encoder OWNER/MODEL`: from the cache of the Hub, else from a server that answers like the Hub."""

from pathlib import Path

import pytest
import torch
from hub_server import Answer, HubServer, ServedFile, ServedRepo
from huggingface_hub import constants
from safetensors.torch import load_file
from transformers import Dinov2Config, Dinov2Model

from commands import Done
from lewm_cli.fetch import hub_folder
from lewm_cli.store import read_card

pytest_plugins = ("hub_server", "looking", "recordings")

MODEL = "someone/dinov2-tiny"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ServedFile]:
    """Those of a small DINOv2."""
    folder = tmp_path_factory.mktemp("dinov2")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    Dinov2Model(Dinov2Config(**sizes, image_size=12, patch_size=4)).save_pretrained(folder)
    return {path.name: ServedFile(path.read_bytes()) for path in folder.iterdir()}


@pytest.fixture
def server(hub: HubServer, files: dict[str, ServedFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """The Hub, with a model; its cache is empty."""
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    hub.add(ServedRepo(MODEL, files))
    return hub


@pytest.mark.slow
def test_model_is_downloaded_once(robot: Path, look, server: HubServer):
    dry = look(robot, "--encoder", MODEL, "--dry-run")
    assert f"a dry run downloads nothing; type: hf download {MODEL}" in dry.sentence()
    assert server.requests == []
    done = look(robot, "--encoder", MODEL)
    assert done.code == 0, done.err
    assert f"downloading {MODEL} from {server.url}" in done.err
    encoder = read_card(robot / "robot" / "looking.safetensors").model.encoder
    assert (encoder.source, encoder.grid, encoder.width) == (MODEL, 3, 8)
    asked = len(server.requests)
    assert look(robot, "--encoder", MODEL, "--dry-run").code == 0
    assert len(server.requests) == asked


def test_older_weights_are_a_pickle(tmp_path: Path, files: dict[str, ServedFile], server: HubServer):
    (tmp_path / "model.safetensors").write_bytes(files["model.safetensors"].content)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    older = {"pytorch_model.bin": ServedFile((tmp_path / "pytorch_model.bin").read_bytes())}
    server.add(ServedRepo("someone/older", {"config.json": files["config.json"], **older}))
    folder = hub_folder("someone/older", print)
    assert {path.name for path in folder.iterdir()} == {"config.json", "pytorch_model.bin"}
    assert hub_folder("someone/older", print, download=False) == folder


def refused(robot: Path, look, name: str = MODEL) -> str:
    done: Done = look(robot, "--encoder", name)
    assert not (robot / "robot" / "looking.run").exists()
    return done.sentence()


def test_hub_that_does_not_give_it_is_explained(
    robot: Path, look, server: HubServer, files: dict[str, ServedFile], monkeypatch: pytest.MonkeyPatch
):
    assert "the Hub has no model someone/else, or keeps it private" in refused(robot, look, "someone/else")
    server.add(ServedRepo("someone/gated", files, gated=True))
    assert "a..b/c was not downloaded" in refused(robot, look, "a..b/c")
    assert "someone/gated is gated: accept its terms at" in refused(robot, look, "someone/gated")
    server.add(ServedRepo("someone/empty", {"README.md": ServedFile(b"nothing")}))
    assert "someone/empty on the Hub holds no config.json" in refused(robot, look, "someone/empty")
    server.add(ServedRepo("someone/bare", {"config.json": files["config.json"]}))
    assert "holds no weights that are read here (model.safetensors or" in refused(robot, look, "someone/bare")
    by_hand = f"where there is a network: hf download {MODEL} config.json model.safetensors"
    server.script(Answer(500), on="config.json", method="HEAD")
    assert by_hand in refused(robot, look)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "cannot be asked (HF_HUB_OFFLINE is set)" in refused(robot, look)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    )
    assert by_hand in refused(robot, look)
