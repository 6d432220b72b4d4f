"""What is recorded once and replayed gives what is computed anew, and a device gives what the CPU gives."""

import contextlib
import copy
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from accelerator import DEVICE, Recorder, attached, send
from lewm_cli.accelerate.graphed import RECORDERS, SHAPES, GraphedCallable
from lewm_cli.config import RANKING, EvalProtocol, PlannerConfig
from lewm_cli.control import Planner
from lewm_cli.data import Dataset, open_dataset
from lewm_cli.evaluate import choose_pairs, evaluate
from lewm_cli.methods import JEPA
from lewm_cli.plan import Bounds, LatentCost, Problem, find_solver
from lewm_cli.plan.solvers import SOLVERS
from lewm_cli.store import Home, Run, load_run
from lewm_cli.tasks import find_task

BLOCK_DIM = 10

pytest_plugins = ("recordings",)


@pytest.fixture(scope="module")
def run(trained: Path) -> Run:
    return load_run(Home(trained, (trained,)), "tworoom/lewm")


@pytest.fixture(scope="module")
def dataset(other_demos: Path) -> Dataset:
    return open_dataset(other_demos / "tworoom" / "demos.h5", "tworoom/test")


@pytest.fixture(scope="module")
def near(small_config, scramble) -> JEPA:
    return scramble(JEPA(small_config, BLOCK_DIM)).eval()


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """The device is there, and this records on it."""

    def enter(self: torch.inference_mode) -> None:
        # Tensors that wrap others cannot be viewed in inference mode.
        self.instead = torch.no_grad() if self.mode else contextlib.nullcontext()
        self.instead.__enter__()

    recorder = Recorder()
    monkeypatch.setattr(torch.inference_mode, "__enter__", enter)
    monkeypatch.setattr(torch.inference_mode, "__exit__", lambda self, *error: self.instead.__exit__(*error))
    monkeypatch.setitem(RECORDERS, DEVICE.type, lambda device: recorder)
    with attached(monkeypatch):
        yield recorder


@pytest.fixture
def far(near: JEPA, recorder: Recorder) -> JEPA:
    return send(copy.deepcopy(near))


def drawn(sequences: int, steps: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    emb = torch.randn(sequences, 1, 8, generator=generator)
    return emb, torch.randn(sequences, steps, BLOCK_DIM, generator=generator)


def sent(*tensors: Tensor) -> list[Tensor]:
    return [tensor.to(DEVICE) for tensor in tensors]


def few(solver: str, tolerance: float) -> PlannerConfig:
    elites = {} if solver in ("mppi", "random-shooting", "gradient") else {"elites": 5}
    return PlannerConfig(
        solver=solver, candidates=12, iterations=5, horizon=3, receding=1, tolerance=tolerance, **elites
    )


# The stand-in is as strict as the device that it stands for


def test_stand_in_refuses_tensors_of_two_devices(recorder: Recorder):
    with pytest.raises(RuntimeError, match="two devices"):
        torch.ones(3, device=DEVICE) + torch.ones(3)
    assert (torch.ones(3, device=DEVICE) + 1).cpu().tolist() == [2, 2, 2]


@torch.no_grad()
def test_stand_in_computes_nothing_while_it_records_and_reads_what_is_there_when_it_replays(recorder: Recorder):
    given = torch.ones(3, device=DEVICE)
    tape, result = recorder.record(lambda: (given * 2).view(3, 1).clone() + 1)
    assert result.cpu().isnan().all()
    assert given.cpu().tolist() == [1, 1, 1]
    given.copy_(torch.tensor([1.0, 2.0, 3.0]))
    tape.replay()
    assert result.cpu().flatten().tolist() == [3, 5, 7]
    with pytest.raises(RuntimeError, match="capturing"):
        recorder.record(lambda: given * float(given.sum()))


# Recording


@pytest.mark.slow
@torch.no_grad()
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(0, 9)), min_size=1, max_size=8))
def test_replayed_is_what_is_computed_anew(near, far, recorder, asked: list[tuple[int, int, int]]):
    recorder.tapes.clear()
    plain, recorded = near.imaginer(), far.imaginer()
    kept = [(recorded(*sent(*drawn(*each))), plain(*drawn(*each))) for each in asked]
    for found, expected in kept:  # what was given first is still there
        assert torch.equal(found.cpu(), expected)
    shapes = [each[:2] for each in asked]
    assert len(recorder.tapes) == sum(shapes.count(shape) > 1 for shape in set(shapes))
    assert sum(tape.replays for tape in recorder.tapes) == len(shapes) - len(set(shapes))


@pytest.mark.slow
@torch.no_grad()
def test_only_the_shapes_of_late_are_kept(far: JEPA, recorder: Recorder):
    imagine = far.imaginer()
    for _ in range(3):
        for sequences in range(1, SHAPES + 2):
            imagine(*sent(*drawn(sequences, 1, 0)))
    assert recorder.tapes == [], "each was forgotten before it was asked for again"
    for _ in range(3):
        for sequences in range(2, SHAPES + 2):
            imagine(*sent(*drawn(sequences, 1, 0)))
    assert [tape.replays for tape in recorder.tapes] == [3] * SHAPES


