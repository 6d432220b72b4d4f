"""`lewm export`: recordings for other tools."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from lewm_cli.cli import completion, early, options
from lewm_cli.cli.options import argument, option
from lewm_cli.errors import UsageError
from lewm_cli.workers import available_cores

EXAMPLES = options.examples(
    "lewm export pusht/demos --to lerobot",
    "lewm export pusht/demos --to lerobot --frames png --last-row drop",
    "lewm export robot/pick --to lerobot --codec h264 --quality 18 --output pick-h264",
    'lewm export robot/pick.h5 --to lerobot --fps 30 --camera front --task "pick up the cube"',
)

USUAL_QUALITY = 30


def command(
    dataset: Annotated[str, argument("Name of a recording, or an HDF5 file.", completion.recordings)],
    to: Annotated[Literal["lerobot"], option("The format.", name="--to")],
    output: Annotated[Path | None, options.file("The folder.", default="NAME-lerobot, here", metavar="FOLDER")] = None,
    frames: Annotated[
        Literal["video", "png"], option("Videos, or images in the tables, which lose nothing.")
    ] = "video",
    codec: Annotated[Literal["av1", "h264", "hevc"] | None, option("Of the videos.", "av1")] = None,
    quality: Annotated[
        int | None, option("Of the videos; 0 is best.", f"{USUAL_QUALITY}, as LeRobot", min=0, max=51, metavar="CRF")
    ] = None,
    camera: Annotated[str | None, option("Name of the frames.", "as imported, or camera")] = None,
    fps: Annotated[
        float | None, option("Frames per second.", "as recorded, or the simulator's", min=0.01, max=1000)
    ] = None,
    task: Annotated[
        str | None, option("What is done, in words.", "as recorded, or the task's name", metavar="TEXT")
    ] = None,
    last_row: Annotated[
        Literal["repeat", "drop"],
        option("Give the frame after the last action that action once more, or leave it out."),
    ] = "repeat",
    workers: Annotated[
        int, option("Processes that encode; does not change the content.", "all cores", min=1)
    ] = available_cores(),
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a recording as a folder that other tools read.

    lerobot: a LeRobot data set, version 3.0, with frames in videos or as images

    Nothing is overwritten; the folder appears when it is whole.
    """
    if frames == "png" and (codec or quality is not None):
        raise UsageError("--codec and --quality are about videos, and --frames png writes none; leave them out")
    where = early.find_home(home, datasets=[dataset])
    from lewm_cli.exchange.video_encoding import VideoCodec
    from lewm_cli.flows.export import ExportRequest, export
    from lewm_cli.report import Output, export_tables

    terminal = Output(as_json=json, quiet=quiet)
    request = ExportRequest(
        dataset=dataset,
        folder=output,
        camera=camera,
        fps=fps,
        task=task,
        codec=VideoCodec(codec or "av1") if frames == "video" else None,
        quality=USUAL_QUALITY if quality is None else quality,
        last_row=last_row,
    )
    exported = export(where, request, workers=workers, say=terminal.say, progress=terminal.progress)
    terminal.result(asdict(exported), lambda: export_tables(exported))
