"""Installs recordings and weights: downloaded, unpacked, checked, and only then renamed into place."""

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
from lewm_cli.fetch.destinations import PlannedFetch
from lewm_cli.fetch.download import Downloaded, download
from lewm_cli.fetch.remote import Remote
from lewm_cli.fetch.staging import emptied, free_bytes, put, put_last, staged
from lewm_cli.fetch.targets import CONFIG, WEIGHTS, Target
from lewm_cli.fetch.transfer import ByteProgress, Transfer
from lewm_cli.fetch.unpack import UnpackedFile, unpack
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
class Installed:
    """A target that is in the home.

    Args:
        planned: what it is, and where it lies.
        origin: where it came from, and its hashes; None if lewm did not fetch it.
        transferred: bytes that came from there this time.
        summary: what is in it, in a few words.
    """

    planned: PlannedFetch
    origin: Origin | None
    transferred: int
    summary: str


def kept_archive(planned: PlannedFetch, progress: ByteProgress) -> Path | None:
    """Finds the archive of a recording beside its place: kept by an earlier fetch, or fetched by hand."""
    [file] = planned.target.files
    path = planned.path.with_name(PurePosixPath(file.name).name)
    if path == planned.path or not path.is_file() or file.sha256 is None or path.stat().st_size != file.size:
        return None
    return path if _hashed(path, progress).sha256 == file.sha256 else None


def install_dataset(
    planned: PlannedFetch, source: Remote | Path, progress: ByteProgress, say: Say, *, keep_archive: bool
) -> Installed:
    """Fetches a recording; until the last moment its path is what it was.

    Args:
        planned: what it is, and the HDF5 file that it becomes.
        source: where its one file is, or the archive that lies here already.
        progress: shows downloads and unpacking.
        say: hears of pauses.
        keep_archive: leave the archive beside the recording.

    Raises:
        LewmError: in one sentence what went wrong; what was downloaded so far stays for the next attempt.
    """
    target, path = planned.target, planned.path
    with staged(path) as stage:
        archive, published, transferred = _archive(target, source, stage, progress, say)
        folder = emptied(stage / "unpacked")
        file = _recording(_unpack(archive, folder, target.unpacked, progress), path.name, archive.name)
        recording = folder / file.path
        dataset = open_dataset(recording, target.name)
        installed = FetchedFile(name=path.name, size=file.size, sha256=file.sha256)
        origin = _origin(target, (published,), (installed,))
        if path.exists() and not planned.replaces:
            raise LewmError(f"{path} has come there meanwhile; to have it replaced, add --force to the same command")
        if isinstance(source, Remote) and keep_archive and archive.name != path.name:
            put(archive, path.with_name(archive.name))
        # The recording last: without it, its origin says nothing to anybody.
        origin.write(dataset_origin(path))
        put_last(recording, path)
    return Installed(planned, origin, transferred, f"{dataset.episodes:,} episodes, {dataset.rows:,} rows")


def install_weights(planned: PlannedFetch, sources: Sequence[Remote], progress: ByteProgress, say: Say) -> Installed:
    """Fetches weights, reads them strictly, and only then lets them appear.

    Args:
        planned: what they are, and the folder that they become.
        sources: their files, or an archive that holds them.
        progress: shows downloads and unpacking.
        say: hears of pauses.

    Raises:
        LewmError: in one sentence what went wrong; what was downloaded so far stays for the next attempt.
    """
    target, path = planned.target, planned.path
    with staged(path) as stage:
        inside, published, transferred = stage / "files", [], 0
        inside.mkdir(exist_ok=True)
        for source, file in zip(sources, target.files, strict=True):
            came = inside / PurePosixPath(file.name).name
            got = _download(source, came, progress, say)
            published.append(FetchedFile(name=came.name, size=got.size, sha256=got.sha256))
            transferred += got.transferred
        if len(sources) == 1 and not _is_checkpoint(came):
            inside = emptied(stage / "unpacked")
            _unpack(came, inside, None, progress)
        folder = emptied(stage / "folder")
        _gather(inside, folder)
        read = read_checkpoint(folder / WEIGHTS)
        files = tuple(
            FetchedFile(name=file.name, size=file.stat().st_size, sha256=weights_digest(file))
            for file in sorted(folder.iterdir())
        )
        origin = _origin(target, tuple(published), files)
        origin.write(folder / IN_FOLDER)
        if path.exists() and Origin.read(path / IN_FOLDER) is None:
            raise LewmError(f"{path} has come there meanwhile, and not by lewm fetch, so it is not replaced; move it")
        put_last(folder, path)
    summary = f"{len(read.state)}/{len(read.state)} tensors ({read.source})"
    return Installed(planned, origin, transferred, summary)


