"""What `gpu.py` measures, one function a section; each tells rows as it finds them, so that none is lost at its limit.

Operations of a step are counted by `model/flops.py`: three times those of the forward pass. The memory traffic of a
step is an estimate: what the encoder's blocks have to read and write at least, with norms and GELU fused into the
products beside them.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lewm_cli.accelerate import graphed
from lewm_cli.config import (
    ActionStats,
    EncoderConfig,
    Inputs,
    ModelConfig,
    PlannerConfig,
    PredictorConfig,
    ProjectorConfig,
)
from lewm_cli.data import Clip
from lewm_cli.methods import JEPA, TrainConfig
from lewm_cli.model import Imaginer, WorldModel
from lewm_cli.model.flops import profile
from lewm_cli.plan import LatentCost, Problem, Solver, find_solver
from lewm_cli.store import RunFiles
from lewm_cli.train import compiled as compiled_parts
from lewm_cli.train import find_preset, read_log
from lewm_cli.train.learner import Learner
from lewm_cli.workers import available_cores

ROOT = Path(__file__).parents[1]

INPUTS = Inputs(task="tworoom", frameskip=5, actions=ActionStats(mean=(0.0, 0.0), std=(1.0, 1.0)))
TINY = ModelConfig(
    image_size=28,
    latent=8,
    encoder=EncoderConfig(width=32, depth=1, heads=2, mlp=64),
    projector=ProjectorConfig(hidden=32),
    predictor=PredictorConfig(depth=1, heads=2, head_dim=16, mlp=64),
)
"""Stands for the released size where only the way through this file is tried."""

TRAFFIC = 100
"""Numbers that a training step reads and writes at least, per token and block, as a multiple of the token's width."""

TESTS = ("gpu", "accelerate/test_graphed.py", "train/test_learner.py")
"""Files with tests marked `gpu`."""

KEPT_FREE = 0.1
"""Share of the memory that the largest batch leaves free: it falls into pieces that fit nothing."""


def column(title: str, form: str = "") -> Any:
    """A field of a row, by its title in the table and how it is written."""
    return field(metadata={"title": title, "format": form})


@dataclass(frozen=True)
class Checked:
    """A test that ran."""

    test: str = column("test")
    outcome: str = column("outcome")
    seconds: float = column("s", ".1f")
    why: str = column("")


@dataclass(frozen=True)
class Limit:
    """A rate that the device reaches where nothing else is in the way."""

    what: str = column("limit")
    rate: float = column("rate", ",.1f")
    unit: str = column("")


@dataclass(frozen=True)
class StepCost:
    """The cost of a training step on one batch that stays the same; nothing waits for data."""

    way: str = column("way")
    batch: int = column("batch")
    first: float = column("first steps, s", ".1f")
    steps: float = column("steps/s", ".2f")
    clips: float = column("clips/s", ",.0f")
    transfer: float = column("transfer, ms", ".2f")
    forward: float | None = column("forward, ms", ".2f")
    backward: float | None = column("backward, ms", ".2f")
    optimizer: float | None = column("optimizer, ms", ".2f")
    tflops: float = column("TFLOP/s", ".1f")
    of_peak: float | None = column("of the peak", ".1%")
    of_bandwidth: float | None = column("of the bandwidth", ".0%")
    memory: float | None = column("peak memory, GB", ".1f")


@dataclass(frozen=True)
class PlanCost:
    """The time of plans."""

    solver: str = column("solver")
    environments: int = column("environments")
    way: str = column("way")
    milliseconds: float = column("ms for all", ".1f")
    each: float = column("ms each", ".2f")


@dataclass(frozen=True)
class LoopCost:
    """A step of `lewm train`, reading included."""

    workers: int = column("data.workers")
    batch: int = column("batch")
    steps: float = column("steps/s", ".2f")
    data: float = column("waiting for data, ms", ".2f")
    update: float = column("rest of the step, ms", ".2f")
    waiting: float = column("waiting", ".1%")


Row = Checked | Limit | StepCost | PlanCost | LoopCost
Tell = Callable[[Row], None]


@dataclass(frozen=True)
class Setting:
    """The circumstances of a section.

    Args:
        device: that is measured.
        tiny: toy sizes, and every measurement as short as can be.
        work: a folder for what is only needed until the end.
        limits: measured before.
    """

    device: torch.device
    tiny: bool
    work: Path
    limits: tuple[Limit, ...] = ()

    @property
    def aim(self) -> float:
        """Seconds that a measurement takes."""
        return 0.05 if self.tiny else 2.0

    def limit(self, what: str) -> float | None:
        """The rate that was measured, if it was."""
        return next((limit.rate for limit in self.limits if limit.what == what), None)


# Time


