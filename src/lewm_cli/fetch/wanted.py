"""From what was typed to what is to be fetched, under which name in the home."""

from dataclasses import dataclass

from lewm_cli.errors import LewmError, MissingError, UsageError
from lewm_cli.fetch.catalog import (
    OURS,
    CheckpointRelease,
    DatasetRelease,
    Entry,
    HubPlace,
    Published,
    PublishedFile,
    find_entry,
    missing_entry,
)
from lewm_cli.fetch.hub import Kind
from lewm_cli.fetch.sources import DRIVE, HUB, address, file_name

RELEASE = "-release"
"""Ends the names of fetched weights, so that they never take the name of a run."""

WEIGHTS, CONFIG = "weights.pt", "config.json"
"""What a folder of weights holds, as on the Hub."""


@dataclass(frozen=True)
class FetchRequest:
    """What was typed.

    Args:
        what: a task, an entry of the catalog, or one checkpoint of it, `pusht/lejepa`.
        dataset, checkpoint: fetch this; both if neither is given.
        source: hub, drive or an address; the first that the catalog knows if not given.
        revision: of the repositories; the catalog's if not given.
        force: fetch again what is there.
        keep_archive: do not remove an archive when it is unpacked.
    """

    what: str
    dataset: bool = False
    checkpoint: bool = False
    source: str | None = None
    revision: str | None = None
    force: bool = False
    keep_archive: bool = False


@dataclass(frozen=True)
class Wanted:
    """One thing to fetch.

    Args:
        kind: dataset or model.
        entry: of the catalog, that it belongs to.
        name: in the home.
        published: where it is.
        files: what it is called there.
        unpacked: bytes of a recording at most, if known.
    """

    kind: Kind
    entry: str
    name: str
    published: Published
    files: tuple[PublishedFile, ...]
    unpacked: int | None = None

    @property
    def size(self) -> int | None:
        """Bytes to download, if all of them are known."""
        sizes = [file.size for file in self.files]
        return sum(size for size in sizes if size) if all(sizes) else None

    @property
    def place(self) -> str:
        """Where it is, in a few words."""
        if self.published.hub:
            return f"Hub, {self.published.hub.repo}"
        return "Google Drive" if self.published.drive else str(self.published.url)


def what_is_wanted(request: FetchRequest) -> tuple[Wanted, ...]:
    """Everything that a request asks for, recordings first.

    Raises:
        UsageError: an address could mean the recording or the weights, or is none.
        MissingError: there is no such entry, or it is published nowhere.
    """
    entry, method = _entry(request)
    only_dataset, only_checkpoint = request.dataset and not method, request.checkpoint or bool(method)
    both = only_dataset == only_checkpoint
    dataset = entry.dataset if both or only_dataset else None
    checkpoint = entry.checkpoints.get(method or "lewm") if both or only_checkpoint else None
    if dataset is None and checkpoint is None:
        kind = "checkpoint" if only_checkpoint else "dataset"
        raise MissingError(f"the catalog has no {kind} of {entry.name}; `lewm fetch --list` shows what there is")
    if dataset and checkpoint and request.source and address(request.source):
        raise UsageError(f"say what {request.source} is: add --dataset or --checkpoint")
    found = []
    if dataset:
        found.append(_dataset(entry, dataset, request))
    if checkpoint:
        found.append(_checkpoint(entry, method or "lewm", checkpoint, request))
    return tuple(found)


def _entry(request: FetchRequest) -> tuple[Entry, str | None]:
    """The entry, and the one checkpoint of it that was named."""
    entry = find_entry(request.what)
    if entry:
        return entry, None
    above, _, last = request.what.rpartition("/")
    entry = find_entry(above) if above else None
    if entry and request.dataset:
        raise UsageError(f"{request.what} is a checkpoint; leave out --dataset")
    if entry:
        method = "lewm" if last in OURS else last.removesuffix(RELEASE)
        if method in entry.checkpoints:
            return entry, method
        known = ", ".join(f"{entry.name}/{name}" for name in entry.checkpoints)
        raise MissingError(f"the catalog has no {request.what}; there is {known or 'no checkpoint'}")
    if request.source and address(request.source):
        return _unlisted(request, str(address(request.source))), None
    raise missing_entry(request.what)


def _unlisted(request: FetchRequest, url: str) -> Entry:
    """What an address gives that no catalog knows; it can only be taken as it comes."""
    if request.dataset == request.checkpoint:
        raise UsageError(f"{request.what!r} is not in the catalog; say what it is: add --dataset or --checkpoint")
    names: tuple[str, ...] = (file_name(url),)
    if url.endswith("/"):
        if request.dataset:
            raise UsageError(f"{url} is a folder; name the file in it")
        names = (CONFIG, WEIGHTS)
    files = tuple(PublishedFile(name=name) for name in names)
    tree: dict[str, object] = {"name": request.what, "origin": "--source"}
    if request.dataset:
        tree["dataset"] = {"name": request.what, "file": files[0], "url": url}
    else:
        tree["checkpoints"] = {"lewm": {"method": "LeWM", "files": files, "url": url}}
    return Entry.build(tree, "the command line")


def _dataset(entry: Entry, release: DatasetRelease, request: FetchRequest) -> Wanted:
    published = _at_revision(_from(entry, release, request.source), request)
    if published.unavailable:
        raise MissingError(f"the recording of {entry.name} cannot be fetched: {published.unavailable}")
    files = (release.file,)
    if request.revision:  # what the catalog knows is another one
        return Wanted("dataset", entry.name, release.name, published, _names_alone(files))
    return Wanted("dataset", entry.name, release.name, published, files, release.unpacked)


def _checkpoint(entry: Entry, method: str, release: CheckpointRelease, request: FetchRequest) -> Wanted:
    published = _at_revision(_from(entry, release, request.source), request)
    if published.unavailable:
        raise MissingError(f"{release.method} for {entry.name} cannot be fetched: {published.unavailable}")
    files = release.files
    if request.source and published.url and not published.url.endswith("/"):
        name = file_name(published.url)
        files = (next((file for file in files if file.name == name), PublishedFile(name=name)),)
    if request.revision:
        files = _names_alone(files)
    return Wanted("model", entry.name, f"{entry.name}/{method}{RELEASE}", published, files)


def _names_alone(files: tuple[PublishedFile, ...]) -> tuple[PublishedFile, ...]:
    return tuple(PublishedFile(name=file.name) for file in files)


def _at_revision(published: Published, request: FetchRequest) -> Published:
    if request.revision is None:
        return published
    if published.hub is None:
        raise UsageError("--revision is about repositories of the Hub; leave it out")
    return Published(hub=HubPlace(repo=published.hub.repo, revision=request.revision))


def _from(entry: Entry, release: Published, source: str | None) -> Published:
    """Where something is taken from: what was typed, or what the catalog names first."""
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
