"""The image encoder: a pre-norm vision transformer in the layout of Hugging Face's ViT (parameter names too).

With layer scales it is DINOv2 (arXiv 2304.07193), whose other parts have the names of ViT here.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lewm_cli.config import EncoderConfig, PixelStats
from lewm_cli.model.products import Linear, attention, linear


def normalize_pixels(frames: Tensor, stats: PixelStats) -> Tensor:
    """Scale frames (..., H, W, 3) uint8 to [0, 1], standardize them per channel, and return (..., 3, H, W) float32."""
    # By rows: three channels at a time are too few for a processor's vectors.
    mean, std = (_row(values, frames.shape[-2], frames.device) for values in (stats.mean, stats.std))
    return (frames.flatten(-2) / 255).sub_(mean).div_(std).reshape(frames.shape).movedim(-1, -3)


def _row(channels: tuple[float, ...], pixels: int, device: torch.device) -> Tensor:
    # Filled on the device: for numbers that are sent there one waits until all is computed that it has still to do.
    return torch.cat([torch.full((1,), value, device=device) for value in channels]).repeat(pixels)


class VisionTransformer(nn.Module):
    """Encodes frames to the CLS token of the last layer (paper section 3.1; the released encoder).

    The position embedding is learned for frames of `image_size` x `image_size` pixels.

    Args:
        epsilon: what the norms add to a variance.
        layer_scale: every block scales what it adds, feature by feature, as DINOv2 does.

    Attributes:
        checkpointing: compute what is inside a block anew for its gradient instead of keeping it, which takes a third
            more time and a fraction of the memory.
    """

    checkpointing = False

    def __init__(
        self, config: EncoderConfig, image_size: int, *, epsilon: float = 1e-12, layer_scale: bool = False
    ) -> None:
        super().__init__()
        self.embeddings = Embeddings(config, image_size)
        self.layers = nn.ModuleList(EncoderBlock(config, epsilon, layer_scale) for _ in range(config.depth))
        self.layernorm = nn.LayerNorm(config.width, eps=epsilon)
        self.apply(_initialize)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode normalized frames (N, 3, H, W) to (N, width).

        H and W are multiples of the patch size; a size other than the trained one interpolates the position embedding.
        """
        x = self.embeddings(pixels)
        *layers, last = self.layers
        for layer in layers:
            x = self._through(layer, x, x.shape[1])
        # Nothing reads the patches after the last block, so it computes the CLS token alone.
        x = self._through(last, x, 1)
        return self.layernorm(x[:, 0])

    def tokens(self, pixels: Tensor) -> Tensor:
        """Encode normalized frames (N, 3, H, W) to the tokens (N, P, width) of all patches, without CLS."""
        x = self.embeddings(pixels)
        for layer in self.layers:
            x = self._through(layer, x, x.shape[1])
        return self.layernorm(x)[:, 1:]

    def _through(self, layer: nn.Module, x: Tensor, wanted: int) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(layer, x, wanted, use_reentrant=False, preserve_rng_state=False)  # nothing is random
        return layer(x, wanted)


class Embeddings(nn.Module):
    """CLS token, patch projection and learned absolute positions."""

    def __init__(self, config: EncoderConfig, image_size: int) -> None:
        super().__init__()
        self.grid = image_size // config.patch_size
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.width))
        self.position_embeddings = nn.Parameter(torch.empty(1, self.grid**2 + 1, config.width))
        projection = nn.Conv2d(3, config.width, kernel_size=config.patch_size, stride=config.patch_size)
        self.patch_embeddings = nn.ModuleDict({"projection": projection})
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.position_embeddings, std=0.02)

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) to tokens (N, 1 + patches, width)."""
        projection = self.patch_embeddings["projection"]
        assert isinstance(projection, nn.Conv2d)
        side = projection.kernel_size[0]
        rows, columns = (size // side for size in pixels.shape[-2:])
        # A convolution whose stride is its kernel is one product per patch; colors come last, as they lie in memory.
        grid = pixels.movedim(1, -1).reshape(len(pixels), rows, side, columns, side, 3)
        patches = grid.transpose(2, 3).reshape(len(pixels), rows * columns, -1)
        embedded = linear(patches, projection.weight.permute(0, 2, 3, 1).flatten(1), projection.bias)
        tokens = torch.cat([self.cls_token.expand(len(pixels), -1, -1), embedded], dim=1)
        return tokens + self._positions(rows, columns)

    def _positions(self, rows: int, columns: int) -> Tensor:
        if (rows, columns) == (self.grid, self.grid):
            return self.position_embeddings
        cls, grid = self.position_embeddings[:, :1], self.position_embeddings[:, 1:]
        image = grid.reshape(1, self.grid, self.grid, -1).permute(0, 3, 1, 2)
        image = F.interpolate(image, size=(rows, columns), mode="bicubic", align_corners=False)
        return torch.cat([cls, image.flatten(2).transpose(1, 2)], dim=1)


class EncoderBlock(nn.Module):
    """Pre-norm self-attention and MLP, both residual."""

    def __init__(self, config: EncoderConfig, epsilon: float, layer_scale: bool) -> None:
        super().__init__()
        self.layernorm_before = nn.LayerNorm(config.width, eps=epsilon)
        self.attention = SelfAttention(config)
        # Nothing in place of them: other tools' modules are compared with these one by one.
        self.layer_scale1 = LayerScale(config.width) if layer_scale else None
        self.layernorm_after = nn.LayerNorm(config.width, eps=epsilon)
        self.mlp = EncoderMLP(config)
        self.layer_scale2 = LayerScale(config.width) if layer_scale else None

    def forward(self, x: Tensor, wanted: int) -> Tensor:
        """(N, tokens, width) to the first tokens, as many as wanted."""
        normed = self.layernorm_before(x)
        seen = self.attention(normed[:, :wanted], normed)
        x = x[:, :wanted] + (self.layer_scale1(seen) if self.layer_scale1 else seen)
        found = self.mlp(self.layernorm_after(x))
        return x + (self.layer_scale2(found) if self.layer_scale2 else found)


class LayerScale(nn.Module):
    """A factor per feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lambda1 = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same."""
        return x * self.lambda1


class SelfAttention(nn.Module):
    """Multi-head attention, biases on every projection."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q_proj = Linear(config.width, config.width)
        self.k_proj = Linear(config.width, config.width)
        self.v_proj = Linear(config.width, config.width)
        self.o_proj = Linear(config.width, config.width)

    def forward(self, asking: Tensor, seen: Tensor) -> Tensor:
        """Tokens (N, some, width) that ask and tokens (N, all, width) that they see to (N, some, width)."""
        query, key, value = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection, x in ((self.q_proj, asking), (self.k_proj, seen), (self.v_proj, seen))
        )
        mixed = attention(query, key, value)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class EncoderMLP(nn.Module):
    """Linear, exact GELU, Linear."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.fc1 = Linear(config.width, config.mlp)
        self.fc2 = Linear(config.mlp, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, tokens, width) to the same."""
        return self.fc2(F.gelu(self.fc1(x)))


def _initialize(module: nn.Module) -> None:
    # As Hugging Face initializes a ViT: the released models start there.
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
