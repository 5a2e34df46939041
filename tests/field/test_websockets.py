"""WebSocket sessions: opened at the first provider that does, relayed message by message, ended as either side ends."""

from typing import Any

import pytest

from proxy.core import tasks
from tests.field.build import KEY_A, KEY_A2, answer, one, rule, two
from tests.field.play import Play
from tests.field.websocket import talk as speak
from tests.spec.loop import until

CREATED = '{"type":"session.created"}'
CREATE = '{"type":"response.create"}'
REALTIME = "/v1/realtime?model=m"


def opens(*conversation: Any, path: str = "/v1/realtime") -> dict[str, Any]:
    """A provider that opens a session at *path* and takes these turns."""
    return {"models": ["m"], "rules": [{"when": {"path": path}, "conversation": list(conversation)}]}


def refuses(status: int, body: Any = "") -> dict[str, Any]:
    return {"models": ["m"], "rules": [rule(answer(status, body))]}


def talk(*conversation: Any, path: str = REALTIME, **more: Any) -> dict[str, Any]:
    return {"step": "talk", "websocket": path, "conversation": list(conversation), **more}


@pytest.mark.parametrize("status", [500, 502, 503, 429, 401, 404])
async def test_the_next_provider_opens_what_the_first_does_not(play: Play, status: int) -> None:
    played = await play(two(), {"a": refuses(status), "b": opens({"send": CREATED})}, [talk("receive")])
    assert played["talk"].status == 101
    assert played["talk"].messages == [CREATED]
    assert len(played.asked("a")) == len(played.asked("b")) == 1


async def test_a_key_that_is_refused_with_401_is_parked_and_the_other_one_opens(play: Play) -> None:
    rules = [
        {"when": {"key": KEY_A}, "answer": answer(401, {"error": {"message": "no"}})},
        {"when": {}, "conversation": [{"send": CREATED}]},
    ]
    providers = {"a": {"models": ["m"], "rules": rules}}
    configuration = {"providers": {"a": {**one()["providers"]["a"], "api_keys": [KEY_A, KEY_A2]}}}
    del configuration["providers"]["a"]["api_key"]
    steps = [talk("receive", step=name) for name in ("first", "second", "third")]
    played = await play(configuration, providers, steps)
    assert [asked.key for asked in played.asked("a")].count(KEY_A) == 1
    assert played["third"].messages == [CREATED]


@pytest.mark.parametrize("status", [200, 400, 404, 405, 426, 501])
async def test_a_provider_without_websockets_is_told_as_426_so_that_clients_go_on_with_http(
    play: Play, status: int
) -> None:
    played = await play(one(), {"a": refuses(status, {"detail": "no"})}, [talk("receive")])
    assert played["talk"].status == 426
    assert played["talk"].error["code"] == "upgrade_not_supported"
    assert "HTTP" in played["talk"].error["message"]


async def test_a_provider_that_redirects_the_handshake_never_sees_the_key_elsewhere(play: Play) -> None:
    moved = ["HTTP/1.1 307 Temporary Redirect\r\nLocation: {b}/v1/realtime\r\nContent-Length: 0\r\n\r\n"]
    played = await play(one(), {"a": {"models": ["m"], "rules": [rule(moved)]}, "b": opens()}, [talk("receive")])
    assert played["talk"].status >= 400
    assert not played.asked("b")


async def test_the_provider_closes_and_the_client_gets_the_same_code(play: Play) -> None:
    provider = opens({"send": CREATED}, {"close": 4001, "reason": "session expired"})
    played = await play(one(), {"a": provider}, [talk("receive", "end")])
    closed = played["talk"].closed
    assert closed is not None
    assert closed[0] == 4001


async def test_the_client_closes_and_the_provider_gets_the_same_code(play: Play) -> None:
    played = await play(one(), {"a": opens({"send": CREATED})}, [talk("receive", {"close": 4010, "reason": "done"})])
    [asked] = played.asked("a")
    await until(lambda: asked.closed is not None)
    assert asked.closed is not None
    assert asked.closed[0] == 4010


