"""`lewm eval`: success at reaching goals by planning."""

from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from lewm_cli import suggestion
from lewm_cli.cli import completion, early, options
from lewm_cli.cli.options import option
from lewm_cli.errors import UsageError
from lewm_cli.workers import available_cores

EXAMPLES = options.examples(
    "lewm eval tworoom/delta",
    "lewm eval tworoom/delta --protocol moderate --manifest pairs.json --seeds 3",
    "lewm eval tworoom/delta --dataset tworoom/test --references",
    "lewm eval tworoom/delta --goal-image goal.png --start-seed 3 --video videos",
    "lewm eval robot/lewm --dataset robot/test --episodes 300",
)

ABOUT_PAIRS = (
    *("episodes", "dataset", "protocol", "manifest", "seeds", "offsets", "exclude_solved"),
    *("actor", "references", "record", "workers", "resume"),
)
"""Options that --goal-image cannot use, which plans from a reset."""

SIMULATED = (
    *("protocol", "manifest", "seeds", "offsets", "exclude_solved", "actor", "references", "solver", "receding"),
    *("history", "plan_ms", "plan_flops", "plain", "video", "record", "workers", "resume", "goal_image", "start_seed"),
)
"""Options that mean nothing without a simulator."""

PAIRS, IMAGE, WITHOUT = "Pairs", "A goal image instead of pairs", "Without a simulator"
"""Groups of options."""


