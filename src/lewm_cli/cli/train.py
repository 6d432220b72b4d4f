"""`lewm train`: train a world model from a recording."""

from pathlib import Path
from typing import Annotated

from lewm_cli import suggestion
from lewm_cli.cli import completion, early, options
from lewm_cli.cli.options import argument, option

EXAMPLES = options.examples(
    "lewm train tworoom",
    "lewm train tworoom --method lewm --lambda 0.05 --eval-every 500",
    "lewm train robot/pick --dry-run",
    "lewm train tworoom --log tensorboard --log wandb",
    "lewm train tworoom --resume",
)


NAMED = "The run"


def command(
    what: Annotated[str, argument("A task, or a dataset by name or path.", completion.tasks, completion.recordings)],
    preset: Annotated[
        str | None,
        option(
            "Settings to start from.",
            "release on CUDA, else small; without a simulator what suits the recording",
            completion.task_presets,
        ),
    ] = None,
    dataset: Annotated[str | None, option("Which recording of the task.", complete=completion.recordings)] = None,
    config: Annotated[Path | None, option("A TOML file laid over the preset.", panel=options.SETTINGS)] = None,
    method: Annotated[
        str | None, option("What is minimized; `lewm methods` lists them.", "from the preset", completion.methods)
    ] = None,
    lambda_: Annotated[
        float | None,
        option(
            "Weight of the method's own regularizer; of SIGReg for lewm.",
            "from the preset",
            name="--lambda",
            min=0,
            panel=options.SETTINGS,
        ),
    ] = None,
    epochs: Annotated[int | None, option("Stop after so many epochs.", min=1)] = None,
    steps: Annotated[int | None, option("Stop after so many steps.", min=1)] = None,
    batch_size: Annotated[
        str | None,
        option(
            "Clips per step; auto: as many as fit into memory.",
            "from the preset",
            metavar="N|auto",
            panel=options.SETTINGS,
        ),
    ] = None,
    seed: Annotated[
        int | None, option("Decides weights, split and order.", "3072", min=0, panel=options.SETTINGS)
    ] = None,
    eval_every: Annotated[
        int | None,
        option(
            "Evaluate in the simulator so often, on held-out episodes; the best state is kept as RUN@best.",
            "never",
            min=1,
            metavar="STEPS",
        ),
    ] = None,
    log: Annotated[
        list[str] | None,
        option(
            "Log to tensorboard, wandb or trackio too; may be given several times.",
            complete=completion.loggers,
            metavar="LOGGER",
        ),
    ] = None,
    settings: options.Settings = None,
    name: Annotated[str | None, option("Run name.", "next free TASK/METHOD", panel=NAMED)] = None,
    encoder: Annotated[
        str | None,
        option(
            "Frozen encoder to look through: of a run, in a folder of transformers, or on the Hub.",
            complete=completion.runs,
            metavar="NAME",
            panel=options.SETTINGS,
        ),
    ] = None,
    init_from: Annotated[
        str | None, option("Start from this run's weights.", complete=completion.runs, metavar="RUN", panel=NAMED)
    ] = None,
    resume: Annotated[bool, option("Go on with a run that stopped.", name="--resume", panel=NAMED)] = False,
    dry_run: Annotated[
        bool, option("Write nothing: measure what it would take, and show all settings.", name="--dry-run")
    ] = False,
    overwrite: Annotated[bool, option("Replace the run of this name.", name="--overwrite", panel=NAMED)] = False,
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
