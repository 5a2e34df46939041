"""The ring of a provider's API keys."""

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from proxy.providers.keys import KeyRing


def test_keys_go_out_in_turn() -> None:
    ring = KeyRing(3)
    assert [ring.pick(1.0) for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_a_resting_key_is_passed_over_until_its_time_and_the_others_go_on() -> None:
    ring = KeyRing(3)
    ring.rest(1, until=8.0)
    assert [ring.pick(7.9) for _ in range(4)] == [0, 2, 0, 2]
    assert [ring.pick(8.0) for _ in range(4)] == [0, 1, 2, 0]


def test_a_single_key_that_rests_leaves_none() -> None:
    ring = KeyRing(1)
    assert ring.pick(1.0) == 0
    ring.rest(0, until=8.0)
    assert ring.pick(7.9) is None
    assert not ring.available(7.9)
    assert ring.next_at(1.0) == 8.0
    assert ring.pick(8.0) == 0
    assert ring.available(8.0)


def test_a_parked_key_stays_out_though_its_rest_is_over() -> None:
    ring = KeyRing(2, parked=[3600.0, 0.0])
    ring.rest(0, until=5.0)
    assert [ring.pick(10.0) for _ in range(3)] == [1, 1, 1]
    assert ring.pick(3600.0) == 0


def test_of_several_pauses_the_longest_counts() -> None:
    ring = KeyRing(1)
    ring.rest(0, until=9.0)
    ring.rest(0, until=3.0)
    assert ring.next_at(1.0) == 9.0


def test_a_key_may_be_parked_until_a_reload() -> None:
    ring = KeyRing(1, parked=[math.inf])
    assert ring.pick(1e9) is None
    assert ring.next_at(1e9) == math.inf


@pytest.mark.parametrize(("now", "next_at"), [(0.0, 4.0), (3.9, 4.0), (4.0, 4.0), (5.0, 5.0)])
def test_the_earliest_return_is_told_and_is_now_when_one_is_free(now: float, next_at: float) -> None:
    ring = KeyRing(3, parked=[0.0, 0.0, 600.0])
    ring.rest(0, until=9.0)
    ring.rest(1, until=4.0)
    assert ring.next_at(now) == next_at


def test_a_ring_without_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one key"):
        KeyRing(0)


def test_it_reads_like_a_line_of_a_dashboard() -> None:
    ring = KeyRing(2)
    ring.pick(1.0)
    ring.rest(1, until=9.5)
    assert repr(ring) == "<KeyRing 2 keys [next 1, usable from 0.0, 9.5]>"


class KeyRingMachine(RuleBasedStateMachine):
    """Keys are picked, rested and parked while time passes."""

    @initialize(count=st.integers(1, 5))
    def begin(self, count: int) -> None:
        self.parked = [0.0] * count
        self.ring = KeyRing(count, self.parked)
        self.now = 0.0
        self.until = [0.0] * count

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(pick=st.integers(0, 100), seconds=st.floats(0, 60), parked=st.booleans())
    def a_key_pauses(self, pick: int, seconds: float, parked: bool) -> None:
        index = pick % len(self.until)
        if parked:
            # The provider's business, and the same for every ring over its keys.
            self.parked[index] = max(self.parked[index], self.now + seconds)
        else:
            self.ring.rest(index, self.now + seconds)
        self.until[index] = max(self.until[index], self.now + seconds)

    @rule()
    def one_round_uses_every_free_key_once_and_no_other(self) -> None:
        free = [index for index, until in enumerate(self.until) if until <= self.now]
        picked = [self.ring.pick(self.now) for _ in free]
        assert sorted(picked, key=str) == sorted(free, key=str)
        if not free:
            assert self.ring.pick(self.now) is None

    @invariant()
    def what_it_says_of_itself_is_true(self) -> None:
        assert self.ring.available(self.now) is any(until <= self.now for until in self.until)
        assert self.ring.next_at(self.now) == max(self.now, min(self.until))


KeyRingMachine.TestCase.settings = settings(max_examples=100, deadline=None)


TestAnySequenceOfPauses = KeyRingMachine.TestCase
