"""The predictor of patch tokens, a transformer that is causal from frame to frame, and the embedding of vectors.

Parameters have the names of stable_worldmodel's `PreJEPA`.
"""

import torch
from torch import Tensor, nn

from lewm_cli.config import BlocksConfig, PatchPredictorConfig
from lewm_cli.model.predictor import Attention, FeedForward


class PatchPredictor(nn.Module):
    """Patch tokens of up to `frames` frames to those one step later.

    Args:
        config: sizes of the transformer.
        width: of a token.
        patches: tokens of a frame.
        frames: history length.
    """

    def __init__(self, config: PatchPredictorConfig, width: int, patches: int, frames: int) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.randn(1, frames * patches, width))
        self.dropout = nn.Dropout(config.embedding_dropout)
        self.transformer = FrameCausalTransformer(config, width, patches, frames)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (N, T * P, width) of frames, oldest first, to the same; those of frame t are predictions of t + 1."""
        return self.transformer(self.dropout(tokens + self.pos_embedding[:, : tokens.shape[1]]))


class FrameCausalTransformer(nn.Module):
    """Residual blocks of attention and MLP, in which a token sees those of its own frame and of frames before it."""

    def __init__(self, config: BlocksConfig, width: int, patches: int, frames: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([Attention(config, width, causal=False), FeedForward(config, width)])
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width)
        self.mask: Tensor
        self.register_buffer("mask", frame_causal_mask(patches, frames), persistent=False)
        self.patches = patches

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T * P, width) to the same."""
        count = tokens.shape[1]
        mask = None if count == self.patches else self.mask[:count, :count]  # one frame sees all of itself
        for layer in self.layers:
            attention, mlp = layer.children()
            tokens = tokens + attention(tokens, mask)
            tokens = tokens + mlp(tokens)
        return self.norm(tokens)


def frame_causal_mask(patches: int, frames: int) -> Tensor:
    """(frames * patches, frames * patches), true where the token of a row sees that of a column."""
    frame = torch.arange(frames).repeat_interleave(patches)
    return frame[:, None] >= frame


class VectorEmbedder(nn.Module):
    """A vector, of proprioception or actions, to its embedding: a pointwise convolution, always in full precision."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.patch_embed = nn.Conv1d(inputs, width, kernel_size=1)

    def forward(self, vectors: Tensor) -> Tensor:
        """(N, T, inputs) to (N, T, width)."""
        with torch.autocast(vectors.device.type, enabled=False):
            embedded: Tensor = self.patch_embed(vectors.to(self.patch_embed.weight.dtype).transpose(1, 2))
        return embedded.transpose(1, 2)
