"""Clients as they are: what the SDKs of Azure, Anthropic, Gemini and browsers send, and what they get."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import openai
import pytest
from openai import AsyncAzureOpenAI

from proxy.simulator import Simulator
from tests.conftest import GatewayFactory, RunningGateway
from tests.field import build
from tests.field.play import Play
from tests.spec.wire import QUESTION, ask, calls, chat, get, request, target

KEYS = {"auth": {"keys": [{"name": "one", "key": "key-one"}, {"name": "two", "key": "key-two"}]}}
PROVIDER_KEY = "provider-key"
Azure = Callable[..., AsyncAzureOpenAI]


@pytest.fixture
async def running(gateway: GatewayFactory, simulator: Simulator) -> RunningGateway:
    provider = target(simulator, api_key=PROVIDER_KEY, models=["sim-*", "whisper"])
    return await gateway({**KEYS, "providers": {"sim": provider}})


@pytest.fixture
async def azure(running: RunningGateway) -> AsyncIterator[Azure]:
    """AzureOpenAI of openai-python, pointed at the gateway as at a resource of Azure's."""
    made: list[AsyncAzureOpenAI] = []

    def make(**more: Any) -> AsyncAzureOpenAI:
        if "base_url" not in more:
            more.setdefault("azure_endpoint", running.url)
        if "azure_ad_token" not in more:
            more.setdefault("api_key", "key-one")
        made.append(AsyncAzureOpenAI(api_version="2024-10-21", max_retries=0, **more))
        return made[-1]

    yield make
    for each in made:
        await each.close()


def told(simulator: Simulator) -> tuple[str, Any]:
    """Target and body of the one call the provider saw; it brought the gateway's key and none of the client's."""
    [record] = calls(simulator)
    headers = {name.lower(): value for name, value in record.headers}
    assert headers[b"authorization"] == f"Bearer {PROVIDER_KEY}".encode()
    assert not {b"api-key", b"x-api-key", b"x-goog-api-key"} & headers.keys()
    assert not any(value in b" ".join(headers.values()) for value in (b"key-one", b"key-two"))
    kind = headers.get(b"content-type", b"")
    return record.target.decode(), json.loads(record.body) if record.body and b"json" in kind else record.body


async def test_azures_client_names_its_deployment_by_the_model(azure: Azure, simulator: Simulator) -> None:
    answer = await azure().chat.completions.create(model="sim-fast", messages=QUESTION)  # type: ignore[arg-type]
    assert answer.choices[0].message.content
    path, body = told(simulator)
    assert (path, body["model"]) == ("/v1/chat/completions", "sim-fast")


async def test_azures_deployment_overrules_the_model_of_the_call(azure: Azure, simulator: Simulator) -> None:
    client = azure(azure_deployment="sim-fast")
    stream = await client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True)  # type: ignore[arg-type]
    assert [chunk async for chunk in stream]
    path, body = told(simulator)
    assert (path, body["model"]) == ("/v1/chat/completions", "sim-fast")


async def test_azures_client_with_a_token_is_let_in_by_it(azure: Azure, simulator: Simulator) -> None:
    await azure(azure_ad_token="key-two").embeddings.create(model="sim-embed", input="a")
    assert told(simulator)[0] == "/v1/embeddings"


@pytest.mark.parametrize("base", ["", "/v1", "/openai", "/openai/v1", "/openai/deployments/sim-fast"])
async def test_azures_client_with_a_base_url_reaches_the_same_path(
    azure: Azure, running: RunningGateway, simulator: Simulator, base: str
) -> None:
    """It adds `/deployments/{model}` to whatever it was given (openai-python, lib/azure.py)."""
    client = azure(base_url=f"{running.url}{base}")
    await client.chat.completions.create(model="sim-fast", messages=QUESTION)  # type: ignore[arg-type]
    path, body = told(simulator)
    assert (path, body["model"]) == ("/v1/chat/completions", "sim-fast")


async def test_azures_client_with_v1_in_its_endpoint_reaches_the_same_path(
    azure: Azure, running: RunningGateway, simulator: Simulator
) -> None:
    client = azure(azure_endpoint=f"{running.url}/v1")
    await client.completions.create(model="sim-fast", prompt="hello")
    assert told(simulator)[0] == "/v1/completions"


async def test_azures_client_transcribes_with_the_model_of_its_deployment(azure: Azure, simulator: Simulator) -> None:
    client = azure(azure_deployment="whisper")
    with pytest.raises(openai.NotFoundError):
        # The simulator has no model of that name, and says so: it is asked for it all the same.
        await client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"RIFF" * 100))
    assert told(simulator)[0] == "/v1/audio/transcriptions"
    assert calls(simulator)[0].model == "whisper"


