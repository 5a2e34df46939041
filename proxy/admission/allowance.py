"""
What a caller is told of its limits: the header lines of an answer, and the refusal when one is in the way.

`X-RateLimit-*` in seconds for the limit that is nearest to its end, and OpenAI's own names for requests and tokens. It
decides nothing.
"""

import math
from collections.abc import Iterable

from proxy.core.errors import ProxyError
from proxy.limits.limit import Limit, Refusal, What

NEXT_TRY = 1.0
"""Seconds to wait where the time is not known: a place is free as soon as one of the caller's own calls ends."""


def header_lines(standings: Iterable[tuple[Limit, int, float]]) -> bytes:
    """The lines for *standings*, see `Standing`, of which each kind is told once: the one with the least left."""
    requests = tokens = None
    for standing in standings:
        what = standing[0].what
        if what is _REQUESTED:
            if requests is None or standing[1] < requests[1]:
                requests = standing
        elif what is _TOKENS_USED and (tokens is None or standing[1] < tokens[1]):
            tokens = standing
    first = requests or tokens
    if first is None:
        return b""
    limit, remaining, reset = first
    capacity = limit.capacity
    if remaining < 0:
        remaining = 0
    soon = openai_duration(reset)
    general = (capacity, remaining, math.ceil(reset), capacity, remaining, soon)
    if requests is None or tokens is None:
        return (_TOKENS_ALONE if requests is None else _REQUESTS_ALONE) % general
    # Most keys have both, and every answer carries them: written in one go.
    limit, remaining, reset = tokens
    return _BOTH % (*general, limit.capacity, remaining if remaining > 0 else 0, openai_duration(reset))


_GENERAL = b"X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d\r\n"
_REQUESTS = (
    b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d\r\nx-ratelimit-reset-requests: %b\r\n"
)
_TOKENS = b"x-ratelimit-limit-tokens: %d\r\nx-ratelimit-remaining-tokens: %d\r\nx-ratelimit-reset-tokens: %b\r\n"
_REQUESTS_ALONE, _TOKENS_ALONE, _BOTH = _GENERAL + _REQUESTS, _GENERAL + _TOKENS, _GENERAL + _REQUESTS + _TOKENS
_REQUESTED, _TOKENS_USED = What.REQUESTS, What.TOKENS


def openai_duration(seconds: float) -> bytes:
    """A duration as OpenAI writes it in these headers, which is Go's way: `0s`, `12ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return b"%dms" % milliseconds if milliseconds > 0 else b"0s"
    minutes, rest = divmod(milliseconds, 60_000)
    whole, fraction = divmod(rest, 1000)
    said = (b"%d.%03d" % (whole, fraction)).rstrip(b"0") if fraction else b"%d" % whole
    if not minutes:
        return said + b"s"
    hours, minutes = divmod(minutes, 60)
    return b"%dh%dm%bs" % (hours, minutes, said) if hours else b"%dm%bs" % (minutes, said)


_COUNTED = {
    What.REQUESTS: ("request per minute", "requests per minute"),
    What.TOKENS: ("token per minute", "tokens per minute"),
    What.CONCURRENT: ("request at once", "requests at once"),
}


def refusal(refused: Refusal, whose: str = "This key's") -> ProxyError:
    """The error for a call that a limit stands in the way of; *whose* limit it is, in words."""
    limit = refused.limit
    if refused.unknown:
        return ProxyError(
            "store_unavailable", f"{whose} budget cannot be looked up now; try again.", headers=_waits(refused.wait)
        )
    if limit.what is What.BUDGET:
        # A budget returns with its period; a client that keeps asking until then only makes noise.
        return ProxyError(
            "insufficient_quota",
            f"{whose} budget for the {limit.per} is used up, or the request alone exceeds what is left of it.",
            details={"limit": "budget", "per": limit.per},
            headers=(*_waits(refused.wait), ("x-should-retry", "false")),
        )
    if refused.never:
        return ProxyError(
            "rate_limit_exceeded",
            f"{whose} limit of {_amount(limit)} is less than the request alone needs.",
            details={"limit": limit.what.value},
            headers=(("x-should-retry", "false"),),
        )
    return ProxyError(
        "rate_limit_exceeded",
        f"{whose} limit of {_amount(limit)} is reached.",
        details={"limit": limit.what.value},
        headers=_waits(NEXT_TRY if refused.wait is None else refused.wait),
    )


def _amount(limit: Limit) -> str:
    one, many = _COUNTED[limit.what]
    return f"{limit.capacity} {one if limit.capacity == 1 else many}"


def _waits(wait: float | None) -> tuple[tuple[str, str], ...]:
    if wait is None:
        return ()
    # The exact wait for clients that read it; whole seconds for the rest, rounded so that they are not refused again.
    return (
        ("Retry-After", str(max(1, math.ceil(wait)))),
        ("retry-after-ms", str(max(1, math.ceil(wait * 1000)))),
    )
