"""`lewm pack`: frames packed one chunk each, to be read at random."""

from dataclasses import asdict
from typing import Annotated, Literal

from lewm_cli import suggestion
from lewm_cli.cli import completion, early, options
from lewm_cli.cli.options import argument, option
from lewm_cli.workers import available_cores

EXAMPLES = options.examples(
    "lewm pack pusht_expert_train --replace",
    "lewm pack robot/pick",
    "lewm pack robot/pick --size 64 --name robot/pick-small",
    "lewm pack robot/pick.h5 --codec zstd",
)


def command(
    dataset: Annotated[str, argument("Name of a recording, or an HDF5 file.", completion.recordings)],
    size: Annotated[int | None, option("Side of the frames in pixels.", "as they are", min=8)] = None,
    codec: Annotated[Literal["lz4", "zstd"] | None, option("lz4 is read fastest, zstd may be smaller.", "lz4")] = None,
    name: Annotated[str | None, option("Name of the copy.", "DATASET-packed")] = None,
    replace: Annotated[
        bool, option("Put the copy in the place of the recording, once it is verified.", name="--replace")
    ] = False,
    workers: Annotated[int, option("Processes that pack.", "all cores", min=1)] = (available_cores()),
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Copy a recording so that each frame is read without its neighbors, which training does all the time.

    Nothing is lost: the copy is HDF5 in the same schema, and every frame is compared with the recording before the copy
    gets its name. With --size, frames are made smaller by averaging areas.

    The same command goes on where it was stopped.
    """
    where = early.find_home(home, datasets=[dataset])
    from lewm_cli.data import Codec
    from lewm_cli.flows.pack import pack
    from lewm_cli.report import Output, packed_tables
    from lewm_cli.tasks import GENERIC

    output = Output(as_json=json, quiet=quiet)
    packed = pack(
        where,
        dataset,
        workers=workers,
        say=output.say,
        progress=output.progress,
        size=size,
        codec=Codec(codec) if codec else None,
        name=name,
        replace=replace,
    )
    output.result(asdict(packed), lambda: packed_tables(packed))
    known = packed.task != GENERIC.name
    training = ("train", packed.task, "--dataset", packed.name) if known else ("train", packed.name)
    output.say(f"next: {suggestion.command(*training)}")
