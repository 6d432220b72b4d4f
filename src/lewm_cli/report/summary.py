"""A run in a few numbers and plain sentences: a table, a tree for programs, and the top of its page."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from rich.console import RenderableType

from lewm_cli.decode import DecodeResult
from lewm_cli.evaluate import EvalResult, ImproveResult
from lewm_cli.latent import LatentResult
from lewm_cli.offline import OfflineResult
from lewm_cli.plural import counted
from lewm_cli.probe import ProbeResult
from lewm_cli.report.latent_space import latent_lines
from lewm_cli.report.numbers import (
    TIMES,
    ahead,
    brackets,
    decimals,
    duration,
    interval,
    listed,
    number,
    p_value,
    percent,
    times,
)
from lewm_cli.report.offline_lines import percentile_text, ranking_name, share_text
from lewm_cli.report.pieces import plain_table
from lewm_cli.report.run_report import RunReport
from lewm_cli.statistics import Rate
from lewm_cli.surprise import DoseResult, PerturbationResult
from lewm_cli.tasks import find_task
from lewm_cli.train import HeldOutLatents


@dataclass(frozen=True)
class Line:
    """One number, its interval where it has one, how it is written, and what it is to be compared with."""

    what: str
    value: float
    low: float | None
    high: float | None
    text: str
    beside: str


def report_tables(report: RunReport) -> list[RenderableType]:
    """Everything that was measured, each number with its interval and what stands beside it."""
    table = plain_table("measured", "value", "beside it", title=report.name, fold=(0, 1, 2))
    for line in _lines(report):
        table.add_row(line.what, line.text, line.beside)
    return [table]


def report_tree(report: RunReport, path: Path) -> dict[str, Any]:
    """The same for programs, and where the page is."""
    return {"run": report.name, "report": str(path), "measured": [asdict(line) for line in _lines(report)]}


def _lines(report: RunReport) -> Iterator[Line]:
    if report.history.held_out:
        last = report.history.held_out[-1].held_out
        if isinstance(last, HeldOutLatents):
            ratio = f"{last.prediction / last.copying:.1%} of copying the last latent" if last.copying else ""
            yield Line("held-out prediction", last.prediction, None, None, number(last.prediction), ratio)
            yield Line("latent std per dimension", last.std, None, None, f"{last.std:.2f}", "collapsed near 0")
        else:
            for name, value in last.parts.items():
                yield Line(f"held-out {name}", value, None, None, number(value), "")
    if report.evaluation:
        yield from planning_lines(report.evaluation)
    if report.improved:
        yield from improved_lines(report.improved)
    if report.offline:
        yield from offline_lines(report.offline)
    if report.probe:
        yield from probe_lines(report.probe)
    if report.latent:
        yield from latent_summary(report.latent)
    yield from map(perturbation_line, report.perturbations)
    if report.decoded:
        yield from decode_lines(report.decoded)
    if report.doses and (line := dose_line(report.doses)):
        yield line


def planning_lines(result: EvalResult) -> Iterator[Line]:
    """Success in every group of pairs, lines that belong to the one before indented; then the references."""
    seen = "" if result.held_out else "; EPISODES IT MAY HAVE BEEN TRAINED ON"
    for group in (result.overall, *result.groups):
        beside = f"{counted(group.pairs, 'pair')}{_seeds(result)}; random {group.random}{seen}"
        yield _rate(f"success, {group.name}", group.success, beside)
        if group.route_valid:
            yield _rate("  clear of walls", group.route_valid, "success on a route that overlaps none")
    if result.references:
        for what, one in (("latent", result.references.true_latent), ("true", result.references.true_state)):
            yield _rate(f"true dynamics, {what} cost", one.success, f"{one.above_run} points above the run")


def improved_lines(result: ImproveResult) -> Iterator[Line]:
    """Success of the chosen planner at every distance, beside that of the protocol's; nothing if that was kept."""
    seen = "" if result.held_out else "; EPISODES IT MAY HAVE BEEN TRAINED ON"
    for gain in result.gains:
        beside = f"{counted(gain.now.trials, 'pair')}; before {gain.before}{seen}"
        yield _rate(f"success of the improved planner, {gain.offset} steps ahead", gain.now, beside)


