"""Settings of the references of an evaluation; the rate that a protocol measures does not depend on them."""

from typing import Self

from pydantic import Field, PositiveInt, model_validator

from lewm_cli.config.section import Section


class ReferencesConfig(Section):
    """The cross-entropy method with the simulator as its model, which is costly."""

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
