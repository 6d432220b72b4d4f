"""`lewm fetch`: released recordings and weights."""

import sys
from typing import Annotated

import typer

from lewm_cli import suggestion
from lewm_cli.cli import completion, options
from lewm_cli.cli.options import argument, option
from lewm_cli.workers import available_cores

EXAMPLES = options.examples(
    "lewm fetch --list",
    "lewm fetch pusht --pack",
    "lewm fetch tworoom --checkpoint",
    "lewm fetch pusht/dinowm",
    "lewm fetch cube --dataset --dry-run",
    "lewm fetch robot/pick --dataset --source https://example.org/pick.tar.zst",
)


SOURCE, FILES = "Source", "Files that are there"


def command(
    what: Annotated[
        str | None, argument("A task, or one checkpoint of it, like pusht/dinowm.", completion.published)
    ] = None,
    everything: Annotated[bool, option("Show the catalog; asks no network.", name="--list")] = False,
    dataset: Annotated[bool, option("The recording alone.", name="--dataset")] = False,
    checkpoint: Annotated[bool, option("The weights alone.", name="--checkpoint")] = False,
    source: Annotated[
        str | None,
        option(
            "Where from; a file here may go by its path.", "as the catalog says", metavar="hub|drive|URL", panel=SOURCE
        ),
    ] = None,
    revision: Annotated[str | None, option("Of the repository on the Hub.", "the catalog's", panel=SOURCE)] = None,
    dry_run: Annotated[bool, option("Show what would be done; asks no network.", name="--dry-run")] = False,
    force: Annotated[bool, option("Fetch again what is there.", name="--force", panel=FILES)] = False,
    keep_archive: Annotated[
        bool, option("Leave the archive beside what was unpacked from it.", name="--keep-archive", panel=FILES)
    ] = False,
    pack: Annotated[
        bool | None,
        option(
            "Pack the recording as lewm pack --replace does.",
            "asked on a terminal",
            name="--pack/--no-pack",
            panel=FILES,
        ),
    ] = None,
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fetch what the authors have released: resumed where it was cut, verified, unpacked, renamed into place last.

    Both the recording and the weights, unless one of them is asked for. The same command goes on where it was.

    HF_TOKEN, HF_ENDPOINT and HTTPS_PROXY are used as huggingface_hub uses them.
    """
    from lewm_cli.errors import UsageError
    from lewm_cli.fetch import read_catalog
    from lewm_cli.report import Output, fetching
    from lewm_cli.store import Home

    output = Output(as_json=json, quiet=quiet)
    if everything:
        entries = read_catalog()
        output.result(fetching.catalog_tree(entries), lambda: fetching.catalog_tables(entries))
        return
    if what is None:
        raise UsageError(
            f"say what to fetch, like {suggestion.command('fetch', 'pusht')}; "
            f"`{suggestion.command('fetch', '--list')}` shows what there is"
        )
    from lewm_cli.fetch import find_targets, plan_fetch

    targets = find_targets(what, dataset=dataset, checkpoint=checkpoint, source=source, revision=revision)
    where = Home.locate(home)
    planned = plan_fetch(where, targets, force=force)
    if dry_run:
        output.result(fetching.plan_tree(planned), lambda: fetching.plan_tables(planned))
        return
    recordings = [one.target.name for one in planned if one.target.kind == "dataset"]
    if pack and not recordings:
        raise UsageError("--pack is about recordings, and weights alone are fetched; leave it out")
    coming = [one.target.name for one in planned if one.target.name in recordings and not one.there]
    if pack is None and coming and not (json or quiet) and sys.stdin.isatty():
        # Before the download: nobody waits beside it for hours to answer.
        pack = typer.confirm(f"pack {suggestion.few(coming)} once fetched, to be read three times as fast?", err=True)
    from lewm_cli.flows.fetch import fetch, pack_fetched

    installed = fetch(planned, output.say, output.bytes, keep_archive=keep_archive)
    packed = pack_fetched(where, installed, output.say, output.progress, workers=available_cores()) if pack else ()
    output.result(fetching.fetched_tree(installed, packed), lambda: fetching.fetched_tables(installed, packed))
    for line in fetching.next_commands(installed):
        output.say(f"next: {line}")
