"""What travels with the weights, in the header of `<run>.safetensors`."""

from typing import Literal

from pydantic import Field, PositiveInt

from lewm_cli.config.inputs import Inputs
from lewm_cli.config.model import ModelConfig
from lewm_cli.config.section import Section
from lewm_cli.config.train import TrainConfig


class DatasetIdentity(Section):
    """Which recording it was, independent of where it lies."""

    name: str
    episodes: PositiveInt
    rows: PositiveInt
    fingerprint: str = Field(description="sha256 over episode lengths, offsets, all actions and a sample of frames")


class Provenance(Section):
    """How the weights came to be."""

    dataset: DatasetIdentity
    held_out: tuple[int, ...] = Field(description="numbers of the episodes held out; empty for the clip split")
    trained_on: tuple[str, ...] = Field(
        description="digests of all episodes ever trained on, those of the run it was initialized from included"
    )
    train: TrainConfig
    step: int = Field(ge=0, description="optimizer steps taken")
    init_from: str | None = None
    device: str
    versions: dict[str, str]
    command: str
    finished: str = Field(description="UTC time of the last step, ISO 8601")


class RunCard(Section):
    """The header of a run: enough to rebuild the model, to feed it rightly and to say where it came from."""

    format: Literal[1] = 1
    model: ModelConfig
    inputs: Inputs
    provenance: Provenance
