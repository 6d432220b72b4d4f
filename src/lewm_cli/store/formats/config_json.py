"""Reads and writes a config.json, the tree of `_target_`s that describes a model on the Hub; imports none of them."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lewm_cli.config import NetworkConfig
from lewm_cli.errors import LewmError
from lewm_cli.file_kind import HEAD, look_at, mistaken
from lewm_cli.methods import DEFAULT
from lewm_cli.store.formats.classes import ALL, KINDS
from lewm_cli.store.formats.families import family_of, family_of_kind
from lewm_cli.store.formats.model_spec import ModelSpec
from lewm_cli.store.formats.refused import RefusalError, printable, printable_value
from lewm_cli.text_file import decode_text

LARGEST_FILE = 2**20
"""Bytes; the released ones take 1.2 KB."""


def read_config_json(path: Path) -> ModelSpec:
    """Read the model that a config.json describes; its own class says the family, whatever its parts are taken from."""
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise RefusalError(f"{path.name} is far too long for the configuration of a model")
    try:
        tree = json.loads(decode_text(content, path, "a JSON file"), object_pairs_hook=_unique)
        target = tree.get("_target_") if isinstance(tree, dict) else None
        written = family_of_kind(KINDS.get(str(target))).table.model_validate(tree)
    except ValidationError as error:
        raise RefusalError(_explain(path, error)) from error
    except (ValueError, RecursionError) as error:
        kind = look_at(content[:HEAD])
        raise RefusalError(f"{path.name} is no JSON: {mistaken(path, kind, 'the sizes of a model')}") from error
    spec = written.spec()
    if contradiction := written.contradiction():
        raise RefusalError(f"{path.name} contradicts itself: {contradiction}")
    return spec


def config_tree(config: NetworkConfig, block_dim: int, method: str = DEFAULT) -> dict[str, Any]:
    """The content of the config.json that describes a model; raises LewmError if stable_worldmodel has no such one."""
    if (family := family_of(config)) is None:
        raise LewmError(
            f"the network of {method} cannot be written as stable_worldmodel has it; --to object keeps that of lewm"
        )
    tree = family.tree(config, block_dim, method)
    return family.table.model_validate(tree).model_dump(by_alias=True, exclude_none=True)  # what is written can be read


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for key, times in Counter(key for key, _ in pairs).items():
        if times > 1:
            raise RefusalError(f"config.json gives {printable(key)} twice")
    return dict(pairs)


def _explain(path: Path, error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(printable(str(part)) for part in first["loc"]) or "it"
    if first["type"] == "extra_forbidden":
        return f"{path.name} has an unknown key, {key}"
    if first["type"] == "missing":
        lacking = [each for each in error.errors() if each["type"] == "missing"]
        values = ", ".join(".".join(printable(str(part)) for part in each["loc"]) for each in lacking)
        return f"{path.name} lacks {values}; add what is missing, or name another file: --config FILE"
    value = printable_value(first["input"])
    if key.endswith("_target_"):
        return f"{path.name}: {key} is {value}, which is no part of {ALL} that is known here; it was not imported"
    if first["type"] == "value_error":
        return f"{path.name}: {key}: {first['ctx']['error']}"
    problem = first["msg"][0].lower() + first["msg"][1:]
    return f"{path.name}: {key} is {value}: {problem}"
