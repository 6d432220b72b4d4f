"""Everything that a page of a run shows, and what to type for what was not measured yet."""

from dataclasses import dataclass
from typing import Self

from lewm_cli.config import PatchNetworkConfig
from lewm_cli.decode import DecodeResult
from lewm_cli.demo import fits_a_page
from lewm_cli.diagnose.film_result import FilmResult
from lewm_cli.evaluate import EvalResult, ImproveResult
from lewm_cli.latent import LatentResult
from lewm_cli.methods import RunCard
from lewm_cli.offline import OfflineResult
from lewm_cli.probe import ProbeResult
from lewm_cli.store import Run, StoredResults
from lewm_cli.suggestion import command
from lewm_cli.surprise import DoseResult, PerturbationResult, SurpriseResult
from lewm_cli.tasks import TWOROOM, Task, find_task
from lewm_cli.train import TrainingHistory, read_log


@dataclass(frozen=True)
class RunReport:
    """A run and the newest of each kind of its stored results; None where nothing was measured.

    Args:
        parameters: of the model.
        history: of the training; empty where the log is gone.
        films: the newest of that evaluation.
        perturbations: the newest of each perturbation.
    """

    name: str
    card: RunCard
    parameters: int
    history: TrainingHistory
    evaluation: EvalResult | None
    improved: ImproveResult | None
    films: FilmResult | None
    offline: OfflineResult | None
    probe: ProbeResult | None
    surprise: SurpriseResult | None
    perturbations: tuple[PerturbationResult, ...]
    latent: LatentResult | None
    decoded: DecodeResult | None
    doses: DoseResult | None

    @classmethod
    def of(cls, run: Run, results: StoredResults) -> Self:
        """Choose what is shown of a run."""
        evaluation = results.newest(EvalResult)
        measured = (evaluation.dataset, evaluation.protocol) if evaluation else None
        films = [one for one in results.of(FilmResult) if (one.dataset, one.protocol) == measured]
        return cls(
            name=run.name,
            card=run.card,
            parameters=run.model.parameter_count,
            history=read_log(run.files.log),
            evaluation=evaluation,
            improved=results.newest(ImproveResult),
            films=films[-1] if films else None,
            offline=results.newest(OfflineResult),
            probe=results.newest(ProbeResult),
            surprise=results.newest(SurpriseResult),
            perturbations=tuple({one.perturbation: one for one in results.of(PerturbationResult)}.values()),
            latent=results.newest(LatentResult),
            decoded=results.newest(DecodeResult),
            doses=results.newest(DoseResult),
        )

    @property
    def plans(self) -> bool:
        """True for a world model; a policy acts without planning."""
        return self.card.model.latent_dim is not None

    @property
    def frozen(self) -> bool:
        """True for a network on the patch tokens of an encoder that it does not train."""
        return isinstance(self.card.model, PatchNetworkConfig)


@dataclass(frozen=True)
class Commands:
    """Command lines; None for what cannot be measured, for want of a simulator, of known quantities, or of latents."""

    evaluate: str | None
    offline: str
    probe: str | None
    latent: str | None
    surprise: str | None
    decode: str | None
    view: str
    demo: str | None


def next_commands(report: RunReport) -> Commands:
    """Write the commands that would fill the page of a run, and those of pages that show its films, and it planning."""
    task = find_task(report.card.inputs.task)
    simulated = task is not None and task.make_simulator is not None
    dataset = report.evaluation.dataset if report.evaluation else report.card.dataset
    surprise = ["surprise", dataset.name, "--run", report.name]
    if task and task.perturbations:
        surprise += ["--perturb", task.perturbations[0].name]
    return Commands(
        evaluate=command("eval", report.name) if simulated else None,
        offline=command("eval", report.name, *(["--offline"] if simulated else [])),
        probe=command("probe", report.name) if task and task.probe_targets and report.plans else None,
        latent=command("latent", report.name) if report.plans else None,
        surprise=command(*surprise) if report.plans else None,
        decode=command("decode", report.name) if report.plans else None,
        view=command("view", report.name),
        demo=_demo(report, task),
    )


def _demo(report: RunReport, task: Task | None) -> str | None:
    if not (task and task.make_simulator and report.plans and fits_a_page(report.card)):
        return None
    return command("demo", report.name, *([] if task is TWOROOM else ["--serve"]))
