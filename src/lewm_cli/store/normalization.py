"""Normalization of weights that do not carry it: computed once from a recording, and stored beside them."""

from collections.abc import Iterator
from typing import Literal

from pydantic import ValidationError

from lewm_cli.config import ActionStats, DatasetIdentity, Inputs, Section
from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError
from lewm_cli.store.home import Home
from lewm_cli.store.names import dataset_task, named_task
from lewm_cli.store.run_files import RunFiles
from lewm_cli.tasks import GENERIC


class StoredStatistics(Section):
    """The content of `<run>.stats.json`."""

    format: Literal[1] = 1
    weights_sha256: str
    dataset: DatasetIdentity
    inputs: Inputs

    @classmethod
    def compute(cls, name: str, dataset: Dataset, block_dim: int, weights_sha256: str) -> "StoredStatistics":
        """Fit them to the actions of a recording; the name of the run tells the task where the recording does not.

        Raises:
            LewmError: the model takes no whole number of such actions.
        """
        dims = dataset.actions.shape[1]
        if block_dim % dims:
            raise LewmError(
                f"{name} takes {block_dim} numbers per action block, which is no whole number of the {dims} action "
                f"dimensions of {dataset.name}; name the recording that it was trained on with --stats-from"
            )
        task = dataset_task(dataset)
        if task is GENERIC:
            task = named_task(name) or GENERIC
        inputs = Inputs(task=task.name, frameskip=block_dim // dims, actions=ActionStats.fit(dataset.actions))
        return cls(weights_sha256=weights_sha256, dataset=dataset.identity, inputs=inputs)


def stored_statistics(home: Home, name: str, files: RunFiles) -> Iterator[StoredStatistics]:
    """The statistics beside a run and in the home that takes the writes; first where they would be written now.

    Raises:
        LewmError: a file of them cannot be read.
    """
    places = (home.sidecar(name, files), files, RunFiles(home.new_run_stem(name)))
    for path in dict.fromkeys(place.statistics for place in places):
        try:
            yield StoredStatistics.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (ValidationError, UnicodeDecodeError, OSError) as error:
            raise LewmError(
                f"{path} holds no statistics that can be read; compute them again with: "
                f"lewm show {name} --stats-from DATASET"
            ) from error
