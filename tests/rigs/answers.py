"""Questions, answers and a client that keeps what it is given, for tests of stored answers."""

from collections.abc import Callable
from typing import Any

import orjson

from proxy.cache.lookup import CacheQuestion
from proxy.cache.stored_answer import Steps, StoredAnswer
from proxy.core.headers import Header


def question(text: str = "a", **fields: Any) -> CacheQuestion:
    value = {"model": "m", "input": text}
    usual: dict[str, Any] = {
        "holder": "principal|a",
        "path": "/embeddings",
        "headers": b"accept: */*\r\n",
        "body": orjson.dumps(value),
        "value": value,
        "model": "m",
        "principal": "a",
        "max_age": 60.0,
    }
    return CacheQuestion(**{**usual, **fields})


def answer(*pieces: tuple[float, bytes], **fields: Any) -> StoredAnswer:
    """A stream whose *pieces* came so many seconds after its beginning."""
    steps, size = Steps(), 0
    for seconds, piece in pieces:
        size += len(piece)
        steps.note(seconds, size)
    usual: dict[str, Any] = {
        "headers": ((b"Content-Type", b"text/event-stream"),),
        "body": b"".join(piece for _, piece in pieces),
        "steps": steps.packed(),
        "streamed": True,
        "emitted": len(pieces),
        "made": 1000.0,
        "model": "m",
        "principal": "a",
        "cost": 7,
    }
    return StoredAnswer(**{**usual, **fields})


class Listening:
    """A relay's client that has room for *room* pieces at a time."""

    def __init__(self, room: int = 1000) -> None:
        self.on_pause: Callable[[], object] | None = None
        self.on_resume: Callable[[], object] | None = None
        self.room = room
        self.head: tuple[int, list[Header], int | None, bool] | None = None
        self.pieces: list[bytes] = []
        self.ended = ""

    @property
    def paused(self) -> bool:
        return len(self.pieces) >= self.room

    def send(self, status: int, headers: list[Header], body: bytes) -> None:
        self.head, self.pieces, self.ended = (status, headers, len(body), False), [body], "sent"

    def start(self, status: int, headers: list[Header], length: int | None, streamed: bool) -> None:
        self.head = status, headers, length, streamed

    def push(self, chunk: bytes) -> None:
        self.pieces.append(chunk)

    def finish(self) -> None:
        self.ended = "whole"

    def cut(self) -> None:
        self.ended = "cut"
