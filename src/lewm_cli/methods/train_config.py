"""The configuration of a training run; two of its sections are the method's own."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, SerializeAsAny, ValidationInfo

from lewm_cli.config import DataConfig, MonitorConfig, NetworkConfig, OptimizerConfig, ScheduleConfig, Section
from lewm_cli.methods.objective import Objective
from lewm_cli.methods.table import DEFAULT, METHODS, check_method


def _section_of_the_method(which: Literal["model", "objective"]) -> BeforeValidator:
    def build(tree: Any, info: ValidationInfo) -> Any:
        method = METHODS[info.data.get("method", DEFAULT)]
        section = method if which == "objective" else method.Sizes
        return section.model_validate(tree if "method" in info.data else {})  # an unknown method is the error then

    return BeforeValidator(build)


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

    @classmethod
    def types(cls, tree: Mapping[str, Any]) -> dict[str, Any]:
        """The types of all fields; those of `model` and `objective` depend on the method."""
        method = METHODS.get(str(tree.get("method")), METHODS[DEFAULT])
        return super().types(tree) | {"model": method.Sizes, "objective": method}
