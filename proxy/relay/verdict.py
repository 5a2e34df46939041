"""
How an attempt ended, and what may follow from it.

Only judgements: a status, a body or a loss goes in, a verdict comes out. What vendors say and mean by it stands in
`faults`, the form it is passed on in stands in `refusal`. Nothing is sent or awaited here.
"""

import email.utils
import math
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from proxy.core.headers import Header, value_of
from proxy.core.lenient import value_in
from proxy.core.masking import mask
from proxy.relay import refusal
from proxy.relay.faults import ROWS
from proxy.relay.meaning import Meaning, find
from proxy.relay.told import Told, read, read_text
from proxy.upstream.source import UNKNOWN, Source

MAX_RETRY_AFTER = 3600.0
"""Seconds; a provider that asks for more is asked again after this long."""

LASTING = frozenset((501, 505, 508))
"""Statuses above 499 that another try at the same target does not change: what it cannot do, and a loop."""


class Reach(Enum):
    """How far a failed request got: what decides whether another target may have it."""

    NEVER_SENT = "never sent"
    UNANSWERED = "sent, nothing usable received"
    REFUSED = "refused before any work"
    TOO_LONG = "refused: the context is too long for this model"
    ELSEWHERE = "refused: this account does not serve it, another one may"


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider found the request itself at fault; its words go to the client as they are."""

    status: int
    headers: Sequence[Header]
    body: bytes
    code: str = ""
    """The provider's own error code, unless it is a sentence; or what is known of it."""


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
    """What to tell the client if no other target can help."""
    words: str = ""
    """Why it failed in the provider's own words, without any key; empty where they are not for the client."""

    @property
    def lasting(self) -> bool:
        """The target did not answer in time, or said what it would say the next time as well."""
        if self.code in ("upstream_timeout", "upstream_redirect") or self.status in LASTING:
            return True
        # A firewall that blocks this call blocks it the next time too.
        return self.code == "upstream_unavailable" and 400 <= self.status < 500


@dataclass(frozen=True, slots=True)
class Whole:
    """The client has a whole answer."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The answer broke off after the client had seen its first content."""

    code: str
    reason: str
    streamed: bool = False
    """It is an event stream."""
    announced: bool = False
    """The provider said so itself, in an error event that has passed."""
    split: bool = False
    """Part of an event has passed without its rest."""


Verdict = Failed | Refused | Whole | Cut


def judge(status: int, headers: Sequence[Header], body: bytes, source: Source = UNKNOWN) -> Failed | Refused:
    """What a whole answer with a status above 299 means."""
    if status < 400:
        return Failed("upstream_redirect", Reach.UNANSWERED, f"redirect {status}", status=status)
    value = value_in(body)
    told = read(value) if value is not None else read_text(body)
    page = value is None and body.strip()[:1] not in (b"", b"{", b"[")
    meaning = meaning_of(told, status, source.type, page)
    return _verdict(meaning, status, f"status {status}", told, value, body, headers, source)


def told_in_200(error: Any, source: Source = UNKNOWN) -> Failed | Refused:
    """
    An error told inside a 200, before any content: it is judged as the same error with the HTTP status it names, or
    that its type has. *error* is the error object, or a vendor's whole answer around it.
    """
    told = read(error)
    meaning = meaning_of(told, told.status, source.type) if told.says else Meaning.FAILED
    return _verdict(meaning, told.status, "error event", told, error, b"", (), source)


def meaning_of(told: Told, status: int, provider: str, page: bool = False) -> Meaning:
    """
    What an error means: by the table, and where no row knows it by its status (0: it tells none). *page*: it is no
    answer of an API but some text or page.
    """
    row = find(told, status, provider, ROWS)
    if row is not None and not (status == 429 and row.meaning in _SOFTER_THAN_429):
        return row.meaning
    if page and status in (403, 404):
        return Meaning.UNREACHABLE
    if status == 404 and told.param == "model":
        return Meaning.MODEL_NOT_FOUND
    if status == 404 and not told.says:
        # It names nothing that is missing, so it is the path, which another provider may have.
        return Meaning.ELSEWHERE
    return _BY_STATUS.get(status, Meaning.REQUEST if 400 <= status < 500 else Meaning.FAILED)


