"""Finds what is to be fetched, from what was typed, and its name in the home."""

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from lewm_cli.errors import LewmError, MissingError, UsageError
from lewm_cli.fetch.archive_checks import plain_name
from lewm_cli.fetch.catalog import Entry, HubPlace, Published, PublishedFile, read_catalog
from lewm_cli.store.formats.classes import STABLE_WORLDMODEL
from lewm_cli.store.names import LEWM_RELEASE, RELEASE
from lewm_cli.suggestion import command, offer

WEIGHTS, CONFIG = "weights.pt", "config.json"  # the files in a folder of weights, as on the Hub


@dataclass(frozen=True)
class Target:
    """One recording, or the weights of one run, that can be fetched."""

    kind: Literal["dataset", "model"]  # also of the repository on the Hub
    entry: str  # of the catalog, that it belongs to
    name: str  # in the home
    published: Published
    files: tuple[PublishedFile, ...]
    unpacked: int | None = None  # bytes of a recording at most, if known

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
    """Finds what was asked for: a recording, weights or, if neither is asked for alone, both.

    Args:
        what: a task, an entry of the catalog, or one checkpoint of it, `pusht/lejepa`.
        source: hub, drive or an address; the first that the catalog knows if not given.
        revision: of the repositories; the catalog's if not given.

    Raises:
        UsageError: a name or an address that can mean nothing, or two things.
        MissingError: nothing of this name is published.
    """
    url = _address(source) if source else None
    entry, method = _find_entry(what, url, dataset=dataset, checkpoint=checkpoint)
    checkpoint = checkpoint or bool(method)
    both = dataset == checkpoint
    recording = entry.dataset if both or dataset else None
    weights = entry.checkpoints.get(method or "lewm") if both or checkpoint else None
    if recording is None and weights is None:
        kind = "checkpoint" if checkpoint else "dataset"
        raise MissingError(
            f"the catalog has no {kind} of {entry.name}; `{command('fetch', '--list')}` shows what there is"
        )
    if recording and weights and url:
        raise UsageError(f"say what {source} is: add --dataset or --checkpoint")
    found = []
    if recording:
        published = _published(entry, recording, f"the recording of {entry.name}", source, url, revision)
        found.append(Target("dataset", entry.name, recording.name, published, (recording.file,), recording.unpacked))
    if weights:
        published = _published(entry, weights, f"{weights.method} for {entry.name}", source, url, revision)
        files = weights.files or (PublishedFile(name=CONFIG), PublishedFile(name=WEIGHTS))
        if url and not url.endswith("/"):  # one of the files, or an archive that holds them
            name = _file_name(url)
            files = (next((file for file in files if file.name == name), PublishedFile(name=name)),)
        name = f"{entry.name}/{method or 'lewm'}{RELEASE}"
        found.append(Target("model", entry.name, name, published, files))
    if revision:  # of another one than the catalog's, the names are all that is known
        found = [
            replace(target, files=tuple(PublishedFile(name=file.name) for file in target.files), unpacked=None)
            for target in found
        ]
    return tuple(found)


def _find_entry(what: str, url: str | None, *, dataset: bool, checkpoint: bool) -> tuple[Entry, str | None]:
    """Finds the entry, and the one checkpoint of it that was named."""
    catalog = read_catalog()
    if entry := _called(catalog, what):
        return entry, None
    above, _, last = what.rpartition("/")
    if entry := _called(catalog, above):
        if dataset:
            raise UsageError(f"{what} is a checkpoint; leave out --dataset")
        method = "lewm" if last in LEWM_RELEASE else last.removesuffix(RELEASE)
        if method in entry.checkpoints:
            return entry, method
        known = [f"{entry.name}/{name}" for name in entry.checkpoints]
        raise MissingError(f"the catalog has no {what}; {offer(what, known, command('fetch', '--list'))}")
    if not url:
        known = [word for entry in catalog for word in (entry.name, *entry.aliases)]
        raise MissingError(
            f"nothing called {what!r} is in the catalog; {offer(what, known, command('fetch', '--list'))}"
        )
    if dataset == checkpoint:
        raise UsageError(f"{what!r} is not in the catalog; say what it is: add --dataset or --checkpoint")
    # What an address gives that no catalog knows can only be taken as it comes.
    if dataset and url.endswith("/"):
        raise UsageError(f"{url} is a folder; name the file in it")
    released: dict[str, object] = {"dataset": {"name": what, "file": {"name": _file_name(url)}, "url": url}}
    if checkpoint:
        files = [{"name": CONFIG}, {"name": WEIGHTS}]
        released = {"checkpoints": {"lewm": {"method": "LeWM", "files": files, "url": url}}}
    return Entry.build({"name": what, "origin": "--source", **released}, "the command line"), None


def _called(catalog: tuple[Entry, ...], name: str) -> Entry | None:
    """Finds the entry with this name, or alias, or whose recording is called so."""
    exact = [entry for entry in catalog if name == entry.name]
    alias = [entry for entry in catalog if name in entry.aliases]
    holding = [entry for entry in catalog if entry.dataset and name == entry.dataset.name]
    return next(iter(exact + alias + holding), None)


def _published(
    entry: Entry, release: Published, what: str, source: str | None, url: str | None, revision: str | None
) -> Published:
    """Returns the place that was typed, or what the catalog names first, at the revision that was asked for."""
    if url:
        release = Published(url=url)
    elif source == "hub":
        if not release.hub:
            raise LewmError(f"the catalog knows nothing of {entry.name} on the Hub; leave out --source")
        release = Published(hub=release.hub, note=release.note)
    elif source == "drive":
        if not release.drive:
            folder = entry.drive_folder
            known = f"; the authors' folder {folder} answers 404 since June 2026" if folder else ""
            raise MissingError(
                f"the catalog knows no file of {entry.name} on Google Drive{known}: leave out --source, or name a file "
                "with --source https://drive.google.com/file/d/IDENTIFIER"
            )
        release = Published(drive=release.drive)
    if revision is None:
        if release.unavailable:
            ours = (f"{entry.name}/{name}" for name in STABLE_WORLDMODEL if entry.checkpoints.get(name) is release)
            there = "".join(f"; if you have its file: {command('fetch', name, '--source', 'FILE')}" for name in ours)
            raise MissingError(f"{what} cannot be fetched: {release.unavailable}{there}")
        return release
    if release.hub is None:
        raise UsageError("--revision is about repositories of the Hub; leave it out")
    return Published(hub=HubPlace(repo=release.hub.repo, revision=revision), note=release.note)


def _address(source: str) -> str | None:
    """Reads what was typed after --source as an address; a file here may go by its path; None for hub and drive."""
    if source in ("hub", "drive"):
        return None
    if urlsplit(source).scheme in ("http", "https", "file"):
        return source
    if Path(source).exists():
        return Path(source).absolute().as_uri() + ("/" if Path(source).is_dir() else "")
    raise UsageError(f"--source {source!r} is neither hub, drive, an http, https or file address, nor a file here")


def _file_name(url: str) -> str:
    """Names the file behind an address, as far as a file here may be called so."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return plain_name(name).lstrip(".")[-60:] or "download"
