"""Recordings and weights: downloaded, unpacked, looked at, and only then renamed into place."""

import hashlib
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from lewm_cli import __version__
from lewm_cli.data import open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.fetch.download import Downloaded, download
from lewm_cli.fetch.remote import Remote
from lewm_cli.fetch.stage import ByteProgress, emptied, free_bytes, put, put_last, staged
from lewm_cli.fetch.unpack import UnpackedFile, unpack
from lewm_cli.fetch.wanted import CONFIG, WEIGHTS, Wanted
from lewm_cli.fetch.watching import Transfer
from lewm_cli.store import weights_digest
from lewm_cli.store.formats import read_checkpoint
from lewm_cli.store.load import Say
from lewm_cli.store.origin import IN_FOLDER, FetchedFile, Origin, dataset_origin

_CHECKPOINTS = (".pt", ".pth", ".ckpt", ".safetensors")
_RECORDINGS = (".h5", ".hdf5")

_SPARE = 1 << 28
"""Bytes of the disk that unpacking leaves free."""

_BESIDE = 1 << 24
"""Bytes that an archive may hold beside the recording: words about it."""

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Delivered:
    """What has arrived.

    Args:
        path: where it lies now.
        origin: where it came from, and its hashes.
        transferred: bytes that came from there this time.
        said: what is in it, in a few words.
    """

    path: Path
    origin: Origin
    transferred: int
    said: str


def kept_archive(wanted: Wanted, target: Path, progress: ByteProgress) -> Path | None:
    """The archive of a recording, if it lies beside it already: kept by an earlier fetch, or fetched by hand."""
    [file] = wanted.files
    path = target.with_name(PurePosixPath(file.name).name)
    if path == target or not path.is_file() or file.sha256 is None or path.stat().st_size != file.size:
        return None
    return path if _checked(path, progress).sha256 == file.sha256 else None


def deliver_dataset(
    wanted: Wanted,
    source: Remote | Path,
    target: Path,
    progress: ByteProgress,
    say: Say,
    *,
    keep_archive: bool,
    force: bool,
) -> Delivered:
    """Fetch a recording; until the last moment `target` is what it was.

    Args:
        wanted: what it is.
        source: where its one file is, or the archive that lies here already.
        target: the HDF5 file that it becomes.
        progress: shows how it gets on.
        say: told of pauses.
        keep_archive: leave the archive beside it.
        force: replace what is there.

    Raises:
        LewmError: in one sentence what went wrong; what was downloaded so far stays for the next attempt.
    """
    with staged(target) as stage:
        archive, published, transferred = _archive(wanted, source, stage, progress, say)
        folder = emptied(stage / "unpacked")
        recording = _recording(_unpack(archive, folder, wanted.unpacked, progress), target.name, archive.name)
        path = folder / recording.path
        dataset = open_dataset(path, wanted.name)
        arrived = FetchedFile(name=target.name, size=recording.size, sha256=recording.sha256)
        origin = _origin(source, wanted, (published,), (arrived,))
        if target.exists() and not force:
            raise LewmError(f"{target} has come there meanwhile; to have it replaced, add --force to the same command")
        if isinstance(source, Remote) and keep_archive and archive.name != target.name:
            put(archive, target.with_name(archive.name))
        # The recording last: without it, its origin says nothing to anybody.
        origin.write(dataset_origin(target))
        put_last(path, target)
    return Delivered(target, origin, transferred, f"{dataset.episodes:,} episodes, {dataset.rows:,} rows")


def deliver_weights(
    wanted: Wanted, sources: Sequence[Remote], target: Path, progress: ByteProgress, say: Say
) -> Delivered:
    """Fetch weights, read them strictly, and only then let them appear.

    Args:
        wanted: what they are.
        sources: their files, or an archive that holds them.
        target: the folder that they become.
        progress: shows how it gets on.
        say: told of pauses.

    Raises:
        LewmError: in one sentence what went wrong; what was downloaded so far stays for the next attempt.
    """
    with staged(target) as stage:
        inside, published, transferred = stage / "files", [], 0
        inside.mkdir(exist_ok=True)
        for source, file in zip(sources, wanted.files, strict=True):
            path = inside / PurePosixPath(file.name).name
            got = _download(source, path, progress, say)
            published.append(FetchedFile(name=path.name, size=got.size, sha256=got.sha256))
            transferred += got.transferred
        if len(sources) == 1 and not _is_checkpoint(path):
            inside = emptied(stage / "unpacked")
            _unpack(path, inside, None, progress)
        folder = emptied(stage / "folder")
        _gather(inside, folder)
        read = read_checkpoint(folder / WEIGHTS)
        arrived = tuple(
            FetchedFile(name=path.name, size=path.stat().st_size, sha256=weights_digest(path))
            for path in sorted(folder.iterdir())
        )
        origin = _origin(sources[0], wanted, tuple(published), arrived)
        origin.write(folder / IN_FOLDER)
        if target.exists() and Origin.read(target / IN_FOLDER) is None:
            raise LewmError(f"{target} has come there meanwhile, and not by lewm fetch, so it is not replaced; move it")
        put_last(folder, target)
    said = f"{len(read.state)}/{len(read.state)} tensors ({read.source})"
    return Delivered(target, origin, transferred, said)


