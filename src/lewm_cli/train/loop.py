"""The training loop."""

import math
import time
import traceback
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from lewm_cli.data import Clip, ClipBatches
from lewm_cli.errors import LewmError, StoppedError
from lewm_cli.methods import Loss, Phase, RunCard, TrainConfig
from lewm_cli.model import Batch, Network
from lewm_cli.stop import StopRequest
from lewm_cli.store import RunFiles, save_derived, save_run
from lewm_cli.suggestion import command
from lewm_cli.train.batch_size import does_not_fit
from lewm_cli.train.encoded_frames import EncodedFrames
from lewm_cli.train.evaluated import BestState, Evaluator
from lewm_cli.train.events import (
    HeldOutMeasured,
    LatentsMeasured,
    Listener,
    Noted,
    Saved,
    StepsTaken,
    SuccessMeasured,
    TrainingEvent,
    TrainingFinished,
    TrainingStarted,
    TrainingStopped,
    Warned,
)
from lewm_cli.train.learner import Learner, out_of_memory
from lewm_cli.train.memory import device_peak, process_peak
from lewm_cli.train.monitor import HeldOut, HeldOutLatents
from lewm_cli.train.resume import load_state, save_state
from lewm_cli.train.schedule import Schedule
from lewm_cli.train.transfer import batches_on
from lewm_cli.workers import WorkerDiedError, available_cores

CALIBRATION_CLIPS = 1024
"""Training clips that statistics of the published model are averaged over before a measurement."""

MEASURED_TOGETHER = 64
"""Clips per forward pass outside the training step; regularizers of held-out clips depend on it."""


@dataclass(frozen=True)
class TrainingData:
    """Clips to train on, clips held out, and how many whole episodes the latter come from (0: clip split).

    Args:
        encoded: the frames whose rows clips have; None where clips have frames.
    """

    train: ClipBatches
    held_out: ClipBatches
    held_out_episodes: int
    encoded: EncodedFrames | None = None


