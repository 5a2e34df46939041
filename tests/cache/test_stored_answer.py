"""A stored answer: its bytes in pieces, its age, and its form in Redis."""

import zlib

import pytest

from proxy.cache.packed import LABEL, label, labelled, pack, unpack
from proxy.cache.stored_answer import BLOCK, Steps, lasting
from tests.rigs.answers import answer


def test_the_pieces_of_one_millisecond_are_one() -> None:
    stored = answer((0.0, b"a"), (0.0004, b"b"), (0.002, b"c"), (3600.5, b"d"))
    assert list(stored.paced()) == [(0.0, b"ab"), (0.002, b"c"), (3600.5, b"d")]


def test_at_once_pieces_go_together_and_none_is_broken() -> None:
    events = [bytes([65 + number]) * (BLOCK // 3) for number in range(7)]
    stored = answer(*((number, event) for number, event in enumerate(events)))
    blocks = list(stored.blocks())
    assert b"".join(blocks) == stored.body
    assert [len(block) // len(events[0]) for block in blocks] == [3, 3, 1]


def test_a_piece_that_is_larger_than_a_block_stays_one() -> None:
    stored = answer((0, b"a"), (0, b"b" * 3 * BLOCK), (0, b"c"))
    assert list(stored.blocks()) == [b"a", b"b" * 3 * BLOCK, b"c"]


def test_an_empty_answer_is_one() -> None:
    assert b"".join(answer().blocks()) == b""
    assert list(answer().paced()) == []


def test_more_time_than_can_be_told_is_the_most_that_can() -> None:
    steps = Steps()
    steps.note(1e9, 5)
    assert steps.packed() == b"\xff\xff\xff\xff\x05\0\0\0"


@pytest.mark.parametrize(("now", "age"), [(1000.0, 0), (1000.99, 0), (1061.0, 61), (900.0, 0)])
def test_its_age_is_whole_seconds_and_never_less_than_none(now: float, age: int) -> None:
    assert answer(made=1000.0).age(now) == age


def test_what_tells_of_the_first_call_is_left_out() -> None:
    headers = [
        (b"X-Hapax-Provider", b"one"),
        (b"X-Hapax-Attempts", b"2"),
        (b"Content-Type", b"application/json"),
        (b"X-Upstream-Request-ID", b"req_1"),
        (b"request-id", b"req_1"),
        (b"openai-processing-ms", b"12"),
    ]
    assert lasting(headers) == ((b"X-Hapax-Provider", b"one"), (b"Content-Type", b"application/json"))


@pytest.mark.parametrize(
    "stored",
    [
        answer((0.0, b'data: {"a":1}\n\n'), (1.5, b"data: [DONE]\n\n")),
        answer((0.0, b"\0\xff\n12\n"), streamed=False, cost=None, principal="Größe", model="a/b:c"),
        answer(headers=((b"X", b"\xe4"),), model="", principal=""),
    ],
)
def test_it_comes_back_from_its_form_as_it_was(stored: object) -> None:
    assert unpack(pack(stored)) == stored  # type: ignore[arg-type]


def test_its_form_is_smaller_and_begins_with_labels_that_say_no_name() -> None:
    stored = answer(*((number, b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n') for number in range(500)))
    packed = pack(stored)
    assert len(packed) < len(stored.body) / 5
    begin = packed[:LABEL]
    assert labelled(begin, None, None)
    assert labelled(begin, label("m"), label("a"))
    assert not labelled(begin, label("a"), None)
    assert not labelled(begin, None, label("m"))
    assert not labelled(b"", None, None)
    assert not labelled(b"2" + begin[1:], None, None)


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"1",
        b"2" + pack(answer())[1:],
        pack(answer())[:-1],
        pack(answer())[:LABEL] + zlib.compress(b"no length"),
        pack(answer())[:LABEL] + zlib.compress(b"2\n{}"),
        pack(answer())[:LABEL] + zlib.compress(b'4\n"ab"'),
    ],
)
def test_what_is_none_is_no_answer(packed: bytes) -> None:
    assert unpack(packed) is None
