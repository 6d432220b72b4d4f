"""`lewm train`: train a world model from a recording."""

from pathlib import Path
from typing import Annotated

import typer

from lewm_cli import suggestion
from lewm_cli.cli import completion, early, options

EXAMPLES = options.examples(
    "lewm train tworoom",
    "lewm train tworoom --method lewm --lambda 0.05 --eval-every 500",
    "lewm train robot/pick --dry-run",
    "lewm train tworoom --log tensorboard --log wandb",
    "lewm train tworoom --resume",
)


NAMED = "The run"


def command(
    what: Annotated[
        str,
        typer.Argument(
            help="A task, or a dataset by name or path.",
            show_default=False,
            autocompletion=completion.names(completion.tasks, completion.recordings),
        ),
    ],
    preset: Annotated[
        str | None,
        typer.Option(
            help="Settings to start from.",
            show_default="release on CUDA, else small; without a simulator what suits the recording",
            autocompletion=completion.names(completion.task_presets),
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Which recording of the task.",
            show_default=False,
            autocompletion=completion.names(completion.recordings),
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="A TOML file laid over the preset.", show_default=False, rich_help_panel=options.SETTINGS),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="What is minimized; `lewm methods` lists them.",
            show_default="from the preset",
            autocompletion=completion.names(completion.methods),
        ),
    ] = None,
    lambda_: Annotated[
        float | None,
        typer.Option(
            "--lambda",
            min=0,
            help="Weight of the method's own regularizer; of SIGReg for lewm.",
            show_default="from the preset",
            rich_help_panel=options.SETTINGS,
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Stop after so many epochs.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps.", show_default=False)] = None,
    batch_size: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="Clips per step; auto: as many as fit into memory.",
            show_default="from the preset",
            rich_help_panel=options.SETTINGS,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, help="Decides weights, split and order.", show_default="3072", rich_help_panel=options.SETTINGS
        ),
    ] = None,
    eval_every: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="STEPS",
            help="Evaluate in the simulator so often, on held-out episodes; the best state is kept as RUN@best.",
            show_default="never",
        ),
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LOGGER",
            help="Log to tensorboard, wandb or trackio too; may be given several times.",
            show_default=False,
            autocompletion=completion.names(completion.loggers),
        ),
    ] = None,
    settings: options.Settings = None,
    name: Annotated[
        str | None, typer.Option(help="Run name.", show_default="next free TASK/METHOD", rich_help_panel=NAMED)
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Frozen encoder to look through: of a run, in a folder of transformers, or on the Hub.",
            show_default=False,
            rich_help_panel=options.SETTINGS,
            autocompletion=completion.names(completion.runs),
        ),
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Start from this run's weights.",
            show_default=False,
            rich_help_panel=NAMED,
            autocompletion=completion.names(completion.runs),
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that stopped.", rich_help_panel=NAMED)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing: measure what it would take, and show all settings.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run of this name.", rich_help_panel=NAMED)
    ] = False,
    device: options.Device = "auto",
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a world model or a policy on recorded frames and actions.

    Ctrl-C saves; --resume goes on exactly where it stopped. `lewm presets TASK/PRESET` shows every setting for --set.
    """
    from pydantic_core import to_jsonable_python

    from lewm_cli.errors import UsageError
    from lewm_cli.flows.training_request import TrainingRequest, check_request, check_resumption
    from lewm_cli.report import Output

    output = Output(as_json=json, quiet=quiet)
    if epochs is not None and steps is not None:
        raise UsageError("--epochs and --steps both say where training stops; give one of them")
    layers = options.layers(
        settings,
        ("--method", "method", method),
        ("--lambda", "objective.lambda", lambda_),
        ("--epochs", "schedule.stop", epochs and f"{epochs} epochs"),
        ("--steps", "schedule.stop", steps and f"{steps} steps"),
        ("--batch-size", "optimizer.batch_size", int(batch_size) if (batch_size or "").isdecimal() else batch_size),
        ("--seed", "seed", seed),
        ("--eval-every", "eval.every", eval_every),
        ("--log", "log.to", log or None),
    )
    where = early.find_home(home, runs=[init_from])
    request = TrainingRequest(
        what=what,
        preset=preset,
        dataset=dataset,
        config=config,
        settings=layers,
        name=name,
        device=device,
        encoder=encoder,
        init_from=init_from,
        resume=resume,
        overwrite=overwrite,
    )
    if resume and dry_run:
        raise UsageError("--dry-run is about a run that begins; leave it out, or --resume")
    if resume:
        check_resumption(where, request)
    else:
        check_request(where, request)
    # Before a dry run, too: their memory counts.
    from lewm_cli.flows.train import train
    from lewm_cli.report import TrainingView, training_tables

    if dry_run:
        from lewm_cli.flows.dry_run import forecast_training
        from lewm_cli.report import forecast_tables

        found = forecast_training(where, request, say=output.say)
        output.result(to_jsonable_python(found, by_alias=True), lambda: forecast_tables(found))
        return
    with TrainingView(output) as view:
        finished = train(where, request, listeners=(view,), say=output.say, progress=output.progress)
    output.result(to_jsonable_python(finished), lambda: training_tables(finished))
    output.say(f"next: {suggestion.command('eval', finished.best.run if finished.best else finished.run)}")
