"""`lewm decode`: frames drawn from what a model imagines."""

from pathlib import Path
from typing import Annotated

from lewm_cli.cli import completion, early, options
from lewm_cli.cli.options import option

EXAMPLES = options.examples(
    "lewm decode tworoom/delta",
    "lewm decode tworoom/delta --dataset tworoom/test --horizon 15 --video films",
    "lewm decode tworoom/delta --plot imagined.png --json",
)


def command(
    run: options.Run,
    dataset: Annotated[
        str | None, option("Recording to imagine along.", "episodes the run held out", completion.recordings)
    ] = None,
    horizon: Annotated[
        int | None, option("Model steps imagined.", "10, or what half of the episodes allow", min=1)
    ] = None,
    episodes: Annotated[int, option("At most so many episodes.", min=1)] = 50,
    refit: Annotated[bool, option("Fit a decoder even if there is one.", name="--refit")] = False,
    seed: Annotated[int, option("Decides the draw, and the decoder if one is fitted.", min=0)] = 0,
    plot: Annotated[Path | None, options.file("Draw filmstrips into this PNG file.", "beside the result")] = None,
    video: Annotated[
        Path | None, options.file("Write an mp4 of every filmstrip into this folder.", metavar="DIR")
    ] = None,
    stats_from: options.StatsFrom = None,
    sizes: options.Sizes = None,
    trust: options.Trust = False,
    device: options.Device = "auto",
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw what a run imagines: from a few recorded frames on, by its own predictions and the actions taken.

    A decoder is fitted to frozen latents where there is none yet; the model learns nothing from it. Imagined frames
    stand beside the recorded ones, beside those decoded from their own latents (the decoder's limit), beside the last
    frame repeated and beside the mean frame.
    """
    where = early.find_home(home, runs=[run], datasets=[dataset])
    from lewm_cli.flows.decode import decode_run
    from lewm_cli.report import Output, decode_tables
    from lewm_cli.store import ExternalWeights

    output = Output(as_json=json, quiet=quiet)
    _, path, picture = decode_run(
        where,
        run,
        output.say,
        output.progress,
        dataset=dataset,
        horizon=horizon,
        episodes=episodes,
        refit=refit,
        seed=seed,
        device=device,
        plot=plot,
        video=video,
        external=ExternalWeights(stats_from, trust, sizes),
        show=lambda result: output.result(result.model_dump(mode="json"), lambda: decode_tables(result)),
    )
    output.say(f"stored: {path}")
    output.say(f"filmstrips: {picture}")
    if video:
        output.say(f"videos: {video}")