async def test_a_provider_that_is_lost_ends_the_session_with_1011_and_the_record_says_cut(play: Play) -> None:
    played = await play(one(), {"a": opens({"send": CREATED}, "drop")}, [talk("receive", "end")])
    assert played["talk"].closed == (1011, "")
    await until(lambda: played.gateway.listener.gateway.under_way.count == 0)
    assert played.gateway.metric("hapax_exchanges_total", outcome="cut") == 1


async def test_bytes_and_a_message_of_a_megabyte_pass_unchanged_both_ways(play: Play) -> None:
    long = "ü" * 500_000
    played = await play(
        one(), {"a": opens("receive", {"send": long}, "receive")}, [talk({"send": long}, "receive", {"send": "\0" * 9})]
    )
    assert played["talk"].messages == [long]
    [asked] = played.asked("a")
    await until(lambda: len(asked.messages) == 2)
    assert asked.messages == [long, "\0" * 9]


async def test_a_ping_is_answered_by_the_gateway(play: Play) -> None:
    played = await play(
        one(), {"a": opens("receive", {"send": CREATED})}, [talk({"ping": "x"}, {"send": "a"}, "receive")]
    )
    assert played["talk"].messages == [CREATED]
    assert played.asked("a")[0].messages == ["a"]


async def test_the_subprotocol_the_provider_takes_is_the_clients_and_a_key_in_it_goes_no_further(play: Play) -> None:
    offered = "realtime, openai-insecure-api-key.whatever, openai-beta.realtime-v1"
    played = await play(
        one(), {"a": opens({"send": CREATED})}, [talk("receive", headers=[["Sec-WebSocket-Protocol", offered]])]
    )
    assert played["talk"].header("sec-websocket-protocol") == "realtime"
    assert played.asked("a")[0].header("sec-websocket-protocol") == "realtime,openai-beta.realtime-v1"


RESTRICTED = {**one(), "auth": {"keys": [{"name": "k", "key": "hpx_restricted", "models": ["m"]}]}}


async def test_a_model_the_key_may_not_use_is_refused_before_a_provider_is_asked(play: Play) -> None:
    step = talk("receive", path="/v1/realtime?model=other", authorization="Bearer hpx_restricted")
    played = await play(RESTRICTED, {"a": opens()}, [step])
    assert played["talk"].status == 403
    assert played["talk"].error["code"] == "model_not_allowed"
    assert not played.asked("a")


async def test_a_later_message_that_names_a_forbidden_model_is_answered_with_an_error_and_not_sent_on(
    play: Play,
) -> None:
    forbidden = '{"type":"response.create","response":{"model":"other"}}'
    step = talk("receive", {"send": forbidden}, "receive", {"send": CREATE}, authorization="Bearer hpx_restricted")
    played = await play(RESTRICTED, {"a": opens({"send": CREATED}, "receive")}, [step])
    assert '"code":"model_not_allowed"' in played["talk"].messages[1]
    [asked] = played.asked("a")
    await until(lambda: asked.messages)
    assert asked.messages == [CREATE]


async def test_a_message_that_would_hold_up_other_calls_is_answered_with_an_error_and_one_long_text_passes(
    play: Play,
) -> None:
    heavy = CREATE[:-1] + ',"metadata":[' + "0," * 300_000 + "0]}"
    long = CREATE[:-1] + ',"metadata":["' + "A" * 3_000_000 + '"]}'
    step = talk("receive", {"send": heavy}, "receive", {"send": long})
    played = await play(one(), {"a": opens({"send": CREATED}, "receive")}, [step])
    assert '"code":"request_too_large"' in played["talk"].messages[1]
    [asked] = played.asked("a")
    await until(lambda: asked.messages)
    assert asked.messages == [long]


