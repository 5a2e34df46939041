"""
Whatever a provider may send as a 2xx: a grammar of answers, and what may become of each, read independently.

Good chunks and odd ones, errors in every shape, junk, any label, whole answers and pages in a stream's place. The tests
play it against one attempt and against the gateway.
"""

import json
import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

PATHS = ("/chat/completions", "/completions", "/responses", "/messages", "/audio/transcriptions")

KEY_WORDS = re.compile(rb"api[ _]key|credits|\b40[12]\b", re.I)
"""Words about a key or an account; without any of them no key may be parked."""


def chunk(*choices: dict[str, Any], **more: Any) -> bytes:
    return data({"id": "c", "object": "chat.completion.chunk", "choices": list(choices), **more})


def data(value: Any) -> bytes:
    return b"data: " + (value if type(value) is bytes else json.dumps(value).encode()) + b"\n\n"


def typed(kind: str, **more: Any) -> bytes:
    return b"event: " + kind.encode() + b"\n" + data({"type": kind, **more})


def _choice(delta: Any, finish: Any = None, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish, **more}


ROLE = chunk(_choice({"role": "assistant", "content": ""}))
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
EVENTS = {
    "/chat/completions": [
        ROLE,
        *(chunk(_choice({"content": text}, index=n)) for text in ("a", "\ud83d", "") for n in (0, 1)),
        chunk(_choice({"reasoning_content": "hm"})),
        chunk(_choice({"content": "", "provider_specific_fields": {"x": 1}})),
        chunk(_choice({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]})),
        *(chunk(_choice({}, finish, n)) for finish in ("stop", "length", "content_filter") for n in (0, 1)),
        *(chunk(_choice({}, finish)) for finish in ("error", "network_error", "abort")),
        chunk(_choice({"content": "x"}, "error", error={"code": 502, "message": "m"})),
        chunk(usage=USAGE),
        data({"choices": None, "usage": USAGE}),
        data(b'{"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"x":-Infinity}}]}'),
    ],
    "/completions": [
        *(data({"choices": [{"index": 0, "text": text, "finish_reason": None}]}) for text in ("", "a")),
        *(data({"choices": [{"index": 0, "text": "", "finish_reason": end}]}) for end in ("stop", "error")),
    ],
    "/responses": [
        *(typed(f"response.{name}", response={"id": "r"}) for name in ("created", "in_progress", "queued")),
        *(typed(f"response.{name}") for name in ("output_item.added", "web_search_call.searching")),
        typed("response.output_text.delta", delta="a"),
        typed("response.completed", response={"usage": {"input_tokens": 1, "output_tokens": 1}}),
        typed("response.incomplete", response={}),
        typed("response.failed", response={"error": {"code": "server_error", "message": "m"}}),
    ],
    "/messages": [
        typed("message_start", message={"usage": {"input_tokens": 1}}),
        typed("content_block_start", content_block={"type": "text", "text": ""}),
        typed("ping"),
        typed("content_block_delta", delta={"type": "text_delta", "text": "a"}),
        typed("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2}),
        typed("message_stop"),
        typed("error", error={"type": "overloaded_error", "message": "m"}),
    ],
    "/audio/transcriptions": [typed("transcript.text.delta", delta="a"), typed("transcript.text.done", text="a")],
}
ERRORS = [
    {"error": {"message": "m", "type": "server_error", "code": 500}},
    {"error": {"message": "m", "type": "invalid_request_error", "code": "bad_tool"}},
    {"error": {"message": "This prompt was flagged", "code": 403}},
    {"error": {"message": "No auth credentials found, check your API key", "code": 401}},
    {"error": {"message": "Insufficient credits", "code": 402}},
    {"error": {"message": "m", "code": 429}},
    {"error": "words"},
    {"error": ["words"]},
    {"error": {"message": "m"}, "choices": []},
    {"object": "error", "message": "m", "type": "BadRequestError", "code": 400},
    {"type": "error", "code": "server_error", "message": "m"},
    {"detail": "m"},
    {"detail": [{"loc": ["body"], "msg": "m"}]},
    {"base_resp": {"status_code": 1002, "status_msg": "m"}},
    {"code": "Throttling", "message": "m"},
    {"error": {"message": "\ud83d", "code": 500}},
]
JUNK = [
    *(b"data: \n\n", b"data:\n\n", b"data\n\n", b": ping\n\n", b": x\n", b"event: ping\n\n", b"event: x\ndata: y\n\n"),
    *(
        b"data: {broken\n\n",
        b"data: null\n\n",
        b"data: []\n\n",
        b"data: 7\n\n",
        b"data: \xff\xfe\n\n",
        b"data: NaN\n\n",
    ),
    *(b"id: 1\n", b"retry: 5\n\n", b"\n", b"\n\n", b"junk\n\n", b"\x00", b'data: {"type":"ping"}\n\n', b"{}\n\n"),
]
BODIES = [
    *(b"", b"{}", b"[]", b"null", b"words", b"<html>502</html>", b"\xef\xbb\xbf", b"\n\n"),
    b'{"choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}]}',
    b'{"text":"hello"}',
    *(json.dumps(error).encode() for error in ERRORS),
]
KINDS = [
    *(b"text/event-stream", b"text/event-stream; charset=utf-8", b"TEXT/EVENT-STREAM", b"text/plain", b"text/html"),
    *(b"application/json", b"application/x-ndjson", b"application/octet-stream", None),
]