class Clock:
    """Measures what a device computes, by its own events where it has them."""

    def __init__(self, device: torch.device) -> None:
        self._events = device.type == "cuda"

    def mark(self) -> Any:
        """A moment in the work of the device."""
        if not self._events:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, first: Any, last: Any) -> float:
        """Seconds from one moment to another."""
        if not self._events:
            return float(last - first)
        last.synchronize()
        return float(first.elapsed_time(last)) / 1000

    def each(self, work: Callable[[], object], aim: float) -> float:
        """Mean seconds of a piece of work that is done for about so long; once more before, which is not counted."""
        work()
        begun = self.mark()
        work()
        count = max(1, min(1000, round(aim / max(1e-6, self.between(begun, self.mark())))))
        begun = self.mark()
        for _ in range(count):
            work()
        return self.between(begun, self.mark()) / count


# Sections


def tests(setting: Setting, tell: Tell) -> None:
    """The tests marked `gpu`, in this process."""
    import pytest

    class Reporter:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.when == "call" or not report.passed:
                why = report.longreprtext.splitlines()[-1:] if report.failed else []
                tell(Checked(report.nodeid.rpartition("::")[2], report.outcome, report.duration, " ".join(why)[:200]))

    os.environ["LEWM_TEST_DEVICE"] = str(setting.device)
    where = [ROOT / "tests" / file for file in (TESTS[:1] if setting.tiny else TESTS)]
    few = ["-k", "rollouts"] if setting.tiny else []
    where += ["--rootdir", ROOT, "--basetemp", setting.work / "tests", *few]
    code = pytest.main([*map(str, where), "-m", "gpu", "-q", "-p", "no:cacheprovider"], plugins=[Reporter()])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest ended with {code!r}; see log.txt")


