"""Reads a checkpoint of any generation: its state, its configuration and a word on the kind of file it was."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from lewm_cli.errors import LewmError, MissingError, UsageError
from lewm_cli.methods import DEFAULT, METHODS
from lewm_cli.store.formats.candidates import DEEPEST_NAME, Candidate, branches, find_candidates, named_leaves, words
from lewm_cli.store.formats.classes import TRAINED_BY
from lewm_cli.store.formats.config_json import read_config_json
from lewm_cli.store.formats.contents import Contents, PickledModule, entries, read_contents
from lewm_cli.store.formats.families import FAMILIES, family_of, family_of_kind, names_of
from lewm_cli.store.formats.family import Family
from lewm_cli.store.formats.lewm_family import LEWM
from lewm_cli.store.formats.model_spec import ModelSpec
from lewm_cli.store.formats.module_config import read_module_spec, walk
from lewm_cli.store.formats.refused import ChoiceError, DamagedError, PolicyError, RefusalError, printable
from lewm_cli.store.formats.standins import StoredTensor
from lewm_cli.store.formats.state import Fit, NamedTensors, TensorEntry, fit, read_state, under_our_names
from lewm_cli.system_errors import explain

POLICY_PARTS = ("action_predictor", "value_predictor", "critic_predictor")
"""Modules of stable_worldmodel's goal-conditioned policies."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights from another tool or of ours, exactly the tensors of a model.

    Args:
        state: by our names, float32 (the counters of BatchNorm int64), on the CPU.
        spec: of the model; its method is that of the class in a configuration or pickle, if there is one.
        source: what was read, in words: "object checkpoint (jepa.JEPA, transformers 4 names)".
    """

    state: dict[str, Tensor]
    spec: ModelSpec
    source: str


@dataclass(frozen=True)
class _Asked:
    """A file, and what is said about it: see `read_checkpoint`."""

    path: Path
    config: Path | ModelSpec | None
    copy: str | None = None


def read_checkpoint(path: Path, config: Path | ModelSpec | None = None, copy: str | None = None) -> Checkpoint:
    """Read a checkpoint without running anything in it.

    Args:
        path: tensors in a file of torch.save or safetensors, whatever stands around them, an object checkpoint, or the
            index of shards; told by content.
        config: its config.json, or the model that it must be; the config.json beside it if not given, and without
            either only the released architecture is recognized. Object checkpoints carry theirs.
        copy: which one, if it holds several that differ, as weights and their moving average.

    Raises:
        MissingError: there is no such file.
        LewmError: in one sentence, why it is not read; caused by a `ChoiceError` if it holds several.
    """
    if not path.is_file():
        raise MissingError(f"there is no file {path}")
    with _explained(path):
        contents = read_contents(path)
        read = _from_module if contents.modules else _from_tensors
        return read(contents, _Asked(path, config, copy))


def read_trusted(path: Path, config: Path | None = None, copy: str | None = None) -> Checkpoint:
    """Read tensors or a pickled module by running what it says, for those who trust whoever made it.

    Its classes must be importable here; a module of another than the released architecture needs its config.json.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=False)
        tensors = named_leaves(content, Tensor)
        modules = named_leaves(content, nn.Module)
        for place, module in modules.items():
            tensors |= {f"{place}.{name}" if place else name: tensor for name, tensor in module.state_dict().items()}
    except Exception as error:  # whatever a stranger's code raises
        raise LewmError(f"{path}: its code failed with {type(error).__name__}: {error}".splitlines()[0]) from error
    if not tensors:
        raise LewmError(f"{path}: it holds neither a module nor a state dict")
    found = {
        name: TensorEntry(tuple(tensor.shape), tensor.dtype, tensor.detach().clone) for name, tensor in tensors.items()
    }
    said = {TRAINED_BY.get(f"{type(module).__module__}.{type(module).__qualname__}") for module in modules.values()}
    method = said.pop() if len(said) == 1 else None
    contents = Contents("trusted pickle", found, sum(tensor.nbytes for tensor in tensors.values()), method=method)
    with _explained(path):
        return _from_tensors(contents, _Asked(path, config, copy))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (RefusalError, UsageError) as error:  # the second from sizes that contradict each other
        raise LewmError(f"{path}: {error}") from error
    except OSError as error:  # also of the configuration
        raise explain(error, error.filename or path, "read") from error


def _from_module(contents: Contents, asked: _Asked) -> Checkpoint:
    if isinstance(asked.config, Path):
        raise RefusalError("an object checkpoint carries its sizes, and no others are taken; leave out --config")
    place = _chosen(list(contents.modules), asked.copy)
    pickled = contents.modules[place]
    spec, named, kind = _ours(pickled) if pickled.ours else _theirs(pickled)
    if isinstance(asked.config, ModelSpec) and asked.config != spec:
        same = asked.config == replace(spec, method=asked.config.method)
        raise RefusalError(f"it holds a model of {'another method' if same else 'other sizes'}")
    others = [name for name in (*contents.modules, *contents.tensors) if name != place]
    candidate = Candidate(place, {}, (), branches(others, place))
    return _checkpoint(_Fitted(candidate, named, spec, fit(named, spec.blank)), "object checkpoint", [kind], contents)


