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


def option(
    help: str,
    default: str | bool = True,
    complete: completion.Source | None = None,
    *,
    name: str = "",
    panel: str | None = None,
    **more: Any,
) -> Any:
    """An option of a command.

    Args:
        default: what the help says of leaving it out.
        complete: names that the shell completes.
        name: like `--output -o`; that of the parameter if not given.
        panel: group of options in the help.
        more: as typer takes it.
    """
    more |= {"help": help, "show_default": default, "rich_help_panel": panel}
    return typer.Option(*name.split(), autocompletion=complete and completion.names(complete), **more)


def file(help: str, default: str | bool = True, *, metavar: str = "FILE", **more: Any) -> Any:
    """An option that takes a path."""
    return option(help, default, metavar=metavar, **more)


def argument(help: str, *sources: completion.Source, default: str | bool = False, metavar: str | None = None) -> Any:
    """An argument of a command; else as `option`."""
    complete = completion.names(*sources) if sources else None
    return typer.Argument(help=help, show_default=default, metavar=metavar, autocompletion=complete)


def remember_home(typed: Path | None) -> Path | None:
    """Lets the commands that messages suggest look in the home that was typed."""
    suggestion.HOME.set(typed)
    return typed


Run = Annotated[str, argument("Run name, like tworoom/delta.", completion.runs)]
Home = Annotated[
    Path | None,
    option(
        "Folder that takes the writes and is searched first.", "$STABLEWM_HOME or ~/.stable-wm", callback=remember_home
    ),
]
Json = Annotated[bool, option("Print the result as JSON on stdout.", name="--json")]
Quiet = Annotated[bool, option("Print nothing but the result and errors.", name="--quiet -q")]
Open = Annotated[bool, option("Open the page in a browser.", name="--open")]
Device = Annotated[str, option("auto, cpu, cuda or mps.", complete=completion.words("auto", "cpu", "cuda", "mps"))]
Settings = Annotated[
    list[str] | None,
    option("Any other setting; may be given several times.", name="--set", metavar="KEY=VALUE", panel=SETTINGS),
]
Solver = Annotated[
    str | None,
    option(
        "cem, icem, mppi, random-shooting, gradient, cem-gd or recorded.",
        "the protocol's, which is cem",
        completion.solvers,
        panel=PLANNER,
    ),
]
Horizon = Annotated[int | None, option("Model steps planned.", "the protocol's, 5", min=1, panel=PLANNER)]
Receding = Annotated[
    int | None, option("Model steps executed before planning anew.", "the protocol's, 5", min=1, panel=PLANNER)
]
History = Annotated[
    int | None, option("Steps looked back at while imagining.", "as many as the model can", min=1, panel=PLANNER)
]
Bounds = Annotated[
    bool | None,
    option(
        "Try only actions that the task's action space holds, or, without one, the recorded range.",
        "the protocol's, off",
        name="--bounds/--no-bounds",
        panel=PLANNER,
    ),
]
LIMITS = "of a plan: as many iterations as fit, at least one."
PlanMs = Annotated[float | None, option(f"Wall time {LIMITS}", "no limit", metavar="MS", panel=PLANNER)]
PlanFlops = Annotated[float | None, option(f"Operations {LIMITS}", "no limit", metavar="N", panel=PLANNER)]
Plain = Annotated[
    bool, option("Plan as the protocol says, whatever `lewm improve` chose.", name="--plain", panel=PLANNER)
]
StatsFrom = Annotated[
    str | None,
    option(
        "The recording it was trained on, for weights that another tool made: action statistics come from it.",
        "what is stored beside them",
        completion.recordings,
        metavar="DATASET",
        panel=OTHERS,
    ),
]
Sizes = Annotated[
    Path | None,
    file(
        "Its sizes, for weights that another tool made: a JSON file like the config.json of a release.",
        "config.json beside them",
        name="--config",
        panel=OTHERS,
    ),
]
Trust = Annotated[
    bool,
    option(
        "Runs code from the file if it asks for it: only for weights whose maker you trust.",
        name="--trust",
        panel=OTHERS,
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
