"""Names that the shell completes: of runs, recordings, tasks, presets, protocols, and whatever else an option takes.

Nothing that takes long is imported here, and nothing is said: a person is typing.
"""

import os
import shlex
from collections.abc import Callable, Iterable
from itertools import chain
from typing import TYPE_CHECKING, get_args

import typer

if TYPE_CHECKING:
    from lewm_cli.store import Home
    from lewm_cli.tasks import Task

Source = Callable[[typer.Context], Iterable[str]]
"""Names that fit what has been typed so far."""


def names(*sources: Source) -> Callable[[typer.Context], list[str]]:
    """The `autocompletion` of a parameter: names from all sources, but those that a shell would take apart."""

    def complete(context: typer.Context) -> list[str]:
        try:
            found = chain.from_iterable(source(context) for source in sources)
            return [name for name in dict.fromkeys(found) if shlex.quote(name) == name and not name.startswith("-")]
        except Exception:  # a broken home is told about when the command is called
            return []

    return complete


def runs(context: typer.Context) -> Iterable[str]:
    """Runs of the home that was typed."""
    return (name for name, _ in _home(context).run_files())


def recordings(context: typer.Context) -> Iterable[str]:
    """Recordings of the home that was typed."""
    return (name for name, _ in _home(context).dataset_files())


def tasks(context: typer.Context) -> Iterable[str]:
    """Tasks that have a simulator."""
    from lewm_cli.tasks import TASKS

    return (task.name for task in TASKS)


def methods(context: typer.Context) -> Iterable[str]:
    """Training methods."""
    from lewm_cli.methods import METHODS

    return METHODS


def loggers(context: typer.Context) -> Iterable[str]:
    """Loggers that a training can be logged to."""
    from lewm_cli.config import LOGGERS

    return LOGGERS


def curves(context: typer.Context) -> Iterable[str]:
    """Groups of the curves of a training, and the curves that every method has."""
    return ("train", "held_out", "latents", "optimizer", "speed", "memory", "train/loss", "prediction", "lr")


def presets(context: typer.Context) -> Iterable[str]:
    """Presets as TASK/PRESET."""
    from lewm_cli.train import all_presets

    return map(str, all_presets())


def task_presets(context: typer.Context) -> Iterable[str]:
    """Presets of the task that was typed; of all tasks if it was a recording."""
    return chain.from_iterable(task.presets for task in _tasks(context.params.get("what")))


def protocols(context: typer.Context) -> Iterable[str]:
    """Protocols of all tasks."""
    return chain.from_iterable(task.protocols for task in _tasks(None))


def perturbations(context: typer.Context) -> Iterable[str]:
    """Perturbations of all tasks."""
    return (perturbation.name for task in _tasks(None) for perturbation in task.perturbations)


def solvers(context: typer.Context) -> Iterable[str]:
    """Solvers of the planner."""
    from lewm_cli.config import SolverName

    return get_args(SolverName)


def published(context: typer.Context) -> Iterable[str]:
    """Everything in the catalog: tasks, and checkpoints of them."""
    from lewm_cli.fetch import read_catalog

    entries = read_catalog()
    return chain(
        (entry.name for entry in entries), (f"{entry.name}/{name}" for entry in entries for name in entry.checkpoints)
    )


def words(*known: str) -> Source:
    """Words that are always the same."""
    return lambda context: known


def _home(context: typer.Context) -> "Home":
    from lewm_cli.store import Home

    typed = context.params.get("home")
    return Home.locate(os.path.expandvars(typed) if typed else None)  # the shell has not expanded it yet


def _tasks(typed: str | None) -> "Iterable[Task]":
    from lewm_cli.tasks import GENERIC, TASKS, find_task

    task = find_task(typed) if typed else None
    return (task,) if task else (*TASKS, GENERIC)
