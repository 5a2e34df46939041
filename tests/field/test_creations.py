"""What may have happened at the provider is not asked for a second time."""

from typing import Any

import pytest

from tests.field.build import always, answer, chat, two
from tests.field.failing import error
from tests.field.play import Play

LONG_ROW = {"circuit_breaker": {"failure_threshold": 1000}}
"""No breaker opens: for what is decided without one."""


CHANGES = [
    (
        "POST /v1/files",
        "multipart/form-data; boundary=b",
        ['--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n'],
    ),
    (
        "POST /v1/batches",
        None,
        {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"},
    ),
    ("POST /v1/responses", None, {"model": "m", "input": "hi", "store": True}),
    ("POST /v1/responses", None, {"model": "m", "input": "hi", "background": True}),
    ("POST /v1/chat/completions", None, {"model": "m", "messages": [], "store": True}),
    ("POST /v1/fine_tuning/jobs", None, {"model": "m", "training_file": "file-1"}),
    ("POST /v1/vector_stores", None, {"name": "v"}),
    ("POST /v1/conversations", None, {"items": []}),
    ("POST /v1/videos", None, {"model": "m", "prompt": "a cat"}),
    ("POST /v1/containers", None, {"name": "c"}),
]
"""Of the API reference, platform.openai.com/docs/api-reference."""


def change(number: int) -> dict[str, Any]:
    request, kind, body = CHANGES[number]
    return {"step": f"{number}", "request": request, "body": body, **({"content_type": kind} if kind else {})}


@pytest.mark.parametrize(
    "how",
    [error(500), error(502), error(503), error(503, "Retry-After: 0\r\n"), error(504), error(529), [{"then": "reset"}]],
    ids=["500", "502", "503", "503 with a time", "504", "529", "a reset"],
)
async def test_what_creates_something_is_asked_once_whichever_failure_answers(play: Play, how: list[Any]) -> None:
    providers = {"a": always(how), "b": always(chat("from b"))}
    played = await play({**two(), **LONG_ROW}, providers, [change(number) for number in range(len(CHANGES))])
    for number in range(len(CHANGES)):
        got = played[f"{number}"]
        assert got.status in (502, 503, 504), CHANGES[number]
        assert got.header("x-should-retry") == "false"
        assert len(played.asked("a", f"{number}")) == 1
    assert played.asked("b") == []


async def test_what_creates_something_goes_elsewhere_when_a_limit_turned_it_away_or_it_was_never_sent(
    play: Play,
) -> None:
    """A 429 is said at the door (RFC 6585 section 4), and what refuses connections has seen nothing."""
    made = answer(200, {"id": "batch_1", "object": "batch"})
    providers = {"a": always(error(429)), "b": always(made)}
    client = [change(1), {"provider": "a", "from_now_on": "refuses connections"}, {"wait": 60.0}, change(6)]
    played = await play({**two(), **LONG_ROW}, providers, client)
    assert (played["1"].status, played["6"].status) == (200, 200)
    assert len(played.asked("a", "1")) == 1
