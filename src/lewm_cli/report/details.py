"""A run in detail, as tables for a person and trees for programs."""

from pydantic_core import to_jsonable_python
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lewm_cli.config import PatchNetworkConfig
from lewm_cli.decode import DecodeResult
from lewm_cli.evaluate import EvalResult, ImproveResult
from lewm_cli.latent import LatentResult
from lewm_cli.offline import OfflineResult
from lewm_cli.probe import ProbeResult
from lewm_cli.report.latent_space import COMPARED, latent_lines
from lewm_cli.report.numbers import number
from lewm_cli.report.pieces import Tree, facts_table, framed_table, objective_settings, recorded_facts
from lewm_cli.report.summary import decode_lines, offline_lines
from lewm_cli.suggestion import command
from lewm_cli.surprise import Alarm, PerturbationResult, SurpriseResult, share
from lewm_cli.train import HeldOut, HeldOutLatents, RunDetails, TrainingFinished


def training_tables(finished: TrainingFinished) -> list[RenderableType]:
    """The last held-out numbers and the command to type next."""
    table = facts_table(f"{finished.run}: {finished.step} steps in {finished.seconds:.0f} s")
    _add_held_out(table, finished.held_out)
    table.add_row("saved", finished.path)
    if finished.best:
        best = finished.best
        table.add_row("best state", f"{best.run}: step {best.step:,}, success {best.success} on validation pairs")
    return [table]


def details_tables(details: RunDetails) -> list[RenderableType]:
    """A run: its sizes, how it was trained, and what was measured on it."""
    tables: list[RenderableType] = [_run_facts(details)]
    parts = Table("part", title="components", title_justify="left")
    for heading in ("parameters", "MFLOPs"):
        parts.add_column(heading, justify="right")
    parts.add_column("per")
    for part in details.components:
        parts.add_row(part.name, f"{part.parameters:,}", f"{part.flops / 1e6:,.3f}", part.per)
    parts.add_row("all", f"{details.run.model.parameter_count:,}", "", "")
    tables.append(parts)
    if evaluations := details.results.of(EvalResult):
        pace = "s/step" if details.run.model.config.latent_dim is None else "s/plan"
        headings = ("time, UTC", "pairs from", "ahead", "success", "random", pace)
        results = framed_table("evaluations", *headings, fold=(1,))
        for result in evaluations:
            rates = (str(result.overall.success), str(result.overall.random))
            day, clock = result.time[:16].split("T")
            pairs = Text(f"{result.dataset.name}\n{result.protocol}")  # 80 columns have no room for one more
            ahead, took = str(result.protocol.offset), number(result.seconds_per_plan)
            results.add_row(Text(f"{day}\n{clock}"), pairs, ahead, *rates, took)
        tables.append(results)
    if improvements := details.results.of(ImproveResult):
        planners = framed_table("planners chosen by lewm improve", "time, UTC", "tested on", "planner", "success")
        for improved in improvements:
            chosen = improved.chosen or "the protocol's, for no other is shown better"
            gains = (f"{gain.offset} ahead: {gain.now}, before {gain.before}" for gain in improved.gains)
            planners.add_row(improved.time[:16], improved.dataset.name, str(chosen), Text("\n".join(gains)))
        tables.append(planners)
    if details.heads:
        heads = framed_table("heads on its latents", "fitted", "kind", "file", "tested")
        for head in details.heads:
            fitted = head.fit.time[:16] if head.fit else ""
            heads.add_row(fitted, head.kind, head.path.name, head.problem or (head.fit.summary if head.fit else ""))
        tables.append(heads)
    title = "without a simulator, probes, latent space, surprise and imagination"
    measured = framed_table(title, "time, UTC", "frames from", "measured", "value", fold=(1,))
    for offline in details.results.of(OfflineResult):
        for line in offline_lines(offline):
            measured.add_row(offline.time[:16], offline.dataset.name, line.what, line.text)
    for probe in details.results.of(ProbeResult):
        for target in probe.targets:
            what = f"MLP probe R2, {target.name}"
            measured.add_row(probe.time[:16], probe.dataset.name, what, str(target.mlp["model"]))
    for latent in details.results.of(LatentResult):
        for line in latent_lines(latent):
            if line.what in COMPARED:
                measured.add_row(latent.time[:16], latent.dataset.name, f"latent {line.what}", line.text)
    for result in details.results.of(PerturbationResult):
        what = f"surprise at {result.perturbation}"
        measured.add_row(result.time[:16], result.dataset.name, what, f"{result.scores['model']} x")
    for alarm in details.results.of(Alarm):
        what = f"threshold, {share(alarm.false_alarms)} false alarms"
        measured.add_row(alarm.time[:16], alarm.dataset.name, what, number(alarm.threshold))
    for decoded in details.results.of(DecodeResult):
        for line in decode_lines(decoded):
            measured.add_row(decoded.time[:16], decoded.dataset.name, line.what, line.text)
    if measured.rows:
        tables.append(measured)
    return tables + [f"not a result of this version: {path}" for path in details.results.unreadable]


