"""Staged violations as tables."""

from collections.abc import Sequence

from rich.console import RenderableType

from lewm_cli.report.numbers import brackets, number, p_value
from lewm_cli.report.pieces import plain_table
from lewm_cli.report.surprising import DETECTOR_TITLES
from lewm_cli.surprise import DetectorDoses, DetectorScore, DoseResult, PerturbationResult


def perturbation_tables(*results: PerturbationResult) -> list[RenderableType]:
    """Show how clearly every detector tells one violation, or several that were staged in one call."""
    first = results[0]
    lines = [
        "Perturbed over untouched at the event, same episodes and actions; 95 % intervals",
        "over episodes. After: ratio over later steps. p: paired t-test.",
        "Untrained, latent step and pixel step do without learned predictions: a jump is",
        "easy to see.",
    ]
    if len(results) > 1:
        lines[-1] += f" Holm: p corrected for all {first.tests} tests of this table."
    if first.horizon > 1:
        lines.append(f"Surprise is of {first.horizon} model steps ahead.")
    if first.beside:
        lines.append(f"Beside: surprise of {first.beside.run}.")
    for one in results:
        if pairs := [(each.difference, each.matched) for each in one.episodes if each.matched is not None]:
            own, aim = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
            lines.append(f"{one.perturbation}: pixels differ by {own:.4g}, those of the teleport by {aim:.4g}.")
    return [_one(first) if len(results) == 1 else _several(results), "\n".join(lines)]


def dose_tables(result: DoseResult) -> list[RenderableType]:
    """Show what share of changes of every size is found, and the size that is found half of the time."""
    sizes = [number(size, 2) for size in result.sizes]
    table = plain_table(
        *("detector", *sizes, "half"),
        title=f"{result.perturbation}, {result.size_unit}, found (%): {result.run} on {len(result.tried)} episodes of "
        f"{result.dataset.name}",
        padding=(0, 1, 0, 0),
    )
    for detector, found in result.detectors.items():
        shares = [f"{100 * one.rate:.0f}" for one in found.found]
        table.add_row(DETECTOR_TITLES[detector], *shares, half_text(result, found))
    lines = [
        f"Found: above a threshold that {100 * result.false_alarms:.2g} % of the steps of untouched episodes are",
        f"expected to pass, from {len(result.calibrated)} other episodes. Half: the size found half of the time,",
        "isotonic over its logarithm, with a 95 % interval over episodes.",
    ]
    if result.beside:
        lines.append(f"Beside: surprise of {result.beside.run}.")
    return [table, "\n".join(lines)]


def half_text(result: DoseResult, found: DetectorDoses) -> str:
    """The size that is found half of the time, with its interval."""

    def written(size: float | None) -> str:
        if size is None:
            return f">{number(result.sizes[-1], 2)}"
        return f"{'<' if size <= result.sizes[0] else ''}{number(size, 2)}"

    return f"{written(found.half)} {brackets(written(found.half_low), written(found.half_high))}"


def _one(result: PerturbationResult) -> RenderableType:
    sizes = [episode.size for episode in result.episodes]
    table = plain_table(
        *("detector", "ratio", "log ratio", "after", "p", "AUROC"),
        title=f"{result.perturbation}, {_span(sizes)} {result.size_unit}: {result.run} on "
        f"{len(sizes)} episodes of {result.dataset.name}",
        padding=(0, 1, 0, 0),
    )
    for detector, score in result.scores.items():
        log_ratio = f"{score.log_ratio:.2f} [{score.log_ratio_low:.2f}, {score.log_ratio_high:.2f}]"
        cells = (str(score), log_ratio, _after(score), p_value(score.t_test), f"{score.auroc:.3f}")
        table.add_row(DETECTOR_TITLES[detector], *cells)
    return table


def _several(results: Sequence[PerturbationResult]) -> RenderableType:
    first = results[0]
    table = plain_table(
        *("staged", "detector", "ratio", "after", "p", "Holm", "AUROC"),
        title=f"{first.run} on {len(first.episodes)} episodes of {first.dataset.name}",
        padding=(0, 1, 0, 0),
    )
    for result in results:
        for place, (detector, score) in enumerate(result.scores.items()):
            holm = "" if score.corrected is None else p_value(score.corrected)
            cells = (str(score), _after(score), p_value(score.t_test), holm, f"{score.auroc:.3f}")
            table.add_row("" if place else result.perturbation, DETECTOR_TITLES[detector], *cells)
        table.add_section()
    return table


def _span(sizes: list[float]) -> str:
    low, high = f"{min(sizes):.0f}", f"{max(sizes):.0f}"
    return low if low == high else f"{low} to {high}"


def _after(score: DetectorScore) -> str:
    after = score.after
    return f"{after:.2f}" if after < 100 else f"{after:.0f}" if after < 1e6 else ">1e6"
