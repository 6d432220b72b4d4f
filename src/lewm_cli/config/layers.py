"""Layers of settings, later ones win: preset, then file, then `--set` and the plain options."""

import tomllib
from copy import deepcopy
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Self

from lewm_cli.errors import LewmError, UsageError
from lewm_cli.suggestion import command
from lewm_cli.system_errors import explain
from lewm_cli.text_file import read_text


@dataclass(frozen=True)
class Layer:
    """Settings from one place: the place in words, for error messages, and nested tables as TOML gives them."""

    source: str
    tree: dict[str, Any]

    @classmethod
    def of(cls, source: str, key: str, value: Any) -> Self:
        """One setting, its key dotted like `optimizer.lr`."""
        return cls(source, reduce(lambda tree, part: {part: tree}, reversed(key.split(".")), value))


def merge_layers(layers: list[Layer]) -> Layer:
    """Lay later layers over earlier ones, table by table."""
    merged: dict[str, Any] = {}
    for layer in layers:
        _overlay(merged, layer.tree)
    return Layer(" + ".join(layer.source for layer in layers if layer.tree), merged)


def read_toml(path: Path) -> Layer:
    """Read a configuration file.

    Raises:
        LewmError: it does not exist, cannot be read, or is not TOML.
    """
    try:
        return Layer(f"the file {path}", tomllib.loads(read_text(path, "a TOML file")))
    except FileNotFoundError as error:
        raise LewmError(
            f"there is no configuration file {path}; `{command('presets', 'NAME')}` prints one to start from"
        ) from error
    except OSError as error:
        raise explain(error, path, "read") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise LewmError(f"{path} is not a TOML file: {error}") from error


def parse_setting(text: str) -> Layer:
    """Read one `--set a.b=value`; the value is TOML, and a bare word is taken as a string.

    Raises:
        UsageError: there is no `=`, or a key part is empty.
    """
    key, equals, value = text.partition("=")
    if not equals or not all(key.strip().split(".")):
        raise UsageError(f"--set {text!r} is not of the form section.key=value, for example optimizer.lr=1e-4")
    try:
        parsed = tomllib.loads(f"value = {value.strip()}")
    except tomllib.TOMLDecodeError:
        parsed = {"value": value.strip()}
    if len(parsed) != 1:
        raise UsageError(f"--set {text!r} sets more than one value; give --set once for each")
    return Layer.of(f"--set {text}", key.strip(), parsed["value"])


def _overlay(below: dict[str, Any], above: dict[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _overlay(below[key], value)
        else:
            below[key] = deepcopy(value)
