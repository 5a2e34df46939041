"""
How long answers usually are, by holder and model: what to reserve for a call that names no maximum.

It learns from answers that have ended. It guesses; the settlement makes it right.
"""

import math
from array import array
from collections import OrderedDict

LOOKED_AT = 64
"""Answers the guess is made from: enough for a 95th percentile that one odd answer does not move."""
SHARE = 0.95
"""Part of the answers that are no longer than the guess."""
UNTAUGHT = 512
"""Tokens supposed of an answer before any has been seen: a long paragraph or a short page."""
MOST = 4096
"""Pairs of holder and model that are remembered, at about 1 kB each."""


class Lengths:
    """The lengths of one holder's answers from one model."""

    __slots__ = ("_guess", "_oldest", "_seen", "_unread")

    def __init__(self) -> None:
        # Eight bytes a number; as objects they would take four times as much.
        self._seen = array("q")
        self._oldest = 0
        self._guess = UNTAUGHT
        self._unread = 0
        """Answers the guess does not know of yet."""

    def expect(self) -> int:
        """Tokens the next answer will probably not exceed."""
        # One answer among many hardly moves the guess, and sorting them all is work.
        if self._unread > len(self._seen) // 8:
            ordered = sorted(self._seen)
            self._guess = ordered[math.ceil(len(ordered) * SHARE) - 1]
            self._unread = 0
        return self._guess

    def note(self, tokens: int) -> None:
        """An answer had so many."""
        if len(self._seen) < LOOKED_AT:
            self._seen.append(tokens)
        else:
            self._seen[self._oldest] = tokens
            self._oldest = (self._oldest + 1) % LOOKED_AT
        self._unread += 1


class Learned:
    """The usual lengths of answers, in tokens."""

    def __init__(self) -> None:
        self._lengths: OrderedDict[tuple[str, str], Lengths] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lengths)

    def find(self, holder: str, model: str) -> Lengths | None:
        """What was learned of the two; None while that is nothing. Asking teaches nothing."""
        return self._lengths.get((holder, model))

    def of(self, holder: str, model: str) -> Lengths:
        """The same for who has something to teach; the pair that was not heard of for longest may be forgotten."""
        key = (holder, model)
        lengths = self._lengths.get(key)
        if lengths is None:
            if len(self._lengths) >= MOST:
                self._lengths.popitem(last=False)
            lengths = self._lengths[key] = Lengths()
        else:
            self._lengths.move_to_end(key)
        return lengths
