"""Settings of what shows a training elsewhere. They change no result, and are no part of what a run is made from."""

import re
from importlib.util import find_spec
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, field_validator

from lewm_cli.config.section import Section
from lewm_cli.errors import LewmError
from lewm_cli.suggestion import few, nearest

LOGGERS = ("tensorboard", "wandb", "trackio")
"""Each is also the name of its package, and of the extra that brings it."""


def _check_loggers(typed: object) -> object:
    """Returns the names, each once; ValueError if one is unknown."""
    names = [typed] if isinstance(typed, str) else typed
    if not isinstance(names, list | tuple):
        raise ValueError(f"{typed!r} is no list of loggers; there is {few(LOGGERS)}")
    for name in names:
        if name not in LOGGERS:
            near = nearest(str(name).lower(), LOGGERS)
            meant = f"did you mean {near!r}?" if near else f"there is {few(LOGGERS)}"
            if "," in str(name):
                meant = "give each of them an own --log, or a list"
            raise ValueError(f"there is no logger {name!r}; {meant}")
    return tuple(dict.fromkeys(names))


class LogConfig(Section):
    """The dashboards that a training is logged to, beside its own log."""

    to: Annotated[tuple[str, ...], BeforeValidator(_check_loggers)] = Field(
        (), description=f"what it is logged to: {few(LOGGERS)}"
    )
    project: str = Field("lewm", description="at wandb and trackio")
    entity: str | None = Field(None, description="user or team at wandb; your own if not given")
    mode: Literal["online", "offline"] | None = Field(
        None, description="of wandb; as WANDB_MODE says if not given, else online where there is a login and a network"
    )
    pictures: NonNegativeInt = Field(1000, description="least steps from one picture to the next; 0 draws none")

    @field_validator("project")
    @classmethod
    def _is_a_name(cls, project: str) -> str:
        if not re.fullmatch(r"[\w.-]{1,100}", project, re.ASCII):
            raise ValueError(f"{project!r} is no name of a project; use up to 100 letters, digits, -, _ and .")
        return project

    def check_installed(self) -> None:
        """Raise LewmError if the package of a logger is not installed."""
        for name in self.to:
            if find_spec(name) is None:
                install = f'pip install "lewm-cli[{name}]"'
                raise LewmError(f"{name} is not installed, so nothing can be logged to it; type: {install}")
