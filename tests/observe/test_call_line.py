"""A call's line for people, and what a client cannot do to it."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.exchange import AttemptRecord, Exchange, Outcome
from proxy.core.usage import Tokens
from proxy.observe.access import fields
from proxy.observe.call_line import call_line, word
from proxy.observe.lines import Text
from tests.rigs.simulator import Simulator
from tests.rigs.terminal import INTERRUPT, environment, in_terminal
from tests.spec.wire import ask, chat, target

AT = "2026-11-30T14:03:22.123Z"


def call(**more: Any) -> Exchange:
    """One that ended well."""
    exchange = Exchange("r-1", "POST", 10.0)
    attempt = AttemptRecord("openai", "gpt-4o-2024-11-20", 10.001, 200)
    attempt.first_content_at = attempt.first_token_at = 10.312
    attempt.tokens, attempt.streamed = Tokens(12, 30), True
    exchange.attempts, exchange.ended = [attempt], 12.131
    exchange.route, exchange.status, exchange.principal = "/v1/chat/completions", 200, "web-app"
    exchange.model = exchange.answered_model = "gpt-4o"
    exchange.cost = 120
    for name, value in more.items():
        setattr(exchange, name, value)
    return exchange


def told(**more: Any) -> str:
    return call_line(fields(call(**more), None))


def test_it_tells_what_was_asked_of_whom_how_it_ended_how_long_it_took_and_what_it_cost() -> None:
    assert told() == "POST gpt-4o -> openai 200 first token 312 ms, 2.13 s, 12+30 tokens, $0.000120, web-app"
    assert told(answered_model="gpt-4o-mini").startswith("POST gpt-4o -> openai/gpt-4o-mini 200 ")
    assert told(attempts=[], cached=True, cost=0) == "POST gpt-4o (stored answer) 200 2.13 s, $0.000000, web-app"
    assert told(shared="r-0").startswith("POST gpt-4o -> openai (shared answer) 200 ")


def test_what_did_not_end_well_says_why_and_how_to_find_it() -> None:
    failed = AttemptRecord("azure", "gpt-4o", 10.0, 503)
    failed.failure = "upstream_error"
    more = {"status": 503, "outcome": Outcome.FAILED, "error_code": "upstream_error", "cost": None}
    assert told(attempts=[failed, failed], **more) == (
        "POST gpt-4o -> azure (2 attempts) 503 failed upstream_error 2.13 s, web-app, r-1"
    )
    refused = {"status": 401, "outcome": Outcome.REFUSED, "error_code": "invalid_api_key", "principal": "", "model": ""}
    assert told(attempts=[], cost=None, answered_model="", **refused) == (
        "POST /v1/chat/completions 401 refused invalid_api_key 2.13 s, r-1"
    )


HOSTILE = "m\n2026-11-30T14:03:22.123Z info    POST gpt-4o -> openai 200\x1b[2J\x9b31m\u2028\u202e\x7f"


def test_hostile_names_stay_within_their_line_and_within_quotes() -> None:
    line = Text().line(
        AT, "info", "hapax.access", "", fields(call(model=HOSTILE, principal="a b", id="x=\u2028"), None)
    )
    assert line.decode().startswith(
        f'{AT} info    POST "m\\n2026-11-30T14:03:22.123Z info    POST gpt-4o -> openai 200\\u001b[2J\ufffd31m'
    )
    assert line.decode().endswith(', "a b"\n')
    assert line[:-1].decode().isprintable()
    assert len(told(model="m" * 1000)) < 200


@given(st.text(), st.text())
def test_whatever_stands_in_a_line_it_is_one_line_of_printable_letters(message: str, value: str) -> None:
    for made in (
        Text().line(AT, "info", "hapax", message, {"name": value, "list": [1, value]}),
        Text().line(AT, "info", "hapax.access", message, fields(call(model=value, principal=value), None)),
    ):
        assert made.endswith(b"\n")
        assert made[:-1].decode().isprintable()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("web", "web"),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('"', '"\\""'),
        ("one\ntwo", '"one\\ntwo"'),
        (7, "7"),
        (["a", "b c"], '["a","b c"]'),
    ],
)
def test_a_value_is_one_word(value: object, shown: str) -> None:
    assert word(value) == shown


def test_on_a_terminal_the_time_is_that_of_the_day_and_the_level_has_its_colour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = Text(terminal=True, colours=True).line(AT, "warning", "hapax", "it is late", {"by": "2 h"})
    assert re.fullmatch(rb'\d\d:\d\d:22 \x1b\[33mwarning\x1b\[0m it is late by="2 h"\n', line)
    assert re.fullmatch(
        rb"\d\d:\d\d:22 warning it is late\n", Text(terminal=True).line(AT, "warning", "x", "it is late", {})
    )


async def serves_at_a_terminal(simulator: Simulator, folder: Path, logging: dict[str, Any], **variables: str) -> str:
    """What a gateway shows at a terminal that answered one call of a hostile name, from its first log line on."""
    settings = {"providers": {"sim": target(simulator)}, "store": {"url": ""}, "logging": logging}
    (folder / "hapax.yaml").write_text(yaml.safe_dump(settings))
    command = (sys.executable, "-m", "proxy", "serve", "--port", "0")
    async with in_terminal(*command, cwd=folder, env=environment(**variables), width=120) as shown:
        port = int(re.findall(r"listens on http://127\.0\.0\.1:(\d+)", await shown.writes("Stop with Ctrl-C."))[0])
        assert f"Look at it: http://127.0.0.1:{port}/ui" in shown.written
        await ask(port, chat("sim-fast"))
        await ask(port, chat("sim\x1b[2J"))
        await shown.writes("model_not_found")
        shown.press(INTERRUPT)
        assert await shown.ended() == 0
    return shown.written.partition("Stop with Ctrl-C.")[2]


async def test_at_a_terminal_the_log_is_text_for_people_in_colours(simulator: Simulator, tmp_path: Path) -> None:
    shown = await serves_at_a_terminal(simulator, tmp_path, {})
    assert re.search(
        r"\n\d\d:\d\d:\d\d \x1b\[32minfo   \x1b\[0m POST sim-fast -> sim 200 [\d.]+ ms, 2\+",
        shown,
    )
    assert re.search(r'info   \x1b\[0m POST "sim\\u001b\[2J" 404 refused model_not_found ', shown)
    assert "\x1b[2J" not in shown


async def test_where_no_colour_is_wanted_the_text_has_none(simulator: Simulator, tmp_path: Path) -> None:
    shown = await serves_at_a_terminal(simulator, tmp_path, {}, NO_COLOR="1")
    assert re.search(r"\n\d\d:\d\d:\d\d info    POST sim-fast -> sim 200 ", shown)
    assert "\x1b" not in shown


async def test_json_that_is_asked_for_is_json_on_a_terminal_too(simulator: Simulator, tmp_path: Path) -> None:
    shown = await serves_at_a_terminal(simulator, tmp_path, {"format": "json"})
    assert '"operation":"/v1/chat/completions"' in shown
    assert "POST sim-fast -> sim" not in shown