def details_tree(details: RunDetails) -> Tree:
    """The same for programs, with every stored result in full."""
    run = details.run
    tree = {
        "name": run.name,
        "method": run.method,
        "tensors": run.tensors,
        "source": run.source,
        "model": run.model.config,
        "card": run.card,
        "components": details.components,
        "held_out": details.held_out,
        "heads": details.heads,
        "path": run.files.weights,
        "stopped": run.files.stopped,
        "unreadable": details.results.unreadable,
        "evaluations": details.results.of(EvalResult),
        "offline": details.results.of(OfflineResult),
        "probes": details.results.of(ProbeResult),
        "latents": details.results.of(LatentResult),
        "surprises": details.results.of(SurpriseResult),
        "perturbations": details.results.of(PerturbationResult),
        "improved": details.results.of(ImproveResult),
        "alarms": details.results.of(Alarm),
        "decoded": details.results.of(DecodeResult),
    }
    return to_jsonable_python(tree, by_alias=True)


def _run_facts(details: RunDetails) -> Table:
    run, model, card = details.run, details.run.model.config, details.run.card
    facts = facts_table(run.name)
    facts.add_row("weights", f"{run.files.weights} ({run.tensors}/{run.tensors} tensors)")
    if run.source:
        facts.add_row("from elsewhere", run.source)
    facts.add_row("method", run.method)
    facts.add_row("task", card.inputs.task if card else "not known")
    actions = f"{run.model.block_dim} numbers per action block"
    if card:
        actions = f"frameskip {card.inputs.frameskip}, {card.inputs.actions.dim} action dimensions"
        if card.inputs.proprio:
            actions += f", {card.inputs.proprio.dim} of proprioception"
    kind = "a policy" if model.latent_dim is None else f"latent {model.latent_dim:,}"
    frames = f"frames {model.image_size} x {model.image_size}"
    facts.add_row("model", f"{kind}, history {model.history}, {frames}, {actions}")
    for fact in recorded_facts(card.inputs) if card else ():
        facts.add_row(*fact)
    if isinstance(model, PatchNetworkConfig):
        encoder = model.encoder
        origin = f"of {encoder.source} (sha256 {encoder.sha256[:16]}...)" if encoder.source else "of unknown origin"
        facts.add_row("encoder", f"frozen, {origin}: {encoder.depth} x {encoder.width}")
    if card is None:
        facts.add_row("statistics", f"none yet; compute them: {command('show', run.name, '--stats-from', 'DATASET')}")
    elif card.provenance is None:
        facts.add_row("statistics", f"of {card.dataset.name}: {card.dataset.rows:,} rows")
    else:
        provenance, train = card.provenance, card.provenance.train
        if provenance.init_from:
            facts.add_row("initialized from", provenance.init_from)
        facts.add_row("trained on", f"{provenance.dataset.name}: {provenance.dataset.rows:,} rows")
        facts.add_row("held out", f"{len(provenance.held_out)} episodes")
        resume = command("train", card.inputs.task, "--name", run.name, "--resume")
        unfinished = f"; stopped, go on with: {resume}"
        if card.unusable:
            facts.add_row("phase", card.unusable)
        steps = f"{provenance.step:,} of batch {train.optimizer.batch_size}, {provenance.device}"
        facts.add_row("steps", steps + (unfinished if run.files.stopped else ""))
        if chosen := provenance.chosen_by:
            pairs = f"on {len(chosen.pairs)} validation pairs (random {chosen.random}), protocol {chosen.protocol}"
            facts.add_row(
                "best state", f"of all evaluated ones, of equal ones the latest: success {chosen.success} {pairs}"
            )
        facts.add_row("loss", train.objective.explanation)
        if settings := objective_settings(train.objective):
            facts.add_row("objective", ", ".join(f"{name} {value}" for name, value in settings))
        facts.add_row("seed", str(train.seed))
        facts.add_row("command", provenance.command)
        facts.add_row("finished", provenance.finished)
    if details.held_out:
        _add_held_out(facts, details.held_out)
    return facts


def _add_held_out(table: Table, held_out: HeldOut) -> None:
    if isinstance(held_out, HeldOutLatents):
        ratio = held_out.prediction / held_out.copying if held_out.copying else float("nan")
        table.add_row("held-out prediction", f"{number(held_out.prediction)}, {ratio:.2f} x copying the last latent")
    for name, value in held_out.parts.items():
        table.add_row(f"held-out {name}", number(value))
    if not isinstance(held_out, HeldOutLatents):
        return
    table.add_row("latent std per dimension", f"{held_out.std:.2f} (least {held_out.std_min:.2f}; collapsed near 0)")
    table.add_row("effective rank", f"{held_out.effective_rank:.1f}")
    table.add_row("mean cosine", f"{held_out.cosine:.3f} (collapsed near 1)")
    if held_out.straightness is not None:
        table.add_row("straightness", f"{held_out.straightness:.3f} (1 on a line)")
