"""`lewm surprise`: distance of every next latent from the predicted one."""

import re
from dataclasses import asdict
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from lewm_cli.cli import completion, early, options
from lewm_cli.cli.options import argument, option
from lewm_cli.errors import UsageError
from lewm_cli.suggestion import command as command_line

EVENTS, STREAM = "Events", "While frames are taken"
EVENT_CODE = 3
"""Exit code of --fail-on-event where there is one."""

EXAMPLES = options.examples(
    "lewm surprise video.h5",
    "lewm surprise tworoom/test --false-alarms 1% --calibrate tworoom/validation --video videos",
    "lewm surprise clip.mp4 --actions actions.csv --run robot/lewm --fail-on-event",
    "lewm surprise tworoom/test --perturb teleport,frozen --beside tworoom/pldm",
    "lewm surprise frames --follow --actions - --run robot/lewm",
)


def _share(text: str) -> float:
    """Reads `1%` or `0.01`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(%?)", text, re.ASCII)
    share = float(Decimal(found[1]) / (100 if found[2] else 1)) if found else 0.0
    if not 0 < share < 1:
        raise typer.BadParameter(f"{text!r} is no share of steps between 0 and 1, like 1% or 0.01")
    return share


def command(
    dataset: Annotated[
        str,
        argument(
            "A recording, by path or name; or a video; or - for frames on stdin.",
            completion.recordings,
            metavar="RECORDING",
        ),
    ],
    actions: Annotated[
        Path | None, options.file("Actions at the frames of a video: CSV, npz, npy or Parquet, one row per frame.")
    ] = None,
    run: Annotated[str | None, option("Run name.", "newest run that fits the recording", completion.runs)] = None,
    perturb: Annotated[
        str | None,
        option(
            "Stage what no action explains: teleport, color, matched, frozen, reversed, wall; several with "
            "commas, or all.",
            complete=completion.perturbations,
            metavar="NAME",
        ),
    ] = None,
    doses: Annotated[
        bool, option("Stage a teleport of several sizes: how small a one is found?", name="--doses")
    ] = False,
    horizon: Annotated[int, option("Predict so many model steps ahead.", min=1, metavar="STEPS")] = 1,
    beside: Annotated[
        str | None,
        option("Measure another run beside it, as one more detector.", complete=completion.runs, metavar="RUN"),
    ] = None,
    episodes: Annotated[int | None, option("At most so many episodes.", "all; 32 if perturbed", min=2)] = None,
    seed: Annotated[int, option("Decides the changes, the untrained model and the draws.", min=0)] = 0,
    plot: Annotated[Path | None, option("Draw it into this SVG file.", "beside the result", metavar="FILE")] = None,
    false_alarms: Annotated[
        float | None,
        option(
            "Find events, with at most so many false alarms: a share of steps, like 1% or 0.01.",
            "the newest stored threshold",
            parser=_share,
            metavar="RATE",
            panel=EVENTS,
        ),
    ] = None,
    calibrate: Annotated[
        str | None,
        option(
            "Undisturbed episodes that the threshold is calibrated on.",
            "those that the run held out",
            completion.recordings,
            metavar="RECORDING",
            panel=EVENTS,
        ),
    ] = None,
    fail_on_event: Annotated[
        bool, option("Exit with 3 if there is an event.", name="--fail-on-event", panel=EVENTS)
    ] = False,
    csv: Annotated[Path | None, options.file("Write a table with a row per model step.", panel=EVENTS)] = None,
    video: Annotated[
        Path | None,
        options.file("Write an mp4 per episode with events, the curve under the frames.", metavar="DIR", panel=EVENTS),
    ] = None,
    size: Annotated[
        str | None,
        option(
            "Size of the raw rgb24 frames on stdin; every model step is printed as it comes, as a line of JSON.",
            metavar="WxH",
            panel=STREAM,
        ),
    ] = None,
    follow: Annotated[
        bool,
        option(
            "The same for images in a folder, as they are written; a file called end, or Ctrl-C, ends it.",
            name="--follow",
            panel=STREAM,
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
    """Measure how far every next latent lies from the predicted one.

    With --false-alarms, steps above a threshold are events. The threshold is calibrated once on undisturbed episodes,
    and used from then on.

    With --perturb, episodes are simulated again with the same actions, untouched and with something in the middle that
    no action explains; of several, p-values are corrected. Beside the model stand detectors that know less: an
    untrained model, the step between latents, the difference between frames.
    """
    if dataset == "-" or follow:
        _refuse(
            "is for recordings; leave it out where frames come one by one",
            perturb=perturb,
            doses=doses,
            horizon=horizon > 1,
            beside=beside,
            episodes=episodes,
            plot=plot,
            false_alarms=false_alarms,
            calibrate=calibrate,
            csv=csv,
            video=video,
        )
        where = early.find_home(home, runs=[run])
        from lewm_cli.flows.stream import stream_surprise
        from lewm_cli.report import Output
        from lewm_cli.store import ExternalWeights

        output = Output(as_json=True, quiet=quiet)
        followed = stream_surprise(
            where,
            dataset,
            output.say,
            lambda step: output.line(asdict(step)),
            actions=actions,
            run=run,
            size=size,
            fail_on_event=fail_on_event,
            device=device,
            external=ExternalWeights(stats_from, trust, sizes),
        )
        if fail_on_event and followed.events:
            raise typer.Exit(EVENT_CODE)
        return
    _refuse(f"is for raw frames on stdin: lewm surprise - --size {size}; leave it out", size=size)
    if perturb:
        why = "is for recordings as they are; leave out one of them"
        _refuse(why, false_alarms=false_alarms, calibrate=calibrate, fail_on_event=fail_on_event, csv=csv, video=video)
    else:
        _refuse("is about the sizes of a perturbation: add --perturb teleport", doses=doses)
    where = early.find_home(home, runs=[run, beside], datasets=[dataset])
    from lewm_cli.flows.perturb import perturb_run
    from lewm_cli.flows.surprise import surprise_run
    from lewm_cli.report import Output, dose_tables, perturbation_tables, surprise_tables
    from lewm_cli.store import ExternalWeights

    output = Output(as_json=json, quiet=quiet)
    tables: Any = dose_tables if doses else perturbation_tables if perturb else surprise_tables

    def show(*results: Any) -> None:
        trees = [one.model_dump(mode="json") for one in results]
        output.result(trees[0] if len(trees) == 1 else trees, lambda: tables(*results))

    measure: Any = partial(perturb_run, perturbations=perturb, doses=doses)
    if not perturb:
        measure = partial(
            surprise_run,
            false_alarms=false_alarms,
            calibrate=calibrate,
            fail_on_event=fail_on_event,
            csv=csv,
            video=video,
        )
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
    for _, path, drawn in kept if perturb else [kept]:
        output.say(f"stored: {path}")
        output.say(f"plot: {drawn}")
    if perturb:
        return
    result, *_ = kept
    if result.threshold is None and horizon == 1:
        again = ["surprise", dataset, *(["--actions", actions] if actions else []), "--run", result.run]
        output.say(f"events above a threshold: {command_line(*again, '--false-alarms', '1%')}")
    if fail_on_event and result.events:
        raise typer.Exit(EVENT_CODE)


def _refuse(why: str, **given: object) -> None:
    """Raise UsageError if one of these options is given."""
    for name, value in given.items():
        if value:
            raise UsageError(f"--{name.replace('_', '-')} {why}")
