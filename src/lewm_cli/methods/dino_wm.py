"""The network of DINO-WM (arXiv 2411.04983), with proprioception or without it."""

import math

import torch
from torch import Tensor, nn

from lewm_cli.config import DinoWMConfig, DinoWMNopropConfig
from lewm_cli.errors import LewmError
from lewm_cli.methods.info_contract import InfoContract
from lewm_cli.model import FrozenEncoder, PatchPredictor, VectorEmbedder

TOKENS_AT_ONCE = {"cpu": 2**14, "cuda": 2**18, "mps": 2**16}
"""Tokens that go through the predictor together while sequences are imagined, by device: each of them takes about
40 KB at the release's sizes."""

MONITORED = 2048
"""Numbers of a latent that are kept for monitoring, at most."""


class DinoWM(InfoContract):
    """Predicts the patch tokens that a frozen encoder makes of the next frame.

    A latent is the tokens of a frame one after another: each is that of a patch, followed by the embedding of
    proprioception if it is taken. The tokens of a frame hold one embedding of it; those that are predicted may differ.
    The predictor sees the embedding of the action behind each token, and what it makes of that is left out.

    Args:
        config: sizes; the defaults are the release's.
        block_dim: width of an action block, frameskip * action dimensions.
    """

    def __init__(self, config: DinoWMNopropConfig, block_dim: int) -> None:
        super().__init__(config, block_dim)
        self.config: DinoWMNopropConfig = config
        self.encoder = FrozenEncoder(config.encoder, config.image_size)
        self.predictor = PatchPredictor(
            config.predictor, config.token_dim + config.action_embedding, config.patches, config.history
        )
        embedders = {"action": VectorEmbedder(block_dim, config.action_embedding)}
        if isinstance(config, DinoWMConfig):
            assert config.proprio is not None  # training or reading weights has settled it
            embedders = {"proprio": VectorEmbedder(config.proprio, config.proprio_embedding)} | embedders
        self.extra_encoders = nn.ModuleDict(embedders)

    def embed(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        """Normalized frames (B, T, 3, H, W) and proprioception (B, T, dimensions) to latents (B, T, D).

        Raises LewmError without proprioception if the network takes it.
        """
        tokens: Tensor = self.encoder(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        if "proprio" in self.extra_encoders:
            if proprio is None:
                raise LewmError("this network sees proprioception beside frames; give it both")
            tokens = _beside(tokens, self.extra_encoders["proprio"](proprio))
        return tokens.flatten(2)

    def embed_actions(self, blocks: Tensor) -> Tensor:
        """Normalized action blocks (B, T, block_dim) to action embeddings (B, T, E)."""
        return self.extra_encoders["action"](blocks)

    def predict(self, emb: Tensor, act_emb: Tensor) -> Tensor:
        """Latents (B, T, D) and action embeddings (B, T, E) to the latents one step later (B, T, D)."""
        tokens = _beside(self._tokens(emb), act_emb)
        predicted: Tensor = self.predictor(tokens.flatten(1, 2)).view(tokens.shape)
        return predicted[..., : self.config.token_dim].flatten(2)

    def sequences_at_once(self, steps: int, *, gradient: bool) -> int | None:
        """See `WorldModel`; a window of a sequence is as many tokens as its frames have patches."""
        kept = steps * self.config.predictor.depth if gradient else 1
        return max(1, TOKENS_AT_ONCE[self.device.type] // (self.history * self.config.patches * kept))

    @property
    def distance(self) -> str:
        """The planning cost in words."""
        beside = " plus that of proprioception" if "proprio" in self.extra_encoders else ""
        return f"mean squared distance of patch tokens{beside}"

    def latent_cost(self, latents: Tensor, goal: Tensor) -> Tensor:
        """Cost (...) of the last of latents (..., T, D) for the goal (..., D).

        The mean squared error of patches plus that of the embedding of proprioception, read from the first token.
        """
        apart = (self._tokens(latents[..., -1, :]) - self._tokens(goal)).square()
        patches, proprio = apart[..., : self.config.encoder.width], apart[..., self.config.encoder.width :]
        cost = patches.mean(dim=(-2, -1))
        return cost + proprio[..., 0, :].mean(dim=-1) if proprio.shape[-1] else cost

    def monitored(self, latents: Tensor) -> Tensor:
        """Some of the numbers of latents (..., D), spread over patches and features; all of a latent that has few."""
        every = -(-latents.shape[-1] // MONITORED)
        while math.gcd(every, self.config.token_dim) > 1:  # else always the same features
            every += 1
        return latents[..., ::every]

    def _tokens(self, latents: Tensor) -> Tensor:
        """(..., D) to (..., P, token_dim)."""
        return latents.reshape(*latents.shape[:-1], self.config.patches, self.config.token_dim)


def _beside(tokens: Tensor, embeddings: Tensor) -> Tensor:
    """Append embeddings (B, T, E) of frames to each of their tokens (B, T, P, width)."""
    return torch.cat([tokens, embeddings.unsqueeze(2).expand(-1, -1, tokens.shape[2], -1)], dim=-1)
