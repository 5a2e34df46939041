"""The query of a path that is answered here, as it arrives on a real connection."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from proxy.accounts.asked import AskedWrongly
from proxy.errors import ProxyError
from proxy.exchange import Exchange
from proxy.web.answer import Answer
from proxy.web.guard import Location
from proxy.web.inbound import Inbound
from proxy.web.parameters import parameters, refused

KNOWN = ("by", "since", "until", "key", "team")

Ask = Callable[[str], Awaitable[dict[str, str] | ProxyError]]


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    """What comes of a GET with a query."""
    found: list[dict[str, str] | ProxyError] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        exchange = Exchange("req-1")
        answer = Answer(exchange, cast(Any, request.protocol), request)
        try:
            found.append(parameters(Inbound(request, exchange, answer, Location("/", ""), 0, 1.0), KNOWN))
        except ProxyError as error:
            found.append(error)
        return web.Response()

    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    ((host, port),) = runner.addresses

    async with aiohttp.ClientSession() as session:

        async def get(query: str) -> dict[str, str] | ProxyError:
            async with session.get(URL(f"http://{host}:{port}/admin/usage{query}", encoded=True)) as answer:
                assert answer.status == 200
            return found.pop()

        yield get
    await runner.cleanup()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("?", {}),
        ("?by=key", {"by": "key"}),
        ("?by=key&since=7d", {"by": "key", "since": "7d"}),
        ("?by=", {"by": ""}),
        ("?by", {"by": ""}),
        ("?&by=key&", {"by": "key"}),
        ("?key=a%2Bb%26c%3Dd", {"key": "a+b&c=d"}),
        ("?key=%C3%A4", {"key": "ä"}),
        ("?team=web=team", {"team": "web=team"}),
        ("?b%79=day", {"by": "day"}),
        ("?team=a?b", {"team": "a?b"}),
        # A + is a space in a query, as ever.
        ("?since=2026-11-01T12:00:00+02:00", {"since": "2026-11-01T12:00:00 02:00"}),
    ],
)
async def test_parameters_are_read(ask: Ask, query: str, expected: dict[str, str]) -> None:
    assert await ask(query) == expected


@pytest.mark.parametrize(
    ("query", "message", "param"),
    [
        ("?by=key&by=key", "A parameter came twice.", "by"),
        ("?by=key&b%79=day", "A parameter came twice.", "by"),
        ("?sort=cost", "Parameters known here are: by, key, since, team, until.", "sort"),
        ("?BY=key", "Parameters known here are: by, key, since, team, until.", "BY"),
        ("?=key", "Parameters known here are: by, key, since, team, until.", ""),
        ("?" + "x" * 1000, "Parameters known here are: by, key, since, team, until.", "x" * 64),
        ("?by=%FF", "The query cannot be read.", None),
        ("?%FF=key", "The query cannot be read.", None),
        ("?by=%ED%A0%80", "The query cannot be read.", None),
        ("?" + "&".join(["by=key"] * 21), "The query cannot be read.", None),
    ],
)
async def test_whatever_cannot_be_meant_is_refused(ask: Ask, query: str, message: str, param: str | None) -> None:
    error = await ask(query)
    assert isinstance(error, ProxyError)
    assert (error.status, error.code, error.message, error.param) == (400, "invalid_parameter", message, param)


@pytest.mark.parametrize(("param", "told"), [("limits.concurrent", "limits.concurrent"), ("", None)])
def test_who_asked_wrongly_is_told_where(param: str, told: str | None) -> None:
    error = refused(AskedWrongly(param, "That cannot be."))
    assert (error.status, error.code, error.message, error.param) == (400, "invalid_parameter", "That cannot be.", told)
