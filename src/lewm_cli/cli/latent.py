"""`lewm latent`: what the latent space of a run looks like."""

from pathlib import Path
from typing import Annotated

from lewm_cli.cli import completion, early, options
from lewm_cli.cli.options import option

EXAMPLES = options.examples(
    "lewm latent tworoom/delta",
    "lewm latent tworoom/delta --dataset tworoom/test --plot latent.svg",
    "lewm latent pusht/lewm --frames 2000 --json",
)


def command(
    run: options.Run,
    dataset: Annotated[
        str | None, option("Where frames come from.", "episodes the run held out", completion.recordings)
    ] = None,
    frames: Annotated[
        int | None, option("Frames encoded, about, of whole episodes; all there are if fewer.", "5000", min=10)
    ] = None,
    seed: Annotated[int, option("Decides the draw and the untrained model.", min=0)] = 0,
    plot: Annotated[Path | None, option("Draw it into this SVG file.", "beside the result", metavar="FILE")] = None,
    stats_from: options.StatsFrom = None,
    sizes: options.Sizes = None,
    trust: options.Trust = False,
    device: options.Device = "auto",
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure the latent space: how many directions it uses, its shape, how straight the way through it is.

    And what near means there: latent distance against true distance, and the frames that a frame is nearest to. Beside
    the model stands an untrained one of the same sizes.
    """
    where = early.find_home(home, runs=[run], datasets=[dataset])
    from lewm_cli.flows.latent import latent_run
    from lewm_cli.report import Output, latent_tables
    from lewm_cli.store import ExternalWeights

    output = Output(as_json=json, quiet=quiet)
    _, path, drawn = latent_run(
        where,
        run,
        output.say,
        output.progress,
        dataset=dataset,
        frames=frames,
        seed=seed,
        device=device,
        plot=plot,
        external=ExternalWeights(stats_from, trust, sizes),
        show=lambda result: output.result(result.model_dump(mode="json"), lambda: latent_tables(result)),
    )
    output.say(f"stored: {path}")
    output.say(f"plot: {drawn}")
