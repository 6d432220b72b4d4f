"""The interface of a network family: what files of other tools say of one kind of network."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PositiveInt, field_validator

from lewm_cli.config import BlocksConfig, NetworkConfig, Section
from lewm_cli.errors import LewmError
from lewm_cli.store.formats.classes import KINDS
from lewm_cli.store.formats.model_spec import ModelSpec
from lewm_cli.store.keys import Naming

if TYPE_CHECKING:
    from torch import Tensor

    from lewm_cli.store.formats.module_config import CapturedModel
    from lewm_cli.store.formats.state import NamedTensors

Integer = Annotated[PositiveInt, Field(strict=True)]
Rate = Annotated[float, Field(ge=0, lt=1)]


class ClassTable(Section):
    """A table of a config.json whose target is a class of one kind, under any of its names."""

    kind: ClassVar[str]

    target: str = Field(alias="_target_")

    @field_validator("target")
    @classmethod
    def _known(cls, target: str) -> str:
        if KINDS.get(target) != cls.kind:
            raise ValueError(f"no {cls.kind} that is known here")
        return target


class ModelTable(ClassTable):
    """The whole of a config.json."""

    @abstractmethod
    def spec(self) -> ModelSpec:
        """The model that it describes; LewmError if there can be none."""

    @abstractmethod
    def contradiction(self) -> str | None:
        """Names two values that must be equal and are not, in words."""


@dataclass(frozen=True)
class Family:
    """Networks of one kind: how to tell them, and how their sizes are read.

    Args:
        kind: of the class of a model, in `classes.KINDS`.
        have: for sentences, "LeWM and PLDM have".
        sizes: the type of our configuration.
        names: of its tensors.
        module: a part that no other family has.
        table: the config.json.
        tree: our configuration, the width of an action block and the method to the content of a config.json; LewmError
            if stable_worldmodel has no such network.
        from_modules: reads the sizes of a pickled model.
        from_shapes: guesses them from tensors alone; RefusalError if they cannot be those of one.
        guess: what that takes for granted, in words.
        unknown: what to do about tensors that do not fit it, for the end of a sentence.
        released: a model whose tensors have the names to look for.
        more: tensors that stable_worldmodel's network has beside ours, by its names.
        check: compares those of a file with what they have to be; RefusalError if they are something else.
    """

    kind: str
    have: str
    sizes: type[NetworkConfig]
    names: Naming
    module: str
    table: type[ModelTable]
    tree: Callable[[Any, int, str], dict[str, Any]]
    from_modules: "Callable[[CapturedModel], ModelSpec]"
    from_shapes: "Callable[[NamedTensors], ModelSpec]"
    guess: str
    unknown: str
    released: ModelSpec
    more: "Callable[[Any], dict[str, Tensor]]" = lambda _: {}
    check: "Callable[[NamedTensors, Any], None]" = lambda *_: None


def refuse_one_wide_head(blocks: BlocksConfig, width: int) -> None:
    """Raises LewmError if stable_worldmodel's attention, on tokens of this width, would lack what ours has."""
    if blocks.heads == 1 and blocks.head_dim == width:
        raise LewmError(
            f"stable_worldmodel leaves out the output projection of attention with one head as wide as its tokens "
            f"(predictor.heads 1, predictor.head_dim {width}), so it cannot hold these weights; "
            "--to object keeps the module of lewm"
        )
