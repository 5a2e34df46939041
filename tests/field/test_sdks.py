"""Clients as they are: what the SDKs of Anthropic, Gemini and browsers send, and what they get."""

import json
from typing import Any

import pytest

from tests.conftest import GatewayFactory, RunningGateway
from tests.field import build
from tests.field.keyed import told
from tests.field.play import Play
from tests.rigs.simulator import Simulator
from tests.spec.wire import QUESTION, ask, calls, chat, get, request


async def test_geminis_base_url_for_openais_clients_is_served(running: RunningGateway, simulator: Simulator) -> None:
    """https://ai.google.dev/gemini-api/docs/openai: `/v1beta/openai/`, with the key as bearer or x-goog-api-key."""
    data = request(
        "/v1beta/openai/chat/completions",
        {"model": "sim-fast", "messages": QUESTION},
        head="x-goog-api-key: key-two\r\nx-goog-api-client: genai-js/1.0\r\n",
    )
    assert (await ask(running.port, data)).status == 200
    assert told(simulator)[0] == "/v1/chat/completions"


CREDENTIALS = [
    pytest.param("api-key: key-one", "one", id="Azure's"),
    pytest.param("x-goog-api-key: key-one", "one", id="Gemini's"),
    pytest.param("x-api-key: key-one", "one", id="Anthropic's"),
    pytest.param("Authorization: Bearer key-one", "one", id="OpenAI's"),
    pytest.param("Authorization: bearer   key-one", "one", id="a scheme in lower case, and blanks"),
    pytest.param("X-API-Key: sk-ant-api03-other\r\nAuthorization: Bearer key-two", "two", id="a vendor's key and ours"),
    pytest.param("Authorization: Bearer sk-other\r\napi-key: key-two", "two", id="ours last"),
    pytest.param("Authorization: Bearer eyJ0.eyJ1.c2ln\r\nx-goog-api-key: key-one", "one", id="a token of a proxy's"),
    pytest.param("X-API-Key: key-one\r\nAuthorization: Bearer key-two", "one", id="two of ours: X-API-Key first"),
    pytest.param(
        "api-key: key-one\r\nAuthorization: Bearer key-two", "two", id="two of ours: the bearer before Azure's"
    ),
    pytest.param("X-API-Key:\r\nAuthorization: Bearer key-two", "two", id="one that is empty"),
    pytest.param("Authorization: Basic YTpi\r\napi-key: key-one", "one", id="a password of a proxy's"),
]


@pytest.mark.parametrize(("head", "name"), CREDENTIALS)
async def test_of_several_credentials_the_first_that_is_a_key_counts(
    running: RunningGateway, simulator: Simulator, head: str, name: str
) -> None:
    ended = running.observed()
    assert (await ask(running.port, chat(head=f"{head}\r\n"))).status == 200
    running.caught_up()
    assert [exchange.principal for exchange in ended] == [name]
    told(simulator)


@pytest.mark.parametrize(
    ("head", "code"),
    [
        ("", "missing_api_key"),
        ("api-key: other", "invalid_api_key"),
        ("X-API-Key: a\r\nAuthorization: Bearer b\r\napi-key: c\r\nx-goog-api-key: d", "invalid_api_key"),
        ("api-key: key-one\r\napi-key: key-two", "bad_request"),
    ],
    ids=["none", "a wrong one", "four wrong ones", "one header twice"],
)
async def test_without_a_key_of_ours_no_one_is_let_in(running: RunningGateway, head: str, code: str) -> None:
    assert (await ask(running.port, chat(head=f"{head}\r\n" if head else ""))).code == code


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_root_says_what_is_here_without_a_key(running: RunningGateway, method: str) -> None:
    answer = await ask(running.port, request("/", method=method))
    assert (answer.status, answer.header("cache-control")) == (200, "no-store")
    if method == "GET":
        assert answer.json["name"] == "hapax"
        assert "key-one" not in answer.body.decode()


# What anthropic-sdk-python sends (src/anthropic/_client.py, _base_client.py).
ANTHROPIC = (
    "Accept: application/json\r\nUser-Agent: Anthropic/Python 0.69.0\r\nX-Api-Key: key-one\r\n"
    "anthropic-version: 2023-06-01\r\nX-Stainless-Lang: python\r\nX-Stainless-Timeout: 600\r\n"
)
MESSAGE = {"model": "m", "max_tokens": 16, "messages": [{"role": "user", "content": "hi"}]}
THEIRS = {"providers": {"a": {"type": "compatible", "base_url": "{a}/v1", "api_key": build.KEY_A, "models": ["m"]}}}


async def test_anthropics_request_id_reaches_its_sdk(play: Play) -> None:
    """It reads `request-id` of every answer and error: https://docs.claude.com/en/api/errors#request-id."""
    said = build.message("Hello")
    said[0] = said[0].replace("Content-Type", "request-id: req_011CSHoEeqs5C35K2UUqR7Fy\r\nContent-Type")
    refused = build.answer(400, {"type": "error", "error": {"type": "invalid_request_error", "message": "No."}})
    refused[0] = refused[0].replace("Content-Type", "Request-Id: req_2\r\nContent-Type")
    played = await play(
        THEIRS,
        {"a": {"models": ["m"], "rules": [{"when": {"has": "no"}, "answer": refused}, {"when": {}, "answer": said}]}},
        [
            {"step": "call", "request": "POST /v1/messages", "body": MESSAGE, "headers": [["X-Api-Key", "any"]]},
            {"step": "error", "request": "POST /v1/messages", "body": {**MESSAGE, "system": "no"}},
        ],
    )
    assert played["call"].header("request-id") == "req_011CSHoEeqs5C35K2UUqR7Fy"
    assert played["call"].header("x-upstream-request-id") == "req_011CSHoEeqs5C35K2UUqR7Fy"
    assert (played["error"].status, played["error"].header("request-id")) == (400, "req_2")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("/v1/messages", MESSAGE, head=ANTHROPIC.replace("key-one", "wrong")), 401),
        (request("/v1/messages", b"{", head=ANTHROPIC), 400),
        (request("/v1/messages/count_tokens", {"model": 1}, head=ANTHROPIC), 400),
    ],
    ids=["a wrong key", "no JSON", "a count of tokens"],
)
async def test_an_error_of_ours_has_an_id_that_anthropics_sdk_shows(
    running: RunningGateway, data: bytes, status: int
) -> None:
    answer = await ask(running.port, data)
    assert answer.status == status
    assert answer.header("request-id") == answer.header("x-request-id") == answer.json["error"]["request_id"]


