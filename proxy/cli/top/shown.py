"""
Numbers, times and money as people read them on a terminal.

Names that callers have sent are hostile: those go through `proxy.cli.show`.
"""

import math
import time
from collections.abc import Sequence

NONE = "-"
"""Stands for what is not known."""
_BARS = " ▁▂▃▄▅▆▇█"
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def count(value: float | None) -> str:
    """`8`, `0.4`, `1,204`, `38k`, `1.2M`."""
    if value is None:
        return NONE
    if value < 10 and value != int(value):
        return f"{value:.1f}"
    if value < 10_000:
        return f"{value:,.0f}"
    factor, unit = next(each for each in _UNITS if value >= each[0])
    shown = value / factor
    return f"{shown:.1f}{unit}" if shown < 10 else f"{shown:.0f}{unit}"


def duration(milliseconds: float | None) -> str:
    """`840ms`, `1.24s`, `2m05s`."""
    if milliseconds is None:
        return NONE
    if milliseconds < 999.5:
        return f"{milliseconds:.0f}ms" if milliseconds >= 9.95 else f"{milliseconds:.1f}ms"
    seconds = milliseconds / 1000
    if seconds < 59.95:
        return f"{seconds:.2f}s" if seconds < 9.995 else f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s"


def money(micro: float | None) -> str:
    """Millionths of a dollar as dollars; small sums keep the digits that say something."""
    if micro is None:
        return NONE
    usd = micro / 1e6
    if usd == 0:
        return "$0"
    if usd >= 1:
        return f"${usd:,.2f}"
    return f"${usd:.4f}" if usd >= 0.001 else f"${usd:.6f}"


def share(part: float, whole: float) -> str:
    """`0%`, `1.2%`, `40%`."""
    if not whole:
        return NONE
    percent = 100 * part / whole
    return f"{percent:.1f}%" if 0 < percent < 9.95 else f"{percent:.0f}%"


def clock(at: float) -> str:
    """A moment on the clock of this machine: `14:02:31`."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def spark(values: Sequence[float], width: int) -> str:
    """The last *width* of *values* as small bars, the largest of them a whole one."""
    last = list(values)[-width:]
    most = max(last, default=0)
    if not most:
        return ""
    # Rounded up, so that what is not nothing is seen.
    return "".join(_BARS[math.ceil(value * (len(_BARS) - 1) / most)] for value in last)


def bar(part: float, width: int) -> str:
    """*part* of *width*, at least one letter where there is any."""
    whole = min(width, max(int(part * width + 0.5), 1 if part > 0 else 0))
    return "█" * whole + "░" * (width - whole)
