"""Two providers, and what a client sees when the first one fails: only the second, or one honest error."""

import asyncio
import gc
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.clock import at_most
from tests.rigs.simulator import Send, Simulator
from tests.spec.wire import ONCE, Response, ask, calls, chat, connect, get, request, target

FAST = {"connect": "1s", "first_token": "400ms", "idle": "400ms", "total": "2s"}
Pair = Callable[..., Awaitable[RunningGateway]]


@pytest.fixture
def pair(simulator: Simulator, backup: Simulator, gateway: GatewayFactory) -> Pair:
    """A gateway with two providers: `first`, which is *simulator*, and `second`, which is *backup*."""

    async def start(first: dict[str, Any] | None = None, **settings: Any) -> RunningGateway:
        providers = {
            "first": target(simulator, timeouts=FAST, **(first or {})),
            "second": target(backup, timeouts={**FAST, "first_token": "5s"}),
        }
        failover = {"budget": 1, "initial_delay": "1ms", "max_delay": "2ms"}
        return await gateway(
            {"providers": providers, "provider_preference": ["first", "second"], "failover": failover, **settings}
        )

    return start


def tries(simulator: Simulator, backup: Simulator) -> str:
    return str(len(calls(simulator)) + len(calls(backup)))


def assert_second_answered(answer: Response, simulator: Simulator, backup: Simulator) -> None:
    """The whole answer is the second provider's, and nothing of the first one shows."""
    assert answer.status == 200
    assert answer.header("x-hapax-provider") == "second"
    assert answer.header("x-hapax-attempts") == tries(simulator, backup)
    assert len(calls(backup)) == 1
    assert b"FIRST" not in answer.body
    assert answer.body.count(b"SECOND") == 1
    assert calls(backup)[0].body == calls(simulator)[0].body


REFUSALS = [
    "status=429",
    "status=503",
    "status=529",
    "status=401",
    "status=403",
    "status=402",
]
FAILURES = ["status=500", "status=502", "status=504", "status=520", "redirect=/v1/elsewhere", "html"]
DEATHS = ["fin", "rst", "silence", "head_cut", "junk", "cl_te", "two_cl", "bad_te", "status=000", "status=999"]
BODIES = ["badjson", "list", "empty", "badlength=+5", "gzip_cut", "gzip_corrupt", "coding=br", "fin@9", "rst@9"]
OF_A_CALL = tuple(f"proxy.{room}" for room in ("relay", "core.exchange", "http", "middleware", "admission", "api"))
PREAMBLES = ["error@0", "error@1", "fin@1", "rst@1", "end@0", "end@1", "stall@0", "stall@1", "badchunk@1", "empty"]
DISGUISES = ["json_for_stream", "error_for_stream", "html,status=200"]


@pytest.mark.parametrize("fault", [*REFUSALS, *FAILURES, *sorted({*DEATHS} - {"silence"}), *BODIES])
async def test_a_provider_that_gives_no_whole_answer_is_replaced(
    simulator: Simulator, backup: Simulator, pair: Pair, fault: str
) -> None:
    simulator.direct(f"id=FIRST,{fault}")
    backup.direct("id=SECOND")
    running = await pair()
    assert_second_answered(await ask(running.port, chat("sim-fast")), simulator, backup)


@pytest.mark.parametrize("fault", [*REFUSALS[:3], *FAILURES[:2], *DEATHS, *PREAMBLES, *DISGUISES])
async def test_a_stream_that_fails_before_its_first_content_is_replaced(
    simulator: Simulator, backup: Simulator, pair: Pair, fault: str
) -> None:
    simulator.direct(f"id=FIRST,{fault}")
    backup.direct("id=SECOND")
    running = await pair()
    answer = await ask(running.port, chat("sim-fast", stream=True))
    assert (answer.status, answer.header("content-type")) == (200, "text/event-stream")
    assert answer.header("x-hapax-provider") == "second"
    assert answer.header("x-hapax-attempts") == tries(simulator, backup)
    assert b"FIRST" not in answer.body
    assert b"SECOND" in answer.body
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert answer.body.count(b'"role":"assistant"') == 1
    assert b"error" not in answer.body
    # The gateway no longer listens to the first one.
    for record in calls(simulator):
        if not record.finished:
            async with asyncio.timeout(at_most(2)):
                await record.closed()


