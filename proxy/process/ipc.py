"""
The line between a worker and its supervisor: JSON messages, one to a line, over a socket pair.

It carries whatever mapping it is given and understands none; what is said stands in `worker` and `supervisor`.
"""

import asyncio
import base64
import pickle
import socket
from collections.abc import AsyncIterator
from typing import Any

import orjson

LONGEST = 256 * 1024 * 1024
"""Bytes of the longest message: the metrics of many workers."""


def packed(value: Any) -> str:
    """*value*, any object of ours, as a part of a message; the line is open to no other process."""
    return base64.b85encode(pickle.dumps(value)).decode()


def unpacked(text: str) -> Any:
    """What `packed` has made a text of."""
    return pickle.loads(base64.b85decode(text))


class Channel:
    """One end of it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> "Channel":
        """Talk over *end*, which is the channel's from now on."""
        return cls(*await asyncio.open_unix_connection(sock=end, limit=LONGEST))

    def say(self, kind: str, **more: Any) -> None:
        """Send a message, without waiting for the other side to read it; nothing once that is gone."""
        if not self._writer.is_closing():
            self._writer.write(orjson.dumps({"kind": kind, **more}) + b"\n")

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What the other side says, until it is gone."""
        try:
            while line := await self._reader.readline():
                yield orjson.loads(line)
        except (ConnectionError, orjson.JSONDecodeError):
            # It died in the middle of a word.
            return

    async def close(self) -> None:
        """Let what was said leave, and say no more."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return
