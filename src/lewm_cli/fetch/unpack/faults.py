"""What can be wrong with an archive, said without its name, which `unpack` adds."""

NAME_SHOWN = 80
"""Characters of a member's name that an error repeats."""


class Damage(Exception):  # noqa: N818  (it is about the archive; the error that users see is made of it)
    """The archive is not what was published: cut short, altered, or never whole."""


class Refusal(Exception):  # noqa: N818
    """The archive is whole for all we know, but holds what is not unpacked here.

    Args:
        says: what it holds.
        advice: what to do about it.
    """

    def __init__(self, says: str, advice: str = "download it from where it was published, or do without it") -> None:
        super().__init__(says)
        self.advice = advice


def quoted(name: str) -> str:
    """A name from an archive, fit for a terminal: nothing in it that a terminal would obey, and not too long."""
    shown = ascii(name) if not name.isprintable() else repr(name)
    return shown if len(shown) <= NAME_SHOWN else f"{shown[:NAME_SHOWN]}...{shown[0]}"


def gigabytes(count: int) -> str:
    """A number of bytes as people say it."""
    return f"{count:,} bytes" if count < 1e8 else f"{count / 1e9:,.1f} GB"