async def test_anthropics_sdk_counts_tokens_and_gets_messages(running: RunningGateway, simulator: Simulator) -> None:
    message = {**MESSAGE, "model": "sim-fast"}
    assert (await ask(running.port, request("/v1/messages", message, head=ANTHROPIC))).json["type"] == "message"
    counted = await ask(running.port, request("/v1/messages/count_tokens", message, head=ANTHROPIC))
    assert (counted.status, counted.json) == (200, {"input_tokens": 1})


OBJECTS = [
    # What these paths call a model is a setting of what they make: https://platform.openai.com/docs/api-reference.
    pytest.param("/v1/evals", {"name": "a", "model": {"name": "m"}, "testing_criteria": []}, id="an eval"),
    pytest.param("/v1/evals/eval_1/runs", {"data_source": {"type": "responses", "model": "m"}}, id="a run of an eval"),
    pytest.param("/v1/fine_tuning/jobs", {"model": ["m"], "training_file": "file-1"}, id="a list of models"),
    pytest.param(
        "/v1/realtime/client_secrets", {"session": {"type": "realtime", "model": "m"}}, id="a browser's secret"
    ),
    pytest.param("/v1/graders", {"model": {"type": "score_model"}, "stream": "no"}, id="a grader"),
    pytest.param("/v1/containers", {"name": "a", "model": 7}, id="a number"),
]


@pytest.mark.parametrize(("path", "body"), OBJECTS)
async def test_a_model_that_is_no_name_passes_where_none_is_chosen(
    running: RunningGateway, simulator: Simulator, path: str, body: dict[str, Any]
) -> None:
    await ask(running.port, request(path, body, head="api-key: key-one\r\n"))
    assert [json.loads(record.body) for record in calls(simulator)] == [body]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/messages"])
async def test_a_model_that_is_no_name_is_refused_where_one_is_chosen(running: RunningGateway, path: str) -> None:
    answer = await ask(running.port, request(path, {"model": {"name": "m"}}, head="api-key: key-one\r\n"))
    assert (answer.status, answer.code) == (400, "invalid_type")


async def test_a_key_held_to_some_models_names_them_plainly_everywhere(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway({"auth": {"keys": [{"name": "a", "key": "key-one", "models": ["sim-fast"]}]}})
    data = request("/v1/evals", {"model": {"name": "sim-1"}}, head="api-key: key-one\r\n")
    assert (await ask(running.port, data)).code == "invalid_type"
    assert calls(simulator) == []


@pytest.mark.parametrize(
    "data",
    [
        get("/v1/models", head="api-key: key-one\r\n"),
        get("/v1/models/sim-fast", head="api-key: key-one\r\n"),
        get("/v1/models/none", head="api-key: key-one\r\n"),
        get("/nowhere"),
        get("/health"),
        get("/live"),
        chat(),
        request("/v1/embeddings", b"{", head="api-key: key-one\r\n"),
    ],
    ids=["models", "a model", "no model", "no path", "health", "a probe", "no key", "no JSON"],
)
async def test_nothing_of_our_own_is_kept_by_a_cache(running: RunningGateway, data: bytes) -> None:
    await running.listener.gateway.checks.known.wait()
    assert (await ask(running.port, data)).header("cache-control") == "no-store"


BROWSERS = {
    # What the SDKs ask for in a browser today, beside content-type.
    "openai-node": "authorization,content-type,openai-organization,x-stainless-lang,x-client-request-id",
    "anthropic-sdk-typescript": "anthropic-beta,anthropic-dangerous-direct-browser-access,anthropic-version,x-api-key",
    "AzureOpenAI in openai-node": "api-key,x-ms-useragent",
    "google-genai": "x-goog-api-client,x-goog-api-key",
    "OpenRouter's clients": "authorization,http-referer,x-title",
    "fetch-event-source": "accept,cache-control,last-event-id",
    "axios": "authorization,x-requested-with",
}


@pytest.mark.parametrize("sdk", BROWSERS)
async def test_a_browsers_preflight_is_granted_with_the_defaults(gateway: GatewayFactory, sdk: str) -> None:
    running = await gateway({"server": {"cors": {"allow_origins": ["https://app.example.com"]}}})
    head = "Origin: https://app.example.com\r\nAccess-Control-Request-Method: PATCH\r\n"
    head += f"Access-Control-Request-Headers: {BROWSERS[sdk]}\r\n"
    answer = await ask(running.port, request("/v1/chat/completions", method="OPTIONS", head=head))
    assert answer.status == 204
    granted = (answer.header("access-control-allow-headers") or "").split(", ")
    assert granted == BROWSERS[sdk].split(",")
    assert "PATCH" in (answer.header("access-control-allow-methods") or "")
    assert answer.header("access-control-allow-credentials") == "true"
