"""`lewm probe`: what the latents know."""

from typing import Annotated

import typer

from lewm_cli.cli import options

EXAMPLES = options.examples(
    "lewm probe tworoom/lewm",
    "lewm probe tworoom/lewm --dataset tworoom/test --frames 20000",
    "lewm probe tworoom/lewm --json",
)


def command(
    run: Annotated[str, typer.Argument(help="Run name, like tworoom/lewm.", show_default=False)],
    dataset: Annotated[
        str | None, typer.Option(help="Where frames come from.", show_default="episodes the run held out")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=100, help="Frames drawn; all there are if fewer.", show_default="10000")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the draw, the split and the probes.")] = 0,
    stats_from: options.StatsFrom = None,
    sizes: options.Sizes = None,
    trust: options.Trust = False,
    device: options.Device = "auto",
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Read physical quantities out of frozen latents with a linear and an MLP probe.

    Beside the model: an untrained encoder, principal components of raw pixels, and shuffled labels. Training and
    test frames never share an episode.
    """
    from lewm_cli.flows.probe import ProbeRequest, probe_run
    from lewm_cli.report import Output, probe_tables
    from lewm_cli.store import Foreign, Home

    output = Output(as_json=json, quiet=quiet)
    request = ProbeRequest(run, dataset, frames, seed, device, Foreign(stats_from, trust, sizes))
    probed = probe_run(Home.locate(home), request, output.say, output.progress)
    output.result(probed.result.model_dump(mode="json"), lambda: probe_tables(probed.result))
    output.say(f"stored: {probed.path}")
