"""Fetch what is published: settle what, and where from, before the first byte; then one thing after the other."""

from collections.abc import Callable

from lewm_cli.errors import StoppedError, signal_of
from lewm_cli.fetch import (
    ByteProgress,
    FetchRequest,
    check_space,
    clear_finished,
    deliver_dataset,
    deliver_weights,
    kept_archive,
    plan_fetch,
    remotes,
)
from lewm_cli.report.fetching import Fetched
from lewm_cli.store import Home


def fetch(home: Home, request: FetchRequest, say: Callable[[str], None], progress: ByteProgress) -> tuple[Fetched, ...]:
    """Fetch everything that is asked for and not there.

    Args:
        home: where it goes.
        request: what is asked for.
        say: told what is found and done.
        progress: shows downloads and unpacking.

    Raises:
        UsageError: a name or an address that can mean nothing, or two things.
        MissingError: nothing of this name is published, or not any more.
        LewmError: in one sentence what went wrong; the same command goes on from there.
        StoppedError: Ctrl-C or SIGTERM.
    """
    try:
        return _fetch(home, request, say, progress)
    except (KeyboardInterrupt, StoppedError) as stopped:
        raise StoppedError(
            "stopped; what came so far is kept, and the same command goes on from there", signal_of(stopped)
        ) from stopped


def _fetch(
    home: Home, request: FetchRequest, say: Callable[[str], None], progress: ByteProgress
) -> tuple[Fetched, ...]:
    planned = plan_fetch(home, request)
    for one in planned:
        if one.there:
            by = "" if one.origin else ", though not by lewm fetch"
            say(f"{one.wanted.name} is there already{by} ({one.target}); --force fetches it again")
            clear_finished(one.target)
    missing = [one for one in planned if not one.there]
    recordings = [one for one in missing if one.wanted.kind == "dataset"]
    archives = {one: kept for one in recordings if (kept := kept_archive(one.wanted, one.target, progress))}
    check_space(missing, archives, keep=request.keep_archive)
    # All of them before the first byte: after hours of one download is no time to learn that the next is not there.
    sources = {
        one: remotes(one.wanted.published, one.wanted.files, one.wanted.kind) for one in missing if one not in archives
    }
    arrived = {}
    for one in missing:
        if one.wanted.kind == "model":
            came = deliver_weights(one.wanted, sources[one], one.target, progress, say)
        else:
            if one in archives:
                say(f"{archives[one]} is the published file: nothing has to be downloaded")
            came = deliver_dataset(
                one.wanted,
                archives.get(one) or sources[one][0],
                one.target,
                progress,
                say,
                keep_archive=request.keep_archive,
                force=request.force,
            )
        arrived[one] = Fetched(one, came)
    return tuple(arrived.get(one) or Fetched(one) for one in planned)
