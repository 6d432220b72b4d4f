"""Everything that was measured on a run."""

from dataclasses import dataclass
from pathlib import Path

from lewm_cli.evaluate import EvalResult, EvalSeries, FilmResult
from lewm_cli.probe import ProbeResult
from lewm_cli.surprise import PerturbationResult, SurpriseResult


@dataclass(frozen=True)
class StoredResults:
    """Results of a run's present weights, each kind oldest first.

    Args:
        evaluations, series, films, probes, surprises, perturbations: by kind.
        unreadable: files beside them that are no results of this version.
    """

    evaluations: tuple[EvalResult, ...] = ()
    series: tuple[EvalSeries, ...] = ()
    films: tuple[FilmResult, ...] = ()
    probes: tuple[ProbeResult, ...] = ()
    surprises: tuple[SurpriseResult, ...] = ()
    perturbations: tuple[PerturbationResult, ...] = ()
    unreadable: tuple[Path, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing was measured."""
        return not (self.evaluations or self.probes or self.surprises or self.perturbations)
