"""The decoder of an action block from the difference of two latents (Delta-JEPA, arXiv 2606.31232)."""

import torch
from torch import Tensor, nn

from lewm_cli.config import TransformerConfig
from lewm_cli.model.predictor import ConditionalBlock


class DifferenceDecoder(nn.Module):
    """One learned query per environment step of an action block; the latent difference modulates every block (AdaLN).

    Args:
        config: sizes of the transformer.
        latent: dimension of the latent space.
        steps: environment steps of an action block.
        action_dim: numbers of one action.
    """

    def __init__(self, config: TransformerConfig, latent: int, steps: int, action_dim: int) -> None:
        super().__init__()
        width = config.width or latent
        self.queries = nn.Parameter(0.02 * torch.randn(steps, width))
        self.condition = nn.Linear(latent, width)
        self.layers = nn.ModuleList(ConditionalBlock(config, width, causal=False) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, action_dim)

    def forward(self, difference: Tensor) -> Tensor:
        """Differences (..., D) of successive latents to normalized action blocks (..., steps * action_dim)."""
        condition = self.condition(difference.flatten(0, -2)).unsqueeze(1)
        x = self.queries.expand(len(condition), -1, -1)
        for layer in self.layers:
            x = layer(x, condition)
        return self.output(self.norm(x)).flatten(1).unflatten(0, difference.shape[:-1])
