"""Turns named tensors of a file into the state of our model: every name, shape and dtype fits, or it is refused."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lewm_cli.errors import LewmError
from lewm_cli.store.formats.refused import RefusalError, printable
from lewm_cli.store.keys import LEWM_NAMES, Naming

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
COUNTS = (torch.int64, torch.int32, torch.int16)


@dataclass(frozen=True)
class TensorEntry:
    """A tensor in a file that has not been read yet."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]


@dataclass(frozen=True)
class NamedTensors:
    """The tensors of a file by our names.

    Args:
        generation: the major version of transformers whose names the file uses.
        unused: what the file has beside them and a model of ours does without, by the names there.
    """

    entries: Mapping[str, TensorEntry]
    generation: int
    names: Naming = LEWM_NAMES
    unused: Mapping[str, TensorEntry] = field(default_factory=dict)

    @property
    def everything(self) -> list[TensorEntry]:
        """All of them."""
        return [*self.entries.values(), *self.unused.values()]

    def their_name(self, key: str) -> str:
        """Our name of a tensor as this file would call it."""
        return self.names.theirs_of(key, self.generation)


def under_our_names(entries: Mapping[str, TensorEntry], names: Naming) -> NamedTensors:
    """Rename the tensors of a state dict of either generation."""
    try:
        generation = names.version(entries)
    except LewmError as error:
        raise RefusalError(str(error)) from error
    unused = {key: entry for key, entry in entries.items() if re.fullmatch(names.unused, key)}
    ours = {names.ours_of(key): entry for key, entry in entries.items() if key not in unused}
    return NamedTensors(ours, generation, names, unused)


@dataclass(frozen=True)
class Fit:
    """The tensors of a file beside those of a model: how many fit by name and shape, and in words what does not."""

    tensors: int
    problems: str | None


def fit(named: NamedTensors, model: nn.Module) -> Fit:
    """Compare every tensor with the model's by name and shape; there is no other."""
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    missing = [key for key in expected if key not in named.entries]
    extra = [key for key in named.entries if key not in expected]
    reshaped = [key for key, shape in expected.items() if key not in missing and named.entries[key].shape != shape]
    problems = []
    for problem, keys in (("missing", missing), ("extra", extra), ("another shape", reshaped)):
        if keys:
            told = f"{problem}: {printable(named.their_name(keys[0]))}"
            if keys is reshaped:
                told += f" {list(named.entries[keys[0]].shape)} instead of {list(expected[keys[0]])}"
            problems.append(told + (f" and {len(keys) - 1} more" if len(keys) > 1 else ""))
    fitting = len(expected) - len(missing) - len(reshaped)
    return Fit(fitting, "; ".join([f"{fitting}/{len(expected)} tensors fit", *problems]) if problems else None)


def read_state(named: NamedTensors, model: nn.Module) -> dict[str, Tensor]:
    """Read the tensors of a model, which may be blank, one after the other: floats as float32, counters as int64.

    Raises:
        RefusalError: the tensors are not exactly the model's by name, shape and kind of number.
    """
    if problems := fit(named, model).problems:
        raise RefusalError(problems)
    for key, entry in named.entries.items():
        # How many batches BatchNorm has seen computes nothing, and is a float where all of a state dict was cast.
        if entry.dtype not in FLOATS and not (key.endswith("num_batches_tracked") and entry.dtype in COUNTS):
            found, *wanted = (str(kind).removeprefix("torch.") for kind in (entry.dtype, *FLOATS))
            raise RefusalError(f"{named.their_name(key)} is {found}, not {' or '.join(wanted)}")
    kinds = {key: torch.int64 if key.endswith("num_batches_tracked") else torch.float32 for key in named.entries}
    return {key: entry.read().to(kinds[key]) for key, entry in named.entries.items()}
