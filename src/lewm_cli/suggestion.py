"""Suggestions in messages: commands that can be pasted, and a few names near to a wrong one."""

import difflib
import shlex
from collections.abc import Iterable
from contextvars import ContextVar
from pathlib import Path

HOME: ContextVar[Path | None] = ContextVar("HOME", default=None)
"""The folder of `--home` if one was typed, so that suggested commands look in the same place."""

FEW = 8
"""Names that are listed before the rest is only mentioned."""


def command(*words: object) -> str:
    """A command of ours as it can be pasted: `command("show", name)`; quoted, with `--home` where one was given."""
    home = HOME.get()
    return shlex.join(["lewm", *map(str, words), *(["--home", str(home)] if home else [])])


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word nearest to `word`, as a whole or in its last dotted part; None if none is near."""
    words = list(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return close[0]
    last = {key.rsplit(".", 1)[-1]: key for key in reversed(words)}
    close = difflib.get_close_matches(word.rsplit(".", 1)[-1], list(last), n=1, cutoff=0.6)
    return last[close[0]] if close else None


def few(names: Iterable[str], listing: str) -> str:
    """A list of names in a sentence, cut short after some; `listing` is the command that prints all of them."""
    every = list(names)
    return ", ".join(every[:FEW]) + (f" and {len(every) - FEW} more: {listing}" if len(every) > FEW else "")
