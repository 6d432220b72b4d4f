"""`lewm improve`: a better planner for a run, its weights as they are."""

from typing import Annotated

import typer

from lewm_cli import suggestion
from lewm_cli.cli import completion, early, options
from lewm_cli.workers import available_cores

EXAMPLES = options.examples(
    "lewm improve tworoom/delta",
    "lewm improve tworoom/delta --dataset tworoom/test",
    "lewm improve tworoom/delta --validation tworoom/valid --dataset tworoom/test --episodes 200",
    "lewm improve pusht/lewm --offsets 25,50 --json",
    "lewm eval tworoom/delta --offsets 25,100 --plain",
)


def command(
    run: options.Run,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Where test pairs come from.",
            show_default="half of the episodes the run held out",
            autocompletion=completion.names(completion.recordings),
        ),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(
            metavar="RECORDING",
            help="Where pairs to choose by come from.",
            show_default="episodes the run held out",
            autocompletion=completion.names(completion.recordings),
        ),
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Test pairs of every distance.", show_default="100, or all there are")
    ] = None,
    offsets: Annotated[str, typer.Option(metavar="N,N,...", help="How far goals lie ahead.")] = "25,50,75,100",
    seed: Annotated[int, typer.Option(min=0, help="Decides halves, pairs and planning.")] = 42,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            help="Simulator processes; 1 for none. The result is the same.",
            show_default="all cores",
            rich_help_panel=options.RESULTS,
        ),
    ] = available_cores(),
    stats_from: options.StatsFrom = None,
    sizes: options.Sizes = None,
    trust: options.Trust = False,
    device: options.Device = "auto",
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Choose a better planner for a run, whose weights stay as they are, and measure the gain on other pairs.

    What may help is fitted where it is missing: a reachability head, a prior of recorded behavior, and anchors on
    recorded ways. All combinations are tried on held-out pairs, to rank recorded sequences too, then less effort. The
    choice is stored beside the run: eval, plan and Policy use it from then on, and --plain takes the protocol's
    planner. Beside it stand the same planner with parts that know nothing, the prior alone, and random actions. After
    Ctrl-C the same command goes on.
    """
    ahead = options.counts("--offsets", offsets, "environment steps like 25,50,75,100")
    where = early.find_home(home, runs=[run], datasets=[dataset, validation])
    from lewm_cli.flows.improve import improve_run
    from lewm_cli.report import Output, improve_tables
    from lewm_cli.store import ExternalWeights

    output = Output(as_json=json, quiet=quiet)
    result, path = improve_run(
        where,
        run,
        output.say,
        output.progress,
        validation=validation,
        dataset=dataset,
        episodes=episodes,
        offsets=ahead,
        seed=seed,
        workers=workers,
        device=device,
        external=ExternalWeights(stats_from, trust, sizes),
    )
    output.result(result.model_dump(mode="json"), lambda: improve_tables(result))
    output.say(f"stored: {path}")
    if result.chosen:
        output.say(f"next: {suggestion.command('eval', result.run)}")
