"""A stored answer on its way to a client: its bytes, its pace, and no more than the client takes."""

import asyncio

import pytest

from proxy.cache.replay import Replays
from proxy.cache.stored_answer import BLOCK
from proxy.core import tasks
from proxy.core.exchange import Exchange
from tests.rigs.answers import Listening, answer

HOUR = 3600.0


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_at_once_a_stream_comes_with_its_head_and_all_its_bytes() -> None:
    client, exchange = Listening(), Exchange("req_1")
    await Replays().send(answer((0, b"one"), (HOUR, b"two")), exchange, client, False)
    assert (exchange.bytes_out, exchange.emitted) == (6, 2)
    headers = [(b"Content-Type", b"text/event-stream"), (b"X-Hapax-Attempts", b"0")]
    assert (client.head, client.pieces, client.ended) == ((200, headers, None, True), [b"onetwo"], "whole")


async def test_a_whole_answer_comes_in_one_piece() -> None:
    client = Listening()
    await Replays().send(answer((0, b"{"), (HOUR, b"}"), streamed=False, headers=()), Exchange("req_1"), client, True)
    assert (client.head, client.pieces, client.ended) == (
        (200, [(b"X-Hapax-Attempts", b"0")], 2, False),
        [b"{}"],
        "sent",
    )


async def test_a_large_one_comes_in_pieces_with_its_length() -> None:
    client = Listening()
    pieces = [(number / 1000, b"x" * BLOCK) for number in range(20)]
    await Replays().send(answer(*pieces, streamed=False, headers=()), Exchange("req_1"), client, True)
    assert client.head == (200, [(b"X-Hapax-Attempts", b"0")], 20 * BLOCK, False)
    assert (len(client.pieces), client.ended) == (20, "whole")


async def test_at_its_pace_a_piece_comes_when_its_time_has() -> None:
    client = Listening()
    replays = Replays()
    sending = tasks.start(
        replays.send(answer((0, b"one"), (0.01, b"two"), (HOUR, b"three")), Exchange("req_1"), client, True), "replay"
    )
    while len(client.pieces) < 2:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.001)
    await turns()
    assert (client.pieces, client.ended) == ([b"one", b"two"], "")
    replays.hurry()
    await sending
    assert (client.pieces, client.ended) == ([b"one", b"two", b"three"], "whole")


async def test_one_that_begins_when_there_is_no_time_left_comes_at_once() -> None:
    client = Listening()
    replays = Replays()
    replays.hurry()
    await replays.send(answer((0, b"one"), (HOUR, b"two")), Exchange("req_1"), client, True)
    assert client.ended == "whole"


async def test_it_waits_for_a_client_without_room() -> None:
    client = Listening(room=2)
    pieces = [(number / 1000, b"x" * BLOCK) for number in range(5)]
    sending = tasks.start(Replays().send(answer(*pieces), Exchange("req_1"), client, False), "replay")
    await turns()
    assert (len(client.pieces), client.ended) == (2, "")
    client.room = 3
    assert client.on_resume is not None
    client.on_resume()
    await turns()
    assert (len(client.pieces), client.ended) == (3, "")
    client.room = 100
    client.on_resume()
    await sending
    assert (len(client.pieces), client.ended, client.on_resume) == (5, "whole", None)


async def test_it_leaves_with_its_client() -> None:
    client, exchange = Listening(), Exchange("req_1")
    sending = tasks.start(Replays().send(answer((0, b"one"), (HOUR, b"two")), exchange, client, True), "replay")
    await turns()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert (client.pieces, client.ended, client.on_resume) == ([b"one"], "", None)
    assert (exchange.bytes_out, exchange.emitted) == (3, 1)
