"""The object checkpoint: a pickle that other tools load as a module, and that names one function of ours only."""

from pathlib import Path

import torch
from torch import Tensor

from lewm_cli.files import atomic_path
from lewm_cli.methods import METHODS, Method


def restore_model(config_json: str, block_dim: int, state: dict[str, Tensor], method: str) -> Method:
    """Rebuild a model from what an object checkpoint holds; the one function such a pickle calls.

    Args:
        config_json: sizes of the network as JSON.
        block_dim: width of an action block.
        state: its state dict, loaded strictly.
        method: its name.

    Returns:
        the module in eval mode.
    """
    model = METHODS[method](METHODS[method].Sizes.model_validate_json(config_json), block_dim)
    model.load_state_dict(state, strict=True)
    return model.eval()


def save_object(model: Method, path: Path) -> None:
    """Write `<run>_object.ckpt`: `torch.load` gives back the module, wherever lewm_cli is installed."""
    with atomic_path(path) as part, part.open("wb") as file:
        torch.save(_Reduced(model), file)


class _Reduced:
    def __init__(self, model: Method) -> None:
        self.model = model

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        model = self.model
        return restore_model, (model.config.model_dump_json(), model.block_dim, model.state_dict(), model.name)
