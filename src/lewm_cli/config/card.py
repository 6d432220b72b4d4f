"""What travels with the weights, in the header of `<run>.safetensors`."""

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

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
    """The header of a run: enough to rebuild the model, to feed it rightly and to say where it came from.

    What another tool trained has no provenance; its normalization was computed from a recording afterwards.
    """

    format: Literal[1] = 1
    model: ModelConfig
    inputs: Inputs
    provenance: Provenance | None = None
    statistics_from: DatasetIdentity | None = Field(None, description="of a run that was trained elsewhere")

    @model_validator(mode="after")
    def _origin_known(self) -> Self:
        if (self.provenance is None) == (self.statistics_from is None):
            raise ValueError("a run was trained here or elsewhere: give provenance or statistics_from")
        return self

    @property
    def dataset(self) -> DatasetIdentity:
        """What it was trained on, or, if that is not known, what its normalization was computed from."""
        known = self.provenance.dataset if self.provenance else self.statistics_from
        assert known is not None
        return known

    @property
    def trained_on(self) -> frozenset[str]:
        """Digests of the episodes that it is known to have been trained on."""
        return frozenset(self.provenance.trained_on if self.provenance else ())

    @property
    def threads(self) -> int | None:
        """CPU threads of its training, where they were chosen."""
        return self.provenance.train.threads if self.provenance else None
