"""
One answer on its way to a client of HTTP/3: on a stream of its own, which ends with it while the connection goes on.

What is sent and when is `answer`'s; here is only how it is written.
"""

from typing import Protocol, cast

from proxy.core.exchange import Exchange
from proxy.core.headers import Header
from proxy.http.answer import Answer
from proxy.http.head_lines import head_fields
from proxy.http.request import HTTP_3, Request


class Stream(Protocol):
    """What an answer needs of its stream beside what it needs of any connection: see `http3.stream`."""

    def head(self, fields: list[Header], ended: bool) -> None:
        """Send a head; *ended*: no body follows."""

    def last(self, data: bytes) -> None:
        """Send the end of the body, and say that it is whole."""

    def cut(self) -> None:
        """End the stream without that, once all that was written has arrived."""


class StreamAnswer(Answer):
    """An answer by HEADERS and DATA frames (RFC 9114 section 4.1)."""

    framed = True

    def __init__(self, exchange: Exchange, request: Request) -> None:
        super().__init__(exchange, request)
        self._stream = cast(Stream, self._connection)

    def force_close(self) -> None:
        """Nothing: the connection carries other answers, and it is told by itself when it is to end."""

    async def write_eof(self, data: bytes = b"") -> None:
        await self.room()

    def ask_for_body(self) -> None:
        self._stream.head([(b":status", b"100")], False)
        self.body_asked = True

    def finish(self) -> None:
        self._stream.last(b"")

    def cut(self) -> None:
        self._stream.cut()

    def _begin(self, status: int, headers: list[Header], body: bytes | None, more: bytes = b"") -> None:
        self._exchange.status = status
        self.begun = True
        self._stream.head(head_fields(status, self._exchange.id, self.extra_lines + more, headers), body == b"")
        if body:
            self._stream.last(body)


def answer_by_version(exchange: Exchange, request: Request) -> Answer:
    """The answer to a *request* of any version of HTTP, written as that has it; the record learns which it was."""
    if request.version == HTTP_3:
        exchange.protocol = "h3"
        return StreamAnswer(exchange, request)
    exchange.protocol = f"http/{request.version}"
    return Answer(exchange, request)