def _theirs(pickled: PickledModule) -> tuple[ModelSpec, NamedTensors, str]:
    modules, tensors = walk(pickled.content)
    family = family_of_kind(pickled.content.kind)
    named = under_our_names(entries(pickled.file, tensors), family.names)
    spec = read_module_spec(modules, named, family)
    return spec, named, f"{pickled.content.name}, transformers {named.generation} names"


def _ours(pickled: PickledModule) -> tuple[ModelSpec, NamedTensors, str]:
    arguments = pickled.content.arguments
    older = len(arguments) == 3  # from before methods had names
    match (*arguments, DEFAULT) if older else arguments:
        case (str(written), int(block_dim), dict(state), str(method)) if method in METHODS and block_dim is not True:
            try:
                sizes = METHODS[method].Sizes.model_validate_json(written)
            except ValidationError as error:
                raise DamagedError("the configuration in it is not one of this version of lewm") from error
            tensors = entries(pickled.file, named_leaves(state, StoredTensor))
            return ModelSpec(sizes, block_dim, method), under_our_names(tensors, names_of(sizes)), "lewm"
    raise DamagedError("its model is of no method that this version of lewm knows, or incomplete")


@dataclass(frozen=True)
class _Fitted:
    """Tensors that may be a model's, beside the model that they would be."""

    candidate: Candidate
    named: NamedTensors
    spec: ModelSpec
    fit: Fit

    @classmethod
    def of(cls, candidate: Candidate, family: Family, spec: ModelSpec | None) -> "_Fitted":
        """Compare a candidate with a model; if none is given, with what its shapes say."""
        named = under_our_names(candidate.entries, family.names)
        try:
            spec = spec or family.from_shapes(named)
            return cls(candidate, named, spec, fit(named, spec.blank))
        except (RefusalError, UsageError) as error:  # the second from sizes that cannot be
            return cls(candidate, named, family.released, Fit(0, str(error)))

    def digest(self) -> bytes:
        """Returns the same for copies of one model, and for nothing else."""
        digest = hashlib.sha256()
        for key, entry in sorted(self.named.entries.items()):
            digest.update(f"{key} {entry.dtype} ".encode())
            digest.update(entry.read().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.digest()


def _from_tensors(contents: Contents, asked: _Asked) -> Checkpoint:
    spec, known_by = _spec(asked)
    family = (family_of(spec.sizes) or LEWM) if spec else _told_family(contents)
    candidates = find_candidates(contents.tensors, _names(family, spec))
    fitted = [_Fitted.of(candidate, family, spec) for candidate in candidates]
    whole = {one.candidate.place: one for one in fitted if one.fit.problems is None}
    if not whole:
        best = max(fitted, key=lambda one: one.fit.tensors)
        where = f"under {printable(best.candidate.place)}, " if best.candidate.place else ""
        raise RefusalError(f"{where}{best.fit.problems}{'' if spec else family.unknown}")
    for one in whole.values():
        contents.check_bytes(one.named.everything)
    differ: dict[bytes, str] = {}  # copies of one model are one choice
    for place, one in whole.items():
        differ.setdefault(one.digest() if len(whole) > 1 else b"", place)
    chosen = whole[_chosen([*differ.values()], asked.copy)]
    said = [f"transformers {chosen.named.generation} names", known_by or family.guess]
    return _checkpoint(chosen, contents.kind, said, contents)


def _spec(asked: _Asked) -> tuple[ModelSpec | None, str | None]:
    """The model that the tensors must be, and where its sizes are from; None without any."""
    config, beside = asked.config, asked.path.with_name("config.json")
    if config is None and not beside.is_file():
        return None, None
    if isinstance(config, ModelSpec):
        return config, "sizes as given"
    file = config or beside
    return read_config_json(file), file.name


def _told_family(contents: Contents) -> Family:
    """The family that the names of tensors tell."""
    parts = {part for name in contents.tensors for part in name.split(".")[:DEEPEST_NAME]}
    family = next((family for family in FAMILIES if family.module in parts), FAMILIES[0])
    policy = next((part for part in POLICY_PARTS if part in parts), None)
    if policy and LEWM.module not in parts:
        raise PolicyError(f"has {policy}")
    return family


def _names(family: Family, spec: ModelSpec | None) -> set[str]:
    """The names that tensors of a model may have elsewhere; of the released one, if it is not known."""
    ours = (spec or family.released).blank.state_dict()
    return {family.names.theirs_of(key, version) for key in ours for version in family.names.generations}


def _chosen(places: Sequence[str], copy: str | None) -> str:
    """The place that was chosen, or the only one; raises ChoiceError if there are several."""
    if copy is None and len(places) == 1:
        return places[0]
    known = words(places)
    if copy is None:
        raise ChoiceError(tuple(known))
    if copy not in known:
        raise RefusalError(f"it holds no {printable(copy)}; there is {', '.join(known)}")
    return known[copy]


def _checkpoint(one: _Fitted, kind: str, said: list[str], contents: Contents) -> Checkpoint:
    contents.check_bytes(one.named.everything)
    state = read_state(one.named, one.spec.blank)
    if family := family_of(one.spec.sizes):
        family.check(one.named, one.spec.sizes)
    if any(entry.dtype is torch.float64 for entry in one.named.entries.values()):
        said = [*said, "float64 rounded to float32"]
    source = f"{kind} ({'; '.join([', '.join(said), *one.candidate.remarks])})"
    return Checkpoint(state, replace(one.spec, method=one.spec.method or contents.method), source)
