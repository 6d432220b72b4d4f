"""Compare stored results: evaluations that were named, by run or by path, pair by pair, and other results of runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lewm_cli.errors import LewmError, UsageError
from lewm_cli.evaluate import EvalResult, NamedResult, PairedComparison, compare
from lewm_cli.files import try_writing, write_text
from lewm_cli.flows.named_result import NamedKind, numbered
from lewm_cli.latent import LatentResult
from lewm_cli.offline import OfflineResult
from lewm_cli.store import Home, Measurement, Say
from lewm_cli.suggestion import command

EVALUATIONS = NamedKind("eval", EvalResult, "evaluation", "evaluations can be compared", ("eval", "RUN"))
LATENTS = NamedKind("latent", LatentResult, "latent result", "latent results are meant here", ("latent", "RUN"))

OFFLINE = NamedKind(
    "offline", OfflineResult, "offline result", "offline results are meant here", ("eval", "RUN", "--offline")
)

Kind = TypeVar("Kind", bound=Measurement)


@dataclass(frozen=True)
class Compared:
    """Stored results of all that was named.

    Args:
        evaluations: pair by pair; None if one of the runs was never evaluated, and something else can be compared.
        latents, offline: the newest of each run by its name, empty unless all have one.
    """

    evaluations: PairedComparison | None
    latents: dict[str, LatentResult]
    offline: dict[str, OfflineResult]


def compare_stored(home: Home, typed: Sequence[str], plot: Path | None, say: Say) -> Compared:
    """Compare evaluations with the first of them, pair by pair, and put other results side by side.

    Args:
        typed: paths of stored evaluations, or names of runs, of which the newest results are taken.
        plot: the SVG file to draw the evaluations into, if any.

    Raises:
        UsageError: fewer than two results, or the plot is no SVG file.
        LewmError: one cannot be read or was never made, or they are not of the same pairs.
    """
    if plot and plot.suffix != ".svg":
        raise UsageError(f"{str(plot)!r} does not end in .svg, and that is what plots are drawn as")
    if plot:
        try_writing(plot)
    latents, offline = (_every(home, typed, kind, say) for kind in (LATENTS, OFFLINE))
    try:
        found = [(Path(one), _read(Path(one))) if one.endswith(".json") else _newest(home, one, say) for one in typed]
    except NeverEvaluatedError as error:
        if plot or not (latents or offline):
            raise
        say(f"success is not compared: {error}")
        return Compared(None, latents, offline)
    names = numbered([result.run for _, result in found])
    named = [NamedResult(name, str(path), result) for name, (path, result) in zip(names, found, strict=True)]
    comparison = compare(named)
    if plot:
        from lewm_cli.report.plain_svg import comparison_svg  # late: matplotlib

        write_text(plot, comparison_svg(comparison))
    return Compared(comparison, latents, offline)


class NeverEvaluatedError(LewmError):
    """A run has no evaluation of the weights that it has now."""


def _every(home: Home, typed: Sequence[str], kind: NamedKind[Kind], say: Say) -> dict[str, Kind]:
    """The newest result of a kind of each run; none if there are paths, a single run, or a run without."""
    if any(one.endswith(".json") for one in typed):
        return {}
    found = [kind.newest(home, home.find_run(name), say) for name in typed]
    results = [one[1] for one in found if one]
    if len(results) < max(2, len(typed)):
        return {}
    return dict(zip(numbered([result.run for result in results]), results, strict=True))


def _newest(home: Home, name: str, say: Say) -> tuple[Path, EvalResult]:
    """The newest evaluation of a run's present weights."""
    run = home.find_run(name)
    if found := EVALUATIONS.newest(home, run, say):
        return found
    raise NeverEvaluatedError(
        f"{run.name} was never evaluated with the weights it has now; start with: {command('eval', run.name)}"
    )


def _read(path: Path) -> EvalResult:
    result = EVALUATIONS.read(path)
    if not result.episodes:
        raise LewmError(f"{path} holds no pairs, so there is nothing to compare; {EVALUATIONS.advice}")
    return result
