"""How long answers usually are."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.limits.learned import LOOKED_AT, MOST, UNTAUGHT, Learned, Lengths


def taught(*lengths: int) -> Learned:
    learned = Learned()
    for length in lengths:
        learned.of("alice", "gpt-4o").note(length)
    return learned


def expected_of(learned: Learned, holder: str = "alice", model: str = "gpt-4o") -> int | None:
    lengths = learned.find(holder, model)
    return None if lengths is None else lengths.expect()


def test_before_any_answer_512_tokens_are_expected() -> None:
    assert Lengths().expect() == UNTAUGHT == 512


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([7], 7),
        ([0], 0),
        ([10, 30, 20], 30),
        # Nineteen of twenty are no longer than the nineteenth.
        (list(range(1, 21)), 19),
        (list(range(20, 0, -1)), 19),
        (list(range(1, 65)), 61),
        ([100] * 63 + [100_000], 100),
        ([100] * 60 + [900] * 4, 900),
    ],
)
def test_the_95th_percentile_is_expected(lengths: list[int], expected: int) -> None:
    assert expected_of(taught(*lengths)) == expected


def test_only_the_latest_answers_count() -> None:
    learned = taught(*[5000] * 200, *[10] * LOOKED_AT)
    assert expected_of(learned) == 10


def test_an_expectation_follows_the_answers() -> None:
    learned = taught(100)
    assert expected_of(learned) == 100
    learned.of("alice", "gpt-4o").note(300)
    assert expected_of(learned) == 300
    assert expected_of(learned) == 300


def test_holders_and_models_are_learned_apart() -> None:
    learned = taught(100)
    assert [expected_of(learned, "bob"), expected_of(learned, model="gpt-4o-mini")] == [None, None]


def test_the_pair_not_heard_of_for_longest_is_forgotten() -> None:
    learned = Learned()
    for number in range(MOST):
        learned.of("alice", f"model-{number}").note(10)
    learned.of("alice", "model-0").note(20)
    learned.of("alice", "one-more").note(30)
    assert len(learned) == MOST
    assert [expected_of(learned, model=f"model-{number}") for number in (0, 1, 2)] == [20, None, 10]


def test_asking_teaches_nothing() -> None:
    learned = Learned()
    for number in range(100):
        assert learned.find("alice", f"model-{number}") is None
    assert len(learned) == 0


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=200))
def test_at_least_95_of_100_recent_answers_are_no_longer_and_fewer_would_not_do(lengths: list[int]) -> None:
    expected = expected_of(taught(*lengths))
    assert expected is not None
    recent = lengths[-LOOKED_AT:]
    assert expected in recent
    assert sum(length <= expected for length in recent) >= 0.95 * len(recent)
    assert sum(length < expected for length in recent) < 0.95 * len(recent)


def test_one_odd_answer_among_many_moves_nothing() -> None:
    rng = random.Random(4)
    usual = [rng.randrange(80, 120) for _ in range(63)]
    assert expected_of(taught(*usual, 10**6)) in range(80, 120)
