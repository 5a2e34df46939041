"""The order in which targets are tried."""

import heapq
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.balance import REMEMBERED, Balance
from proxy.providers.breaker import Breaker, Judgement
from proxy.providers.latency import PeakEwma
from proxy.settings.models import BalancePolicy

POLICIES = get_args(BalancePolicy)
DRAWS = 10_000


@dataclass(eq=False)
class Facts:
    """A target as far as a policy may know it."""

    name: str
    in_flight: int = 0
    weight: int = 1
    portion: float = 1.0
    latency: PeakEwma = field(default_factory=PeakEwma)

    def share(self, now: float) -> float:
        return self.portion

    def awaits_probe(self, now: float) -> bool:
        return False


def answering(name: str, seconds: float, in_flight: int = 0) -> Facts:
    facts = Facts(name, in_flight)
    facts.latency.observe(seconds, 0.0)
    return facts


def order(policy: BalancePolicy, candidates: Sequence[Facts], seed: int = 1) -> str:
    return "".join(c.name for c in Balance(policy).order(candidates, 0.0, random.Random(seed)))


def firsts(policy: BalancePolicy, candidates: Sequence[Facts], now: float = 0.0) -> dict[str, float]:
    """How often each is first, as a share of many draws."""
    balance, rng = Balance(policy), random.Random(7)
    counted = Counter(balance.order(candidates, now, rng)[0].name for _ in range(DRAWS))
    return {c.name: counted[c.name] / DRAWS for c in candidates}


def test_preference_keeps_the_order_given() -> None:
    candidates = [Facts("a", in_flight=9, weight=0), answering("b", 0.1), Facts("c")]
    assert {order("preference", candidates, seed) for seed in range(100)} == {"abc"}


def test_round_robin_begins_with_the_next_each_time_and_goes_on_in_turn() -> None:
    balance, rng = Balance("round_robin"), random.Random(1)
    candidates = [Facts("a"), Facts("b"), Facts("c")]
    orders = ["".join(c.name for c in balance.order(candidates, 0.0, rng)) for _ in range(4)]
    assert orders == ["abc", "bca", "cab", "abc"]


def test_weighted_puts_each_first_as_often_as_its_weight_says() -> None:
    candidates = [Facts("a", weight=7), Facts("b", weight=2), Facts("c", weight=1), Facts("d", weight=0)]
    assert firsts("weighted", candidates) == pytest.approx({"a": 0.7, "b": 0.2, "c": 0.1, "d": 0.0}, abs=0.02)


def test_weighted_spills_over_by_weight_too() -> None:
    candidates = [Facts("a", weight=6), Facts("b", weight=3), Facts("c", weight=1)]
    seconds = Counter(order("weighted", candidates, seed)[:2] for seed in range(DRAWS))
    assert seconds["ab"] / (seconds["ab"] + seconds["ac"]) == pytest.approx(3 / 4, abs=0.02)


@pytest.mark.parametrize("policy", ["weighted", "least_requests"])
def test_weight_nothing_is_never_first_unless_alone(policy: BalancePolicy) -> None:
    idle = Facts("z", weight=0)
    others = [Facts("a", in_flight=50), Facts("b", in_flight=90, portion=0.001)]
    assert {order(policy, [idle, *others], seed)[-1] for seed in range(200)} == {"z"}
    assert order(policy, [idle]) == "z"
    assert set(order(policy, [idle, Facts("y", weight=0)])) == {"y", "z"}


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        ([Facts("a", 3), Facts("b", 2)], "ba"),
        # Four of ten is less than one of one, and so is nothing of ten than nothing of one.
        ([Facts("a", 1, weight=1), Facts("b", 4, weight=10)], "ba"),
        ([Facts("a", 0, weight=1), Facts("b", 0, weight=10)], "ba"),
    ],
)
def test_least_requests_prefers_the_one_with_less_in_flight_for_its_weight(
    candidates: list[Facts], expected: str
) -> None:
    assert {order("least_requests", candidates, seed) for seed in range(100)} == {expected}


