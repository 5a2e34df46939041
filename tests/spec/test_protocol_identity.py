"""Nothing of one caller sticks to the next, and every answer carries the id it is known by."""

import logging
import re

import pytest

from tests.conftest import GatewayFactory
from tests.rigs.simulator import Simulator

from .wire import Response, ask, calls, chat, connect, get

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TENANTS = {"auth": {"keys": [{"name": "a", "key": "key-of-a"}, {"name": "b", "key": "key-of-b"}]}}
BROWSER = {"server": {"cors": {"allow_origins": ["https://app.example.com"]}}}


async def test_a_cookie_set_for_one_tenant_reaches_neither_it_nor_another(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    """Both calls use the same connection to the provider, where a cookie jar would strike."""
    running = await gateway(TENANTS)
    simulator.ledger.clear()
    for key in ("key-of-a", "key-of-b", "key-of-a"):
        answer = await ask(running.port, chat("sim-fault:setcookie", head=f"X-API-Key: {key}\r\nCookie: mine=1\r\n"))
        assert answer.status == 200
        assert not any("cookie" in name for name in answer.names)
    assert len(calls(simulator)) == 3
    assert len({record.connection.id for record in calls(simulator)}) == 1
    assert not any(b"cookie" in name.lower() for record in simulator.ledger for name, _ in record.headers)


OFFERED = ["a", "req_123", "!#$%&'*+-.^_`|~\"(),/:;<=>?@[\\]{}", "x" * 512]
REPLACED = {"4 KB": "x" * 4096, "513 characters": "x" * 513, "empty": "", "two words": "a b", "a tab": "a\tb"}


@pytest.mark.parametrize("offered", OFFERED, ids=len)
async def test_a_printable_id_the_client_offers_is_kept(
    gateway: GatewayFactory, simulator: Simulator, offered: str
) -> None:
    running = await gateway()
    answer = await ask(running.port, chat(head=f"X-Request-ID: {offered}\r\n"))
    assert answer.header("x-request-id") == offered
    assert calls(simulator)[0].header("x-request-id") == offered.encode()


@pytest.mark.parametrize("name", REPLACED)
async def test_any_other_id_is_replaced(gateway: GatewayFactory, simulator: Simulator, name: str) -> None:
    running = await gateway()
    answer = await ask(running.port, chat(head=f"X-Request-ID: {REPLACED[name]}\r\n"))
    assert answer.status == 200
    fresh = answer.header("x-request-id") or ""
    assert UUID.fullmatch(fresh)
    assert calls(simulator)[0].header("x-request-id") == fresh.encode()


@pytest.mark.parametrize("id", [b"a\r\n b", b"a\rb", b"a\nb", b"\xff\xfe", "ü".encode()], ids=repr)
async def test_an_id_that_is_no_header_value_gets_400_under_a_fresh_one(
    gateway: GatewayFactory, simulator: Simulator, id: bytes
) -> None:
    running = await gateway()
    answer = await ask(running.port, chat().replace(b"Host:", b"X-Request-ID: " + id + b"\r\nHost:"))
    assert (answer.status, answer.code) == (400, "bad_request")
    assert UUID.fullmatch(answer.header("x-request-id") or "")
    assert calls(simulator) == []


async def test_an_id_with_line_ends_sets_no_header_of_its_own(gateway: GatewayFactory) -> None:
    """What follows the line end is a header of the request, and stays one."""
    running = await gateway()
    answer = await ask(running.port, chat(head="X-Request-ID: a\r\nSet-Cookie: evil=1\r\n"))
    assert answer.header("x-request-id") == "a"
    assert answer.header("set-cookie") is None


PREFLIGHT = "Origin: https://app.example.com\r\nAccess-Control-Request-Method: POST\r\n"
EVERYWHERE = {
    "an answer": chat(),
    "a stream": chat(stream=True),
    "a provider's refusal": chat("sim-fault:status=400"),
    "a provider's failure": chat("sim-fault:status=500"),
    "an unknown model": chat("nobody-serves-this"),
    "an unknown path": get("/nowhere"),
    "a wrong method": get("/v1/embeddings"),
    "bytes that are no request": b"nonsense\r\n\r\n",
    "a preflight": get("/v1/models", head=PREFLIGHT).replace(b"GET", b"OPTIONS", 1),
    "a refused preflight": get("/v1/models", head=PREFLIGHT.replace("app", "b")).replace(b"GET", b"OPTIONS", 1),
    "a probe": get("/live"),
    "a HEAD": get("/live").replace(b"GET", b"HEAD", 1),
}


@pytest.mark.parametrize("name", EVERYWHERE)
async def test_every_answer_carries_exactly_one_id_and_bodies_of_errors_the_same(
    gateway: GatewayFactory, name: str
) -> None:
    running = await gateway(BROWSER)
    first, second = [await ask(running.port, EVERYWHERE[name]) for _ in range(2)]
    ids = [answer.header("x-request-id") or "" for answer in (first, second)]
    assert all(UUID.fullmatch(id) for id in ids)
    assert ids[0] != ids[1]
    if first.status >= 400 and name != "a provider's refusal":
        assert first.json["error"]["request_id"] == ids[0]


@pytest.mark.parametrize("how", [{}, {"stream": True}])
async def test_the_providers_own_id_stands_in_a_second_header_and_in_the_log(
    gateway: GatewayFactory, caplog: pytest.LogCaptureFixture, how: dict[str, bool]
) -> None:
    running = await gateway()
    with caplog.at_level(logging.INFO, "hapax.access"):
        answer = await ask(running.port, chat(head="X-Request-ID: mine\r\n", **how))
        running.caught_up()
    theirs = answer.header("x-upstream-request-id") or ""
    assert theirs.startswith("req_")
    assert answer.header("x-request-id") == "mine"
    fields = caplog.records[-1].__dict__["fields"]
    assert (fields["request_id"], fields["upstream_request_id"]) == ("mine", theirs)


async def test_requests_on_one_connection_have_ids_of_their_own(gateway: GatewayFactory) -> None:
    running = await gateway()
    answers: list[Response] = []
    async with connect(running.port) as wire:
        for _ in range(3):
            wire.send(chat())
            answers.append(await wire.response())
    assert len({answer.header("x-request-id") for answer in answers}) == 3