def limits(setting: Setting, tell: Tell) -> None:
    """Rates of matrix products and of copies."""
    clock, device = Clock(setting.device), setting.device
    size = 256 if setting.tiny else 8192

    def products(dtype: torch.dtype, precision: str = "highest") -> float:
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        with matmul_precision(precision):
            return 2 * size**3 / clock.each(lambda: a @ b, setting.aim) / 1e12

    tell(Limit("bf16", products(torch.bfloat16), "TFLOP/s"))
    count = 2**20 if setting.tiny else 2**31
    source = torch.empty(count, dtype=torch.uint8, device=device).random_(256)
    target = torch.empty_like(source)
    rate = 2 * count / clock.each(lambda: target.copy_(source), setting.aim) / 1e9
    tell(Limit("copy", rate, "GB/s, read + written"))
    tell(Limit("float32, TF32", products(torch.float32, "high"), "TFLOP/s"))
    tell(Limit("float32", products(torch.float32), "TFLOP/s"))
    near = source[: count // 8].to("cpu", copy=True)
    near = near.pin_memory() if device.type == "cuda" else near
    rate = len(near) / clock.each(lambda: target[: len(near)].copy_(near, non_blocking=True), setting.aim) / 1e9
    tell(Limit("to the device", rate, "GB/s, from pinned memory"))


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Whether float32 products may be rounded to TF32: `high` or `highest`."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def steps(precision: str, *, compiled: bool) -> Callable[[Setting, Tell], None]:
    """Steps at the batch of the preset, and at the largest that fits."""

    def section(setting: Setting, tell: Tell) -> None:
        with matmul_precision("high" if "TF32" in precision else "highest"):
            usual = StepsOf(setting, precision, compiled, 8 if setting.tiny else 128)
            row = usual.measure()
            tell(row)
            fitting = usual.largest(row)
            del usual
            while fitting > row.batch:
                empty_cache(setting.device)
                try:
                    tell(StepsOf(setting, precision, compiled, fitting).measure())
                    return
                except torch.OutOfMemoryError:
                    print(f"{precision}: a batch of {fitting} does not fit", flush=True)
                fitting = int(0.9 * fitting) // 16 * 16

    return section


class StepsOf:
    """Steps of the `release` preset, in one precision, at one batch size."""

    def __init__(self, setting: Setting, precision: str, compiled: bool, batch: int) -> None:
        self.setting, self.precision, self.compiled, self.batch = setting, precision, compiled, batch
        self.clock, device = Clock(setting.device), setting.device
        config = find_preset("tworoom/release").config("lewm")
        sizes = TINY if setting.tiny else config.model
        assert isinstance(sizes, ModelConfig)
        asked = {"precision": "bf16" if precision == "bf16" else "float32", "batch_size": batch, "compile": compiled}
        optimizer = config.optimizer.model_copy(update=asked)
        self.config: TrainConfig = config.model_copy(update={"model": sizes, "optimizer": optimizer})
        torch.manual_seed(0)
        self.model = JEPA(sizes, INPUTS.block_dim)
        scramble(self.model)
        self.work = operations(self.model, batch)
        self.said: list[str] = []
        self.learner = Learner(self.config, INPUTS, self.model, device, self.said.append)
        if setting.tiny:
            compiled_parts.BACKEND = "aot_eager"
        self.learner.begin(1)
        size, frames = sizes.image_size, sizes.history + 1
        pixels = torch.randint(0, 256, (batch, frames, size, size, 3), dtype=torch.uint8)
        self.near = Clip(pixels, torch.randn(batch, frames, INPUTS.block_dim))
        if device.type == "cuda":
            self.near = Clip(self.near.pixels.pin_memory(), self.near.blocks.pin_memory())

    def send(self) -> Clip:
        """The batch on the device."""
        device = self.setting.device
        return Clip(*(part.to(device, non_blocking=True) for part in (self.near.pixels, self.near.blocks)))

    def measure(self) -> StepCost:
        """Take steps: a few that are not counted, then for the rate, then for the split of a step."""
        device, clock = self.setting.device, self.clock
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        begun = time.perf_counter()
        clips = self.send()
        for _ in range(1 if self.setting.tiny else 3):
            loss, _ = self.learner.step(clips, 1e-6)
        assert loss.total.isfinite()  # and waits for the device
        first = time.perf_counter() - begun
        if failed := [text for text in self.said if "compiling failed" in text]:
            raise RuntimeError(failed[0])
        seconds = clock.each(lambda: self.learner.step(clips, 1e-6), 2 * self.setting.aim)
        forward, backward, optimizer = self.split(clips)
        rate = self.work / seconds / 1e12
        peak, bandwidth = self.setting.limit(self.precision), self.setting.limit("copy")
        return StepCost(
            way=f"{self.precision}, {'compiled' if self.compiled else 'eager'}",
            batch=self.batch,
            first=first,
            steps=1 / seconds,
            clips=self.batch / seconds,
            transfer=1000 * clock.each(self.send, self.setting.aim / 4),
            forward=forward,
            backward=backward,
            optimizer=optimizer,
            tflops=rate,
            of_peak=peak and rate / peak,
            of_bandwidth=bandwidth and self.traffic() / seconds / 1e9 / bandwidth,
            memory=torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None,
        )

    def split(self, clips: Clip) -> tuple[float, float, float] | tuple[None, None, None]:
        """Milliseconds until the gradient is asked for, until it is there, and of clipping and updating after that."""
        taken: list[list[Any]] = []
        with marked_backward(self.clock) as marks:
            for _ in range(2 if self.setting.tiny else 20):
                marks.clear()
                begun = self.clock.mark()
                self.learner.step(clips, 1e-6)
                taken.append([begun, *marks, self.clock.mark()])
        if any(len(moments) != 4 for moments in taken):
            return None, None, None  # the whole step is replayed as one, or taken in parts
        spans = [[self.clock.between(*pair) for pair in pairwise(each)] for each in taken]
        forward, backward, optimizer = (1000 * statistics.median(part) for part in zip(*spans, strict=True))
        return forward, backward, optimizer

    def traffic(self) -> float:
        """Bytes that a step reads and writes at least, by the estimate above."""
        sizes = self.config.model
        assert isinstance(sizes, ModelConfig)
        tokens = (sizes.image_size // sizes.encoder.patch_size) ** 2 + 1
        numbers = self.batch * (sizes.history + 1) * tokens * sizes.encoder.depth * TRAFFIC * sizes.encoder.width
        return numbers * (2.0 if self.precision == "bf16" else 4.0)

    def largest(self, row: StepCost) -> int:
        """The batch that should fill the memory, by what is taken between steps and by the clips of this one."""
        device = self.setting.device
        if device.type != "cuda":
            return 2 * self.batch
        assert row.memory is not None
        resting = torch.cuda.memory_allocated(device) / 1e9
        most = (1 - KEPT_FREE) * torch.cuda.get_device_properties(device).total_memory / 1e9
        return int(self.batch * (most - resting) / (row.memory - resting)) // 16 * 16


@contextmanager
def marked_backward(clock: Clock) -> Iterator[list[Any]]:
    """Moments before and after every gradient that is asked for."""
    marks: list[Any] = []
    compute = torch.autograd.backward

    def backward(*given: Any, **more: Any) -> None:
        marks.append(clock.mark())
        compute(*given, **more)
        marks.append(clock.mark())

    torch.autograd.backward = backward
    try:
        yield marks
    finally:
        torch.autograd.backward = compute


def operations(model: WorldModel, batch: int) -> float:
    """Floating-point operations of a training step, with two per multiply-add."""
    per = {"frame": 0, "action block": 0, "predicted step": 0}
    model.eval()
    for part in profile(model):
        per[part.per] += part.flops
    history = model.history
    return 3.0 * batch * ((history + 1) * per["frame"] + history * per["action block"] + per["predicted step"])


def scramble(model: nn.Module) -> None:
    """Give every weight of a product a random value: zeros multiply faster than other numbers."""
    for value in model.parameters():
        if value.ndim > 1:
            nn.init.normal_(value, std=value[0].numel() ** -0.5)


def empty_cache(device: torch.device) -> None:
    """Give memory back that a batch of another size fell into pieces of."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def planning(setting: Setting, tell: Tell) -> None:
    """Plans of the paper's size for one and for many environments, with every way of imagining."""
    device, clock = setting.device, Clock(setting.device)
    model = JEPA(TINY if setting.tiny else ModelConfig(), INPUTS.block_dim)
    scramble(model)
    model = model.to(device).eval().requires_grad_(False)
    size = model.config.image_size
    smaller = {"candidates": 16, "elites": 4, "iterations": 2} if setting.tiny else {}
    for environments in (1, 2) if setting.tiny else (1, 50):
        frames = torch.randn(2, environments, 1, 3, size, size, device=device)

        def plan(solver: Solver, imagine: Imaginer, frames: Tensor = frames) -> None:
            generators = [torch.Generator().manual_seed(number) for number in range(frames.shape[1])]
            with torch.inference_mode():
                start, goal = map(model.embed, frames)
                cost = LatentCost(model, start, goal[:, 0], imagine=imagine)
            solver.solve(Problem(cost, INPUTS.block_dim, generators))

        for way, imagine in ways(model):
            for name in ("cem", "icem"):
                solver = find_solver(PlannerConfig(solver=name, **smaller))
                milliseconds = 1000 * clock.each(partial(plan, solver, imagine), setting.aim)
                tell(PlanCost(name, environments, way, milliseconds, milliseconds / environments))


def ways(model: JEPA) -> Iterator[tuple[str, Imaginer]]:
    """The rollouts of `accelerate`, and the plain one last, which takes longest."""
    yield "folded and recorded, float32", model.imaginer()
    yield "folded and recorded, bfloat16", model.imaginer(torch.bfloat16)
    folded = model.imaginer()

    def unrecorded(emb: Tensor, blocks: Tensor) -> Tensor:
        kept = dict(graphed.RECORDERS)
        graphed.RECORDERS.clear()
        try:
            return folded(emb, blocks)
        finally:
            graphed.RECORDERS.update(kept)

    yield "folded, float32", unrecorded
    yield "plain, float32", WorldModel.imaginer(model)


def training(setting: Setting, tell: Tell) -> None:
    """The loop of `lewm train` on frames that are read, of a recording that is made here."""
    home = setting.work / "home"
    episodes, taken = (4, 8) if setting.tiny else (160, 240)
    lewm(home, "collect", "tworoom", "--episodes", episodes, "--name", "tworoom/gpu", "-q")
    preset = find_preset("tworoom/small" if setting.tiny else "tworoom/release")
    config = preset.config("lewm")
    batch, usual, cores = config.optimizer.clips, config.data.workers, available_cores()
    often = ["--set", f"monitor.log_every={taken // 8}", "--set", f"monitor.every={taken}"]
    often += [] if setting.tiny else COMPILING
    choices = ("--preset", preset.name, "--method", "lewm", "--dataset", "tworoom/gpu", "--device", setting.device)
    for workers in [usual] if setting.tiny else [usual, cores]:
        name = f"tworoom/workers-{workers}"
        more = ("--steps", taken, *often, "--set", f"data.workers={workers}", "--name", name, "-q")
        lewm(home, "train", "tworoom", *choices, *more)
        lines = read_log(RunFiles(home / name).log).steps
        late = lines[len(lines) // 2 :]
        data = 1000 * statistics.mean(line.data_seconds for line in late)
        update = 1000 * statistics.mean(line.update_seconds for line in late)
        tell(LoopCost(workers, batch, 1000 / (data + update), data, update, data / (data + update)))


COMPILING = ("--set", "optimizer.compile=true")
"""Of `lewm train`, which by itself compiles only long trainings."""


def lewm(home: Path, *arguments: object) -> None:
    """Run the command `lewm` as a user would type it."""
    print("$ lewm", *arguments, flush=True)
    command = [sys.executable, "-m", "lewm_cli", *map(str, arguments)]
    subprocess.run(command, check=True, env=os.environ | {"STABLEWM_HOME": str(home)})


# Rows in files


def to_json(row: Row) -> str:
    """One line."""
    return json.dumps({"kind": type(row).__name__} | dataclasses.asdict(row))


def from_json(line: str) -> Row:
    """The row of a line."""
    tree = json.loads(line)
    kinds = {kind.__name__: kind for kind in (Checked, Limit, StepCost, PlanCost, LoopCost)}
    return kinds[tree.pop("kind")](**tree)
