"""Checks a recording: schema, episodes, columns, and every frame."""

from pathlib import Path
from shlex import quote

from lewm_cli.data import HDF5Dataset, open_dataset
from lewm_cli.store.origin import dataset_origin
from lewm_cli.tasks import find_task
from lewm_cli.verify.check import DatasetCheck, Finding, origin_findings
from lewm_cli.verify.columns import action_findings, bookkeeping_findings, column_findings
from lewm_cli.verify.decoding import RowProgress, frame_findings

FETCH_AGAIN = "fetch or record it again"


def check_dataset(name: str, path: Path, progress: RowProgress) -> DatasetCheck:
    """Check everything in a recording; damage is a finding, never an error.

    Args:
        name: as on the command line.
        path: the HDF5 file.
        progress: shows how the decoding gets on, which takes long.
    """
    check = DatasetCheck(name=name, path=path)
    opened: list[HDF5Dataset] = []

    def opening() -> tuple[Finding, ...]:
        opened.append(open_dataset(path, name))
        return ()

    check.look(path.name, opening, FETCH_AGAIN)
    what = f"{quote(name)} --dataset"
    check.look("its origin", lambda: origin_findings(dataset_origin(path), what), FETCH_AGAIN)
    if not opened:
        return check
    dataset = opened[0]
    check.episodes, check.rows = dataset.episodes, dataset.rows
    again = _again(dataset)
    check.look("ep_len and ep_offset", lambda: bookkeeping_findings(dataset), again)
    check.look("action", lambda: action_findings(dataset), again)
    check.look("a column", lambda: column_findings(dataset), again)
    check.look("pixels", lambda: frame_findings(dataset, progress, check), again)
    return check


def _again(dataset: HDF5Dataset) -> str:
    """The way to get a recording again; `lewm collect` makes the same once more, because the seed decides it."""
    task = find_task(dataset.task) if dataset.task else None
    with dataset.opened() as file:
        starts = file.attrs.get("starts")
    own = task is not None and dataset.policy == task.demonstrator and dataset.seed is not None
    if not own or task is None or starts not in ("any", "task") or dataset.name == str(dataset.path):
        return FETCH_AGAIN
    name = quote(dataset.name)
    return (
        f"record the same again: lewm rm --dataset {name} && lewm collect {task.name} "
        f"--episodes {dataset.episodes} --seed {dataset.seed} --name {name}"
        + (" --any-room" if starts == "any" else "")
    )
