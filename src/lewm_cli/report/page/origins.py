"""Where every number on the page comes from."""

from dataclasses import dataclass

from lewm_cli.report.run_report import RunReport
from lewm_cli.store import Measurement


@dataclass(frozen=True)
class Origin:
    """A stored measurement, what it is called and the seed it had, if any."""

    kind: str
    measurement: Measurement
    seed: int | None


def origins(report: RunReport) -> list[Origin]:
    """The measurements on the page, in its order."""
    found = []
    if report.evaluation:
        found.append(Origin("planning", report.evaluation, report.evaluation.protocol.seed))
    if report.films:
        found.append(Origin("films", report.films, report.films.protocol.seed))
    if report.probe:
        found.append(Origin("probes", report.probe, report.probe.seed))
    if report.surprise:
        found.append(Origin("surprise", report.surprise, report.surprise.seed))
    found += [Origin(f"surprise, {result.perturbation}", result, result.seed) for result in report.perturbations]
    return found
