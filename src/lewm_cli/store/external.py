"""Options for weights that another tool made, and the place that remarks on them go to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Say = Callable[[str], None]


@dataclass(frozen=True)
class ExternalWeights:
    """Options for weights that another tool made: only a person knows these.

    Args:
        stats_from: the recording they were trained on; their normalization is computed from it, and stored.
        trust: read what the restricted reader refuses by running its code.
        config: the file with their sizes, as config.json of a release; the one beside them if not given.
    """

    stats_from: str | None = None
    trust: bool = False
    config: Path | None = None


NO_OPTIONS = ExternalWeights()


def silent(line: str) -> None:
    """Takes a line and says nothing."""
