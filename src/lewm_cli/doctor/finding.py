"""What one look at the machine finds: a name, how it stands, a few words, and what to type."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from lewm_cli.errors import StoppedError


class State(StrEnum):
    """How something stands."""

    OK = "ok"
    NONE = "none"
    """Not there, and nothing is wrong with that."""
    OPTIONAL = "optional"
    """Does not work, and nothing that TwoRoom does needs it."""
    WARNING = "warning"
    BROKEN = "broken"
    """TwoRoom needs it."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at; subclasses add the facts behind the words.

    Args:
        name: what it is.
        state: how it stands.
        says: a few words for a person.
        advice: what to type, where something is to be done.
    """

    name: str
    state: State
    says: str
    advice: str | None = None


def guarded(name: str, look: Callable[[], Iterable[Finding]]) -> tuple[Finding, ...]:
    """What `look` finds; its own failure is a finding too, because the rest is worth knowing all the same."""
    found = []
    try:
        for finding in look():
            found.append(finding)  # noqa: PERF402  (what came before a failure is kept)
    except StoppedError:
        raise
    except Exception as error:
        says = f"cannot be looked at: {type(error).__name__}: {error}"
        advice = "lewm doctor --json, and please report what it prints"
        found.append(Finding(name=name, state=State.BROKEN, says=says, advice=advice))
    return tuple(found)
