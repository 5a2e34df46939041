"""
How an attempt ended, and what may follow from it.

Only judgements: a status, a body or a loss goes in, a verdict comes out. Nothing is sent or awaited here.
"""

import email.utils
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson

from proxy.headers import Header, value_of

MAX_RETRY_AFTER = 3600.0
"""Seconds; a provider that asks for more is asked again after this long."""

SPENT = ("insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached")
"""Codes that mean money is gone, not that the pace was too high."""

LASTING = frozenset((501, 505, 508))
"""Statuses above 499 that another try at the same target does not change: what it cannot do, and a loop."""


JSON: tuple[Header, ...] = ((b"Content-Type", b"application/json"),)


class Reach(Enum):
    """How far a failed request got: what decides whether another target may have it."""

    NEVER_SENT = "never sent"
    UNANSWERED = "sent, nothing usable received"
    REFUSED = "refused before any work"
    ELSEWHERE = "refused: another account or target may"
    TOO_LONG = "refused: the context is too long for this model"


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider found the request itself at fault; its words go to the client as they are."""

    status: int
    headers: Sequence[Header]
    body: bytes
    code: str = ""
    """The provider's own error code."""


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer was delivered, and the client has seen nothing."""

    code: str
    reach: Reach
    reason: str
    """For the log and the decision trail; never content."""
    retry_after: float | None = None
    """Seconds the provider asked to be left alone."""
    status: int = 0
    """The provider's status; 0 when none came."""
    refusal: Refused | None = None
    """What to tell the client if nobody else can help."""

    @property
    def lasting(self) -> bool:
        """The target did not answer in time, or said what it would say the next time as well."""
        return self.code in ("upstream_timeout", "upstream_redirect") or self.status in LASTING


@dataclass(frozen=True, slots=True)
class Whole:
    """The client has a whole answer."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The answer broke off after the client had seen its first content."""

    code: str
    reason: str
    streamed: bool
    """It is an event stream."""
    announced: bool
    """The provider said so itself, in an error event that has passed."""
    split: bool
    """Part of an event has passed without its rest."""


Verdict = Failed | Refused | Whole | Cut


def judge_status(status: int, headers: Sequence[Header], body: bytes) -> Failed | None:
    """What a whole error answer means; None when it is the client's own fault and is passed on as it is."""
    if status < 400:
        return Failed("upstream_redirect", Reach.UNANSWERED, f"redirect {status}", status=status)
    if status in (401, 403):
        # Our key, not the client's: never shown as a 401, and never with the provider's words, which quote the key.
        return Failed("upstream_auth_error", Reach.REFUSED, f"status {status}", status=status)
    if status == 504:
        return Failed("upstream_timeout", Reach.UNANSWERED, "status 504", status=status)
    if status in (408, 409, 425, 503, 529):
        code, reach = "upstream_unavailable", Reach.REFUSED
    elif status in (402, 429):
        error = error_of(body)
        spent = status == 402 or (error.get("code") or error.get("type")) in SPENT
        code, reach = "insufficient_quota" if spent else "rate_limit_exceeded", Reach.REFUSED
    elif status >= 500:
        code, reach = "upstream_error", Reach.UNANSWERED
    else:
        return None
    return Failed(code, reach, f"status {status}", retry_after(headers), status)


def judge_error_event(error: dict[str, Any]) -> Failed | None:
    """What an error told inside a 200 means; None when it is the client's own fault, as with `judge_status`."""
    words = f"{error.get('type')} {error.get('code')}".lower()
    if "invalid_request" in words or "context_length" in words:
        return None
    if "insufficient_quota" in words:
        return Failed("insufficient_quota", Reach.REFUSED, "error event: quota")
    if "rate_limit" in words or "429" in words:
        return Failed("rate_limit_exceeded", Reach.REFUSED, "error event: rate limit")
    if "overloaded" in words or "unavailable" in words or "503" in words:
        return Failed("upstream_unavailable", Reach.REFUSED, "error event: overloaded")
    if "authentication" in words or "permission" in words or "invalid_api_key" in words:
        return Failed("upstream_auth_error", Reach.REFUSED, "error event: authentication")
    return Failed("upstream_error", Reach.UNANSWERED, "error event")


def judge_refusal(refusal: Refused) -> Failed | Refused:
    """A refusal as it stands, or the one kind that another model can mend: a context that is too long."""
    if refusal.code != "context_length_exceeded":
        return refusal
    return Failed(refusal.code, Reach.TOO_LONG, "context too long", status=refusal.status, refusal=refusal)


def retry_after(headers: Iterable[Header]) -> float | None:
    """Seconds asked for by `retry-after-ms` or `retry-after` (seconds or a date); None for nonsense or none."""
    headers = list(headers)
    for name, scale in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        raw = value_of(headers, name)
        if raw is None:
            continue
        try:
            text = raw.decode("ascii").strip()
            seconds = float(text) * scale
        except ValueError:
            seconds = _seconds_until(raw) if scale == 1.0 else math.nan
        if math.isfinite(seconds) and seconds >= 0:
            return min(seconds, MAX_RETRY_AFTER)
    return None


def _seconds_until(date: bytes) -> float:
    parsed = email.utils.parsedate_tz(date.decode("latin-1"))
    if parsed is None:
        return math.nan
    try:
        return max(0.0, email.utils.mktime_tz(parsed) - time.time())
    except (OverflowError, ValueError):
        return math.nan


def object_of(body: bytes) -> dict[str, Any] | None:
    """The JSON object *body* is, or None when it is not a whole one."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if type(value) is dict else None


def is_json(body: bytes) -> bool:
    """Whether *body* is one whole JSON value."""
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def error_of(body: bytes) -> dict[str, Any]:
    """The `error` object in *body*; empty when there is none."""
    error = (object_of(body) or {}).get("error")
    return error if type(error) is dict else {}


def is_only_an_error(answer: dict[str, Any]) -> bool:
    """A 200 that is an error all the same. (A failed response of the Responses API names its `object`.)"""
    return type(answer.get("error")) is dict and "object" not in answer and "choices" not in answer


def told_in_200(error: dict[str, object]) -> Failed | Refused:
    """An error told inside a 200, before any content: it gets the status it should have had."""
    failed = judge_error_event(error)
    if failed is not None:
        return failed
    return judge_refusal(Refused(400, JSON, orjson.dumps({"error": error}), str(error.get("code") or "")))
