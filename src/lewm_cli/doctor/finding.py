"""One finding about the machine: a name, a state, a few words, and what to type."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from lewm_cli.errors import kept_going
from lewm_cli.suggestion import command


class State(StrEnum):
    """The state of something on the machine."""

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
    """One thing that was looked at, in a few words, and what to type; subclasses add the facts behind the words."""

    name: str
    state: State
    says: str
    advice: str | None = None


def guarded(name: str, look: Callable[[], Iterable[Finding]]) -> tuple[Finding, ...]:
    """Collect findings; a failure of the look itself is a finding too."""

    def failure(error: Exception) -> Finding:
        says = f"cannot be looked at: {type(error).__name__}: {error}"
        advice = f"{command('doctor', '--json')}, and please report what it prints"
        return Finding(name=name, state=State.BROKEN, says=says, advice=advice)

    return tuple(kept_going(look, failure))
