"""A frozen image encoder, of which the patch tokens are taken: what predictors and policies on patches look at."""

from typing import Self

import torch
from torch import Tensor, nn

from lewm_cli.config import FrozenEncoderConfig
from lewm_cli.model.vit import VisionTransformer


class FrozenEncoder(nn.Module):
    """Encodes frames to patch tokens with weights that are never trained: no gradient, always in eval mode.

    Args:
        config: sizes of the vision transformer.
        image_size: side of the frames that it will see, pixels: a multiple of the patch size.
    """

    def __init__(self, config: FrozenEncoderConfig, image_size: int) -> None:
        super().__init__()
        trained = config.grid * config.patch_size if config.grid else image_size
        backbone = VisionTransformer(config, trained, epsilon=config.epsilon, layer_scale=config.layer_scale)
        self.backbone = backbone.requires_grad_(False)
        self.width, self.patches = config.width, (image_size // config.patch_size) ** 2
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stays in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Normalized frames (N, 3, H, W) to the patch tokens (N, P, width) after the last norm, without CLS.

        Tokens that were made of frames before stay as they are.
        """
        return self.backbone.tokens(pixels) if pixels.dim() == 4 else pixels
