"""The result of improving a planner: what was chosen on some pairs, and what it gains on others."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
from pydantic import PositiveInt

from lewm_cli.config import (
    NOT_OF_RANKING,
    RANKING,
    DatasetIdentity,
    EvalProtocol,
    Layer,
    ObjectiveName,
    PlannerConfig,
    PriorName,
    Section,
    SolverName,
)
from lewm_cli.plural import counted
from lewm_cli.simulate import Pair
from lewm_cli.statistics import Difference, Rate
from lewm_cli.store import Measurement

PRIOR_ALONE = "the prior alone"
"""Name of what acts without planning, which planning has to beat."""


class PlannerChoice(Section):
    """The settings of a planner that are chosen; all others are the protocol's."""

    solver: SolverName
    objective: ObjectiveName
    prior: PriorName
    anchors: str | None
    """The recording whose frames are aimed at; None for the goal itself."""
    receding: PositiveInt
    """Model steps of a plan that are followed before there is another."""
    iterations: PositiveInt

    @classmethod
    def of(cls, planner: PlannerConfig) -> Self:
        """The choice that a planner stands for."""
        return cls(**{key: getattr(planner, key) for key in cls.model_fields})

    def changed(self, **settings: Any) -> Self:
        """The same choice with other settings."""
        return self.model_copy(update=settings)

    def planner(self, base: PlannerConfig) -> PlannerConfig:
        """A planner with these settings, and else those of another one."""
        return PlannerConfig.build(base.model_dump() | self._settings, f"the planner of {self}")

    def layer(self, source: str) -> Layer:
        """The choice as settings that lie over a protocol's; `source` is their place in words."""
        return Layer(source, {"planner": self._settings})

    @property
    def controls(self) -> "dict[str, PlannerChoice]":
        """The same choice by their names, with something that knows nothing in place of one part that was chosen.

        In place of a head there is one of shuffled labels, and of the nearest recorded sequences any.
        """
        found = {}
        if self.solver == "recorded":
            found["random sequences"] = self.changed(solver="recorded-random")
        if self.objective == "reach":
            found["shuffled reach"] = self.changed(objective="reach-shuffled")
        if self.prior:
            found["shuffled prior"] = self.changed(prior="shuffled")
        return found

    @property
    def parts(self) -> str:
        """A few words for all but the effort: "reach, prior, anchors"."""
        ranking = [self.solver] if self.solver in RANKING else []
        begun = {False: [], True: ["prior"], "shuffled": ["shuffled prior"]}[self.prior]
        return ", ".join([*ranking, self.objective, *begun, *(["anchors"] if self.anchors else [])])

    def __str__(self) -> str:
        recording = f" of {self.anchors}" if self.anchors else ""
        return f"{self.parts}{recording}, receding {self.receding}, {counted(self.iterations, 'iteration')}"

    @property
    def _settings(self) -> dict[str, Any]:
        """Its settings, and of a solver that ranks that those of drawing are left out."""
        return (NOT_OF_RANKING if self.solver in RANKING else {}) | self.model_dump()


class TriedPlanner(Section):
    """A choice that was tried on some pairs."""

    choice: PlannerChoice | None
    """None for the prior alone, which acts without planning."""
    reached: tuple[tuple[bool, ...], ...]
    """True where the goal was reached, for every pair, distance by distance."""
    seconds_per_plan: float
    head_sha256: str | None
    """Digest of the file of the head that plans were judged by, like the next of the prior's; None without one."""
    prior_sha256: str | None

    @property
    def parts(self) -> str:
        """A few words for all but the effort."""
        return self.choice.parts if self.choice else PRIOR_ALONE

    @property
    def rates(self) -> list[float]:
        """Share of the pairs that were reached, distance by distance."""
        return [float(np.mean(one)) for one in self.reached]

    @property
    def rate(self) -> float:
        """Mean of the rates, which count alike however many pairs they are of."""
        return float(np.mean(self.rates))


