"""Fetches what is published: all sources are asked before the first byte, then comes one target after the other."""

from collections.abc import Sequence
from pathlib import Path

from lewm_cli.data import PackedRecording
from lewm_cli.fetch import (
    ByteProgress,
    Installed,
    PlannedFetch,
    as_recorded,
    check_space,
    clear_finished,
    find_archive,
    find_sources,
    install_dataset,
    install_weights,
)
from lewm_cli.fetch.target import WEIGHTS
from lewm_cli.files import try_writing
from lewm_cli.flows import Progress, stopped_with
from lewm_cli.flows.pack import pack
from lewm_cli.store import Home, Say


@stopped_with(lambda: "stopped; what came so far is kept, and the same command goes on from there")
def fetch(
    planned: Sequence[PlannedFetch], say: Say, progress: ByteProgress, *, keep_archive: bool
) -> tuple[Installed, ...]:
    """Fetches everything that is planned and not there, and keeps archives that were unpacked if asked to.

    Raises:
        MissingError: nothing of this name is published any more.
        LewmError: in one sentence what went wrong; the same command goes on from there.
        StoppedError: Ctrl-C or SIGTERM.
    """
    for one in planned:
        if one.there:
            by = "" if one.origin else ", though not by lewm fetch"
            say(f"{one.target.name} is there already{by} ({one.path}); --force fetches it again")
            clear_finished(one.path)
    missing = [one for one in planned if not one.there]
    for one in missing:
        try_writing(one.path if one.target.kind == "dataset" else one.path / WEIGHTS)
    recordings = [one for one in missing if one.target.kind == "dataset"]
    archives = {one: found for one in recordings if (found := find_archive(one, progress))}
    check_space(missing, archives, keep=keep_archive)
    # All of them before the first byte: after hours of one download is no time to learn that the next is not there.
    sources = {one: as_recorded(one, find_sources(one.target)) for one in missing if one not in archives}
    for one in missing:
        if note := one.target.published.note:
            say(f"note: {one.target.name}: {note}")
    installed = []
    for one in planned:
        if one.there:
            installed.append(Installed(one, one.origin, transferred=0, summary="there already"))
        elif one.target.kind == "model":
            installed.append(install_weights(one, sources[one], progress, say))
        else:
            if one in archives:
                say(f"{archives[one].path} is here already: nothing has to be downloaded")
            source = archives.get(one) or sources[one][0]
            assert not isinstance(source, Path), "it would be an archive"
            installed.append(install_dataset(one, source, progress, say, keep_archive=keep_archive))
    return tuple(installed)


def pack_fetched(
    home: Home, installed: Sequence[Installed], say: Say, progress: Progress, *, workers: int
) -> tuple[PackedRecording, ...]:
    """Packs the recordings that were fetched, each in its place.

    Raises:
        LewmError: as of `pack`; the recordings are there all the same.
        StoppedError: Ctrl-C or SIGTERM; the same goes on from there.
    """
    recordings = (one.planned for one in installed if one.planned.target.kind == "dataset")
    return tuple(
        pack(home, one.target.name, workers=workers, say=say, progress=progress, replace=True) for one in recordings
    )