def offline_lines(result: OfflineResult) -> Iterator[Line]:
    """Prediction at the first and the last step, ranks of the recorded actions, and goals that are found."""
    if result.errors:
        for step in sorted({1, len(result.errors.share)}):
            one, mean = result.errors.share[step - 1], number(result.errors.mean[step - 1])
            what = f"offline error, {counted(step, 'model step')}"
            beside = f"of copying the last latent; mean latent {mean}"
            yield Line(what, one.value, one.low, one.high, share_text(one), beside)
    for ranked in result.rankings:
        one, what = ranked.percentile, f"percentile of recorded actions, {ranking_name(ranked)}"
        beside = f"chance 50, untrained {100 * ranked.untrained:.0f}"
        yield Line(what, one.value, one.low, one.high, percentile_text(one), beside)
    for found in result.retrievals:
        beside = f"of {found.frames} frames; standing still {found.copying.nearest.rate:.1%}"
        yield _rate(f"goal found, {counted(found.horizon, 'step')} ahead", found.model.nearest, beside)


def probe_lines(result: ProbeResult) -> Iterator[Line]:
    """Scores of the better probe, quantity by quantity, beside those of its references.

    How fast something changes is read from the history, for one frame does not show it.
    """
    for target in result.targets:
        score, untrained, pixels = (target.mlp[feature] for feature in ("model", "untrained", "pixels"))
        what = f"MLP probe R2, {target.name}"
        beside = f"untrained {untrained.overall.value:.2f}, pixel PCA {pixels.overall.value:.2f}"
        if target.rate and (history := target.mlp.get("history")):
            what, beside, score = f"{what}, from the history", f"from one frame {score.overall.value:.2f}", history
        r2 = score.overall
        yield Line(what, r2.value, r2.low, r2.high, str(score), beside)
    for one in result.open_loop.horizons if result.open_loop else ():
        what = f"open-loop error, {one.steps * result.open_loop.frameskip} steps"
        yield Line(what, one.ratio.value, one.ratio.low, one.ratio.high, f"{one.ratio}", "of copying the last latent")


def latent_summary(result: LatentResult) -> Iterator[Line]:
    """The numbers of the latent space, beside those of an untrained encoder."""
    for line in latent_lines(result):
        yield Line(f"latent {line.what}", line.value, line.low, line.high, line.text, f"untrained {line.untrained}")


def perturbation_line(result: PerturbationResult) -> Line:
    """The ratio of surprise at the change to that of the same step untouched."""
    score, simple = result.scores["model"], result.scores["pixels"]
    beside = f"p {p_value(score.t_test)}, pixel step {simple.ratio:.2g} x"
    what = f"surprise at {result.perturbation}{ahead(result.horizon)}"
    return Line(what, score.ratio, score.ratio_low, score.ratio_high, f"{score} x", beside)


def decode_lines(result: DecodeResult) -> Iterator[Line]:
    """PSNR of the last imagined frames, on the pixels that changed if any did, beside its limit and its floors."""
    last = {what: scores[-1] for what, scores in result.steps.items()}
    found = {f"PSNR imagined, step {result.horizon}": {what: score.likeness.psnr for what, score in last.items()}}
    found[f"PSNR where changed, step {result.horizon}"] = {
        what: score.changed for what, score in last.items() if score.changed
    }
    for title, scores in found.items():
        if one := scores.pop("imagined", None):
            beside = ", ".join(f"{what} {score.value:.1f}" for what, score in scores.items())
            yield Line(title, one.value, one.low, one.high, f"{one:.1f} dB", beside)


def dose_line(result: DoseResult) -> Line | None:
    """The smallest change found half of the time; None where not even the largest is."""
    own, simple = result.detectors["model"], result.detectors["pixels"].half
    if own.half is None:
        return None
    beside = f"{result.size_unit}; pixel step {'none' if simple is None else number(simple, 2)}"
    what = f"smallest {result.perturbation} found half of the time{ahead(result.horizon)}"
    ends = brackets(*("?" if end is None else number(end, 2) for end in (own.half_low, own.half_high)))
    return Line(what, own.half, own.half_low, own.half_high, f"{number(own.half, 2)} {ends}", beside)


