"""Settings of a training loop, whatever the method. The defaults are those of the released LeWorldModels."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from lewm_cli.config.section import Section

Duration = Annotated[str, Field(pattern=r"^[1-9][0-9]* (epochs?|steps?)$")]
"""A length of training: "10 epochs" or "1500 steps"."""

Decay = Annotated[str, Field(pattern=r"^([1-9][0-9]* (epochs?|steps?)|never)$")]


def _number_of_clips(value: object) -> object:
    if value != "auto" and not (type(value) is int and value >= 2):
        raise ValueError(f"{value!r} is neither a number of clips from 2 on nor auto")
    return value


BatchSize = Annotated[int | Literal["auto"], BeforeValidator(_number_of_clips)]


class DataConfig(Section):
    """The clips that are cut from a recording, and how they are served."""

    frameskip: PositiveInt = Field(5, description="environment steps per model step (action block)")
    split: Literal["episode", "clip"] = Field(
        "episode", description="hold out whole episodes, or random clips (neighbors leak; for comparison only)"
    )
    validation: float = Field(0.1, gt=0, lt=1, description="share held out")
    in_memory: Literal["auto", True, False] = Field(
        "auto",
        description="read all frames once, at the model's image size, and keep them in memory; "
        "auto: if they take at most half of what is free",
    )
    workers: NonNegativeInt = Field(
        4, description="threads or processes that prepare batches, at most one per core; 0 prepares them in place"
    )

    @model_validator(mode="before")
    @classmethod
    def _without_former(cls, tree: Any) -> Any:
        """Leave out `packed`, which runs trained before have, and which changed no result."""
        return {key: value for key, value in tree.items() if key != "packed"} if isinstance(tree, dict) else tree


class OptimizerConfig(Section):
    """AdamW, and how its steps are computed."""

    lr: PositiveFloat = Field(5e-5, description="peak learning rate")
    weight_decay: NonNegativeFloat = 1e-3
    clip: NonNegativeFloat = Field(1.0, description="largest gradient norm; 0 clips nothing")
    batch_size: BatchSize = Field(128, description="clips per step; `auto`: the largest power of two that fits")
    accumulate: PositiveInt = Field(
        1,
        description="parts that a batch is taken in to save memory, their gradients added up; regularizers and "
        "BatchNorm see one part at a time",
    )
    checkpointing: bool = Field(
        False, description="compute the encoder's blocks twice instead of keeping what lies between, to save memory"
    )
    precision: Literal["float32", "bf16"] = Field(
        "bf16",
        description="of the network on a device that has it; regularizers are always float32, and so is all else",
    )
    compile: Literal["auto", True, False] = Field(
        "auto", description="compile encoder and predictor; `auto` does for long trainings on CUDA"
    )

    @property
    def clips(self) -> int:
        """The batch size, once it is settled."""
        assert self.batch_size != "auto"
        return self.batch_size

    @model_validator(mode="after")
    def _parts_of_the_same_size(self) -> Self:
        if self.batch_size != "auto" and (self.batch_size % self.accumulate or self.batch_size < 2 * self.accumulate):
            raise ValueError(
                f"a batch of {self.batch_size} clips cannot be taken in {self.accumulate} equal parts of two clips or "
                "more; choose a --batch-size that is a multiple of optimizer.accumulate"
            )
        return self


class ScheduleConfig(Section):
    """Linear warm-up, then cosine to 0 or a constant rate, stepped per optimizer step.

    Where training stops and where the cosine ends are two settings: the released models stop at a tenth of it.
    """

    stop: Duration = Field("10 epochs", description="where training stops, in epochs or steps")
    decay: Decay | None = Field(
        None, description="where the cosine reaches 0, or never: the rate stays; the stop if not given"
    )
    warmup: float = Field(0.01, ge=0, lt=1, description="share of the scheduled steps")


class MonitorConfig(Section):
    """The intervals at which held-out clips are measured and the state is saved."""

    every: PositiveInt = Field(1000, description="steps between two measurements and saves")
    clips: int = Field(512, ge=8, description="held-out clips per measurement")
    log_every: PositiveInt = Field(50, description="steps between two log lines")


class EvalConfig(Section):
    """Evaluations by planning in the simulator while a run is trained, on pairs from the episodes that it holds out."""

    every: PositiveInt | None = Field(
        None, description="steps between two evaluations, and one at the end; none if not given"
    )
    pairs: PositiveInt = Field(50, description="validation pairs of start and goal")
    candidates: int = Field(100, ge=2, description="action sequences that a plan tries per iteration")
    iterations: PositiveInt = Field(10, description="iterations of a plan")
