"""The trace context is read by the rules of W3C Trace Context, and whatever else a header holds counts as absent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.traceparent import SAMPLED, Parent, Sampler, header_lines, new_span_id, parse, parse_state

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_valid_header_names_the_trace_the_span_and_the_flags() -> None:
    assert parse(f"00-{TRACE}-{SPAN}-01") == Parent(TRACE, SPAN, SAMPLED)
    assert parse(f"00-{TRACE}-{SPAN}-00") == Parent(TRACE, SPAN, 0)


def test_the_random_flag_passes_and_flags_without_a_meaning_do_not() -> None:
    assert parse(f"00-{TRACE}-{SPAN}-ff") == Parent(TRACE, SPAN, 3)


@pytest.mark.parametrize("version", ["01", "cc", "fe"])
def test_a_later_version_may_say_more_at_the_end(version: str) -> None:
    for rest in ("", "-what", "-what-the-future-will-be-like"):
        assert parse(f"{version}-{TRACE}-{SPAN}-01{rest}") == Parent(TRACE, SPAN, SAMPLED)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"01-{TRACE}-{SPAN}-01.more",
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN[1:]}-01",
        f"00-{TRACE}-{SPAN}-0x",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_anything_else_counts_as_absent(value: str) -> None:
    assert parse(value) is None


@given(st.text(max_size=100) | st.from_regex(r"[0-9a-g]{1,3}-[0-9a-f]{31,33}-[0-9a-f]{15,17}-[0-9a-f]{1,3}(-.*)?"))
def test_no_header_is_an_error(value: str) -> None:
    parent = parse(value)
    if parent is not None:
        line = header_lines(parent.trace_id, parent.span_id, parent.flags, "")
        assert parse(line.decode().removeprefix("traceparent: ").removesuffix("\r\n")) == parent


@given(st.lists(st.text(max_size=300), max_size=5))
def test_whatever_is_passed_on_of_a_tracestate_is_one_valid_line(values: list[str]) -> None:
    state = parse_state(values)
    assert state.isascii()
    assert state.isprintable()
    assert parse_state([state]) == state


def test_the_members_of_a_tracestate_keep_their_order_over_several_headers() -> None:
    assert parse_state(["rojo=00f067aa0ba902b7,\tcongo=t61rcWkgMzE ", "", "a@b=x y,,"]) == (
        "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE,a@b=x y"
    )


@pytest.mark.parametrize("value", ["a", "a=", "=b", "A=b", "a=b=c", "a=ü", "a b=c", "a=\x01", "a=" + "b" * 257])
def test_a_tracestate_with_one_bad_member_is_not_passed_on(value: str) -> None:
    assert parse_state(["good=1", value]) == ""


def test_a_tracestate_with_more_than_32_members_is_not_passed_on() -> None:
    members = [f"k{number}=v" for number in range(33)]
    assert parse_state([",".join(members)]) == ""
    assert parse_state([",".join(members[:32])])


def test_both_headers_are_written_as_the_specification_shows_them() -> None:
    assert header_lines(TRACE, SPAN, SAMPLED, "a=1,b=2") == (
        f"traceparent: 00-{TRACE}-{SPAN}-01\r\ntracestate: a=1,b=2\r\n".encode()
    )


def test_new_ids_are_valid_and_never_the_same() -> None:
    sampler = Sampler(1.0)
    begun = [sampler.begin() for _ in range(1000)]
    for trace_id, span_id, flags in begun:
        assert parse(f"00-{trace_id}-{span_id}-{flags:02x}") == Parent(trace_id, span_id, SAMPLED)
    assert len({trace_id for trace_id, _, _ in begun}) == 1000
    assert len({new_span_id() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_share_of_new_traces_is_sampled_and_the_random_part_of_the_id_alone_decides_which(ratio: float) -> None:
    """By the last 56 bits every process decides alike, and one that samples less samples a part of the same traces."""
    sampler = Sampler(ratio)
    begun = [sampler.begin() for _ in range(4000)]
    for trace_id, _, flags in begun:
        assert bool(flags & SAMPLED) == (int(trace_id[-14:], 16) / 2**56 >= 1 - ratio)
    share = sum(flags & SAMPLED for _, _, flags in begun) / len(begun)
    assert abs(share - ratio) < 0.05