def _rate(what: str, rate: Rate, beside: str) -> Line:
    return Line(what, rate.rate, rate.low, rate.high, str(rate), beside)


@dataclass(frozen=True)
class Headline:
    """One number that matters, what it is of, and what it has to be compared with."""

    label: str
    value: str
    context: str


def run_html(report: RunReport, facts: str) -> str:
    """The headlines of a run as a notebook shows them; `facts` says in a few words what it is."""
    rows = Markup("").join(
        Markup("<tr><th>{}</th><td><b>{}</b></td><td>{}</td></tr>").format(one.label, one.value, one.context)
        for one in headlines(report)
    )
    return str(Markup("<b>{}</b> {}<table>{}</table>").format(report.name, facts, rows))


def headlines(report: RunReport) -> list[Headline]:
    """The numbers of what was measured, the most important one first."""
    found = []
    if report.evaluation:
        overall = report.evaluation.overall
        context = f"of {overall.pairs} goals{_seeds(report.evaluation)}, 95% interval {interval(overall.success)}; "
        context += f"random actions {percent(overall.random.rate)} {interval(overall.random)}"
        found.append(
            Headline("Planning success" if report.plans else "Success", percent(overall.success.rate), context)
        )
    elif report.offline:
        ranked = report.offline.ranking
        context = f"percentile of the recorded actions, {ranking_name(ranked)}, 95% interval "
        context += f"{brackets(*(f'{100 * end:.0f}' for end in (ranked.percentile.low, ranked.percentile.high)))}"
        context += f"; chance 50, untrained {100 * ranked.untrained:.0f}"
        found.append(Headline("Action ranking", f"{100 * ranked.percentile.value:.0f}", context))
    if report.probe and report.probe.targets:
        worst = min(report.probe.still, key=lambda target: target.mlp["model"].r2)
        score, untrained = worst.mlp["model"], worst.mlp["untrained"]
        context = f"{worst.name} {brackets(decimals(score.r2_low), decimals(score.r2_high))}; "
        context += f"untrained model {decimals(untrained.r2, 2)}"
        several = len(report.probe.still) > 1
        found.append(Headline("Lowest probe R²" if several else "Probe R²", decimals(score.r2), context))
    event = _event(report)
    if event:
        score = event.scores["model"]
        context = f"{brackets(number(score.ratio_low, 2), number(score.ratio_high, 2))}; untouched is 1{TIMES}"
        found.append(Headline(f"Surprise, {event.perturbation}", times(score.ratio), context))
    provenance = report.card.provenance
    if report.history.seconds is not None and provenance:
        context = f"{provenance.step:,} steps on {provenance.device}"
        found.append(Headline("Training", duration(report.history.seconds), context))
    millions = report.parameters / 1e6
    count = f"{report.parameters:,}" if millions < 1 else f"{millions:.{1 if millions < 100 else 0}f} M"
    latent = report.card.model.latent_dim
    return [*found, Headline("Parameters", count, "a policy" if latent is None else f"latent of {latent:,} dimensions")]


def sentences(report: RunReport) -> list[str]:
    """Data, model, training, success, and what a latent space knows: one sentence each."""
    return [
        _data_sentence(report),
        _model_sentence(report) if report.plans else _policy_sentence(report),
        _training_sentence(report),
        _success_sentence(report),
        *([_knowledge_sentence(report)] if report.plans else []),
    ]


def _data_sentence(report: RunReport) -> str:
    provenance, dataset = report.card.provenance, report.card.dataset
    if provenance is None:
        return f"Another tool trained it, on data that are not recorded; actions are scaled as in “{dataset.name}”."
    kept = f"{percent(provenance.train.data.validation, 0)} of the clips, drawn at random, were held out"
    if provenance.held_out:
        kept = f"{len(provenance.held_out)} of them were held out to measure on"
    task = find_task(report.card.inputs.task)
    world = task.title if task else report.card.inputs.task
    frames = f"{dataset.rows:,} frames, “{dataset.name}”"
    return f"The data are {counted(dataset.episodes, 'episode')} ({frames}) of {world}; {kept}."


