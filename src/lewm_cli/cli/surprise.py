"""`lewm surprise`: distance of every next latent from the predicted one."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from lewm_cli.cli import completion, early, options
from lewm_cli.errors import UsageError

EXAMPLES = options.examples(
    "lewm surprise video.h5",
    "lewm surprise tworoom/test --run tworoom/delta --plot surprise.svg",
    "lewm surprise tworoom/test --perturb teleport --episodes 64",
    "lewm surprise pusht/test --perturb teleport,frozen --json",
    "lewm surprise tworoom/test --perturb all --beside tworoom/pldm",
    "lewm surprise tworoom/test --perturb teleport --doses",
    "lewm surprise tworoom/test --horizon 3",
    "lewm surprise clip.mp4 --actions actions.csv --run robot/lewm",
)


def command(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="RECORDING",
            help="A recording, by path or name; or a video.",
            show_default=False,
            autocompletion=completion.names(completion.recordings),
        ),
    ],
    actions: Annotated[
        Path | None, options.file("Actions at the frames of a video: CSV, npz, npy or Parquet, one row per frame.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            help="Run name.",
            show_default="newest run that fits the recording",
            autocompletion=completion.names(completion.runs),
        ),
    ] = None,
    perturb: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Stage what no action explains: teleport, color, matched, frozen, reversed, wall; several with "
            "commas, or all.",
            show_default=False,
            autocompletion=completion.names(completion.perturbations),
        ),
    ] = None,
    doses: Annotated[
        bool, typer.Option("--doses", help="Stage a teleport of several sizes: how small a one is found?")
    ] = False,
    horizon: Annotated[int, typer.Option(min=1, metavar="STEPS", help="Predict so many model steps ahead.")] = 1,
    beside: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Measure another run beside it, as one more detector.",
            show_default=False,
            autocompletion=completion.names(completion.runs),
        ),
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=2, help="At most so many episodes.", show_default="all; 32 if perturbed")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the changes and the untrained model.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw it into this SVG file.", show_default="beside the result")
    ] = None,
    stats_from: options.StatsFrom = None,
    sizes: options.Sizes = None,
    trust: options.Trust = False,
    device: options.Device = "auto",
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure how far every next latent lies from the predicted one.

    With --perturb, episodes are simulated again with the same actions, untouched and with something in the middle that
    no action explains; of several, p-values are corrected. Beside the model stand detectors that know less: an
    untrained model, the step between latents, the difference between frames.
    """
    if doses and not perturb:
        raise UsageError("--doses is about the sizes of a perturbation: add --perturb teleport")
    where = early.find_home(home, runs=[run, beside], datasets=[dataset])
    from lewm_cli.flows.perturb import dose_run, perturb_run
    from lewm_cli.flows.surprise import surprise_run
    from lewm_cli.report import Output, dose_tables, perturbation_tables, surprise_tables
    from lewm_cli.store import ExternalWeights

    output = Output(as_json=json, quiet=quiet)

    def show(found: Any) -> None:
        trees = [one.model_dump(mode="json") for one in (found if several else [found])]
        output.result(trees[0] if len(trees) == 1 else trees, lambda: tables(found))

    several = perturb and not doses
    measure, tables = surprise_run, surprise_tables
    if perturb:
        run_one, tables = (dose_run, dose_tables) if doses else (perturb_run, perturbation_tables)
        measure = partial(run_one, perturbations=perturb)
    kept = measure(
        where,
        dataset,
        say=output.say,
        progress=output.progress,
        actions=actions,
        run=run,
        episodes=episodes,
        seed=seed,
        device=device,
        plot=plot,
        external=ExternalWeights(stats_from, trust, sizes),
        horizon=horizon,
        beside=beside,
        show=show,
    )
    for _, path, drawn in kept if several else [kept]:
        output.say(f"stored: {path}")
        output.say(f"plot: {drawn}")
