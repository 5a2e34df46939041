"""The native completion endpoint: what it takes, what it asks the provider, and what it answers."""

import json
from typing import Any

import pytest

from tests.conftest import GatewayFactory, provider
from tests.rigs.simulator import Send, Simulator, Step
from tests.spec.wire import Response, ask, calls, chat, get, request

PATHS = ["/v1/completion", "/v1/completions"]


def saying(text: Any, **message: Any) -> Step:
    """A chat answer with that text."""
    whole = {"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": text, **message}}]}
    return answering(json.dumps(whole).encode())


def answering(body: bytes, kind: str = "application/json", status: str = "200 OK") -> Step:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return Send(head.encode() + body)


class Asking:
    """A gateway with a native endpoint, asked in one line."""

    def __init__(self, simulator: Simulator, gateway: GatewayFactory) -> None:
        self.simulator = simulator
        self._gateway = gateway
        self.settings: dict[str, Any] = {"models": {"sim-fast": {}}}

    async def __call__(self, body: Any, *steps: Step, path: str = "/v1/completion") -> Response:
        running = await self._gateway(self.settings)
        if steps:
            self.simulator.script(steps, match="/v1/chat/*")
        return await ask(running.port, request(path, body))

    @property
    def asked(self) -> Any:
        """What the provider was asked."""
        (record,) = calls(self.simulator)
        assert record.path == "/v1/chat/completions"
        assert record.header("content-type") == b"application/json"
        return record.json()


@pytest.fixture
def native(simulator: Simulator, gateway: GatewayFactory) -> Asking:
    return Asking(simulator, gateway)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


# What it takes and what it answers.


@pytest.mark.parametrize("path", PATHS)
async def test_an_input_is_answered(native: Asking, path: str) -> None:
    answer = await native({"input": "hi"}, saying("hello"), path=path)
    assert answer.status == 200
    assert answer.header("content-type") == "application/json"
    assert answer.json == {"completion": "hello", "content": "hello", "request_id": answer.header("x-request-id")}
    assert answer.header("x-hapax-provider") == "sim"
    assert answer.header("x-hapax-attempts") == "1"
    assert native.asked == {"model": "sim-fast", "messages": [user("hi")]}


@pytest.mark.parametrize("path", PATHS)
async def test_messages_are_answered_and_passed_on_unchanged(native: Asking, path: str) -> None:
    messages = [{"role": "system", "content": "{{.Input}}"}, user("  a\n"), {"role": "assistant", "content": "b"}]
    answer = await native({"messages": messages}, saying("hello"), path=path)
    assert answer.json["completion"] == "hello"
    assert native.asked["messages"] == messages


async def test_messages_win_over_an_input(native: Asking) -> None:
    await native({"input": "ignored", "messages": [user("asked")]}, saying("x"))
    assert native.asked["messages"] == [user("asked")]


async def test_a_model_may_be_named(native: Asking) -> None:
    await native({"model": "sim-echo", "input": "hi"}, saying("x"))
    assert native.asked["model"] == "sim-echo"


async def test_a_body_with_a_prompt_is_openais_and_answered_as_such(native: Asking) -> None:
    answer = await native({"model": "sim-fast", "prompt": "hi", "input": "x"}, path="/v1/completions")
    assert answer.status == 200
    assert answer.json["object"] == "text_completion"
    assert "completion" not in answer.json
    (record,) = calls(native.simulator)
    assert record.path == "/v1/completions"


async def test_a_chat_is_never_answered_in_the_native_shape(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway()
    answer = await ask(running.port, chat("sim-fast", function_description="x", input="y"))
    assert answer.json["choices"][0]["message"]["content"]
    assert "completion" not in answer.json


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "missing_required_parameter"),
        ({"model": "sim-fast"}, "missing_required_parameter"),
        ({"input": 7}, "invalid_type"),
        ({"input": ["a"]}, "invalid_type"),
        ({"messages": "a"}, "invalid_type"),
        ({"messages": []}, "invalid_type"),
        ({"messages": ["a"]}, "invalid_type"),
        ({"messages": [{"role": "user"}]}, "invalid_type"),
        ({"messages": [{"role": "user", "content": ""}]}, "invalid_type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "invalid_type"),
        ({"messages": [{"role": "villain", "content": "a"}]}, "invalid_type"),
        ({"input": "a", "model": 7}, "invalid_type"),
        ({"input": "a", "function_description": {}}, "invalid_type"),
        ({"input": "a", "base_url": "http://elsewhere"}, "unsupported_parameter"),
        (b"{", "invalid_json"),
        (b'{"input":"a","input":"b"}', "invalid_json"),
    ],
)
async def test_what_is_wrong_is_a_400_in_the_native_shape(native: Asking, body: Any, code: str) -> None:
    answer = await native(body)
    assert answer.status == 400
    error = answer.json["error"]
    assert (error["type"], error["code"], error["details"]["code"]) == ("ValidationError", 400, code)
    assert error["request_id"] == answer.header("x-request-id")
    assert calls(native.simulator) == []