class PairSet(Section):
    """Pairs of one distance, and random actions on them."""

    offset: PositiveInt
    budget: PositiveInt
    episodes: tuple[int, ...]
    start_rows: tuple[int, ...]
    random: tuple[bool, ...]

    @classmethod
    def of(cls, protocol: EvalProtocol, pairs: Sequence[Pair], random: Sequence[bool]) -> Self:
        """Keeps what is the same for all planners that are tried on some pairs."""
        return cls(
            offset=protocol.offset,
            budget=protocol.budget,
            episodes=tuple(one.episode for one in pairs),
            start_rows=tuple(one.start_row for one in pairs),
            random=tuple(random),
        )


class Trials(Section):
    """Planners that were tried on the same pairs of a recording, the first of them the protocol's."""

    dataset: DatasetIdentity
    pairs: tuple[PairSet, ...]
    tried: tuple[TriedPlanner, ...]

    @property
    def episodes(self) -> set[int]:
        """Numbers of the recorded episodes that the pairs come from."""
        return {episode for pairs in self.pairs for episode in pairs.episodes}

    @property
    def plain(self) -> TriedPlanner:
        """The protocol's planner."""
        return self.tried[0]

    def difference(self, this: TriedPlanner, other: TriedPlanner, places: Sequence[int] | None = None) -> Difference:
        """Success of one minus that of another, on the pairs of some distances by their places, or of all."""
        chosen = range(len(self.pairs)) if places is None else places
        mine, theirs = (np.concatenate([one.reached[place] for place in chosen]) for one in (this, other))
        return Difference.of(mine, theirs, np.concatenate([self.pairs[place].episodes for place in chosen]))

    def best(self) -> TriedPlanner | None:
        """The planner that reaches most, of several the one that was tried first.

        Only such count that are shown to be better; None if there is none. The prior alone is no planner.
        """
        planners = (one for one in self.tried[1:] if one.choice)
        return max(filter(self.better, planners), key=lambda one: one.rate, default=None)

    def better(self, one: TriedPlanner) -> bool:
        """True if a gain on the protocol's planner is shown over all pairs together, and a loss at no distance."""
        loses = (self.difference(self.plain, one, [place]).shown for place in range(len(self.pairs)))
        return self.difference(one, self.plain).shown and not any(loses)


class ControlGain(Section):
    """Success of one of `PlannerChoice.controls`, of the prior alone, or of random actions."""

    name: str
    success: Rate
    below: Difference
    """The chosen planner minus this."""


class DistanceGain(Section):
    """Gain of the chosen planner on test pairs whose goals lie at one distance."""

    offset: PositiveInt
    before: Rate
    """Success of the protocol's planner."""
    now: Rate
    gain: Difference
    controls: tuple[ControlGain, ...]


class ImproveResult(Measurement):
    """A choice among planners of a run on validation pairs, and its gain on test pairs.

    The newest of a run's present weights holds the run's planner. `dataset` is the recording of the test pairs.
    """

    protocol: EvalProtocol
    """That all were measured by, but for the distance, the steps allowed and the number of pairs."""
    validation: Trials
    chosen: PlannerChoice | None
    """None if nothing is shown better than the protocol's planner; then nothing is tested."""
    test: Trials | None
    gains: tuple[DistanceGain, ...]
    """One for every distance."""
    seconds_per_plan_before: float | None
    """Mean over the test pairs, like the next."""
    seconds_per_plan_now: float | None

    @staticmethod
    def gained(test: Trials, controls: Sequence[str]) -> Iterator[DistanceGain]:
        """Compares the second planner that was tried with the first, and with controls after it, by their names."""
        plain, chosen, *shuffled = test.tried
        for place, pairs in enumerate(test.pairs):
            others = {name: one.reached[place] for name, one in zip(controls, shuffled, strict=True)}
            episodes, success = np.array(pairs.episodes), np.array(chosen.reached[place])
            yield DistanceGain(
                offset=pairs.offset,
                before=Rate.of(np.array(plain.reached[place]), episodes),
                now=Rate.of(success, episodes),
                gain=test.difference(chosen, plain, [place]),
                controls=tuple(
                    ControlGain(
                        name=name,
                        success=Rate.of(np.array(reached), episodes),
                        below=Difference.of(success, np.array(reached), episodes),
                    )
                    for name, reached in (others | {"random actions": pairs.random}).items()
                ),
            )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """The few fields that a notebook shows, and the choice."""
        yield from super().__repr_args__()
        yield "chosen", str(self.chosen)
