"""Paths people write by mistake, targets as proxies' clients write them, odd header values."""

import json
import logging
from typing import Any

import pytest

from tests.conftest import GatewayFactory
from tests.field import build
from tests.field.play import Play
from tests.rigs.simulator import Simulator
from tests.spec.wire import QUESTION, ask, calls, chat, get, request

CHAT = "/v1/chat/completions"

MEANT = [
    # A base URL without its last part, or with too much of it.
    pytest.param("POST", "/chat/completions", CHAT, id="a base URL without /v1"),
    pytest.param("POST", "/chat/completions/", CHAT, id="a base URL without /v1, and a slash behind"),
    pytest.param("POST", "/embeddings", "/v1/embeddings", id="embeddings without /v1"),
    pytest.param("POST", "/responses", "/v1/responses", id="responses without /v1"),
    pytest.param("POST", "/messages", "/v1/messages", id="Anthropic's SDK with a base URL of its own"),
    pytest.param("GET", "/models", "/v1/models", id="models without /v1"),
    pytest.param("POST", "/audio/transcriptions", "/v1/audio/transcriptions", id="a transcription without /v1"),
    pytest.param("POST", "/v1/v1/chat/completions", CHAT, id="a base URL with /v1, where the client adds it"),
    pytest.param("POST", "/v1/v1/messages", "/v1/messages", id="Anthropic's SDK with a base URL that ends in /v1"),
    pytest.param("GET", "/v1/v1/models", "/v1/models", id="models below /v1 twice"),
    pytest.param("POST", "/api/v1/chat/completions", CHAT, id="OpenRouter's base URL"),
    pytest.param("POST", "/v1/api/v1/chat/completions", CHAT, id="OpenRouter's below ours"),
    pytest.param("POST", "/v2/chat/completions", CHAT, id="another version"),
    pytest.param("POST", "/openai/chat/completions/chat/completions", CHAT, id="a call behind a call, Azure's"),
    pytest.param("POST", "/v1/chat/completions/chat/completions", CHAT, id="the whole endpoint as a base URL"),
    pytest.param("POST", "/v1/embeddings/embeddings", "/v1/embeddings", id="the endpoint of embeddings as a base URL"),
    pytest.param("GET", "/v1/chat/completions/models", "/v1/models", id="a list asked below an endpoint"),
    pytest.param("GET", "/files/file-abc", "/v1/files/*", id="a file without /v1"),
    # Slips of the pen.
    pytest.param("POST", "/v1/chat/completion", CHAT, id="a letter missing"),
    pytest.param("POST", "/v1/chat/completionss", CHAT, id="a letter too many"),
    pytest.param("POST", "/v1/chat/compeltions", CHAT, id="two letters swapped"),
    pytest.param("POST", "/v1/chat/complitions", CHAT, id="a wrong letter"),
    pytest.param("POST", "/v1/Chat/Completions", CHAT, id="capitals"),
    pytest.param("POST", "/V1/chat/completions", CHAT, id="a capital V"),
    pytest.param("POST", "/v1/embedding", "/v1/embeddings", id="embedding in the singular"),
    pytest.param("POST", "/v1/image/generations", "/v1/images/generations", id="image in the singular"),
    # Slashes too many.
    pytest.param("POST", "//v1/chat/completions", CHAT, id="a base URL that ends in a slash, and no /v1"),
    pytest.param("POST", "/v1//chat/completions", CHAT, id="a base URL that ends in a slash"),
    pytest.param("GET", "/v1//models", "/v1/models", id="models behind two slashes"),
    pytest.param("GET", "/v1/models//gpt-4o", "/v1/models/*", id="two slashes before the name of a model"),
    pytest.param("POST", "/v1/chat/./completions", CHAT, id="a dot between two slashes"),
    pytest.param("POST", "/v1/chat/completions#", CHAT, id="a fragment, which is a browser's own"),
    pytest.param("POST", "/v1/chat%2Fcompletions", CHAT, id="a slash that was escaped"),
    pytest.param("POST", "/v1/chat/completions%20", CHAT, id="a blank behind the URL"),
    # Other servers' own APIs: https://github.com/ollama/ollama/blob/main/docs/api.md, https://ai.google.dev/api,
    # https://docs.cohere.com/reference/chat.
    pytest.param("POST", "/api/chat", CHAT, id="Ollama's own chat"),
    pytest.param("GET", "/api/tags", "/v1/models", id="Ollama's own list"),
    pytest.param("POST", "/api/embed", "/v1/embeddings", id="Ollama's own embeddings"),
    pytest.param("POST", "/v2/chat", CHAT, id="Cohere's own chat"),
    pytest.param("POST", "/v1beta/models/gemini-2.5-flash:generateContent", CHAT, id="google-genai's call"),
    pytest.param("POST", "/v1beta/models/m:streamGenerateContent?alt=sse", CHAT, id="google-genai's stream"),
    pytest.param("GET", "/healthz", "/health", id="what Kubernetes calls a probe"),
]