@pytest.mark.parametrize(("path", "events"), [("/v1/completions", 0), ("/v1/responses", 1), ("/v1/messages", 1)])
async def test_so_is_a_stream_of_another_dialect(
    simulator: Simulator, backup: Simulator, pair: Pair, path: str, events: int
) -> None:
    simulator.direct(f"id=FIRST,end@{events}")
    backup.direct("id=SECOND")
    running = await pair()
    body = {"model": "sim-fast", "stream": True, "prompt": "a", "input": "a", "max_tokens": 5}
    body["messages"] = [{"role": "user", "content": "a"}]
    answer = await ask(running.port, request(path, body))
    assert (answer.status, answer.header("x-hapax-provider")) == (200, "second")
    assert b"FIRST" not in answer.body


async def test_a_provider_out_of_reach_is_replaced(backup: Simulator, pair: Pair) -> None:
    backup.direct("id=SECOND")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        running = await pair({"base_url": f"http://127.0.0.1:{closed.getsockname()[1]}/v1"})
        answer = await ask(running.port, chat("sim-fast"))
    assert (answer.status, answer.header("x-hapax-provider")) == (200, "second")
    assert b"SECOND" in answer.body


async def test_after_the_first_content_no_other_provider_is_asked_instead(
    simulator: Simulator, backup: Simulator, pair: Pair
) -> None:
    simulator.direct("id=FIRST,fin@3")
    running = await pair()
    async with connect(running.port) as wire:
        wire.send(chat("sim-fast", stream=True))
        received, how = await wire.to_end()
    assert how == "fin"
    assert b"FIRST" in received
    assert not received.endswith(b"0\r\n\r\n")
    assert b'"code":"upstream_truncated"' in received
    assert b"[DONE]" not in received
    assert calls(backup) == []


@pytest.mark.parametrize("finish", ["null", '"stop"'])
async def test_an_error_a_provider_tells_after_its_content_passes_once_and_is_no_good_end(
    simulator: Simulator, backup: Simulator, pair: Pair, finish: str
) -> None:
    stream = (
        b'data: {"choices":[{"index":0,"delta":{"content":"FIRST"},"finish_reason":%b}]}\n\n'
        b'data: {"error":{"type":"server_error","code":"x","message":"m"}}\n\n' % finish.encode()
    )
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(stream)
    simulator.script([Send(head + stream)], match="/v1/chat/*")
    running = await pair()
    async with connect(running.port) as wire:
        wire.send(chat("sim-fast", stream=True))
        await wire.until(b"\r\n\r\n")
        received, how = await wire.to_end()
    assert how == "fin"
    assert received == b"%x\r\n%b\r\n" % (len(stream), stream), "nothing added, and no terminating chunk"
    assert calls(backup) == []


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_clients_own_mistake_is_told_by_the_first(
    simulator: Simulator, backup: Simulator, pair: Pair, status: int
) -> None:
    simulator.direct(f"status={status},code=some_code")
    running = await pair()
    answer = await ask(running.port, chat("sim-fast"))
    assert (answer.status, answer.json["error"]["code"]) == (status, "some_code")
    assert answer.header("x-hapax-provider") == "first"
    assert answer.header("x-hapax-attempts") == "1"
    assert calls(backup) == []


async def test_an_error_event_that_blames_the_request_is_a_400(
    simulator: Simulator, backup: Simulator, pair: Pair
) -> None:
    event = b'data: {"error":{"type":"invalid_request_error","code":"bad_tool","message":"m"}}\n\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(event)
    simulator.script([Send(head + event)], match="/v1/chat/*")
    running = await pair()
    answer = await ask(running.port, chat("sim-fast", stream=True))
    assert (answer.status, answer.json["error"]["code"]) == (400, "bad_tool")
    assert calls(backup) == []


@pytest.mark.parametrize(
    "fault",
    ["status=500", "status=502", "status=503", "status=504", "status=529", "status=503,retry_after=0", "fin", "rst"],
)
async def test_what_is_more_than_a_question_is_not_asked_twice(
    simulator: Simulator, backup: Simulator, pair: Pair, fault: str
) -> None:
    simulator.direct(fault)
    running = await pair()
    for question in (
        request("/v1/batches", {"input_file_id": "f", "endpoint": "/v1/chat/completions"}),
        request("/v1/responses", {"model": "sim-fast", "input": "a", "store": True}),
        request("/v1/files/f", method="DELETE"),
    ):
        simulator.ledger.clear()
        answer = await ask(running.port, question)
        assert answer.status in (502, 503, 504)
        assert answer.header("x-should-retry") == "false"
        assert len(calls(simulator)) == 1
        assert calls(backup) == []


