"""Numbers as a reader wants them: few digits, no exponents with an e, units in words."""

import math
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it needs scipy, and most numbers need none of it
    from lewm_cli.statistics import Rate

TIMES = "\N{MULTIPLICATION SIGN}"

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, digits: int = 3) -> str:
    """A few significant digits: 0.0101, 2.53, 1,240; powers of ten only below 0.0001 and from ten million."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    if exponent < -4 or exponent >= 7:
        return _signed(f"{value / 10**exponent:.1f} {TIMES} {power_of_ten(exponent)}")
    return _signed(f"{round(value, digits - 1 - exponent):,.{max(0, digits - 1 - exponent)}f}")


def decimals(value: float, places: int = 3) -> str:
    """A fixed number of decimals, for columns."""
    return _signed(f"{round(value, places) + 0.0:.{places}f}")  # no negative zero


def power_of_ten(exponent: int) -> str:
    """10 to the power of a whole number."""
    return "10" + str(exponent).translate(_SUPERSCRIPT)


def setting(value: float) -> str:
    """A setting as it was typed: 0.09, 0.001, 5 times a power of ten."""
    mantissa, _, exponent = f"{value:g}".partition("e")
    return f"{mantissa} {TIMES} {power_of_ten(int(exponent))}" if exponent else mantissa


def percent(share: float, places: int = 1) -> str:
    """A share as percent; all and nothing without decimals."""
    return f"{100 * share:.0f}%" if share in (0, 1) else f"{100 * share:.{places}f}%"


def interval(rate: "Rate") -> str:
    """The 95 % interval of a rate, in percent."""
    return brackets(f"{100 * rate.low:.0f}", f"{100 * rate.high:.0f}")


def brackets(low: str, high: str) -> str:
    """Two ends of an interval, never on two lines."""
    return f"[{low},\N{NO-BREAK SPACE}{high}]"


def times(ratio: float) -> str:
    """A ratio, to two or three digits; 0 and > 10⁶ where next to nothing moves on one side."""
    if not 1e-6 <= ratio < 1e6:
        return f"{'0' if ratio < 1 else '> ' + power_of_ten(6)}{TIMES}"
    return f"{number(ratio, 3 if ratio >= 100 else 2)}{TIMES}"


def ahead(horizon: int) -> str:
    """Model steps that are looked ahead, as the end of a phrase; nothing for the usual one."""
    return "" if horizon == 1 else f", {horizon} steps ahead"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if seconds < 600:
        return f"{number(seconds, 3 if seconds >= 100 else 2)} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def p_value(p: float) -> str:
    """A p-value as papers print it; the digits of tiny ones say nothing."""
    return f"{p:.2g}" if p >= 0.001 else "<0.001"


def day(time: str) -> str:
    """An ISO time as date and minutes; anything else as it is."""
    try:
        return f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M}"
    except ValueError:
        return time


def listed(words: list[str]) -> str:
    """a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _signed(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}", 1) if text.startswith("-") else text
