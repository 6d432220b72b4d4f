"""The goals that policies and values are trained with: how often each kind of frame is one."""

import math
from typing import Self

from pydantic import Field, model_validator

from lewm_cli.config.section import Section


class Goals(Section):
    """Probabilities of the kinds of goals that a clip is given; its present is the last frame of its history."""

    random: float = Field(0.0, ge=0, le=1, description="share of: any frame of the recording")
    geometric: float = Field(
        0.0, ge=0, le=1, description="share of: a later frame of the episode, near ones more often"
    )
    uniform: float = Field(1.0, ge=0, le=1, description="share of: any later frame of the episode")
    current: float = Field(0.0, ge=0, le=1, description="share of: the present frame")
    nearness: float = Field(
        0.01, gt=0, le=1, description="of geometric goals: probability that the next frame is one, and so on from there"
    )

    @property
    def shares(self) -> tuple[float, float, float, float]:
        """The shares of random, geometric, uniform and current goals."""
        return self.random, self.geometric, self.uniform, self.current

    @model_validator(mode="after")
    def _shares_of_one(self) -> Self:
        if not math.isclose(sum(self.shares), 1):
            shares = " + ".join(f"{share:g}" for share in self.shares)
            raise ValueError(
                f"the shares of random, geometric, uniform and current goals must add up to 1, and {shares} is "
                f"{sum(self.shares):g}; set all four"
            )
        return self


class ValueGoals(Goals):
    """Goals of a value, which must know of places that were not reached, and of arriving."""

    random: float = Field(0.3, ge=0, le=1, description="share of: any frame of the recording")
    geometric: float = Field(
        0.5, ge=0, le=1, description="share of: a later frame of the episode, near ones more often"
    )
    uniform: float = Field(0.0, ge=0, le=1, description="share of: any later frame of the episode")
    current: float = Field(0.2, ge=0, le=1, description="share of: the present frame")


class ActorGoals(Goals):
    """Goals of a policy that a value teaches."""

    random: float = Field(0.5, ge=0, le=1, description="share of: any frame of the recording")
    uniform: float = Field(0.5, ge=0, le=1, description="share of: any later frame of the episode")
