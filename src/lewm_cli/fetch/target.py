"""Finds what is to be fetched, from what was typed, and its name in the home."""

from dataclasses import dataclass

from lewm_cli.errors import LewmError, MissingError, UsageError
from lewm_cli.fetch.catalog import (
    OURS,
    Entry,
    HubPlace,
    Published,
    PublishedFile,
    find_entry,
    missing_entry,
)
from lewm_cli.fetch.hub import RepoType
from lewm_cli.fetch.sources import DRIVE, HUB, address, file_name

RELEASE = "-release"
"""Ends the names of fetched weights, so that they never take the name of a run."""

WEIGHTS, CONFIG = "weights.pt", "config.json"
"""The files in a folder of weights, as on the Hub."""


@dataclass(frozen=True)
class Target:
    """One recording, or the weights of one run, that can be fetched.

    Args:
        kind: dataset or model.
        entry: of the catalog, that it belongs to.
        name: in the home.
        published: where it is.
        files: what it is called there.
        unpacked: bytes of a recording at most, if known.
    """

    kind: RepoType
    entry: str
    name: str
    published: Published
    files: tuple[PublishedFile, ...]
    unpacked: int | None = None

    @property
    def size(self) -> int | None:
        """The bytes to download, if all of them are known."""
        sizes = [file.size for file in self.files]
        return sum(size for size in sizes if size) if all(sizes) else None

    @property
    def place(self) -> str:
        """The place where it is published, in a few words."""
        if self.published.hub:
            return f"Hub, {self.published.hub.repo}"
        return "Google Drive" if self.published.drive else str(self.published.url)


def find_targets(
    what: str,
    *,
    dataset: bool = False,
    checkpoint: bool = False,
    source: str | None = None,
    revision: str | None = None,
) -> tuple[Target, ...]:
    """Finds what was asked for: a recording, weights or both.

    Args:
        what: a task, an entry of the catalog, or one checkpoint of it, `pusht/lejepa`.
        dataset, checkpoint: only this; both if neither is given.
        source: hub, drive or an address; the first that the catalog knows if not given.
        revision: of the repositories; the catalog's if not given.

    Raises:
        UsageError: a name or an address that can mean nothing, or two things.
        MissingError: nothing of this name is published.
    """
    url = address(source) if source else None
    entry, method = _find_entry(what, url, dataset=dataset, checkpoint=checkpoint)
    only_dataset, only_checkpoint = dataset and not method, checkpoint or bool(method)
    both = only_dataset == only_checkpoint
    recording = entry.dataset if both or only_dataset else None
    weights = entry.checkpoints.get(method or "lewm") if both or only_checkpoint else None
    if recording is None and weights is None:
        kind = "checkpoint" if only_checkpoint else "dataset"
        raise MissingError(f"the catalog has no {kind} of {entry.name}; `lewm fetch --list` shows what there is")
    if recording and weights and url:
        raise UsageError(f"say what {source} is: add --dataset or --checkpoint")
    found = []
    if recording:
        published = _published(entry, recording, f"the recording of {entry.name}", source, revision)
        unpacked = None if revision else recording.unpacked
        files = _files((recording.file,), revision)
        found.append(Target("dataset", entry.name, recording.name, published, files, unpacked))
    if weights:
        published = _published(entry, weights, f"{weights.method} for {entry.name}", source, revision)
        files = weights.files
        if url and not url.endswith("/"):  # one of the files, or an archive that holds them
            name = file_name(url)
            files = (next((file for file in files if file.name == name), PublishedFile(name=name)),)
        name = f"{entry.name}/{method or 'lewm'}{RELEASE}"
        found.append(Target("model", entry.name, name, published, _files(files, revision)))
    return tuple(found)


def _find_entry(what: str, url: str | None, *, dataset: bool, checkpoint: bool) -> tuple[Entry, str | None]:
    """Finds the entry, and the one checkpoint of it that was named."""
    entry = find_entry(what)
    if entry:
        return entry, None
    above, _, last = what.rpartition("/")
    entry = find_entry(above) if above else None
    if entry and dataset:
        raise UsageError(f"{what} is a checkpoint; leave out --dataset")
    if entry:
        method = "lewm" if last in OURS else last.removesuffix(RELEASE)
        if method in entry.checkpoints:
            return entry, method
        known = ", ".join(f"{entry.name}/{name}" for name in entry.checkpoints)
        raise MissingError(f"the catalog has no {what}; there is {known or 'no checkpoint'}")
    if not url:
        raise missing_entry(what)
    if dataset == checkpoint:
        raise UsageError(f"{what!r} is not in the catalog; say what it is: add --dataset or --checkpoint")
    return _unlisted(what, url, dataset=dataset), None


def _unlisted(name: str, url: str, *, dataset: bool) -> Entry:
    """Makes an entry of an address that no catalog knows; what it gives can only be taken as it comes."""
    folder = url.endswith("/")
    if folder and dataset:
        raise UsageError(f"{url} is a folder; name the file in it")
    files = [PublishedFile(name=one) for one in ((CONFIG, WEIGHTS) if folder else (file_name(url),))]
    published: dict[str, object] = (
        {"dataset": {"name": name, "file": files[0], "url": url}}
        if dataset
        else {"checkpoints": {"lewm": {"method": "LeWM", "files": files, "url": url}}}
    )
    return Entry.build({"name": name, "origin": "--source", **published}, "the command line")


def _files(files: tuple[PublishedFile, ...], revision: str | None) -> tuple[PublishedFile, ...]:
    """Returns the files; of another revision than the catalog's, the names are all that is known."""
    return tuple(PublishedFile(name=file.name) for file in files) if revision else files


def _published(entry: Entry, release: Published, what: str, source: str | None, revision: str | None) -> Published:
    """Returns the place to take something from, at the revision that was asked for."""
    published = _place(entry, release, source)
    if published.unavailable and not revision:
        raise MissingError(f"{what} cannot be fetched: {published.unavailable}")
    if revision is None:
        return published
    if published.hub is None:
        raise UsageError("--revision is about repositories of the Hub; leave it out")
    return Published(hub=HubPlace(repo=published.hub.repo, revision=revision))


def _place(entry: Entry, release: Published, source: str | None) -> Published:
    """Returns the place that was typed, or what the catalog names first."""
    if source is None:
        return release
    if source == HUB:
        if release.hub:
            return Published(hub=release.hub)
        raise LewmError(f"the catalog knows nothing of {entry.name} on the Hub; leave out --source")
    if source == DRIVE:
        if release.drive:
            return Published(drive=release.drive)
        folder = entry.drive_folder
        known = f"; the authors' folder {folder} answers 404 since June 2026" if folder else ""
        raise MissingError(
            f"the catalog knows no file of {entry.name} on Google Drive{known}: leave out --source, or name a file "
            "with --source https://drive.google.com/file/d/IDENTIFIER"
        )
    return Published(url=address(source))
