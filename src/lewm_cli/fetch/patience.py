"""How long a download waits, and how often it tries again."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """When a download tries again by itself, and when it gives up.

    Args:
        silence: seconds without a byte after which a connection counts as lost.
        connecting: seconds that making a connection may take.
        attempts: how often in a row it may fail without a new byte.
        pause: seconds before the second attempt; twice as many before every further one.
        longest: seconds that a pause may take, whatever the server asks for.
    """

    silence: float = 60.0
    connecting: float = 20.0
    attempts: int = 6
    pause: float = 1.0
    longest: float = 120.0

    def before(self, attempt: int) -> float:
        """Seconds to wait after so many failures in a row."""
        return min(self.pause * 2.0 ** (attempt - 1), self.longest)


@dataclass(frozen=True)
class Pause:
    """A download that waits before it tries again.

    Args:
        reason: what went wrong.
        seconds: how long it waits.
    """

    reason: str
    seconds: float
