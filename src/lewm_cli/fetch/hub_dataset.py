"""Gets a LeRobot data set from the Hub, into the cache there that other tools share: only the files that are needed."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

from huggingface_hub import constants, errors, hf_hub_download, snapshot_download
from huggingface_hub.utils.tqdm import disable_progress_bars

from lewm_cli import __version__
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.fetch.hub_errors import hub_explained
from lewm_cli.plural import counted
from lewm_cli.store import Say

REVISIONS = ("v3.0", "v2.1", "main")
"""The tags by which LeRobot marks versions that are read, and the branch of those without."""

DESCRIPTION = ("meta/*", "meta_data/*")
"""The files that say which others there are; the second, before version 2."""

AT_ONCE = 8
"""Files that are downloaded at the same time."""

Wanted = Callable[[Path], Iterable[Path]]
"""Names the files that are needed, by those in `meta` of a folder; raises MissingError where one of these lacks."""

Progress = Callable[[str, int, str], AbstractContextManager[Callable[[int], None]]]
"""Shows work of so many units, and gets how many more are done."""


def hub_dataset(repo: str, wanted: Wanted, say: Say, progress: Progress, *, download: bool = True) -> Path:
    """The folder with the files of a data set that are needed; no network is asked if the cache has them.

    Args:
        repo: owner and name.
        download: what is not in the cache.

    Raises:
        MissingError: the Hub has no such data set, keeps it from others, or lacks a file of it.
        LewmError: the Hub cannot be asked, the files may not be downloaded, or what `wanted` raises.
    """
    by_hand = f"hf download {repo} --repo-type dataset"
    with hub_explained(repo, "data set", by_hand, "name a folder that holds it"):
        for revision in REVISIONS:
            if there := _cached(repo, revision, wanted):
                return there
        if not download:
            raise LewmError(f"{repo} is not in the cache of the Hub, and a dry run downloads nothing; type: {by_hand}")
        disable_progress_bars()  # ours is shown
        folder = _described(repo)
        missing = [path.relative_to(folder).as_posix() for path in wanted(folder) if not path.exists()]
        say(
            f"downloading {counted(len(missing), 'file')} of {repo} from {constants.ENDPOINT} to "
            f"{constants.HF_HUB_CACHE}"
        )

        def download_file(name: str) -> None:
            commit = folder.name  # that of the description, whatever comes meanwhile
            try:
                hf_hub_download(
                    repo, name, repo_type="dataset", revision=commit, library_name="lewm", library_version=__version__
                )
            except errors.RemoteEntryNotFoundError as error:
                raise MissingError(f"{repo} on the Hub lacks {name}, which its meta names; ask its owner") from error

        with progress(f"downloading {repo}", len(missing), "files") as advance, ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(download_file, missing):
                advance(1)
        return folder


def _described(repo: str) -> Path:
    """Download the files that say which others there are, of the first of the revisions that there is."""
    for revision in REVISIONS:
        try:
            folder = Path(_snapshot(repo, revision, download=True))
        except errors.RevisionNotFoundError:
            continue
        if any(folder.glob("meta*/info.json")):
            return folder
    raise LewmError(f"{repo} on the Hub holds no meta/info.json, so it is no data set of LeRobot; name one that is")


def _cached(repo: str, revision: str, wanted: Wanted) -> Path | None:
    """The folder of a revision in the cache; None if it is not there, or something of it lacks."""
    try:
        folder = Path(_snapshot(repo, revision, download=False))
        return folder if all(path.exists() for path in wanted(folder)) else None
    except (errors.LocalEntryNotFoundError, MissingError):
        return None


def _snapshot(repo: str, revision: str, *, download: bool) -> str:
    return snapshot_download(
        repo,
        repo_type="dataset",
        revision=revision,
        allow_patterns=list(DESCRIPTION),
        local_files_only=not download,
        library_name="lewm",
        library_version=__version__,
    )
