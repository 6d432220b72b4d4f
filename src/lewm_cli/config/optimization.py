"""Settings of a training loop, whatever the method. The defaults are those of the released LeWorldModels."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from lewm_cli.config.section import Section

Duration = Annotated[str, Field(pattern=r"^[1-9][0-9]* (epochs?|steps?)$")]
"""A length of training: "10 epochs" or "1500 steps"."""


class DataConfig(Section):
    """The clips that are cut from a recording, and how they are served."""

    frameskip: PositiveInt = Field(5, description="environment steps per model step (action block)")
    split: Literal["episode", "clip"] = Field(
        "episode", description="hold out whole episodes, or random clips (neighbors leak; for comparison only)"
    )
    validation: float = Field(0.1, gt=0, lt=1, description="share held out")
    packed: bool = Field(
        False, description="decode all frames once, at the model's image size, into a memory-mapped cache"
    )
    workers: NonNegativeInt = Field(
        4, description="processes that prepare batches, at most one per core; 0 prepares them in place"
    )


class OptimizerConfig(Section):
    """AdamW."""

    lr: PositiveFloat = Field(5e-5, description="peak learning rate")
    weight_decay: NonNegativeFloat = 1e-3
    clip: PositiveFloat = Field(1.0, description="gradient norm")
    batch_size: int = Field(128, ge=2, description="clips per step")
    precision: Literal["float32", "bf16"] = Field(
        "bf16", description="of the network on CUDA; regularizers are always float32, and so is everything on a CPU"
    )


class ScheduleConfig(Section):
    """Linear warm-up, then cosine to 0, stepped per optimizer step.

    Where training stops and where the cosine ends are two settings: the released models stop at a tenth of it.
    """

    stop: Duration = Field("10 epochs", description="where training stops, in epochs or steps")
    decay: Duration | None = Field(None, description="where the cosine reaches 0; the stop if not given")
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
