"""`lewm import`: recordings of other tools."""

from typing import Annotated, Literal

from lewm_cli import suggestion
from lewm_cli.cli import completion, options
from lewm_cli.cli.options import argument, option
from lewm_cli.errors import UsageError
from lewm_cli.workers import available_cores

EXAMPLES = options.examples(
    "lewm import recordings/pick --camera front --dry-run",
    "lewm import recordings/pick --camera front --name robot/pick",
    "lewm import demos.hdf5 --camera agentview_image --fit pad --size 128",
    "lewm import flat.h5 --map pixels=obs/image --map action=act --episodes ep_id",
    "lewm import videos/ --box 80,0,480,480 --name robot/videos",
)

LAYOUT, FRAMES = "Layout", "Frames"


def command(
    source: Annotated[str, argument("A folder, a file, or the id of a data set on the Hub.")],
    name: Annotated[str | None, option("Name of the recording, like robot/pick.", "like the source")] = None,
    dry_run: Annotated[
        bool, option("Show what is in it and what would be done; write nothing.", name="--dry-run")
    ] = False,
    camera: Annotated[str | None, option("The one to take.", "the only one")] = None,
    action: Annotated[
        list[str] | None,
        option("Action dimensions to take, in this order; may be given several times.", "all", metavar="NAME,..."),
    ] = None,
    fit: Annotated[
        Literal["crop", "pad", "squash"], option("Take the middle square, add black, or press together.", panel=FRAMES)
    ] = "crop",
    box: Annotated[
        str | None, option("Pixels to cut out first.", "the whole frame", metavar="LEFT,TOP,WIDTH,HEIGHT", panel=FRAMES)
    ] = None,
    size: Annotated[
        int | None, option("Side of the frames in pixels.", "224, or less if they are", min=8, panel=FRAMES)
    ] = None,
    colors: Annotated[
        Literal["rgb", "bgr"], option("Whether red or blue comes first; no file tells.", panel=FRAMES)
    ] = "rgb",
    white: Annotated[
        int | None,
        option(
            "Value of white, like 65535 in frames of 16 bits.", "recognized if that is possible", min=1, panel=FRAMES
        ),
    ] = None,
    maps: Annotated[
        list[str] | None,
        option(
            "Where a column lies in a file with names of its own; may be given several times.",
            "as recognized",
            name="--map",
            metavar="NAME=PATH",
            panel=LAYOUT,
        ),
    ] = None,
    episodes: Annotated[
        str | None,
        option("The column or the flags that tell episodes apart.", "as recognized", metavar="COLUMN", panel=LAYOUT),
    ] = None,
    preset: Annotated[
        str | None,
        option(
            "Layout to read it as: robomimic, minari, aloha.",
            "recognized",
            completion.words("robomimic", "minari", "aloha"),
            panel=LAYOUT,
        ),
    ] = None,
    skip_damaged: Annotated[
        bool, option("Leave out episodes that cannot be read, instead of ending there.", name="--skip-damaged")
    ] = False,
    workers: Annotated[
        int, option("Processes that convert; does not change the content.", "all cores", min=1)
    ] = available_cores(),
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make a recording of what another tool has recorded: LeRobot, robomimic, ALOHA, Minari, D4RL, OGBench, videos.

    Its content says what a source is. Frames become square, actions and frames are aligned by their times, and every
    row says where it came from.

    The same command goes on where it was stopped.
    """
    from lewm_cli.exchange.source import Asked
    from lewm_cli.exchange.survey import AskedFrames
    from lewm_cli.flows.import_recording import ImportRequest, import_recording, plan_import
    from lewm_cli.report import Output, import_tables, import_tree, survey_tables, survey_tree
    from lewm_cli.store import Home

    output, where = Output(as_json=json, quiet=quiet), Home.locate(home)
    asked = Asked(camera, _names(action), _pairs(maps), episodes, preset)
    frames = AskedFrames(fit, _box(box), size, colors, white)
    request = ImportRequest(source, asked, name, frames, skip_damaged)
    if dry_run:
        planned, found = plan_import(where, request, output.say, output.progress)
        output.result(survey_tree(found, planned), lambda: survey_tables(found, planned))
        return
    dataset, finished = import_recording(where, request, workers=workers, say=output.say, progress=output.progress)
    output.result(import_tree(dataset, finished), lambda: import_tables(dataset, finished))
    output.say(f"next: {suggestion.command('train', dataset.name)}")


def _names(typed: list[str] | None) -> tuple[str, ...]:
    return tuple(name for text in typed or () for name in text.split(",") if name)


def _pairs(typed: list[str] | None) -> dict[str, str]:
    pairs = [text.partition("=") for text in typed or ()]
    for name, mark, path in pairs:
        if not (name and mark and path):
            raise UsageError(f"--map {name + mark + path!r} is not of the form NAME=PATH, like pixels=obs/image")
    return {name: path for name, _, path in pairs}


def _box(typed: str | None):
    from lewm_cli.config import Box

    if typed is None:
        return None
    words = typed.split(",")
    if len(words) != 4 or not all(word.strip().isdecimal() for word in words):
        raise UsageError(f"--box {typed!r} is not of the form LEFT,TOP,WIDTH,HEIGHT in pixels, like 80,0,480,480")
    return Box.build(dict(zip(Box.model_fields, map(int, words), strict=True)), "--box")
