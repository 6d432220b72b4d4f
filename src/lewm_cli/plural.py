"""Numbers of things in words."""


def counted(count: int, noun: str) -> str:
    """Say how many: "1 row", "2,000 rows"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
