"""Sessions that are refused, that name several models, that a key may not open, and providers that speak first."""

from typing import Any

import pytest

from proxy.core import tasks
from tests.field.build import KEY_A, KEY_A2, answer, one, rule, two
from tests.field.failing import fallback
from tests.field.play import Play
from tests.field.test_websockets import CREATED, REALTIME, RESTRICTED, opens, refuses, talk
from tests.field.websocket import talk as speak
from tests.spec.loop import until

RESPONSES = "/v1/responses"
REFUSALS = [
    # What an answer to the handshake says of the key or the money counts as it does in any call.
    pytest.param(402, {"error": {"message": "Insufficient Balance"}}, id="402, no money"),
    pytest.param(403, {"error": {"code": "account_deactivated", "message": "x"}}, id="403, the account is closed"),
    pytest.param(400, {"error": {"code": "invalid_api_key", "message": "x"}}, id="400, the key"),
    pytest.param(429, {"error": {"code": "insufficient_quota", "message": "x"}}, id="429, no money"),
    pytest.param(401, "", id="401 without a word"),
]


@pytest.mark.parametrize(("status", "body"), REFUSALS)
async def test_a_key_that_cannot_pay_or_is_refused_opens_no_session_and_is_asked_once(
    play: Play, status: int, body: Any
) -> None:
    rules = [rule(answer(status, body), key=KEY_A), {"when": {}, "conversation": [{"send": CREATED}]}]
    configuration = one(api_keys=[KEY_A, KEY_A2])
    del configuration["providers"]["a"]["api_key"]
    steps = [talk("receive", step=name) for name in ("first", "second", "third")]
    played = await play(configuration, {"a": {"models": ["m"], "rules": rules}}, steps)
    assert [played[name].messages for name in ("first", "second", "third")] == [[CREATED]] * 3
    assert [asked.key for asked in played.asked("a")].count(KEY_A) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"error": {"code": "missing_scope", "message": "You have insufficient permissions for this operation."}}),
        (403, {"error": {"message": "This project may not use realtime models."}}),
        (404, {"error": {"code": "model_not_found", "message": "x"}}),
    ],
    ids=["a scope", "a project", "a model"],
)
async def test_a_refusal_that_says_nothing_of_the_key_parks_none(play: Play, status: int, body: Any) -> None:
    steps = [talk("receive", step=name) for name in ("first", "second")]
    played = await play(two(), {"a": refuses(status, body), "b": opens({"send": CREATED})}, steps)
    assert played["second"].messages == [CREATED]
    assert len(played.asked("a")) == 2


async def test_when_no_target_opens_the_client_reads_why_and_when_to_come_back(play: Play) -> None:
    limited = answer(429, {"error": {"message": "Too many sessions."}}, headers="Retry-After: 7\r\n")
    played = await play(one(), {"a": {"models": ["m"], "rules": [rule(limited)]}}, [talk(step="first"), talk()])
    first, second = played["first"], played["talk"]
    assert (first.status, first.error["code"]) == (429, "rate_limit_exceeded")
    assert first.error["message"] == "Too many sessions."
    for got in (first, second):
        assert got.status == 429
        assert got.header("retry-after") == "7"
    assert len(played.asked("a")) == 1


async def test_when_all_are_down_a_session_gets_503_with_retry_after(play: Play) -> None:
    configuration = {**two(), "circuit_breaker": {"failure_threshold": 1}}
    down = [{"provider": name, "from_now_on": "refuses connections"} for name in "ab"]
    played = await play(configuration, {"a": opens(), "b": opens()}, [*down, talk(step="first"), talk()])
    got = played["talk"]
    assert (got.status, got.error["code"]) == (503, "upstream_unavailable")
    assert 1 <= int(got.header("retry-after") or 0) <= 10


