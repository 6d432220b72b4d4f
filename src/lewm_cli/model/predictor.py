"""The predictor, a causal transformer over latents that actions modulate (AdaLN-zero), and the networks around it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lewm_cli.config import ActionEncoderConfig, BlocksConfig, PredictorConfig, TransformerConfig
from lewm_cli.model.products import Linear


class Predictor(nn.Module):
    """Latents and actions of up to `history` steps to the latents one step later (paper section 3.1)."""

    def __init__(self, config: PredictorConfig, latent: int, history: int) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.randn(1, history, latent))
        self.dropout = nn.Dropout(config.embedding_dropout)
        self.transformer = ConditionalTransformer(config, latent)

    def forward(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Latents (N, T, D), T at most the history length, and action embeddings (N, T, D) to predictions (N, T, D).

        Position t holds the prediction of latent t + 1, before the prediction projector.
        """
        x = self.dropout(latents + self.pos_embedding[:, : latents.shape[1]])
        return self.transformer(x, actions)


class ConditionalTransformer(nn.Module):
    """Conditional blocks between optional changes of width, and a final LayerNorm."""

    def __init__(self, config: TransformerConfig, latent: int) -> None:
        super().__init__()
        width = config.width or latent
        same = width == latent
        self.input_proj = nn.Identity() if same else Linear(latent, width)
        self.cond_proj = nn.Identity() if same else Linear(latent, width)
        self.layers = nn.ModuleList(ConditionalBlock(config, width) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        self.output_proj = nn.Identity() if same else Linear(width, latent)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(N, T, D) and (N, T, D) to (N, T, D)."""
        x, condition = self.input_proj(x), self.cond_proj(condition)
        for layer in self.layers:
            x = layer(x, condition)
        return self.output_proj(self.norm(x))


class ConditionalBlock(nn.Module):
    """Attention and MLP whose inputs are shifted and scaled, and whose outputs are gated, by the action."""

    def __init__(self, config: TransformerConfig, width: int, *, causal: bool = True) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attn = Attention(config, width, causal=causal)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.mlp = FeedForward(config, width)
        modulation = Linear(width, 6 * width)
        # Zero: every block starts as the identity, and actions enter only as training asks for them.
        nn.init.zeros_(modulation.weight)
        nn.init.zeros_(modulation.bias)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), modulation)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(N, T, width) and (N, T, width) to (N, T, width)."""
        shift_attn, scale_attn, gate_attn, shift_mlp, scale_mlp, gate_mlp = self.adaLN_modulation(condition).chunk(
            6, dim=-1
        )
        x = x + gate_attn * self.attn(self.norm1(x) * (1 + scale_attn) + shift_attn)
        return x + gate_mlp * self.mlp(self.norm2(x) * (1 + scale_mlp) + shift_mlp)


class Attention(nn.Module):
    """Multi-head attention; in a causal one a step sees itself and the steps before it."""

    def __init__(self, config: BlocksConfig, width: int, *, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        inner = config.heads * config.head_dim
        self.heads = config.heads
        self.dropout = config.dropout
        self.norm = nn.LayerNorm(width)
        self.to_qkv = Linear(width, 3 * inner, bias=False)
        self.to_out = nn.Sequential(Linear(inner, width), nn.Dropout(config.dropout))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, T, width) to the same; a mask (T, T) is true where a step sees another."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.to_qkv(self.norm(x)).chunk(3, dim=-1)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, mask, dropout, self.causal)
        return self.to_out(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """LayerNorm, Linear, GELU, Linear, with dropout."""

    def __init__(self, config: BlocksConfig, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(width),
            Linear(width, config.mlp),
            nn.GELU(),
            nn.Dropout(config.dropout),
            Linear(config.mlp, width),
            nn.Dropout(config.dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) to the same."""
        return self.net(x)


class Projector(nn.Module):
    """Linear, BatchNorm, GELU, Linear on single latents (N, input) to (N, output)."""

    def __init__(self, input_dim: int, hidden: int, output_dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            Linear(input_dim, hidden), nn.BatchNorm1d(hidden), nn.GELU(), Linear(hidden, output_dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, input) to (B, T, output); the batch statistics are over all B * T."""
        return self.net(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class ActionEncoder(nn.Module):
    """An action block to an embedding: pointwise convolution, then an MLP with SiLU."""

    def __init__(self, config: ActionEncoderConfig, block_dim: int, latent: int) -> None:
        super().__init__()
        self.patch_embed = nn.Conv1d(block_dim, config.smoothed, kernel_size=1)
        self.embed = nn.Sequential(
            Linear(config.smoothed, config.expansion * latent), nn.SiLU(), Linear(config.expansion * latent, latent)
        )

    def forward(self, blocks: Tensor) -> Tensor:
        """(B, T, block) to (B, T, D)."""
        return self.embed(self.patch_embed(blocks.transpose(1, 2)).transpose(1, 2))
