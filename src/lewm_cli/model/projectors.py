"""The small networks around encoder and predictor: two projectors, and the embedding of an action block."""

from torch import Tensor, nn

from lewm_cli.config import ActionEncoderConfig


class Projector(nn.Module):
    """Linear, BatchNorm, GELU, Linear on single latents (N, input) to (N, output)."""

    def __init__(self, input_dim: int, hidden: int, output_dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(input_dim, hidden), nn.BatchNorm1d(hidden), nn.GELU(), nn.Linear(hidden, output_dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, input) to (B, T, output); the batch statistics are over all B * T."""
        output: Tensor = self.net(x.flatten(0, 1))
        return output.reshape(*x.shape[:2], -1)


class ActionEncoder(nn.Module):
    """An action block to an embedding: pointwise convolution, then an MLP with SiLU."""

    def __init__(self, config: ActionEncoderConfig, block_dim: int, latent: int) -> None:
        super().__init__()
        self.patch_embed = nn.Conv1d(block_dim, config.smoothed, kernel_size=1)
        self.embed = nn.Sequential(
            nn.Linear(config.smoothed, config.expansion * latent),
            nn.SiLU(),
            nn.Linear(config.expansion * latent, latent),
        )

    def forward(self, blocks: Tensor) -> Tensor:
        """(B, T, block) to (B, T, D)."""
        output: Tensor = self.embed(self.patch_embed(blocks.transpose(1, 2)).transpose(1, 2))
        return output
