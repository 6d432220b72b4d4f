"""A network that takes proprioception: from the file to the loss, and from the simulator to its plans."""

import os
import signal
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import h5py
import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from pydantic import PositiveInt
from safetensors.torch import load_file
from torch import Tensor, nn

import lewm_cli
from commands import Done, flat, lewm_here
from lewm_cli.config import Layer, NetworkConfig, PlannerConfig, ProprioConfig, WorldModelConfig
from lewm_cli.control import Observation
from lewm_cli.data import DecodedFrames, open_dataset
from lewm_cli.errors import LewmError, StoppedError
from lewm_cli.flows.train import train
from lewm_cli.flows.training_request import TrainingRequest
from lewm_cli.methods import METHODS, InfoContract, Loss, Objective
from lewm_cli.model import Batch, Network
from lewm_cli.store import Home, LoadedWeights, Run, RunFiles, load_run, read_card, with_statistics
from lewm_cli.tasks.tworoom.simulator import TwoRoomSimulator
from lewm_cli.train import StepsTaken, TrainingEvent
from synthetic import write_recording

pytest_plugins = ("recordings",)


class Sizes(ProprioConfig, WorldModelConfig):
    """Sizes of the network below."""

    history: PositiveInt = 1

    @property
    def latent_dim(self) -> int:
        return self.proprio or 0


class Body(InfoContract):
    """Its latent is the proprioception; it learns where actions lead."""

    def __init__(self, config: Sizes, block_dim: int) -> None:
        super().__init__(config, block_dim)
        self.moves = nn.Linear(block_dim, config.latent_dim, bias=False)
        self.sight = nn.Linear(1, 1, bias=False).requires_grad_(False)
        nn.init.zeros_(self.sight.weight)

    def embed(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        seen = self.sight(pixels.mean(dim=(2, 3, 4)).unsqueeze(2)).expand(-1, -1, self.config.latent_dim)
        return seen if proprio is None else seen + proprio  # operations are counted on a frame alone

    def embed_actions(self, blocks: Tensor) -> Tensor:
        return self.moves(blocks)

    def predict(self, emb: Tensor, act_emb: Tensor) -> Tensor:
        return emb + act_emb


class Toy(Objective):
    """Predicts the next proprioception."""

    name: ClassVar[str] = "toy"
    summary: ClassVar[str] = "Predicts the next proprioception."
    source: ClassVar[str] = "this test"
    Sizes: ClassVar[type[NetworkConfig]] = Sizes
    without_proprio: ClassVar[str | None] = "prediction"

    @classmethod
    def network(cls, sizes: NetworkConfig, block_dim: int) -> Network:
        return Body(sizes, block_dim)

    def loss(
        self, model: Network, heads: nn.ModuleDict, batch: Batch, generator: torch.Generator | None = None
    ) -> Loss:
        assert batch.proprio is not None
        latents = model.embed(batch.pixels, batch.proprio)
        predicted = model.predict(latents[:, :-1], model.embed_actions(batch.blocks[:, :-1]))
        error = (predicted - latents[:, 1:]).square().mean()
        return Loss(error, {"prediction": error}, latents, predicted)

    @property
    def explanation(self) -> str:
        return "Prediction."

    @property
    def collapse_advice(self) -> str:
        return "move"


@pytest.fixture(scope="module", autouse=True)
def toy() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, Toy.name, Toy)
        yield


CONFIG = """
method = "toy"
model = { image_size = 8 }
data = { workers = 0, frameskip = 2 }
optimizer = { lr = 1e-2, weight_decay = 0, batch_size = 16, precision = "float32" }
schedule = { warmup = 0.1 }
monitor = { every = 10, clips = 16, log_every = 5 }
"""
LENGTHS = (30, 24, 40, 20, 32, 28)
ROWS = sum(LENGTHS)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("toy") / "toy.toml"
    path.write_text(CONFIG)
    return path


def felt(dims: int = 3) -> np.ndarray:
    """Proprioception of noise; one dimension never changes, and one row is not known."""
    values = np.random.default_rng(3).normal(4, 2, (ROWS, dims)).astype(np.float32)
    values[:, -1] = 7
    values[11] = np.nan
    return values


@pytest.fixture
def feeling(tmp_path: Path) -> Path:
    """A home with a recording of proprioception, `robot/pick`."""
    home = tmp_path / "home"
    write_recording(home / "robot" / "pick.h5", LENGTHS, columns={"proprio": felt()})
    return home


def trained(home: Path, config: Path, *arguments: object) -> Done:
    return lewm_here(home, "train", "robot/pick", "--config", config, "--steps", 12, *arguments)


# From the file to the loss


