"""The progress of a flow, for whoever shows it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol


class Progress(Protocol):
    """Shows the progress of one stage."""

    def __call__(self, label: str, total: int, unit: str) -> AbstractContextManager[Callable[[int], None]]:
        """Enter a stage of `total` units; yields a function that takes the number of units done."""
        ...
