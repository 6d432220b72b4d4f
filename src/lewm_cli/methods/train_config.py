"""The configuration of a training run; two of its sections are the method's own."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PositiveInt,
    SerializeAsAny,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from lewm_cli.config import (
    DataConfig,
    EvalConfig,
    Layer,
    LogConfig,
    MonitorConfig,
    NetworkConfig,
    OptimizerConfig,
    ScheduleConfig,
    Section,
)
from lewm_cli.methods.objective import Objective
from lewm_cli.methods.table import DEFAULT, METHODS, check_method


def _section_of_the_method(which: Literal["model", "objective"]) -> WrapValidator:
    def build(tree: Any, _: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        name = info.data.get("method")  # missing if it is unknown, which is then the error
        if not name:
            return tree
        section = METHODS[name] if which == "objective" else METHODS[name].Sizes
        return section.model_validate(tree)

    return WrapValidator(build)


MethodName = Annotated[str, BeforeValidator(check_method)]
Sizes = Annotated[SerializeAsAny[NetworkConfig], _section_of_the_method("model")]
"""The section `model`, after a field `method`."""

ObjectiveSettings = Annotated[SerializeAsAny[Objective], _section_of_the_method("objective")]


class TrainConfig(Section):
    """Everything that decides what a training run computes, except the data itself."""

    method: MethodName = DEFAULT
    seed: int = Field(3072, ge=0, lt=2**63)
    threads: PositiveInt | None = Field(None, description="CPU threads; as many as torch takes if not given")
    model: Sizes = Field({}, validate_default=True)
    data: DataConfig = DataConfig()
    objective: ObjectiveSettings = Field({}, validate_default=True)
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    monitor: MonitorConfig = MonitorConfig()
    eval: EvalConfig = EvalConfig()
    log: LogConfig = Field(LogConfig(), exclude=True)
    """Left out wherever a configuration is stored: it decides nothing that is computed."""

    @model_validator(mode="after")
    def _clips_long_enough(self) -> Self:
        terms = self.objective.several_step_terms
        if terms and self.model.history < 2:
            raise ValueError(
                f"objective.{terms[0]} needs clips of two steps or more, and model.history = 1 makes them one; "
                f"raise model.history, or set objective.{terms[0]} to 0"
            )
        return self

    @classmethod
    def types(cls, tree: Mapping[str, Any]) -> dict[str, Any]:
        """The types of all fields; those of `model` and `objective` depend on the method."""
        method = METHODS.get(str(tree.get("method")), METHODS[DEFAULT])
        return super().types(tree) | {"model": method.Sizes, "objective": method}

    @classmethod
    def unknown(cls, key: str, tree: Mapping[str, Any]) -> str:
        """Says which methods have a setting that the one of this tree has not."""
        method = str(tree.get("method", DEFAULT))
        keys = {name: cls.keys({"method": name}) for name in METHODS}
        having = [name for name, own in keys.items() if any(f"{one}.".startswith(f"{key}.") for one in own)]
        if not having:
            return super().unknown(key, tree)
        group = key.partition(".")[0]
        taken = ", ".join(cls.types(tree)[group].types({})) or "no settings"
        others = ", ".join(having)
        return f"{key} means nothing to the method {method}, whose {group} takes {taken}; it is a setting of {others}"

    @classmethod
    def of_method(cls, layer: Layer, method: str) -> Layer:
        """A layer without the sections that it has for another method than this one."""
        own = layer.tree.get("method", method)
        there, here = cls.types({"method": own}), cls.types({"method": method})
        return Layer(layer.source, {key: value for key, value in layer.tree.items() if there.get(key) == here.get(key)})
