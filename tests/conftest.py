"""Fixtures of many tests: a small model, a card for it, and a home of its own under the temporary folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from lewm_cli.config import (
    ActionStats,
    DatasetIdentity,
    EncoderConfig,
    Inputs,
    ModelConfig,
    PredictorConfig,
    ProjectorConfig,
)
from lewm_cli.methods import JEPA, Provenance, RunCard, TrainConfig
from lewm_cli.store import Home

# A busy machine is not a failing test.
settings.register_profile("lewm", deadline=None)
settings.load_profile("lewm")

# One thread: the models are small, and sums come out in the same order every time.
torch.set_num_threads(1)

Scramble = Callable[[torch.nn.Module], torch.nn.Module]


@pytest.fixture(scope="session")
def small_config() -> ModelConfig:
    """The laptop-sized model."""
    return ModelConfig(
        image_size=64,
        latent=8,
        encoder=EncoderConfig(patch_size=16, width=64, depth=2, heads=4, mlp=256),
        projector=ProjectorConfig(hidden=256),
        predictor=PredictorConfig(depth=3, heads=4, head_dim=32, mlp=256, dropout=0.0),
    )


@pytest.fixture(scope="session")
def scramble() -> Scramble:
    """Gives every parameter and every running statistic a random value, the same ones every time."""

    def apply(module: torch.nn.Module) -> torch.nn.Module:
        generator = torch.Generator().manual_seed(0)
        for name, value in module.state_dict().items():
            if not value.is_floating_point():
                continue
            noise = torch.randn(value.shape, generator=generator)
            if name.endswith("running_var"):
                value.copy_(0.5 + noise.abs())
            elif name.endswith("weight") and value.ndim > 1:
                value.copy_(noise / value[0].numel() ** 0.5)
            elif name.endswith("weight"):  # the scale of a normalization layer
                value.copy_(1 + 0.2 * noise)
            else:
                value.copy_(0.3 * noise)
        return module

    return apply


@pytest.fixture
def small_model(small_config: ModelConfig, scramble: Scramble) -> JEPA:
    """A scrambled laptop-sized model for action blocks of 5 x 2, in eval mode."""
    model = JEPA(small_config, block_dim=10)
    scramble(model)
    return model.eval()


@pytest.fixture(scope="session")
def small_card() -> Callable[..., RunCard]:
    """Builds a card that fits a model, with numbers that do not survive rounding."""

    def build(model: JEPA, method: str = "lewm") -> RunCard:
        frameskip = 5
        dims = model.block_dim // frameskip
        return RunCard(
            method=method,
            model=model.config,
            inputs=Inputs(
                task="tworoom", frameskip=frameskip, actions=ActionStats(mean=(1 / 3,) * dims, std=(0.1 + 0.2,) * dims)
            ),
            provenance=Provenance(
                dataset=DatasetIdentity(name="tworoom/demo", episodes=3, rows=90, fingerprint="0" * 64),
                held_out=(2,),
                trained_on=("0" * 16, "1" * 16),
                train=TrainConfig(method=method, model=model.config),
                step=7,
                device="cpu",
                versions={"torch": torch.__version__},
                command="lewm train tworoom",
                finished="2026-01-01T00:00:00Z",
            ),
        )

    return build


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home that `$STABLEWM_HOME` names; the user's own folder is another one."""
    user = tmp_path / "user"
    user.mkdir()
    monkeypatch.setenv("HOME", str(user))
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LEWM_WRITE_HOME", raising=False)
    return Home.locate()
