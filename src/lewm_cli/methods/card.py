"""The metadata of a run, in the header of `<run>.safetensors`."""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from lewm_cli.config import DatasetIdentity, EvalProtocol, Inputs, Section
from lewm_cli.methods.table import DEFAULT, METHODS
from lewm_cli.methods.train_config import MethodName, Sizes, TrainConfig
from lewm_cli.statistics import Rate

if TYPE_CHECKING:
    from lewm_cli.model import Network


class Validated(Section):
    """Success on validation pairs, by which the best of the evaluated states is chosen; of equal ones the latest.

    They are from episodes that were not trained on, but what is chosen by them is no longer independent of them.
    """

    protocol: EvalProtocol
    pairs: tuple[tuple[int, int, int], ...] = Field(
        repr=False, description="episode, row of the start, row of the goal"
    )
    success: Rate
    random: Rate = Field(description="of random actions on the same pairs")


class Provenance(Section):
    """The origin of weights that were trained here."""

    dataset: DatasetIdentity
    held_out: tuple[int, ...] = Field(description="numbers of the episodes held out; empty for the clip split")
    trained_on: tuple[str, ...] = Field(
        repr=False,
        description="digests of all episodes ever trained on, those of the run it was initialized from, and of its "
        "frozen encoder, included",
    )
    train: TrainConfig
    step: int = Field(ge=0, description="optimizer steps taken")
    init_from: str | None = None
    device: str
    versions: dict[str, str] = Field(repr=False)
    command: str
    finished: str = Field(description="UTC time of the last step, ISO 8601")
    phase: str = Field("", description="of the training at the last step; empty where there is one only")
    chosen_by: Validated | None = Field(None, description="of a state that is kept because none before did better")


class RunCard(Section):
    """The header of a run: enough to rebuild the model, to feed it rightly and to say where it came from.

    What another tool trained has no provenance; its normalization was computed from a recording afterwards.
    """

    format: Literal[1] = 1
    method: MethodName = DEFAULT
    model: Sizes
    inputs: Inputs
    provenance: Provenance | None = None
    statistics_from: DatasetIdentity | None = Field(None, description="of a run that was trained elsewhere")

    @model_validator(mode="after")
    def _origin_known(self) -> Self:
        if (self.provenance is None) == (self.statistics_from is None):
            raise ValueError("a run was trained here or elsewhere: give provenance or statistics_from")
        return self

    def new_model(self) -> "Network":
        """A model of these sizes with random weights."""
        return METHODS[self.method].network(self.model, self.inputs.block_dim)

    @property
    def dataset(self) -> DatasetIdentity:
        """The recording it was trained on, or, if that is not known, the one its normalization was computed from."""
        known = self.provenance.dataset if self.provenance else self.statistics_from
        assert known is not None
        return known

    @property
    def trained_on(self) -> frozenset[str]:
        """Digests of the episodes that it is known to have been trained on."""
        return frozenset(self.provenance.trained_on if self.provenance else ())

    @property
    def unusable(self) -> str | None:
        """A clause that says why these weights cannot do yet what they are for; None where they can."""
        if self.provenance is None:
            return None
        now = self.provenance.phase
        after = {phase.name: phase.usable for phase in self.provenance.train.objective.phases}
        if after.get(now, True):
            return None
        return f"its {list(after)[-1]} is not trained yet: step {self.provenance.step:,} is of the {now} phase"

    @property
    def threads(self) -> int | None:
        """CPU threads of its training, where they were chosen."""
        return self.provenance.train.threads if self.provenance else None
