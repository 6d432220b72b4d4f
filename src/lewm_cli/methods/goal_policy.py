"""The networks of GCBC, GCIVL and GCIQL: a policy on the patch tokens of a frozen encoder, and values that teach it."""

import torch
from torch import Tensor, nn

from lewm_cli.config import GoalPolicyConfig
from lewm_cli.model import Critic, FrozenEncoder, GoalConditionedPolicy, GoalPredictor

LOG_STDS = -5.0, 2.0
"""Logarithms of an action's standard deviation are kept between these."""


class GoalPolicy(GoalConditionedPolicy):
    """A Gaussian policy; it acts by its mean, from a single frame.

    Args:
        config: sizes; the defaults are the release's.
        block_dim: width of an action block, frameskip * action dimensions.
    """

    def __init__(self, config: GoalPolicyConfig, block_dim: int) -> None:
        super().__init__(config, block_dim)
        self.config: GoalPolicyConfig = config
        self.encoder = FrozenEncoder(config.encoder, config.image_size)
        self.action_predictor = GoalPredictor(config, block_dim, queries=True)
        self.log_stds = nn.Parameter(torch.zeros(block_dim))

    def act(self, pixels: Tensor, goals: Tensor) -> Tensor:
        """Normalized current frames and goal frames (B, 3, H, W) to normalized action blocks (B, block_dim)."""
        return self.action_predictor(self.encoder(pixels), self.encoder(goals))[:, 0]

    def tokens(self, frames: Tensor, goals: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (B, T, 3, H, W) and goals (B, 3, H, W) to their tokens (B, T, P, width) and (B, P, width)."""
        tokens = self.encoder(torch.cat([frames.flatten(0, 1), goals]))
        seen, wanted = tokens.split([len(tokens) - len(goals), len(goals)])
        return seen.unflatten(0, frames.shape[:2]), wanted

    @property
    def clamped_log_stds(self) -> Tensor:
        """Logarithms (block_dim,) of the standard deviations of action blocks, the same whatever is seen."""
        return self.log_stds.clamp(*LOG_STDS)


class ValuePolicy(GoalPolicy):
    """A policy with the value of frames that taught it, which acting does not need."""

    def __init__(self, config: GoalPolicyConfig, block_dim: int) -> None:
        super().__init__(config, block_dim)
        self.value_predictor = GoalPredictor(config, 1, queries=False)


class CriticPolicy(ValuePolicy):
    """The same with the value of actions, too."""

    def __init__(self, config: GoalPolicyConfig, block_dim: int) -> None:
        super().__init__(config, block_dim)
        self.critic_predictor = Critic(config, block_dim)
