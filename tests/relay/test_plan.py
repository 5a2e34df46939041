"""What is done after which failure: every rule of the attempt loop as literal steps, on a clock that is a number."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.budget import RetryBudget
from proxy.relay.plan import LONGEST_WAIT, SHORT_WAIT, Plan
from proxy.relay.step import Rules, Try
from proxy.relay.verdict import Failed, Reach, Refused

NOW = 1000.0

CRASH = Failed("upstream_error", Reach.UNANSWERED, "status 500", status=500)
BAD_GATEWAY = Failed("upstream_error", Reach.UNANSWERED, "status 502", status=502)
UNREACHED = Failed("upstream_connect_error", Reach.NEVER_SENT, "connect: ConnectionRefusedError")
LOST = Failed("upstream_truncated", Reach.UNANSWERED, "connection reset")
SILENT = Failed("upstream_timeout", Reach.UNANSWERED, "no content in time")
BUSY = Failed("upstream_unavailable", Reach.REFUSED, "status 503", status=503)
LIMITED = Failed("rate_limit_exceeded", Reach.REFUSED, "status 429", 3.0, 429)
BAD_KEY = Failed("upstream_auth_error", Reach.REFUSED, "status 401", status=401)
SPENT = Failed("insufficient_quota", Reach.REFUSED, "status 402", status=402)
TOO_LONG = Failed("context_length_exceeded", Reach.TOO_LONG, "too long", status=400, refusal=Refused(400, (), b"{}"))
STOPPING = Failed("shutting_down", Reach.UNANSWERED, "shutdown timeout")


class NoJitter(random.Random):
    """Draws the upper end of every range, so that tables may hold round numbers."""

    def uniform(self, a: float, b: float) -> float:
        return b


@dataclass
class Offer:
    available: Sequence[str]
    resting: Sequence[tuple[str, float]] = ()
    despite: bool = False


@dataclass
class Town:
    """The targets of every model, told to rest, shut out or brought back by a test."""

    models: dict[str | None, list[str]]
    out: set[str] = field(default_factory=set)
    rests: dict[str, float] = field(default_factory=dict)

    def choose(self, model: str | None, now: float) -> Offer:
        targets = self.models[model]
        resting = [(target, self.rests[target]) for target in targets if self.rests.get(target, 0.0) > now]
        names = {target for target, _ in resting}
        return Offer([target for target in targets if target not in self.out | names], resting)


def plan(town: Town, **changes: Any) -> Plan[str]:
    facts: dict[str, Any] = {
        "model": "big",
        "fallbacks": [model for model in town.models if model == "small"],
        "context_fallbacks": [model for model in town.models if model == "long"],
        "choose": town.choose,
        "rules": Rules(retries=2, initial_delay=0.1, max_delay=5.0, multiplier=2.0),
        "may_repeat": lambda failed: True,
        "deadline": NOW + 100.0,
        "retry_budget": RetryBudget(0.2),
        "hedge_budget": RetryBudget(0.05, reserve=5.0),
        "rng": NoJitter(),
    }
    return Plan(**{**facts, **changes})


def big(*targets: str, **models: list[str]) -> Town:
    return Town({"big": list(targets), **models})


def steps(plan: Plan[str], *failures: Failed, now: float = NOW, take: float = 0.0) -> str:
    """Every step in words, until the failures are used up or the plan gives up: `a b+0.1 -`."""
    told = []
    step = plan.first(now)
    for failed in failures:
        if step is None:
            break
        told.append(_word(step))
        now += step.delay + take
        step = plan.after(step.target, failed, now)
    told.append(_word(step))
    return " ".join(told)


def _word(step: Try[str] | None) -> str:
    if step is None:
        return "-"
    return f"{step.target}+{step.delay:g}" if step.delay else step.target


# Which failure leads where.

THREE = ("a", "b", "c")


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        ([CRASH], "a a+0.1"),
        ([CRASH, CRASH], "a a+0.1 b"),
        ([CRASH, CRASH, CRASH], "a a+0.1 b -"),
        # The last try is not spent on one that has just failed while another has not been asked.
        ([BAD_GATEWAY, CRASH], "a b c"),
        ([BAD_GATEWAY, CRASH, CRASH], "a b c -"),
        ([CRASH, SILENT], "a a+0.1 b"),
    ],
)
def test_a_500_is_asked_once_more_after_a_pause_and_then_the_next(failures: list[Failed], told: str) -> None:
    assert steps(plan(big(*THREE)), *failures) == told


@pytest.mark.parametrize("failed", [UNREACHED, LOST, BAD_GATEWAY, SILENT, BUSY, LIMITED, BAD_KEY, SPENT])
def test_any_other_failure_goes_to_the_next_at_once_and_never_to_more_than_retries(failed: Failed) -> None:
    assert steps(plan(big(*THREE, "d")), *[failed] * 3) == "a b c -"


@pytest.mark.parametrize(("retries", "told"), [(0, "a -"), (1, "a b -"), (2, "a b c -"), (3, "a b c d -")])
def test_retries_count_the_attempts_after_the_first(retries: int, told: str) -> None:
    rules = Rules(retries, 0.1, 5.0, 2.0)
    assert steps(plan(big("a", "b", "c", "d"), rules=rules), *[LOST] * 4) == told


@pytest.mark.parametrize(("retries", "told"), [(0, "a -"), (1, "a b -"), (3, "a a+0.1 b c -")])
def test_the_second_asking_of_a_500_is_a_retry_like_any_other(retries: int, told: str) -> None:
    assert steps(plan(big(*THREE), rules=Rules(retries, 0.1, 5.0, 2.0)), CRASH, CRASH, LOST, LOST) == told


@pytest.mark.parametrize("failed", [CRASH, LOST, UNREACHED, BAD_GATEWAY])
def test_the_only_target_is_asked_again_with_growing_pauses_as_often_as_retries_go(failed: Failed) -> None:
    rules = Rules(4, 0.1, 0.3, 2.0)
    assert steps(plan(big("a"), rules=rules), *[failed] * 5) == "a a+0.1 a+0.2 a+0.3 a+0.3 -"


def test_before_a_fallback_the_only_target_is_asked_again_only_once() -> None:
    assert steps(plan(big("a", small=["s"])), LOST, LOST, LOST) == "a a+0.1 s s+0.1"


@pytest.mark.parametrize("failed", [SILENT, Failed("upstream_redirect", Reach.UNANSWERED, "redirect 302", status=302)])
def test_what_is_silent_or_would_say_the_same_again_is_not_asked_again(failed: Failed) -> None:
    assert steps(plan(big("a")), failed) == "a -"
    assert steps(plan(big("a", "b")), failed, failed) == "a b -"


def test_a_silent_target_is_not_waited_for_when_another_calls_429_sends_it_to_rest() -> None:
    town = big("a", "b")
    planned = plan(town)
    assert planned.first(NOW) == Try("a", "big")
    assert planned.after("a", SILENT, NOW + 1) == Try("b", "big")
    town.rests = {"a": NOW + 3, "b": NOW + 4}
    assert planned.after("b", LIMITED, NOW + 1) == Try("b", "big", 3.25)


def test_a_pause_is_drawn_between_nothing_and_its_ceiling() -> None:
    delays = []
    for seed in range(200):
        planned = plan(big("a"), rng=random.Random(seed))
        planned.first(NOW)
        step = planned.after("a", CRASH, NOW)
        assert step is not None
        delays.append(step.delay)
    assert 0.0 <= min(delays) < 0.01
    assert 0.09 < max(delays) <= 0.1
    assert 0.04 < sum(delays) / len(delays) < 0.06


def test_what_broke_down_with_its_500_is_not_asked_again_while_there_is_another() -> None:
    town = big("a", "b")
    planned = plan(town)
    planned.first(NOW)
    town.out = {"a"}
    assert planned.after("a", CRASH, NOW) == Try("b", "big")


def test_when_there_is_no_time_for_the_pause_after_a_500_the_next_is_asked_at_once() -> None:
    planned = plan(big("a", "b"), deadline=NOW + 0.1)
    planned.first(NOW)
    assert planned.after("a", CRASH, NOW + 0.05) == Try("b", "big")


def test_another_key_of_a_target_is_asked_after_the_other_targets() -> None:
    # The target is still there though its key has been parked: it has another.
    for failed in (BAD_KEY, SPENT, LIMITED):
        assert steps(plan(big("a")), *[failed] * 3) == "a a a -"
        assert steps(plan(big("a", "b")), *[failed] * 3) == "a b b -"


@pytest.mark.parametrize("failed", [BAD_KEY, SPENT])
def test_a_target_without_another_key_is_not_asked_again(failed: Failed) -> None:
    town = big("a", small=["s"])
    planned = plan(town)
    planned.first(NOW)
    town.out = {"a"}
    assert planned.after("a", failed, NOW) == Try("s", "small")


# Rests.


@pytest.mark.parametrize(
    ("rests", "fallback", "delay"),
    [
        (3.0, True, 3.25),
        (1.0, True, 1.1),
        (SHORT_WAIT, True, SHORT_WAIT + 0.25),
        (SHORT_WAIT + 0.1, True, None),
        (SHORT_WAIT + 0.1, False, SHORT_WAIT + 0.35),
        (59.0, False, 59.25),
        (LONGEST_WAIT, False, LONGEST_WAIT + 0.25),
        (LONGEST_WAIT + 0.1, False, None),
    ],
)
def test_a_rest_is_waited_out_shortly_before_a_fallback_and_longer_with_nowhere_to_go(
    rests: float, fallback: bool, delay: float | None
) -> None:
    town = big("a", small=["s"]) if fallback else big("a")
    planned = plan(town)
    planned.first(NOW)
    town.rests = {"a": NOW + rests}
    step = planned.after("a", LIMITED, NOW)
    if delay is None:
        assert step == (Try("s", "small") if fallback else None)
    else:
        assert step is not None
        assert (step.target, step.model) == ("a", "big")
        assert step.delay == pytest.approx(delay)


def test_another_target_is_asked_at_once_without_a_wait() -> None:
    town = big("a", "b", small=["s"])
    planned = plan(town)
    planned.first(NOW)
    town.rests = {"a": NOW + 0.1}
    assert planned.after("a", LIMITED, NOW) == Try("b", "big")


def test_of_several_that_rest_the_first_to_return_is_waited_for_and_each_only_once() -> None:
    town = big("a", "b", small=["s"])
    planned = plan(town, rules=Rules(5, 0.1, 5.0, 2.0))
    planned.first(NOW)
    town.rests = {"a": NOW + 4}
    assert planned.after("a", LIMITED, NOW) == Try("b", "big")
    town.rests["b"] = NOW + 1
    assert planned.after("b", LIMITED, NOW) == Try("b", "big", 1.1)
    town.rests["b"] = NOW + 3
    step = planned.after("b", LIMITED, NOW + 2)
    assert step is not None
    assert (step.target, round(step.delay, 6)) == ("a", 2.2)
    town.rests["a"] = NOW + 6
    assert planned.after("a", LIMITED, NOW + 4.2) == Try("s", "small")


@pytest.mark.parametrize(("deadline", "waits"), [(2.9, False), (3.0, False), (3.001, True), (3.2, True), (3.3, True)])
def test_no_wait_leads_past_the_deadline_with_its_jitter(deadline: float, waits: bool) -> None:
    town = big("a")
    planned = plan(town, deadline=NOW + deadline)
    planned.first(NOW)
    town.rests = {"a": NOW + 3.0}
    step = planned.after("a", LIMITED, NOW)
    assert (step is not None) is waits
    if step is not None:
        assert 3.0 <= step.delay < deadline


def test_a_call_that_finds_every_target_resting_begins_with_a_wait() -> None:
    town = big("a", "b", small=["s"])
    town.rests = {"a": NOW + 30, "b": NOW + 2}
    assert plan(town).first(NOW) == Try("b", "big", 2.2)
    town.rests = {"a": NOW + 30, "b": NOW + 20}
    assert plan(town).first(NOW) == Try("s", "small")
    town.rests["s"] = NOW + 90
    assert plan(town).first(NOW) is None


def test_a_rest_without_a_known_end_is_not_waited_for() -> None:
    town = big("a")
    planned = plan(town)
    planned.first(NOW)
    town.out = {"a"}
    assert planned.after("a", LIMITED, NOW) is None


# After a delay the world may be another one.


def paused(town: Town, **changes: Any) -> tuple[Plan[str], Try[str]]:
    """A plan that is to ask `a` once more after a pause."""
    planned = plan(town, **changes)
    planned.first(NOW)
    step = planned.after("a", CRASH, NOW)
    assert step == Try("a", "big", 0.1)
    return planned, step


def test_a_step_whose_target_is_still_there_is_taken_after_its_delay() -> None:
    planned, step = paused(big("a", "b"))
    assert planned.still(step, NOW + 0.1) == Try("a", "big")
    assert planned.after("a", CRASH, NOW + 0.2) == Try("b", "big")


@pytest.mark.parametrize("how", ["out", "rests"])
def test_a_step_whose_target_is_gone_after_its_delay_goes_elsewhere_and_did_not_happen(how: str) -> None:
    town = big("a", "b", "c")
    planned, step = paused(town)
    if how == "out":
        town.out = {"a"}
    else:
        town.rests = {"a": NOW + 50}
    assert planned.still(step, NOW + 0.1) == Try("b", "big")
    # The attempt at `a` that did not happen left room for this one.
    assert planned.after("b", LOST, NOW + 0.2) == Try("c", "big")
    assert planned.after("c", LOST, NOW + 0.3) is None


def test_a_target_that_was_waited_for_and_rests_again_is_not_waited_for_again() -> None:
    town = big("a", small=["s"])
    town.rests = {"a": NOW + 2}
    planned = plan(town)
    step = planned.first(NOW)
    assert step == Try("a", "big", 2.2)
    town.rests = {"a": NOW + 4}
    assert planned.still(step, NOW + 2.2) == Try("s", "small")


def test_a_target_that_was_waited_for_in_vain_is_asked_when_it_is_back() -> None:
    town = big("a", "b")
    town.rests = {"a": NOW + 2, "b": NOW + 3}
    planned = plan(town)
    step = planned.first(NOW)
    assert step == Try("a", "big", 2.2)
    town.rests["a"] = NOW + 4
    step = planned.still(step, NOW + 2.2)
    assert step is not None
    assert (step.target, round(step.delay, 6)) == ("b", 0.88)
    assert planned.still(step, NOW + 3.5) == Try("b", "big")
    assert planned.after("b", LOST, NOW + 5) == Try("a", "big")


def test_after_a_delay_that_lasted_too_long_nothing_is_asked() -> None:
    planned, step = paused(big("a", "b"), deadline=NOW + 1)
    assert planned.still(step, NOW + 1) is None


# Other models.


def test_a_fallback_is_asked_when_no_target_is_left_with_retries_of_its_own() -> None:
    town = big("a", "b", small=["s", "t", "u", "v"])
    planned = plan(town)
    assert steps(planned, *[LOST] * 8) == "a b b+0.1 s t u -"
    assert planned.model == "small"


def test_fallbacks_are_tried_in_order_and_each_once() -> None:
    town = Town({"big": ["a"], "small": ["s"], "tiny": ["t"], "none": []})
    names = ["none", "small", "big", "tiny", "small"]
    assert steps(plan(town, fallbacks=names), *[SILENT] * 4) == "a s t -"


def test_a_fallback_named_twice_has_its_retries_once() -> None:
    town = Town({"big": ["a"], "small": ["s", "t", "u"]})
    planned = plan(town, fallbacks=["small", "small"], rules=Rules(1, 0.1, 5.0, 2.0))
    assert steps(planned, *[SILENT] * 4) == "a s t -"


def test_a_fallback_that_leads_to_a_target_already_asked_is_passed_over() -> None:
    town = Town({"big": ["a"], "small": ["a"], "tiny": ["a", "t"]})
    assert steps(plan(town, fallbacks=["small", "tiny"]), *[SILENT] * 4) == "a t -"


def test_a_context_that_is_too_long_goes_to_a_longer_model_and_not_to_another_target() -> None:
    town = big("a", "b", small=["s"], long=["l", "m"])
    assert steps(plan(town), TOO_LONG) == "a l"
    assert steps(plan(town), TOO_LONG, LOST, LOST) == "a l m m+0.1"
    assert steps(plan(town), TOO_LONG, TOO_LONG) == "a l -"


def test_a_target_that_found_it_too_long_is_not_waited_for_under_another_name() -> None:
    town = big("a", long=["a"])
    planned = plan(town)
    planned.first(NOW)
    town.rests = {"a": NOW + 1}
    assert planned.after("a", TOO_LONG, NOW) is None


def test_without_longer_models_it_goes_to_the_fallbacks() -> None:
    assert steps(plan(big("a", "b", small=["s", "t"])), TOO_LONG, TOO_LONG) == "a s -"
    assert steps(plan(big("a", "b")), TOO_LONG) == "a -"


def test_a_fallback_that_finds_it_too_long_hands_it_on_to_a_longer_model() -> None:
    assert steps(plan(big("a", small=["s"], long=["l"])), SILENT, TOO_LONG, TOO_LONG) == "a s l -"


def test_a_call_without_a_model_has_no_fallbacks_but_targets() -> None:
    town = Town({None: ["a", "b"]})
    assert steps(plan(town, model=None), UNREACHED, UNREACHED) == "a b b+0.1"


# What ends a plan.


@pytest.mark.parametrize("failed", [CRASH, LOST, UNREACHED, LIMITED, BAD_KEY, TOO_LONG])
def test_after_the_deadline_nothing_is_asked(failed: Failed) -> None:
    town = big("a", "b", small=["s"], long=["l"])
    assert steps(plan(town, deadline=NOW + 5), failed, take=5.0) == "a -"
    assert plan(town, deadline=NOW).first(NOW) is None
    assert plan(town, deadline=NOW).beside(NOW) is None


@pytest.mark.parametrize(
    ("failed", "told"),
    [(UNREACHED, "a b"), (BUSY, "a b"), (LIMITED, "a b"), (LOST, "a -"), (CRASH, "a -"), (SILENT, "a -")],
)
def test_what_must_not_be_repeated_goes_on_only_if_it_was_not_worked_on(failed: Failed, told: str) -> None:
    planned = plan(big("a", "b"), may_repeat=lambda failed: failed.reach is not Reach.UNANSWERED)
    assert steps(planned, failed) == told


def test_a_gateway_that_stops_asks_no_target() -> None:
    planned = plan(big("a", "b"), may_repeat=lambda failed: failed.code != "shutting_down")
    assert steps(planned, STOPPING) == "a -"


def test_without_a_token_the_failure_stands() -> None:
    budget = RetryBudget(0.2, reserve=2.0, trickle=0.0)
    town = big("a", "b", "c", small=["s"])
    assert steps(plan(town, retry_budget=budget), LOST, LOST, LOST) == "a b c -"
    assert steps(plan(town, retry_budget=budget), LOST) == "a -"
    assert (budget.granted_total, budget.refused_total) == (2, 2)


def test_a_course_that_gives_up_takes_no_token() -> None:
    budget = RetryBudget(0.2, reserve=2.0, trickle=0.0)
    assert steps(plan(big("a"), retry_budget=budget), SILENT) == "a -"
    assert (budget.granted_total, budget.refused_total) == (0, 0)


def test_no_target_to_ask_is_no_step() -> None:
    town = big("a", "b")
    town.out = {"a", "b"}
    assert plan(town).first(NOW) is None


def test_every_failure_is_remembered_in_order() -> None:
    planned = plan(big(*THREE))
    steps(planned, LOST, LIMITED, SILENT)
    assert planned.failures == [LOST, LIMITED, SILENT]


# Beside one that is silent.


def test_the_next_target_is_asked_beside_a_silent_one_and_counts_as_an_attempt() -> None:
    planned = plan(big("a", "b", "c", "d"))
    planned.first(NOW)
    assert planned.beside(NOW + 1) == Try("b", "big")
    planned.note("b", LOST)
    assert planned.after("a", SILENT, NOW + 2) == Try("c", "big")
    assert planned.after("c", LOST, NOW + 3) is None
    assert planned.failures == [LOST, SILENT, LOST]


def test_no_target_is_asked_beside_when_all_have_been_asked_or_retries_are_spent() -> None:
    planned = plan(big("a", "b"))
    planned.first(NOW)
    assert planned.beside(NOW) == Try("b", "big")
    assert planned.beside(NOW) is None
    planned = plan(big("a", "b"), rules=Rules(0, 0.1, 5.0, 2.0))
    planned.first(NOW)
    assert planned.beside(NOW) is None


def test_what_is_asked_beside_is_paid_from_its_own_budget() -> None:
    retries, hedges = RetryBudget(0.2, reserve=5.0, trickle=0.0), RetryBudget(0.05, reserve=1.0, trickle=0.0)
    for step in (Try("b", "big"), None):
        planned = plan(big("a", "b"), retry_budget=retries, hedge_budget=hedges)
        planned.first(NOW)
        assert planned.beside(NOW) == step
    assert (retries.granted_total, hedges.granted_total) == (0, 1)


def test_one_that_kept_silent_beside_another_is_not_waited_for_either() -> None:
    town = big("a", "b")
    planned = plan(town)
    planned.first(NOW)
    planned.beside(NOW)
    planned.note("b", SILENT)
    town.rests = {"a": NOW + 60, "b": NOW + 2}
    step = planned.after("a", LIMITED, NOW)
    assert step is not None
    assert step.target == "a"


# Whether a slow target may be given up.


def test_there_is_an_alternative_while_another_target_could_be_asked_now() -> None:
    town = big("a", "b", small=["s"])
    planned = plan(town)
    planned.first(NOW)
    assert planned.has_alternative(NOW)
    town.out = {"b"}
    assert planned.has_alternative(NOW)
    town.out = {"b", "s"}
    assert not planned.has_alternative(NOW)


def test_there_is_none_in_what_may_not_be_repeated_or_paid_for() -> None:
    broke = RetryBudget(0.2, reserve=0.0, trickle=0.0)
    for changes in ({"may_repeat": lambda failed: failed.reach is not Reach.UNANSWERED}, {"retry_budget": broke}):
        planned = plan(big("a", "b", small=["s"]), **changes)
        planned.first(NOW)
        assert not planned.has_alternative(NOW)


def test_there_is_none_once_retries_are_spent_but_a_fallback_has_its_own() -> None:
    rules = Rules(0, 0.1, 5.0, 2.0)
    for town, expected in ((big("a", "b"), False), (big("a", "b", small=["s"]), True), (big("a", small=["a"]), False)):
        planned = plan(town, rules=rules)
        planned.first(NOW)
        assert planned.has_alternative(NOW) is expected


# Any plan at all.

FAILURES = (CRASH, BAD_GATEWAY, UNREACHED, LOST, SILENT, BUSY, LIMITED, BAD_KEY, SPENT, TOO_LONG)


@given(
    st.integers(0, 3),
    st.lists(st.sampled_from(FAILURES), min_size=30, max_size=30),
    st.lists(st.tuples(st.sampled_from("abst"), st.floats(0.0, 90.0)), max_size=8),
    st.randoms(use_true_random=False),
)
def test_every_course_ends_and_asks_no_model_more_often_than_it_may(
    retries: int, failures: list[Failed], rests: list[tuple[str, float]], rng: random.Random
) -> None:
    town = Town({"big": ["a", "b"], "small": ["s", "t"], "long": ["l"]})
    planned = plan(town, rules=Rules(retries, 0.1, 5.0, 2.0), rng=rng)
    now, asked, silent = NOW, [], set()
    step = planned.first(now)
    for failed in failures:
        while step is not None and step.delay:
            now += step.delay
            assert now < planned.deadline
            step = planned.still(step, now)
        if step is None:
            break
        assert now < planned.deadline
        assert step.target in town.choose(step.model, now).available
        assert step.target not in silent
        asked.append(step.model)
        if failed.lasting:
            silent.add(step.target)
        if failed is LIMITED:
            town.rests[step.target] = now + 3.0
        if rests:
            target, seconds = rests.pop()
            town.rests[target] = now + seconds
        step = planned.after(step.target, failed, now)
    assert step is None
    assert all(asked.count(model) <= 1 + retries for model in asked)


# A refusal that another account or target may not share.

FLAGGED = Failed("content_policy", Reach.ELSEWHERE, "status 403", status=403, refusal=Refused(403, (), b"{}"))


def test_what_another_target_may_answer_goes_to_each_of_them_once_and_then_to_the_fallbacks() -> None:
    assert steps(plan(big("a")), FLAGGED) == "a -"
    assert steps(plan(big("a", "b")), FLAGGED, FLAGGED) == "a b -"
    town = big("a", "b", small=["s"])
    assert steps(plan(town), FLAGGED, FLAGGED, FLAGGED) == "a b s -"


def test_it_is_not_asked_of_the_same_target_again_even_when_that_has_another_key_or_comes_back_from_a_rest() -> None:
    town = big("a", "b")
    planned = plan(town)
    planned.first(NOW)
    assert planned.after("a", FLAGGED, NOW) == Try("b", "big")
    town.rests = {"a": NOW + 1, "b": NOW + 2}
    step = planned.after("b", LIMITED, NOW)
    assert step is not None
    assert step.target == "b"


def test_a_key_that_is_refused_leaves_its_target_to_its_other_keys() -> None:
    refused = Failed("upstream_auth_error", Reach.ELSEWHERE, "status 401", status=401)
    assert steps(plan(big("a")), refused, refused) == "a a a"


# A 429 that names no time.

UNTOLD = Failed("rate_limit_exceeded", Reach.REFUSED, "status 429", None, 429)


def test_a_rest_that_was_a_guess_is_waited_for_again_as_often_as_retries_go() -> None:
    town = big("a")
    planned = plan(town)
    step = planned.first(NOW)
    assert step == Try("a", "big")
    for rest in (0.5, 1.0):
        town.rests = {"a": NOW + rest}
        step = planned.after("a", UNTOLD, NOW)
        assert step is not None
        assert step.delay == pytest.approx(1.1 * rest)
        town.rests = {}
        assert planned.still(step, NOW + step.delay) == Try("a", "big")
    town.rests = {"a": NOW + 2.0}
    assert planned.after("a", UNTOLD, NOW) is None


def test_a_rest_that_was_told_and_told_again_is_waited_for_once() -> None:
    town = big("a")
    planned = plan(town)
    planned.first(NOW)
    town.rests = {"a": NOW + 0.5}
    step = planned.after("a", LIMITED, NOW)
    assert step is not None
    assert planned.after("a", LIMITED, NOW) is None


@pytest.mark.parametrize(
    ("rules", "rests"),
    [
        (Rules(2, 0.1, 5.0, 2.0), [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]),
        (Rules(2, 1.0, 10.0, 3.0), [1.0, 3.0, 9.0, 10.0]),
        (Rules(2, 0.001, 0.002, 2.0), [0.5, 0.5]),
    ],
)
def test_rests_follow_the_rules_of_failover_from_half_a_second_on(rules: Rules, rests: list[float]) -> None:
    assert [rules.rests.after(times + 1) for times in range(len(rests))] == rests


# Continuing an answer that has begun.


def test_what_broke_off_goes_on_with_the_next_target_and_then_with_the_fallbacks() -> None:
    planned = plan(big("a", "b", small=["s", "t"]))
    planned.first(NOW)
    planned.go_on(NOW + 50.0)
    assert planned.after("a", LOST, NOW) == Try("b", "big")
    assert planned.after("b", LOST, NOW) == Try("s", "small")
    assert planned.after("s", LOST, NOW) == Try("t", "small")


def test_what_broke_off_at_the_only_target_goes_to_the_fallback_at_once_and_without_one_to_the_same_again() -> None:
    for town, step in ((big("a", small=["s"]), Try("s", "small")), (big("a"), Try("a", "big", 0.1))):
        planned = plan(town)
        planned.first(NOW)
        planned.go_on(NOW + 50.0)
        assert planned.after("a", LOST, NOW) == step
