"""`lewm eval`: success at reaching goals by planning."""

from pathlib import Path
from typing import Annotated

import typer

from lewm_cli.cli import options

EXAMPLES = options.examples(
    "lewm eval tworoom/lewm",
    "lewm eval tworoom/lewm --dataset tworoom/test --episodes 300",
    "lewm eval tworoom/lewm --episodes 10 --video videos",
    "lewm eval tworoom/lewm --protocol moderate --manifest pairs.json --seeds 3",
    "lewm eval tworoom/lewm --set planner.iterations=10 --json",
)


def command(
    run: Annotated[str, typer.Argument(help="Run name, like tworoom/lewm.", show_default=False)],
    episodes: Annotated[
        int | None,
        typer.Option(min=1, help="Start and goal pairs, one per recorded episode if enough.", show_default="50"),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Decides pairs and planning.", show_default="42")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Where pairs come from.", show_default="episodes the run held out")
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="heldout, release, paper, website, moderate or strict; `lewm presets` says what each is for.",
            show_default="heldout, or release where it is not known what was held out",
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Pairs to use; written if it does not exist.", show_default=False),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Plan for the same pairs with so many seeds.")] = 1,
    offsets: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", help="How far goals lie ahead, each evaluated.", show_default="25"),
    ] = None,
    exclude_solved: Annotated[
        bool, typer.Option("--exclude-solved", help="Leave starts that are already solved out of the headline.")
    ] = False,
    settings: options.Settings = None,
    video: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write an mp4 per pair, agent beside goal.", show_default=False)
    ] = None,
    films: Annotated[
        int, typer.Option(min=0, help="Pairs kept as filmstrips for `lewm report`; one failure if there is one.")
    ] = 4,
    stats_from: options.StatsFrom = None,
    sizes: options.Sizes = None,
    trust: options.Trust = False,
    device: options.Device = "auto",
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Plan from recorded starts to recorded goals in the real simulator, and count.

    Start and goal are 25 environment steps apart in one episode; 50 steps are allowed. A random policy on the
    same pairs is the floor. The result is stored beside the run. --set changes what the protocol says.
    """
    from lewm_cli.config import Layer, parse_setting
    from lewm_cli.flows.evaluate import evaluate_run
    from lewm_cli.flows.planned import EvalRequest, parse_offsets
    from lewm_cli.report import Output, VideoFolder, success_tables
    from lewm_cli.store import Foreign, Home

    output = Output(as_json=json, quiet=quiet)
    layers = [parse_setting(setting) for setting in settings or []]
    if episodes is not None:
        layers.append(Layer("--episodes", {"pairs": episodes}))
    if seed is not None:
        layers.append(Layer("--seed", {"seed": seed}))
    if exclude_solved:
        layers.append(Layer("--exclude-solved", {"solved_starts": "exclude"}))
    request = EvalRequest(
        run,
        dataset,
        tuple(layers),
        device,
        films,
        Foreign(stats_from, trust, sizes),
        protocol=protocol,
        manifest=manifest,
        seeds=seeds,
        offsets=parse_offsets(offsets) if offsets else (),
    )
    evaluated = evaluate_run(
        Home.locate(home),
        request,
        say=output.say,
        progress=output.progress,
        video=VideoFolder(video, output.say) if video else None,
    )
    found = evaluated.series or evaluated.result
    output.result(found.model_dump(mode="json", by_alias=True), lambda: success_tables(found))
    output.say(f"stored: {evaluated.path}")
    if video:
        output.say(f"videos: {video}")
