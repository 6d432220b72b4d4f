"""How large and how costly the parts of a model are."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lewm_cli.model.lewm import LeWM


@dataclass(frozen=True)
class ComponentProfile:
    """One part of the model.

    Args:
        name: of the module.
        parameters: trainable values.
        flops: floating-point operations (a multiply-add counts two) for the unit in `per`.
        per: what the operations are for.
    """

    name: str
    parameters: int
    flops: int
    per: str


@torch.inference_mode()
def profile(model: LeWM) -> tuple[ComponentProfile, ...]:
    """Parameters and FLOPs per component, counted by torch while one input passes through.

    Args:
        model: in eval mode, on the CPU.
    """
    config = model.config
    frame = torch.zeros(1, 3, config.image_size, config.image_size)
    token = torch.zeros(1, 1, config.encoder.width)
    latent = torch.zeros(1, 1, config.latent)
    window = torch.zeros(1, config.history, config.latent)
    block = torch.zeros(1, 1, model.block_dim)
    parts: tuple[tuple[str, nn.Module, tuple[torch.Tensor, ...], str], ...] = (
        ("encoder", model.encoder, (frame,), "frame"),
        ("projector", model.projector, (token,), "frame"),
        ("action_encoder", model.action_encoder, (block,), "action block"),
        ("predictor", model.predictor, (window, window), "predicted step"),
        ("pred_proj", model.pred_proj, (latent,), "predicted step"),
    )
    profiles = []
    for name, module, arguments, per in parts:
        with FlopCounterMode(display=False) as counter:
            module(*arguments)
        parameters = sum(parameter.numel() for parameter in module.parameters())
        profiles.append(ComponentProfile(name, parameters, counter.get_total_flops(), per))
    return tuple(profiles)
