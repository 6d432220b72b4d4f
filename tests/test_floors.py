"""Imports between the rooms of the package only go down."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lewm_cli

PACKAGE = Path(lewm_cli.__file__).parent

GROUND = "the ground floor"
FLOORS = (
    {GROUND},
    {"tasks", "config"},
    {"statistics"},
    {"data"},
    {"model"},
    {"accelerate"},
    {"plan"},
    {"methods"},
    {"store"},
    {"heads"},
    {"control"},
    {"simulate"},
    {"probe", "surprise", "latent", "offline", "decode", "fetch", "train", "verify", "doctor", "exchange"},
    {"evaluate"},
    {"diagnose"},
    {"demo"},
    {"report"},
    {"flows"},
    {"cli"},
    {"__main__"},
)
"""From the ground up. Rooms on one line do not import each other."""

FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
GROUND_MODULES = {
    "lewm_cli",
    "lewm_cli.cgroup",
    "lewm_cli.child",
    "lewm_cli.errors",
    "lewm_cli.file_kind",
    "lewm_cli.files",
    "lewm_cli.lazy",
    "lewm_cli.messages",
    "lewm_cli.plural",
    "lewm_cli.provenance",
    "lewm_cli.stop",
    "lewm_cli.suggestion",
    "lewm_cli.supported",
    "lewm_cli.system_errors",
    "lewm_cli.text_file",
    "lewm_cli.visible",
    "lewm_cli.workers",
}

LAZY_PUBLIC_API = {("lewm_cli", f"lewm_cli.{room}") for room in ("store", "control", "flows")}
"""The imports that go up: the package root fetches what is public when it is asked for."""

MODEL_MAY_IMPORT = {"torch", "lewm_cli.config", "lewm_cli.errors", "lewm_cli.model"}


def sources() -> dict[str, str]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("lewm_cli", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts)] = path.read_text(encoding="utf-8")
    return found


def imports(module: str, source: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything a module imports, wherever in the file; names of ours with what they name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*module.split(".")[: -node.level], *base.split(".")]).rstrip(".")
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            named = node.args[0] if node.args else None
            yield node.lineno, named.value if isinstance(named, ast.Constant) else "a computed name"


def room(name: str) -> str | None:
    """The room of a module or of something imported from it; None for other packages."""
    parts = name.removesuffix(".__init__").split(".")
    if parts[0] != "lewm_cli":
        return None
    if name == "lewm_cli.__version__" or ".".join(parts[:2]) in GROUND_MODULES:
        return GROUND
    return parts[1]


def violations(modules: dict[str, str]) -> list[str]:
    """Imports that break the rules, one line each."""
    found = []
    for file, source in modules.items():
        module = file.removesuffix(".__init__")
        here = room(module)
        if here not in FLOOR:
            found.append(f"{module} is in no room that the floors know")
            continue
        for line, name in imports(file, source):
            there = room(name)
            at = f"{module}:{line} imports {name}"
            if there is None:
                allowed = MODEL_MAY_IMPORT | sys.stdlib_module_names
                if here == "model" and name.split(".")[0] not in allowed:
                    found.append(f"{at}: the model needs torch and the standard library only")
            elif (module, ".".join(name.split(".")[:2])) in LAZY_PUBLIC_API:
                continue
            elif there not in FLOOR:
                found.append(f"{at}: no room of that name")
            elif there != here and FLOOR[there] >= FLOOR[here]:
                found.append(f"{at}: floor {FLOOR[here]} may only import from below, not floor {FLOOR[there]}")
            elif here == "model" and ".".join(name.split(".")[:2]) not in MODEL_MAY_IMPORT:
                found.append(f"{at}: the model knows configuration and errors only")
    return found


def test_imports_only_go_down():
    assert violations(sources()) == []


def hidden_names(modules: dict[str, str]) -> list[str]:
    """Names that a lazy package offers and one of its modules has too, one line each: the module would hide them."""
    lazy = {file.removesuffix(".__init__"): source for file, source in modules.items() if "lazy_names(" in source}
    offered = ((package, name) for package, source in lazy.items() for _, name in imports(package, source))
    return [
        f"{package} offers {name}" for package, name in offered if f"{package}.{name.rpartition('.')[2]}" in modules
    ]


def test_no_module_hides_a_name_of_its_package():
    assert hidden_names(sources()) == []
    planted = (
        "if TYPE_CHECKING:\n    from lewm_cli.store.load import load\nelse:\n    __getattr__ = lazy_names(__name__)"
    )
    assert hidden_names({"lewm_cli.store.__init__": planted, "lewm_cli.store.load": ""}) != []


def test_every_floor_that_is_built_was_looked_at():
    rooms = {room(module) for module in sources()}
    assert {GROUND, "tasks", "config", "data", "model", "store"} <= rooms
    assert {module.removesuffix(".__init__") for module in sources() if room(module) == GROUND} == GROUND_MODULES


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("lewm_cli.config.section", "import lewm_cli.store"),
        ("lewm_cli.config.section", "from lewm_cli.tasks import Task"),  # the same floor
        ("lewm_cli.train.loop", "from lewm_cli.evaluate.run import evaluate"),
        ("lewm_cli.store.home", "def late():\n    from lewm_cli.cli import main"),
        ("lewm_cli.data.clips", "if TYPE_CHECKING:\n    from lewm_cli.train import Trainer"),
        ("lewm_cli.data.clips", "from ..store import Home"),
        ("lewm_cli.data.__init__", "from ..store import Home"),
        ("lewm_cli.data.clips", "from .. import store"),
        ("lewm_cli.data.clips", "from lewm_cli import store"),
        ("lewm_cli.data.clips", "from lewm_cli import load"),
        ("lewm_cli.data.clips", "importlib.import_module('lewm_cli.store')"),
        ("lewm_cli.files", "from lewm_cli.config import Section"),
        ("lewm_cli.__init__", "from lewm_cli.train import fit"),
        ("lewm_cli.errors", "from lewm_cli.store import load"),
        ("lewm_cli.model.vit", "import numpy as np"),
        ("lewm_cli.model.vit", "from transformers import ViTModel"),
        ("lewm_cli.model.vit", "from lewm_cli.tasks import Task"),
        ("lewm_cli.model.vit", "from lewm_cli.files import write_text"),
        ("lewm_cli.attic.old", "import os"),
        ("lewm_cli.helpers", "import os"),
    ],
)
def test_planted_violation_is_caught(module, source):
    assert len(violations({module: source})) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("lewm_cli.cli.train", "from lewm_cli.flows import train\nfrom lewm_cli import __version__"),
        ("lewm_cli.config.section", "from lewm_cli import __version__\nfrom lewm_cli.config.section import Section"),
        ("lewm_cli.config.section", "from .section import Section\nfrom ..errors import UsageError\nimport numpy"),
        ("lewm_cli.config.__init__", "from .section import Section"),
        ("lewm_cli.files", "from lewm_cli.errors import LewmError"),
        ("lewm_cli.model.vit", "import math\nimport torch.nn as nn\nfrom lewm_cli.config import EncoderConfig"),
        ("lewm_cli.__init__", "def __getattr__(name):\n    from lewm_cli import store"),
        ("lewm_cli.__init__", "def __getattr__(name):\n    from lewm_cli import control"),
    ],
)
def test_imports_from_below_are_let_through(module, source):
    assert violations({module: source}) == []
