"""The evaluation of a run while it is trained, which is done elsewhere, and the best state, which is chosen by it."""

from collections.abc import Callable
from dataclasses import dataclass

from lewm_cli.errors import LewmError
from lewm_cli.methods import RunCard, Validated
from lewm_cli.model import Network
from lewm_cli.statistics import Estimate
from lewm_cli.store import BEST, RunFiles, read_card, save_run
from lewm_cli.train.events import Best
from lewm_cli.workers import Waiting


@dataclass(frozen=True)
class Evaluation:
    """The success of published weights, R2 of positions by a linear probe, and the seconds it took."""

    validated: Validated
    positions: dict[str, Estimate]
    seconds: float


Evaluator = Callable[[Network, RunCard, Waiting], Evaluation]
"""Evaluates published weights that are saved, always on the same pairs; training is the same with it and without it.

What it calls now and then ends the evaluation by what it raises. LewmError: these weights cannot be evaluated.
"""


class BestState:
    """The state of a run that did best so far, which is kept as a run of its own.

    Args:
        name: of the run that is trained.
        files: of that run.
        resume: the run may have such a state already.
    """

    def __init__(self, name: str, files: RunFiles, *, resume: bool) -> None:
        self.files, self.best = files.best, None if not resume else _kept(name, files.best)
        self._name = f"{name}{BEST}"

    def offer(self, model: Network, card: RunCard, validated: Validated) -> bool:
        """Keep this state if none before had more success; of those with as much the later one has learned for longer.

        Returns whether it was kept; raises LewmError if it cannot be written, and then the state before is kept.
        """
        if self.best and self.best.success.rate > validated.success.rate:
            return False
        assert card.provenance is not None
        provenance = card.provenance.model_copy(update={"chosen_by": validated})
        save_run(self.files, model, card.model_copy(update={"provenance": provenance}))
        self.best = Best(self._name, provenance.step, validated.success)
        return True


def _kept(name: str, files: RunFiles) -> Best | None:
    """The best state that is on disk; a damaged one is as good as none."""
    try:
        provenance = read_card(files.weights).provenance if files.weights.exists() else None
    except LewmError:
        return None
    if provenance is None or provenance.chosen_by is None:
        return None
    return Best(f"{name}{BEST}", provenance.step, provenance.chosen_by.success)
