"""Compare stored evaluations: read what was named, by run or by path, and pair it."""

from collections.abc import Sequence
from pathlib import Path

from lewm_cli.errors import LewmError, UsageError
from lewm_cli.evaluate import EvalResult, NamedResult, PairedComparison, compare
from lewm_cli.files import try_writing, write_text
from lewm_cli.flows.named_result import NamedKind, numbered
from lewm_cli.store import Home, Say
from lewm_cli.suggestion import command

EVALUATIONS = NamedKind("eval", EvalResult, "evaluation", "evaluations can be compared", ("eval", "RUN"))


def compare_stored(home: Home, typed: Sequence[str], plot: Path | None, say: Say) -> PairedComparison:
    """Compare evaluations with the first of them, pair by pair.

    Args:
        typed: paths of stored evaluations, or names of runs, of which the newest evaluation is taken.
        plot: the SVG file to draw, if any.

    Raises:
        UsageError: fewer than two results, or the plot is no SVG file.
        LewmError: one cannot be read or was never made, or they are not of the same pairs.
    """
    if plot and plot.suffix != ".svg":
        raise UsageError(f"{str(plot)!r} does not end in .svg, and that is what plots are drawn as")
    if plot:
        try_writing(plot)
    found = [(Path(one), _read(Path(one))) if one.endswith(".json") else _newest(home, one, say) for one in typed]
    names = numbered([result.run for _, result in found])
    named = [NamedResult(name, str(path), result) for name, (path, result) in zip(names, found, strict=True)]
    comparison = compare(named)
    if plot:
        from lewm_cli.report.plain_svg import comparison_svg  # late: matplotlib

        write_text(plot, comparison_svg(comparison))
    return comparison


def _newest(home: Home, name: str, say: Say) -> tuple[Path, EvalResult]:
    """The newest evaluation of a run's present weights."""
    run = home.find_run(name)
    if found := EVALUATIONS.newest(home, run, say):
        return found
    raise LewmError(
        f"{run.name} was never evaluated with the weights it has now; start with: {command('eval', run.name)}"
    )


def _read(path: Path) -> EvalResult:
    result = EVALUATIONS.read(path)
    if not result.episodes:
        raise LewmError(f"{path} holds no pairs, so there is nothing to compare; {EVALUATIONS.advice}")
    return result