@dataclass
class Sent:
    """An answer as a provider sends it."""

    path: str
    kind: bytes | None
    body: bytes
    delimited: bool
    """The framing says where it ends."""
    cuts: list[int] = field(default_factory=list)

    @property
    def pieces(self) -> list[bytes]:
        places = [0, *sorted({cut for cut in self.cuts if 0 < cut < len(self.body)}), len(self.body)]
        return [self.body[start:end] for start, end in pairwise(places) if start < end]


@st.composite
def sent(draw: st.DrawFn) -> Sent:
    """Any answer; most of them streams, many of which are almost good."""
    path = draw(st.sampled_from(PATHS))
    errors = st.builds(
        lambda error, frame: frame % json.dumps(error).encode(),
        st.sampled_from(ERRORS),
        st.sampled_from([b"data: %b\n\n", b"event: error\ndata: %b\n\n", b"error: %b\n\n"]),
    )
    event = st.sampled_from(EVENTS[path])
    odd = st.one_of(st.sampled_from(JUNK), errors, st.just(b"data: [DONE]\n\n"), st.just(b"data:[DONE]\n\n"))
    events = draw(st.lists(st.one_of(event, event, event, odd), max_size=8))
    stream = b"".join(events) + draw(st.sampled_from([b"", b"data: [DONE]\n\n", b"data: cut o"]))
    body = draw(st.sampled_from(BODIES)) if draw(st.integers(0, 6)) == 0 else stream
    body = draw(st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf", b"\n"])) + body
    body = body.replace(b"\n", draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"])))
    if draw(st.integers(0, 4)) == 0:
        body = body[: draw(st.integers(0, len(body)))]
    kind = draw(st.sampled_from([b"text/event-stream", *KINDS]))
    return Sent(path, kind, body, draw(st.booleans()), draw(st.lists(st.integers(1, 900), max_size=8)))


def objects_of(stream: bytes) -> list[Any]:
    """The data of each event, by the standard: JSON as Python reads it, `[DONE]` as that text, None for the rest."""
    found: list[Any] = []
    lines = re.split(rb"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf"))[:-1]
    told: list[bytes] = []
    for line in lines:
        name, _, value = line.partition(b":")
        if name == b"data":
            told.append(value.removeprefix(b" "))
        elif line == b"" and told:
            text = b"\n".join(told).decode("utf-8", "replace")
            told = []
            try:
                found.append("[DONE]" if text.startswith("[DONE]") else json.loads(text))
            except ValueError:
                found.append(None)
    return found


def is_finished(path: str, stream: bytes) -> bool:
    """Whether a reader of *stream* would say that the answer has finished and is good."""
    if path.startswith("/audio") and not stream.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"data:", b"event:", b":")):
        # A transcription as text, which may hold anything.
        return True
    ends: dict[Any, bool] = {}
    for value in objects_of(stream):
        if value == "[DONE]":
            break
        if type(value) is not dict:
            continue
        if value.get("error") or value.get("type") in ("error", "response.failed"):
            return False
        if value.get("type") in ("response.completed", "response.incomplete", "message_stop"):
            return True
        for choice in value.get("choices") or []:
            finish = choice.get("finish_reason")
            if finish in ("error", "network_error", "abort") or choice.get("error"):
                return False
            ends[choice.get("index")] = ends.get(choice.get("index"), False) or bool(finish)
    return path.startswith("/audio") or (bool(ends) and all(ends.values()))
