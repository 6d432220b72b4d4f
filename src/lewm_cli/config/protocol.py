"""How success is measured: which pairs, which budget, which planner."""

from typing import Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from lewm_cli.config.section import Section


class PlannerConfig(Section):
    """The cross-entropy method over action blocks in normalized action space."""

    candidates: int = Field(300, ge=2, description="action sequences per iteration")
    elites: int = Field(30, ge=2, description="best candidates that refit mean and standard deviation")
    iterations: PositiveInt = 30
    horizon: PositiveInt = Field(5, description="model steps planned")
    receding: PositiveInt = Field(5, description="model steps executed before replanning")
    std: PositiveFloat = Field(1.0, description="initial standard deviation")

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.elites > self.candidates:
            raise ValueError(f"elites {self.elites} is more than candidates {self.candidates}")
        if self.receding > self.horizon:
            raise ValueError(f"receding {self.receding} is more than horizon {self.horizon}")
        return self


class EvalProtocol(Section):
    """Start and goal are two rows of one recorded episode, `offset` environment steps apart."""

    pairs: PositiveInt = Field(50, description="start and goal pairs")
    offset: PositiveInt = Field(25, description="environment steps from start row to goal row")
    budget: PositiveInt = Field(50, description="environment steps allowed; success if the goal is ever reached")
    seed: int = Field(42, ge=0, lt=2**63)
    planner: PlannerConfig = PlannerConfig()
