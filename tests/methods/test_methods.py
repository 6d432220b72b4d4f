"""A method is one module and one line in the table: nothing else has to know it."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Self

import pytest
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from commands import lewm_here
from lewm_cli import load
from lewm_cli.config import Inputs, NetworkConfig, WorldModelConfig
from lewm_cli.errors import UsageError
from lewm_cli.methods import JEPA, METHODS, InfoContract, Loss, Objective, TrainConfig
from lewm_cli.model import Batch, Network, PlanFlops
from lewm_cli.store import read_card
from lewm_cli.train import read_log

pytest_plugins = ("recordings",)


class PatchSizes(WorldModelConfig):
    """Sizes of the network below."""

    latent: PositiveInt = Field(192, description="dimension of the latent space")
    hidden: PositiveInt = Field(8, description="hidden width")

    @property
    def latent_dim(self) -> int:
        return self.latent


class ToyNetwork(InfoContract):
    """A linear network."""

    def __init__(self, config: PatchSizes, block_dim: int) -> None:
        super().__init__(config, block_dim)
        self.frames = nn.Linear(3 * config.image_size**2, config.latent)
        self.next = nn.Sequential(
            nn.Linear(config.latent + block_dim, config.hidden), nn.Tanh(), nn.Linear(config.hidden, config.latent)
        )

    def embed(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        return self.frames(pixels.flatten(2))

    def embed_actions(self, blocks: Tensor) -> Tensor:
        return blocks

    def predict(self, emb: Tensor, act_emb: Tensor) -> Tensor:
        return emb + self.next(torch.cat([emb, act_emb], dim=-1))

    def published(self, batches: Iterable[Batch]) -> Self:
        fresh = type(self)(self.config, self.block_dim).to(self.device)
        fresh.load_state_dict(self.state_dict())
        return fresh.eval()


class Toy(Objective):
    """Predicts the next latent, and keeps the latents spread by a factor that it learns."""

    name: ClassVar[str] = "toy"
    summary: ClassVar[str] = "Predicts the next latent and keeps the latents spread."
    source: ClassVar[str] = "this test"
    Sizes: ClassVar[type[NetworkConfig]] = PatchSizes

    spread: PositiveFloat = Field(0.5, description="weight of the spread")

    @classmethod
    def network(cls, sizes: NetworkConfig, block_dim: int) -> Network:
        return ToyNetwork(sizes, block_dim)

    def heads(self, sizes: NetworkConfig, inputs: Inputs) -> dict[str, nn.Module]:
        return {"scale": nn.Linear(sizes.latent, sizes.latent)}

    def loss(
        self, model: Network, heads: nn.ModuleDict, batch: Batch, generator: torch.Generator | None = None
    ) -> Loss:
        latents = model.embed(batch.pixels)
        predicted = model.predict(latents[:, :-1], batch.blocks[:, :-1])
        prediction = (predicted - latents[:, 1:]).square().mean()
        spread = (heads["scale"](latents).std(dim=0) - 1).square().mean()
        total = prediction + self.spread * spread
        return Loss(total, {"prediction": prediction, "spread": spread}, latents, predicted)

    @property
    def explanation(self) -> str:
        return "Prediction and spread."

    @property
    def collapse_advice(self) -> str:
        return "raise objective.spread"


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> type[Toy]:
    monkeypatch.setitem(METHODS, Toy.name, Toy)
    return Toy


CONFIG = """
method = "toy"
model = { image_size = 16, latent = 4, hidden = 12 }
data = { workers = 0, frameskip = 2 }
objective = { spread = 0.75 }
optimizer = { lr = 1e-2, batch_size = 16 }
monitor = { every = 10, clips = 16, log_every = 5 }
"""


@pytest.mark.slow
def test_method_is_trained_stored_read_and_planned_with(robot: Path, toy: type[Toy], tmp_path: Path):
    settings = tmp_path / "toy.toml"
    settings.write_text(CONFIG)
    done = lewm_here(robot, "train", "robot/pick", "--config", settings, "--steps", 20)
    assert done.code == 0, done.err
    assert "spread 0." in done.err
    assert "held-out spread" in done.out
    files = robot / "robot" / "toy"
    card = read_card(Path(f"{files}.safetensors"))
    assert (card.method, card.model) == ("toy", PatchSizes(image_size=16, latent=4, hidden=12))
    assert card.provenance.train == TrainConfig.build(
        tomllib.loads((robot / "robot" / "toy.run" / "config.toml").read_text()), "config.toml"
    )
    history = read_log(robot / "robot" / "toy.run" / "log.jsonl")
    assert history.steps[-1].parts.keys() == {"prediction", "spread"}
    assert history.held_out[-1].held_out.parts.keys() == {"spread"}

    run = load("robot/toy", cache_dir=robot)
    assert isinstance(run.model, ToyNetwork)
    assert run.method == "toy"
    assert run.untrained(0).model.state_dict().keys() == run.model.state_dict().keys()
    restored = torch.load(f"{files}_object.ckpt", weights_only=False)
    assert isinstance(restored, ToyNetwork)
    assert all(torch.equal(value, restored.state_dict()[key]) for key, value in run.model.state_dict().items())
    emb, blocks = torch.randn(2, 1, 4), torch.randn(2, 5, 6)
    with torch.no_grad():
        assert restored.imaginer()(emb, blocks).shape == (2, 6, 4)
        near = restored.imaginer(torch.bfloat16, history=1)(emb, blocks)
        torch.testing.assert_close(near, restored.imaginer(history=1)(emb, blocks), rtol=0.1, atol=0.1)
        frames = torch.randn(2, 3, 1, 3, 16, 16)
        assert restored.get_cost({"pixels": frames, "goal": frames}, torch.randn(2, 3, 5, 6)).shape == (2, 3)
    # Windows of one and of two steps: 10 to 12 to 4 numbers for each.
    assert PlanFlops.of(run.model, horizon=2).candidate == 3 * 2 * (10 * 12 + 12 * 4)

    for command in (("verify", "robot/toy"), ("show", "robot/toy"), ("ls",)):
        done = lewm_here(robot, *command)
        assert done.code == 0, done.out + done.err
    resumed = lewm_here(robot, "train", "robot/pick", "--config", settings, "--init-from", "robot/toy", "--steps", 20)
    assert resumed.code == 0, resumed.err
    other = lewm_here(robot, "train", "robot/pick", "--init-from", "robot/toy", "--set", "method=lewm")
    assert "robot/toy has another network (toy)" in other.sentence()
    refused = lewm_here(robot, "convert", "robot/toy", "--to", "hub")
    assert "the network of toy cannot be written as stable_worldmodel has it" in refused.sentence()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("lwm", r"method: there is no method 'lwm'; did you mean 'lewm'\?"),
        ("zzzzz", "method: there is no method 'zzzzz'; there is lewm"),
        (3, "method: there is no method 3; there is lewm"),
    ],
)
def test_unknown_method_is_refused_with_the_nearest_one(name: object, says: str):
    with pytest.raises(UsageError, match=says):
        TrainConfig.build({"method": name, "model": {"latent": 8}}, "the file own.toml")


def test_settings_are_those_of_the_method(toy: type[Toy]):
    assert "model.hidden" in TrainConfig.keys({"method": "toy"})
    assert "objective.lambda" not in TrainConfig.keys({"method": "toy"})
    assert "objective.lambda" in TrainConfig.keys({})
    with pytest.raises(UsageError, match=r"unknown setting 'objective.spred'; did you mean 'objective.spread'\?"):
        TrainConfig.build({"method": "toy", "objective": {"spred": 1}}, "the file own.toml")
    with pytest.raises(UsageError, match=r"objective\.lambda means nothing to the method toy"):
        TrainConfig.build({"method": "toy", "objective": {"lambda": 1}}, "the file own.toml")


def test_configuration_that_names_no_method_is_that_of_lewm():
    config = TrainConfig.build({"model": {"latent": 8}, "objective": {"lambda": 0.5}}, "the file own.toml")
    assert config.method == "lewm"
    assert isinstance(METHODS[config.method].network(config.model, block_dim=6), JEPA)
    assert config == TrainConfig.model_validate_json(config.model_dump_json(by_alias=True))
