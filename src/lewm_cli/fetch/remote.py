"""What is to be downloaded."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Remote:
    """A file that a server gives: what to ask for, and what it has to be.

    Args:
        url: http, https or file.
        name: what messages call it, such as "tworoom.tar.zst from quentinll/lewm-tworooms".
        headers: names and values to ask with; an Authorization is never sent on to another host.
        size: bytes, if known beforehand.
        sha256: in hexadecimal, if known beforehand.
        identity: what stays the same where the URL is a new one every time, as Drive's; else the URL itself.
    """

    url: str
    name: str
    headers: tuple[tuple[str, str], ...] = ()
    size: int | None = None
    sha256: str | None = None
    identity: str | None = None

    @property
    def same_as(self) -> str:
        """By which the beginning of this file is known again."""
        return self.identity or self.url
