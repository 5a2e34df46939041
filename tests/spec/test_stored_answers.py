"""Stored answers: the same question gets the same bytes again, for those who share them, and never a broken answer."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.gated import Gated

from .wire import Response, ask, becomes, chat, connect, request

A, B = "hpx_holder_a_0123456789", "hpx_holder_b_0123456789"
ON: dict[str, Any] = {"enabled": True}

BODY = (
    b'{"id":"c1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
)


def whole(body: bytes, status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nx-request-id: up-1\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ONE = b'data: {"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":"Good "}}]}\n\n'
TWO = b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"day"},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def framed(*events: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events)


STREAM = (HEAD + framed(ONE), framed(TWO), framed(DONE) + b"0\r\n\r\n")


@pytest.fixture
async def provider() -> AsyncIterator[Gated]:
    async with Gated([whole(BODY)], open_pieces=1) as running:
        yield running


@pytest.fixture
async def streaming() -> AsyncIterator[Gated]:
    async with Gated(STREAM, open_pieces=3) as running:
        yield running


def settings(provider: Gated, cache: dict[str, Any] = ON, **more: Any) -> dict[str, Any]:
    return {
        "providers": {"one": provider.settings()},
        "health_check": {"enabled": False},
        "failover": {"retries": 0},
        "cache": cache,
        **more,
    }


async def asked(running: RunningGateway, call: bytes) -> Response:
    """The answer to *call*, once the gateway has done with it."""
    answer = await ask(running.port, call)
    await becomes(lambda: running.listener.gateway.under_way.count == 0)
    return answer


def verdict(answer: Response) -> str | None:
    return answer.header("x-hapax-cache")


async def test_the_same_question_gets_the_same_bytes_and_no_provider_is_asked(
    gateway: GatewayFactory, provider: Gated
) -> None:
    running = await gateway(settings(provider))
    first, second = [await asked(running, chat("m")) for _ in range(2)]
    assert provider.asked == 1
    assert (first.body, second.body) == (BODY, BODY)
    assert (verdict(first), verdict(second)) == ("miss", "hit")
    assert (first.header("age"), second.header("age")) == (None, "0")
    assert second.header("x-hapax-provider") == "one"
    assert second.header("x-hapax-attempts") == "0"
    assert second.header("content-type") == "application/json"
    assert second.header("x-upstream-request-id") is None
    assert first.header("x-request-id") != second.header("x-request-id")


async def test_a_stream_is_replayed_with_its_bytes(gateway: GatewayFactory, streaming: Gated) -> None:
    running = await gateway(settings(streaming))
    first, second = [await asked(running, chat("m", stream=True)) for _ in range(2)]
    assert streaming.asked == 1
    assert first.body == second.body == ONE + TWO + DONE
    assert (verdict(first), verdict(second)) == ("miss", "hit")
    assert second.header("content-type") == "text/event-stream"
    assert second.header("cache-control") == first.header("cache-control")
