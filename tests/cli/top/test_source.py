"""The gateway's pages, as another server would answer them."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import formatdate

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.cli.gateway import Place
from proxy.cli.top.source import Away, Missing, Refused, Source

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Asked = Callable[[Answer], Awaitable[Source]]


@pytest.fixture
async def source(aiohttp_server: Callable[[web.Application], Awaitable[TestServer]]) -> AsyncIterator[Asked]:
    """A factory: what asks a server that answers so."""
    async with aiohttp.ClientSession(headers={"X-API-Key": "secret"}) as session:

        async def made(answer: Answer) -> Source:
            application = web.Application()
            application.router.add_get("/{path:.*}", answer)
            server = await aiohttp_server(application)
            return Source(Place(str(server.make_url("/")).rstrip("/"), "secret", None), session)

        yield made


def answering(status: int = 200, body: bytes = b"{}", **headers: str) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return answer


async def test_a_page_is_its_json(source: Asked) -> None:
    assert await (await source(answering(body=b'{"calls": []}'))).page("/admin/calls", limit="1") == {"calls": []}


@pytest.mark.parametrize(("ahead", "believed"), [(3600.0, 3600.0), (-90.0, -90.0), (0.0, 0.0), (0.9, 0.0)])
async def test_the_time_is_that_of_the_gateway(source: Asked, ahead: float, believed: float) -> None:
    there = await source(answering(Date=formatdate(time.time() + ahead, usegmt=True)))
    await there.page("/")
    assert there.now() - time.time() == pytest.approx(believed, abs=1.0)
    if not believed:
        assert there._ahead == 0.0


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (401, b"{}", Refused, "does not know this key: give its auth.admin_key"),
        (403, b"{}", Refused, "This is not the admin key of the gateway"),
        (404, b'{"error": {"message": "No \\u001b[2J such page."}}', Missing, "No \ufffd[2J such page."),
        (503, b"[]", Missing, "It answered 503."),
        (200, b"<html>", Away, "its answer is no JSON"),
    ],
)
async def test_what_is_wrong_is_said(
    source: Asked, status: int, body: bytes, error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as caught:
        await (await source(answering(status, body))).page("/")
    assert said in str(caught.value)


async def test_a_page_that_is_not_there_is_none(source: Asked) -> None:
    assert await (await source(answering(404))).page_if_there("/admin/series") is None


async def test_the_key_goes_nowhere_else(source: Asked) -> None:
    paths = []

    async def answer(request: web.Request) -> web.StreamResponse:
        paths.append(request.path)
        return web.Response(status=302, body=b"{}", headers={"Location": "/elsewhere"})

    with pytest.raises(Missing, match="It answered 302"):
        await (await source(answer)).page("/admin/calls")
    assert paths == ["/admin/calls"]
