"""The configuration of a training run; two of its sections are the method's own."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, SerializeAsAny, ValidationInfo

from lewm_cli.config import DataConfig, MonitorConfig, NetworkConfig, OptimizerConfig, ScheduleConfig, Section
from lewm_cli.methods.table import DEFAULT, METHODS, check_method


def _section_of_the_method(which: Literal["Sizes", "Objective"]) -> BeforeValidator:
    def build(tree: Any, info: ValidationInfo) -> Any:
        name = info.data.get("method")  # missing if it is unknown, which is then the error
        return getattr(METHODS[name], which).model_validate(tree) if name else tree

    return BeforeValidator(build)


MethodName = Annotated[str, BeforeValidator(check_method)]
Sizes = Annotated[SerializeAsAny[NetworkConfig], _section_of_the_method("Sizes")]
"""The section `model`, after a field `method`."""

Objective = Annotated[SerializeAsAny[Section], _section_of_the_method("Objective")]


class TrainConfig(Section):
    """Everything that decides what a training run computes, except the data itself."""

    method: MethodName = DEFAULT
    seed: int = Field(3072, ge=0, lt=2**63)
    threads: PositiveInt | None = Field(None, description="CPU threads; as many as torch takes if not given")
    model: Sizes = Field({}, validate_default=True)
    data: DataConfig = DataConfig()
    objective: Objective = Field({}, validate_default=True)
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    monitor: MonitorConfig = MonitorConfig()

    @classmethod
    def types(cls, tree: Mapping[str, Any]) -> dict[str, Any]:
        """The types of all fields; those of `model` and `objective` depend on the method."""
        method = METHODS.get(str(tree.get("method")), METHODS[DEFAULT])
        return super().types(tree) | {"model": method.Sizes, "objective": method.Objective}
