"""Checks a recording: schema, episodes, columns, and every frame."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from shlex import quote

from lewm_cli.data import HDF5Dataset, open_dataset
from lewm_cli.store.origin import dataset_origin
from lewm_cli.tasks import find_task
from lewm_cli.verify.check import DatasetCheck, Finding, guarded
from lewm_cli.verify.columns import action_findings, bookkeeping_findings, column_findings, rows_of_file
from lewm_cli.verify.decoding import FramesRead, frame_findings
from lewm_cli.verify.fetched import origin_findings

RowProgress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Enters a stage of so many rows, and yields what is told the number of rows done since the last call."""

FETCH_AGAIN = "fetch or record it again"


def check_dataset(name: str, path: Path, progress: RowProgress) -> DatasetCheck:
    """Check everything in a recording; damage is a finding, never an error.

    Args:
        name: as on the command line.
        path: the HDF5 file.
        progress: shows how the decoding gets on, which takes long.
    """
    opened: list[HDF5Dataset] = []

    def opening() -> tuple[Finding, ...]:
        opened.append(open_dataset(path, name))
        return ()

    findings = [*guarded(path.name, opening, FETCH_AGAIN)]
    what = f"{quote(name)} --dataset"
    findings += guarded("its origin", lambda: origin_findings(dataset_origin(path), what), FETCH_AGAIN)
    if not opened:
        return DatasetCheck(name=name, path=path, findings=tuple(findings))
    dataset = opened[0]
    again = _again(dataset)
    read = FramesRead()

    def frames() -> Iterator[Finding]:
        with progress(rows_of_file(dataset)) as advance:
            yield from frame_findings(dataset, advance, read)

    findings += guarded("ep_len and ep_offset", lambda: bookkeeping_findings(dataset), again)
    findings += guarded("action", lambda: action_findings(dataset), again)
    findings += guarded("a column", lambda: column_findings(dataset), again)
    findings += guarded("pixels", frames, again)
    return DatasetCheck(
        name=name,
        path=path,
        findings=tuple(findings),
        episodes=dataset.episodes,
        rows=dataset.rows,
        decoded=read.decoded,
        checksums=read.checksums,
    )


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
