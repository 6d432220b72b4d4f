"""Goal-conditioned implicit Q-learning (GCIQL): as GCIVL, and the value of frames is learned from one of actions."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat

from lewm_cli.config import GoalPolicyConfig, Inputs, NetworkConfig
from lewm_cli.methods.gcivl import GCIVL, Transitions, expectile_error

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lewm_cli.methods.goal_policy import ValuePolicy
    from lewm_cli.model import Network


class GCIQL(GCIVL):
    """The value is an expectile of what a critic gives to recorded actions; the critic learns rewards and values."""

    name: ClassVar[str] = "gciql"
    summary: ClassVar[str] = "A policy, no world model: as gcivl, its value learned from a critic of actions."
    source: ClassVar[str] = "implicit Q-learning: IQL, arXiv 2110.06169, as in OGBench, arXiv 2410.20092"

    alpha: NonNegativeFloat = Field(10.0, description="an action counts by the exponential of so many times its gain")

    @classmethod
    def network(cls, sizes: NetworkConfig, block_dim: int) -> "Network":
        """The policy, its value and its critic with random weights, those of the encoder included."""
        from lewm_cli.methods.goal_policy import CriticPolicy

        assert isinstance(sizes, GoalPolicyConfig)
        return CriticPolicy(sizes, block_dim)

    def heads(self, sizes: NetworkConfig, inputs: Inputs) -> "dict[str, nn.Module]":
        """The teachers of the value and of the critic."""
        from lewm_cli.model import Critic

        assert isinstance(sizes, GoalPolicyConfig)
        critic = Critic(sizes, inputs.block_dim).requires_grad_(requires_grad=False)
        return {**super().heads(sizes, inputs), "critic": critic}

    def value_parts(self, model: "ValuePolicy", heads: "nn.ModuleDict", steps: Transitions) -> "dict[str, Tensor]":
        """The value learns from the critic's teacher, the critic from the value's."""
        from torch.nn import functional as F

        from lewm_cli.methods.goal_policy import CriticPolicy

        assert isinstance(model, CriticPolicy)
        value = model.value_predictor(steps.now, steps.goal).float()
        judged = heads["critic"](steps.now, steps.blocks, steps.goal).float()
        critic = model.critic_predictor(steps.now, steps.blocks, steps.goal).float()
        return {
            "value": expectile_error(value, judged, self.expectile),
            "critic": F.mse_loss(critic, self.outcome(heads, steps)),
        }

    @property
    def action_terms(self) -> tuple[str, ...]:
        """The critic, and the policy."""
        return ("critic", *super().action_terms)

    @property
    def _values(self) -> str:
        return f"{super()._values} to a critic, which learns from what follows"
