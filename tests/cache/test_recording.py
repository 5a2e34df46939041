"""The copy of an answer that passes: kept while the answer is fit to be stored, and within bounds."""

import pytest

from proxy.cache.recording import Recording, Room, stopped_short
from tests.rigs.answers import Listening


def test_everything_passes_and_a_copy_is_kept() -> None:
    client = Listening()
    recording = Recording(client, Room(100), 50)
    recording.start(200, [(b"Content-Type", b"text/event-stream"), (b"X-Hapax-Attempts", b"1")], None, True)
    recording.push(b"one ")
    recording.push(b"")
    assert not recording.whole
    recording.push(b"two")
    recording.finish()
    assert (client.pieces, client.ended) == ([b"one ", b"", b"two"], "whole")
    assert (recording.whole, recording.streamed, recording.body) == (True, True, b"one two")
    assert recording.headers == ((b"Content-Type", b"text/event-stream"),)


def test_an_answer_in_one_piece_is_whole_at_once() -> None:
    client = Listening()
    recording = Recording(client, Room(100), 50)
    recording.send(200, [], b"{}")
    assert (client.pieces, client.ended, recording.whole, recording.body) == ([b"{}"], "sent", True, b"{}")


@pytest.mark.parametrize("status", [201, 202, 204, 400, 429, 500])
def test_another_status_than_200_is_not_kept(status: int) -> None:
    recording = Recording(Listening(), Room(100), 50)
    recording.send(status, [], b"{}")
    assert (recording.whole, recording.body) == (False, b"")


def test_what_is_cut_is_not_kept() -> None:
    client = Listening()
    recording = Recording(client, Room(100), 50)
    recording.start(200, [], None, True)
    recording.push(b"one")
    recording.cut()
    assert (client.ended, recording.whole, recording.body) == ("cut", False, b"")


def test_one_that_is_too_large_passes_and_its_room_is_given_back() -> None:
    room, client = Room(100), Listening()
    recording = Recording(client, room, 50)
    recording.start(200, [], None, True)
    for _ in range(6):
        recording.push(b"x" * 10)
    recording.finish()
    assert (len(client.pieces), client.ended, recording.whole) == (6, "whole", False)
    assert room.take(100)


def test_copies_under_way_take_no_more_room_together_than_there_is() -> None:
    room = Room(100)
    first, second = Recording(Listening(), room, 80), Recording(Listening(), room, 80)
    for recording in (first, second):
        recording.start(200, [], None, False)
        recording.push(b"x" * 60)
        recording.finish()
    assert (first.whole, second.whole) == (True, False)
    first.close()
    assert room.take(100)


def test_back_pressure_goes_through() -> None:
    client = Listening(room=1)
    recording = Recording(client, Room(100), 50)
    called = []
    recording.on_resume = lambda: called.append("resume")
    recording.start(200, [], None, True)
    recording.push(b"one")
    assert recording.paused
    assert client.on_resume is not None
    client.on_resume()
    assert called == ["resume"]


@pytest.mark.parametrize(
    ("body", "short"),
    [
        (b'{"finish_reason":"stop"}', False),
        (b'{"finish_reason": "length"}', True),
        (b'{"finish_reason" :\n"MAX_TOKENS"}', True),
        (b'{"finish_reason":"content_filter"}', True),
        (b'data: {"finish_reason":null}\n\ndata: {"finish_reason":"length"}\n\n', True),
        (b'{"stop_reason":"end_turn"}', False),
        (b'{"stop_reason":"max_tokens"}', True),
        (b'{"stop_reason":"pause_turn"}', True),
        (b'{"status":"completed","incomplete_details":null}', False),
        (b'{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}', True),
        (rb'{"content":"{\"finish_reason\":\"length\"}","finish_reason":"stop"}', False),
    ],
)
def test_an_answer_that_stopped_short_says_so(body: bytes, short: bool) -> None:
    assert stopped_short(body) is short
