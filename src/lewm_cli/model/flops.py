"""How many operations planning takes, counted from the sizes of a model."""

from dataclasses import dataclass
from typing import Self

from lewm_cli.config import EncoderConfig, ModelConfig, PredictorConfig

GRADIENT = 2
"""Candidates that cost as much as one with its gradient: back through the model is as far as forth."""


@dataclass(frozen=True)
class PlanFlops:
    """Floating-point operations of matrix products, a multiply-add counts two.

    They are those of the plain rollout, in which every window goes through the whole predictor. What a faster rollout
    leaves out is not taken off, so that they tell how much two searches asked of a model, whatever computes it.

    Args:
        images: start and goal to latents, once per plan.
        candidate: to imagine one candidate.
    """

    images: int
    candidate: int

    @classmethod
    def of(cls, config: ModelConfig, block_dim: int, horizon: int, history: int | None = None) -> Self:
        """Those of plans from one frame.

        Args:
            config: sizes of the model.
            block_dim: width of an action block.
            horizon: model steps planned.
            history: steps that are looked back at, if fewer than the model can.
        """
        windows = [min(step, history or config.history) for step in range(1, horizon + 1)]
        steps = sum(_predicted(config, tokens) for tokens in windows)
        return cls(images=2 * _frame(config), candidate=horizon * _action_block(config, block_dim) + steps)

    def tried(self, candidates: int, *, gradient: bool) -> int:
        """To imagine so many candidates, and how their costs change with them if that is asked for."""
        return self.candidate * candidates * (GRADIENT if gradient else 1)


def _frame(config: ModelConfig) -> int:
    encoder = config.encoder
    patches = (config.image_size // encoder.patch_size) ** 2
    patched = 2 * patches * 3 * encoder.patch_size**2 * encoder.width
    return patched + encoder.depth * _seen(encoder, patches + 1) + _projected(encoder.width, config)


def _seen(encoder: EncoderConfig, tokens: int) -> int:
    """One block of the vision transformer: four projections, attention, MLP."""
    attention = 4 * tokens**2 * encoder.width
    return 8 * tokens * encoder.width**2 + attention + 4 * tokens * encoder.width * encoder.mlp


def _action_block(config: ModelConfig, block_dim: int) -> int:
    smoothed, hidden = config.action_encoder.smoothed, config.action_encoder.expansion * config.latent
    return 2 * (block_dim * smoothed + smoothed * hidden + hidden * config.latent)


def _predicted(config: ModelConfig, tokens: int) -> int:
    """One step of the predictor with so many steps of context."""
    predictor, latent = config.predictor, config.latent
    width = predictor.width or latent
    resized = 0 if width == latent else 3 * 2 * tokens * latent * width
    blocks = predictor.depth * _block(predictor, width, tokens)
    return resized + blocks + tokens * _projected(latent, config)


def _block(predictor: PredictorConfig, width: int, tokens: int) -> int:
    """Modulation, queries to values, attention, output projection, MLP."""
    inner = predictor.heads * predictor.head_dim
    per_token = 6 * width**2 + 3 * width * inner + inner * width + 2 * width * predictor.mlp
    return 2 * tokens * per_token + 4 * tokens**2 * inner


def _projected(width: int, config: ModelConfig) -> int:
    return 2 * config.projector.hidden * (width + config.latent)
