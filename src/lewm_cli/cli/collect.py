"""`lewm collect`: record demonstrations."""

from typing import Annotated, Literal

from lewm_cli import suggestion
from lewm_cli.cli import completion, options
from lewm_cli.cli.options import argument, option
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
        str, argument("A task with a simulator, like tworoom; `lewm presets` lists them.", completion.tasks)
    ],
    episodes: Annotated[int, option("How many episodes.", min=1)],
    seed: Annotated[int, option("Decides the content.", min=0)] = 0,
    workers: Annotated[
        int, option("Simulator processes; does not change the content.", "all cores", min=1)
    ] = available_cores(),
    name: Annotated[str | None, option("Dataset name.", "next free TASK/demos")] = None,
    policy: Annotated[
        str | None, option("What acts; in PushT weak (random) or pusher (smooth pushes).", "the task's")
    ] = None,
    any_room: Annotated[
        bool,
        option(
            "Take the simulator's own resets: start and target may share a room, agent and block touch.",
            name="--any-room",
        ),
    ] = False,
    vary: Annotated[
        Literal["color"] | None,
        option(
            "Give every episode a color of its own, of the agent, block or arm; all else stays the same.",
            "the task's color",
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
