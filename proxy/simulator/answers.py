"""
Answers: which endpoint answers what, as whole bodies.

An answer here is always the good one. The faults asked for are added in `faults.py`.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from proxy.simulator import dialects, streams
from proxy.simulator.completion import CREATED, TEXT, Completion, complete
from proxy.simulator.question import Question, text_of
from proxy.simulator.script import NOTHING, Bill
from proxy.simulator.streams import Stream

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SPEECH_TYPES: Final = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


@dataclass(slots=True)
class Reply:
    """An answer that is one body."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    bill: Bill = NOTHING
    """What a provider charges for it."""


def refusal(status: int, message: str, *, type: str = "invalid_request_error", code: str | None = None) -> Reply:
    """An error as OpenAI writes it."""
    return Reply(orjson.dumps({"error": {"message": message, "type": type, "param": None, "code": code}}), status)


def _json(payload: Any, bill: Bill = NOTHING) -> Reply:
    return Reply(orjson.dumps(payload), bill=bill)


def _refused_options(question: Question) -> Reply | None:
    """The refusal of a provider of the kind that does not know `stream_options`, where it was sent some."""
    if question.directives.text("usage") == "refused" and "stream_options" in question.body:
        return refusal(400, "Unrecognized request argument supplied: stream_options")
    return None


def chat(question: Question) -> Reply | Stream:
    """POST /chat/completions."""
    if not isinstance(question.body.get("messages"), list):
        return refusal(400, "messages must be a list.")
    if (refused := _refused_options(question)) is not None:
        return refused
    completion = complete(question)
    if question.stream:
        return streams.chat(question, completion)
    message: dict[str, Any] = {"role": "assistant", "content": completion.whole, "refusal": None}
    if completion.tool is not None:
        call = {"name": completion.tool, "arguments": completion.arguments}
        calls = [{"id": streams.identity(question, "call_"), "type": "function", "function": call}]
        message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": calls}
    choice = {"message": message, "logprobs": None, "finish_reason": completion.finish}
    return _completed(question, completion, "chatcmpl-", "chat.completion", choice, system_fingerprint="fp_simulator")


def text(question: Question) -> Reply | Stream:
    """POST /completions."""
    if (refused := _refused_options(question)) is not None:
        return refused
    completion = complete(question)
    if question.stream:
        return streams.text(question, completion)
    choice = {"text": completion.whole, "logprobs": None, "finish_reason": completion.finish}
    return _completed(question, completion, "cmpl-", "text_completion", choice)


def _completed(
    question: Question, completion: Completion, prefix: str, object: str, choice: dict[str, Any], **more: str
) -> Reply:
    """A whole completion with as many of *choice* as were asked for."""
    answer = {
        "id": streams.identity(question, prefix),
        "object": object,
        "created": CREATED,
        "model": question.model,
        "choices": [{"index": i, **choice} for i in range(streams.choices(question))],
        **more,
    }
    if question.directives.text("usage") != "none":
        answer["usage"] = streams.usage_of(question, completion)
    return _json(answer, streams.bill_of(question, completion))


def responses(question: Question) -> Reply | Stream:
    """POST /responses."""
    completion = complete(question)
    if question.stream:
        return dialects.response_stream(question, completion)
    return _json(dialects.response(question, completion), Bill(completion.prompt_tokens, completion.completion_tokens))


def messages(question: Question) -> Reply | Stream:
    """POST /messages."""
    completion = complete(question)
    if question.stream:
        return dialects.message_stream(question, completion)
    return _json(dialects.message(question, completion), Bill(completion.prompt_tokens, completion.completion_tokens))


def embeddings(question: Question) -> Reply:
    """POST /embeddings."""
    given = question.body.get("input")
    # A list of numbers is one text already cut into tokens.
    inputs = given if isinstance(given, list) and not (given and isinstance(given[0], int)) else [given]
    wanted = question.body.get("dimensions")
    size = wanted if isinstance(wanted, int) and 0 < wanted <= 65536 else 8
    packed = question.body.get("encoding_format") == "base64"
    rows = []
    for index, entry in enumerate(inputs):
        vector = _vector(orjson.dumps(entry), size)
        value = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode() if packed else vector
        rows.append({"object": "embedding", "index": index, "embedding": value})
    tokens = sum(len(entry.split()) if isinstance(entry, str) else len(entry or []) for entry in inputs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json({"object": "list", "data": rows, "model": question.model, "usage": usage}, Bill(tokens))


def _vector(seed: bytes, size: int) -> list[float]:
    # Multiples of 1/256 survive the trip through 32-bit floats unchanged.
    return [(zlib.crc32(seed, i) % 512 - 256) / 256 for i in range(size)]


def moderations(question: Question) -> Reply:
    """POST /moderations. Flags what contains the word violence."""
    given = question.body.get("input")
    results = []
    for entry in given if isinstance(given, list) else [given]:
        flagged = "violence" in (entry if isinstance(entry, str) else text_of([entry]))
        scores = {"violence": 0.99 if flagged else 0.01, "hate": 0.01, "sexual": 0.01, "self-harm": 0.01}
        marks = {name: score > 0.5 for name, score in scores.items()}
        results.append({"flagged": flagged, "categories": marks, "category_scores": scores})
    return _json({"id": streams.identity(question, "modr-"), "model": question.model, "results": results})


def speech(question: Question) -> Reply:
    """POST /audio/speech. Bytes that look like no text at all, as many as `bytes` says."""
    kind = str(question.body.get("response_format", "mp3"))
    size = question.directives.count("bytes", 4096)
    return Reply((bytes(range(256)) * (size // 256 + 1))[:size], 200, SPEECH_TYPES.get(kind, "audio/mpeg"))


def transcriptions(question: Question) -> Reply:
    """POST /audio/transcriptions."""
    form = question.form
    if form is None or form.file is None:
        return refusal(400, "A multipart form with a file is needed.")
    if form.value("response_format") == "text":
        return Reply(TEXT.encode() + b"\n", 200, "text/plain; charset=utf-8")
    return _json({"text": TEXT, "usage": {"type": "duration", "seconds": max(1, form.file.size // 16000)}})


def images(question: Question) -> Reply:
    """POST /images/generations. One grey pixel each."""
    rows = [{"b64_json": base64.b64encode(PIXEL).decode()} for _ in range(streams.choices(question))]
    return _json({"created": CREATED, "data": rows})


def rerank(question: Question) -> Reply:
    """POST /rerank. The longer document wins."""
    documents = question.body.get("documents")
    sizes = [len(orjson.dumps(document)) for document in documents] if isinstance(documents, list) else []
    order = sorted(range(len(sizes)), key=lambda i: -sizes[i])
    rows = [{"index": i, "relevance_score": sizes[i] / (1 + sizes[order[0]])} for i in order]
    return _json({"id": streams.identity(question, "rerank-"), "model": question.model, "results": rows})


ENDPOINTS: Final[dict[str, Callable[[Question], Reply | Stream]]] = {
    "/chat/completions": chat,
    "/completions": text,
    "/responses": responses,
    "/messages": messages,
    "/embeddings": embeddings,
    "/moderations": moderations,
    "/audio/speech": speech,
    "/audio/transcriptions": transcriptions,
    "/images/generations": images,
    "/rerank": rerank,
}
"""POST endpoints whose answer depends on the request alone."""
