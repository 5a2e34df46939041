"""Siblings of the cases of silence: one provider that thinks is one provider that is paid."""

from typing import Any

import pytest

from tests.field.build import DONE, ROLE, STOP, always, answer, ask, chat, chunk, data, event, said, sse, two
from tests.field.build import message as whole_message
from tests.field.build import response as whole_response
from tests.field.play import Play

SLOW = 0.4
"""Seconds of silence; patience, where it is set, is shorter."""


def thinking(*events: str, path: str = "") -> list[Any]:
    """A stream of which the first event comes at once and the others after a while."""
    whole = sse(*events)
    return [*whole[:2], {"pause": SLOW}, *whole[2:]]


def later(whole: list[Any]) -> list[Any]:
    return [{"pause": SLOW}, *whole]


def text_completion(text: str, finish: str | None = None) -> str:
    return data(
        {
            "id": "c1",
            "object": "text_completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "text": text, "finish_reason": finish, "logprobs": None}],
        }
    )


CREATED = event(
    "response.created",
    {"type": "response.created", "response": {"id": "r1", "object": "response", "status": "in_progress", "output": []}},
)
DELTA = event(
    "response.output_text.delta",
    {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 0, "delta": "Hello"},
)
COMPLETED = event(
    "response.completed",
    {"type": "response.completed", "response": {"id": "r1", "object": "response", "status": "completed", "output": []}},
)
STARTED = event(
    "message_start",
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": "m",
            "stop_reason": None,
            "usage": {"input_tokens": 3, "output_tokens": 1},
        },
    },
)
BLOCK = event(
    "content_block_start", {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
)
TEXT = event(
    "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}
)
STOPPED = event("content_block_stop", {"type": "content_block_stop", "index": 0})
ENDS = event(
    "message_delta", {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}
)
OVER = event("message_stop", {"type": "message_stop"})
EMBEDDED = answer(
    200,
    {
        "object": "list",
        "model": "m",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    },
)

SILENT = {
    "a chat, before its head": ("/v1/chat/completions", True, later(said("Hello"))),
    "a chat, after its role, as DeepSeek's reasoner with reasoning hidden": (
        "/v1/chat/completions",
        True,
        thinking(ROLE, chunk({"content": "Hello"}), STOP, DONE),
    ),
    "a completion, before its head": (
        "/v1/completions",
        True,
        later(sse(text_completion("Hello"), text_completion("", "stop"), DONE)),
    ),
    "a response, after response.created, as OpenAI's o-series thinks": (
        "/v1/responses",
        True,
        thinking(CREATED, DELTA, COMPLETED),
    ),
    "a response, before its head": ("/v1/responses", True, later(sse(CREATED, DELTA, COMPLETED))),
    "a message, before its head": ("/v1/messages", True, later(sse(STARTED, BLOCK, TEXT, STOPPED, ENDS, OVER))),
    "a whole chat": ("/v1/chat/completions", False, later(chat("Hello"))),
    "a whole response": ("/v1/responses", False, later(whole_response("Hello"))),
    "a whole message": ("/v1/messages", False, later(whole_message("Hello"))),
    "embeddings": ("/v1/embeddings", False, later(EMBEDDED)),
}
"""What is silent for a while: the path, whether a stream was asked for, and the answer."""
QUICK = {
    "/v1/chat/completions": said("from b"),
    "/v1/completions": sse(text_completion("from b"), text_completion("", "stop"), DONE),
    "/v1/responses": sse(CREATED, DELTA.replace("Hello", "from b"), COMPLETED),
    "/v1/messages": sse(STARTED, BLOCK, TEXT.replace("Hello", "from b"), STOPPED, ENDS, OVER),
}


@pytest.mark.parametrize(("path", "stream", "slow"), SILENT.values(), ids=SILENT)
async def test_a_provider_that_thinks_is_the_only_one_asked(
    play: Play, path: str, stream: bool, slow: list[Any]
) -> None:
    fields = {"stream": True} if stream else {}
    played = await play(two(), {"a": always(slow), "b": always(chat("from b"))}, [ask(path, **fields)])
    assert (played["call"].status, played["call"].whole) == (200, True)
    assert (len(played.asked("a")), played.asked("b")) == (1, [])


STREAMED = {name: (path, slow) for name, (path, stream, slow) in SILENT.items() if stream}


@pytest.mark.parametrize(("path", "slow"), STREAMED.values(), ids=STREAMED)
async def test_a_second_is_asked_beside_it_where_the_operator_wants_that(
    play: Play, path: str, slow: list[Any]
) -> None:
    configuration = {**two(), "failover": {"patience": "80ms"}}
    played = await play(configuration, {"a": always(slow), "b": always(QUICK[path])}, [ask(path, stream=True)])
    assert b"from b" in played["call"].body
    assert (played["call"].whole, len(played.asked("a")), len(played.asked("b"))) == (True, 1, 1)
