"""Training configurations to start from, by task and name."""

from dataclasses import dataclass

from lewm_cli.config import Layer, merge_layers
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.methods import DEFAULT, TrainConfig
from lewm_cli.suggestion import command, few, offer
from lewm_cli.tasks import GENERIC, TASKS, Task, find_task


@dataclass(frozen=True)
class Preset:
    """One named configuration of one task.

    Args:
        chosen: settings for one recording, laid over it and under what it has for single methods.
    """

    task: Task
    name: str
    chosen: Layer | None = None

    def __str__(self) -> str:
        return f"{self.task.name}/{self.name}"

    @property
    def method(self) -> str:
        """The method that is trained if nothing else is asked for."""
        return str(self.task.presets[self.name].get("method", DEFAULT))

    def layer(self, method: str) -> Layer:
        """Its settings for a method, with those that all tasks have for it, and its own, laid over them.

        A method with another network takes the sizes that this network has too.
        """
        tree = {"method": self.method} | self.task.presets[self.name]
        if self.chosen:
            fitting = TrainConfig.of_method(self.chosen, method).tree
            tree = merge_layers([Layer("", tree), Layer("", fitting | {"method": self.method})]).tree
        own = tree.pop("methods", {})
        everywhere = GENERIC.presets.get(self.name, {}).get("methods", {})
        shared = TrainConfig.of_method(Layer(f"preset {self}", tree), method)
        known = TrainConfig.types({"method": method})["model"].types({})
        sizes = {"model": {key: value for key, value in tree.get("model", {}).items() if key in known}}
        special = [Layer("", part) for part in (sizes, everywhere.get(method, {}), own.get(method, {}))]
        return Layer(shared.source, merge_layers([shared, *special]).tree)

    def config(self, method: str | None = None) -> TrainConfig:
        """The whole configuration, for its own method or another one: its settings, and defaults for the rest.

        Raises UsageError if there is no such method.
        """
        layer = self.layer(method or self.method)
        return TrainConfig.build(layer.tree | {"method": method or self.method}, layer.source)


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
