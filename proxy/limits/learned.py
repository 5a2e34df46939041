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


class _Lengths:
    __slots__ = ("guess", "oldest", "seen", "unread")

    def __init__(self) -> None:
        # Eight bytes a number; as objects they would take four times as much.
        self.seen = array("q")
        self.oldest = 0
        self.guess = UNTAUGHT
        self.unread = 0
        """Answers the guess does not know of yet."""


class Learned:
    """The usual lengths of answers, in tokens."""

    def __init__(self) -> None:
        self._lengths: OrderedDict[tuple[str, str], _Lengths] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lengths)

    def expect(self, holder: str, model: str) -> int:
        """Tokens the next answer will probably not exceed."""
        lengths = self._lengths.get((holder, model))
        if lengths is None:
            return UNTAUGHT
        # One answer among many hardly moves the guess, and sorting them all is work.
        if lengths.unread > len(lengths.seen) // 8:
            ordered = sorted(lengths.seen)
            lengths.guess = ordered[math.ceil(len(ordered) * SHARE) - 1]
            lengths.unread = 0
        return lengths.guess

    def note(self, holder: str, model: str, tokens: int) -> None:
        """An answer had so many."""
        key = (holder, model)
        lengths = self._lengths.get(key)
        if lengths is None:
            if len(self._lengths) >= MOST:
                self._lengths.popitem(last=False)
            lengths = self._lengths[key] = _Lengths()
        else:
            self._lengths.move_to_end(key)
        if len(lengths.seen) < LOOKED_AT:
            lengths.seen.append(tokens)
        else:
            lengths.seen[lengths.oldest] = tokens
            lengths.oldest = (lengths.oldest + 1) % LOOKED_AT
        lengths.unread += 1
