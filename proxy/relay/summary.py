"""
What a client is told when no target could answer: one error for all failures, and when to come back.

Only judgements; `relay` sends them.
"""

import math
from collections.abc import Iterable

from proxy.core.errors import ProxyError
from proxy.core.exchange import Exchange
from proxy.core.headers import Header, for_client, value_of
from proxy.providers.pool import Pool
from proxy.relay.verdict import Failed, Reach, Refused

LONGEST_WAIT = 60.0
"""Seconds; a client told to wait longer is told not to try again by itself."""
_PASSING = frozenset(("rate_limit_exceeded", "upstream_unavailable", "overloaded"))
"""What may be over after a wait."""
UNREACHED = frozenset(("upstream_connect_error", "upstream_connect_timeout", "upstream_truncated"))
"""Failures of a provider that is not there."""


def answer_headers(exchange: Exchange) -> list[Header]:
    """Which provider answers, and after how many attempts."""
    if not exchange.attempts:
        return [(b"X-Hapax-Attempts", b"0")]
    return _told(exchange.provider, exchange)


def headers_of(provider: str, exchange: Exchange, headers: list[Header], streamed: bool) -> list[Header]:
    """What the client gets of the *headers* of the answer of *provider*, and what is added to them."""
    told = [*_told(provider, exchange), *for_client(headers)]
    if streamed and value_of(headers, b"content-type") is None:
        told.append((b"Content-Type", b"text/event-stream"))
    return told


def _told(provider: str, exchange: Exchange) -> list[Header]:
    return [
        (b"X-Hapax-Provider", provider.encode("latin-1", "replace")),
        (b"X-Hapax-Attempts", b"%d" % len(exchange.attempts)),
    ]


def refusal_in(failures: list[Failed]) -> Refused | None:
    """
    The refusal that tells most: that the request is too long for what was asked, else why the targets do not serve it,
    where every one of them said so. A target that failed otherwise might have served it.
    """
    too_long = next((failed.refusal for failed in failures if failed.reach is Reach.TOO_LONG), None)
    if too_long is not None or not all(failed.reach is Reach.ELSEWHERE for failed in failures):
        return too_long
    # That a model is missing says less than why it may not be used.
    refusals = [failed.refusal for failed in failures if failed.code != "model_not_found"]
    return next((refusal for refusal in refusals if refusal is not None), failures[0].refusal if failures else None)


def none_asked(pool: Pool, model: str | None, now: float) -> Failed:
    """Why no target of *model* could even be asked."""
    skipped = pool.choose(model, now, new_call=False).skipped
    if skipped and all(reason == "drained" for _, reason in skipped):
        return Failed("provider_drained", Reach.NEVER_SENT, "every target is drained")
    resting = [target for target, reason in skipped if reason == "resting"]
    if any(target.limited for target in resting):
        return Failed("rate_limit_exceeded", Reach.REFUSED, "every target rests")
    return Failed("upstream_unavailable", Reach.NEVER_SENT, "no target is available")


def back_in(pool: Pool, models: Iterable[str | None], now: float) -> float:
    """Seconds until the first target that could answer for one of *models* may be asked; 0 when one may be now."""
    targets = [target for model in models for target in pool.targets(model) if not target.provider.drained]
    return min((target.back_at(now) for target in targets), default=now) - now


def sum_up(failures: list[Failed], exchange: Exchange, back_in: float, repeatable: bool) -> ProxyError:
    """
    The one error for the client: the first that is not a rate limit, or the rate limit if there is nothing else.
    *back_in*: seconds until a target may be asked again; *repeatable*: another call cannot do anything twice.
    """
    # A target that does not serve the call says nothing of whether those would that failed.
    failures = [failed for failed in failures if failed.reach is not Reach.ELSEWHERE] or failures
    chosen = next((failed for failed in failures if failed.reach is not Reach.REFUSED), failures[0])
    told = next((failed for failed in reversed(failures) if failed.code == chosen.code and failed.words), chosen)
    headers = [(name.decode(), value.decode("latin-1")) for name, value in answer_headers(exchange)]
    if any(failed.code == "shutting_down" for failed in failures):
        # Another instance will answer: this is the one failure a client does well to repeat at once.
        return ProxyError("shutting_down", headers=tuple(headers))
    wait = None
    if chosen.code in _PASSING:
        # A target that may be asked at once has failed a moment ago, or another call has its place.
        wait = back_in if back_in > 0 and chosen.code == "rate_limit_exceeded" else max(1.0, back_in)
        headers.append(("Retry-After", str(max(1, math.ceil(wait)))))
        headers.append(("retry-after-ms", str(max(1, math.ceil(wait * 1000)))))
    # An answer of 503 that named no time has cost a try; where none was made, coming back costs nothing.
    spent = any(_is_busy(failed) for failed in failures) and chosen.code == "upstream_unavailable"
    if wait is None or wait > LONGEST_WAIT or not repeatable or spent:
        # Our own tries are spent: a client that repeats them at once only multiplies the load.
        headers.append(("x-should-retry", "false"))
    # What a provider cannot do at all is told as such; every other fault of its own is a bad gateway to the client.
    status = 501 if told.status == 501 else None
    return ProxyError(chosen.code, told.words or None, status=status, headers=tuple(headers))


def _is_busy(failed: Failed) -> bool:
    return failed.code == "upstream_unavailable" and failed.reach is Reach.REFUSED and failed.retry_after is None
