"""`lewm probe`: physical quantities read out of latents."""

from typing import Annotated

import typer

from lewm_cli.cli import completion, early, options
from lewm_cli.errors import UsageError

EXAMPLES = options.examples(
    "lewm probe tworoom/delta",
    "lewm probe tworoom/delta --dataset tworoom/test --frames 20000",
    "lewm probe tworoom/delta --imagine 20",
    "lewm probe tworoom/delta --seeds 3 --train-frames 100,300,1000,3000",
    "lewm probe pusht/lewm --paper",
)

FRAMES = "numbers of frames like 100,300,1000"
FEWEST = 10
"""Training frames."""


def command(
    run: options.Run,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Where frames come from.",
            show_default="episodes the run held out",
            autocompletion=completion.names(completion.recordings),
        ),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=100, help="Frames drawn; all there are if fewer.", show_default="10000")
    ] = None,
    imagine: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="H",
            help="Model steps imagined with the recorded actions and probed; 0 for none.",
            show_default="10, fewer if episodes are short",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the draw, the split and the probes.")] = 0,
    seeds: Annotated[
        int, typer.Option(min=1, help="Split and fit anew with so many seeds; the mean and the range are shown.")
    ] = 1,
    train_frames: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...", help="Fit to so many frames too: how many are needed?", show_default="all of them alone"
        ),
    ] = None,
    paper: Annotated[bool, typer.Option("--paper", help="Print the paper's scores beside those of the run.")] = False,
    stats_from: options.StatsFrom = None,
    sizes: options.Sizes = None,
    trust: options.Trust = False,
    device: options.Device = "auto",
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Read physical quantities out of frozen latents with a linear and an MLP probe.

    Beside the model: its last steps together, its encoder alone, an untrained model, principal components of raw
    pixels, and shuffled labels. Training and test frames never share an episode. Then the model imagines recorded
    stretches with their actions: how far ahead is it better than saying that nothing changes?
    """
    counts = options.counts("--train-frames", train_frames, FRAMES) if train_frames else ()
    if counts and min(counts) < FEWEST:
        raise UsageError(f"--train-frames {train_frames!r} holds {min(counts)}; a probe needs at least {FEWEST} frames")
    where = early.find_home(home, runs=[run], datasets=[dataset])
    from lewm_cli.flows.probe import probe_run
    from lewm_cli.report import Output, probe_tables
    from lewm_cli.store import ExternalWeights

    output = Output(as_json=json, quiet=quiet)
    _, path = probe_run(
        where,
        run,
        output.say,
        output.progress,
        dataset=dataset,
        frames=frames,
        horizon=imagine,
        seed=seed,
        seeds=seeds,
        sizes=counts,
        paper=paper,
        device=device,
        external=ExternalWeights(stats_from, trust, sizes),
        show=lambda result: output.result(result.model_dump(mode="json"), lambda: probe_tables(result, paper=paper)),
    )
    output.say(f"stored: {path}")
