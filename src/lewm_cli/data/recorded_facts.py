"""The facts about a recording that cards keep beside its statistics."""

from dataclasses import dataclass
from typing import Self

from lewm_cli.config import ActionBounds, Framing
from lewm_cli.data.dataset import Dataset
from lewm_cli.data.recording_check import used_actions


@dataclass(frozen=True)
class RecordedFacts:
    """Fields of `Inputs` that no weights depend on, but whoever acts by them does."""

    bounds: ActionBounds
    action_names: tuple[str, ...]
    fps: float | None
    framing: Framing | None

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Read them from a recording, in which some action is known."""
        names, framing = (dataset.imported.action_names, dataset.imported.framing) if dataset.imported else ((), None)
        return cls(ActionBounds.of(used_actions(dataset)), names, dataset.fps, framing)