async def test_only_a_post_is_taken(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway()
    answer = await ask(running.port, get("/v1/completion"))
    assert (answer.status, answer.header("allow")) == (405, "POST")


@pytest.mark.parametrize(("size", "status"), [(512 * 1024, 200), (512 * 1024 + 1, 400)])
async def test_an_input_has_a_limit(native: Asking, size: int, status: int) -> None:
    answer = await native({"input": "a" * size}, saying("x"))
    assert answer.status == status


# Functions.


async def test_a_function_description_leads_the_messages(native: Asking) -> None:
    await native({"function_description": "f(x)", "messages": [user("a")]}, saying("x"))
    assert native.asked["messages"] == [{"role": "system", "content": "f(x)"}, user("a")]


async def test_with_an_input_it_fills_the_function_template(native: Asking) -> None:
    await native({"function_description": "f(x)", "input": "a"}, saying("x"))
    assert native.asked["messages"] == [user("Function: f(x)\nInput: a")]


@pytest.mark.parametrize(
    ("description", "status", "size"), [("x" * 5120, 200, ""), ("x" * 5121, 400, "6KB"), ("é" * 5120, 400, "10KB")]
)
async def test_a_function_description_has_a_limit_in_bytes(
    native: Asking, description: str, status: int, size: str
) -> None:
    answer = await native({"function_description": description, "input": "a"}, saying("x"))
    assert answer.status == status
    if status == 400:
        details = answer.json["error"]["details"]
        assert details == {
            "code": "function_description_too_large",
            "type": "function",
            "max_size": "5KB",
            "actual_size": size,
        }


async def test_tools_of_a_chat_pass_through(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway()
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    answer = await ask(running.port, chat("sim-fast", tools=tools))
    assert answer.json["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "f"
    assert calls(simulator)[0].json()["tools"] == tools


# Templates.


@pytest.mark.parametrize(
    ("query", "body", "messages"),
    [
        ("?type=default", {"input": "a"}, [user("D a")]),
        ("", {"input": "a"}, [user("D a")]),
        ("?type=function", {"input": "a"}, [user("F  a")]),
        ("?type=function", {"input": "a", "function_description": "f"}, [user("F f a")]),
        ("?type=default", {"input": "a", "function_description": "f"}, [user("D a")]),
        (
            "?type=chat",
            {"messages": [user("a"), {"role": "assistant", "content": "b"}]},
            [user("C user=a;assistant=b;!")],
        ),
        ("?type=default", {"messages": [user("a")]}, [user("a")]),
    ],
)
async def test_the_type_picks_a_template(native: Asking, query: str, body: Any, messages: Any) -> None:
    native.settings["processing"] = {
        "request_templates": {
            "default": "D {{.Input}}",
            "chat": "C {{range .Messages}}{{.Role}}={{.Content}};{{end}}!",
            "function": "F {{ .FunctionDescription }} {{- .Input -}}".replace("{{- .Input -}}", "{{.Input}}"),
        }
    }
    await native(body, saying("x"), path=f"/v1/completion{query}")
    assert native.asked["messages"] == messages


@pytest.mark.parametrize(
    "text", ["{{.Input}}", "{{.FunctionDescription}}", "{{range .Messages}}{{end}}", "\\1", "%s {0}"]
)
async def test_no_value_is_read_as_a_template(native: Asking, text: str) -> None:
    await native({"input": text, "function_description": "{{.Input}}"}, saying("x"))
    assert native.asked["messages"] == [user("Function: {{.Input}}\nInput: " + text)]


async def test_no_openai_route_uses_a_template(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway({"processing": {"request_templates": {"default": "D {{.Input}}", "chat": "C"}}})
    question = chat("sim-fast")
    assert (await ask(running.port, question)).status == 200
    assert question.endswith(calls(simulator)[0].body)


# Answers.

FENCED = 'Here it is:\n```json\n{"a": 1}\n```\nWell?'


@pytest.mark.parametrize(
    ("formatting", "said", "answered"),
    [
        ({}, " hello \n", "hello"),
        ({"trim_whitespace": False}, " hello \n", " hello \n"),
        ({}, "use {x} and {y}", "use {x} and {y}"),
        ({}, FENCED, FENCED),
        ({"clean_json": True}, FENCED, '{"a": 1}'),
        ({"clean_json": True}, "```\n[1]\n```", "[1]"),
        ({"clean_json": True}, "use {x} and {y}", "use {x} and {y}"),
        ({"clean_json": True}, "```python\nprint({})\n```", "```python\nprint({})\n```"),
        ({"clean_json": True}, '{"a": 1}', '{"a": 1}'),
        ({"max_length": 5}, "hello world", "hello"),
        ({"max_length": 5}, "1234\U0001f600", "1234"),
        ({"max_length": 8}, "1234\U0001f600", "1234\U0001f600"),
        ({"max_length": 7}, "1234\U0001f600", "1234"),
        ({}, "", ""),
    ],
)
async def test_an_answer_is_tidied_as_configured(
    native: Asking, formatting: dict[str, Any], said: str, answered: str
) -> None:
    native.settings["processing"] = {"response_formatting": formatting}
    answer = await native({"input": "a"}, saying(said))
    assert answer.json["completion"] == answer.json["content"] == answered


async def test_no_openai_route_is_tidied(simulator: Simulator, gateway: GatewayFactory) -> None:
    formatting = {"clean_json": True, "trim_whitespace": True, "max_length": 5}
    running = await gateway({"processing": {"response_formatting": formatting}})
    simulator.script([saying(" " + FENCED + " ")], match="/v1/chat/*")
    answer = await ask(running.port, chat("sim-fast"))
    assert answer.json["choices"][0]["message"]["content"] == " " + FENCED + " "


# Providers that fail.


@pytest.mark.parametrize(
    "step",
    [
        answering(b"<html>hello</html>", "text/html"),
        answering(b"hello", "text/plain"),
        answering(b"[]"),
        answering(b"{}"),
        answering(b'{"choices":[]}'),
        answering(b'{"choices":[{"message":{"role":"assistant"}}]}'),
        answering(b'{"choices":{"0":1}}'),
        answering(b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n', "text/event-stream"),
        saying(None, tool_calls=[]),
        saying(["a"]),
        answering(b"{}", status="500 Broken"),
    ],
    ids=["html", "text", "list", "object", "no choice", "no content", "odd", "stream", "null", "parts", "500"],
)
async def test_an_answer_without_a_text_is_a_502(native: Asking, step: Step) -> None:
    native.settings["failover"] = {"retries": 0}
    answer = await native({"input": "a"}, step)
    assert answer.status == 502
    error = answer.json["error"]
    assert (error["type"], error["code"]) == ("ProcessingError", 502)
    assert "completion" not in answer.json


async def test_an_answer_that_breaks_off_is_a_502(native: Asking) -> None:
    native.simulator.direct("fin@9")
    answer = await native({"input": "a"})
    assert (answer.status, answer.json["error"]["type"]) == (502, "ProcessingError")


async def test_a_rate_limit_keeps_its_status(native: Asking) -> None:
    native.simulator.direct("status=429,retry_after=7")
    native.settings["failover"] = {"retries": 0}
    answer = await native({"input": "a"})
    assert (answer.status, answer.json["error"]["type"]) == (429, "RateLimitError")
    assert 1 <= int(answer.header("retry-after") or 0) <= 7


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_what_a_provider_refuses_is_a_400_without_its_words(native: Asking, status: int) -> None:
    native.simulator.direct(f"status={status},code=quotes_the_prompt")
    answer = await native({"input": "a"})
    assert (answer.status, answer.json["error"]["type"]) == (400, "ValidationError")
    assert answer.json["error"]["message"] == "The provider refused the request."
    assert b"quotes_the_prompt" not in answer.body


async def test_a_model_the_provider_does_not_know_is_a_404(native: Asking) -> None:
    answer = await native({"input": "a", "model": "sim-unknown"})
    assert (answer.status, answer.json["error"]["details"]["code"]) == (404, "model_not_found")


async def test_a_key_that_may_not_use_the_model_is_refused(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway(
        {"models": {"sim-fast": {}}, "auth": {"keys": [{"name": "k", "key": "k" * 20, "models": ["sim-1"]}]}}
    )
    head = f"X-API-Key: {'k' * 20}\r\n"
    answer = await ask(running.port, request("/v1/completion", {"input": "a"}, head=head))
    assert answer.status == 403
    assert calls(simulator) == []


async def test_without_any_model_it_asks_for_one(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway({"providers": {"sim": provider(simulator, models=["glob-*"])}})
    answer = await ask(running.port, request("/v1/completion", {"input": "a"}))
    assert (answer.status, answer.json["error"]["details"]["code"]) == (400, "missing_required_parameter")
