"""Every error is an OpenAI error object that SDKs understand, and none repeats what the client sent."""

import asyncio
import logging
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from proxy.api.models import Models
from proxy.api.openai import OpenAI
from proxy.core.errors import KINDS, ProxyError
from proxy.observe.lines import Json, RecordFormatter, Text
from tests.conftest import GatewayFactory
from tests.rigs.simulator import Simulator

from .wire import Response, ask, calls, chat, get, request

CANARY = "canary-5f1c9a"
BITTEN = [{"role": "user", "content": CANARY}]
LINE = f"X-Canary: {CANARY}\r\nCookie: {CANARY}\r\nFrom: {CANARY}\r\nX-Correlation-Id: {CANARY} {CANARY}\r\n"
SETTINGS: dict[str, Any] = {
    "auth": {"keys": [{"name": "web", "key": "good-key", "models": ["sim-*", "lost-*"]}]},
    "server": {"max_body_bytes": "64KiB", "max_header_bytes": 8192},
}
GOOD = f"X-API-Key: good-key\r\n{LINE}"


def bitten(model: str = "sim-fast", **fields: Any) -> bytes:
    """A chat with the canary wherever a client can put it."""
    return chat(model, head=GOOD, messages=BITTEN, user=CANARY, **fields)


def altered(data: bytes, old: str, new: str) -> bytes:
    assert old.encode() in data
    return data.replace(old.encode(), new.encode(), 1)


PROVOKED: dict[str, tuple[bytes, int, str]] = {
    "bytes that are no request": (f"{CANARY}\r\n{CANARY}\r\n\r\n".encode(), 400, "bad_request"),
    "a header that is none": (altered(bitten(), "X-Canary:", "X-Canary :"), 400, "bad_request"),
    "a method that is none": (altered(bitten(), "POST", f"{CANARY}\x01"), 400, "bad_request"),
    "a body that is no JSON": (
        request("/v1/chat/completions", f'{{"{CANARY}'.encode(), head=GOOD),
        400,
        "invalid_json",
    ),
    "a key twice": (
        request("/v1/embeddings", f'{{"{CANARY}":1,"{CANARY}":2}}'.encode(), head=GOOD),
        400,
        "invalid_json",
    ),
    "no model": (request("/v1/embeddings", {"input": CANARY}, head=GOOD), 400, "missing_required_parameter"),
    "a model that is a list": (request("/v1/embeddings", {"model": [CANARY]}, head=GOOD), 400, "invalid_type"),
    "a destination": (request("/v1/embeddings", {"base_url": CANARY}, head=GOOD), 400, "unsupported_parameter"),
    "no boundary": (
        request("/v1/files", CANARY.encode(), head=f"{GOOD}Content-Type: multipart/form-data; x={CANARY}\r\n"),
        400,
        "invalid_multipart",
    ),
    "two keys": (
        chat(head=f"X-API-Key: {CANARY}\r\nAuthorization: Bearer other-{CANARY}\r\n"),
        401,
        "invalid_api_key",
    ),
    "no key": (chat(head=LINE, user=CANARY), 401, "missing_api_key"),
    "a wrong key": (chat(head=f"Authorization: Bearer {CANARY}\r\n"), 401, "invalid_api_key"),
    "a model of others": (bitten(CANARY), 403, "model_not_allowed"),
    "an unknown model": (bitten(f"lost-{CANARY}"), 404, "model_not_found"),
    "an unknown path": (get(f"/{CANARY}?{CANARY}={CANARY}", head=GOOD), 404, "unknown_url"),
    "a wrong method": (request(f"/v1/embeddings?{CANARY}", method="PATCH", head=GOOD), 405, "method_not_allowed"),
    "an unknown method": (request("/v1/models", method="PROPFIND", head=GOOD), 405, "method_not_allowed"),
    "a made-up method": (altered(bitten(), "POST", CANARY), 400, "bad_request"),
    "a large body": (bitten(padding=CANARY * 10_000), 413, "request_too_large"),
    "another content type": (
        request("/v1/embeddings", CANARY.encode(), head=f"{GOOD}Content-Type: text/{CANARY}\r\n"),
        415,
        "unsupported_media_type",
    ),
    "a compressed body": (
        request("/v1/embeddings", CANARY.encode(), head=f"{GOOD}Content-Encoding: {CANARY}\r\n"),
        415,
        "unsupported_content_encoding",
    ),
    "an expectation": (chat(head=f"{GOOD}Expect: {CANARY}\r\n"), 417, "expectation_failed"),
    "an upgrade": (get("/v1/realtime", head=f"{GOOD}Upgrade: {CANARY}\r\n"), 426, "upgrade_not_supported"),
    "a large head": (get("/live", head=f"X-Large: {CANARY * 1000}\r\n"), 431, "headers_too_large"),
    "a long path": (get(f"/{CANARY * 1000}"), 431, "headers_too_large"),
    "a transfer coding": (
        get("/live", head=f"{GOOD}Transfer-Encoding: {CANARY}, chunked\r\n"),
        501,
        "transfer_encoding_not_implemented",
    ),
    "another version": (chat(head=GOOD, version="2.0"), 505, "http_version_not_supported"),
    "a loop": (chat(head=f"{GOOD}Via: 1.1 hapax, 1.1 {CANARY}\r\n"), 508, "loop_detected"),
    "a provider's rate limit": (bitten("sim-fault:status=429"), 429, "rate_limit_exceeded"),
    "a provider's quota": (bitten("sim-fault:status=429,code=insufficient_quota"), 429, "insufficient_quota"),
    "a provider's refusal of our key": (bitten("sim-fault:status=401"), 502, "upstream_auth_error"),
    "a provider's failure": (bitten("sim-fault:status=500"), 502, "upstream_error"),
    "a provider's page": (bitten("sim-fault:html"), 502, "upstream_error"),
    "a provider that is busy": (bitten("sim-fault:status=503"), 503, "upstream_unavailable"),
    "a provider that breaks off": (bitten("sim-fault:fin"), 502, "upstream_truncated"),
    "a provider's broken head": (bitten("sim-fault:cl_te"), 502, "upstream_protocol_error"),
}