async def test_a_breaker_that_a_session_opens_is_told_in_the_log(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    configuration = {**one(), "circuit_breaker": {"failure_threshold": 1}}
    await play(configuration, {"a": opens()}, [{"provider": "a", "from_now_on": "refuses connections"}, talk()])
    told = [record for record in caplog.records if record.getMessage().startswith("breaker a")]
    assert [(record.levelname, record.getMessage().partition(",")[0]) for record in told] == [
        ("ERROR", "breaker a/m: closed -> open")
    ]


async def test_a_session_goes_to_a_fallback_model_under_its_own_name(play: Play) -> None:
    providers = {
        "a": refuses(503),
        "b": {
            "models": ["s"],
            "rules": [
                {"when": {"path": "/v1/realtime"}, "conversation": [{"send": CREATED}]},
                {"when": {"path": RESPONSES}, "conversation": ["receive", {"send": CREATED}]},
            ],
        },
    }
    asks = '{"type": "response.create", "model": "big"}'
    steps = [
        talk("receive", path="/v1/realtime?model=big", step="query"),
        talk({"send": asks}, "receive", path=RESPONSES, step="message"),
    ]
    played = await play(fallback(), providers, steps)
    assert played["query"].messages == played["message"].messages == [CREATED]
    assert played.asked("b", "query")[0].target == "/v1/realtime?model=s"
    assert played.asked("b", "message")[0].messages == ['{"type": "response.create", "model": "s"}']


async def test_a_fallback_the_key_may_not_use_opens_no_session(play: Play) -> None:
    keys = [{"name": "k", "key": "hpx_big_123456", "models": ["big"]}]
    step = talk(path="/v1/realtime?model=big", authorization="Bearer hpx_big_123456")
    played = await play({**fallback(), "auth": {"keys": keys}}, {"a": refuses(500), "b": opens()}, [step])
    assert played["talk"].status == 502
    assert not played.asked("b")


async def test_a_later_turn_with_another_public_model_carries_the_name_its_provider_has_for_it(play: Play) -> None:
    configuration = {**one(models=["m", "n"]), "models": {"fast": {"targets": ["a/m"]}, "smart": {"targets": ["a/n"]}}}
    turns = [f'{{"type":"response.create","model":"{name}"}}' for name in ("fast", "smart", "other")]
    conversation = [turn for text in turns for turn in ({"send": text}, "receive")]
    provider = opens(*["receive", {"send": CREATED}] * 3, path=RESPONSES)
    played = await play(configuration, {"a": provider}, [talk(*conversation, path=RESPONSES)])
    sent = [message.partition('"model":')[2] for message in played.asked("a")[0].messages]
    assert sent == ['"m"}', '"n"}', '"other"}']


HIDDEN = [
    pytest.param('{"type":"response.create","\\u006dodel":"other"}', id="the field's name is escaped"),
    pytest.param('{"type":"response.create","model":"m","response":{"model":"other"}}', id="a second place"),
    pytest.param('{"type":"response.create","model":"other","model":"m"}', id="twice, the last one allowed"),
    pytest.param('{"type":"response.create","model":"m","model":"other"}', id="twice, the first one allowed"),
    pytest.param('{"type":"session.update","session":{"model":"m","model":"other"}}', id="twice in the session"),
    pytest.param(b'{"type":"response.create","model":"other"}', id="as bytes"),
    pytest.param('\ufeff{"type":"response.create","model":"other"}', id="behind a byte order mark"),
    pytest.param('{"type":"response.create","model":"other",}', id="with a comma too many"),
]


@pytest.mark.parametrize("message", HIDDEN)
async def test_a_forbidden_model_does_not_pass_in_any_spelling(play: Play, message: str | bytes) -> None:
    step = talk("receive", {"send": message}, {"send": "{}"}, "receive", authorization="Bearer hpx_restricted")
    played = await play(RESTRICTED, {"a": opens({"send": CREATED}, "receive")}, [step])
    assert '"type":"error"' in played["talk"].messages[1]
    [asked] = played.asked("a")
    await until(lambda: asked.messages)
    assert asked.messages == ["{}"]


@pytest.mark.parametrize(
    "message",
    ['{"model":"m","text":"h\\u00e9"}', b"\0\1 model \2", '{"type":"input_audio_buffer.append","audio":"AAAA"}'],
    ids=["an allowed one", "sound that holds the word", "no model"],
)
async def test_what_a_restricted_key_may_send_passes_unchanged(play: Play, message: str | bytes) -> None:
    step = talk("receive", {"send": message}, {"close": 1000}, authorization="Bearer hpx_restricted")
    played = await play(RESTRICTED, {"a": opens({"send": CREATED}, "receive")}, [step])
    assert played.asked("a")[0].messages == [message]


HINTS = [
    '{"type":"error","error":{"type":"invalid_request_error","code":"invalid_api_key",'
    '"message":"Incorrect API key provided: sk-field-**********Wv2K."}}',
    '{"type":"response.done","response":{"status":"failed","status_details":{"error":{"type":"x","code":"y",'
    '"message":"The key sk-field-a1-Jm4Zr8TqWv2K did it"}}}}',
    '{"type":"response.failed","response":{"error":{"code":"server_error","message":"Key ending in Wv2K"}}}',
]


@pytest.mark.parametrize("event", HINTS, ids=["an error", "a response that is done", "a response that failed"])
async def test_an_event_of_an_error_shows_nothing_of_the_operators_key(play: Play, event: str) -> None:
    played = await play(one(), {"a": opens({"send": event})}, [talk("receive")])
    [told] = played["talk"].messages
    assert '"error"' in told
    assert "Wv2K" not in told
    assert "sk-field" not in told


async def test_a_session_whose_money_is_gone_passes_its_event_and_the_next_one_goes_elsewhere(play: Play) -> None:
    """Realtime API: the session opens, and the first response ends as failed with `insufficient_quota`."""
    event = (
        '{"type":"response.done","response":{"status":"failed","status_details":{"type":"failed",'
        '"error":{"type":"insufficient_quota","code":"insufficient_quota","message":"You exceeded your quota."}}}}'
    )
    steps = [talk("receive", step="first"), talk("receive", step="second")]
    played = await play(two(), {"a": opens({"send": event}), "b": opens({"send": CREATED})}, steps)
    assert played["first"].messages == [event]
    assert played["second"].messages == [CREATED]


async def test_a_text_that_looks_like_a_key_passes_where_no_error_is_told(play: Play) -> None:
    event = '{"type":"response.output_text.delta","delta":"sk-ant-api03-abc123def456","error":null}'
    played = await play(one(), {"a": opens({"send": event})}, [talk("receive")])
    assert played["talk"].messages == [event]


async def test_a_provider_that_speaks_first_is_opened_at_once_where_the_path_tells_no_model(play: Play) -> None:
    provider = opens({"send": CREATED}, "receive", path="/v1/voice/stream")
    step = talk("receive", {"send": b"\0\1"}, {"close": 1000}, path="/v1/voice/stream?voice=x")
    played = await play(one(), {"a": provider}, [step])
    assert played["talk"].messages == [CREATED]
    assert played.asked("a")[0].messages == [b"\0\1"]


async def test_a_browser_gets_one_of_the_subprotocols_it_offered_before_the_model_is_known(play: Play) -> None:
    """It takes no socket without one: https://websockets.spec.whatwg.org/#feedback-from-the-protocol."""
    offered = [["Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.any, other"]]
    asks = {"send": '{"type":"response.create","model":"m"}'}
    step = talk(asks, "receive", path=RESPONSES, headers=offered)
    played = await play(one(), {"a": opens("receive", {"send": CREATED}, path=RESPONSES)}, [step])
    assert played["talk"].header("sec-websocket-protocol") == "realtime"
    assert played.asked("a")[0].header("sec-websocket-protocol") == "realtime"


async def test_a_first_message_in_bytes_is_told_what_is_wanted(play: Play) -> None:
    step = talk({"send": b'{"model":"m"}'}, "receive", {"close": 1000}, path=RESPONSES)
    played = await play(one(), {"a": opens(path=RESPONSES)}, [step])
    assert '"code":"invalid_json"' in played["talk"].messages[0]
    assert not played.asked("a")


async def test_a_client_that_closes_before_its_first_message_is_answered(play: Play) -> None:
    played = await play(one(), {"a": opens(path=RESPONSES)}, [talk({"close": 1000}, path=RESPONSES)])
    assert played["talk"].closed is not None
    assert not played.asked("a")


async def test_a_session_that_waits_for_its_first_message_ends_when_the_gateway_stops(play: Play) -> None:
    played = await play(one(), {"a": opens(path=RESPONSES)}, [])
    listener = played.gateway.listener
    session = tasks.start(speak(played.gateway.port, talk("end", path=RESPONSES)), "session")
    await until(lambda: listener.gateway.sessions is not None and listener.gateway.sessions.under_way)
    stopping = tasks.start(listener.drain(0.0, 0.05), "drain")
    assert (await session).closed == (1012, "")
    await stopping


async def test_a_close_brings_its_reason_to_the_other_side_without_the_key(play: Play) -> None:
    provider = opens({"send": CREATED}, {"close": 4000, "reason": "invalid_model, key sk-field-a1-Jm4Zr8TqWv2K"})
    played = await play(one(), {"a": provider}, [talk("receive", "end")])
    assert played["talk"].closed == (4000, "invalid_model, key ***")


@pytest.mark.parametrize("path", ["/realtime?model=m", "//v1/realtime?model=m", "/api/v1/realtime?model=m"])
async def test_a_session_below_a_wrong_base_url_is_told_the_path_that_was_meant(play: Play, path: str) -> None:
    played = await play(one(), {"a": opens()}, [talk(path=path)])
    assert (played["talk"].status, played["talk"].error["code"]) == (404, "unknown_url")
    assert played["talk"].error["details"]["did_you_mean"] == REALTIME.partition("?")[0]
