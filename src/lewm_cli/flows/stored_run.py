"""Runs as notebooks and scripts use them: with their log, their results, and the measurement of `lewm eval`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import torch

from lewm_cli.config import Layer
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.store import ExternalWeights, Home, Run, StoredResults, load_run
from lewm_cli.store.load import load as load_from_store

if TYPE_CHECKING:  # late: what measures and draws takes a second to import, and most uses of a run need none of it
    from lewm_cli.evaluate import EvalResult
    from lewm_cli.offline import OfflineResult
    from lewm_cli.report import ResultRow, Table


@dataclass(frozen=True, repr=False, kw_only=True)
class StoredRun(Run):
    """A run with what is stored beside it.

    Args:
        home: that it was found in, and that takes results.
        external: options for weights that another tool made.
    """

    home: Home
    external: ExternalWeights

    @classmethod
    def of(cls, home: Home, run: Run, external: ExternalWeights) -> Self:
        """Joins a loaded run with its home."""
        return cls(**vars(run), home=home, external=external)

    @property
    def facts(self) -> list[str]:
        """A few words on what it is, the newest planning success included."""
        from lewm_cli.evaluate import EvalResult

        planned = self._stored().newest(EvalResult)
        return [*super().facts, *([f"success {planned.overall.success}"] if planned else [])]

    def log(self) -> "Table[Any]":
        """The log of its training, one row per logged step; `pandas.DataFrame(run.log())` takes it as it is.

        Columns are `step`, `loss` and its parts, `lr`, `gradient_norm`, `clips_per_second`, and `held_out_...` where
        held-out clips were measured (NaN elsewhere). There are no rows where the log is gone.
        """
        from lewm_cli.report import log_rows
        from lewm_cli.train import read_log

        return log_rows(read_log(self.files.log))

    def results(self) -> "Table[ResultRow]":
        """Every number that is stored of these weights, the oldest first; `pandas.DataFrame` takes it as it is."""
        from lewm_cli.report import result_rows

        return result_rows(self._stored())

    def decode(self, latents: torch.Tensor) -> npt.NDArray[np.uint8]:
        """Draws latents (N, D) as frames (N, H, W, 3) uint8, with the decoder that `lewm decode` stored beside the run.

        Raises:
            LewmError: there is none, it was fitted to other weights, or latents have another dimension.
        """
        from lewm_cli.heads import FITTED, decode, find_head

        if latents.ndim != 2 or latents.shape[1] != self.world_model.config.latent_dim:
            expected = f"(N, {self.world_model.config.latent_dim})"
            raise UsageError(f"latents have the shape {tuple(latents.shape)}, and {self.name} has some of {expected}")
        return decode(find_head(self, "decoder").networks[FITTED], latents.float().cpu())

    def _repr_html_(self) -> str:
        """The numbers that matter, as a notebook shows them."""
        from lewm_cli.report import RunReport, run_html

        return run_html(RunReport.of(self, self._stored()), ", ".join(self.facts))

    def _stored(self) -> StoredResults:
        from lewm_cli.flows.results import stored_results

        return stored_results(self.home, self)


def load(
    run_name: str | Path,
    cache_dir: str | Path | None = None,
    device: str | torch.device = "cpu",
    stats_from: str | Path | None = None,
    config: str | Path | None = None,
) -> StoredRun:
    """Load a trained run by name.

    Args:
        run_name: path under the home without suffix, `tworoom/lewm`; the path of a file of it is taken too.
        cache_dir: a home to search first; the usual ones otherwise.
        device: where the model goes: auto, cpu, cuda, cuda:1 or mps.
        stats_from: a recording, from which the normalization of weights that another tool made is computed, once.
        config: a JSON file with the sizes of weights that another tool made; the config.json beside them otherwise.

    Returns:
        the run: `model` (eval mode), `card.inputs` (normalization), `card` (configuration and provenance), `log()` and
        `results()` (tables of what is stored beside it).

    Raises:
        LewmError: there is no such run, it cannot be loaded strictly, or its normalization is not known.
    """
    recording = os.fspath(stats_from) if stats_from else None
    external = ExternalWeights(recording, config=Path(config) if config else None)
    return StoredRun.of(
        Home.locate(cache_dir), load_from_store(run_name, cache_dir, device, external=external), external
    )


def evaluate(
    run: str | Path | StoredRun,
    episodes: int | None = None,
    *,
    seed: int | None = None,
    dataset: str | Path | None = None,
    protocol: str | None = None,
    manifest: str | Path | None = None,
    seeds: int = 1,
    solver: str | None = None,
    horizon: int | None = None,
    receding: int | None = None,
    history: int | None = None,
    plan_ms: float | None = None,
    plan_flops: float | None = None,
    settings: Mapping[str, Any] | None = None,
    record: int = 4,
    workers: int = 1,
    resume: bool = False,
    offline: bool = False,
    plain: bool = False,
    device: str = "auto",
    quiet: bool = False,
) -> "EvalResult | OfflineResult":
    """Measure how often a run reaches its goals by planning, exactly as `lewm eval` does with the same options.

    Where its task has no simulator, or `offline` is true, it is measured on recorded episodes alone, and what comes
    back is an `OfflineResult`, whose `verdict` is one line.

    The result is stored beside the run. Only the stored weights are measured: those of a run whose tensors were changed
    since it was loaded are refused.

    Args:
        run: its name or path, or what `load` returned.
        episodes: pairs of start and goal; those of the protocol, 50, if not given.
        settings: of the protocol, with dotted keys as `--set` takes them: {"planner.iterations": 10}.
        workers: processes that simulate. More than one need a script that guards its own begin with
            `if __name__ == "__main__":`, as everything does that starts processes. Does not change the result.
        quiet: show no progress.
        others: as the options of `lewm eval`.

    Raises:
        LewmError: as `lewm eval` says it: no such run or recording, no simulator, settings that cannot mean anything.
    """
    from lewm_cli.report import Output
    from lewm_cli.tasks import find_task

    if not isinstance(run, StoredRun):
        run = load(run)
    _refuse_changed(run)
    for name, count, least in (("seeds", seeds, 1), ("workers", workers, 1), ("record", record, 0)):
        if count < least:
            raise UsageError(f"{name}={count} means nothing; give {least} or more")
    if settings is not None and not isinstance(settings, Mapping):
        raise UsageError('settings is no dictionary; give one like {"planner.iterations": 10}')
    asked = (
        ("episodes", "pairs", episodes),
        ("seed", "seed", seed),
        ("solver", "planner.solver", solver),
        ("horizon", "planner.horizon", horizon),
        ("receding", "planner.receding", receding),
        ("history", "planner.history", history),
        ("plan_ms", "planner.milliseconds", plan_ms),
        ("plan_flops", "planner.flops", plan_flops),
    )
    layers = [Layer.of(f"settings {key}={value!r}", key, value) for key, value in (settings or {}).items()]
    layers += [Layer.of(f"{word}={value!r}", key, value) for word, key, value in asked if value is not None]
    output, threads = Output(as_json=False, quiet=quiet), torch.get_num_threads()
    recording = os.fspath(dataset) if dataset else None
    task = find_task(run.card.inputs.task)
    try:
        if offline or task is None or task.make_simulator is None:
            simulated = {
                "protocol": protocol,
                "manifest": manifest,
                "solver": solver,
                "receding": receding,
                "history": history,
                "plan_ms": plan_ms,
                "plan_flops": plan_flops,
                "resume": resume or None,
                "plain": plain or None,
                "seeds": None if seeds == 1 else seeds,
                "record": None if record == 4 else record,
                "workers": None if workers == 1 else workers,
            }
            for word in (word for word, value in simulated.items() if value is not None):
                raise UsageError(f"{word} means nothing where nothing is simulated; leave it out")
            from lewm_cli.flows.offline import evaluate_offline

            measured, _ = evaluate_offline(
                run.home,
                run.name,
                output.say,
                output.progress,
                dataset=recording,
                settings=tuple(layers),
                device=device,
                external=run.external,
            )
            return measured
        from lewm_cli.flows.evaluate import evaluate_run
        from lewm_cli.flows.planned import EvalRequest

        request = EvalRequest(
            dataset=recording,
            settings=tuple(layers),
            protocol=protocol,
            manifest=Path(manifest) if manifest else None,
            seeds=seeds,
            resume=resume,
            plain=plain,
        )
        (evaluated,) = evaluate_run(
            run.home,
            run.name,
            request,
            output.say,
            output.progress,
            record=record,
            workers=workers,
            device=device,
            external=run.external,
        )
    finally:
        torch.set_num_threads(threads)  # they are the caller's
    return evaluated.result


def _refuse_changed(run: StoredRun) -> None:
    stored = load_run(run.home, run.name, external=run.external).model.state_dict()
    present = {key: tensor.cpu() for key, tensor in run.model.state_dict().items()}
    if any(one.dtype != stored[key].dtype or not torch.equal(one, stored[key]) for key, one in present.items()):
        raise LewmError(
            f"the tensors of {run.name} are not those that are stored, which are measured; load it again, or train it "
            "on with `lewm train --init-from`"
        )
