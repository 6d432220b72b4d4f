"""`lewm import` takes a data set of the Hub by its id; the server that answers is a stand-in."""

from pathlib import Path

import pytest
from hub_server import HubServer
from test_hub_dataset import NAME, server  # noqa: F401  (a fixture)

from commands import lewm_here

pytest_plugins = ("hub_server",)


@pytest.mark.usefixtures("server")
def test_data_set_of_the_hub_is_imported_by_its_id(tmp_path: Path, hub: HubServer):
    refused = lewm_here(tmp_path, "import", NAME, "--camera", "top", "--dry-run").sentence()
    assert "a dry run downloads nothing" in refused
    done = lewm_here(tmp_path, "import", NAME, "--camera", "top", "--workers", 1, "--json")
    assert done.code == 0, done.err
    assert f"downloading 2 files of {NAME} from {hub.url}" in done.err
    made = done.json()
    assert (made["name"], made["episodes"], made["rows"]) == (NAME, 3, 21)
    assert (made["imported"]["source"], made["imported"]["files"]) == (NAME, 5)
    assert lewm_here(tmp_path, "import", NAME, "--camera", "top", "--dry-run", "--json").json()["name"] == f"{NAME}-2"
    assert "there is no file or folder" in lewm_here(tmp_path, "import", "some/thing/else").sentence()
