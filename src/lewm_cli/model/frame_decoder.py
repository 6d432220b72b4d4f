"""The decoder that draws what a latent holds, as the paper describes it: for pictures only, never part of a loss."""

import torch
from torch import Tensor, nn

from lewm_cli.config import EncoderConfig
from lewm_cli.model.heads import Standardized
from lewm_cli.model.vit import EncoderMLP, SelfAttention

WIDTH, DEPTH, HEADS = 192, 2, 4
PATCH = 16
"""Side of a patch, pixels, as published."""
FEWEST_PATCHES = 4
"""Patches per side at least, whatever the size of a frame."""


def decoded_patch(image_size: int) -> int:
    """Side of the patches that a frame is drawn in: 16 pixels, or less where that leaves too few or does not divide."""
    largest = min(PATCH, max(1, image_size // FEWEST_PATCHES))
    return next(side for side in range(largest, 0, -1) if image_size % side == 0)


class FrameDecoder(nn.Module):
    """Draws frames from latents: a learned query per patch looks at the latent, and becomes the pixels of its patch.

    With one token per latent there is nothing to choose for the attention, whose weight is 1: every block adds the same
    to all queries, and its MLP makes of that what belongs in each patch. With patch tokens the queries choose.

    Args:
        latent: dimension of a latent.
        image_size: side of a frame, pixels.
        tokens: that a latent is made of, one after another.
        width: of queries and blocks.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, latent: int, image_size: int, tokens: int = 1, width: int = WIDTH) -> None:
        super().__init__()
        self.side, self.tokens = decoded_patch(image_size), tokens
        self.grid = image_size // self.side
        sizes = EncoderConfig(width=width, depth=DEPTH, heads=HEADS, mlp=4 * width)
        self.scale = Standardized(latent)
        self.read = nn.Linear(latent // tokens, width)
        self.places = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.queries = nn.Parameter(torch.randn(self.grid**2, width))
        self.blocks = nn.ModuleList(CrossBlock(sizes) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(width)
        self.paint = nn.Linear(width, self.side**2 * 3)
        self.register_buffer("mean", torch.zeros(image_size, image_size, 3))
        self.register_buffer("spread", torch.ones(()))

    def fit(self, latents: Tensor, frames: Tensor) -> None:
        """Takes scale and mean of latents (N, D) and frames (N, H, W, 3) uint8; the rest is to be learned."""
        self.scale.fit(latents)
        self.mean = torch.stack([row.float().mean(dim=0) for row in frames.unbind(1)])  # row by row, to save memory
        squares = [(row.float() - mean).square().mean() for row, mean in zip(frames.unbind(1), self.mean, strict=True)]
        self.spread = torch.stack(squares).mean().sqrt().clamp_min(1.0)

    def forward(self, latents: Tensor) -> Tensor:
        """Latents (N, D) to frames (N, H, W, 3), levels from 0 to 255, and beyond where it errs."""
        seen = self.read(self.scale(latents).unflatten(-1, (self.tokens, -1))) + self.places
        asking = self.queries.expand(len(latents), -1, -1)
        for block in self.blocks:
            asking = block(asking, seen)
        patches = self.paint(self.norm(asking)).unflatten(-1, (self.side, self.side, 3))
        rows = patches.unflatten(1, (self.grid, self.grid)).transpose(2, 3)
        return self.mean + self.spread * rows.reshape(len(latents), *self.mean.shape)


class CrossBlock(nn.Module):
    """Attention of queries to the tokens of a latent, and an MLP; both residual."""

    def __init__(self, sizes: EncoderConfig) -> None:
        super().__init__()
        self.before = nn.LayerNorm(sizes.width)
        self.attention = SelfAttention(sizes)
        self.after = nn.LayerNorm(sizes.width)
        self.mlp = EncoderMLP(sizes)

    def forward(self, asking: Tensor, seen: Tensor) -> Tensor:
        """Queries (N, P, width) and tokens (N, K, width) to queries."""
        asking = asking + self.attention(self.before(asking), seen)
        return asking + self.mlp(self.after(asking))