@pytest.mark.slow
def test_nothing_is_recorded_where_a_gradient_is_wanted(near: JEPA, far: JEPA, recorder: Recorder):
    gradients = []
    for model, send_there in ((near, lambda *tensors: tensors), (far, sent)):
        imagine = model.imaginer()
        for _ in range(3):
            emb, blocks = send_there(*drawn(2, 3, 0))
            blocks.requires_grad_()
            (gradient,) = torch.autograd.grad(imagine(emb, blocks).square().sum(), blocks)
        gradients.append(gradient.cpu())
    assert torch.equal(*gradients)
    assert gradients[0].abs().max() > 1e-3
    assert recorder.tapes == []


@torch.no_grad()
def test_what_cannot_be_recorded_is_computed_and_said_once(recorder: Recorder):
    captured = GraphedCallable(lambda x: x * float(x.sum()))
    given = torch.tensor([1.0, 2.0]).to(DEVICE)
    captured(given)
    with pytest.warns(UserWarning, match=r"could not be recorded, and is slower for it: .*capturing"):
        assert captured(given).cpu().tolist() == [3, 6]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert captured(given).cpu().tolist() == [3, 6]


@torch.no_grad()
def test_a_device_that_records_nothing_computes(near: JEPA):
    assert set(RECORDERS) == {"cuda"}
    imagine, given = near.imaginer(), drawn(3, 4, 0)
    assert torch.equal(imagine(*given), imagine(*given))


# Planning on a device


@pytest.mark.slow
@pytest.mark.parametrize("solver", sorted(SOLVERS.keys() - set(RANKING)))
@pytest.mark.parametrize("tolerance", [0.0, 0.05])
def test_every_solver_plans_on_a_device_as_on_the_cpu(near, far, recorder, solver: str, tolerance: float):
    config = few(solver, tolerance)
    starts, goals = drawn(3, 1, 1)[0], drawn(3, 1, 2)[0][:, 0]
    bounds = Bounds(torch.full((BLOCK_DIM,), -1.0), torch.full((BLOCK_DIM,), 1.5))
    plans = []
    for model, send_there in ((near, lambda *tensors: tensors), (far, sent)):
        cost = LatentCost(model, *send_there(starts, goals))
        generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
        problem = Problem(cost, BLOCK_DIM, generators, bounds=bounds)
        plans.append(find_solver(config, record=True).solve(problem))
    assert torch.equal(plans[0].actions, plans[1].actions)
    assert torch.equal(plans[0].cost, plans[1].cost)
    assert torch.equal(plans[0].iterations, plans[1].iterations)
    assert plans[1].actions.device.type == "cpu"
    assert len(recorder.tapes) == (0 if solver == "gradient" else 1)


@pytest.mark.slow
@torch.inference_mode()
def test_plans_of_a_planner_share_what_was_recorded(far: JEPA, recorder: Recorder):
    config = PlannerConfig(candidates=12, elites=5, iterations=4, horizon=3, receding=1)
    inputs = SimpleNamespace(frameskip=5)
    planner = Planner(
        SimpleNamespace(world_model=far, model=far, device=DEVICE, card=SimpleNamespace(inputs=inputs)), config
    )
    for seed in range(3):
        starts, goals = sent(drawn(2, 1, seed)[0][:, 0], drawn(2, 1, seed + 1)[0][:, 0])
        generators = [torch.Generator().manual_seed(number) for number in range(2)]
        find_solver(config).solve(Problem(planner.latent_cost(starts, goals), BLOCK_DIM, generators))
    assert [tape.replays for tape in recorder.tapes] == [3 * 4 - 1]


@pytest.mark.slow
def test_evaluation_on_a_device_is_that_on_the_cpu(run: Run, dataset: Dataset, recorder: Recorder):
    task = find_task("tworoom")
    protocol = EvalProtocol(planner=PlannerConfig(candidates=32, elites=8, iterations=4), pairs=3)
    pairs = choose_pairs(dataset, task, np.arange(dataset.episodes), EvalProtocol(pairs=3))
    there = replace(run, model=send(copy.deepcopy(run.model)))
    here, away = (
        evaluate(
            each,
            task,
            dataset,
            pairs,
            protocol,
            Planner(each, protocol.planner),
            held_out=True,
            advance=lambda done: None,
        )
        for each in (run, there)
    )
    assert away.device == str(DEVICE)
    assert away.episodes == here.episodes
    assert sum(tape.replays for tape in recorder.tapes) > 0


@torch.no_grad()
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
def test_a_gpu_replays_what_it_computes(near: JEPA, monkeypatch: pytest.MonkeyPatch):
    replays, replay = [], torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda graph: (replays.append(graph), replay(graph)))
    for number in range(torch.cuda.device_count()):
        there = torch.device("cuda", number)
        imagine = copy.deepcopy(near).to(there).imaginer()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for seed in range(8):
                given = drawn(50 + seed % 2, 5, seed)
                found = imagine(*(tensor.to(there) for tensor in given)).cpu()
                torch.testing.assert_close(found, near.imaginer()(*given), rtol=1e-3, atol=1e-4)
    assert len(replays) == 6 * torch.cuda.device_count()
