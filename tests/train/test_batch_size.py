"""The largest batch that fits is found, kept, and named where memory runs out."""

import tomllib
from pathlib import Path

import pytest
import torch
from torch import Tensor

from accelerator import DEVICE, attached
from commands import lewm_here
from lewm_cli.config import ActionStats, Inputs
from lewm_cli.data import Clip
from lewm_cli.errors import LewmError
from lewm_cli.methods import JEPA, TrainConfig
from lewm_cli.store import RunFiles, read_card
from lewm_cli.train import batch_size, step_memory
from lewm_cli.train.batch_size import does_not_fit, largest_batch
from lewm_cli.train.learner import Learner
from lewm_cli.train.memory import process_peak
from lewm_cli.train.step_memory import KEPT, LiveBytes
from synthetic import TINY

pytest_plugins = ("recordings",)

CPU = torch.device("cpu")
INPUTS = Inputs(task="generic", frameskip=2, actions=ActionStats(mean=(0.0,) * 3, std=(1.0,) * 3))
ERRORS = {
    "CUDA": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "CPU": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes."),
    "MPS": RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    "Python": MemoryError(),
}


def configured(**optimizer: object) -> TrainConfig:
    tree = tomllib.loads(TINY)
    return TrainConfig.build(tree | {"optimizer": tree["optimizer"] | optimizer}, "the test")