def test_least_requests_of_many_is_the_better_of_two_and_then_by_load() -> None:
    candidates = [Facts(name, in_flight) for name, in_flight in zip("abcd", (0, 1, 2, 3), strict=True)]
    assert firsts("least_requests", candidates) == pytest.approx(
        {"a": 3 / 6, "b": 2 / 6, "c": 1 / 6, "d": 0.0}, abs=0.02
    )
    assert {order("least_requests", candidates, seed) for seed in range(300)} == {"abcd", "bacd", "cabd"}


def test_equals_are_drawn_alike() -> None:
    candidates = [Facts("a"), Facts("b"), Facts("c")]
    assert firsts("fastest", candidates) == pytest.approx({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, abs=0.02)


def sequence(policy: BalancePolicy, candidates: Sequence[Facts], calls: int) -> str:
    """Who is first for each of so many calls, none of which begins before the last has ended."""
    balance, rng = Balance(policy), random.Random(1)
    return "".join(balance.order(candidates, 0.0, rng)[0].name for _ in range(calls))


@pytest.mark.parametrize("policy", ["least_requests", "round_robin"])
def test_calls_one_after_the_other_are_spread_evenly(policy: BalancePolicy) -> None:
    assert sequence(policy, [Facts("a"), Facts("b")], 6) == "ababab"
    assert sequence(policy, [Facts("a"), Facts("b"), Facts("c")], 7) == "abcabca"


def test_calls_one_after_the_other_are_spread_by_weight_where_least_requests_counts() -> None:
    assert sequence("least_requests", [Facts("a", weight=3), Facts("b")], 8) == "aabaaaba"
    assert sequence("least_requests", [Facts("a", weight=0), Facts("b"), Facts("c")], 4) == "bcbc"
    assert set(sequence("least_requests", [Facts("a", weight=0), Facts("b", weight=0)], 4)) == {"a", "b"}


def test_equally_busy_targets_take_turns_too() -> None:
    assert sequence("least_requests", [Facts("a", 7), Facts("b", 7)], 4) == "abab"


def test_one_that_was_away_does_not_catch_up_on_what_it_missed() -> None:
    balance, rng = Balance("round_robin"), random.Random(1)
    a, b, c = (Facts(name) for name in "abc")
    for _ in range(300):
        balance.order([a, b], 0.0, rng)
    told = "".join(balance.order([a, b, c], 0.0, rng)[0].name for _ in range(6))
    assert sorted(told[:3]) == sorted(told[3:]) == ["a", "b", "c"]


def test_models_that_share_a_policy_by_a_glob_do_not_take_each_others_turns() -> None:
    balance, rng = Balance("round_robin"), random.Random(1)
    one, other = [Facts("a"), Facts("b")], [Facts("c"), Facts("d")]
    told = [balance.order(each, 0.0, rng)[0].name for each in (one, other, one, other)]
    assert told == ["a", "c", "b", "d"]


def test_a_target_of_a_thousand_invented_names_costs_no_memory_for_ever() -> None:
    balance, rng = Balance("round_robin"), random.Random(1)
    for number in range(3000):
        balance.order([Facts(f"a{number}"), Facts(f"b{number}")], 0.0, rng)
    assert len(balance._turns._credit) <= REMEMBERED + 2


def test_a_call_that_follows_a_failure_takes_no_turn() -> None:
    balance, rng = Balance("least_requests"), random.Random(1)
    candidates = [Facts("a"), Facts("b")]
    told = [balance.order(candidates, 0.0, rng, new)[0].name for new in (True, False, False, True)]
    assert told == ["a", "b", "b", "b"]


def test_the_fastest_that_was_out_is_tried_when_its_breaker_lets_a_call_through() -> None:
    class Out(Facts):
        def awaits_probe(self, now: float) -> bool:
            return now >= 10.0

    out, other = Out("a"), answering("b", 0.3)
    out.latency.penalise(0.0)
    balance, rng = Balance("fastest"), random.Random(1)
    assert [balance.order([out, other], now, rng)[0].name for now in (9.0, 10.0)] == ["b", "a"]


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        ([answering("a", 0.8), answering("b", 0.3)], "ba"),
        # A busy fast target is worse than an idle slower one.
        ([answering("a", 0.3, in_flight=5), answering("b", 0.8)], "ba"),
        ([Facts("a", in_flight=1), answering("b", 0.8)], "ba"),
        ([answering("a", 0.8), Facts("b")], "ba"),
    ],
)
def test_fastest_prefers_the_one_that_answers_sooner(candidates: list[Facts], expected: str) -> None:
    assert {order("fastest", candidates, seed) for seed in range(100)} == {expected}


