"""
What is looked at, and how: sorted, filtered, paused, which call is chosen, whether its trail is open.

It changes by keys alone, and computes rows from a picture; how they look is `frame`'s.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.cli.top.calls import Call
from proxy.cli.top.model import Picture

SORTS: tuple[tuple[str, Callable[[Call], float]], ...] = (
    ("newest first", lambda call: call.ended),
    ("slowest first", lambda call: call.took_ms),
    ("slowest first token first", lambda call: -1.0 if call.first_ms is None else call.first_ms),
    ("most tokens first", lambda call: -1 if call.tokens is None else call.tokens),
    ("dearest first", lambda call: -1 if call.cost is None else call.cost),
)
SECTIONS = ("all", "calls", "providers", "keys")
PAGE = 10
"""Rows by which Page Up and Page Down move."""
LONGEST = 100
"""Letters of a filter."""
_MOVES = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -PAGE, "page down": PAGE, "home": -(10**9), "end": 10**9}


@dataclass(slots=True)
class Trail:
    """The decision trail of a call, while it is open."""

    call: Call
    told: Mapping[str, Any] | None = None
    """What `/admin/requests/{id}` answers; None while it is asked, or where there is `trouble`."""
    trouble: str = ""
    """Why it cannot be shown, as a sentence."""
    top: int = 0
    """Its lines that have moved out of sight."""


class View:
    """It. Begins with all sections, and every call, the newest first."""

    def __init__(self) -> None:
        self.section = SECTIONS[0]
        self.words = ""
        self.typing = False
        """Whether keys are letters of the filter."""
        self.bad_only = False
        self.frozen: Picture | None = None
        """What is shown while it is paused."""
        self.chosen: Call | None = None
        self.trail: Trail | None = None
        self.top = 0
        """Rows of providers or keys that have moved out of sight, where these have the whole screen."""
        self.ended = False
        self._sort = 0

    @property
    def order(self) -> str:
        """How calls are sorted."""
        return SORTS[self._sort][0]

    def rows(self, picture: Picture) -> list[Call]:
        """The calls that are shown, in their order."""
        words = self.words.lower()
        fitting: Sequence[Call] = picture.calls
        if words or self.bad_only:
            fitting = [call for call in fitting if not (self.bad_only and call.well) and call.fits(words)]
        return sorted(fitting, key=SORTS[self._sort][1], reverse=True)

    def press(self, key: str, picture: Picture) -> Call | None:
        """Do what *key* (see `keyboard`) asks for while *picture* is shown; the call whose trail is wanted now."""
        if self.typing:
            self._type(key)
        elif self.trail is not None:
            self._read(self.trail, key)
        elif key in ("q", "Q"):
            self.ended = True
        elif key == "enter" and self.chosen is not None and self.section in ("all", "calls"):
            self.trail = Trail(self.chosen)
            return self.chosen
        elif key in _MOVES:
            self._move(_MOVES[key], picture)
        elif key == "escape":
            self.words, self.bad_only, self.chosen = "", False, None
        elif key in ("s", "S", "/", "f"):
            self._of_calls(key)
        elif key in ("p", " "):
            self.frozen = picture if self.frozen is None else None
        elif key in ("tab", "shift tab"):
            step = 1 if key == "tab" else -1
            self.section = SECTIONS[(SECTIONS.index(self.section) + step) % len(SECTIONS)]
            self.top = 0
        return None

    def _of_calls(self, key: str) -> None:
        """What is about calls shows them."""
        if self.section in ("providers", "keys"):
            self.section = SECTIONS[0]
        if key == "/":
            self.typing = True
        elif key == "f":
            self.bad_only = not self.bad_only
        else:
            self._sort = (self._sort + (1 if key == "s" else -1)) % len(SORTS)

    def _type(self, key: str) -> None:
        if key == "enter":
            self.typing = False
        elif key == "escape":
            self.typing, self.words = False, ""
        elif key == "backspace":
            self.words = self.words[:-1]
        elif len(key) == 1 and len(self.words) < LONGEST:
            self.words += key

    def _read(self, trail: Trail, key: str) -> None:
        if key in ("q", "escape", "enter", "backspace", "left"):
            self.trail = None
        elif key in _MOVES:
            trail.top = max(0, trail.top + _MOVES[key])

    def _move(self, by: int, picture: Picture) -> None:
        if self.section in ("providers", "keys"):
            self.top = max(0, self.top + by)
            return
        rows = self.rows(picture)
        if not rows:
            return
        if self.chosen not in rows:
            self.chosen = rows[0] if by > 0 else rows[-1]
            return
        place = rows.index(self.chosen) + by
        self.chosen = rows[max(0, min(len(rows) - 1, place))]
