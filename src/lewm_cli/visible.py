"""Text as a terminal may have it: what would move the cursor, change colors or hide itself is spelled out."""

import unicodedata


def visible(text: str) -> str:
    r"""The same text with `\x1b` and the like for letters that cannot be seen; lines and blanks of any width stay."""
    return text if text.isprintable() else "".join(map(_spelled, text))


def visible_line(text: str) -> str:
    r"""The same for what has to be one line: `\n` is spelled out, too."""
    return visible(text).replace("\n", "\\n")


def _spelled(letter: str) -> str:
    seen = letter.isprintable() or letter == "\n" or unicodedata.category(letter) == "Zs"
    return letter if seen else letter.encode("unicode_escape").decode("ascii")
