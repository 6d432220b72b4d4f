"""`lewm fit-cost`: a head on frozen latents, by which plans can be judged."""

from enum import StrEnum
from typing import Annotated

import typer

from lewm_cli.cli import options

EXAMPLES = options.examples(
    "lewm fit-cost tworoom/lewm",
    "lewm eval tworoom/lewm --set planner.objective=reach",
    "lewm fit-cost tworoom/lewm --kind probe",
    "lewm fit-cost tworoom/lewm --seed 1 --steps 5000 --json",
)


class Kind(StrEnum):
    """What a head tells."""

    reach = "reach"
    probe = "probe"


def command(
    run: Annotated[str, typer.Argument(help="Run name, like tworoom/lewm.", show_default=False)],
    kind: Annotated[
        Kind, typer.Option(help="reach: how many steps to the goal; probe: where things are.")
    ] = Kind.reach,
    dataset: Annotated[
        str | None, typer.Option(help="The recording it was trained on.", show_default="by the name it had then")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides episodes, pairs and heads.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimizer.")] = 2500,
    stats_from: options.StatsFrom = None,
    sizes: options.Sizes = None,
    trust: options.Trust = False,
    device: options.Device = "auto",
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fit a small head to frozen latents, so that plans can be judged by it instead of by latent distance.

    It is fitted to episodes that the run was trained on, and tested on those it held out. Beside the reachability
    head stand the same head with shuffled labels, which must tell nothing, and the latent distance.
    """
    from lewm_cli.flows.fit_cost import FitCostRequest, fit_cost
    from lewm_cli.report import Output, head_tables
    from lewm_cli.store import Foreign, Home

    output = Output(as_json=json, quiet=quiet)
    request = FitCostRequest(run, kind.value, dataset, seed, steps, device, Foreign(stats_from, trust, sizes))
    fitted = fit_cost(Home.locate(home), request, output.say, output.progress)
    output.result(fitted.fit.model_dump(mode="json"), lambda: head_tables(fitted.fit))
    output.say(f"stored: {fitted.path}")
    output.say(f"next: lewm eval {fitted.fit.run} --set planner.objective={kind.value}")
