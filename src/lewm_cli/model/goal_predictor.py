"""Predictors on patch tokens of frames and of a goal: the action of a policy, the value of a state, that of an action.

Parameters have the names of stable_worldmodel's `gcrl`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lewm_cli.config import BlocksConfig, GoalPolicyConfig
from lewm_cli.model.patch_predictor import frame_causal_mask
from lewm_cli.model.predictor import FeedForward
from lewm_cli.model.products import Linear

CRITIC_HIDDEN = 256
"""Width of the two layers that a critic has above its transformer."""


class GoalTrunk(nn.Module):
    """Patch tokens of up to `history` frames, and of a goal, to one vector per frame, which sees no frame after it.

    Args:
        sizes: of frames, tokens and the transformer.
        queries: ask for each frame's vector with a learned query in the last block, instead of a mean over its patches.
    """

    def __init__(self, sizes: GoalPolicyConfig, *, queries: bool) -> None:
        super().__init__()
        width, patches = sizes.encoder.width, sizes.patches
        self.pos_embedding = nn.Parameter(torch.randn(1, sizes.history * patches, width))
        self.pos_embedding_goal = nn.Parameter(torch.randn(1, patches, width))
        self.transformer = GoalTransformer(sizes.predictor, width, patches, sizes.history, queries=queries)

    def vectors(self, tokens: Tensor, goal: Tensor) -> Tensor:
        """Tokens (B, T * P, width), frames oldest first, and the goal's (B, P, width) to vectors (B, T, width)."""
        return self.transformer(tokens + self.pos_embedding[:, : tokens.shape[1]], goal + self.pos_embedding_goal)


class GoalPredictor(GoalTrunk):
    """A linear output per frame: the mean action of a policy, or a value."""

    def __init__(self, sizes: GoalPolicyConfig, outputs: int, *, queries: bool) -> None:
        super().__init__(sizes, queries=queries)
        self.out_proj = Linear(sizes.encoder.width, outputs)

    def forward(self, tokens: Tensor, goal: Tensor) -> Tensor:
        """Tokens (B, T * P, width) and the goal's (B, P, width) to outputs (B, T, outputs)."""
        return self.out_proj(self.vectors(tokens, goal))


class Critic(GoalTrunk):
    """The value of the action that is taken at each frame."""

    def __init__(self, sizes: GoalPolicyConfig, actions: int) -> None:
        super().__init__(sizes, queries=False)
        self.q_head = nn.Sequential(
            *(Linear(sizes.encoder.width + actions, CRITIC_HIDDEN), nn.ReLU()),
            *(Linear(CRITIC_HIDDEN, CRITIC_HIDDEN), nn.ReLU()),
            Linear(CRITIC_HIDDEN, 1),
        )

    def forward(self, tokens: Tensor, actions: Tensor, goal: Tensor) -> Tensor:
        """Tokens (B, T * P, width), actions (B, T, A) and the goal's tokens (B, P, width) to values (B, T, 1)."""
        return self.q_head(torch.cat([self.vectors(tokens, goal), actions], dim=-1))


class GoalTransformer(nn.Module):
    """Blocks that look at the frames and at the goal in turns; the last may be one of queries."""

    def __init__(self, config: BlocksConfig, width: int, patches: int, frames: int, *, queries: bool) -> None:
        super().__init__()
        attentions: list[GoalAttention] = [
            (FrameSelfAttention, GoalCrossAttention)[block % 2](config, width) for block in range(config.depth)
        ]
        if queries:
            attentions[-1] = FrameAggregation(config, width, patches, frames)
        self.layers = nn.ModuleList(GoalBlock([attention, FeedForward(config, width)]) for attention in attentions)
        self.norm = nn.LayerNorm(width)
        self.mask: Tensor
        self.register_buffer("mask", frame_causal_mask(patches, frames), persistent=False)
        self.patches, self.queries = patches, queries

    def forward(self, tokens: Tensor, goal: Tensor) -> Tensor:
        """Tokens (B, T * P, width) and the goal's (B, P, width) to vectors (B, T, width)."""
        clips, count, width = tokens.shape
        mask = self.mask[:count, :count]
        for block in self.layers:
            tokens = block(tokens, goal, mask)
        if not self.queries:
            tokens = tokens.view(clips, -1, self.patches, width).mean(dim=2)
        return self.norm(tokens)


class GoalBlock(nn.ModuleList):
    """An attention and an MLP, both residual; where frames are asked for by queries, neither."""

    def forward(self, tokens: Tensor, goal: Tensor, mask: Tensor) -> Tensor:
        """(B, T * P, width) to the same, or to vectors (B, T, width) by queries."""
        attention, mlp = self
        mixed = attention(tokens, goal, mask)
        if isinstance(attention, FrameAggregation):
            return mlp(mixed)
        tokens = tokens + mixed
        return tokens + mlp(tokens)


class GoalAttention(nn.Module):
    """Multi-head attention of tokens that ask to tokens that are seen."""

    def __init__(self, config: BlocksConfig, width: int) -> None:
        super().__init__()
        inner = config.heads * config.head_dim
        self.heads, self.dropout = config.heads, config.dropout
        self.norm = nn.LayerNorm(width)
        self.to_q = Linear(width, inner, bias=False)
        self.to_kv = Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Sequential(Linear(inner, width), nn.Dropout(config.dropout))

    def mix(self, asking: Tensor, seen: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, some, width) and (B, all, width) to (B, some, width); a mask (some, all) is true for what is seen."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.to_q(asking), *self.to_kv(seen).chunk(2, dim=-1))
        )
        mixed = F.scaled_dot_product_attention(query, key, value, mask, self.dropout if self.training else 0.0)
        return self.to_out(mixed.transpose(1, 2).flatten(2))


class FrameSelfAttention(GoalAttention):
    """Tokens look at those of their own frame and of frames before it."""

    def forward(self, tokens: Tensor, goal: Tensor, mask: Tensor) -> Tensor:
        """(B, T * P, width) to the same; a mask (T * P, T * P) is true for what is seen."""
        tokens = self.norm(tokens)
        return self.mix(tokens, tokens, mask)


class GoalCrossAttention(GoalAttention):
    """Tokens look at all of the goal's."""

    def __init__(self, config: BlocksConfig, width: int) -> None:
        super().__init__(config, width)
        self.norm_c = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, goal: Tensor, mask: Tensor) -> Tensor:
        """(B, T * P, width) and (B, P, width) to (B, T * P, width)."""
        return self.mix(self.norm(tokens), self.norm_c(goal))


class FrameAggregation(GoalAttention):
    """One learned query per frame looks at the tokens of this frame and of frames before it."""

    def __init__(self, config: BlocksConfig, width: int, patches: int, frames: int) -> None:
        super().__init__(config, width)
        self.patches = patches
        self.frame_tokens = nn.Parameter(0.02 * torch.randn(1, frames, width))

    def forward(self, tokens: Tensor, goal: Tensor, mask: Tensor) -> Tensor:
        """(B, T * P, width) to (B, T, width); a mask (T * P, T * P) is true for what is seen."""
        mask = mask[:: self.patches]
        queries = self.frame_tokens[:, : len(mask)].expand(len(tokens), -1, -1)
        return self.mix(queries, self.norm(tokens), mask)
