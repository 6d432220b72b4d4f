"""The normalization of weights that do not carry it themselves, stored beside them."""

from collections.abc import Iterator
from typing import Literal

from pydantic import ValidationError

from lewm_cli.config import DatasetIdentity, Inputs, Section
from lewm_cli.errors import LewmError
from lewm_cli.store.home import Home
from lewm_cli.store.run_files import RunFiles
from lewm_cli.suggestion import command


class StoredStatistics(Section):
    """The content of `<run>.stats.json`."""

    format: Literal[1] = 1
    weights_sha256: str
    dataset: DatasetIdentity
    inputs: Inputs


def stored_statistics(home: Home, name: str, files: RunFiles) -> Iterator[StoredStatistics]:
    """The statistics beside a run and in the home that takes the writes; first where they would be written now."""
    places = (home.sidecar(name, files), files, RunFiles(home.new_run_stem(name)))
    for path in dict.fromkeys(place.statistics for place in places):
        try:
            yield StoredStatistics.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (ValidationError, UnicodeDecodeError, OSError) as error:
            raise LewmError(
                f"{path} holds no statistics that can be read; compute them again with: "
                + command("show", name, "--stats-from", "DATASET")
            ) from error
