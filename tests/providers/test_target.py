"""One target: whether it may be asked, with which key, and what an attempt leaves behind."""

import random

import pytest

from proxy.providers.breaker import Breaker, BreakerState, Judgement
from proxy.providers.provider import Provider
from proxy.providers.target import LONGEST_REST, Rests, Target

RNG = random.Random(1)
NOW = 100.0


def target_of(*, model: str | None = "m", **facts: int) -> Target:
    """A target of a provider with those facts; two failures in a row open its breaker for about ten seconds."""
    return Target(Provider("p", ["*"], **facts), model, Breaker(100, 30.0, 10.0, 2))


def attempt(target: Target, verdict: Judgement, now: float = NOW) -> int:
    """One attempt from its begin to its end; the key it was made with."""
    permit, key = target.begin(now)
    target.end(permit, verdict, now, RNG)
    return key


def test_it_is_named_as_in_the_configuration() -> None:
    assert str(target_of(model="meta/llama")) == "p/meta/llama"
    assert str(target_of(model=None)) == "p"


def test_it_shows_itself_as_an_operator_would_write_it() -> None:
    target = target_of()
    target.begin(NOW)
    assert repr(target) == f"<Target p/m [1 in flight, {target.breaker!r}]>"


def test_a_fresh_one_is_available() -> None:
    target = target_of()
    assert target.available(NOW)
    assert (target.blocked_by(NOW), target.share(NOW), target.returns_at(NOW)) == ("", 1.0, NOW)


# What is counted.


@pytest.mark.parametrize(
    ("verdict", "errors"), [(Judgement.SUCCESS, 0), (Judgement.FAILURE, 1), (Judgement.EXCLUDED, 0)], ids=str
)
def test_what_an_attempt_took_is_given_back_however_it_ends(verdict: Judgement, errors: int) -> None:
    target = target_of()
    provider = target.provider
    permit, _ = target.begin(NOW)
    assert (target.in_flight, provider.in_flight, provider.request_count) == (1, 1, 1)
    target.end(permit, verdict, NOW, RNG)
    assert (target.in_flight, provider.in_flight, provider.request_count) == (0, 0, 1)
    assert (provider.error_count, target.breaker.failures_total) == (errors, errors)


def test_a_limit_of_attempts_is_the_providers_over_all_its_models() -> None:
    provider = Provider("p", ["*"], max_concurrency=2)
    one, other = (Target(provider, name, Breaker(100, 30.0, 10.0, 2)) for name in ("one", "other"))
    permit, _ = one.begin(NOW)
    assert not other.full
    other.begin(NOW)
    assert [(each.full, each.available(NOW), each.blocked_by(NOW)) for each in (one, other)] == [
        (True, False, "full")
    ] * 2
    one.end(permit, Judgement.SUCCESS, NOW, RNG)
    assert other.available(NOW)


def test_without_a_limit_it_is_never_full() -> None:
    target = target_of()
    for _ in range(1000):
        target.begin(NOW)
    assert target.available(NOW)


# The breaker.


def test_an_open_breaker_keeps_it_out_and_lets_one_probe_back_in() -> None:
    target = target_of()
    for _ in range(2):
        attempt(target, Judgement.FAILURE)
    assert (target.healthy(NOW), target.available(NOW), target.blocked_by(NOW)) == (False, False, "breaker open")
    later = NOW + 15.0
    assert target.available(later)
    permit, _ = target.begin(later)
    assert permit is not None
    assert permit.probe
    assert (target.available(later), target.blocked_by(later)) == (False, "breaker half-open")
    target.end(permit, Judgement.SUCCESS, later, RNG)
    assert target.available(later)
    assert 0 < target.share(later) < 1, "it comes back slowly"


def test_what_is_asked_against_its_breakers_advice_is_not_held_against_it() -> None:
    """Where no other target is left; the breaker's wait is not moved by how that ends."""
    target = target_of()
    for _ in range(2):
        attempt(target, Judgement.FAILURE)
    permit, _ = target.begin(NOW)
    assert permit is None
    target.end(permit, Judgement.FAILURE, NOW, RNG)
    assert (target.breaker.state(NOW), target.breaker.failures_total, target.in_flight) == (BreakerState.OPEN, 2, 0)
    assert target.provider.error_count == 3


# What the probes say.


def test_an_unhealthy_provider_keeps_all_its_targets_out() -> None:
    target = target_of(failure_threshold=1)
    target.provider.health.record(False, NOW, 0.1)
    assert (target.healthy(NOW), target.available(NOW), target.blocked_by(NOW)) == (False, False, "unhealthy")
    target.provider.health.record(True, NOW, 0.1)
    assert target.available(NOW)


def test_a_good_probe_closes_no_breaker() -> None:
    target = target_of()
    for _ in range(2):
        attempt(target, Judgement.FAILURE)
    target.provider.health.record(True, NOW, 0.1)
    assert target.blocked_by(NOW) == "breaker open"