@pytest.mark.parametrize(("method", "path", "meant"), MEANT)
async def test_a_path_that_leads_nowhere_names_the_one_that_was_meant(
    gateway: GatewayFactory, simulator: Simulator, method: str, path: str, meant: str
) -> None:
    running = await gateway()
    body = {"model": "sim-fast", "messages": QUESTION} if method == "POST" else None
    answer = await ask(running.port, request(path, body, method=method))
    assert (answer.status, answer.code) == (404, "unknown_url")
    error = answer.json["error"]
    assert f"Did you mean {meant}?" in error["message"]
    assert error["details"]["did_you_mean"] == meant
    assert calls(simulator) == []


@pytest.mark.parametrize("path", ["/secret-canary", "/canary/v9/nothing?canary=1", "/%63anary%20canary"])
async def test_nothing_of_a_path_is_said_back_and_v1_is_named(gateway: GatewayFactory, path: str) -> None:
    running = await gateway()
    answer = await ask(running.port, get(path))
    assert (answer.status, answer.code) == (404, "unknown_url")
    assert "/v1" in answer.json["error"]["message"]
    assert b"canary" not in answer.body


OWN = [
    "/v1/score",
    "/v1/tokenize",
    "/v1/chat/moderations",
    "/v1/fim/completions",
    "/v1/videos/edits",
    "/v1/audio/voices",
]
"""Of vLLM, Mistral and OpenAI: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html,
https://docs.mistral.ai/api."""


@pytest.mark.parametrize("path", OWN)
async def test_a_path_of_a_providers_own_goes_on(gateway: GatewayFactory, simulator: Simulator, path: str) -> None:
    running = await gateway()
    await ask(running.port, request(path, {"model": "sim-fast"}))
    assert [record.target.decode() for record in calls(simulator)] == [path]


WHOLE = [
    pytest.param("http://127.0.0.1/v1/models", 200, id="a whole URL"),
    pytest.param("http://localhost:8080/v1/models", 200, id="with a port"),
    pytest.param("HTTP://LOCALHOST/v1/models", 200, id="in capitals"),
    pytest.param("https://[::1]:8443/v1/models?limit=2", 200, id="of an IPv6 address, with a query"),
    pytest.param("http://127.0.0.1", 200, id="without a path, which is /"),
    pytest.param("http://127.0.0.1?a=b", 200, id="without a path, with a query"),
    pytest.param("http://evil.example/v1/models", 403, id="of another host, whatever Host says"),
    pytest.param("http://user:pass@127.0.0.1/v1/models", 400, id="with a user, which no target may hold"),
    pytest.param("http:///v1/models", 400, id="without a host"),
    pytest.param("ftp://127.0.0.1/v1/models", 400, id="of another scheme"),
    pytest.param("127.0.0.1:80", 400, id="an authority, which is for CONNECT"),
    pytest.param("v1/models", 400, id="a path without its slash"),
]


@pytest.mark.parametrize(("target", "status"), WHOLE)
async def test_a_target_may_be_a_whole_url(gateway: GatewayFactory, target: str, status: int) -> None:
    """RFC 9112 section 3.2.2: the host in it counts, and that of `Host` does not."""
    running = await gateway()
    assert (await ask(running.port, get(target))).status == status


async def test_the_host_of_a_whole_url_overrules_host(gateway: GatewayFactory) -> None:
    running = await gateway()
    data = b"GET http://localhost/v1/models HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    assert (await ask(running.port, data)).status == 200


async def test_options_of_the_server_as_a_whole_names_the_methods_there_are(gateway: GatewayFactory) -> None:
    running = await gateway()
    answer = await ask(running.port, request("*", method="OPTIONS"))
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert {"GET", "POST", "DELETE"} <= set((answer.header("allow") or "").split(", "))


HARMLESS = [
    # Open WebUI's and LibreChat's headers about users, and what browsers and proxies add.
    pytest.param(b"X-OpenWebUI-User-Name: Jos\xe9", id="a user's name in Latin-1"),
    pytest.param("X-OpenWebUI-User-Name: 山田太郎".encode(), id="a user's name in UTF-8"),
    pytest.param("X-Title: Café ☕ bot".encode(), id="a title in UTF-8"),
    pytest.param("HTTP-Referer: https://bücher.example/".encode(), id="a referer with an umlaut"),
    pytest.param("Referer: https://bücher.example/größe".encode(), id="a page with an umlaut"),
    pytest.param("User-Agent: мой бот/1.0".encode(), id="an agent in UTF-8"),
    pytest.param(b"User-Agent: caf\xe9/1.0", id="an agent in Latin-1"),
    pytest.param(b"Cookie: name=\x80\xff\xfe", id="a cookie that is no text"),
    pytest.param(b"X-Forwarded-User: \xc3", id="half a character"),
    pytest.param("Accept-Language: français".encode(), id="a language with a cedilla"),
    pytest.param(b"X-Real-IP: \xa0", id="a hard blank"),
]


