"""`lewm collect`: record demonstrations."""

from typing import Annotated, Literal

import typer

from lewm_cli import suggestion
from lewm_cli.cli import completion, options
from lewm_cli.workers import available_cores

EXAMPLES = options.examples(
    "lewm collect tworoom --episodes 300",
    "lewm collect tworoom --episodes 100 --seed 1 --name tworoom/test",
    "lewm collect tworoom --episodes 300 --any-room",
    "lewm collect tworoom --episodes 300 --vary color --name tworoom/colors",
    "lewm collect pusht --episodes 300 --policy pusher --name pusht/pushes",
)


def command(
    task: Annotated[
        str,
        typer.Argument(
            help="A task with a simulator, like tworoom; `lewm presets` lists them.",
            show_default=False,
            autocompletion=completion.names(completion.tasks),
        ),
    ],
    episodes: Annotated[int, typer.Option(min=1, help="How many episodes.", show_default=False)],
    seed: Annotated[int, typer.Option(min=0, help="Decides the content.")] = 0,
    workers: Annotated[
        int, typer.Option(min=1, help="Simulator processes; does not change the content.", show_default="all cores")
    ] = available_cores(),
    name: Annotated[str | None, typer.Option(help="Dataset name.", show_default="next free TASK/demos")] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="What acts; in PushT weak (random) or pusher (smooth pushes).", show_default="the task's"),
    ] = None,
    any_room: Annotated[
        bool,
        typer.Option(
            "--any-room",
            help="Take the simulator's own resets: start and target may share a room, agent and block touch.",
        ),
    ] = False,
    vary: Annotated[
        Literal["color"] | None,
        typer.Option(
            help="Give every episode a color of its own, of the agent, block or arm; all else stays the same.",
            show_default="the task's color",
        ),
    ] = None,
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Record demonstrations in the real simulator, in the schema of the released datasets.

    By default TwoRoom's start and target lie in different rooms, as in the paper. The same seed gives the same content.
    """
    from lewm_cli.flows.collect import collect
    from lewm_cli.report import Output, dataset_tables, dataset_tree
    from lewm_cli.store import Home

    output = Output(as_json=json, quiet=quiet)
    dataset = collect(
        Home.locate(home),
        task,
        episodes=episodes,
        seed=seed,
        workers=workers,
        progress=output.progress,
        name=name,
        policy=policy,
        any_start=any_room,
        vary_color=vary == "color",
    )
    output.result(dataset_tree(dataset), lambda: dataset_tables(dataset))
    output.say(f"next: {suggestion.command('train', dataset.task, '--dataset', dataset.name)}")