def test_a_target_that_refuses_fast_gets_next_to_nothing() -> None:
    refusing, working = Facts("a"), Facts("b")
    balance, rng = Balance("fastest"), random.Random(3)
    ends: list[tuple[float, str]] = []
    chosen: Counter[str] = Counter()
    for call in range(2400):  # two minutes, a call every 50 ms
        now = call * 0.05
        while ends and ends[0][0] <= now:
            end, name = heapq.heappop(ends)
            if name == "a":
                refusing.in_flight -= 1
                refusing.latency.penalise(end)
            else:
                working.in_flight -= 1
                working.latency.observe(0.8, end)
        first = balance.order([refusing, working], now, rng)[0]
        first.in_flight += 1
        chosen[first.name] += 1
        heapq.heappush(ends, (now + (0.002 if first is refusing else 0.8), first.name))
    assert chosen["a"] <= 0.02 * 2400
    assert chosen["a"] >= 2, "it must be asked again now and then"


@pytest.mark.parametrize("seconds", [0, 1, 2, 4])
def test_the_traffic_of_a_recovering_target_ramps_up(seconds: int) -> None:
    breaker, rng = Breaker(100, 30.0, 10.0, 1), random.Random(5)
    for now, verdict in ((0.0, Judgement.FAILURE), (20.0, Judgement.SUCCESS)):
        permit = breaker.allow(now)
        assert permit is not None
        breaker.record(permit, now, verdict, rng)

    class Recovering(Facts):
        def share(self, now: float) -> float:
            return breaker.share(now)

    shares = firsts("preference", [Recovering("a"), Facts("b")], now=20.0 + seconds)
    assert shares["a"] == pytest.approx(0.1 + 0.9 * seconds / 4, abs=0.02)


def test_a_target_passed_over_goes_to_the_end_and_comes_back_when_all_are() -> None:
    assert order("preference", [Facts("a", portion=1e-9), Facts("b"), Facts("c")]) == "bca"
    assert order("preference", [Facts("a", portion=1e-9), Facts("b", portion=1e-9)]) == "ab"


@pytest.mark.parametrize("policy", POLICIES)
def test_no_target_and_one_alone_need_no_choice(policy: BalancePolicy) -> None:
    assert order(policy, []) == ""
    assert order(policy, [Facts("a", weight=0, portion=0.1)]) == "a"


def test_it_reads_like_a_line_of_a_dashboard() -> None:
    assert repr(Balance("least_requests")) == "<Balance least_requests>"


FACTS = st.lists(
    st.builds(
        Facts,
        st.just("x"),
        in_flight=st.integers(0, 1000),
        weight=st.integers(0, 1000),
        portion=st.floats(0, 1, exclude_min=True),
    ),
    max_size=8,
)


@given(policy=st.sampled_from(POLICIES), candidates=FACTS, seed=st.integers(0, 2**32))
def test_every_order_holds_each_candidate_once(policy: BalancePolicy, candidates: list[Facts], seed: int) -> None:
    given_order = list(candidates)
    ordered = Balance(policy).order(candidates, 1.0, random.Random(seed))
    assert sorted(map(id, ordered)) == sorted(map(id, candidates))
    assert candidates == given_order


@given(loads=st.lists(st.integers(0, 1000), min_size=2, max_size=8, unique=True), seed=st.integers(0, 2**32))
def test_the_most_loaded_of_several_is_never_first(loads: list[int], seed: int) -> None:
    candidates = [Facts(str(load), load) for load in loads]
    first, *rest = Balance("least_requests").order(candidates, 1.0, random.Random(seed))
    assert first.in_flight < max(loads)
    assert [c.in_flight for c in rest] == sorted(c.in_flight for c in rest)
