"""Installs recordings and weights: downloaded, unpacked, checked, and only then renamed into place."""

import hashlib
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from lewm_cli import __version__
from lewm_cli.data import open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.fetch.catalog import PublishedFile
from lewm_cli.fetch.destinations import PlannedFetch, emptied, free_bytes, put_last, staged
from lewm_cli.fetch.download import download
from lewm_cli.fetch.remote import ByteProgress, LocalFile, Remote, Transfer
from lewm_cli.fetch.sources import local_path
from lewm_cli.fetch.target import CONFIG, WEIGHTS, Target
from lewm_cli.fetch.unpack import HDF5_SUFFIXES, unpack
from lewm_cli.store import Say, method_of, weights_digest
from lewm_cli.store.formats import read_checkpoint
from lewm_cli.store.origin import IN_FOLDER, FetchedFile, Origin, dataset_origin
from lewm_cli.suggestion import command
from lewm_cli.system_errors import explain, explained

SPARE_BYTES, BESIDE_BYTES = 1 << 28, 1 << 24
"""Bytes of the disk that unpacking leaves free, and those that an archive may hold beside the recording."""


@dataclass(frozen=True)
class Installed:
    """A target that is in the home."""

    planned: PlannedFetch
    origin: Origin | None  # None if lewm did not fetch it
    transferred: int  # bytes that came this time
    summary: str  # what is in it, in a few words


def find_archive(planned: PlannedFetch, progress: ByteProgress) -> LocalFile | None:
    """Finds the archive of a recording on this disk: the one that its address names, or one beside its place.

    Raises:
        LewmError: the address names another file, or none.
    """
    [file] = planned.target.files
    if named := local_path(planned.target.published.url or ""):
        return _verified(named, file, progress)
    path = planned.path.with_name(PurePosixPath(file.name).name)  # kept by an earlier fetch, or put there by hand
    if path == planned.path or not path.is_file() or file.sha256 is None or path.stat().st_size != file.size:
        return None
    found = _hashed(path, progress)
    return found if found.sha256 == file.sha256 else None


def as_recorded(planned: PlannedFetch, sources: Sequence[Remote | Path]) -> tuple[Remote | Path, ...]:
    """The sources, each with the sha256 that was recorded when it was fetched before.

    Raises:
        LewmError: another file is published there now.
    """
    origin, hub = planned.origin, planned.target.published.hub
    if origin is None or hub is None or (origin.source, origin.revision) != (hub.repo, hub.revision):
        return tuple(sources)
    recorded = {file.name: file.sha256 for file in origin.published}
    found: list[Remote | Path] = []
    for file, source in zip(planned.target.files, sources, strict=True):
        sha256 = recorded.get(PurePosixPath(file.name).name)
        if sha256 is None or not isinstance(source, Remote):
            found.append(source)
            continue
        if source.sha256 not in (None, sha256):
            raise LewmError(
                f"{source.name} is another file than when it was first fetched: its sha256 is {source.sha256} now and "
                f"was {sha256}; nothing was replaced: to take the new one, remove the old: "
                f"{command('rm', planned.target.name)}"
            )
        found.append(replace(source, sha256=sha256))
    return tuple(found)


def install_dataset(
    planned: PlannedFetch, source: Remote | LocalFile, progress: ByteProgress, say: Say, *, keep_archive: bool
) -> Installed:
    """Fetches a recording from where its one file is; until the last moment its path is what it was.

    Raises:
        LewmError: in one sentence what went wrong; what was downloaded so far stays for the next attempt.
    """
    target, path = planned.target, planned.path
    with staged(path) as stage:
        archive = source
        if isinstance(archive, Remote):
            archive = _download(archive, stage / PurePosixPath(target.files[0].name).name, progress, say)
        folder = emptied(stage / "unpacked")
        file = _recording(_unpack(archive.path, folder, target.unpacked, progress), path.name, archive.path.name)
        dataset = open_dataset(folder / file.path, target.name)
        origin = _origin(target, [archive], [replace(file, path=path)])
        if path.exists() and not planned.replaces:
            raise LewmError(f"{path} has come there meanwhile; to have it replaced, add --force to the same command")
        if archive is not source and keep_archive and archive.path.name != path.name:
            with explained(path):
                archive.path.replace(path.with_name(archive.path.name))
        noted = dataset_origin(path)
        before = Origin.read(noted) if path.exists() else None
        # The origin first: without the recording it says nothing to anybody. Not beside a recording that has none.
        if before or not path.exists():
            origin.replacing(before).write(noted)
        put_last(folder / file.path, path)
        origin.write(noted)
    return Installed(planned, origin, archive.transferred, f"{dataset.episodes:,} episodes, {dataset.rows:,} rows")


