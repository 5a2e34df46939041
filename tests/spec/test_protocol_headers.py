"""Browsers are told who may call and what they may read; of a provider's headers a table says which pass."""

import re

import pytest

from tests.conftest import GatewayFactory
from tests.rigs.simulator import Simulator

from .wire import ONCE, Response, ask, calls, chat, get, request

ORIGIN = "https://app.example.com"
FROM = f"Origin: {ORIGIN}\r\n"
SETTINGS = {
    "auth": {"keys": [{"name": "web", "key": "good-key"}]},
    "server": {"cors": {"allow_origins": [ORIGIN, "https://*.trusted.example"]}},
}
KEY = "Authorization: Bearer good-key\r\n"
SDK = (
    "authorization,content-type,openai-organization,openai-project,user-agent,x-stainless-arch,x-stainless-lang,"
    "x-stainless-os,x-stainless-package-version,x-stainless-retry-count,x-stainless-runtime,"
    "x-stainless-runtime-version,x-stainless-timeout"
)
"""What openai-node asks for in a browser."""
EXPOSED = {
    "x-request-id",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "openai-processing-ms",
    *(f"x-ratelimit-{kind}-{what}" for kind in ("limit", "remaining", "reset") for what in ("requests", "tokens")),
}


def preflight(asked: str, *, origin: str = ORIGIN) -> bytes:
    head = f"Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n"
    return request("/v1/chat/completions", method="OPTIONS", head=f"{head}Access-Control-Request-Headers: {asked}\r\n")


def listed(answer: Response, name: str) -> set[str]:
    return {part.strip() for part in (answer.header(name) or "").split(",")}


@pytest.mark.parametrize(
    "asked", [SDK, SDK.replace(",", ", "), f"{SDK},x-api-key,openai-beta,x-stainless-helper-method"]
)
async def test_the_preflight_of_openai_node_is_granted_without_a_key(
    gateway: GatewayFactory, simulator: Simulator, asked: str
) -> None:
    running = await gateway(SETTINGS)
    answer = await ask(running.port, preflight(asked))
    assert (answer.status, answer.body) == (204, b"")
    assert answer.header("access-control-allow-origin") == ORIGIN
    assert listed(answer, "access-control-allow-headers") == {name.strip() for name in asked.split(",")}
    assert {"GET", "POST", "DELETE"} <= listed(answer, "access-control-allow-methods")
    assert answer.header("access-control-max-age") == "600"
    assert "Origin" in listed(answer, "vary")
    assert answer.header("access-control-allow-credentials") == "true"
    assert calls(simulator) == []


async def test_only_headers_that_may_be_sent_are_granted(gateway: GatewayFactory) -> None:
    """The wildcard would not cover Authorization, and never appears."""
    running = await gateway(SETTINGS)
    answer = await ask(running.port, preflight("Authorization,X-Evil,x-stainless-new,cookie,x-forwarded-for,*,"))
    assert listed(answer, "access-control-allow-headers") == {"authorization", "x-stainless-new"}


@pytest.mark.parametrize("origin", ["https://a.trusted.example", "https://b.c.trusted.example"])
async def test_an_origin_may_be_listed_as_a_glob(gateway: GatewayFactory, origin: str) -> None:
    running = await gateway(SETTINGS)
    assert (await ask(running.port, preflight(SDK, origin=origin))).header("access-control-allow-origin") == origin


@pytest.mark.parametrize(
    "origin",
    ["https://elsewhere.example", "http://app.example.com", f"{ORIGIN}.evil.example", "null", f"{ORIGIN}:8443"],
)
async def test_an_origin_that_is_not_listed_gets_no_grant(
    gateway: GatewayFactory, simulator: Simulator, origin: str
) -> None:
    running = await gateway(SETTINGS)
    answer = await ask(running.port, preflight(SDK, origin=origin))
    assert (answer.status, answer.code) == (403, "origin_not_allowed")
    asked = await ask(running.port, chat(head=f"Origin: {origin}\r\n{KEY}"))
    for each in (answer, asked):
        assert not any(name.startswith("access-control-") for name in each.names)
        assert each.header("vary") == "Origin"


async def test_cors_is_off_until_an_origin_is_listed(gateway: GatewayFactory) -> None:
    """And while there are no keys, so is every page."""
    running = await gateway()
    answer = await ask(running.port, preflight(SDK))
    assert answer.status == 403
    asked = await ask(running.port, chat(head=FROM))
    assert asked.status == 403
    assert not any(name.startswith("access-control-") for name in answer.names | asked.names)


