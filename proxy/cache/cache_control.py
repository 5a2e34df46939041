"""
What a client's `Cache-Control` says about stored answers (RFC 9111 section 5.2.1).

Pure: header values go in, a rule comes out. Which calls have a stored answer at all is decided in `answer_cache`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheControl:
    """The rule for one call."""

    no_store: bool = False
    """No stored answer, and none is stored."""
    max_age: float = math.inf
    """Seconds a stored answer may be old; 0: none is looked up, and the new one takes its place."""


_ANY = CacheControl()


def cache_control(values: Iterable[str]) -> CacheControl:
    """
    The rule in the *values* of all `Cache-Control` headers of a request. Directives that say nothing of stored answers
    are passed over; an age that is no number is taken as 0, as section 4.2.1 advises.
    """
    no_store, max_age = False, math.inf
    for value in values:
        for directive in value.lower().split(","):
            name, _, argument = directive.strip().partition("=")
            if name == "no-store":
                no_store = True
            elif name == "no-cache":
                max_age = 0.0
            elif name == "max-age":
                seconds = argument.strip('"')
                # More digits than a century has seconds say no more than that.
                age = float(seconds[:10]) if seconds.isascii() and seconds.isdigit() else 0.0
                max_age = min(max_age, age)
    return CacheControl(no_store, max_age) if no_store or max_age != math.inf else _ANY
