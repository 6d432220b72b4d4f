"""The protocol of an evaluation (pairs, budget, planner, success criterion), and the effort of its references."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from lewm_cli.config.planner import PlannerConfig, PriorName
from lewm_cli.config.section import Section

Sampler = Literal["episodes", "rows", "rows-original"]
"""The ways to draw starts: one per episode in turn, anywhere among the rows, or there as the original code does."""

Gate = Literal["simulator", "swept", "route", "wrapped", "tight"]
"""The success criteria; a task has the simulator's own and some of the others."""

Acting = Literal["run", "prior"]
"""What acts: the run itself, which plans or is a policy, or its behavior prior without planning."""

SolvedStarts = Literal["count", "exclude", "redraw"]
"""The treatment of pairs whose start is a solution: counted, left out of the headline, or replaced by others."""


class EvalProtocol(Section):
    """An evaluation: start and goal are two rows of one recorded episode, `offset` environment steps apart."""

    name: str = Field("", description="of the named protocol it is, or is a change of")
    version: PositiveInt = Field(1, description="a higher one measures something else under the same name")
    purpose: str = Field("", description="what it is for, in a few words")
    changed: tuple[str, ...] = Field((), description="settings in which it differs from the named protocol")
    pairs: PositiveInt = Field(50, description="start and goal pairs")
    offset: PositiveInt = Field(25, description="environment steps from start row to goal row")
    budget: PositiveInt = Field(50, description="environment steps allowed; success if the goal is ever reached")
    seed: int = Field(42, ge=0, lt=2**63, description="of the pairs, and of planning unless that has its own")
    planning_seed: int | None = Field(None, ge=0, lt=2**63, description="of planning and of the random policy")
    episodes: Literal["unseen", "all"] = Field("unseen", description="never trained on where that is known, or all")
    sampler: Sampler = "episodes"
    only: str | None = Field(None, description="group of pairs to draw from, like 'other room'")
    solved_starts: SolvedStarts = "count"
    gate: Gate = "simulator"
    actor: Acting = Field("run", description="what acts: run, or prior for its behavior prior without planning")
    planner: PlannerConfig | None = Field(PlannerConfig(), description="none for what acts without planning")

    @model_validator(mode="after")
    def _pairs_can_be_drawn(self) -> Self:
        if self.sampler != "episodes" and self.selects:
            raise ValueError(f"sampler {self.sampler!r} takes pairs as they come; choose among them with 'episodes'")
        return self

    @property
    def selects(self) -> bool:
        """True if pairs are looked at before they are taken."""
        return self.only is not None or self.solved_starts == "redraw"

    @property
    def planning(self) -> PlannerConfig:
        """The settings of planning, which every evaluation of a world model has."""
        assert self.planner is not None
        return self.planner

    @property
    def way(self) -> Literal["planning", "prior", "policy"]:
        """The word for what acts."""
        return "planning" if self.planner else "prior" if self.actor == "prior" else "policy"

    @property
    def prior(self) -> PriorName:
        """The behavior prior that is asked, by the planner or by itself; False if none is."""
        return self.actor == "prior" if self.planner is None else self.planner.prior

    @property
    def drawn_with(self) -> int:
        """Seed of planning and of the random policy."""
        return self.seed if self.planning_seed is None else self.planning_seed

    @classmethod
    def types(cls, tree: Mapping[str, Any]) -> dict[str, Any]:
        """The types of all fields; what can be set of the planner are its settings."""
        return super().types(tree) | {"planner": PlannerConfig}

    def __str__(self) -> str:
        changed = f" (changed: {', '.join(self.changed)})" if self.changed else ""
        return f"{self.name or 'unnamed'} {self.version}{changed}"


OWN_FIELDS = ("name", "version", "purpose", "changed")
"""Fields that describe a protocol and cannot be set."""


class Expectation(Section):
    """A known result for goals so far away."""

    offset: PositiveInt = Field(description="environment steps to the goal, from which on it holds")
    text: str


class ReferencesConfig(Section):
    """The cross-entropy method with the simulator as its model, which is costly; no rate depends on it."""

    candidates: int = Field(100, ge=2, description="action sequences per iteration")
    elites: int = Field(10, ge=2, description="best candidates that refit mean and standard deviation")
    iterations: PositiveInt = 10

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.elites > self.candidates:
            raise ValueError(f"elites {self.elites} is more than candidates {self.candidates}")
        return self

    def __str__(self) -> str:
        return f"{self.candidates} x {self.iterations}"
