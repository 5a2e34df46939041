"""Clients of Azure OpenAI: openai-python's own class, and literal bytes where it cannot be made to err."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import openai
import pytest
from openai import AsyncAzureOpenAI

from tests.conftest import GatewayFactory, RunningGateway
from tests.field import build
from tests.field.keyed import told
from tests.field.play import Play
from tests.rigs.simulator import Simulator
from tests.spec.wire import QUESTION, ask, calls, request

Azure = Callable[..., AsyncAzureOpenAI]


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
        pytest.param("/openai/deployments/none/chat/completions", 404, id="a deployment that does not exist"),
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