_BY_STATUS = {
    401: Meaning.KEY,
    402: Meaning.MONEY,
    429: Meaning.RATE,
    503: Meaning.OVERLOADED,
    504: Meaning.TIMEOUT,
    529: Meaning.OVERLOADED,
}
"""What a status means by itself. Any other 4xx is the caller's, a 403 as well: it refuses this call and no more."""

_SOFTER_THAN_429 = (Meaning.OVERLOADED, Meaning.TIMEOUT, Meaning.REQUEST)
"""What a 429 is a 429 beside: the target rests all the same."""

_FAILURES: dict[Meaning, tuple[str, Reach]] = {
    # The gateway's key, not the client's: never shown as a 401, and never with the provider's words, which quote it.
    Meaning.KEY: ("upstream_auth_error", Reach.REFUSED),
    Meaning.MONEY: ("insufficient_quota", Reach.REFUSED),
    Meaning.RATE: ("rate_limit_exceeded", Reach.REFUSED),
    Meaning.OVERLOADED: ("upstream_unavailable", Reach.REFUSED),
    Meaning.UNREACHABLE: ("upstream_unavailable", Reach.REFUSED),
    Meaning.TIMEOUT: ("upstream_timeout", Reach.UNANSWERED),
    Meaning.FAILED: ("upstream_error", Reach.UNANSWERED),
    Meaning.CONTEXT: ("context_length_exceeded", Reach.TOO_LONG),
    Meaning.ELSEWHERE: ("upstream_refused", Reach.ELSEWHERE),
    Meaning.MODEL_NOT_FOUND: ("model_not_found", Reach.ELSEWHERE),
}
_IN_ITS_WORDS = (Meaning.RATE, Meaning.OVERLOADED, Meaning.TIMEOUT, Meaning.FAILED)
"""Failures that the client may read of in the provider's words."""
_NAME = re.compile(r"[\w.-]{1,64}")
"""A code as logs and metrics take it."""
_REFUSALS = (Meaning.REQUEST, Meaning.CONTEXT, Meaning.ELSEWHERE, Meaning.MODEL_NOT_FOUND)


def _verdict(
    meaning: Meaning,
    status: int,
    reason: str,
    told: Told,
    value: Any,
    body: bytes,
    headers: Sequence[Header],
    source: Source,
) -> Failed | Refused:
    refused = None
    if meaning in _REFUSALS:
        public = _public_status(meaning, status)
        known = _FAILURES[meaning][0] if meaning in (Meaning.CONTEXT, Meaning.MODEL_NOT_FOUND) else ""
        shown = refusal.render(public, headers, body, value, told, source.keys, known)
        refused = Refused(public, *shown, known or (told.code if _NAME.fullmatch(told.code) else ""))
        if meaning is Meaning.REQUEST:
            return refused
    code, reach = _FAILURES[meaning]
    words = mask(told.message, source.keys) if meaning in _IN_ITS_WORDS and value is not None else ""
    if meaning is Meaning.UNREACHABLE:
        reason += ", a page or a firewall"
    # A failure that was told in a 200 came after work: unlike a 500 it is no reason to ask the same target at once.
    status = 0 if not body and status == 500 else status
    return Failed(code, reach, reason, retry_after(headers), status, refused, words)


def _public_status(meaning: Meaning, status: int) -> int:
    """The status a refusal has for the client: the provider's, unless the client would take it for another thing."""
    if 400 <= status < 500 and status not in (401, 429):
        return status
    return {Meaning.ELSEWHERE: 403, Meaning.MODEL_NOT_FOUND: 404}.get(meaning, 400)


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
