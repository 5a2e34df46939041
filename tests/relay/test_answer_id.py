"""What a provider calls its answer, read of the first events of a stream or of the object that is all of it."""

from typing import Any

import pytest

from proxy.relay.answer_id import LONGEST, WITHIN, in_events, in_object


@pytest.mark.parametrize(
    ("begin", "name"),
    [
        (b'data: {"id":"chatcmpl-1","choices":[]}\n\n', "chatcmpl-1"),
        (b'data: {"object":"x", "id" : "chatcmpl-2"}\n\n', "chatcmpl-2"),
        (b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_3"}}\n\n', "msg_3"),
        (b'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_4"}}\n\n', "resp_4"),
        (b'data: {"choices":[{"delta":{"content":"{\\"id\\":\\"said\\"}"}}]}\n\n', ""),
        (b'data: {"id":7}\n\n', ""),
        (b'data: {"id":""}\n\n', ""),
        (b'data: {"id":"' + b"x" * (LONGEST + 1) + b'"}\n\n', ""),
        (b"data: " + b" " * WITHIN + b'{"id":"late"}\n\n', ""),
        (b"", ""),
    ],
)
def test_the_first_id_of_a_stream_is_the_answers_and_what_a_model_says_is_none(begin: bytes, name: str) -> None:
    assert in_events(begin) == name


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"id": "chatcmpl-1"}, "chatcmpl-1"),
        ({"id": 7}, ""),
        ({}, ""),
        (None, ""),
        ({"id": "a\nb"}, ""),
        ({"id": "x" * 200}, ""),
    ],
)
def test_of_an_object_its_own_id_is_taken_where_it_is_a_short_text(value: dict[str, Any] | None, name: str) -> None:
    assert in_object(value) == name
