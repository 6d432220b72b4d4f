"""Reasons for which a checkpoint is not read; the entry point turns them into one sentence with the file's name."""

from lewm_cli.errors import LewmError
from lewm_cli.store.formats.classes import ALL


class RefusalError(LewmError):
    """The file asks for something that reading weights does not need, or holds another model."""


class ForeignError(RefusalError):
    """The pickle refers to something beyond the fixed list; nothing was run."""

    def __init__(self, asks: str) -> None:
        super().__init__(f"refused: the pickle {asks}, which no checkpoint of {ALL} needs; nothing was run")


class PolicyError(RefusalError):
    """The file holds a policy of stable_worldmodel, none of which is read; nothing was run."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"it {why}, so it is a goal-conditioned policy of stable_worldmodel (GCBC, GCIVL or GCIQL), and of those "
            "lewm reads its own runs only; train one with: lewm train TASK --method gcbc (or gcivl, gciql)"
        )


class DamagedError(RefusalError):
    """The file is truncated, corrupt, lies about its sizes, or is no checkpoint."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"damaged or not a checkpoint: {reason}; fetch or copy it again")


class MistakenError(RefusalError):
    """The file is of another kind than weights, or stands in the place of the real one."""


class ChoiceError(RefusalError):
    """The file holds several models; `choices` are words that tell them apart."""

    def __init__(self, choices: tuple[str, ...]) -> None:
        super().__init__(f"it holds {len(choices)} models that differ, {' and '.join(choices)}")
        self.choices = choices

    def names(self, run: str) -> str:
        """The names of the models, as they can be typed for a run."""
        return " or ".join(f"{run}@{choice}" for choice in self.choices)


def printable(name: object) -> str:
    """A name from a stranger's file as a terminal may print it: short, printable, on one line."""
    text = str(name) if isinstance(name, str) else repr(type(name).__name__)
    text = text if len(text) <= 100 else f"{text[:100]}..."
    return text if text.isprintable() else ascii(text)


def printable_value(value: object) -> str:
    """A value from a stranger's file for a message; structures, which may be endless, are named by their type."""
    if isinstance(value, str | int | float | None):
        return printable(repr(value))
    return f"a {type(value).__name__}"
