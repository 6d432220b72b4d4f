"""Suggestions in messages: commands that can be pasted, and a few names near to a wrong one."""

import difflib
import os
import re
import shlex
from collections.abc import Iterable
from contextvars import ContextVar
from pathlib import Path

HOME: ContextVar[Path | None] = ContextVar("HOME", default=None)
"""The folder of `--home` if one was typed, so that suggested commands look in the same place."""

CLOSE = 0.75
"""Likeness of two names in different folders, from 0 to 1, above which one is taken for the other mistyped."""

HOMELESS = ("methods", "presets")
"""Commands that look at no home."""

FEW = 8
"""Names that are listed before the rest is only mentioned."""


_OPTION = re.compile(r"--[a-z][a-z-]*")


def command(*words: object) -> str:
    """A command of ours as it can be pasted: `command("show", name)`; quoted, with `--home` where one was given.

    Names come before options: `command("rm", name, "--run")`.
    """
    name, *line = map(str, words)
    home = None if name in HOMELESS else HOME.get()
    first = next((number for number, word in enumerate(line) if _OPTION.fullmatch(word)), len(line))
    typed, options = line[:first], [*line[first:], *(["--home", str(home)] if home else [])]
    if any(word.startswith("-") for word in typed):  # a name that looks like an option
        typed, options = options, ["--", *typed]
    return " ".join(map(quote, ["lewm", name, *typed, *options]))


def quote(word: str) -> str:
    """A word for a POSIX shell; letters that cannot be printed, as bash and zsh write them."""
    if word.isprintable():
        return shlex.quote(word)
    printed = (letter if letter.isprintable() and letter not in "'\\" else _escaped(letter) for letter in word)
    return f"$'{''.join(printed)}'"


def _escaped(letter: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(letter))


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word nearest to `word`, as a whole or in its last dotted part; None if none is near."""
    words = list(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=cutoff)
    if close:
        return close[0]
    last = {key.rsplit(".", 1)[-1]: key for key in reversed(words)}
    close = difflib.get_close_matches(word.rsplit(".", 1)[-1], list(last), n=1, cutoff=cutoff)
    return last[close[0]] if close else None


def few(names: Iterable[str], listing: str = "") -> str:
    """A list of names in a sentence, cut short after some; `listing` is the command that prints all of them."""
    every = list(names)
    more = f" and {len(every) - FEW} more" + (f": {listing}" if listing else "")
    return ", ".join(every[:FEW]) + (more if len(every) > FEW else "")


def offer(word: str, known: Iterable[str], listing: str, first: str = "") -> str:
    """A clause for a word that is not known: the one that was meant, or a few that there are, the nearest of many.

    Args:
        listing: the command that prints all of them.
        first: the command that makes one, where there is none.
    """
    every = list(dict.fromkeys(known))
    folder = word[: word.rfind("/") + 1]  # names that share it are alike by that alone
    beside = {name.removeprefix(folder): name for name in every if name.startswith(folder)}
    near = nearest(word.removeprefix(folder), beside)
    inside = [name for name in every if name.startswith(f"{word}/") or name.endswith(f"/{word}")]
    if len(inside) > 1:  # a task alone says nothing of which of its runs
        return f"did you mean one of {few(inside, listing)}?"
    others = (name for name in every if not name.startswith(folder))
    meant = inside[0] if inside else (beside[near] if near else nearest(word, others, CLOSE))
    if meant is not None:
        return f"did you mean {meant!r}?"
    if len(every) > FEW:
        close = difflib.get_close_matches(word, every, n=FEW, cutoff=0.0)
        every = [*close, *(name for name in every if name not in close)]
    if not every:
        return f"nothing is there yet: start with {first}" if first else "nothing is there yet"
    return f"there is {few(every, listing)}"
