"""`lewm plan`: actions from one image to another."""

from pathlib import Path
from typing import Annotated

from lewm_cli.cli import early, options
from lewm_cli.cli.options import option

EXAMPLES = options.examples(
    "lewm plan tworoom/delta --start now.png --goal goal.png",
    "lewm plan robot/lewm --start now.png --goal goal.png --output actions.npy",
    "lewm plan robot/lewm --start now.png --goal goal.jpg --solver cem-gd --plan-ms 50 --json",
)


def command(
    run: options.Run,
    start: Annotated[Path, option("What is seen now.", metavar="IMAGE")],
    goal: Annotated[Path, option("What should be seen.", metavar="IMAGE")],
    output: Annotated[
        Path | None, options.file("Save everything as .json, or the actions alone as .csv or .npy.")
    ] = None,
    seed: Annotated[int, option("Decides what the planner draws.", min=0, max=2**63 - 1)] = 42,
    solver: options.Solver = None,
    horizon: options.Horizon = None,
    history: options.History = None,
    bounds: options.Bounds = None,
    plan_ms: options.PlanMs = None,
    plan_flops: options.PlanFlops = None,
    plain: options.Plain = False,
    settings: options.Settings = None,
    stats_from: options.StatsFrom = None,
    sizes: options.Sizes = None,
    trust: options.Trust = False,
    device: options.Device = "auto",
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Plan from one image to another, and print the actions and what the model imagines of them.

    No simulator and no recording is needed. Actions are in the units of the recording that the run was trained on.
    Standing still and zero actions stand beside the plan, so that its cost means something.
    """
    where = early.find_home(home, runs=[run])
    from lewm_cli.flows.plan import plan_between
    from lewm_cli.report import Output, plan_tables
    from lewm_cli.store import ExternalWeights

    out = Output(as_json=json, quiet=quiet)
    layers = options.layers(
        settings,
        ("--solver", "planner.solver", solver),
        ("--horizon", "planner.horizon", horizon),
        ("--history", "planner.history", history),
        ("--bounds", "planner.bounds", bounds),
        ("--plan-ms", "planner.milliseconds", plan_ms),
        ("--plan-flops", "planner.flops", plan_flops),
    )
    plan = plan_between(
        where,
        run,
        start,
        goal,
        out.say,
        out.progress,
        settings=layers,
        seed=seed,
        output=output,
        plain=plain,
        device=device,
        external=ExternalWeights(stats_from, trust, sizes),
    )
    out.result(plan.model_dump(mode="json"), lambda: plan_tables(plan))
    if output:
        out.say(f"saved: {output}")
