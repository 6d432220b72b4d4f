"""Packages that import what they offer when it is first asked for, so that a command pays only for what it uses."""

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def lazy_names(package: str) -> Callable[[str], Any]:
    """The `__getattr__` of a package, whose names are those that it imports under `if TYPE_CHECKING:`.

    So type checkers and readers see plain imports. No name may be that of a module of the package: once that module is
    imported, it would stand in the place of the name.
    """
    source, modules = Path(str(sys.modules[package].__file__)), dict[str, str]()

    def import_name(name: str) -> Any:
        if not modules:
            for node in ast.walk(ast.parse(source.read_bytes())):
                if isinstance(node, ast.ImportFrom):
                    modules.update({alias.name: str(node.module) for alias in node.names})
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(modules[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return import_name