def install_weights(
    planned: PlannedFetch, sources: Sequence[Remote | Path], progress: ByteProgress, say: Say
) -> Installed:
    """Fetches weights, or an archive that holds them, reads them strictly, and only then lets them appear.

    Raises:
        LewmError: in one sentence what went wrong; what was downloaded so far stays for the next attempt.
    """
    target, path = planned.target, planned.path
    with staged(path) as stage:
        inside = stage / "files"
        inside.mkdir(exist_ok=True)
        came = []
        for source, file in zip(sources, target.files, strict=True):
            to = inside / PurePosixPath(file.name).name
            if isinstance(source, Remote):
                came.append(_download(source, to, progress, say))
            else:
                came.append(replace(_verified(source, file, progress), path=to))
                shutil.copyfile(source, to)
        if len(came) == 1 and not _is_checkpoint(came[0].path):
            inside = emptied(stage / "unpacked")
            _unpack(came[0].path, inside, None, progress)
        folder = emptied(stage / "folder")
        _gather(inside, folder)
        try:
            read = read_checkpoint(folder / WEIGHTS)
        except LewmError as error:  # it names a file that goes away
            said = str(error).removeprefix(f"{folder / WEIGHTS}: ")
            raise LewmError(f"what came as {came[0].path.name} of {target.name}: {said}") from error
        files = [LocalFile(file, file.stat().st_size, weights_digest(file)) for file in sorted(folder.iterdir())]
        origin = _origin(target, came, files)
        unknown = [file.name for file in target.files if file.sha256 is None and file.name != CONFIG]
        if unknown and target.published.hub and planned.origin is None:
            say(
                f"{target.name}: the catalog has no hash of {unknown[0]}; that of what came is in {IN_FOLDER}, and "
                "lewm verify and later fetches compare with it"
            )
        origin.write(folder / IN_FOLDER)
        if path.exists() and Origin.read(path / IN_FOLDER) is None:
            raise LewmError(f"{path} has come there meanwhile, and not by lewm fetch, so it is not replaced; move it")
        put_last(folder, path)
    method = method_of(target.name, read.spec.method)
    summary = f"method {method}, {len(read.state)}/{len(read.state)} tensors ({read.source})"
    return Installed(planned, origin, sum(one.transferred for one in came), summary)


def _download(remote: Remote, path: Path, progress: ByteProgress, say: Say) -> LocalFile:
    """Downloads a file, unless an earlier attempt got all of it."""
    if path.is_file() and remote.sha256:
        there = _hashed(path, progress)
        if there.sha256 == remote.sha256:
            return there

    def pausing(reason: str, seconds: float) -> None:
        say(f"{path.name}: {reason}; trying again in {seconds:.0f} s")

    with progress(f"downloading {path.name}") as begin:
        return download(remote, path, begin, rereading=begin, pausing=pausing)


def _verified(path: Path, expected: PublishedFile, progress: ByteProgress) -> LocalFile:
    """Hashes a file of this machine that was named, and refuses another one than the catalog knows."""
    try:
        found = _hashed(path, progress)
    except OSError as error:
        raise explain(error, path, "read") from error
    if found.sha256 != (expected.sha256 or found.sha256):
        raise LewmError(
            f"{path} is not the file that the catalog knows: its sha256 is {found.sha256} instead of "
            f"{expected.sha256}; name another one with --source"
        )
    return found


def _hashed(path: Path, progress: ByteProgress) -> LocalFile:
    """Hashes a large file, which takes a while."""
    size, digest = path.stat().st_size, hashlib.sha256()
    with progress(f"checking {path.name}") as begin, path.open("rb") as file:
        advance = begin(Transfer(size, 0))
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            advance(len(chunk))
    return LocalFile(path, size, digest.hexdigest())


def _unpack(archive: Path, folder: Path, size: int | None, progress: ByteProgress) -> tuple[LocalFile, ...]:
    limit = size + BESIDE_BYTES if size else max(0, free_bytes(folder) - SPARE_BYTES)
    with progress(f"unpacking {archive.name}") as begin:
        return unpack(archive, folder, limit=limit, advance=begin(Transfer(archive.stat().st_size, 0)))


def _recording(files: tuple[LocalFile, ...], name: str, archive: str) -> LocalFile:
    """Picks the one recording of what was unpacked: of the name that it should have, or the only one."""
    recordings = [file for file in files if file.path.suffix in HDF5_SUFFIXES]
    found = [file for file in recordings if file.path.name == name] or recordings
    if len(found) == 1:
        return found[0]
    there = ", ".join(str(file.path) for file in (found or files)[:5])
    if not found:
        raise LewmError(f"{archive} holds no HDF5 recording (there is {there}); name another place with --source")
    raise LewmError(f"{archive} holds several recordings ({there}), and none is called {name}; unpack it by hand")


def _gather(inside: Path, folder: Path) -> None:
    """Links the one checkpoint among files, and its configuration, under the names that they have on the Hub."""
    files = sorted(path for path in inside.rglob("*") if path.is_file() and not path.name.startswith("."))
    found = [path for path in files if _is_checkpoint(path)]
    weights = (
        [path for path in found if path.name == WEIGHTS]
        or [path for path in found if path.name.endswith("_object.ckpt")]
        or found
    )
    if len(weights) != 1:
        names = ", ".join(path.name for path in weights[:5]) or "none"
        raise LewmError(f"one checkpoint was expected and {names} came; name one file with --source")
    configs = [path for path in files if path.name == CONFIG]
    for source, name in ((weights[0], WEIGHTS), *((path, CONFIG) for path in configs if len(configs) == 1)):
        # The same file once more, so that a failure after this finds it still downloaded.
        try:
            (folder / name).hardlink_to(source)
        except OSError:  # a disk without hard links
            shutil.copyfile(source, folder / name)


def _is_checkpoint(path: Path) -> bool:
    # What torch writes is a zip archive, and some addresses end with no suffix.
    return path.name.endswith((".pt", ".pth", ".ckpt", ".safetensors")) or zipfile.is_zipfile(path)


def _origin(target: Target, published: Sequence[LocalFile], files: Sequence[LocalFile]) -> Origin:
    hub = target.published.hub
    came, arrived = (
        tuple(FetchedFile(name=file.path.name, size=file.size, sha256=file.sha256) for file in some)
        for some in (published, files)
    )
    return Origin(
        source=hub.repo if hub else target.place,
        revision=hub.revision if hub else None,
        published=came,
        files=arrived,
        fetched=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
    )
