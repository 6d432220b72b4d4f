"""Options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lewm_cli.config import Layer

Home = Annotated[
    Path | None,
    typer.Option(
        help="Folder that takes the writes and is searched first.", show_default="$STABLEWM_HOME or ~/.stable-wm"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the result and errors.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other setting; may be given several times."),
]
Solver = Annotated[
    str | None,
    typer.Option(
        help="cem, icem, mppi, random-shooting, gradient or cem-gd.", show_default="the protocol's, which is cem"
    ),
]
Horizon = Annotated[int | None, typer.Option(min=1, help="Model steps planned.", show_default="the protocol's, 5")]
Receding = Annotated[
    int | None,
    typer.Option(min=1, help="Model steps executed before planning anew.", show_default="the protocol's, 5"),
]
History = Annotated[
    int | None,
    typer.Option(min=1, help="Steps looked back at while imagining.", show_default="as many as the model can"),
]
PlanMs = Annotated[
    float | None,
    typer.Option(
        "--plan-ms",
        metavar="MS",
        help="Wall time of a plan: as many iterations as fit, at least one.",
        show_default="no limit",
    ),
]
PlanFlops = Annotated[
    float | None,
    typer.Option(
        "--plan-flops",
        metavar="N",
        help="Operations of a plan: as many iterations as fit, at least one.",
        show_default="no limit",
    ),
]
StatsFrom = Annotated[
    str | None,
    typer.Option(
        "--stats-from",
        metavar="DATASET",
        help="The recording it was trained on, for weights that another tool made: action statistics come from it.",
        show_default="what is stored beside them",
    ),
]
Sizes = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Its sizes, for weights that another tool made: a JSON file like the config.json of a release.",
        show_default="config.json beside them",
    ),
]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Runs code from the file if it asks for it: only for weights whose maker you trust."),
]


def planner_layers(
    solver: str | None,
    horizon: int | None,
    history: int | None,
    plan_ms: float | None,
    plan_flops: float | None,
    receding: int | None = None,
) -> "list[Layer]":
    """The settings of the planner that were typed as options of their own."""
    return as_layers(
        ("--solver", "planner.solver", solver),
        ("--horizon", "planner.horizon", horizon),
        ("--receding", "planner.receding", receding),
        ("--history", "planner.history", history),
        ("--plan-ms", "planner.milliseconds", plan_ms),
        ("--plan-flops", "planner.flops", plan_flops),
    )


def as_layers(*typed: tuple[str, str, object]) -> "list[Layer]":
    """The settings that were typed as options of their own: option, key of the setting, value or None."""
    from lewm_cli.config import Layer

    return [Layer.of(option, key, value) for option, key, value in typed if value is not None]


def examples(*lines: str) -> str:
    """The examples under a command's help, one per line."""
    return "\n\n".join(["[bold]Examples[/bold]", *(f"  {line}" for line in lines)])
