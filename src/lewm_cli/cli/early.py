"""Errors of a command that can be told before torch is imported, which takes seconds."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lewm_cli.config import Layer
    from lewm_cli.store import Home


def find_home(option: Path | None, *, runs: Iterable[str | None] = (), datasets: Iterable[str | None] = ()) -> "Home":
    """The home of a command; raises LewmError if it has not the runs and datasets that were typed.

    Names that were not typed are None. A file or folder of that path is looked at by the command itself.
    """
    from lewm_cli.store import Home

    home = Home.locate(option)
    for find, names in ((home.find_run, runs), (home.find_dataset, datasets)):
        for name in names:
            if name is not None and not os.path.exists(name):
                find(name)
    return home


def lacks_simulator(home: "Home", run: str) -> bool:
    """True for one of our runs whose task has no simulator."""
    from lewm_cli.store import read_card
    from lewm_cli.tasks import find_task

    found = home.find_run(run)
    task = find_task(read_card(found.files.weights).inputs.task) if found.own else None
    return found.own and (task is None or task.make_simulator is None)


def check_offline(settings: "Sequence[Layer]") -> None:
    """Raises UsageError if settings mean nothing where nothing is simulated."""
    from lewm_cli.config import merge_layers
    from lewm_cli.offline import OfflineConfig

    merged = merge_layers(list(settings))
    OfflineConfig.build(merged.tree, merged.source)


def check_protocol(
    home: "Home", run: str, protocol: str | None, settings: "Sequence[Layer]", *, references: bool
) -> None:
    """Raises UsageError if one of our runs cannot be measured so.

    Its task has no such protocol, settings of it cannot mean anything, or it is a policy and they are about planning.
    """
    from lewm_cli.evaluate import HELD_OUT, find_protocol, refuse_planning
    from lewm_cli.store import read_card
    from lewm_cli.tasks import find_task

    found = home.find_run(run)
    if not found.own:
        return
    card = read_card(found.files.weights)
    if card.model.latent_dim is None:
        refuse_planning(f"{found.name} is a policy: it", settings, references=references)
    task = find_task(card.inputs.task)
    if task and task.protocols:
        find_protocol(task, protocol or HELD_OUT, tuple(settings))
