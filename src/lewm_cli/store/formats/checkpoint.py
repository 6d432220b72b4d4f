"""Reads a checkpoint of any generation: its state, its configuration and a word on the kind of file it was."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from lewm_cli.config import ModelConfig
from lewm_cli.errors import LewmError, MissingError, UsageError
from lewm_cli.methods import DEFAULT, METHODS
from lewm_cli.store.formats.candidates import Candidate, branches, find_candidates, named_leaves, words
from lewm_cli.store.formats.classes import TRAINED_BY
from lewm_cli.store.formats.config_json import read_config_json
from lewm_cli.store.formats.contents import Contents, PickledModule, entries, read_contents
from lewm_cli.store.formats.model_spec import ModelSpec
from lewm_cli.store.formats.module_config import read_module_spec, walk
from lewm_cli.store.formats.refused import ChoiceError, DamagedError, RefusalError, printable
from lewm_cli.store.formats.standins import StoredTensor
from lewm_cli.store.formats.state import Fit, NamedTensors, TensorEntry, fit, read_state, under_our_names
from lewm_cli.store.keys import released_key
from lewm_cli.system_errors import explain

UNKNOWN_SIZES = (
    ", so it is not the released architecture, and for another one encoder heads, predictor heads, head width and "
    "dropout cannot be read from shapes; put its config.json beside the weights, or name it: --config FILE"
)


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
    named = under_our_names(entries(pickled.file, tensors))
    return read_module_spec(modules, named), named, f"{pickled.content.name}, transformers {named.generation} names"


def _ours(pickled: PickledModule) -> tuple[ModelSpec, NamedTensors, str]:
    arguments = pickled.content.arguments
    older = len(arguments) == 3  # from before methods had names
    match (*arguments, DEFAULT) if older else arguments:
        case (str(written), int(block_dim), dict(state), str(method)) if method in METHODS and block_dim is not True:
            try:
                sizes = METHODS[method].Sizes.model_validate_json(written)
            except ValidationError as error:
                raise DamagedError("the configuration in it is not one of this version of lewm") from error
            named = under_our_names(entries(pickled.file, named_leaves(state, StoredTensor)))
            return ModelSpec(sizes, block_dim, method), named, "lewm"
    raise DamagedError("its model is of no method that this version of lewm knows, or incomplete")


@dataclass(frozen=True)
class _Fitted:
    """Tensors that may be a model's, beside the model that they would be."""

    candidate: Candidate
    named: NamedTensors
    spec: ModelSpec
    fit: Fit

    @classmethod
    def of(cls, candidate: Candidate, spec: ModelSpec | None) -> "_Fitted":
        """Compare a candidate with a model; with the released architecture if none is given."""
        named = under_our_names(candidate.entries)
        spec = spec or _released_spec(named)
        return cls(candidate, named, spec, fit(named, spec.blank))

    def digest(self) -> bytes:
        """Returns the same for copies of one model, and for nothing else."""
        digest = hashlib.sha256()
        for key, entry in sorted(self.named.entries.items()):
            digest.update(f"{key} {entry.dtype} ".encode())
            digest.update(entry.read().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.digest()


def _from_tensors(contents: Contents, asked: _Asked) -> Checkpoint:
    spec, known_by = _spec(asked)
    names = (spec or ModelSpec(ModelConfig(), 1)).blank.state_dict()
    candidates = find_candidates(contents.tensors, {*names, *map(released_key, names)})
    fitted = [_Fitted.of(candidate, spec) for candidate in candidates]
    whole = {one.candidate.place: one for one in fitted if one.fit.problems is None}
    if not whole:
        best = max(fitted, key=lambda one: one.fit.tensors)
        where = f"under {printable(best.candidate.place)}, " if best.candidate.place else ""
        raise RefusalError(f"{where}{best.fit.problems}{'' if spec else UNKNOWN_SIZES}")
    for one in whole.values():
        contents.check_bytes(one.named.entries.values())
    differ: dict[bytes, str] = {}  # copies of one model are one choice
    for place, one in whole.items():
        differ.setdefault(one.digest() if len(whole) > 1 else b"", place)
    chosen = whole[_chosen([*differ.values()], asked.copy)]
    said = [f"transformers {chosen.named.generation} names", known_by]
    return _checkpoint(chosen, contents.kind, said, contents)


def _spec(asked: _Asked) -> tuple[ModelSpec | None, str]:
    """The model that the tensors must be, and where its sizes are from; None without any."""
    config, beside = asked.config, asked.path.with_name("config.json")
    if config is None and not beside.is_file():
        return None, "released architecture"
    if isinstance(config, ModelSpec):
        return config, "sizes as given"
    file = config or beside
    return read_config_json(file), file.name


def _released_spec(named: NamedTensors) -> ModelSpec:
    """The released architecture, with the width of an action block that these tensors have."""
    actions = named.entries.get("action_encoder.patch_embed.weight")
    return ModelSpec(ModelConfig(), actions.shape[1] if actions is not None and len(actions.shape) == 3 else 1)


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
    contents.check_bytes(one.named.entries.values())
    state = read_state(one.named, one.spec.blank)
    if any(entry.dtype is torch.float64 for entry in one.named.entries.values()):
        said = [*said, "float64 rounded to float32"]
    source = f"{kind} ({'; '.join([', '.join(said), *one.candidate.remarks])})"
    return Checkpoint(state, replace(one.spec, method=one.spec.method or contents.method), source)
