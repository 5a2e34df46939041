"""
The steps an answer is made of, down to the bytes of each write and the moment of a reset.

Every answer of the simulator ends up as such steps. They are data: `wire.py` plays them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias


class Bill(NamedTuple):
    """Tokens a provider charges for."""

    prompt: int = 0
    completion: int = 0

    def share(self, part: int, parts: int) -> Bill:
        """What falls on number *part*, from 0, of so many equal *parts*; all of them together are the whole."""
        return Bill(*(tokens * (part + 1) // parts - tokens * part // parts for tokens in self))


NOTHING = Bill()


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes as they are."""

    data: bytes
    bill: Bill = NOTHING
    """What a provider charges for by then."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Say nothing for so many seconds. Counted from the last delay's end, so that a paced stream does not drift."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Drip:
    """Write these bytes *size* at a time, each piece *every* seconds; 0 is one piece per turn of the event loop."""

    data: bytes
    size: int = 1
    every: float = 0.01
    bill: Bill = NOTHING
    """For all of it; a part of it as it goes."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """Play these steps over and over until the client leaves; stops writing while the client does not read."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Reset:
    """Abort the connection with a TCP reset, once everything written before has left the process."""


@dataclass(frozen=True, slots=True)
class Fin:
    """Close the connection in order, after everything written before; nothing is added to make the answer whole."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Never say another word on this connection, and leave it open until the client closes it."""


@dataclass(frozen=True, slots=True)
class DropNext:
    """When another request arrives on this connection, answer it with no byte: `fin`, `rst` or `silence`."""

    how: str = "fin"


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer is whole here; what follows concerns the connection only. Running out of steps means the same."""


Step: TypeAlias = Send | Delay | Drip | Repeat | Reset | Fin | Hold | DropNext | Answered