@pytest.fixture
def small_device(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Memory is out above some clips at a time, as a device says it."""
    clips, words = getattr(request, "param", (10, "CUDA"))
    embed = JEPA.embed

    def strict(self: JEPA, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        if len(pixels) > clips and torch.is_grad_enabled():
            raise ERRORS[words]
        return embed(self, pixels, proprio)

    monkeypatch.setattr(JEPA, "embed", strict)


@pytest.mark.parametrize(
    ("small_device", "size"),
    [((10, "CUDA"), 8), ((64, "MPS"), 64), ((3, "Python"), 2)],
    indirect=["small_device"],
)
def test_largest_power_of_two_is_found(small_device: None, size: int):
    assert largest_batch(configured(batch_size="auto"), INPUTS, CPU) == size


def test_a_gpu_is_tried_as_if_it_were_smaller_and_is_itself_again(small_device: None, monkeypatch: pytest.MonkeyPatch):
    shares: list[float] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    with attached(monkeypatch):
        assert largest_batch(configured(), INPUTS, DEVICE) == 8
    assert shares == [batch_size.SHARE, 1.0]


@pytest.mark.parametrize("small_device", [(1, "CUDA")], indirect=True)
def test_where_not_even_two_fit_it_is_said(small_device: None):
    with pytest.raises(LewmError, match=r"not even two clips .* try --set optimizer.checkpointing=true"):
        largest_batch(configured(), INPUTS, CPU)
    assert "not even two clips" in str(does_not_fit(configured(), INPUTS, CPU))


def test_other_errors_are_no_lack_of_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(JEPA, "embed", lambda self, pixels: pixels @ 7)
    with pytest.raises(TypeError):
        largest_batch(configured(), INPUTS, CPU)


@pytest.mark.parametrize("free", [2e6, 8e6])
def test_without_such_errors_a_step_is_measured_against_what_is_free(monkeypatch: pytest.MonkeyPatch, free: float):
    config = configured()
    monkeypatch.setattr(step_memory, "available_memory", lambda: free)
    size = largest_batch(config, INPUTS, CPU)
    assert largest_batch(config, INPUTS, CPU, frames=int(free / 2)) < size
    model = JEPA(config.model, INPUTS.block_dim)
    learner = Learner(config, INPUTS, model, CPU)
    peaks = []
    for clips in (2, size, 2 * size):  # the first one makes what the optimizer holds
        pixels = torch.zeros(clips, 4, 16, 16, 3, dtype=torch.uint8)
        with LiveBytes() as memory:
            learner.step(Clip(pixels, torch.randn(clips, 4, INPUTS.block_dim)), 0.0)
        peaks.append(memory.peak)
    assert KEPT * peaks[1] <= batch_size.SHARE * free < KEPT * peaks[2]


def test_bytes_that_live_at_the_same_time_are_counted():
    given = torch.ones(1000)
    with LiveBytes() as memory:
        doubled = given * 2  # 4000 bytes, which stay
        for _ in range(5):
            (doubled + 1).sum()  # 4000 bytes and one number, which go
        given.view(10, 100).add_(1)
    assert 8000 <= memory.peak < 9000


def test_peak_of_the_process_is_known_where_the_system_tells_little(monkeypatch: pytest.MonkeyPatch):
    assert process_peak() > 2**20
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "VmRSS:\t5 kB\n")
    assert process_peak() > 2**20


# In a training


def train(robot: Path, tiny: Path, *arguments: object) -> list[object]:
    return [robot, "train", "robot/pick", "--config", tiny, "--name", "robot/run", "--steps", 2, *arguments]


@pytest.mark.slow
@pytest.mark.parametrize("how", [["--batch-size", "auto"], ["--set", "optimizer.batch_size=auto"]])
def test_size_is_settled_once(small_device: None, robot: Path, tiny: Path, how: list[str]):
    done = lewm_here(*train(robot, tiny, *how, "--set", "optimizer.accumulate=3"))
    assert done.code == 0, done.err
    assert "batch size: 24 (3 parts of 8, the largest power of two that the memory of " in done.err
    assert done.err.index("reading: ") < done.err.index("batch size: "), "frames take memory too"
    files = RunFiles(robot / "robot" / "run")
    assert tomllib.loads(files.config.read_text(encoding="utf-8"))["optimizer"]["batch_size"] == 24
    assert read_card(files.weights).provenance.train.optimizer.clips == 24


@pytest.mark.slow
@pytest.mark.parametrize(
    ("small_device", "given", "advice"),
    [
        ((10, "CUDA"), [], "at 16 clips at a time, and 8 fit: --batch-size 8, or --set optimizer.accumulate=2, which"),
        (
            (10, "CPU"),
            ["--batch-size", 36, "--set", "optimizer.accumulate=2"],
            "-size 16, or --set optimizer.accumulate=6,",
        ),
        ((10, "MPS"), ["--batch-size", 13], "at 13 clips at a time, and 8 fit: --batch-size 8"),
        ((2, "MPS"), ["--batch-size", 3], "at 3 clips at a time, and 2 fit: --batch-size 2"),
        ((10, "Python"), ["--batch-size", 32], "accumulate=4, which takes a batch of 32 in 4 parts"),
    ],
    indirect=["small_device"],
)
def test_lack_of_memory_names_the_size_that_fits(small_device: None, robot: Path, tiny: Path, given: list, advice: str):
    said = lewm_here(*train(robot, tiny, *given)).sentence()
    assert advice in said
    if given:
        return
    assert lewm_here(*train(robot, tiny, "--batch-size", 8)).code == 0
    again = lewm_here(*train(robot, tiny, "--overwrite", "--set", "optimizer.accumulate=2"))
    assert again.code == 0, again.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--batch-size", "many"], "optimizer.batch_size: 'many' is neither a number of clips from 2 on nor auto"),
        (["--batch-size", "1"], "optimizer.batch_size: 1 is neither"),
        (["--set", "optimizer.accumulate=3", "--batch-size", "16"], "16 clips cannot be taken in 3 equal parts"),
        (["--set", "optimizer.accumulate=8", "--batch-size", "8"], "two clips or more"),
        (["--set", "optimizer.compile=maybe"], "optimizer.compile"),
    ],
)
def test_what_means_nothing_is_refused(robot: Path, tiny: Path, arguments: list[str], said: str):
    assert said in lewm_here(*train(robot, tiny, *arguments)).sentence(code=2)