@dataclass
class Trainer:
    """Trains one run from its first step, or from where it stopped, to its last.

    Args:
        config: decides what is computed.
        card: travels with the weights; step and time are filled in at every save.
        evaluator: evaluates every `eval.every` steps; None where nothing is evaluated.
    """

    name: str
    files: RunFiles
    config: TrainConfig
    card: RunCard
    data: TrainingData
    model: Network
    device: torch.device
    listeners: tuple[Listener, ...]
    evaluator: Evaluator | None = None

    def __post_init__(self) -> None:
        self.objective = self.config.objective
        self.learner = Learner(self.config, self.card.inputs, self.model, self.device, self._note)
        self.learner.encoded = self.data.encoded
        self.schedule = Schedule.of(self.config, len(self.data.train))
        self._warned = False
        self._taken = 0

    def run(self, *, resume: bool) -> TrainingFinished:
        """Train from the first step, or from the saved state, to the end; the run on disk is then finished.

        Raises:
            LewmError: the loss is no longer finite, the disk is full, or there is nothing to resume.
            StoppedError: Ctrl-C or SIGTERM; everything is saved.
        """
        begun = time.monotonic()
        torch.manual_seed(self.config.seed)
        if self.config.threads:
            torch.set_num_threads(self.config.threads)
        first = load_state(self.files.resume, self.learner) if resume else 0
        self._best = BestState(self.name, self.files, resume=resume)
        self._tell(
            TrainingStarted(
                run=self.name,
                device=str(self.device),
                parameters=sum(parameter.numel() for parameter in self.model.parameters()),
                train_clips=len(self.data.train),
                held_out_clips=len(self.data.held_out),
                held_out_episodes=self.data.held_out_episodes,
                first_step=first,
                total_steps=self.schedule.total_steps,
            )
        )
        self.learner.begin(self.schedule.total_steps - first)
        stop = StopRequest()
        workers = min(self.config.data.workers, available_cores())
        try:
            with stop, closing(self._clips(first, workers, stop)) as clips:
                published, held_out = self._train(batches_on(self.device, clips), first, stop)
            save_derived(self.files, published, self.card.method)
        except (Exception, StoppedError) as error:
            for listener in self.listeners:
                with suppress(LewmError, OSError):  # the full disk that stopped training may stop the log as well
                    listener(TrainingStopped(self._taken, str(error)))
            raise
        finished = TrainingFinished(
            run=self.name,
            task=self.card.inputs.task,
            step=self.schedule.total_steps,
            seconds=time.monotonic() - begun,
            held_out=held_out,
            path=str(self.files.weights),
            best=self._best.best,
        )
        self._tell(finished)
        return finished

    def _clips(self, first: int, workers: int, stop: StopRequest) -> Generator[Clip, None, None]:
        """The clips of all steps from the first on, with the goals of each phase."""
        batch_size, seed = self.config.optimizer.clips, self.config.seed
        for phase in self.schedule.phases:
            end = self.schedule.end(phase)
            stream = self.data.train.toward(phase.goals).stream(batch_size, seed, first, workers, waiting=stop.check)
            with closing(stream) as clips:
                yield from islice(clips, max(0, end - first))
            first = max(first, end)

    def _enter(self, phase: Phase, step: int) -> None:
        """Begin a phase, or go on with it, from a step on that is counted from 0; say so where there are several."""
        self.learner.phase = phase
        if phase.name:
            self._note(f"phase {phase.name}: from step {step:,} to {self.schedule.end(phase):,}")

    def _train(self, clips: Iterator[Clip], first: int, stop: StopRequest) -> tuple[Network, HeldOut]:
        """Take all steps from the first on; returns the model as it is published, and its measurement."""
        last, every = self.schedule.total_steps, self.config.monitor.every
        saved, kept, self._taken = None, first, first
        self.learner.phase = self.schedule.phase(max(0, first - 1))
        if first and self._evaluates(first):  # what a resumed run was stopped in, if it was; else it is done over
            self._evaluate(self._publish(), first, stop)
        window = _Window(first, time.monotonic())
        for step in range(first, last):
            phase = self.schedule.phase(step)
            if step == first or phase != self.learner.phase:
                self._enter(phase, step)
            asked = time.monotonic()
            try:
                clip = next(clips)
            except StoppedError:  # asked for while no batch came
                if stop.urgent:
                    raise
                done = step
            except WorkerDiedError as death:
                raise self._worker_died(death, kept) from death
            else:
                waited = time.monotonic() - asked if self.learner.idle else 0.0
                loss, norm = self._step(clip, self.schedule.lr(step))
                window.add(loss, norm, len(clip.blocks), waited)
                done = self._taken = step + 1
            stopping = stop.signal_number
            evaluating = self._evaluates(done) and stopping is None
            saving = done > kept and (done % every == 0 or done == last or evaluating or stopping is not None)
            ending = done % self.config.monitor.log_every == 0 or done == self.schedule.end(phase)
            logging = done > window.first and (saving or ending)
            if logging:
                self._tell(self._mean(window, done))
            if saving:
                saved, kept = self._measure_and_save(done), done
            if saved and evaluating:
                self._evaluate(saved[0], done, stop)
            if logging:  # last, so that no step pays for a measurement
                window = _Window(done, time.monotonic())
            if stopping is not None:
                raise self._stopped(done, stopping)
        return saved or self._measure(last)

    def _step(self, clip: Clip, lr: float) -> tuple[Loss, Tensor]:
        try:
            return self.learner.step(clip, lr)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)  # they hold what fills the memory
        raise does_not_fit(self.config, self.card.inputs, self.device)

    def _chosen(self, batches: ClipBatches, count: int) -> list[int]:
        # Mixed: neighbors are alike, and a batch of neighbors is no sample of the whole.
        return np.random.default_rng(0).permutation(len(batches))[:count].tolist()

    def _spread(self, batches: ClipBatches, count: int) -> Iterator[Batch]:
        chosen = self._chosen(batches, count)
        aimed = batches.toward(self.learner.phase.goals)
        for start in range(0, len(chosen), MEASURED_TOGETHER):
            yield self.learner.batch(aimed[chosen[start : start + MEASURED_TOGETHER]])

    def _publish(self) -> Network:
        return self.model.published(self._spread(self.data.train, CALIBRATION_CLIPS))

    def _measure(self, step: int) -> tuple[Network, HeldOut]:
        # A copy is measured and published. The raw state is what training goes on from.
        published = self._publish()
        self.learner.heads.eval()  # no dropout: it would be measured, and draw the numbers of the next steps
        held_out, latents = HeldOut.measure(
            self.objective, published, self.learner.heads, self._spread(self.data.held_out, self.config.monitor.clips)
        )
        if not held_out.finite:
            raise self._diverged(step)
        self._tell(HeldOutMeasured(step, held_out))
        if latents is not None:
            rows = self.data.held_out.index.starts[self._chosen(self.data.held_out, self.config.monitor.clips)]
            self._tell(LatentsMeasured(step, latents.float().numpy(), rows[: len(latents)]))
        if isinstance(held_out, HeldOutLatents) and held_out.collapsed and not self._warned:
            self._warned = True
            self._tell(
                Warned(
                    step,
                    f"the latent space has collapsed: {held_out.spread}, so all frames look alike to the planner; "
                    f"{self.objective.collapse_advice}",
                )
            )
        return published, held_out

    def _evaluates(self, step: int) -> bool:
        every = self.config.eval.every
        return bool(self.evaluator and every and (step % every == 0 or step == self.schedule.total_steps))

    def _evaluate(self, published: Network, step: int, stop: StopRequest) -> None:
        """Evaluate the weights that were saved at a step; raises StoppedError if that was asked for meanwhile."""
        assert self.evaluator is not None
        card = self._card_at(step)
        if card.unusable:
            self._note(f"not evaluated at step {step:,}: {card.unusable}")
            return
        try:
            found = self.evaluator(published, card, stop.check)
        except LewmError as error:  # no reason to lose the training
            self._tell(Warned(step, f"not evaluated at step {step}: {error}"))
            return
        except StoppedError as asked:
            if stop.urgent:
                raise
            raise self._stopped(step, asked.signal_number) from asked
        best = self._best.offer(published, card, found.validated)
        success, random = found.validated.success, found.validated.random
        self._tell(SuccessMeasured(step, success, random, found.positions, found.seconds, best))

    def _card_at(self, step: int) -> RunCard:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        assert self.card.provenance is not None
        phase = self.schedule.phase(max(0, step - 1)).name
        provenance = self.card.provenance.model_copy(update={"step": step, "finished": now, "phase": phase})
        return self.card.model_copy(update={"provenance": provenance})

    def _measure_and_save(self, step: int) -> tuple[Network, HeldOut]:
        published, held_out = self._measure(step)
        save_run(self.files, published, self._card_at(step))
        # After the weights: --resume reads the configuration from them, so what can be resumed always has some.
        save_state(self.files.resume, self.learner, step)
        self._tell(Saved(step, str(self.files.weights)))
        return published, held_out

    def _mean(self, window: "_Window", step: int) -> StepsTaken:
        count = step - window.first
        loss, norm, *parts = (window.sums / count).cpu().tolist()
        if not math.isfinite(loss):
            raise self._diverged(step)
        # After the sums have come from the device, so that what it still computed is counted.
        seconds = (time.monotonic() - window.begun) / count
        return StepsTaken(
            step=step,
            total_steps=self.schedule.total_steps,
            loss=loss,
            parts=dict(zip(window.names, parts, strict=True)),
            lr=self.schedule.lr(step - 1),
            gradient_norm=norm,
            data_seconds=window.data_seconds / count,
            update_seconds=seconds - window.data_seconds / count,
            clips_per_second=window.clips / count / seconds,
            eta_seconds=seconds * (self.schedule.total_steps - step),
            process_memory=process_peak(),
            device_memory=device_peak(self.device),
            phase=self.learner.phase.name,
        )

    def _stopped(self, step: int, signal_number: int) -> StoppedError:
        last = self.schedule.total_steps
        go_on = f"after step {step} of {last} with everything saved; go on with: {self._resuming()}"
        return StoppedError(f"stopped {go_on if step else 'before the first step'}", signal_number)

    def _diverged(self, step: int) -> LewmError:
        saved = self.files.resume.exists()
        kept = f"the last good state is kept as {self.name}" if saved else "no state had been saved yet"
        from_there = f" --init-from {self.name}" if saved else ""
        return LewmError(
            f"the loss is no longer finite at step {step}, so training stopped; {kept}; try a lower learning rate: "
            f"--set optimizer.lr={self.config.optimizer.lr / 3:.1g}{from_there}"
        )

    def _worker_died(self, death: WorkerDiedError, kept: int) -> LewmError:
        instead = "--set data.workers=0"
        advice = (
            f"step {kept} is kept; go on with: {self._resuming()} {instead}" if kept else f"start again with {instead}"
        )
        return LewmError(f"{death}, so training stopped; {advice}")

    def _resuming(self) -> str:
        return command("train", self.card.inputs.task, "--name", self.name, "--resume")

    def _note(self, message: str) -> None:
        self._tell(Noted(self._taken, message))

    def _tell(self, event: TrainingEvent) -> None:
        for listener in self.listeners:
            listener(event)


@dataclass
class _Window:
    """Sums since the last log line; losses stay on the device until they are asked for."""

    first: int
    begun: float
    clips: int = 0
    data_seconds: float = 0.0
    names: tuple[str, ...] = ()
    sums: Tensor = field(default_factory=lambda: torch.zeros(()))

    def add(self, loss: Loss, norm: Tensor, clips: int, data_seconds: float) -> None:
        self.names = tuple(loss.parts)
        values = torch.stack([loss.total, norm, *loss.parts.values()]).detach()
        self.sums = self.sums + values
        self.clips += clips
        self.data_seconds += data_seconds