def test_statistics_of_the_recording_travel_with_the_weights(feeling: Path, config: Path):
    with h5py.File(feeling / "robot" / "pick.h5", "r+") as file:
        file["ep_len"][-1] -= 1  # the last row is of no episode
    done = trained(feeling, config)
    assert done.code == 0, done.err
    card = read_card(feeling / "robot" / "toy.safetensors")
    known = np.delete(felt().astype(np.float64), [11, -1], axis=0)
    assert card.inputs.proprio.mean == pytest.approx(known.mean(axis=0).tolist())
    assert card.inputs.proprio.std == pytest.approx([*known.std(axis=0)[:2], 1])
    assert card.model.proprio == card.provenance.train.model.proprio == 3
    for command in (("verify", "robot/toy"), ("show", "robot/toy"), ("ls",)):
        done = lewm_here(feeling, *command)
        assert done.code == 0, done.out
        assert command[0] != "show" or "frameskip 2, 3 action dimensions, 3 of proprioception" in flat(done.out)
    run = load_run(Home(feeling, (feeling,)), "robot/toy")
    frames = np.zeros((1, 20, 20, 3), np.uint8)
    scores = (felt()[:1] - np.array(card.inputs.proprio.mean)) / np.array(card.inputs.proprio.std)
    assert run.embed(frames, felt()[:1]).numpy() == pytest.approx(scores, abs=1e-6)
    assert run.embed(frames, felt()[11:12]).abs().max() == 0  # not known: the mean


def test_statistics_of_the_weights_that_it_starts_from_are_kept(feeling: Path, config: Path):
    assert trained(feeling, config, "--name", "robot/first").code == 0
    write_recording(feeling / "robot" / "pick.h5", LENGTHS, noise=1, columns={"proprio": 3 * felt()})
    done = trained(feeling, config, "--name", "robot/second", "--init-from", "robot/first")
    assert done.code == 0, done.err
    first, second = (read_card(feeling / "robot" / f"{name}.safetensors").inputs for name in ("first", "second"))
    assert (second.actions, second.proprio) == (first.actions, first.proprio)
    write_recording(feeling / "robot" / "pick.h5", LENGTHS, columns={"proprio": felt(2)})
    refused = trained(feeling, config, "--name", "robot/third", "--init-from", "robot/first").sentence()
    assert (
        "'robot/first' was trained with 3 numbers of proprioception, and robot/pick has 2; its weights do not"
        in refused
    )


def stop(event: TrainingEvent) -> None:
    if isinstance(event, StepsTaken) and event.step == 5:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_training_goes_on_bit_for_bit(feeling: Path, config: Path, workers: int):
    assert trained(feeling, config, "--name", "robot/whole").code == 0
    layer = Layer.of("the test", "schedule.stop", "12 steps")
    with pytest.raises(StoppedError, match="stopped after step 6 of 12"):
        train(
            Home(feeling, (feeling,)),
            TrainingRequest("robot/pick", config=config, settings=(layer,), name="robot/parted"),
            listeners=(stop,),
            say=lambda message: None,
            progress=lambda *_: nullcontext(lambda done: None),
        )
    line = ("train", "robot/pick", "--name", "robot/parted", "--resume", "--set", f"data.workers={workers}")
    done = lewm_here(feeling, *line)
    assert done.code == 0, done.err
    ours, theirs = (load_file(feeling / "robot" / f"{name}.safetensors") for name in ("parted", "whole"))
    assert ours.keys() == theirs.keys() == {"moves.weight", "sight.weight"}
    assert torch.equal(ours["moves.weight"], theirs["moves.weight"])
    write_recording(feeling / "robot" / "pick.h5", LENGTHS)  # the same frames and actions
    RunFiles(feeling / "robot" / "parted").object.unlink()  # as if it had stopped
    assert "robot/pick has no column 'proprio'" in lewm_here(feeling, *line).sentence()


@pytest.mark.parametrize("how", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("column", "settings", "said"),
    [
        (None, (), "robot/pick has no column 'proprio', and the method toy takes proprioception"),
        (np.array([b"left"] * ROWS), (), "robot/pick has no column 'proprio', and"),
        (np.zeros((ROWS, 0)), (), "robot/pick has no column 'proprio', and"),
        (
            felt(),
            ("--set", "model.proprio=1"),
            "has 3 numbers of proprioception per row, and the method toy with model",
        ),
        (np.full((ROWS, 2), np.inf), (), "the recording holds infinite proprioception; write NaN where"),
        (np.full((ROWS, 2), np.nan), (), "the recording holds no finite proprioception; record it"),
    ],
)
def test_recording_that_does_not_tell_it_is_refused(
    tmp_path: Path, config: Path, how: tuple, column: np.ndarray | None, settings: tuple, said: str
):
    home = tmp_path / "home"
    write_recording(home / "robot" / "pick.h5", LENGTHS, columns={"proprio": column})
    refused = trained(home, config, *settings, *how).sentence()
    assert said in refused
    if "the method toy" in said:
        assert "train with a method that takes none: the same command with --method prediction" in refused
    assert not (home / "robot" / "toy.safetensors").exists()