def check(answer: Response, status: int, code: str) -> None:
    """An OpenAI error object with everything it needs and nothing of the request."""
    assert (answer.status, answer.code) == (status, code)
    error = answer.json["error"]
    assert {"message", "type", "param", "code", "request_id", "details"} == set(error)
    assert type(error["message"]) is str
    assert error["message"]
    assert type(error["type"]) is str
    assert error["param"] is None or type(error["param"]) is str
    assert error["request_id"] == answer.header("x-request-id")
    assert answer.header("content-length") == str(len(answer.body))
    assert CANARY not in answer.body.decode()
    assert not any(CANARY in name or CANARY in value for name, value in answer.headers)


def told(records: list[logging.LogRecord]) -> str:
    """What an operator gets to read of *records*, in both formats; `model` is a field by contract."""
    for record in records:
        if "model" in record.__dict__.get("fields", {}):
            record.__dict__["fields"]["model"] = ""
    return "\n".join(RecordFormatter(form).line(record).decode() for record in records for form in (Json(), Text()))


@pytest.mark.parametrize("name", PROVOKED)
async def test_every_refusal_is_an_openai_error_object_and_echoes_nothing(
    gateway: GatewayFactory, simulator: Simulator, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Neither to the client nor to the log."""
    caplog.set_level(logging.DEBUG)
    running = await gateway(SETTINGS)
    data, status, code = PROVOKED[name]
    check(await ask(running.port, data), status, code)
    running.caught_up()
    assert [record.name for record in caplog.records].count("hapax.access") == 1
    assert CANARY not in told(caplog.records)


@pytest.mark.parametrize("route", ["relay", "models"])
async def test_a_bug_of_ours_is_a_500_without_the_words_of_the_exception(
    gateway: GatewayFactory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    """The log says where it happened, not what it said: that may quote the request."""

    async def broken(self: object, inbound: object) -> None:
        raise RuntimeError(f"cannot handle {CANARY}")

    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(*((OpenAI, "relay") if route == "relay" else (Models, "all")), broken)
    running = await gateway()
    answer = await ask(running.port, chat(user=CANARY) if route == "relay" else get("/v1/models", head=LINE))
    check(answer, 500, "internal_error")
    assert answer.header("connection") == "close"
    running.caught_up()
    log = told(caplog.records)
    assert CANARY not in log
    assert "RuntimeError at " in log


async def test_a_body_that_does_not_come_is_a_408_that_is_not_to_be_retried(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway({"server": {"read_timeout": "50ms"}})
    answer = await ask(running.port, chat()[:-1])
    check(answer, 408, "request_timeout")
    assert answer.header("x-should-retry") == "false"
    assert calls(simulator) == []


def raised_for(status: int) -> type[openai.APIStatusError]:
    """What the SDK documents for a status."""
    known = {
        400: openai.BadRequestError,
        401: openai.AuthenticationError,
        403: openai.PermissionDeniedError,
        404: openai.NotFoundError,
        409: openai.ConflictError,
        422: openai.UnprocessableEntityError,
        429: openai.RateLimitError,
    }
    return known.get(status, openai.InternalServerError if status >= 500 else openai.APIStatusError)


@pytest.mark.parametrize("code", KINDS)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_openai_sdk_raises_the_class_code_and_request_id_of_every_kind(
    gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch, code: str, stream: bool
) -> None:
    async def refusing(self: OpenAI, inbound: object) -> None:
        raise ProxyError(code, param="model")

    monkeypatch.setattr(OpenAI, "relay", refusing)
    running = await gateway()
    async with AsyncOpenAI(base_url=running.base_url, api_key="any", max_retries=0) as client:
        with pytest.raises(raised_for(KINDS[code].status)) as caught:
            await client.chat.completions.create(
                model="sim-fast", messages=[{"role": "user", "content": "hi"}], stream=stream
            )
    error = caught.value
    assert type(error) is raised_for(KINDS[code].status)
    assert (error.status_code, error.code, error.type) == (KINDS[code].status, code, KINDS[code].type)
    assert error.param == "model"
    assert error.request_id == error.response.headers["x-request-id"]
    assert KINDS[code].message in error.message


async def test_the_openai_sdk_reads_errors_from_outside_the_relay(gateway: GatewayFactory) -> None:
    running = await gateway()
    async with AsyncOpenAI(base_url=running.url, api_key="any", max_retries=0) as client:
        with pytest.raises(openai.NotFoundError) as caught:
            await client.post("/nowhere", cast_to=object)
        assert (caught.value.code, bool(caught.value.request_id)) == ("unknown_url", True)
        with pytest.raises(openai.APIStatusError) as caught_too:
            await client.get("/v1/embeddings", cast_to=object)
        assert (caught_too.value.code, caught_too.value.status_code) == ("method_not_allowed", 405)
        assert caught_too.value.request_id


async def test_a_method_that_is_not_allowed_is_told_with_those_that_are(gateway: GatewayFactory) -> None:
    running = await gateway()
    answer = await ask(running.port, get("/v1/embeddings"))
    assert (answer.status, answer.header("allow")) == (405, "POST")


async def test_a_draining_gateway_answers_and_closes(gateway: GatewayFactory) -> None:
    """The last answers before a restart are whole, and say that no more will come this way."""
    running = await gateway()
    running.listener.gateway.under_way.draining = True
    async with asyncio.timeout(30):
        answer = await ask(running.port, get("/ready"))
    assert (answer.status, answer.header("connection")) == (503, "close")
    assert answer.json["status"] == "not_ready"
