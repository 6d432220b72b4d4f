"""Goal-conditioned behavior cloning (GCBC): do what was done before a later frame was reached."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from lewm_cli.config import GoalPolicyConfig, Goals, NetworkConfig
from lewm_cli.methods.objective import Objective
from lewm_cli.methods.phase import Phase

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lewm_cli.methods.loss import Loss
    from lewm_cli.model import Batch, Network


class GCBC(Objective):
    """Mean squared error of the recorded action at each frame of the history, with a later frame as the goal."""

    name: ClassVar[str] = "gcbc"
    summary: ClassVar[str] = "A policy, no world model: it does what was done on the way to a later frame."
    source: ClassVar[str] = "goal-conditioned behavior cloning, as in OGBench, arXiv 2410.20092"
    Sizes: ClassVar[type[NetworkConfig]] = GoalPolicyConfig

    goals: Goals = Field(Goals(), description="kinds of goals")

    @classmethod
    def network(cls, sizes: NetworkConfig, block_dim: int) -> "Network":
        """The policy with random weights, those of the encoder included."""
        from lewm_cli.methods.goal_policy import GoalPolicy

        assert isinstance(sizes, GoalPolicyConfig)
        return GoalPolicy(sizes, block_dim)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One, with these goals."""
        return (Phase(goals=self.goals),)

    def loss(
        self, model: "Network", heads: "nn.ModuleDict", batch: "Batch", generator: "torch.Generator | None" = None
    ) -> "Loss":
        """The error of the mean action."""
        from torch.nn import functional as F

        from lewm_cli.methods.goal_policy import GoalPolicy
        from lewm_cli.methods.loss import Loss

        assert isinstance(model, GoalPolicy)
        assert batch.goals is not None
        tokens, goal = model.tokens(batch.pixels[:, :-1], batch.goals)
        error = F.mse_loss(model.action_predictor(tokens.flatten(1, 2), goal).float(), batch.blocks[:, :-1])
        return Loss(error, {"behavior cloning": error})

    @property
    def action_terms(self) -> tuple[str, ...]:
        """All of it."""
        return ("behavior cloning",)

    @property
    def explanation(self) -> str:
        """The loss in words, for the page of a run."""
        return f"Mean squared error of the action. {self.summary}"