@pytest.mark.parametrize("given", [("--dry-run",), ("--batch-size", "auto")])
def test_memory_is_measured_with_it(feeling: Path, config: Path, given: tuple):
    done = trained(feeling, config, *given)
    assert done.code == 0, done.err


def test_statistics_for_weights_of_other_tools_come_from_the_recording(feeling: Path, tmp_path: Path):
    home = Home(feeling, (feeling,))
    files = RunFiles(feeling / "robot" / "theirs")
    loaded = LoadedWeights(
        "robot/theirs", files, Body(Sizes(image_size=8, proprio=3), 6), "toy", None, 1, "ab", "theirs"
    )
    run = with_statistics(home, loaded, "robot/pick")
    assert run.card.inputs.proprio.mean[0] == pytest.approx(np.nanmean(felt()[:, 0]), rel=1e-6)
    assert with_statistics(home, loaded, None).card == run.card
    assert files.statistics.exists()
    stored = files.statistics.read_text()
    files.statistics.write_text(stored.replace(run.card.inputs.proprio.model_dump_json(), "null"))
    with pytest.raises(LewmError, match="carries no statistics"):  # those are for a network that takes none
        with_statistics(home, loaded, None)
    wider = replace(loaded, model=Body(Sizes(image_size=8, proprio=4), 6))
    with pytest.raises(LewmError, match="has 3 numbers of proprioception per row, and robot/theirs takes 4; name the"):
        with_statistics(home, wider, "robot/pick")


# From the simulator to the plans


