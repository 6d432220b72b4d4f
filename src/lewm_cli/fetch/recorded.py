"""Compares what is published with what came from there before, where no catalog knows a hash."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from lewm_cli.errors import LewmError
from lewm_cli.fetch.destinations import PlannedFetch
from lewm_cli.fetch.remote import Remote
from lewm_cli.suggestion import command


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
