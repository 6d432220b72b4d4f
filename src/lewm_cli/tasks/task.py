"""What a task is: names, recorded columns, presets, protocols and how to get its simulator."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lewm_cli.tasks.fidelity import FIDELITY, Fidelity
from lewm_cli.tasks.perturbation import Perturbation
from lewm_cli.tasks.probe_target import ProbeTarget
from lewm_cli.tasks.simulator import Simulator


def _nothing() -> None:
    """Most simulators come with lewm-cli."""


@dataclass(frozen=True)
class Task:
    """One environment, everything particular to it reachable from here.

    Args:
        name: canonical name, as typed on the command line.
        folder: where its `task.toml` (presets) and `protocols.toml` lie.
        aliases: other names people use for it.
        title: a few words for tables.
        released_dataset: file name, without suffix, of the released recording; None if there is none.
        demonstrator: what acts when episodes are recorded, for the attributes of the file.
        episode_column: what the released recording calls the column of episode numbers.
        start_columns: recorded columns that, joined, are the state to start from.
        goal_columns: recorded columns that, joined, are the goal.
        probe_targets: physical quantities that latents are probed for.
        perturbations: violations of expectation that the simulator can stage.
        recognized_by: recorded columns and their widths by which a recording that names no task is known.
        gates: what the simulator can count as reached; its own rule first.
        action_bounds: lowest and highest value of every action dimension; empty for recordings without a simulator.
        prepare: checks that the simulator can be built here, and settles what its worker processes inherit.
        fidelity: how closely the simulator draws a recorded state again.
        make_simulator: imports and builds the simulator; None for recordings without one.
    """

    name: str
    folder: Path
    title: str
    aliases: tuple[str, ...] = ()
    released_dataset: str | None = None
    demonstrator: str | None = None
    episode_column: str = "ep_idx"
    start_columns: tuple[str, ...] = ()
    goal_columns: tuple[str, ...] = ()
    probe_targets: tuple[ProbeTarget, ...] = ()
    perturbations: tuple[Perturbation, ...] = ()
    recognized_by: tuple[tuple[str, int], ...] = ()
    gates: tuple[str, ...] = ("simulator",)
    action_bounds: tuple[tuple[float, float], ...] = ()
    prepare: Callable[[], None] = field(default=_nothing, repr=False)
    fidelity: Fidelity = FIDELITY
    make_simulator: Callable[[], Simulator] | None = field(default=None, repr=False)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The task's `task.toml`: tables `presets.<name>`, validated by whoever uses them."""
        return self._toml("task.toml")

    @property
    def presets(self) -> dict[str, dict[str, Any]]:
        """Training presets by name, as TOML gives them."""
        presets: dict[str, dict[str, Any]] = self.settings["presets"]
        return presets

    @cached_property
    def measured(self) -> dict[str, Any]:
        """The task's `protocols.toml`: tables `protocols.<name>`, and `expectations`, validated like the presets."""
        return self._toml("protocols.toml") if self.make_simulator else {}

    @property
    def protocols(self) -> dict[str, dict[str, Any]]:
        """How success is measured, by name, as TOML gives it; there is none without a simulator."""
        protocols: dict[str, dict[str, Any]] = self.measured.get("protocols", {})
        return protocols

    def _toml(self, name: str) -> dict[str, Any]:
        return tomllib.loads((self.folder / name).read_text(encoding="utf-8"))
