"""The latent space of a run: in lines with the same number of an untrained encoder, and as tables."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from rich.console import RenderableType

from lewm_cli.latent import LatentResult
from lewm_cli.plural import counted
from lewm_cli.report.numbers import decimals, number, percent
from lewm_cli.report.pieces import measured_on, plain_table
from lewm_cli.statistics import Estimate

SHAPE, CORRELATION = "Epps-Pulley, shape", "distance correlation"

COMPARED = {
    "straightness": "straightness",
    "effective rank": "eff. rank",
    SHAPE: "Epps-Pulley",
    CORRELATION: "distance",
}
"""Lines that are compared, and what their columns are called."""


@dataclass(frozen=True)
class LatentLine:
    """One number of the latent space.

    Args:
        value: of the model, and `low` and `high` its interval; None where it has none.
        text, untrained: as they are written, of the model and of the untrained encoder.
        meaning: in words, and what it is to be compared with.
    """

    what: str
    value: float
    low: float | None
    high: float | None
    text: str
    untrained: str
    meaning: str


def latent_lines(result: LatentResult) -> Iterator[LatentLine]:
    """The numbers that matter, those that could not be measured left out."""
    model, untrained = result.scores["model"], result.scores["untrained"]
    spread, floor, true = model.spectrum, untrained.spectrum, result.true_distance
    dimensions = len(spread.eigenvalues)
    if model.straightness and untrained.straightness:
        yield _estimated("straightness", model.straightness, untrained.straightness, "line 1, random walk 0")
    yield _line("effective rank", spread.effective_rank, floor.effective_rank, f"of {dimensions} directions", 1)
    narrow = f"; {spread.narrow} hardly vary" if spread.narrow else ""
    ratios = spread.participation_ratio, floor.participation_ratio
    yield _line("participation ratio", *ratios, f"of {dimensions}{narrow}", 1)
    if spread.correlation is not None and spread.largest_correlation is not None:
        meaning = f"largest {spread.largest_correlation:.2f}"
        yield _line("correlation of two", spread.correlation, floor.correlation or 0.0, meaning)
    if model.gaussianity and untrained.gaussianity and result.gaussian:
        null = result.gaussian
        meaning = f"Gaussian {null.shape:.2f} [{null.shape_low:.2f}, {null.shape_high:.2f}]"
        yield _line(SHAPE, model.gaussianity.shape, untrained.gaussianity.shape, meaning)
        own, other = model.gaussianity.statistic, untrained.gaussianity.statistic
        if own is not None and other is not None:
            meaning = f"N(0, 1) {null.statistic:.2f} [{null.statistic_low:.2f}, {null.statistic_high:.2f}]"
            yield _line("Epps-Pulley, N(0, 1)", own, other, meaning)
    if model.coverage and untrained.coverage:
        own, other = model.coverage, untrained.coverage
        meaning = f"true places {percent(true.coverage.coverage)}" if true and true.coverage else ""
        text, beside = percent(own.coverage), percent(other.coverage)
        yield LatentLine("coverage", own.coverage, None, None, text, beside, meaning)
        yield _line("density", own.density, other.density, "1 if halves are alike")
    if model.distances and untrained.distances and true:
        own, other = model.distances, untrained.distances
        yield _estimated(CORRELATION, own.correlation, other.correlation, "latent with true distance")
        meaning = f"best {number(true.nearest)}, random {number(true.random)}"
        yield _estimated(f"nearest frame, {true.unit}", own.nearest, other.nearest, meaning, number)


def latent_tables(result: LatentResult) -> list[RenderableType]:
    """One row per number: the model's, that of an untrained encoder, and what it means."""
    table = plain_table(
        *("latent space", "model", "untrained", "beside it"),
        title=measured_on(result),
        padding=(0, 1, 0, 0),
        fold=(3,),
    )
    for line in latent_lines(result):
        table.add_row(line.what, line.text, line.untrained, line.meaning)
    said = [
        f"{result.frames:,} frames, {result.frameskip} environment steps apart, of "
        f"{counted(len(result.episodes), 'episode')}. Straightness: mean cosine",
        "of successive latent steps. Epps-Pulley: SIGReg's statistic, on one frame of each",
        "episode. Coverage: of half of the episodes by the other half. Nearest frame: how",
        "far off it truly is. 95 % intervals; untrained: the same encoder before training.",
    ]
    if result.components:
        said.append(f"Latents of {result.latent:,} dimensions: seen through {result.components} principal components.")
    return [table, "\n".join(said)]


def latent_comparison(results: Mapping[str, LatentResult]) -> list[RenderableType]:
    """The latent spaces of several runs by their names: a row each, and what to mind when reading them."""
    texts = {name: {line.what: line.text for line in latent_lines(one)} for name, one in results.items()}
    shown = [what for what in COMPARED if any(what in lines for lines in texts.values())]
    headings = ("latent space", *(COMPARED[what] for what in shown))
    table = plain_table(*headings, padding=(0, 1, 0, 0), fold=(0,))
    for name, lines in texts.items():
        table.add_row(name, *(lines.get(what, "") for what in shown))
    return [table, "\n".join(["", *_notes(results)])]


def _notes(results: Mapping[str, LatentResult]) -> Iterator[str]:
    first, *others = results.items()
    for name, one in others:
        if _frames(one) != _frames(first[1]):
            yield f"{name}: MEASURED ON OTHER FRAMES THAN {first[0]}"
    for name, one in results.items():
        if not one.held_out:
            yield f"{name}: EPISODES IT MAY HAVE BEEN TRAINED ON"
    gaussian = next((one.gaussian for one in results.values() if one.gaussian), None)
    if gaussian:
        yield f"Epps-Pulley: of the shape along random directions; a Gaussian has {gaussian.shape:.2f}."
    yield "Distance: rank correlation of latent and true distance. 95 % intervals."


def _frames(result: LatentResult) -> tuple[str, tuple[int, ...], int]:
    return result.dataset.fingerprint, result.episodes, result.frameskip


def _estimated(
    what: str, own: Estimate, other: Estimate, meaning: str, write: Callable[[float, int], str] = decimals
) -> LatentLine:
    value, low, high, beside = (write(one, 2) for one in (own.value, own.low, own.high, other.value))
    return LatentLine(what, own.value, own.low, own.high, f"{value} [{low}, {high}]", beside, meaning)


def _line(what: str, own: float, other: float, meaning: str, places: int = 2) -> LatentLine:
    return LatentLine(what, own, None, None, decimals(own, places), decimals(other, places), meaning)