async def test_but_it_may_go_to_another_when_it_was_never_sent(backup: Simulator, pair: Pair) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        running = await pair({"base_url": f"http://127.0.0.1:{closed.getsockname()[1]}/v1"})
        answer = await ask(running.port, request("/v1/responses", {"model": "sim-fast", "input": "a", "store": True}))
        assert (answer.status, answer.header("x-hapax-provider")) == (200, "second")
        listed = await ask(running.port, get("/v1/files"))
        assert (listed.status, listed.header("x-hapax-provider")) == (200, "second")


FIELD = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nsim-fast\r\n'
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nx\r\n--b--\r\n'
FORM = "Content-Type: multipart/form-data; boundary=b\r\n"


async def test_an_upload_of_which_nothing_was_sent_goes_to_another(backup: Simulator, pair: Pair) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        running = await pair({"base_url": f"http://127.0.0.1:{closed.getsockname()[1]}/v1"})
        answer = await ask(running.port, request("/v1/audio/transcriptions", FIELD + FILE, head=FORM))
    assert (answer.status, answer.header("x-hapax-provider")) == (200, "second")
    assert calls(backup)[-1].body == FIELD + FILE


async def test_an_upload_that_was_under_way_goes_nowhere_else(
    simulator: Simulator, backup: Simulator, pair: Pair
) -> None:
    simulator.direct("status=503")
    running = await pair()
    # More than one read can bring: by the time it is refused, its start is gone.
    form = FIELD + FILE.replace(b"\r\nx\r\n", b"\r\n" + b"x" * 4_000_000 + b"\r\n")
    answer = await ask(running.port, request("/v1/audio/transcriptions", form, head=FORM))
    assert (answer.status, answer.code) == (503, "upstream_unavailable")
    assert calls(backup) == []


ALL_FAIL = [
    ("status=500", 502, "upstream_error"),
    ("status=502", 502, "upstream_error"),
    ("fin", 502, "upstream_truncated"),
    ("junk", 502, "upstream_protocol_error"),
    ("status=999", 502, "upstream_protocol_error"),
    ("redirect=/x", 502, "upstream_redirect"),
    ("status=401", 502, "upstream_auth_error"),
    ("status=501", 501, "upstream_error"),
    ("empty", 502, "upstream_protocol_error"),
    ("status=504", 504, "upstream_timeout"),
    ("status=503", 503, "upstream_unavailable"),
    ("status=429", 429, "rate_limit_exceeded"),
    ("code=insufficient_quota", 429, "insufficient_quota"),
]


@pytest.mark.parametrize(("fault", "status", "code"), ALL_FAIL)
@pytest.mark.parametrize("stream", [False, True])
async def test_when_all_fail_there_is_one_error_with_a_status(
    simulator: Simulator, backup: Simulator, pair: Pair, fault: str, status: int, code: str, stream: bool
) -> None:
    if (fault, stream) == ("empty", True):
        code = "upstream_truncated"
    simulator.direct(f"id=FIRST,{fault}")
    backup.direct(f"id=SECOND,{fault}")
    running = await pair()
    answer = await ask(running.port, chat("sim-fast", stream=stream))
    assert (answer.status, answer.header("content-type")) == (status, "application/json")
    error = answer.json["error"]
    assert (error["code"], error["request_id"]) == (code, answer.header("x-request-id"))
    assert set(error) == {"message", "type", "param", "code", "request_id", "details"}
    # What may be over soon is told with the time to come back; our own tries are spent unless it was a limit.
    passing = code in ("upstream_unavailable", "rate_limit_exceeded")
    assert answer.header("x-should-retry") == (None if code == "rate_limit_exceeded" else "false")
    assert (answer.header("retry-after") is not None) is passing
    assert answer.header("x-hapax-attempts") == tries(simulator, backup)
    assert min(len(calls(simulator)), len(calls(backup))) >= 1
    assert b"FIRST" not in answer.body
    assert b"SECOND" not in answer.body


async def test_when_all_are_silent_the_error_is_a_504(simulator: Simulator, backup: Simulator, pair: Pair) -> None:
    simulator.direct("silence")
    backup.direct("stall@1")
    running = await pair(
        None,
        providers={
            "first": target(simulator, timeouts=FAST),
            "second": target(backup, timeouts=FAST),
        },
    )
    answer = await ask(running.port, chat("sim-fast", stream=True))
    assert (answer.status, answer.code) == (504, "upstream_timeout")
    assert answer.header("x-should-retry") == "false"
    for record in (*calls(simulator), *calls(backup)):
        assert await record.closed() in ("client", "reset")


