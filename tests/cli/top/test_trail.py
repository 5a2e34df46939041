"""A call's decision trail, as text."""

from typing import Any

from rich.cells import cell_len

from proxy.cli.top.calls import call_of
from proxy.cli.top.trail import trail_lines
from proxy.cli.top.view import Trail
from tests.cli.top.told import call, refused

FAILOVER: dict[str, Any] = {
    "duration_ms": 1000.0,
    "queued_ms": 100.0,
    "hedged": False,
    "resumed": 0,
    "shared_with": "",
    "cached": False,
    "kept_to": "",
    "skipped": {"ollama/llama3": "breaker open"},
    "attempts": [
        {
            "target": "openai/gpt-4o",
            "began_ms": 100.0,
            "beside": False,
            "sent_ms": 101.0,
            "head_ms": None,
            "first_content_ms": None,
            "ended_ms": 400.0,
            "status": 503,
            "failure": "upstream_error",
            "reason": "answered 503",
        },
        {
            "target": "azure/gpt-4o",
            "began_ms": 400.0,
            "beside": True,
            "sent_ms": 410.0,
            "head_ms": 500.0,
            "first_content_ms": 700.0,
            "ended_ms": 1000.0,
            "status": 200,
            "failure": "",
            "reason": "",
        },
    ],
}


def drawn(trail: Trail, width: int = 80) -> list[str]:
    return [line.plain for line in trail_lines(trail, width)]


def test_a_failover_is_seen_on_one_line_of_time() -> None:
    lines = drawn(Trail(call(), told=FAILOVER), width=106)
    first = next(number for number, line in enumerate(lines) if line.startswith("   ·"))
    queue, lost, answered, scale = lines[first : first + 4]
    assert queue == "   " + "·" * 10 + " queue"
    assert lost.rstrip() == " 1 " + " " * 10 + "░" + "▒" * 29 + " x"
    assert answered.rstrip() == " 2 " + " " * 40 + "░" + "▒" * 9 + "▓" * 20 + "█" * 30
    assert scale.split() == ["0", "1.00s"]
    assert len(scale) == 103


def test_every_attempt_is_told_with_its_times_and_what_it_came_to() -> None:
    lines = drawn(Trail(call(), told=FAILOVER), width=106)
    rows = [" ".join(line.split()) for line in lines if line.startswith((" 1  ", " 2  ")) and "gpt-4o" in line]
    assert rows == [
        "1 openai/gpt-4o 100ms 101ms - - 400ms upstream_error 503",
        "2 azure/gpt-4o (beside) 400ms 410ms 500ms 700ms 1.00s answered 200",
    ]
    assert " 1: answered 503" in lines
    assert " ollama/llama3: breaker open" in lines
    assert " In the queue 100ms" in lines


def test_no_line_is_longer_than_the_screen() -> None:
    for width in (20, 40, 80, 200):
        assert max(cell_len(line) for line in drawn(Trail(call(), told=FAILOVER), width)) <= width


def test_it_says_what_it_waits_for_and_what_is_wrong() -> None:
    assert " Asking the gateway ..." in drawn(Trail(call()))
    assert " No such request is remembered." in drawn(Trail(call(), trouble="No such request is remembered."))


def test_a_call_for_which_no_target_was_asked_has_no_timeline() -> None:
    told = {**FAILOVER, "attempts": [], "skipped": {}, "queued_ms": 0.0}
    lines = drawn(Trail(call_of(refused()), told=told))
    assert " No target was asked." in lines
    assert " Outcome      rate_limit_exceeded  429" in lines
    assert not any("Passed over" in line for line in lines)
