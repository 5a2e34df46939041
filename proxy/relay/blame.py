"""
What the end of an attempt says of its target, of the call, or of neither.

Only judgements; `attempts` acts on them.
"""

from proxy.providers.breaker import Judgement
from proxy.relay.absence import has_no_endpoint
from proxy.relay.plan import OF_A_KEY
from proxy.relay.resume import MISMATCH
from proxy.relay.verdict import Cut, Failed, Reach, Refused, Verdict, Whole
from proxy.relay.watch import STREAM_OVER

_BLAMELESS = frozenset(
    ("rate_limit_exceeded", "insufficient_quota", "upstream_auth_error", "context_length_exceeded", "overloaded")
)
"""Failures that say nothing about whether the target works."""

_NO_FAULT = (MISMATCH, STREAM_OVER)
"""Why an answer was broken off that was good, only not in the words another had begun, or for longer than it may be."""


def blames_the_request(verdict: Verdict) -> bool:
    """No other target would say anything better of the same call."""
    return isinstance(verdict, Refused) or (isinstance(verdict, Failed) and verdict.reach is Reach.TOO_LONG)


def is_of_this_call(failed: Failed) -> bool:
    """It was refused for what it asks, which says nothing of how fast the target answers others."""
    return failed.reach is Reach.ELSEWHERE and failed.code not in OF_A_KEY


def is_of_the_provider(verdict: Verdict) -> bool:
    """It failed, and neither for what the call asked nor because the gateway stops: the operator should hear of it."""
    if isinstance(verdict, Failed):
        of_the_call = blames_the_request(verdict) or is_of_this_call(verdict)
        return verdict.code != "shutting_down" and not of_the_call
    return isinstance(verdict, Cut) and verdict.code != "shutting_down" and verdict.reason not in _NO_FAULT


def judgement(verdict: Verdict, searching: bool = False) -> Judgement:
    """What the breaker is told. *searching*: the call only looked for an object that may be elsewhere."""
    if searching and isinstance(verdict, Failed) and has_no_endpoint(verdict):
        return Judgement.EXCLUDED
    if isinstance(verdict, Whole):
        return Judgement.SUCCESS
    if isinstance(verdict, Refused) or verdict.code in _BLAMELESS or verdict.code == "shutting_down":
        return Judgement.EXCLUDED
    if isinstance(verdict, Failed) and verdict.reach is Reach.ELSEWHERE:
        return Judgement.EXCLUDED
    if verdict.reason in _NO_FAULT:
        return Judgement.EXCLUDED
    return Judgement.FAILURE
