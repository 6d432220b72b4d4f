"""Options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lewm_cli import suggestion
from lewm_cli.cli import completion
from lewm_cli.errors import UsageError

if TYPE_CHECKING:
    from lewm_cli.config import Layer

PLANNER, RESULTS, OTHERS, SETTINGS = "Planner", "Results", "Weights of other tools", "Settings"
"""Groups of options in the help of a command; what most people need stands before them."""


def file(help: str, default: str | bool = False, metavar: str = "FILE", **more: Any) -> Any:
    """An option that takes a path; `default` is what the help says of leaving it out."""
    return typer.Option(metavar=metavar, help=help, show_default=default, **more)


def remember_home(typed: Path | None) -> Path | None:
    """Lets the commands that messages suggest look in the home that was typed."""
    suggestion.HOME.set(typed)
    return typed


Run = Annotated[
    str,
    typer.Argument(
        help="Run name, like tworoom/delta.", show_default=False, autocompletion=completion.names(completion.runs)
    ),
]
Home = Annotated[
    Path | None,
    typer.Option(
        help="Folder that takes the writes and is searched first.",
        show_default="$STABLEWM_HOME or ~/.stable-wm",
        callback=remember_home,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the result and errors.")]
Open = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda or mps.", autocompletion=completion.names(completion.words("auto", "cpu", "cuda", "mps"))
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any other setting; may be given several times.",
        rich_help_panel=SETTINGS,
    ),
]
Solver = Annotated[
    str | None,
    typer.Option(
        help="cem, icem, mppi, random-shooting, gradient, cem-gd or recorded.",
        show_default="the protocol's, which is cem",
        rich_help_panel=PLANNER,
        autocompletion=completion.names(completion.solvers),
    ),
]
Horizon = Annotated[
    int | None,
    typer.Option(min=1, help="Model steps planned.", show_default="the protocol's, 5", rich_help_panel=PLANNER),
]
Receding = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Model steps executed before planning anew.",
        show_default="the protocol's, 5",
        rich_help_panel=PLANNER,
    ),
]
History = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Steps looked back at while imagining.",
        show_default="as many as the model can",
        rich_help_panel=PLANNER,
    ),
]
Bounds = Annotated[
    bool | None,
    typer.Option(
        "--bounds/--no-bounds",
        help="Try only actions that the task's action space holds, or, without one, the recorded range.",
        show_default="the protocol's, off",
        rich_help_panel=PLANNER,
    ),
]
LIMITS = "of a plan: as many iterations as fit, at least one."
PlanMs = Annotated[
    float | None,
    typer.Option(metavar="MS", help=f"Wall time {LIMITS}", show_default="no limit", rich_help_panel=PLANNER),
]
PlanFlops = Annotated[
    float | None,
    typer.Option(metavar="N", help=f"Operations {LIMITS}", show_default="no limit", rich_help_panel=PLANNER),
]
Plain = Annotated[
    bool,
    typer.Option("--plain", help="Plan as the protocol says, whatever `lewm improve` chose.", rich_help_panel=PLANNER),
]
StatsFrom = Annotated[
    str | None,
    typer.Option(
        metavar="DATASET",
        help="The recording it was trained on, for weights that another tool made: action statistics come from it.",
        show_default="what is stored beside them",
        rich_help_panel=OTHERS,
        autocompletion=completion.names(completion.recordings),
    ),
]
Sizes = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Its sizes, for weights that another tool made: a JSON file like the config.json of a release.",
        show_default="config.json beside them",
        rich_help_panel=OTHERS,
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Runs code from the file if it asks for it: only for weights whose maker you trust.",
        rich_help_panel=OTHERS,
    ),
]


def layers(settings: list[str] | None, *typed: tuple[str, str, object]) -> "tuple[Layer, ...]":
    """Read the settings that were typed.

    Args:
        settings: of --set.
        typed: options of their own: option, key of the setting, value or None.
    """
    from lewm_cli.config import Layer, parse_setting

    own = (Layer.of(option, key, value) for option, key, value in typed if value is not None)
    return (*(parse_setting(setting) for setting in settings or ()), *own)


def counts(option: str, text: str, what: str) -> tuple[int, ...]:
    """Reads whole numbers above 0 like `25,50,75`, each once; raises UsageError, which names `what` they are."""
    words = text.split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"{option} {text!r} is no list of {what}")
    return tuple(dict.fromkeys(int(word) for word in words))


def examples(*lines: str) -> str:
    """The examples under a command's help, one per line."""
    return "\n\n".join(["[bold]Examples[/bold]", *(f"  {line}" for line in lines)])
