"""The bytes of answers: what a test does not write out itself because it is the same in a hundred places."""

import json
from typing import Any

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden"}
KEY_A = "sk-field-a1-Jm4Zr8TqWv2K"
KEY_A2 = "sk-field-a2-Xc7Bn5LpHd9S"
KEY_B = "sk-field-b1-Qf8Ud2NsYo5C"
DONE = "data: [DONE]\n\n"


def answer(status: int, body: Any, kind: str = "application/json", headers: str = "") -> list[Any]:
    """A whole answer with a length: text as it is, anything else as JSON. *headers*: more header lines."""
    text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
    line = f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}\r\n"
    typed = f"Content-Type: {kind}\r\n" if kind else ""
    return [f"{line}{typed}{headers}Content-Length: {len(text.encode('latin-1'))}\r\n\r\n{text}"]


def sse(*events: str, kind: str = "text/event-stream", end: bool = True) -> list[Any]:
    """A chunked stream of these events, each a chunk of its own; *end*: with the terminating chunk."""
    typed = f"Content-Type: {kind}\r\n" if kind else ""
    chunks = [f"{len(event.encode('latin-1')):x}\r\n{event}\r\n" for event in events]
    return [f"HTTP/1.1 200 OK\r\n{typed}Transfer-Encoding: chunked\r\n\r\n", *chunks, *(["0\r\n\r\n"] if end else [])]


def data(value: Any) -> str:
    """One event; text as it is, anything else as JSON."""
    return f"data: {value if isinstance(value, str) else json.dumps(value, separators=(',', ':'))}\n\n"


def event(name: str, value: Any) -> str:
    """One named event."""
    return f"event: {name}\n{data(value)}"


def chunk(delta: Any, finish: str | None = None, **more: Any) -> str:
    """One event of a chat's stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return data(
        {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}
    )


ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk({}, "stop")


def said(text: str) -> list[Any]:
    """A whole chat's stream that says *text*."""
    return sse(ROLE, chunk({"content": text}), STOP, DONE)


def chat(text: str, **more: Any) -> list[Any]:
    """A whole chat answer that says *text*."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    value = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return answer(200, {**value, **more})


def response(text: str, **more: Any) -> list[Any]:
    """A whole answer of the Responses API that says *text*."""
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    item["content"] = [{"type": "output_text", "text": text, "annotations": []}]  # type: ignore[assignment]
    usage = {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4}
    value = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "m"}
    return answer(200, {**value, "output": [item], "usage": usage, **more})


def message(text: str, **more: Any) -> list[Any]:
    """A whole answer of the Messages API that says *text*."""
    value = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
    usage = {"input_tokens": 3, "output_tokens": 1}
    return answer(
        200, {**value, "content": [{"type": "text", "text": text}], "stop_sequence": None, "usage": usage, **more}
    )


def rule(answer: list[Any], **when: Any) -> dict[str, Any]:
    """A rule of a scripted provider."""
    return {"when": when, "answer": answer}


def always(answer: list[Any], *models: str) -> dict[str, Any]:
    """A provider that always answers that."""
    return {"models": list(models or ("m",)), "rules": [rule(answer)]}


def one(**more: Any) -> dict[str, Any]:
    """The configuration of one provider, `a`, with a key and the model `m`."""
    return {"providers": {"a": {"type": "compatible", "base_url": "{a}/v1", "api_key": KEY_A, "models": ["m"], **more}}}


def two(**more: Any) -> dict[str, Any]:
    """The configuration of two, `a` before `b`; *more* is for the first."""
    second = {"type": "compatible", "base_url": "{b}/v1", "api_key": KEY_B, "models": ["m"]}
    return {"providers": {**one(**more)["providers"], "b": second}, "provider_preference": ["a", "b"]}


def ask(path: str = "/v1/chat/completions", step: str = "call", **fields: Any) -> dict[str, Any]:
    """A client's step: a POST of JSON with the model `m`, as a chat, a response, a message or whatever *path* is."""
    body: dict[str, Any] = {"model": "m"}
    if path.endswith(("responses", "embeddings")):
        body["input"] = "hi"
    elif path.endswith("/completions") and not path.endswith("chat/completions"):
        body["prompt"] = "hi"
    else:
        body["messages"] = [{"role": "user", "content": "hi"}]
        if path.endswith("messages"):
            body["max_tokens"] = 64
    return {"step": step, "request": f"POST {path}", "body": {**body, **fields}}


def of(type: str = "compatible", name: str = "a", **more: Any) -> dict[str, Any]:
    """The settings of the provider *name*, its models left to its list."""
    return {"type": type, "base_url": f"{{{name}}}/v1", "api_key": KEY_A, **more}


def saying(text: str, *models: str) -> dict[str, Any]:
    """A provider that lists these models and answers *text* to every call."""
    return {"models": list(models), "rules": [rule(chat(text), method="POST")]}