def _archive(
    target: Target, source: Remote | Path, stage: Path, progress: ByteProgress, say: Say
) -> tuple[Path, FetchedFile, int]:
    """Returns the published file on this disk, its hash, and how many bytes of it came just now."""
    [file] = target.files
    if isinstance(source, Path):
        return source, FetchedFile(name=source.name, size=source.stat().st_size, sha256=str(file.sha256)), 0
    path = stage / PurePosixPath(file.name).name
    got = _download(source, path, progress, say)
    return path, FetchedFile(name=path.name, size=got.size, sha256=got.sha256), got.transferred


def _download(remote: Remote, path: Path, progress: ByteProgress, say: Say) -> Downloaded:
    """Downloads a file, unless an earlier attempt got all of it."""
    if path.is_file() and remote.sha256:
        there = _hashed(path, progress)
        if there.sha256 == remote.sha256:
            return Downloaded(there.size, there.sha256, 0)
    with progress(f"downloading {path.name}") as begin:
        return download(
            remote,
            path,
            begin,
            rereading=begin,
            pausing=lambda reason, seconds: say(f"{path.name}: {reason}; trying again in {seconds:.0f} s"),
        )


def _unpack(archive: Path, folder: Path, size: int | None, progress: ByteProgress) -> tuple[UnpackedFile, ...]:
    limit = size + _BESIDE if size else max(0, free_bytes(folder) - _SPARE)
    with progress(f"unpacking {archive.name}") as begin:
        return unpack(archive, folder, limit=limit, advance=begin(Transfer(archive.stat().st_size, 0)))


def _recording(files: tuple[UnpackedFile, ...], name: str, archive: str) -> UnpackedFile:
    """Picks the one recording of what was unpacked: of the name that it should have, or the only one."""
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
    _link(weights[0], folder / WEIGHTS)
    if len(configs) == 1:
        _link(configs[0], folder / CONFIG)


def _is_checkpoint(path: Path) -> bool:
    # What torch writes is a zip archive, and some addresses end with no suffix.
    return path.name.endswith(_CHECKPOINTS) or zipfile.is_zipfile(path)


def _link(source: Path, target: Path) -> None:
    """Makes the same file once more, so that a failure after this finds it still downloaded."""
    try:
        target.hardlink_to(source)
    except OSError:  # a disk without hard links
        shutil.copyfile(source, target)


def _hashed(path: Path, progress: ByteProgress) -> FetchedFile:
    """Hashes a large file, which takes a while."""
    size, digest = path.stat().st_size, hashlib.sha256()
    with progress(f"checking {path.name}") as begin, path.open("rb") as file:
        advance = begin(Transfer(size, 0))
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            advance(len(chunk))
    return FetchedFile(name=path.name, size=size, sha256=digest.hexdigest())


def _origin(target: Target, published: tuple[FetchedFile, ...], files: tuple[FetchedFile, ...]) -> Origin:
    hub = target.published.hub
    return Origin(
        source=hub.repo if hub else target.place,
        revision=hub.revision if hub else None,
        published=published,
        files=files,
        fetched=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
    )
