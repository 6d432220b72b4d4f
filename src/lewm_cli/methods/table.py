"""The table of methods: a method is one module beside this one, and one line here."""

from lewm_cli.methods.lewm import LeWM
from lewm_cli.methods.method import Method
from lewm_cli.suggestion import nearest

METHODS: dict[str, type[Method]] = {LeWM.name: LeWM}

DEFAULT = LeWM.name
"""The method of configurations and weights that name none."""


def check_method(name: object) -> str:
    """Returns the name if it is in the table; else ValueError names the nearest one."""
    if not isinstance(name, str) or name not in METHODS:
        near = nearest(str(name), list(METHODS))
        meant = f"did you mean {near!r}?" if near else f"there is {', '.join(METHODS)}"
        raise ValueError(f"there is no method {name!r}; {meant}")
    return name
