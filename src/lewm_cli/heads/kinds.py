"""The table of all kinds of heads. A new one is a module beside this one, and a line here."""

from lewm_cli.errors import UsageError
from lewm_cli.heads.head_fit import HeadKind
from lewm_cli.heads.position import PROBE
from lewm_cli.heads.reach import REACH

KINDS = {kind.name: kind for kind in (REACH, PROBE)}


def find_kind(name: str) -> HeadKind:
    """Finds a kind of head by its name.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in KINDS:
        raise UsageError(f"there is no kind of head {name!r}; --kind takes {' or '.join(KINDS)}")
    return KINDS[name]
