"""`lewm surprise`: distance of every next latent from the predicted one."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lewm_cli.cli import completion, early, options
from lewm_cli.errors import UsageError

STREAM = "While frames are taken"

EXAMPLES = options.examples(
    "lewm surprise video.h5",
    "lewm surprise tworoom/test --run tworoom/delta --plot surprise.svg",
    "lewm surprise tworoom/test --perturb teleport --episodes 64",
    "lewm surprise pusht/test --perturb color --json",
    "lewm surprise clip.mp4 --actions actions.csv --run robot/lewm",
    "ffmpeg ... -f rawvideo -pix_fmt rgb24 - | lewm surprise - --size 640x480 --actions actions.csv --run robot/lewm",
    "lewm surprise frames --follow --actions - --run robot/lewm",
)


def command(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="RECORDING",
            help="A recording, by path or name; or a video; or - for frames on stdin.",
            show_default=False,
            autocompletion=completion.names(completion.recordings),
        ),
    ],
    actions: Annotated[
        Path | None, options.file("Actions at the frames of a video: CSV, npz, npy or Parquet, one row per frame.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            help="Run name.",
            show_default="newest run that fits the recording",
            autocompletion=completion.names(completion.runs),
        ),
    ] = None,
    perturb: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Stage a change: teleport or color.",
            show_default=False,
            autocompletion=completion.names(completion.perturbations),
        ),
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=2, help="At most so many episodes.", show_default="all; 32 if perturbed")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the changes and the untrained model.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw it into this SVG file.", show_default="beside the result")
    ] = None,
    stats_from: options.StatsFrom = None,
    sizes: options.Sizes = None,
    trust: options.Trust = False,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH",
            help="Size of raw rgb24 frames on stdin, where - stands for the recording.",
            show_default=False,
            rich_help_panel=STREAM,
        ),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="Wait for images in a folder, until a file called end comes or Ctrl-C.",
            rich_help_panel=STREAM,
        ),
    ] = False,
    device: options.Device = "auto",
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure how far every next latent lies from the predicted one.

    With --perturb, episodes are simulated again with the same actions, untouched and with a change in the middle that
    no action explains. Beside the model stand detectors that know less: an untrained model, the step between latents,
    the difference between frames.

    Where frames come one by one, one line of JSON is printed per model step, as it comes, and nothing is stored.
    """
    streamed = dataset == "-" or follow
    where = early.find_home(home, runs=[run], datasets=[] if streamed else [dataset])
    if streamed:
        recorded = {"--perturb": perturb, "--episodes": episodes, "--plot": plot}
        if wrong := next((option for option, value in recorded.items() if value), None):
            raise UsageError(f"{wrong} is for recordings; leave it out where frames come one by one")
        from lewm_cli.flows.stream import stream_surprise
        from lewm_cli.report import Output
        from lewm_cli.store import ExternalWeights

        output = Output(as_json=True, quiet=quiet)
        stream_surprise(
            where,
            dataset,
            output.say,
            lambda step: output.line(asdict(step)),
            actions=actions,
            run=run,
            size=size,
            device=device,
            external=ExternalWeights(stats_from, trust, sizes),
        )
        return
    if size is not None:
        raise UsageError(f"--size is for raw frames on stdin: lewm surprise - --size {size}; leave it out")
    from lewm_cli.flows.perturb import perturb_run
    from lewm_cli.flows.surprise import surprise_run
    from lewm_cli.report import Output, surprise_tables
    from lewm_cli.store import ExternalWeights

    output = Output(as_json=json, quiet=quiet)
    measure = partial(perturb_run, perturbation=perturb) if perturb else surprise_run
    _, path, drawn = measure(
        where,
        dataset,
        say=output.say,
        progress=output.progress,
        actions=actions,
        run=run,
        episodes=episodes,
        seed=seed,
        device=device,
        plot=plot,
        external=ExternalWeights(stats_from, trust, sizes),
        show=lambda result: output.result(result.model_dump(mode="json"), lambda: surprise_tables(result)),
    )
    output.say(f"stored: {path}")
    output.say(f"plot: {drawn}")
