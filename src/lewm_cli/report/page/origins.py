"""Where every number on the page comes from."""

from dataclasses import dataclass

from lewm_cli.report.run_report import RunReport


@dataclass(frozen=True)
class Origin:
    """One stored measurement."""

    kind: str
    weights: str
    dataset: str
    held_out: bool
    seed: int | None
    seconds: float
    device: str
    time: str
    command: str
    versions: dict[str, str]


def origins(report: RunReport) -> list[Origin]:
    """The measurements on the page, in its order."""
    evaluation, films, probe, surprise = report.evaluation, report.films, report.probe, report.surprise
    measured = [
        ("planning", evaluation, evaluation and evaluation.protocol.seed),
        ("films", films, films and films.protocol.seed),
        ("probes", probe, probe and probe.seed),
        ("surprise", surprise, None),
        *((f"surprise, {result.perturbation}", result, result.seed) for result in report.perturbations),
    ]
    return [
        Origin(
            kind=kind,
            weights=result.weights_sha256,
            dataset=f"{result.dataset.name} ({result.dataset.fingerprint[:12]})",
            held_out=result.held_out,
            seed=seed,
            seconds=result.seconds,
            device=result.device,
            time=result.time,
            command=result.command,
            versions=result.versions,
        )
        for kind, result, seed in measured
        if result is not None
    ]