async def test_a_first_message_that_names_a_forbidden_model_ends_the_session(play: Play) -> None:
    step = talk(
        {"send": '{"type":"response.create","model":"other"}'}, "receive", "end", path="/v1/responses",
        authorization="Bearer hpx_restricted",
    )  # fmt: skip
    played = await play(RESTRICTED, {"a": opens(path="/v1/responses")}, [step])
    assert '"code":"model_not_allowed"' in played["talk"].messages[0]
    assert played["talk"].closed is not None
    assert not played.asked("a")


async def test_a_handshake_of_another_version_is_refused_with_the_version_that_is_spoken(play: Play) -> None:
    key = ["Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="]
    headers = [["Host", "127.0.0.1"], ["Sec-WebSocket-Version", "8"], key]
    step = {"step": "call", "request": f"GET {REALTIME}", "headers": [
        *headers, ["Connection", "Upgrade"], ["Upgrade", "websocket"],
    ]}  # fmt: skip
    played = await play(one(), {"a": opens()}, [step])
    assert played["call"].status == 400
    assert played["call"].header("sec-websocket-version") == "13"


async def test_a_public_name_becomes_the_targets_own_in_the_query_and_in_messages(play: Play) -> None:
    configuration = {**one(), "models": {"talker": {"targets": ["a/m"]}}}
    providers = {"a": {"models": ["m"], "rules": [
        {"when": {"path": "/v1/realtime"}, "conversation": [{"send": CREATED}]},
        {"when": {"path": "/v1/responses"}, "conversation": ["receive", {"send": CREATED}]},
    ]}}  # fmt: skip
    asks = '{"type": "response.create", "model": "talker", "input": "hi"}'
    steps = [
        talk("receive", path="/v1/realtime?model=talker&x=1", step="query"),
        talk({"send": asks}, "receive", path="/v1/responses", step="message"),
    ]
    played = await play(configuration, providers, steps)
    assert played.asked("a", "query")[0].target == "/v1/realtime?model=m&x=1"
    assert played.asked("a", "message")[0].messages == ['{"type": "response.create", "model": "m", "input": "hi"}']


async def test_sessions_end_with_service_restart_when_the_gateway_stops(play: Play) -> None:
    played = await play(one(), {"a": opens({"send": CREATED})}, [])
    listener = played.gateway.listener
    session = tasks.start(speak(played.gateway.port, talk("receive", "end")), "session")
    await until(lambda: played.asked("a"))
    await until(lambda: listener.gateway.under_way.count)
    await listener.drain(0.0, 0.05)
    assert (await session).closed == (1012, "")


KEYED = {**one(), "auth": {"keys": [{"name": "k", "key": "hpx_mine"}]}}


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        pytest.param(
            "/openai/realtime?api-version=2025-04-01-preview&deployment=m", [["api-key", "hpx_mine"]], id="Azure's SDK"
        ),
        pytest.param("/openai/v1/realtime?model=m", [["api-key", "hpx_mine"]], id="Azure's newer path"),
        pytest.param(
            REALTIME,
            [["Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.hpx_mine"]],
            id="a page in a browser",
        ),
    ],
)
async def test_a_session_is_opened_as_its_client_asks_for_it(play: Play, path: str, headers: list[list[str]]) -> None:
    """openai-python, lib/azure.py, `_configure_realtime`; https://platform.openai.com/docs/guides/realtime-websocket."""
    played = await play(KEYED, {"a": opens({"send": CREATED})}, [talk("receive", path=path, headers=headers)])
    assert played["talk"].messages == [CREATED]
    [asked] = played.asked("a")
    assert asked.target == REALTIME
    assert (asked.key, asked.header("api-key")) == (KEY_A, None)


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_a_page_of_another_site_opens_no_session_at_an_open_gateway(play: Play, origin: str) -> None:
    """A browser asks no permission for a WebSocket: RFC 6455 section 10.2."""
    played = await play(one(), {"a": opens({"send": CREATED})}, [talk("receive", headers=[["Origin", origin]])])
    assert played["talk"].status == 403
    assert not played.asked("a")
