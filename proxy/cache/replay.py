"""
A stored answer on its way to a client: at once, or at the pace at which it came.

It waits for a client that has no room, and leaves with it. What is sent is decided elsewhere.
"""

import asyncio
from collections.abc import Iterator

from proxy.cache.stored_answer import StoredAnswer
from proxy.core import clock
from proxy.core.exchange import Exchange
from proxy.core.headers import Header
from proxy.relay.client import Client
from proxy.relay.whole_answer import MAX_WHOLE_BYTES

_NO_ATTEMPT: Header = (b"X-Hapax-Attempts", b"0")


class Replays:
    """Sends stored answers."""

    def __init__(self) -> None:
        self._unpaced = asyncio.Event()

    def hurry(self) -> None:
        """This process is about to end: what is left of every answer goes out at once."""
        self._unpaced.set()

    async def send(self, answer: StoredAnswer, exchange: Exchange, client: Client, pace: bool) -> None:
        """
        Answer *client*, whose call is *exchange*; it was sent all of it when this returns. *pace*: a stream takes as
        long as it took when it was made.
        """
        headers = [*answer.headers, _NO_ATTEMPT]
        if not answer.streamed and len(answer.body) <= MAX_WHOLE_BYTES:
            exchange.bytes_out += len(answer.body)
            client.send(200, headers, answer.body)
            return
        room = asyncio.Event()
        client.on_resume = room.set
        try:
            client.start(200, headers, None if answer.streamed else len(answer.body), answer.streamed)
            began, sent = clock.now(), 0
            for due, piece in _pieces(answer, pace):
                if due:
                    await self._until(began + due)
                sent += len(piece)
                exchange.bytes_out += len(piece)
                # How many pieces of content are in this much of it is not kept.
                exchange.emitted = answer.emitted * sent // (len(answer.body) or 1)
                client.push(piece)
                if client.paused:
                    room.clear()
                    await room.wait()
            client.finish()
        finally:
            client.on_resume = None

    async def _until(self, moment: float) -> None:
        """Wait for *moment*, in monotonic seconds, unless there is no time for that."""
        left = moment - clock.now()
        if left > 0 and not self._unpaced.is_set():
            try:
                async with asyncio.timeout(left):
                    await self._unpaced.wait()
            except TimeoutError:
                pass


def _pieces(answer: StoredAnswer, pace: bool) -> Iterator[tuple[float, bytes]]:
    if pace and answer.streamed:
        yield from answer.paced()
    else:
        for block in answer.blocks():
            yield 0.0, block
