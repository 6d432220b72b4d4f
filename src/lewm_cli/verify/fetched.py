"""Checks that fetched files still are what arrived."""

from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from urllib.parse import urlsplit

from lewm_cli.store import weights_digest
from lewm_cli.store.origin import Origin
from lewm_cli.verify.check import Finding, Problem


def origin_findings(path: Path, what: str) -> Iterator[Finding]:
    """Compare every file with the hash that it had when it arrived.

    Args:
        path: where the origin of a recording or of weights would be.
        what: how it is named after `lewm fetch`.
    """
    origin = Origin.read(path)
    if origin is None:
        return
    source = f" --source {quote(origin.source)}" if urlsplit(origin.source).scheme else ""
    again = f"fetch it again with: lewm fetch {what}{source} --force"
    for file in origin.files:
        there = path.parent / file.name
        if not there.is_file():
            yield Problem(f"{file.name}, which was fetched with it, is gone", again)
        elif there.stat().st_size != file.size:
            says = f"{file.name} has {there.stat().st_size:,} bytes, and had {file.size:,} when it was fetched"
            yield Problem(says, again)
        elif (digest := weights_digest(there)) != file.sha256:
            says = f"{file.name} is not what was fetched: sha256 {digest[:16]}..., and {file.sha256[:16]}... then"
            yield Problem(says, again)