@pytest.mark.parametrize("line", HARMLESS)
async def test_a_header_that_is_not_read_may_hold_any_bytes(
    gateway: GatewayFactory, simulator: Simulator, line: bytes
) -> None:
    running = await gateway()
    answer = await ask(running.port, chat().replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n", 1))
    assert answer.status == 200
    assert line.partition(b": ")[2] not in [value for _, value in calls(simulator)[0].headers]


STRICT = [
    pytest.param(b"Authorization: Bearer schl\xfcssel", id="a key"),
    pytest.param("X-API-Key: “sk-1”".encode(), id="a key in typographic quotes"),
    pytest.param(b"x-goog-api-key: \xff", id="a key of Gemini's"),
    pytest.param(b"Origin: https://\xfc.example", id="an origin"),
    pytest.param(b"X-Request-ID: \xfc", id="a request id"),
    pytest.param(b"Expect: 100-continu\xe9", id="an expectation"),
    pytest.param(b"X-Odd: a\x00b", id="a NUL"),
    pytest.param(b"X-Odd: a\x1bb", id="an escape"),
    pytest.param(b"X-Odd: a\x7fb", id="a DEL"),
]


@pytest.mark.parametrize("line", STRICT)
async def test_a_header_that_is_read_and_every_control_character_stay_strict(
    gateway: GatewayFactory, simulator: Simulator, line: bytes
) -> None:
    running = await gateway()
    answer = await ask(running.port, chat().replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n", 1))
    assert (answer.status, answer.code) == (400, "bad_request")
    assert calls(simulator) == []


async def test_odd_bytes_of_a_header_that_passes_reach_the_provider_as_they_came(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway()
    data = chat().replace(b"\r\n\r\n", b"\r\nIdempotency-Key: \xc3\xa9-1\r\n\r\n", 1)
    assert (await ask(running.port, data)).status == 200
    assert (b"idempotency-key", b"\xc3\xa9-1") in [(name.lower(), value) for name, value in calls(simulator)[0].headers]


@pytest.mark.parametrize(
    ("sent", "logged"),
    [
        ("мой бот/1.0".encode(), "мой бот/1.0"),
        (b"caf\xe9/1.0", "café/1.0"),
        (b"bot\xc2\x9b31m/1.0", "bot31m/1.0"),
        (b"bot\x9b31m/1.0", "bot31m/1.0"),
    ],
    ids=["UTF-8", "Latin-1", "a control in UTF-8", "a control in Latin-1"],
)
async def test_what_a_client_calls_itself_is_text_in_the_log(
    gateway: GatewayFactory, caplog: pytest.LogCaptureFixture, sent: bytes, logged: str
) -> None:
    running = await gateway()
    with caplog.at_level(logging.INFO, "hapax.access"):
        await ask(running.port, chat().replace(b"\r\n\r\n", b"\r\nUser-Agent: " + sent + b"\r\n\r\n", 1))
        running.caught_up()
    fields: list[Any] = [record.__dict__["fields"] for record in caplog.records if record.name == "hapax.access"]
    assert [each["user_agent"] for each in fields] == [logged]
    assert json.loads(json.dumps(fields[0]["user_agent"])) == logged


ANSWERED = [
    pytest.param("Content-Disposition: attachment; filename=résumé.pdf", "content-disposition", id="a file's name"),
    pytest.param('ETag: "é"', "etag", id="a tag"),
    pytest.param("X-Request-ID: req_é", "x-upstream-request-id", id="a request id"),
    pytest.param("Request-ID: req_é", "request-id", id="a request id of Anthropic's"),
    pytest.param("OpenAI-Version:", "openai-version", id="an empty value"),
    pytest.param("Server: Bücher/1.0", None, id="a server's name"),
    pytest.param("X-Ratelimit-Note: 速度", None, id="a note about limits"),
    pytest.param("Via: 1.1 Zürich", None, id="a proxy on the way"),
]


@pytest.mark.parametrize(("line", "passed"), ANSWERED)
async def test_a_providers_header_may_hold_any_bytes(play: Play, line: str, passed: str | None) -> None:
    line = line.encode().decode("latin-1")
    said = build.chat("Hello")
    said[0] = said[0].replace("Content-Type", f"{line}\r\nContent-Type")
    played = await play(
        {"providers": {"a": {"type": "compatible", "base_url": "{a}/v1", "models": ["m"]}}},
        {"a": {"models": ["m"], "rules": [{"when": {}, "answer": said}]}},
        [{"step": "call", "request": "POST /v1/chat/completions", "body": {"model": "m", "messages": QUESTION}}],
    )
    got = played["call"]
    assert (got.status, got.json["choices"][0]["message"]["content"]) == (200, "Hello")
    value = line.partition(":")[2].strip()
    assert got.header(passed) == value if passed else value not in [each for _, each in got.headers]
