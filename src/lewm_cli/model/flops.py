"""Floating-point operations and parameters of a model, counted while one input passes through it."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lewm_cli.config import ProprioConfig
from lewm_cli.model.heads import PriorHead
from lewm_cli.model.network import GoalConditionedPolicy, Network
from lewm_cli.model.rollout import rollout
from lewm_cli.model.world_model import WorldModel

GRADIENT = 2
"""Candidates without gradient that cost as much as one with it: the backward pass takes as long as the forward pass."""


ATTENTION = flop_registry[torch.ops.aten._scaled_dot_product_efficient_attention]
"""The formula of attention, which every device has its own operators for; torch does not list all of them."""


class _FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts FLOPs by part of a model, like torch's FlopCounterMode; that one loads dynamo, which takes a second."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = Counter[nn.Module | None]()
        self.part: nn.Module | None = None

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to mark this class for dynamo, torch would import it

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        attention = ATTENTION if str(func).startswith("aten._scaled_dot_product") else None
        if formula := flop_registry.get(func.overloadpacket, attention):
            self.flops[self.part] += formula(*args, **(kwargs or {}), out_val=result)
        return result

    def enter(self, part: nn.Module, given: Any) -> None:
        self.part = part
        self.flops[part] += 0

    def leave(self, part: nn.Module, given: Any, result: Any) -> None:
        self.part = None


def _count(model: Network, compute: Callable[[], Tensor]) -> Counter[nn.Module | None]:
    """The FLOPs of every part that a computation calls; those of no part stand under None."""
    counter = _FlopCounter()
    hooks = [part.register_forward_pre_hook(counter.enter) for _, part in _parts(model)]
    hooks += [part.register_forward_hook(counter.leave) for _, part in _parts(model)]
    # In inference mode, torch would show whole layers instead of the products that they are made of.
    try:
        with torch.inference_mode(False), torch.no_grad(), counter:
            compute()
    finally:
        for hook in hooks:
            hook.remove()
    return counter.flops


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
        """Count the FLOPs of planning `horizon` model steps; `history` is as for `rollout`."""
        emb, blocks = _zeros(model, 1, model.config.latent_dim), _zeros(model, horizon, model.block_dim)
        image = _count(model, lambda: _embedded(model))
        candidate = _count(model, lambda: rollout(model, emb, blocks, history))
        return cls(2 * image.total(), candidate.total())

    def tried(self, candidates: int, *, gradient: bool) -> int:
        """FLOPs of evaluating so many candidates, with the gradients of their costs if asked for."""
        return self.candidate * candidates * (GRADIENT if gradient else 1)


@dataclass(frozen=True)
class ComponentProfile:
    """The size and the cost of one part of a model.

    Args:
        name: of the module.
        parameters: values, whether they are trained or not.
        flops: floating-point operations (a multiply-add counts two) for the unit in `per`.
        per: the unit: a frame, an action block or a predicted step; of a policy a step.
    """

    name: str
    parameters: int
    flops: int
    per: str


def step_flops(policy: GoalConditionedPolicy) -> int:
    """FLOPs of matrix products in acting once, which is all that a policy computes between two frames."""
    return _count(policy, _acting(policy)).total()


def prior_flops(model: WorldModel, head: PriorHead) -> int:
    """FLOPs of matrix products in acting once by a behavior prior: the frame to its latent, and the head."""
    seen = _zeros(model, model.config.latent_dim)
    return _count(model, lambda: head(_embedded(model)[0], seen)[0]).total()


def profile(model: Network) -> tuple[ComponentProfile, ...]:
    """Parameters and FLOPs of every part of a model, in eval mode.

    Those of a predicted step are for a window of the model's history length.
    """
    units = {"step": _acting(model)} if isinstance(model, GoalConditionedPolicy) else {}
    if isinstance(model, WorldModel):
        units = _imagining(model)
    profiles = []
    for per, compute in units.items():
        flops = _count(model, compute)
        for name, part in _parts(model):
            if part in flops:
                parameters = sum(parameter.numel() for parameter in part.parameters())
                profiles.append(ComponentProfile(name, parameters, flops[part], per))
    return tuple(profiles)


def _imagining(model: WorldModel) -> dict[str, Callable[[], Tensor]]:
    """The computations of a world model, by unit."""
    block, window = _zeros(model, 1, model.block_dim), _zeros(model, model.history, model.config.latent_dim)
    act_emb = model.embed_actions(_zeros(model, model.history, model.block_dim))
    return {
        "frame": lambda: _embedded(model),
        "action block": lambda: model.embed_actions(block),
        "predicted step": lambda: model.predict(window, act_emb),
    }


def _acting(policy: GoalConditionedPolicy) -> Callable[[], Tensor]:
    frames = _frame(policy)[:, 0]
    return lambda: policy.act(frames, frames)


def _parts(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The direct children of a model, and those of a group of children by group and name."""
    for name, child in model.named_children():
        if isinstance(child, nn.ModuleDict):
            yield from ((f"{name}.{key}", part) for key, part in child.items())
        else:
            yield name, child


def _embedded(model: WorldModel) -> Tensor:
    """The latent of an empty frame."""
    sizes = model.config
    proprio = _zeros(model, 1, sizes.proprio or 0) if isinstance(sizes, ProprioConfig) else None
    return model.embed(_frame(model), proprio)


def _frame(model: Network) -> Tensor:
    return _zeros(model, 1, 3, model.config.image_size, model.config.image_size)


def _zeros(model: Network, *shape: int) -> Tensor:
    return torch.zeros(1, *shape, device=model.device)
