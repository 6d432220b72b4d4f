"""Finds every copy of a model among the tensors of a file, whatever dictionaries and wrappers stand around it.

Dictionaries and dotted names are one: `{"model": {"encoder.a": t}}` holds `model.encoder.a`, as a flat one could.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import TypeAlias, TypeVar

from lewm_cli.store.formats.refused import DamagedError, printable
from lewm_cli.store.formats.state import TensorEntry

Leaf = TypeVar("Leaf")
Path: TypeAlias = tuple[str, ...]

DEEPEST = 16
LONGEST_NAME = 1024
DEEPEST_NAME = 32
MOST_LEAVES = 20_000
MOST_PLACES = 100
MOST_VALUES = 500_000
"""Values of any kind that are looked at: a few that hold each other can be made to look like endlessly many."""

NAMED = 3
"""Names of what was left out that are said before the rest is only counted."""


@dataclass(frozen=True)
class Candidate:
    """Tensors of a file that may be those of a model.

    Args:
        place: the names around them: "state_dict.model._orig_mod"; "" if there are none.
        entries: by the names that are left, without those of wrappers.
        wrappers: of modules inside: "encoder._orig_mod".
        left_out: what else holds tensors, by the first name that is not on the way to `place`.
    """

    place: str
    entries: dict[str, TensorEntry]
    wrappers: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def remarks(self) -> list[str]:
        """Says what was taken off and left out."""
        taken = [printable(name) for name in (self.place, *self.wrappers) if name]
        said = [f"taken out of {_some(taken)}"] if taken else []
        return said + ([f"left out: {_some([*map(printable, self.left_out)])}"] if self.left_out else [])


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def named_leaves(content: object, kind: type[Leaf]) -> dict[str, Leaf]:
    """The objects of a kind inside nested dictionaries and lists, by dotted name."""
    found: dict[str, Leaf] = {}
    for name, leaf in _leaves(content, kind, "", 0, iter(range(MOST_VALUES))):
        if name in found or len(found) == MOST_LEAVES:
            raise DamagedError(f"it holds more than a checkpoint does, or {printable(name)} twice")
        found[name] = leaf
    return found


def _leaves(value: object, kind: type[Leaf], name: str, depth: int, left: Iterator[int]) -> Iterator[tuple[str, Leaf]]:
    if isinstance(value, kind):
        yield name, value
    elif isinstance(value, dict | list | tuple) and depth < DEEPEST:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if next(left, None) is None:
                raise DamagedError("it holds more values than any checkpoint")
            if isinstance(inner, dict | list | tuple | kind) and len(f"{name}.{key}") <= LONGEST_NAME:
                yield from _leaves(inner, kind, f"{name}.{key}" if depth else str(key), depth + 1, left)


def find_candidates(tensors: Mapping[str, TensorEntry], known: Collection[str]) -> list[Candidate]:
    """Every place in a file that holds tensors of a model; all that there is if no place does.

    Args:
        known: names of the model's tensors, of any generation. Their first parts (`encoder`, `predictor`, ...) tell a
            place, and whatever lies under those parts belongs to the candidate, which is refused if that is too much.
    """
    known, parts = frozenset(known), {name.partition(".")[0] for name in known}
    modules = frozenset(name[: dot.start()] for name in known for dot in re.finditer(r"\.", name))
    places: dict[Path, dict[str, Path]] = {}
    for name in tensors:
        path = tuple(name.split("."))
        for at in range(len(path) if len(path) <= DEEPEST_NAME else 0):
            # A part may be a tensor, not a module: the logarithms of a policy's standard deviations.
            if path[at] in (parts if at < len(path) - 1 else known):
                places.setdefault(path[:at], {})[name] = path[at:]
        if len(places) > MOST_PLACES:
            raise DamagedError("its tensors lie in more places than those of any checkpoint")
    found = []
    for place, names in places.items():
        inside = {path: tensors[name] for name, path in names.items()}
        if parts <= {head for head, *_ in inside} and len(inside) <= 2 * len(known):
            below = _below(inside, "", known, modules)
        else:  # no copy of the model, and good for a message at most
            below = _Below({".".join(path): entry for path, entry in inside.items()}, 0)
        left_out = branches([name for name in tensors if name not in names], ".".join(place))
        found.append(Candidate(".".join(place), below.entries, below.wrappers, left_out))
    return found or [Candidate("", dict(tensors), (), ())]


def branches(names: Collection[str], place: str) -> tuple[str, ...]:
    """The first part of each name that is not on the way to a place, once."""
    on_the_way, found = place.split("."), dict[str, None]()
    for name in names:
        path = name.split(".")
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(path, on_the_way, strict=False)))
        found[path[min(common, len(path) - 1)]] = None
    return tuple(found)


@dataclass(frozen=True)
class _Below:
    """The tensors below a module by full names, how many of them are a model's, and wrappers that were taken out."""

    entries: dict[str, TensorEntry]
    fitting: int
    wrappers: tuple[str, ...] = ()


def _below(inside: Mapping[Path, TensorEntry], module: str, known: Collection[str], modules: Collection[str]) -> _Below:
    """Name the tensors below a module of the model.

    A wrapper is the only thing in a module and holds all that the model has there, so that its name can go.
    """
    heads: dict[str, dict[Path, TensorEntry]] = {}
    for (head, *rest), entry in inside.items():
        heads.setdefault(head, {})[tuple(rest)] = entry
    entries: dict[str, TensorEntry] = {}
    fitting, wrappers = 0, tuple[str, ...]()
    for head, branch in heads.items():
        name = f"{module}.{head}" if module else head
        if name in modules and () not in branch:
            below = _below(branch, name, known, modules)
        else:
            named = {".".join((name, *rest)): entry for rest, entry in branch.items()}
            below = _Below(named, len(named.keys() & known))
        entries |= below.entries
        fitting += below.fitting
        wrappers += below.wrappers
    if module and len(heads) == 1 and () not in branch:
        without = _below(branch, module, known, modules)
        if without.fitting > fitting:
            return _Below(without.entries, without.fitting, (name, *without.wrappers))
    return _Below(entries, fitting, wrappers)


def words(places: Collection[str]) -> dict[str, str]:
    """Words by which one of several places can be chosen: a name around it that the others lack."""
    chosen: dict[str, str] = {}
    for number, place in enumerate(places, start=1):
        others = {part for other in places if other != place for part in other.split(".")}
        own = [part for part in place.split(".") if part and part not in others] or [place or "main"]
        fitting = re.fullmatch(r"[^\W\d][\w.-]{0,60}", own[0]) and own[0] not in chosen
        chosen[own[0] if fitting else f"copy-{number}"] = place
    return chosen