READABLE = {
    "an answer": (chat(head=FROM + KEY), 200),
    "a stream": (chat(head=FROM + KEY, stream=True), 200),
    "no key": (chat(head=FROM), 401),
    "a wrong key": (chat(head=f"{FROM}X-API-Key: bad\r\n"), 401),
    "an unknown path": (get("/nowhere", head=FROM), 404),
    "a crooked path": (get("/v1//models", head=FROM), 404),
    "a wrong method": (get("/v1/embeddings", head=FROM + KEY), 405),
    "a body that is no JSON": (request("/v1/embeddings", b"{", head=FROM + KEY), 400),
    "a rate limit": (chat("sim-fault:status=429,retry_after=7", head=FROM + KEY), 429),
    "a refusal": (chat("sim-fault:status=400", head=FROM + KEY), 400),
    "a failure": (chat("sim-fault:status=500", head=FROM + KEY), 502),
    "a loop": (chat(head=f"{FROM}Via: 1.1 hapax\r\n"), 508),
    "another version": (chat(head=FROM, version="2.0"), 505),
    "an upgrade": (get("/v1/realtime", head=f"{FROM}Upgrade: websocket\r\n"), 426),
}


@pytest.mark.parametrize("name", READABLE)
async def test_a_script_may_read_answers_streams_and_errors_alike(gateway: GatewayFactory, name: str) -> None:
    running = await gateway(SETTINGS | ONCE)
    data, status = READABLE[name]
    answer = await ask(running.port, data)
    assert (answer.status, answer.header("access-control-allow-origin")) == (status, ORIGIN)
    assert listed(answer, "access-control-expose-headers") >= EXPOSED
    assert answer.header("vary") == "Origin"
    if status == 429:
        assert answer.header("retry-after") == "7"


OURS = {
    "x-request-id": r"[0-9a-f-]{36}",
    "date": r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT",
    "x-hapax-provider": "sim",
    "x-hapax-attempts": "1",
}
KEPT = {
    "openai-processing-ms": "42",
    "openai-version": "2020-10-01",
    "openai-model": "sim-1-2025-01-01",
    "x-upstream-request-id": r"req_\d{12}",
}
WHOLE = {"content-type": "application/json", "content-length": r"\d+", "x-response-time": r"\d+\.\d{3}ms"}
OWN = {"cache-control": "no-store"}
STREAMED = {
    "content-type": "text/event-stream",
    "transfer-encoding": "chunked",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}


def exactly(answer: Response, expected: dict[str, str]) -> None:
    """Each header once, with a value of that form, and no other."""
    names = [name.lower() for name, _ in answer.headers]
    assert sorted(names) == sorted(expected)
    for name, form in expected.items():
        assert re.fullmatch(form, answer.header(name) or ""), name


@pytest.mark.parametrize("stream", [False, True])
async def test_of_all_a_provider_says_about_itself_exactly_the_table_passes(
    gateway: GatewayFactory, simulator: Simulator, stream: bool
) -> None:
    """No organisation, project, rate limit, cookie, server, banner, HSTS, Alt-Svc or CDN header."""
    running = await gateway()
    answer = await ask(running.port, chat("sim-fault:headers_p20", stream=stream))
    assert answer.status == 200
    exactly(answer, OURS | KEPT | (STREAMED if stream else WHOLE))


async def test_a_refusal_by_the_provider_passes_by_the_same_table(gateway: GatewayFactory) -> None:
    running = await gateway()
    answer = await ask(running.port, chat("sim-fault:headers_p20,status=400"))
    assert answer.status == 400
    exactly(answer, OURS | KEPT | WHOLE)


@pytest.mark.parametrize("status", [401, 429, 500, 503])
async def test_a_failure_carries_nothing_of_the_provider_but_that_it_was_asked(
    gateway: GatewayFactory, status: int
) -> None:
    running = await gateway(ONCE)
    answer = await ask(running.port, chat(f"sim-fault:headers_p20,status={status}"))
    assert answer.status >= 429
    ours = OURS | WHOLE | OWN
    if status in (429, 503):
        # What has cost our own tries says when to come back.
        ours |= {"retry-after": r"\d+", "retry-after-ms": r"\d+"}
    if status != 429:
        ours |= {"x-should-retry": "false"}
    exactly(answer, ours)


@pytest.mark.parametrize("data", [get("/live"), get("/v1/models"), get("/nowhere"), b"nonsense\r\n\r\n"])
async def test_no_answer_of_our_own_names_its_server(gateway: GatewayFactory, data: bytes) -> None:
    running = await gateway()
    answer = await ask(running.port, data)
    assert not answer.names & {"server", "via", "x-powered-by"}
    assert not any("aiohttp" in value.lower() or "python" in value.lower() for _, value in answer.headers)


async def test_names_a_provider_makes_up_do_not_overrule_ours(gateway: GatewayFactory, simulator: Simulator) -> None:
    running = await gateway()
    for name in ("X-Hapax-Provider", "X-Hapax-Attempts", "X-Upstream-Request-ID", "Access-Control-Allow-Origin"):
        answer = await ask(running.port, chat(f"sim-fault:header={name}:evil"))
        assert answer.status == 200
        assert "evil" not in [value for _, value in answer.headers]