def command(
    context: typer.Context,
    run: options.Run,
    episodes: Annotated[
        int | None, option("Start and goal pairs, one per recorded episode if enough.", "50", min=1)
    ] = None,
    seed: Annotated[int | None, option("Decides pairs and planning.", "42", min=0)] = None,
    dataset: Annotated[
        str | None, option("Where pairs come from.", "episodes the run held out", completion.recordings)
    ] = None,
    protocol: Annotated[
        str | None,
        option(
            "heldout, release, paper, website, moderate or strict; `lewm presets` says what each is for.",
            "heldout, or release where it is not known what was held out",
            completion.protocols,
        ),
    ] = None,
    manifest: Annotated[Path | None, options.file("Pairs to use; written if it does not exist.", panel=PAIRS)] = None,
    seeds: Annotated[int, option("Plan for the same pairs with so many seeds.", min=1, panel=PAIRS)] = 1,
    offsets: Annotated[
        str | None, option("How far goals lie ahead, each evaluated.", "25", metavar="N,N,...", panel=PAIRS)
    ] = None,
    exclude_solved: Annotated[
        bool, option("Leave starts that are already solved out of the headline.", name="--exclude-solved", panel=PAIRS)
    ] = False,
    references: Annotated[
        bool,
        option(
            "Also: no action, and plans by the true simulator, to lay blame; slow.", name="--references", panel=PAIRS
        ),
    ] = False,
    actor: Annotated[
        str | None,
        option(
            "run, or prior: what `lewm fit --kind prior` made acts alone, without planning.",
            "run",
            completion.words("run", "prior"),
            panel=options.PLANNER,
        ),
    ] = None,
    solver: options.Solver = None,
    horizon: options.Horizon = None,
    receding: options.Receding = None,
    history: options.History = None,
    bounds: options.Bounds = None,
    plan_ms: options.PlanMs = None,
    plan_flops: options.PlanFlops = None,
    plain: options.Plain = False,
    settings: options.Settings = None,
    video: Annotated[
        Path | None, options.file("Write an mp4 per pair, agent beside goal.", metavar="DIR", panel=options.RESULTS)
    ] = None,
    record: Annotated[
        int,
        option(
            "Pairs whose plans are kept for `lewm view` and the report, a failure first if there is one.",
            min=0,
            panel=options.RESULTS,
        ),
    ] = 4,
    workers: Annotated[
        int,
        option("Simulator processes; 1 for none. The result is the same.", "all cores", min=1, panel=options.RESULTS),
    ] = available_cores(),
    resume: Annotated[
        bool,
        option(
            "Go on from the episodes that an interrupted evaluation has finished.",
            name="--resume",
            panel=options.RESULTS,
        ),
    ] = False,
    goal_image: Annotated[
        Path | None, options.file("Plan towards this image, from a reset; nothing is counted.", panel=IMAGE)
    ] = None,
    start_seed: Annotated[
        int | None, option("Decides the reset that --goal-image starts from.", "0", min=0, panel=IMAGE)
    ] = None,
    offline: Annotated[
        bool,
        option(
            "Measure on recorded episodes alone, as is done where the task has no simulator.",
            name="--offline",
            panel=WITHOUT,
        ),
    ] = False,
    stats_from: options.StatsFrom = None,
    sizes: options.Sizes = None,
    trust: options.Trust = False,
    device: options.Device = "auto",
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Go from recorded starts to recorded goals in the real simulator, and count.

    Start and goal are 25 environment steps apart in one episode; 50 steps are allowed. A random policy on the
    same pairs is the baseline. The result is stored beside the run. --set changes what the protocol says. A run
    that is a policy (gcbc) acts in one forward pass per step, and takes no option of the planner.

    Without a simulator, recorded episodes have to do: how far the model predicts better than standing still, how it
    ranks the recorded actions among random ones, and whether it finds the frame that they led to.
    """
    from lewm_cli.report import Output
    from lewm_cli.store import ExternalWeights

    output = Output(as_json=json, quiet=quiet)
    layers = options.layers(
        settings,
        ("--episodes", "pairs", episodes),
        ("--seed", "seed", seed),
        ("--exclude-solved", "solved_starts", "exclude" if exclude_solved else None),
        ("--actor", "actor", actor),
        ("--solver", "planner.solver", solver),
        ("--horizon", "planner.horizon", horizon),
        ("--receding", "planner.receding", receding),
        ("--history", "planner.history", history),
        ("--bounds", "planner.bounds", bounds),
        ("--plan-ms", "planner.milliseconds", plan_ms),
        ("--plan-flops", "planner.flops", plan_flops),
    )
    about_references = tuple(layer for layer in layers if "references" in layer.tree)
    if offline:
        _refuse(context, SIMULATED, "does not go with --offline, where nothing is simulated; leave out one of them")
    elif goal_image:
        _refuse(context, ABOUT_PAIRS, "does not go with --goal-image, which plans from a reset; leave out one of them")
    elif start_seed is not None:
        raise UsageError("--start-seed chooses the reset that --goal-image starts from; give --goal-image FILE too")
    elif about_references and not references:
        raise UsageError(f"{about_references[0].source} is about references, and there are none; add --references")
    ahead = options.counts("--offsets", offsets, "environment steps like 25,50,75,100") if offsets else ()
    where = early.find_home(home, runs=[run], datasets=[dataset])
    external = ExternalWeights(stats_from, trust, sizes)
    if offline or (not goal_image and early.lacks_simulator(where, run)):
        because = f"means nothing to {run}, whose task has no simulator; leave it out"
        _refuse(context, SIMULATED, because)
        early.check_offline(layers)
        from lewm_cli.flows.offline import evaluate_offline
        from lewm_cli.report import offline_tables

        _, path = evaluate_offline(
            where,
            run,
            output.say,
            output.progress,
            dataset=dataset,
            settings=layers,
            device=device,
            external=external,
            show=lambda result: output.result(result.model_dump(mode="json"), lambda: offline_tables(result)),
        )
        output.say(f"stored: {path}")
        return
    of_protocol = tuple(layer for layer in layers if layer not in about_references)
    if not goal_image:
        early.check_protocol(where, run, protocol, of_protocol, references=references)
    from lewm_cli.flows.evaluate import drive_run, evaluate_run
    from lewm_cli.flows.planned import EvalRequest
    from lewm_cli.report import VideoFolder, evaluation_tables, goal_image_tables

    videos = VideoFolder(video, output.say) if video else None
    if goal_image:
        driven = drive_run(
            where,
            run,
            goal_image,
            output.say,
            output.progress,
            start_seed=start_seed or 0,
            settings=layers,
            video=videos,
            plain=plain,
            device=device,
            external=external,
        )
        output.result(driven.model_dump(mode="json"), lambda: goal_image_tables(driven))
    else:
        request = EvalRequest(
            dataset=dataset,
            settings=of_protocol,
            protocol=protocol,
            manifest=manifest,
            seeds=seeds,
            offsets=ahead,
            references=about_references if references else None,
            resume=resume,
            plain=plain,
        )
        evaluated = evaluate_run(
            where,
            run,
            request,
            output.say,
            output.progress,
            record=record,
            video=videos,
            workers=workers,
            device=device,
            external=external,
        )
        results = [one.result for one in evaluated]
        trees = [result.model_dump(mode="json", by_alias=True) for result in results]
        output.result(trees if len(trees) > 1 else trees[0], lambda: evaluation_tables(results))
        for one in evaluated:
            output.say(f"stored: {one.path}")
            if one.films:
                look = suggestion.command("view", one.result.run)
                output.say(f"films: {one.films} ({decimal(one.films.stat().st_size)}); look at them: {look}")
    if video:
        output.say(f"videos: {video}")


def _refuse(context: typer.Context, names: tuple[str, ...], why: str) -> None:
    """Raises a UsageError if one of these options was typed."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name)
        if parameter.name in names and source and source.name == "COMMANDLINE":
            raise UsageError(f"{parameter.opts[0]} {why}")
