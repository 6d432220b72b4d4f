"""Reads tensors and sizes of a captured module: sizes from shapes, the rest from attributes, all checked."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from lewm_cli.store.formats.classes import ALL
from lewm_cli.store.formats.family import Family
from lewm_cli.store.formats.model_spec import ModelSpec
from lewm_cli.store.formats.refused import DamagedError, RefusalError, printable, printable_value
from lewm_cli.store.formats.standins import WRAPPER, CapturedObject, StoredTensor, Value
from lewm_cli.store.formats.state import NamedTensors

DEEPEST = 16
MOST_MODULES = 2000
MOST_IN_ONE = 500
"""Parameters, buffers or children. A module may occur in itself or many times over in a hostile file."""

_SETTINGS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.LayerNorm: ("eps", "elementwise_affine", "normalized_shape"),
    nn.BatchNorm1d: ("eps", "momentum", "affine", "track_running_stats", "num_features"),
    nn.Conv1d: ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"),
    nn.Conv2d: ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"),
    nn.GELU: ("approximate",),
    nn.Dropout: ("p",),
    nn.SiLU: (),
    nn.Linear: (),
    nn.Identity: (),
}
"""Layers, and the settings that do not show in the shapes of their tensors."""


def walk(root: CapturedObject) -> tuple[dict[str, CapturedObject], dict[str, StoredTensor]]:
    """Modules and tensors (parameters and persistent buffers) below a captured module, by dotted name."""
    modules: dict[str, CapturedObject] = {}
    tensors: dict[str, StoredTensor] = {}
    for name, module in _descend(root, "", 0):
        modules[name] = module
        if len(modules) > MOST_MODULES:
            raise DamagedError(f"it holds more modules than any {ALL}")
        for table in ("_parameters", "_buffers"):
            for key, value in _table(module, table).items():
                if isinstance(value, StoredTensor):
                    tensors[f"{name}.{key}".lstrip(".")] = value
                elif value is not None:
                    raise DamagedError(f"{printable(f'{name}.{key}')} is no tensor")
    return modules, tensors


@dataclass(frozen=True)
class CapturedModel:
    """A captured module as a family reads its sizes: modules by the names that they have in it, tensors by ours."""

    modules: dict[str, CapturedObject]
    named: NamedTensors
    family: Family

    def length(self, key: str, dimension: int) -> int:
        """Length of a tensor along a dimension."""
        tensors = self.named.entries
        if key not in tensors or len(tensors[key].shape) <= dimension:
            raise RefusalError(f"the pickled module lacks {self.named.their_name(key)}, which {self.family.have}")
        return tensors[key].shape[dimension]

    def expect(self, parts: dict[str, str]) -> None:
        """Checks the kinds of modules, by name."""
        for name, kind in parts.items():
            if name not in self.modules or self.modules[name].kind != kind:
                raise RefusalError(f"the pickled module has no {kind} as {name}, which {self.family.have}")

    def same(self, kinds: tuple[str, ...], attribute: str, below: str = "", *, whole: bool = True) -> Any:
        """The value that an attribute has in all modules of some kinds (where they have it)."""
        values = {
            _number(module.state[attribute], f"{name}.{attribute}", whole=whole)
            for name, module in self.modules.items()
            if module.kind in kinds and attribute in module.state and name.startswith(below)
        }
        if not values:
            raise RefusalError(f"the pickled module does not say its {attribute}")
        if len(values) > 1:
            raise RefusalError(f"{attribute} differs between layers of the pickled module")
        return values.pop()

    def number(self, module: CapturedObject, attribute: str) -> int:
        """An attribute of a module that is a positive whole number."""
        number: int = _number(module.state.get(attribute), attribute)
        return number

    def encoder_sizes(
        self, name: str, kind: str, mlp: str, always: dict[str, Any], attention: tuple[str, ...]
    ) -> dict[str, int]:
        """Sizes of an image encoder of transformers as its configuration has them, after checking that it is ours.

        Args:
            name: of the encoder.
            kind: of its configuration.
            mlp: the setting that says how wide it is inside.
            always: settings that our encoder cannot express otherwise.
            attention: kinds of modules that say how many heads they compute with.
        """
        encoder = self.modules.get(name)
        config = encoder.state.get("config") if encoder else None
        title = kind.removesuffix("Config")
        if not isinstance(config, CapturedObject) or config.kind != kind:
            raise RefusalError(f"the pickled module has no {title} of transformers as its {name}")
        for setting, value in always.items():
            if config.state.get(setting) != value:
                said = printable_value(config.state.get(setting))
                raise RefusalError(f"its {title} has {setting} {said}, and only {value} is supported")
        sizes = {}
        for setting in ("hidden_size", "num_hidden_layers", "num_attention_heads", mlp):
            sizes[setting] = _number(config.state.get(setting), f"{name}.config.{setting}")
        for setting in ("image_size", "patch_size"):
            size = config.state.get(setting)
            sides = size if isinstance(size, list | tuple) and len(size) == 2 else (size, size)
            height, sizes[setting] = (_number(side, f"{name}.config.{setting}") for side in sides)
            if height != sizes[setting]:
                said = f"{height} x {sizes[setting]}"
                raise RefusalError(f"the {setting} of its {title} is {said}, and only squares are supported")
        heads = self.same(attention, "num_attention_heads")
        if heads != sizes["num_attention_heads"]:
            raise RefusalError(f"its {title} computes with {heads} heads and says {sizes['num_attention_heads']}")
        return sizes


def read_module_spec(modules: dict[str, CapturedObject], named: NamedTensors, family: Family) -> ModelSpec:
    """The sizes of a captured model, and the method that its classes say."""
    model = CapturedModel(modules, named, family)
    spec = family.from_modules(model)
    _check_settings(model, spec)
    return spec


def _descend(module: Value, name: str, depth: int) -> Iterator[tuple[str, CapturedObject]]:
    if not isinstance(module, CapturedObject) or depth > DEEPEST:
        raise DamagedError(f"{printable(name)} is no module")
    if module.kind == WRAPPER:
        yield from _descend(_table(module, "_modules").get("backbone"), name, depth + 1)
        return
    yield name, module
    for key, child in _table(module, "_modules").items():
        if child is not None:
            yield from _descend(child, f"{name}.{key}".lstrip("."), depth + 1)


def _table(module: CapturedObject, name: str) -> dict[Any, Value]:
    table = module.state.get(name, {})
    if not isinstance(table, dict) or len(table) > MOST_IN_ONE:
        raise DamagedError(f"a module in it has {name} that no module has")
    return table


def _check_settings(model: CapturedModel, spec: ModelSpec) -> None:
    """Compare every layer with the one that our model has in its place: eps, activations, dropout, strides."""
    for name, layer in spec.blank.named_modules():
        if type(layer) not in _SETTINGS:
            continue
        theirs = model.modules.get(model.named.their_name(f"{name}.eps").removesuffix(".eps"))
        if theirs is None or theirs.kind != type(layer).__name__:
            raise RefusalError(
                f"the pickled module has {theirs.kind if theirs else 'nothing'} as {name}, "
                f"and {model.family.have} {type(layer).__name__}"
            )
        for setting in _SETTINGS[type(layer)]:
            ours, value = getattr(layer, setting), theirs.state.get(setting)
            if value != ours:
                raise RefusalError(f"its {name} has {setting} {printable_value(value)}, and only {ours} is supported")


def _number(value: Value, name: str, *, whole: bool = True) -> Any:
    if (type(value) is int and value > 0) or (not whole and type(value) in (int, float)):
        return value
    raise RefusalError(
        f"{printable(name)} of the pickled module is {printable_value(value)}, not a positive whole number"
    )