@pytest.mark.parametrize(
    ("use", "path"),
    [
        pytest.param(lambda client: client.models.list(), "", id="models, which are listed here"),
        pytest.param(lambda client: client.files.list(), "/v1/files", id="files"),
        pytest.param(lambda client: client.batches.retrieve("batch_1"), "/v1/batches/batch_1", id="a batch"),
        pytest.param(
            lambda client: client.responses.create(model="sim-fast", input="a"), "/v1/responses", id="responses"
        ),
        pytest.param(lambda client: client.vector_stores.create(name="a"), "/v1/vector_stores", id="a vector store"),
        pytest.param(lambda client: client.conversations.create(), "/v1/conversations", id="a conversation"),
    ],
)
async def test_what_azures_client_asks_of_no_deployment_is_asked_of_ours(
    azure: Azure, simulator: Simulator, use: Callable[[AsyncAzureOpenAI], Any], path: str
) -> None:
    await use(azure(azure_deployment="sim-fast"))
    assert [record.target.decode() for record in calls(simulator)] == ([path] if path else [])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/openai/deployments/sim-fast/extensions/chat/completions", 404, id="an extension that is gone"),
        pytest.param("/openai/deployments", 404, id="the list of deployments"),
        pytest.param("/openai/deployments/../chat/completions", 404, id="a deployment that leads upwards"),
        pytest.param("/openai/deployments/%ff/chat/completions", 404, id="a deployment that is no text"),
        pytest.param("/openai/deployments/%0d%0a/chat/completions", 404, id="a deployment with a line break"),
        pytest.param(f"/openai/deployments/{'a' * 300}/chat/completions", 404, id="a deployment longer than any model"),
        pytest.param("/openai/deployments/none/chat/completions", 404, id="a deployment nobody has"),
        pytest.param("/openai/../admin", 404, id="a way out"),
    ],
)
async def test_what_is_no_call_of_azures_reaches_no_provider(
    running: RunningGateway, simulator: Simulator, path: str, status: int
) -> None:
    data = request(f"{path}?api-version=2024-10-21", {"messages": QUESTION}, head="api-key: key-one\r\n")
    answer = await ask(running.port, data)
    assert (answer.status, answer.json["error"]["type"]) == (status, "invalid_request_error")
    assert calls(simulator) == []


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b'{"messages":[]}', b'{"model":"sim-fast","messages":[]}'),
        (b'{ "model" : "gpt" , "messages":[]}', b'{ "model" : "sim-fast" , "messages":[]}'),
        (b'{"model":null,"messages":[]}', b'{"model":"sim-fast","messages":[]}'),
        (b'{"messages":[],"model":"sim-fast"}', b'{"messages":[],"model":"sim-fast"}'),
    ],
    ids=["none", "another", "null", "the same"],
)
async def test_only_the_model_of_a_body_changes_for_a_deployment(
    running: RunningGateway, simulator: Simulator, body: bytes, sent: bytes
) -> None:
    path = "/openai/deployments/sim%2Dfast/chat/completions"
    assert (await ask(running.port, request(path, body, head="api-key: key-one\r\n"))).status == 200
    assert calls(simulator)[0].body == sent


@pytest.mark.parametrize(
    ("form", "sent"),
    [
        (b"", b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nsim-tts\r\n'),
        (b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n',) * 2,
    ],
    ids=["no model", "another model"],
)
async def test_a_form_gets_the_model_of_its_deployment(play: Play, form: bytes, sent: bytes) -> None:
    file = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--x--\r\n'
    played = await play(
        {"providers": {"a": {"type": "compatible", "base_url": "{a}/v1", "models": ["sim-tts"]}}},
        {"a": {"models": [], "rules": [{"when": {}, "answer": build.answer(200, {"text": "Hello"})}]}},
        [
            {
                "step": "call",
                "request": "POST /openai/deployments/sim-tts/audio/transcriptions?api-version=2024-10-21",
                "content_type": "multipart/form-data; boundary=x",
                "body": [(form + file).decode("latin-1")],
            }
        ],
    )
    assert played["call"].json == {"text": "Hello"}
    [asked] = played.asked("a")
    assert (asked.target, asked.body) == ("/v1/audio/transcriptions", sent.replace(b"whisper-1", b"sim-tts") + file)


async def test_a_key_held_to_some_models_is_held_to_them_by_deployments_too(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway({"auth": {"keys": [{"name": "a", "key": "key-one", "models": ["sim-fast"]}]}})
    path = "/openai/deployments/sim-1/chat/completions"
    answer = await ask(
        running.port, request(path, {"model": "sim-fast", "messages": QUESTION}, head="api-key: key-one\r\n")
    )
    assert (answer.status, answer.code) == (403, "model_not_allowed")
    assert calls(simulator) == []


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
    await running.listener.gateway.checks.known.wait()  # type: ignore[union-attr]
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
