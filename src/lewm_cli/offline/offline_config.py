"""Settings of an evaluation without a simulator; those that planning has too go by the same keys."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, PositiveFloat, PositiveInt

from lewm_cli.config import EvalProtocol, Section


class RankingConfig(Section):
    """The action sequences that the recorded one is ranked among."""

    horizon: PositiveInt = Field(5, description="model steps to the goal")
    candidates: PositiveInt = Field(100, description="random sequences for each start")
    std: PositiveFloat = Field(1.0, description="standard deviation of those that a planner would draw first")


class OfflineConfig(Section):
    """An evaluation without a simulator: starts in recorded episodes, and goals that were recorded later."""

    pairs: PositiveInt = Field(200, description="starts, at most; of all episodes alike")
    seed: int = Field(42, ge=0, lt=2**63, description="of the starts, the random actions and the untrained network")
    steps: PositiveInt | None = Field(None, description="model steps that prediction is measured over")
    planner: RankingConfig = RankingConfig()

    @classmethod
    def unknown(cls, key: str, tree: Mapping[str, Any]) -> str:
        """Says that there is no such setting, or that it is one of planning."""
        known = EvalProtocol.keys()
        if key not in known and not any(one.startswith(f"{key}.") for one in known):
            return super().unknown(key, tree)
        return f"{key} means nothing where nothing is simulated; what can be set is {', '.join(cls.keys())}"
