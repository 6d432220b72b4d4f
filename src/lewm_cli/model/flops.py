"""Floating-point operations and parameters of a model, counted by torch while one input passes through it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Self

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lewm_cli.config import NetworkConfig
from lewm_cli.model.rollout import rollout
from lewm_cli.model.world_model import WorldModel

GRADIENT = 2
"""Candidates without gradient that cost as much as one with it: the backward pass takes as long as the forward pass."""


@dataclass(frozen=True)
class PlanFlops:
    """Floating-point operations of matrix products in planning from one frame; a multiply-add counts two.

    They are those of the plain rollout, in which every window goes through the whole predictor. What a faster rollout
    leaves out is not taken off, so that they tell how much two searches asked of a model, whatever computes it.

    Args:
        images: start and goal to latents, once per plan.
        candidate: to imagine one candidate.
    """

    images: int
    candidate: int

    @classmethod
    def of(cls, model: WorldModel, horizon: int, history: int | None = None) -> Self:
        """Count the FLOPs of a model, once for the same sizes.

        Args:
            model: whose sizes count.
            horizon: model steps planned.
            history: steps that are looked back at, if fewer than the model can.
        """
        return cls(*_count(type(model), model.config, model.block_dim, horizon, history))

    def tried(self, candidates: int, *, gradient: bool) -> int:
        """FLOPs of evaluating so many candidates, with the gradients of their costs if asked for."""
        return self.candidate * candidates * (GRADIENT if gradient else 1)


@cache
@torch.no_grad()
def _count(
    kind: type[WorldModel], config: NetworkConfig, block_dim: int, horizon: int, history: int | None
) -> tuple[int, int]:
    with torch.device("meta"):  # shapes are all that is needed
        model = kind(config, block_dim).eval()
    with FlopCounterMode(display=False) as images:
        model.embed(_frame(model))
    with FlopCounterMode(display=False) as candidate:
        rollout(model, _zeros(model, 1, config.latent), _zeros(model, horizon, block_dim), history)
    return 2 * images.get_total_flops(), candidate.get_total_flops()


@dataclass(frozen=True)
class ComponentProfile:
    """The size and the cost of one part of a model.

    Args:
        name: of the module.
        parameters: trainable values.
        flops: floating-point operations (a multiply-add counts two) for the unit in `per`.
        per: the unit: a frame, an action block or a predicted step.
    """

    name: str
    parameters: int
    flops: int
    per: str


@torch.no_grad()
def profile(model: WorldModel) -> tuple[ComponentProfile, ...]:
    """Parameters and FLOPs of every direct child of a model, in eval mode.

    Those of a predicted step are for a window of the model's history length.
    """
    blocks, window = _zeros(model, model.history, model.block_dim), _zeros(model, model.history, model.config.latent)
    act_emb = model.embed_actions(blocks)
    units = (
        ("frame", lambda: model.embed(_frame(model))),
        ("action block", lambda: model.embed_actions(blocks[:, :1])),
        ("predicted step", lambda: model.predict(window, act_emb)),
    )
    profiles = []
    for per, compute in units:
        inputs = _inputs_of_children(model, compute)
        for name, child in model.named_children():
            if child in inputs:
                with FlopCounterMode(display=False) as counter:
                    child(*inputs[child])
                parameters = sum(parameter.numel() for parameter in child.parameters())
                profiles.append(ComponentProfile(name, parameters, counter.get_total_flops(), per))
    return tuple(profiles)


def _inputs_of_children(model: nn.Module, compute: Callable[[], Tensor]) -> dict[nn.Module, tuple[Tensor, ...]]:
    """The inputs of every direct child that a computation calls."""
    inputs = dict[nn.Module, tuple[Tensor, ...]]()

    def note(child: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        inputs[child] = given

    hooks = [child.register_forward_hook(note) for child in model.children()]
    compute()
    for hook in hooks:
        hook.remove()
    return inputs


def _frame(model: WorldModel) -> Tensor:
    return _zeros(model, 1, 3, model.config.image_size, model.config.image_size)


def _zeros(model: WorldModel, *shape: int) -> Tensor:
    return torch.zeros(1, *shape, device=model.device)
