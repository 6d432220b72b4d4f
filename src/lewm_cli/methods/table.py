"""The table of methods: a method is one module beside this one, and one entry here."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from lewm_cli.config import ModelConfig, NetworkConfig, Section
from lewm_cli.methods.lewm_objective import ObjectiveConfig
from lewm_cli.suggestion import nearest

if TYPE_CHECKING:
    from lewm_cli.methods.method import Method


@dataclass(frozen=True)
class ListedMethod:
    """A method as its configuration knows it; its network is imported when one is built, for that needs torch.

    Args:
        Sizes: the section `model` of a configuration.
        Objective: the section `objective`; its property `explanation`, if it has one, is printed on the page of a run.
        find: imports its class.
    """

    Sizes: type[NetworkConfig]
    Objective: type[Section]
    find: "Callable[[], type[Method]]"

    def __call__(self, config: NetworkConfig, block_dim: int, objective: Section | None = None) -> "Method":
        """Builds the network with random weights; see `Method` for the arguments."""
        return self.find()(config, block_dim, objective)


DEFAULT = "lewm"
"""The method of configurations and weights that name none."""

METHODS = {DEFAULT: ListedMethod(ModelConfig, ObjectiveConfig, partial(resolve_name, "lewm_cli.methods.lewm:LeWM"))}


def check_method(name: object) -> str:
    """Returns the name if it is in the table; else ValueError names the nearest one."""
    if not isinstance(name, str) or name not in METHODS:
        near = nearest(str(name), list(METHODS))
        meant = f"did you mean {near!r}?" if near else f"there is {', '.join(METHODS)}"
        raise ValueError(f"there is no method {name!r}; {meant}")
    return name
