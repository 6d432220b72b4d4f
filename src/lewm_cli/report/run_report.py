"""Everything that is known about a run, for a page."""

from dataclasses import dataclass

from lewm_cli.evaluate import EvalResult, FilmResult
from lewm_cli.methods import RunCard
from lewm_cli.probe import ProbeResult
from lewm_cli.surprise import PerturbationResult, SurpriseResult
from lewm_cli.train import TrainingHistory


@dataclass(frozen=True)
class RunReport:
    """A run and the newest of each kind of its stored results; None where nothing was measured.

    Args:
        name: run name.
        card: configuration, normalization, provenance.
        parameters: of the model.
        history: of the training; empty where the log is gone.
        evaluation, films, probe, surprise: the newest of each.
        perturbations: the newest of each perturbation.
    """

    name: str
    card: RunCard
    parameters: int
    history: TrainingHistory
    evaluation: EvalResult | None
    films: FilmResult | None
    probe: ProbeResult | None
    surprise: SurpriseResult | None
    perturbations: tuple[PerturbationResult, ...]