# Keys.


def test_keys_take_turns() -> None:
    target = target_of(key_count=3)
    assert [attempt(target, Judgement.SUCCESS) for _ in range(4)] == [0, 1, 2, 0]


def test_one_resting_key_does_not_stop_the_others() -> None:
    target = target_of(key_count=2)
    target.rest(0, 7.0, NOW)
    assert target.available(NOW)
    assert [attempt(target, Judgement.SUCCESS) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize(
    ("asked", "rests", "told"), [(7.0, 7.0, True), (None, 0.5, False), (3600.0, LONGEST_REST, True), (0.0, 0.0, False)]
)
def test_it_rests_as_long_as_the_provider_asked_within_reason(asked: float | None, rests: float, told: bool) -> None:
    target = target_of()
    target.rest(0, asked, NOW)
    assert (target.returns_at(NOW), target.rests_as_told(NOW)) == (NOW + rests, told)
    assert target.available(NOW) is (rests == 0)
    if rests:
        assert target.blocked_by(NOW) == "resting"
        assert not target.available(NOW + rests - 0.01)
    assert target.available(NOW + rests)


def refused(target: Target, times: int, now: float = NOW, rests: Rests | None = None) -> list[float]:
    """The rests after so many 429s that named no time, each told when the one before is over."""
    lengths = []
    for _ in range(times):
        target.rest(0, None, now, *([rests] if rests else []))
        lengths.append(round(target.returns_at(now) - now, 6))
        now = target.returns_at(now)
    return lengths


def test_rests_of_no_told_length_grow_until_it_has_answered() -> None:
    target = target_of()
    assert refused(target, 6) == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    target.answered()
    assert refused(target, 2, NOW + 100.0) == [0.5, 1.0]
    assert refused(target_of(), 3, rests=Rests(2.0, 3.0, 10.0)) == [2.0, 6.0, 10.0]
    assert refused(target_of(), 2000)[-1] == 5.0


def test_calls_that_are_refused_together_are_one_refusal() -> None:
    target = target_of()
    for _ in range(50):
        target.rest(0, None, NOW)
    assert target.returns_at(NOW) == NOW + 0.5
    target.rest(0, None, NOW + 0.4)
    assert target.returns_at(NOW) == NOW + 0.5
    # What the provider says is believed at once.
    target.rest(0, 7.0, NOW + 0.4)
    assert target.returns_at(NOW) == NOW + 7.4


def test_a_rest_of_no_told_length_may_be_waited_for_and_a_parked_key_may_not() -> None:
    target = target_of()
    assert not target.rests_untold(NOW)
    target.rest(0, None, NOW)
    assert target.rests_untold(NOW)
    assert not target.rests_untold(NOW + 0.5)
    target.provider.park(0, NOW + 300.0)
    assert not target.rests_untold(NOW)


def test_it_is_back_when_its_rest_its_breaker_and_its_health_all_allow_it() -> None:
    target = target_of()
    assert target.back_at(NOW) == NOW
    target.rest(0, 3.0, NOW)
    assert target.back_at(NOW) == NOW + 3.0
    for _ in range(2):
        attempt(target, Judgement.FAILURE)
    opens = target.breaker.available_at(NOW)
    assert NOW + 8.0 <= opens <= NOW + 10.0
    assert target.back_at(NOW) == opens
    assert target.back_at(NOW + 20.0) == NOW + 20.0
    for _ in range(2):
        target.provider.health.record(False, NOW, 0.0)
    assert target.back_at(NOW + 20.0) == NOW + 25.0


def test_a_rest_is_that_models_alone_and_a_parked_key_all_models() -> None:
    provider = Provider("p", ["*"], key_count=2)
    one, other = (Target(provider, name, Breaker(100, 30.0, 10.0, 2)) for name in ("one", "other"))
    one.rest(0, 7.0, NOW)
    one.rest(1, 9.0, NOW)
    assert (one.available(NOW), other.available(NOW)) == (False, True)
    provider.park(0, NOW + 300.0)
    assert [attempt(other, Judgement.SUCCESS) for _ in range(2)] == [1, 1]
    provider.park(1, NOW + 300.0)
    assert (other.available(NOW), other.blocked_by(NOW)) == (False, "parked")
    assert other.returns_at(NOW) == NOW + 300.0


def test_where_one_key_rests_and_the_other_is_parked_no_key_is_left() -> None:
    """The parked key's free place and the resting key's good name do not add up to a key."""
    target = target_of(key_count=2)
    target.rest(0, 7.0, NOW)
    target.provider.park(1, NOW + 300.0)
    assert (target.available(NOW), target.blocked_by(NOW)) == (False, "resting")
    assert target.returns_at(NOW) == NOW + 7.0
    assert target.available(NOW + 7.0)
    assert [attempt(target, Judgement.SUCCESS, NOW + 7.0) for _ in range(2)] == [0, 0]
