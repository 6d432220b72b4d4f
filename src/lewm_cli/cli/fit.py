"""`lewm fit`: a small network on frozen latents."""

from typing import Annotated

from lewm_cli import suggestion
from lewm_cli.cli import completion, early, options
from lewm_cli.cli.options import option

EXAMPLES = options.examples(
    "lewm fit tworoom/delta",
    "lewm eval tworoom/delta --set planner.objective=reach",
    "lewm fit tworoom/delta --kind prior",
    "lewm eval tworoom/delta --set planner.prior=true",
    "lewm fit tworoom/delta --kind probe",
    "lewm fit tworoom/delta --kind decoder --steps 5000",
)


def command(
    run: options.Run,
    kind: Annotated[
        str,
        option(
            "reach: how many steps to the goal; prior: what to do next; probe: where things are; decoder: the frame.",
            complete=completion.words("reach", "prior", "probe", "decoder"),
            metavar="reach|prior|probe|decoder",
        ),
    ] = "reach",
    dataset: Annotated[
        str | None, option("The recording it was trained on.", "by the name it had then", completion.recordings)
    ] = None,
    seed: Annotated[int, option("Decides episodes, pairs and heads.", min=0)] = 0,
    steps: Annotated[int | None, option("Steps of the optimizer.", "2500; 2000 of a decoder", min=1)] = None,
    stats_from: options.StatsFrom = None,
    sizes: options.Sizes = None,
    trust: options.Trust = False,
    device: options.Device = "auto",
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fit a small head to frozen latents: plans are judged by it or begin at what it says, or frames are drawn.

    It is fitted to episodes that the run was trained on, and tested on those it held out. Beside the reachability
    head stand the same head with shuffled labels, which must tell nothing, and the latent distance.
    """
    where = early.find_home(home, runs=[run], datasets=[dataset])
    from lewm_cli.flows.fit import fit_head
    from lewm_cli.report import Output, head_tables
    from lewm_cli.store import ExternalWeights

    output = Output(as_json=json, quiet=quiet)
    fit, path = fit_head(
        where,
        run,
        kind,
        output.say,
        output.progress,
        steps=steps,
        dataset=dataset,
        seed=seed,
        device=device,
        external=ExternalWeights(stats_from, trust, sizes),
    )
    output.result(fit.model_dump(mode="json"), lambda: head_tables(fit))
    output.say(f"stored: {path}")
    output.say(f"next: {_next(kind, fit.run)}")


def _next(kind: str, run: str) -> str:
    match kind:
        case "decoder":
            return suggestion.command("decode", run)
        case "prior":
            return suggestion.command("eval", run, "--set", "planner.prior=true")
        case _:
            return suggestion.command("eval", run, "--set", f"planner.objective={kind}")
