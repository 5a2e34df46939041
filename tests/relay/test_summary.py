"""The one error a client gets when no target could answer, and the time to come back it is told."""

import pytest

from proxy.core.errors import ProxyError
from proxy.core.exchange import Exchange
from proxy.relay.summary import refusal_in, sum_up
from proxy.relay.verdict import Failed, Reach, Refused

LIMITED = Failed("rate_limit_exceeded", Reach.REFUSED, "status 429", status=429)
BUSY = Failed("upstream_unavailable", Reach.REFUSED, "status 503", status=503)
CRASH = Failed("upstream_error", Reach.UNANSWERED, "status 500", status=500)


def refused(status: int) -> Failed:
    code = "model_not_found" if status == 404 else "upstream_refused"
    return Failed(code, Reach.ELSEWHERE, "refused", status=status, refusal=Refused(status, (), b"{}"))


def told(*failures: Failed, back_in: float = 0.0, repeatable: bool = True) -> tuple[str, dict[str, str]]:
    problem: ProxyError = sum_up([*failures], Exchange("r", started=0.0), back_in, repeatable)
    return problem.code, {name.lower(): value for name, value in problem.headers}


@pytest.mark.parametrize(
    ("failed", "back_in", "seconds", "milliseconds"),
    [
        (LIMITED, 0.5, "1", "500"),
        (LIMITED, 3.2, "4", "3200"),
        # Another target may be asked at once: it has failed a moment ago.
        (LIMITED, 0.0, "1", "1000"),
        (BUSY, 0.0, "1", "1000"),
        (BUSY, 0.2, "1", "1000"),
        (BUSY, 9.1, "10", "9100"),
    ],
)
def test_what_may_be_over_soon_is_told_with_the_time_at_which_a_target_may_be_asked(
    failed: Failed, back_in: float, seconds: str, milliseconds: str
) -> None:
    code, headers = told(failed, back_in=back_in)
    assert code == failed.code
    assert (headers["retry-after"], headers["retry-after-ms"]) == (seconds, milliseconds)
    # A 503 that named no time has cost our own tries: a client that repeats them by itself multiplies the load.
    assert headers.get("x-should-retry") == ("false" if failed is BUSY else None)


@pytest.mark.parametrize(
    "failed",
    [
        Failed("upstream_unavailable", Reach.REFUSED, "status 503", 3.0, 503),
        Failed("upstream_unavailable", Reach.NEVER_SENT, "no target is available"),
    ],
    ids=["it named the time", "none was asked"],
)
def test_a_client_may_come_back_by_itself_when_that_is_not_too_early(failed: Failed) -> None:
    code, headers = told(failed, back_in=3.0)
    assert (code, headers["retry-after"], headers.get("x-should-retry")) == ("upstream_unavailable", "3", None)


def test_a_client_that_would_have_to_wait_for_long_is_told_not_to_come_back_by_itself() -> None:
    _, headers = told(LIMITED, back_in=61.0)
    assert (headers["retry-after"], headers["x-should-retry"]) == ("61", "false")


def test_what_may_have_been_done_already_is_not_to_be_repeated_by_itself() -> None:
    _, headers = told(BUSY, back_in=2.0, repeatable=False)
    assert (headers["retry-after"], headers["x-should-retry"]) == ("2", "false")


def test_a_crash_tells_no_time() -> None:
    code, headers = told(LIMITED, CRASH, back_in=2.0)
    assert (code, headers.get("retry-after"), headers["x-should-retry"]) == ("upstream_error", None, "false")


def test_the_client_reads_the_first_refusal_where_every_target_refused() -> None:
    flagged = refused(403)
    assert refusal_in([flagged, refused(400)]) is flagged.refusal
    assert refusal_in([CRASH, BUSY]) is None


def test_a_refusal_is_not_told_where_a_target_that_failed_might_have_served_the_call() -> None:
    assert refusal_in([refused(403), CRASH]) is None
    assert told(refused(403), BUSY, back_in=2.0)[0] == "upstream_unavailable"


def test_that_a_model_is_not_there_is_told_only_when_all_say_so() -> None:
    unknown = refused(404)
    assert refusal_in([unknown, refused(404)]) is unknown.refusal
    assert refusal_in([unknown, CRASH]) is None
    assert refusal_in([unknown, refused(403)]) is not unknown.refusal