async def test_when_all_ask_for_patience_the_client_hears_the_least(
    simulator: Simulator, backup: Simulator, pair: Pair
) -> None:
    simulator.direct("status=429,retry_after=40")
    backup.direct("status=429,retry_after=30")
    running = await pair()
    answer = await ask(running.port, chat("sim-fast"))
    assert (answer.status, answer.code) == (429, "rate_limit_exceeded")
    assert 28 <= int(answer.header("retry-after") or 0) <= 30
    assert answer.header("x-should-retry") is None


async def test_a_model_no_provider_serves_is_a_404_and_asks_none(
    simulator: Simulator, backup: Simulator, pair: Pair
) -> None:
    running = await pair()
    answer = await ask(running.port, chat("gpt-unknown"))
    assert (answer.status, answer.code) == (404, "model_not_found")
    assert calls(simulator) == calls(backup) == []


async def test_each_target_is_asked_for_its_own_name_of_the_model(
    simulator: Simulator, backup: Simulator, pair: Pair
) -> None:
    simulator.direct("status=503")
    running = await pair(models={"public": {"targets": ["first/sim-echo", "second/sim-fast"]}})
    body = b'{"messages":[{"role":"user","content":"a"}],\n "model" : "public"}'
    answer = await ask(running.port, request("/v1/chat/completions", body))
    assert (answer.status, answer.header("x-hapax-provider")) == (200, "second")
    assert {record.body for record in calls(simulator)} == {body.replace(b'"public"', b'"sim-echo"')}
    assert calls(backup)[0].body == body.replace(b'"public"', b'"sim-fast"')
    assert json.loads(answer.body)["model"] == "sim-fast"


async def test_while_all_rest_the_error_is_still_a_rate_limit_with_the_wait_that_is_left(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    """Also where the provider named no time: the second call is refused without asking it."""
    running = await gateway(ONCE)
    simulator.direct("status=429")
    first, second = [await ask(running.port, chat("sim-fast")) for _ in range(2)]
    assert [(answer.status, answer.code) for answer in (first, second)] == [(429, "rate_limit_exceeded")] * 2
    assert (first.header("retry-after"), first.header("x-should-retry")) == ("1", None)
    assert 1 <= int(first.header("retry-after-ms") or 0) <= 500
    assert (second.header("retry-after"), second.header("x-should-retry")) == ("1", None)
    assert second.header("x-hapax-attempts") == "0"
    assert len(calls(simulator)) == 1


@pytest.mark.parametrize(("fault", "code"), [("status=508", "upstream_error"), ("redirect=/x", "upstream_redirect")])
async def test_what_a_target_would_say_again_it_is_not_asked_again(
    simulator: Simulator, gateway: GatewayFactory, fault: str, code: str
) -> None:
    running = await gateway()
    answer = await ask(running.port, chat(f"sim-fault:{fault}"))
    assert (answer.status, answer.code, answer.header("x-hapax-attempts")) == (502, code, "1")
    assert len(calls(simulator)) == 1


async def test_without_retries_not_even_a_wait_is_followed_by_another_attempt(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(ONCE)
    answer = await ask(running.port, chat("sim-fault:status=429,retry_after=1"))
    assert (answer.status, answer.header("retry-after"), answer.header("x-hapax-attempts")) == (429, "1", "1")
    assert len(calls(simulator)) == 1


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("fault", ["", "status=400", "status=503", "fin", "silence"])
async def test_a_call_leaves_nothing_to_the_garbage_collector(
    simulator: Simulator, backup: Simulator, pair: Pair, fault: str, stream: bool
) -> None:
    """Walking all there is would hold up other calls for milliseconds, and what waits for it is memory in use."""
    running = await pair()
    async with connect(running.port) as wire:

        async def call() -> None:
            simulator.direct(fault)
            wire.send(chat("sim-fast", stream=stream))
            await wire.response()
            await asyncio.sleep(0)

        await call()
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(3):
                await call()
            gc.collect()
            left = [f"{getattr(each, '__module__', '')}.{type(each).__name__}" for each in gc.garbage]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    # Probes and a provider's connection, which its parser holds, are not of the call.
    assert sorted(name for name in left if name.startswith(OF_A_CALL)) == []
