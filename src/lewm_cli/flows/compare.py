"""Compare stored evaluations: read what was named, by run or by path, and pair it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from lewm_cli.errors import LewmError, MissingError, UsageError
from lewm_cli.evaluate import EvalResult, NamedResult, PairedComparison, compare
from lewm_cli.files import try_writing, write_text
from lewm_cli.flows.results import KINDS, result_paths, results_folders
from lewm_cli.store import Home, Say, weights_digest
from lewm_cli.suggestion import command
from lewm_cli.system_errors import explain
from lewm_cli.text_file import read_text


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
    paths = (Path(one) if one.endswith(".json") else _newest(home, one, say) for one in typed)
    found = [(path, _read(path)) for path in paths]
    total, seen, named = Counter(result.run for _, result in found), Counter[str](), []
    for path, result in found:
        seen[result.run] += 1
        number = f" ({seen[result.run]})" if total[result.run] > 1 else ""
        named.append(NamedResult(f"{result.run}{number}", str(path), result))
    comparison = compare(named)
    if plot:
        from lewm_cli.report.plain_svg import comparison_svg  # late: matplotlib

        write_text(plot, comparison_svg(comparison))
    return comparison


def _newest(home: Home, name: str, say: Say) -> Path:
    """The newest evaluation of a run's present weights."""
    run = home.find_run(name)
    digest = weights_digest(run.files.weights)
    for path in reversed(result_paths(results_folders(home, run.name, run.files), ["eval"])):
        try:
            result = _read(path)
        except LewmError as error:
            say(f"passed over: {error}")
            continue
        if result.weights_sha256 == digest:
            say(f"{name}: {path}")
            return path
    raise LewmError(
        f"{run.name} was never evaluated with the weights it has now; start with: {command('eval', run.name)}"
    )


def _read(path: Path) -> EvalResult:
    try:
        content = read_text(path, "a stored evaluation")
    except FileNotFoundError as error:
        hint = "stored evaluations lie in <run>.run/results, and the name of a run means its newest one"
        raise MissingError(f"there is no file {path}; {hint}") from error
    except OSError as error:
        raise explain(error, path, "read") from error
    try:
        result = EvalResult.model_validate_json(content)
    except ValidationError as error:
        raise LewmError(f"{path} is {_what_else(content, error)}; make one with: {command('eval', 'RUN')}") from error
    if not result.episodes:
        raise LewmError(
            f"{path} holds no pairs, so there is nothing to compare; make another with: {command('eval', 'RUN')}"
        )
    return result


def _what_else(content: str, error: ValidationError) -> str:
    """Names the contents of a file that is no evaluation."""
    for word, kind in KINDS.items():
        try:
            kind.model_validate_json(content)
        except ValidationError:
            continue
        return f"a stored {word} result, and only evaluations can be compared"
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    problem = first["msg"][0].lower() + first["msg"][1:]
    return f"no evaluation as this version stores it ({f'{place}: ' if place else ''}{problem})"
