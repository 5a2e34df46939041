"""What the end of an attempt says of its target: what its breaker hears, and whether others would say the same."""

import pytest

from proxy.providers.breaker import Judgement
from proxy.relay.blame import blames_the_request, is_of_this_call, judgement
from proxy.relay.resume import MISMATCH
from proxy.relay.verdict import Cut, Failed, Reach, Refused, Verdict, Whole
from proxy.relay.watch import STREAM_OVER

FLAGGED = Failed("content_policy", Reach.ELSEWHERE, "status 403", status=403, refusal=Refused(403, (), b"{}"))
KEY = Failed("upstream_auth_error", Reach.ELSEWHERE, "status 401", status=401)


def cut(code: str, reason: str) -> Cut:
    return Cut(code, reason, streamed=True, announced=False, split=False)


@pytest.mark.parametrize(
    ("verdict", "judged"),
    [
        (Whole(), Judgement.SUCCESS),
        *[(Refused(status, (), b"{}"), Judgement.EXCLUDED) for status in (400, 404, 408, 409, 413, 422, 425, 451)],
        (FLAGGED, Judgement.EXCLUDED),
        (KEY, Judgement.EXCLUDED),
        (Failed("rate_limit_exceeded", Reach.REFUSED, "status 429", status=429), Judgement.EXCLUDED),
        (Failed("upstream_unavailable", Reach.REFUSED, "status 503", status=503), Judgement.FAILURE),
        (Failed("upstream_error", Reach.UNANSWERED, "status 500", status=500), Judgement.FAILURE),
        (Failed("upstream_connect_error", Reach.NEVER_SENT, "connect"), Judgement.FAILURE),
        (cut("upstream_truncated", "connection reset"), Judgement.FAILURE),
        (cut("upstream_timeout", "stalled"), Judgement.FAILURE),
        (cut("upstream_timeout", STREAM_OVER), Judgement.EXCLUDED),
        (cut("upstream_truncated", MISMATCH), Judgement.EXCLUDED),
        (cut("shutting_down", "shutdown timeout"), Judgement.EXCLUDED),
    ],
    ids=str,
)
def test_only_what_a_target_does_wrong_counts_against_it(verdict: Verdict, judged: Judgement) -> None:
    assert judgement(verdict) is judged


def test_a_refusal_another_account_may_not_share_blames_neither_the_request_nor_the_targets_pace() -> None:
    assert not blames_the_request(FLAGGED)
    assert blames_the_request(Refused(400, (), b"{}"))
    assert is_of_this_call(FLAGGED)
    # A key that is refused is refused to all, and fast.
    assert not is_of_this_call(KEY)
