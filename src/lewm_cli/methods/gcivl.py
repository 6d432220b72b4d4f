"""Goal-conditioned implicit V-learning (GCIVL): learn what frames are worth, then imitate what raised it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, NonNegativeFloat, model_validator

from lewm_cli.config import ActorGoals, GoalPolicyConfig, Inputs, NetworkConfig, ValueGoals
from lewm_cli.methods.objective import Objective
from lewm_cli.methods.phase import Phase

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from lewm_cli.methods.goal_policy import ValuePolicy
    from lewm_cli.methods.loss import Loss
    from lewm_cli.model import Batch, Network

HEAVIEST = 100.0
"""An action counts at most so many times as one that gains nothing."""


@dataclass(frozen=True)
class Transitions:
    """Each step of a batch of clips, as values see it.

    Args:
        now: (B, T * P, width) tokens of the frames before the steps.
        later: (B, T * P, width) those after them.
        goal: (B, P, width)
        blocks: (B, T, block_dim) normalized; the actions between.
        away: (B, T, 1) 0 where the frame before is the goal's to the last pixel, else 1.
    """

    now: "Tensor"
    later: "Tensor"
    goal: "Tensor"
    blocks: "Tensor"
    away: "Tensor"


class GCIVL(Objective):
    """A value by expectile regression to its own slow copy; then actions weighted by how much value they gained.

    A step costs 1 until the goal is reached. Slow copies, teachers, are heads: only training needs them.
    """

    name: ClassVar[str] = "gcivl"
    summary: ClassVar[str] = (
        "A policy, no world model: first a value of frames, then actions weighted by what it gained."
    )
    source: ClassVar[str] = (
        "implicit V-learning: IQL, arXiv 2110.06169, without a critic, as in OGBench, arXiv 2410.20092"
    )
    Sizes: ClassVar[type[NetworkConfig]] = GoalPolicyConfig

    value_share: float = Field(0.5, description="share of the steps that learn the value; the others learn the policy")
    value_goals: ValueGoals = Field(ValueGoals(), description="kinds of goals while the value is learned")
    policy_goals: ActorGoals = Field(ActorGoals(), description="kinds of goals while the policy is learned")
    discount: float = Field(0.99, gt=0, lt=1, description="factor of the value one step later")
    expectile: float = Field(0.9, gt=0, lt=1, description="0.5 learns the mean outcome, near 1 the best one")
    teacher_rate: float = Field(0.005, gt=0, le=1, description="share of the way that teachers follow at each step")
    alpha: NonNegativeFloat = Field(3.0, description="an action counts by the exponential of so many times its gain")

    @model_validator(mode="after")
    def _value_before_the_policy(self) -> Self:
        if not 0 < self.value_share < 1:
            lacking = "no value to learn the policy from" if self.value_share <= 0 else "no steps for the policy"
            raise ValueError(
                f"value_share {self.value_share:g} leaves {lacking}: the value is learned first and the policy "
                "after it, so give a share between 0 and 1"
            )
        return self

    @classmethod
    def network(cls, sizes: NetworkConfig, block_dim: int) -> "Network":
        """The policy and its value with random weights, those of the encoder included."""
        from lewm_cli.methods.goal_policy import ValuePolicy

        assert isinstance(sizes, GoalPolicyConfig)
        return ValuePolicy(sizes, block_dim)

    def heads(self, sizes: NetworkConfig, inputs: Inputs) -> "dict[str, nn.Module]":
        """The value's teacher."""
        from lewm_cli.model import GoalPredictor

        assert isinstance(sizes, GoalPolicyConfig)
        return {"value": GoalPredictor(sizes, 1, queries=False).requires_grad_(requires_grad=False)}

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The value, then the policy."""
        value = Phase("value", self.value_share, self.value_goals, usable=False)
        return value, Phase("policy", goals=self.policy_goals)

    def begin(self, model: "Network", heads: "nn.ModuleDict") -> None:
        """Teachers begin as what they follow."""
        for teacher, student in _teachers(model, heads):
            teacher.copy_(student)

    def after_step(self, model: "Network", heads: "nn.ModuleDict", phase: Phase) -> None:
        """Teachers follow what is learned, as long as it is."""
        if phase.name == "value":
            for teacher, student in _teachers(model, heads):
                teacher.lerp_(student, self.teacher_rate)

    def loss(
        self, model: "Network", heads: "nn.ModuleDict", batch: "Batch", generator: "torch.Generator | None" = None
    ) -> "Loss":
        """The loss of the phase which the batch is for."""
        import torch

        from lewm_cli.methods.goal_policy import ValuePolicy
        from lewm_cli.methods.loss import Loss

        assert isinstance(model, ValuePolicy)
        assert batch.goals is not None
        assert batch.at_goal is not None
        tokens, goal = model.tokens(batch.pixels, batch.goals)
        now, later = tokens[:, :-1].flatten(1, 2), tokens[:, 1:].flatten(1, 2)
        steps = Transitions(now, later, goal, batch.blocks[:, :-1], 1 - batch.at_goal[:, :-1, None].float())
        learned = self.value_parts(model, heads, steps) if batch.phase == "value" else self.policy_parts(model, steps)
        return Loss(torch.stack([*learned.values()]).sum(), learned)

    def value_parts(self, model: "ValuePolicy", heads: "nn.ModuleDict", steps: Transitions) -> "dict[str, Tensor]":
        """The parts of the loss of the value phase."""
        value = model.value_predictor(steps.now, steps.goal).float()
        return {"value": expectile_error(value, self.outcome(heads, steps), self.expectile)}

    def outcome(self, heads: "nn.ModuleDict", steps: Transitions) -> "Tensor":
        """The reward of each step and the teacher's value after it (B, T, 1)."""
        value: Tensor = heads["value"](steps.later, steps.goal).float()
        return steps.away * (self.discount * value - 1)

    def policy_parts(self, model: "ValuePolicy", steps: Transitions) -> "dict[str, Tensor]":
        """Negative log likelihood of the actions, weighted by the exponential of what they gained."""
        from torch.func import functional_call

        # It only judges now: no dropout, and no gradient, by weights without one: under `no_grad` products are slower.
        judge = model.value_predictor.eval()
        weights_of = {name: weight.detach() for name, weight in judge.named_parameters()}
        before, after = (
            functional_call(judge, weights_of, (frames, steps.goal)).float() for frames in (steps.now, steps.later)
        )
        weights = (self.alpha * (after - before)).exp().clamp(max=HEAVIEST)
        mean, log_std = model.action_predictor(steps.now, steps.goal).float(), model.clamped_log_stds
        apart = (steps.blocks - mean) / log_std.exp()
        return {"policy": (weights * (log_std + 0.5 * apart.square())).mean()}

    @property
    def action_terms(self) -> tuple[str, ...]:
        """The policy."""
        return ("policy",)

    @property
    def explanation(self) -> str:
        """The losses in words, for the page of a run."""
        return (
            f"In the first {self.value_share:.0%} of the steps {self._values}, then behavior cloning with weights "
            f"exp({self.alpha:g} \u00d7 gain of value). {self.summary}"
        )

    @property
    def _values(self) -> str:
        return f"expectile regression ({self.expectile:g}) of the value"


def expectile_error(value: "Tensor", target: "Tensor", expectile: float) -> "Tensor":
    """Mean squared error that counts by the expectile where the target is higher, and by the rest to 1 where not."""
    error = target - value
    weights = (expectile - (error.detach() < 0).float()).abs()
    return (weights * error.square()).mean()


def _teachers(model: "Network", heads: "nn.ModuleDict") -> "Iterator[tuple[Tensor, Tensor]]":
    """All weights of the teachers, each with the one that it follows."""
    for name, teacher in heads.items():
        students = model.get_submodule(f"{name}_predictor").parameters()
        yield from ((weight.data, student.data) for weight, student in zip(teacher.parameters(), students, strict=True))