def _archive(
    wanted: Wanted, source: Remote | Path, stage: Path, progress: ByteProgress, say: Say
) -> tuple[Path, FetchedFile, int]:
    """The published file on this disk, what it is, and how much of it came just now."""
    [file] = wanted.files
    if isinstance(source, Path):
        return source, FetchedFile(name=source.name, size=source.stat().st_size, sha256=str(file.sha256)), 0
    path = stage / PurePosixPath(file.name).name
    got = _download(source, path, progress, say)
    return path, FetchedFile(name=path.name, size=got.size, sha256=got.sha256), got.transferred


def _download(remote: Remote, path: Path, progress: ByteProgress, say: Say) -> Downloaded:
    """Fetch a file, unless an earlier attempt got all of it."""
    if path.is_file() and remote.sha256:
        there = _checked(path, progress)
        if there.sha256 == remote.sha256:
            return Downloaded(there.size, there.sha256, 0, None)
    with progress(f"downloading {path.name}") as begin:
        return download(
            remote,
            path,
            begin,
            rereading=begin,
            pausing=lambda pause: say(f"{path.name}: {pause.reason}; trying again in {pause.seconds:.0f} s"),
        )


def _unpack(archive: Path, folder: Path, size: int | None, progress: ByteProgress) -> tuple[UnpackedFile, ...]:
    limit = size + _BESIDE if size else max(0, free_bytes(folder) - _SPARE)
    with progress(f"unpacking {archive.name}") as begin:
        return unpack(archive, folder, limit=limit, advance=begin(Transfer(archive.stat().st_size, 0)))


def _recording(files: tuple[UnpackedFile, ...], name: str, archive: str) -> UnpackedFile:
    """The one recording among what was unpacked: of the name that it should have, or the only one."""
    recordings = [file for file in files if file.path.suffix in _RECORDINGS]
    named = [file for file in recordings if file.path.name == name]
    match named or recordings:
        case [one]:
            return one
        case []:
            there = ", ".join(str(file.path) for file in files[:5])
            raise LewmError(f"{archive} holds no HDF5 recording (there is {there}); name another place with --source")
        case several:
            names = ", ".join(str(file.path) for file in several[:5])
            raise LewmError(
                f"{archive} holds several recordings ({names}), and none is called {name}; unpack it by hand"
            )


def _gather(inside: Path, folder: Path) -> None:
    """The one checkpoint among files, and its configuration, under the names that they have on the Hub."""
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
    _link(weights[0], folder / WEIGHTS)
    if len(configs) == 1:
        _link(configs[0], folder / CONFIG)


def _is_checkpoint(path: Path) -> bool:
    # What torch writes is a zip archive, and some addresses end with no suffix.
    return path.name.endswith(_CHECKPOINTS) or zipfile.is_zipfile(path)


def _link(source: Path, target: Path) -> None:
    """The same file once more, so that a failure after this finds it still downloaded."""
    try:
        target.hardlink_to(source)
    except OSError:  # a disk without hard links
        shutil.copyfile(source, target)


def _checked(path: Path, progress: ByteProgress) -> FetchedFile:
    """A large file and its hash, which takes a while."""
    size, digest = path.stat().st_size, hashlib.sha256()
    with progress(f"checking {path.name}") as begin, path.open("rb") as file:
        advance = begin(Transfer(size, 0))
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            advance(len(chunk))
    return FetchedFile(name=path.name, size=size, sha256=digest.hexdigest())


def _origin(
    source: Remote | Path, wanted: Wanted, published: tuple[FetchedFile, ...], arrived: tuple[FetchedFile, ...]
) -> Origin:
    hub = wanted.published.hub
    return Origin(
        source=hub.repo if hub else wanted.place,
        revision=hub.revision if hub else None,
        published=published,
        files=arrived,
        fetched=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
    )
