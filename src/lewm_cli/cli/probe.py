"""`lewm probe`: physical quantities read out of latents."""

from typing import Annotated

from lewm_cli.cli import completion, early, options
from lewm_cli.cli.options import option
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
        str | None, option("Where frames come from.", "episodes the run held out", completion.recordings)
    ] = None,
    frames: Annotated[int | None, option("Frames drawn; all there are if fewer.", "10000", min=100)] = None,
    imagine: Annotated[
        int | None,
        option(
            "Model steps imagined with the recorded actions and probed; 0 for none.",
            "10, fewer if episodes are short",
            min=0,
            metavar="H",
        ),
    ] = None,
    seed: Annotated[int, option("Decides the draw, the split and the probes.", min=0)] = 0,
    seeds: Annotated[
        int, option("Split and fit anew with so many seeds; the mean and the range are shown.", min=1)
    ] = 1,
    train_frames: Annotated[
        str | None, option("Fit to so many frames too: how many are needed?", "all of them alone", metavar="N,N,...")
    ] = None,
    paper: Annotated[bool, option("Print the paper's scores beside those of the run.", name="--paper")] = False,
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
