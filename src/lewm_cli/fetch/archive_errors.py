"""Errors about an archive, without its name, which `unpack` adds."""

NAME_SHOWN = 80
"""Characters of a member's name that an error repeats."""


class DamagedError(Exception):
    """The archive is not what was published: cut short, altered, or never whole."""


class RefusedError(Exception):
    """The archive is whole for all we know, but holds what is not unpacked here.

    Args:
        reason: what it holds.
        advice: what to do about it.
    """

    def __init__(self, reason: str, advice: str = "download it from where it was published, or do without it") -> None:
        super().__init__(reason)
        self.advice = advice


def quoted(name: str) -> str:
    """Quotes a name from an archive so that a terminal obeys nothing in it, and not too long."""
    shown = ascii(name) if not name.isprintable() else repr(name)
    return shown if len(shown) <= NAME_SHOWN else f"{shown[:NAME_SHOWN]}...{shown[0]}"


def gigabytes(count: int) -> str:
    """Writes a number of bytes for people."""
    return f"{count:,} bytes" if count < 1e8 else f"{count / 1e9:,.1f} GB"
