"""The object checkpoint: a pickle that other tools load as a module, and that names one function of ours only."""

from pathlib import Path

import torch
from torch import Tensor

from lewm_cli.config import ModelConfig
from lewm_cli.files import atomic_path
from lewm_cli.model import LeWM


def restore_model(config_json: str, block_dim: int, state: dict[str, Tensor]) -> LeWM:
    """Rebuild a model from what an object checkpoint holds; the one function such a pickle calls.

    Args:
        config_json: `ModelConfig` as JSON.
        block_dim: width of an action block.
        state: its state dict, loaded strictly.

    Returns:
        the module in eval mode.
    """
    model = LeWM(ModelConfig.model_validate_json(config_json), block_dim)
    model.load_state_dict(state, strict=True)
    return model.eval()


def save_object(model: LeWM, path: Path) -> None:
    """Write `<run>_object.ckpt`: `torch.load` gives back the module, wherever lewm_cli is installed."""
    with atomic_path(path) as part, part.open("wb") as file:
        torch.save(_Reduced(model), file)


class _Reduced:
    def __init__(self, model: LeWM) -> None:
        self.model = model

    def __reduce__(self) -> tuple[object, tuple[str, int, dict[str, Tensor]]]:
        return restore_model, (self.model.config.model_dump_json(), self.model.block_dim, self.model.state_dict())
