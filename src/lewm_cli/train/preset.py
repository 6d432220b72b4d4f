"""Training configurations to start from, by task and name."""

from dataclasses import dataclass
from typing import Any

from lewm_cli.config import Layer
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.methods import DEFAULT, TrainConfig
from lewm_cli.suggestion import command, few, offer
from lewm_cli.tasks import GENERIC, TASKS, Task, find_task


@dataclass(frozen=True)
class Preset:
    """One named configuration of one task."""

    task: Task
    name: str

    def __str__(self) -> str:
        return f"{self.task.name}/{self.name}"

    def layer_under(self, above: Layer) -> Layer:
        """Its settings, without sections of another method than the one that the layer above asks for."""
        tree = self._tree(str(above.tree.get("method", self._method)))
        own, asked = TrainConfig.types(tree), TrainConfig.types(tree | above.tree)
        return Layer(f"preset {self}", {key: value for key, value in tree.items() if own.get(key) == asked.get(key)})

    @property
    def config(self) -> TrainConfig:
        """The whole configuration: its settings, and defaults for the rest."""
        return TrainConfig.build(self._tree(self._method), f"preset {self}")

    @property
    def _method(self) -> str:
        return str(self.task.presets[self.name].get("method", DEFAULT))

    def _tree(self, method: str) -> dict[str, Any]:
        """The settings, with the objective that the table `objectives` has for a method."""
        tree = dict(self.task.presets[self.name])
        objectives = tree.pop("objectives", {})
        return tree | {"objective": objectives[method]} if method in objectives else tree


def all_presets() -> list[Preset]:
    """Every preset of every task, the generic task last."""
    return [Preset(task, name) for task in (*TASKS, GENERIC) for name in task.presets]


def task_preset(task: Task, name: str) -> Preset:
    """A task's preset; LewmError if it has none of this name."""
    if name not in task.presets:
        raise LewmError(f"there is no preset {name!r} for {task.name}; {offer(name, task.presets, command('presets'))}")
    return Preset(task, name)


def find_preset(name: str) -> Preset:
    """The preset for `TASK/PRESET`.

    Raises:
        LewmError: no such task, or it has no such preset.
        UsageError: the name has another form.
    """
    task_name, slash, preset = name.partition("/")
    known = [str(preset) for preset in all_presets()]
    if not slash:
        raise UsageError(f"{name!r} is not of the form TASK/PRESET; there is {few(known, command('presets'))}")
    task = find_task(task_name)
    if task is None:
        raise LewmError(f"there is no task {task_name!r}; {offer(name, known, command('presets'))}")
    return task_preset(task, preset)
