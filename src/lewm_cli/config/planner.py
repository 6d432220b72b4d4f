"""Settings of planning: the solver, its parameters and its budgets."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from lewm_cli.config.section import Section

SolverName = Literal["cem", "icem", "mppi", "random-shooting", "gradient", "cem-gd", "recorded", "recorded-random"]
"""The names of the solvers."""

ObjectiveName = Literal["last", "path", "probe", "reach", "reach-imagined", "reach-shuffled"]
"""The planning costs: squared latent distance at the last step (`last`) or its mean over all steps (`path`); squared
distance of the positions that a probe reads (`probe`); the steps to the goal that a reachability head predicts
(`reach`), or such a head that was fitted to imagined latents too (`reach-imagined`) or to shuffled labels
(`reach-shuffled`)."""

PriorName = bool | Literal["shuffled"]
"""The behavior prior that is asked: none, the fitted one, or its control that learned from shuffled actions."""

Value = TypeVar("Value")

if TYPE_CHECKING:
    Own = Annotated[Value, "of some solvers"]
else:

    class Own:
        """The type of a setting that some solvers have: they always find a value, and the others leave it None."""

        def __class_getitem__(cls, value: Any) -> Any:
            return value | None


UNUSED: Any = None

SAMPLING: dict[str, Any] = {"candidates": 300, "std": 1.0, "elites": 30, "result": "mean"}
DEFAULTS: dict[str, dict[str, Any]] = {
    "cem": SAMPLING,
    "icem": SAMPLING | {"result": "best", "color": 2.0, "kept": 0.3},
    "mppi": {"candidates": 300, "std": 0.5, "result": "mean", "temperature": 0.03},
    "random-shooting": {"candidates": 300, "std": 1.0, "result": "best"},
    "gradient": {"candidates": 16, "std": 1.0, "result": "best", "step": 0.1},
    "cem-gd": SAMPLING | {"result": "best", "step": 0.05, "refined": 4, "descents": 10},
    "recorded": {"candidates": 300, "result": "best"},
    "recorded-random": {"candidates": 300, "result": "best"},
}
"""The settings that each solver uses and others do not, or use with another default."""

WITH_MEAN = ("cem", "icem", "mppi")
"""Solvers that keep a mean to the end; the others return the best candidate."""

RANKING = ("recorded", "recorded-random")
"""Solvers that rank recorded sequences; the others draw."""

NOT_OF_RANKING: dict[str, Any] = {key: None for own in DEFAULTS.values() for key in own if key != "candidates"}
"""Settings of solvers that draw, as they have to be where one that ranks takes the place of such a solver."""


class PlannerConfig(Section):
    """A search over action blocks in normalized action space; by default the cross-entropy method of the paper."""

    solver: SolverName = Field("cem", description="how plans are searched for")
    candidates: int = Field(300, ge=2, description="action sequences tried per iteration")
    elites: Own[int] = Field(UNUSED, ge=2, description="cheapest candidates, which refit mean and standard deviation")
    iterations: PositiveInt = 30
    horizon: PositiveInt = Field(5, description="model steps planned")
    receding: PositiveInt = Field(5, description="model steps executed before replanning")
    std: Own[PositiveFloat] = Field(UNUSED, description="standard deviation that is drawn with first")
    result: Literal["mean", "best"] = Field("mean", description="what the solver drew around last, or the best of all")
    warm_start: bool = Field(False, description="begin at what is left of the plan before")
    bounds: bool = Field(
        False, description="try only actions that the task's action space, or else the recording, holds"
    )
    tolerance: float = Field(0.0, ge=0, lt=1, description="share of the cost that iterations must save; 0: go on")
    milliseconds: PositiveFloat | None = Field(None, description="wall time of a plan; at least one iteration is made")
    flops: PositiveFloat | None = Field(None, description="operations of a plan; at least one iteration is made")
    objective: ObjectiveName = Field("last", description="what a plan costs; probe and reach need lewm fit")
    prior: PriorName = Field(False, description="begin at what recorded behavior would do; shuffled for the control")
    anchors: str | None = Field(None, description="recording, at a frame of which on the way to the goal plans aim")
    history: PositiveInt | None = Field(None, description="steps looked back at while imagining; the model's")
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        "float32", description="that candidates are imagined in; auto measures which is fastest here"
    )
    color: Own[float] = Field(UNUSED, ge=0, description="icem: exponent of the noise's spectrum; 0 is white")
    kept: Own[float] = Field(UNUSED, ge=0, le=1, description="icem: share of the elites that are tried again")
    temperature: Own[PositiveFloat] = Field(UNUSED, description="mppi: in standard deviations of the costs")
    step: Own[PositiveFloat] = Field(UNUSED, description="gradient, cem-gd: step size of Adam")
    refined: Own[int] = Field(UNUSED, ge=2, description="cem-gd: cheapest sequences that the gradient improves")
    descents: Own[PositiveInt] = Field(UNUSED, description="cem-gd: gradient steps after the iterations")

    @model_validator(mode="before")
    @classmethod
    def _take_defaults_of_the_solver(cls, tree: Any) -> Any:
        if not isinstance(tree, dict):
            return tree
        solver = tree.get("solver", "cem")
        own = DEFAULTS.get(solver, {}) if isinstance(solver, str) else {}
        return own | {key: value for key, value in tree.items() if value is not None or key not in own}

    @model_validator(mode="after")
    def _solver_uses_what_is_set(self) -> Self:
        for key in dict.fromkeys(key for own in DEFAULTS.values() for key in own):
            using = [solver for solver, own in DEFAULTS.items() if key in own]
            if self.solver not in using and getattr(self, key) is not None:
                *others, last = using
                either = f"{', '.join(others)} or {last}" if others else last
                raise ValueError(f"{key} means nothing to the solver {self.solver}; leave it out, or use {either}")
        if self.solver in RANKING and not self.anchors:
            raise ValueError(f"the solver {self.solver} tries recorded actions; name the recording with anchors")
        if self.solver in RANKING and (self.prior or self.warm_start):
            raise ValueError(f"the solver {self.solver} draws nothing around a mean; leave prior and warm_start out")
        if self.result == "mean" and self.solver not in WITH_MEAN:
            raise ValueError(f"the solver {self.solver} has no mean in the end; leave result out, or set it to 'best'")
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        for key in ("elites", "refined"):
            if (getattr(self, key) or 0) > self.candidates:
                raise ValueError(f"{key} {getattr(self, key)} is more than candidates {self.candidates}")
        if self.receding > self.horizon:
            raise ValueError(f"receding {self.receding} is more than horizon {self.horizon}")
        if self.warm_start and self.prior:
            raise ValueError("warm_start and prior both say where a plan begins; leave one of them out")
        if self.warm_start and self.receding == self.horizon:
            raise ValueError(
                f"warm_start begins at what is left of a plan, and nothing is where all {self.horizon} steps are "
                "executed; set receding to fewer than horizon"
            )
        return self