@pytest.fixture(scope="module")
def world(demos: Path, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with demonstrations of TwoRoom and a run, `tworoom/toy`, that has learned where actions lead."""
    home = tmp_path_factory.mktemp("world")
    (home / "tworoom").mkdir()
    (home / "tworoom" / "demos.h5").symlink_to(demos / "tworoom" / "demos.h5")
    settings = ("--set", "data.frameskip=5", "--set", "data.validation=0.5")
    done = lewm_here(home, "train", "tworoom", "--config", config, "--preset", "small", "--steps", 300, *settings)
    assert done.code == 0, done.err
    return home


@pytest.fixture(scope="module")
def run(world: Path) -> Run:
    return load_run(Home(world, (world,)), "tworoom/toy")


PLANNER = PlannerConfig(candidates=64, elites=8, iterations=4)
QUICK = [word for key in ("candidates=64", "elites=8", "iterations=4") for word in ("--set", f"planner.{key}")]


@pytest.mark.slow
def test_success_depends_on_what_the_simulator_tells(world: Path, monkeypatch: pytest.MonkeyPatch):
    def success(*more: object) -> tuple[float, float]:
        line = ("eval", "tworoom/toy", "--episodes", 8, "--workers", 1, "--record", 0, *QUICK, *more, "--json")
        done = lewm_here(world, *line)
        assert done.code == 0, done.err
        return done.json()["overall"]["success"]["rate"], done.json()["overall"]["random"]["rate"]

    def mirrored(simulator: TwoRoomSimulator) -> np.ndarray:
        return 2 * simulator.goal_proprio() - simulator.position()

    knowing, random = success()
    monkeypatch.setattr(TwoRoomSimulator, "proprio", mirrored)  # the goal lies on the other side, it is told
    deceived, again = success()
    assert random == again
    assert knowing > 0.5 > deceived


@pytest.mark.slow
def test_plan_is_from_where_it_is_told_to_be(run: Run):
    frame, goal = np.zeros((224, 224, 3), np.uint8), np.array([60.0, 112.0])
    policy = lewm_cli.Policy(run, Observation(frame, goal), planner=PLANNER)
    for way in (-40.0, 40.0):
        policy.reset(Observation(frame, goal))
        seen = Observation(frame, goal + np.array([way, 0]))
        policy.act(seen)
        assert np.sign(run.card.inputs.actions_of(policy.plan.actions.numpy())[:, 0].mean()) == -np.sign(way)
        assert policy.distance(seen) == pytest.approx((way / run.card.inputs.proprio.std[0]) ** 2, rel=1e-5)
    alone = "tworoom/toy sees 2 numbers of proprioception beside every frame, and here is "
    for refuses, given in ((policy.distance, frame), (policy.reset, frame)):
        with pytest.raises(LewmError, match=f"{alone}only a frame; measure it where that is recorded or simulated"):
            refuses(given)
    with pytest.raises(LewmError, match=f"{alone}1 number; "):
        policy.distance(Observation(frame, goal[:1]))


@pytest.mark.slow
def test_images_alone_are_refused(world: Path, tmp_path: Path):
    image = tmp_path / "image.png"
    imageio.imwrite(image, np.zeros((224, 224, 3), np.uint8))
    for line in (
        ("plan", "tworoom/toy", "--start", image, "--goal", image),
        ("eval", "tworoom/toy", "--goal-image", image),
    ):
        assert "of proprioception beside every frame, and here is only a frame" in lewm_here(world, *line).sentence()


@pytest.mark.slow
def test_policies_of_stable_worldmodel_pass_it_on(run: Run):
    solver = lewm_cli.SwmSolver(run, PLANNER)
    space = SimpleNamespace(shape=(2, 2))
    config = SimpleNamespace(action_block=5, horizon=2, receding_horizon=1)
    solver.configure(action_space=space, n_envs=2, config=config)
    frames, places = torch.zeros(2, 1, 3, 8, 8), torch.tensor([[[-1.0, 0]], [[1.0, 0]]])
    info = {"pixels": frames, "goal": frames, "proprio": places, "goal_proprio": torch.zeros(2, 1, 2)}
    actions = run.card.inputs.actions_of(solver.solve(info)["actions"][:, 0].numpy())
    assert actions[:5, 0].mean() > 0 > actions[5:, 0].mean()
    del info["goal_proprio"]
    with pytest.raises(LewmError, match="tworoom/toy sees goal_proprio, and what the policy passes has only pixels, g"):
        solver.solve(info)


@pytest.mark.slow
def test_places_are_read_off_it_and_jumps_surprise_it(world: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lewm_cli.probe.fitted.STEPS", 5)
    done = lewm_here(world, "probe", "tworoom/toy", "--frames", 300, "--json")
    assert done.code == 0, done.err
    places = [target for target in done.json()["targets"] if not target["rate"]]
    assert [target["linear"]["model"]["r2"] for target in places] == pytest.approx([1, 1], abs=1e-6)
    assert lewm_here(world, "fit", "tworoom/toy", "--kind", "probe", "--steps", 5).code == 0
    line = ("surprise", "tworoom/demos", "--run", "tworoom/toy", "--episodes", 3, "--json")
    done = lewm_here(world, *line)
    assert done.code == 0, done.err
    follows_one_by_one(world, done.json()["episodes"][0]["curves"]["model"])
    done = lewm_here(world, *line, "--perturb", "teleport")
    assert done.code == 0, done.err
    assert done.json()["scores"]["model"]["ratio"] > 100
    write_recording(world / "tworoom" / "blind.h5", LENGTHS, dims=2, task="tworoom")
    said = lewm_here(world, "surprise", "tworoom/blind", *line[2:4]).sentence()
    assert "tworoom/blind has no column 'proprio', and tworoom/toy takes proprioception; name another" in said


def follows_one_by_one(world: Path, curve: list[float]) -> None:
    dataset = open_dataset(world / "tworoom" / "demos.h5", "x")
    frames, surprise = DecodedFrames(dataset, 64), lewm_cli.Surprise(lewm_cli.load("tworoom/toy", world))
    seen = frames.rows(np.arange(0, 5 * len(curve) + 1, 5))
    with pytest.raises(LewmError, match="the proprioception is missing; tworoom/toy sees it beside every frame"):
        surprise.update(seen[0])
    taken = (None, *dataset.actions[: 5 * len(curve)].reshape(len(curve), 5, 2))
    beside = dataset.proprio[: 5 * len(curve) + 1 : 5]
    found = [surprise.update(*one).surprise for one in zip(seen, taken, beside, strict=True)]
    assert found == [None, *curve]
    line = ("surprise", world, "--follow", "--run", "tworoom/toy", "--actions", "-")
    assert "tworoom/toy sees 2 numbers of proprioception beside every frame" in lewm_here(world, *line).sentence()


@pytest.mark.slow
def test_exported_encoder_takes_both(world: Path, run: Run, tmp_path: Path):
    runtime = pytest.importorskip("onnxruntime")
    done = lewm_here(world, "convert", "tworoom/toy", "--to", "onnx", "--output", tmp_path / "onnx")
    assert done.code == 0, done.err  # what it computes has been compared
    session = runtime.InferenceSession(tmp_path / "onnx" / "encoder.onnx")
    assert [(taken.name, taken.shape) for taken in session.get_inputs()] == [
        ("frames", ["batch", 8, 8, 3]),
        ("proprio", ["batch", 2]),
    ]
