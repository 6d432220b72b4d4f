"""Turns named tensors of a file into the state of our model: every name, shape and dtype fits, or it is refused."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from lewm_cli.config import ModelConfig
from lewm_cli.errors import LewmError
from lewm_cli.methods import METHODS, LeWM, Method
from lewm_cli.store.formats.refused import DamagedError, RefusalError, printable
from lewm_cli.store.keys import our_key, released_key, transformers_generation

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
COUNTER = "num_batches_tracked"
"""BatchNorm's count of batches, the one integer in a state."""

DEEPEST = 256
LARGEST = 2**20
"""Bounds of depth and of any width in a configuration: far beyond every LeWM, small enough to build without tensors."""

LARGEST_OF_OTHERS = 2**12
"""Bound of any number in the configuration of another method's network, which may be a depth."""

ACTIONS = "action_encoder.patch_embed.weight"


@dataclass(frozen=True)
class TensorEntry:
    """A tensor in a file that has not been read yet."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]


@dataclass(frozen=True)
class NamedTensors:
    """The tensors of a file under our names.

    Args:
        entries: by our name.
        generation: major version of transformers whose names the file uses.
    """

    entries: Mapping[str, TensorEntry]
    generation: int

    def their_name(self, key: str) -> str:
        """Our name of a tensor as this file would call it."""
        return released_key(key) if self.generation == 4 else key


def under_our_names(entries: Mapping[str, TensorEntry]) -> NamedTensors:
    """Rename the tensors of a state dict of either generation.

    Raises:
        RefusalError: it mixes both.
    """
    try:
        generation = transformers_generation(entries)
    except LewmError as error:
        raise RefusalError(str(error)) from error
    return NamedTensors({our_key(key): entry for key, entry in entries.items()}, generation)


def blank_model(model: ModelConfig, block_dim: int) -> LeWM:
    """Build the model without memory for its tensors (on the meta device).

    Raises:
        RefusalError: no LeWM is that large.
    """
    encoder, predictor, actions = model.encoder, model.predictor, model.action_encoder
    sizes = [model.latent, model.history, model.projector.hidden, block_dim, encoder.width, encoder.mlp]
    sizes += [predictor.width or 1, predictor.mlp, predictor.heads * predictor.head_dim]
    sizes += [actions.smoothed, actions.expansion * model.latent]
    grid = model.image_size // encoder.patch_size
    sizes += [grid * grid, encoder.patch_size]
    depth = max(encoder.depth, predictor.depth)
    if max(sizes) > LARGEST or depth > DEEPEST or block_dim < 1:
        raise RefusalError("its configuration asks for a model larger than any LeWM")
    with torch.device("meta"):
        return LeWM(model, block_dim)


def blank_of(method: str, config_json: str, block_dim: int) -> Method:
    """Build the model of any method without memory for its tensors.

    Raises:
        DamagedError: there is no such method, or it has no such configuration.
        RefusalError: no model is that large.
    """
    if method not in METHODS:
        raise DamagedError("the method in it is not one of this version of lewm")
    try:
        config = METHODS[method].Sizes.model_validate_json(config_json)
    except ValidationError as error:
        raise DamagedError("the configuration in it is not one of this version of lewm") from error
    if isinstance(config, ModelConfig):
        blank_model(config, block_dim)
    elif not 1 <= max(block_dim, _largest(config.model_dump())) <= LARGEST_OF_OTHERS:
        raise RefusalError("its configuration asks for a model larger than any")
    with torch.device("meta"):
        return METHODS[method](config, block_dim)


def _largest(tree: object) -> int:
    """The largest whole number in a configuration."""
    if isinstance(tree, dict):
        return max(map(_largest, tree.values()), default=0)
    return tree if isinstance(tree, int) else 0


def check(named: NamedTensors, model: nn.Module) -> None:
    """Compare every tensor with the model's by name, shape and dtype; there is no other.

    Raises:
        RefusalError: with the count of those that fit and the first that does not.
    """
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    missing = [key for key in expected if key not in named.entries]
    extra = [key for key in named.entries if key not in expected]
    reshaped = [key for key, shape in expected.items() if key not in missing and named.entries[key].shape != shape]
    if missing or extra or reshaped:
        problems = [f"{len(expected) - len(missing) - len(reshaped)}/{len(expected)} tensors fit"]
        if missing:
            problems.append(f"missing: {named.their_name(missing[0])}" + _more(missing))
        if extra:
            problems.append(f"extra: {printable(named.their_name(extra[0]))}" + _more(extra))
        if reshaped:
            key = reshaped[0]
            shapes = f"{list(named.entries[key].shape)} instead of {list(expected[key])}"
            problems.append(f"another shape: {named.their_name(key)} {shapes}" + _more(reshaped))
        raise RefusalError("; ".join(problems))
    for key, entry in named.entries.items():
        wanted = (torch.int64,) if key.endswith(COUNTER) else FLOATS
        if entry.dtype not in wanted:
            kinds = " or ".join(str(dtype).removeprefix("torch.") for dtype in wanted)
            raise RefusalError(f"{named.their_name(key)} is {str(entry.dtype).removeprefix('torch.')}, not {kinds}")


def read_state(named: NamedTensors, model: nn.Module) -> dict[str, Tensor]:
    """Read the tensors of a model, which may be blank: floats as float32, one after the other.

    Raises:
        RefusalError: they are not exactly the model's, or the file is damaged.
    """
    check(named, model)
    return {key: _as_ours(entry.read()) for key, entry in named.entries.items()}


def recognize_release(named: NamedTensors) -> tuple[ModelConfig, int]:
    """Recognize the released architecture by its 303 shapes: its configuration and the width of an action block.

    Raises:
        RefusalError: some tensor has another shape; no other architecture shows its head counts in shapes.
    """
    actions = named.entries.get(ACTIONS)
    block_dim = actions.shape[1] if actions is not None and len(actions.shape) == 3 else 1
    try:
        check(named, blank_model(ModelConfig(), block_dim))
    except RefusalError as error:
        raise RefusalError(
            f"{error}, so it is not the released architecture, and for another one encoder heads, predictor heads, "
            "head width and dropout cannot be read from shapes; put its config.json beside the weights, or "
            "name it: --config FILE"
        ) from error
    return ModelConfig(), block_dim


def _as_ours(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _more(keys: list[str]) -> str:
    return f" and {len(keys) - 1} more" if len(keys) > 1 else ""