def _model_sentence(report: RunReport) -> str:
    model, inputs = report.card.model, report.card.inputs
    return (
        f"A world model of {report.parameters:,} parameters turns each frame of {model.image_size} {TIMES} "
        f"{model.image_size} pixels into {counted(model.latent_dim, 'number')} and predicts the next such latent, "
        f"{counted(inputs.frameskip, 'environment step')} ahead, from up to {counted(model.history, 'past one')} "
        "and the actions taken."
    )


def _policy_sentence(report: RunReport) -> str:
    side, inputs = report.card.model.image_size, report.card.inputs
    actions = "the next action" if inputs.frameskip == 1 else f"the next {inputs.frameskip} actions"
    return (
        f"A policy of {report.parameters:,} parameters turns the current frame and a goal frame of {side} {TIMES} "
        f"{side} pixels into {actions} in one forward pass; it imagines nothing."
    )


def _training_sentence(report: RunReport) -> str:
    provenance, history = report.card.provenance, report.history
    if provenance is None:
        return "How it was trained is not recorded."
    begun = "It was trained" if history.seconds is None else f"Training took {duration(history.seconds)}"
    batch = provenance.train.optimizer.batch_size
    taken = f"{begun} for {provenance.step:,} optimizer steps of {batch} clips on {provenance.device}"
    if report.card.unusable:
        return f"{taken}; {report.card.unusable}."
    last = history.held_out[-1].held_out if history.held_out else None
    if isinstance(last, HeldOutLatents) and last.finite and last.copying > 0:
        error = f"{percent(last.prediction / last.copying)} of the error of copying the last latent"
        return f"{taken}; on held-out clips its prediction error is then {error}."
    return f"{taken}."


def _success_sentence(report: RunReport) -> str:
    result = report.evaluation
    if result is None and report.offline:
        return f"On recorded episodes, without a simulator, it {_said(report.offline)}."
    if result is None:
        return f"Whether it {'can plan' if report.plans else 'reaches goals'} was not measured yet."
    acting = "Planning with it" if report.plans else "Acting by it"
    seen = "never trained on" if result.held_out else "that it may have been trained on"
    success, protocol = result.overall.success, result.protocol
    reached = f"{success.successes} of {success.trials} goals {protocol.offset} steps ahead"
    return (
        f"{acting}{_seeds(result)} reached {reached} within {protocol.budget} steps, in episodes {seen}; "
        f"random actions from the same starts reached {result.overall.random.successes}."
    )


def _said(result: OfflineResult) -> str:
    """The verdict as the rest of a sentence."""
    return "; ".join(f"is {part}" if part.startswith("NOT") else part for part in result.verdict.split("; "))


def _knowledge_sentence(report: RunReport) -> str:
    parts = []
    if report.probe and report.probe.targets:
        names = listed([target.name for target in report.probe.still])
        least = decimals(min(target.mlp["model"].r2 for target in report.probe.still))
        beside = "not always more than without the model"
        if all(target.beats_references for target in report.probe.still):
            beside = "more than in an untrained model or in pixels"
        parts.append(f"a small network finds {names} in the latent with R² of {least} or more, {beside}")
    event = _event(report)
    if event:
        ratio = times(event.scores["model"].ratio)
        parts.append(f"when {what_happens(event)}, the model's surprise is {ratio} that of the same step untouched")
    if not parts:
        return "What its latent space knows was not measured yet."
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _seeds(result: EvalResult) -> str:
    seeds = len(result.success_by_seed)
    return f" under {seeds} seeds each" if seeds > 1 else ""


def _event(report: RunReport) -> PerturbationResult | None:
    """The perturbation that the summary speaks of: the first of the task's that was measured."""
    scored = {result.perturbation: result for result in report.perturbations if "model" in result.scores}
    task = find_task(report.card.inputs.task)
    return next((scored[one.name] for one in (task.perturbations if task else ()) if one.name in scored), None)


def what_happens(result: PerturbationResult) -> str:
    """A perturbation as a clause, in the words of its task: the agent jumps to a random free place."""
    task = find_task(result.task)
    known = {one.name: one.title for one in task.perturbations} if task else {}
    return known.get(result.perturbation, f"a {result.perturbation}")
