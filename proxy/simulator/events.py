"""
What the directives make of a stream's events: odd ones between them, odd endings, odd spellings.

It works on whole events only. Cuts, delays and framing are in `faults.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import orjson

from proxy.simulator.directives import Directives
from proxy.simulator.script import NOTHING, Bill
from proxy.simulator.streams import DONE, Stream, event

COMMENT = b": keep-alive\n\n"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a body that are written together."""

    data: bytes
    paced: bool = False
    """Whether the set pace passes before it is written."""
    bill: Bill = NOTHING
    """What a provider charges for it."""


def pieces_of(stream: Stream, directives: Directives) -> list[Piece]:
    """The stream's events in order, with everything that is odd about them."""
    opening = [Piece(data) for data in stream.opening]
    # The first token's wait is `ttft`; the pace is what passes between tokens.
    count = len(stream.deltas)
    generated = Bill(0, stream.bill.completion)
    deltas = [Piece(data, i > 0, generated.share(i, count)) for i, data in enumerate(stream.deltas)]
    if deltas:
        deltas[0] = replace(deltas[0], bill=deltas[0].bill._replace(prompt=stream.bill.prompt))
    if "bigevent" in directives:
        deltas.insert(0, Piece(_big(directives.count("bigevent"))))
    pieces = [*opening, *deltas, *(Piece(data) for data in _closing(stream.closing, directives))]
    for name, data in _ODD_EVENTS.items():
        if name in directives:
            at = directives.position(name)
            pieces.insert(min(1 if at is None else at, len(pieces)), Piece(data))
    if "duplicate" in directives and pieces:
        at = min(max(directives.position("duplicate") or 1, 1), len(pieces))
        pieces.insert(at, Piece(pieces[at - 1].data))
    if "comments" in directives:
        # Not before what comes only when asked for: whether it was asked for must show in nothing else.
        pieces = [p if p.data == stream.extra else replace(p, data=COMMENT + p.data) for p in pieces]
    pieces = [Piece(spelt(piece.data, directives), piece.paced, piece.bill) for piece in pieces]
    if "bom" in directives and pieces:
        pieces[0] = Piece(b"\xef\xbb\xbf" + pieces[0].data, pieces[0].paced, pieces[0].bill)
    return pieces


def spelt(data: bytes, directives: Directives) -> bytes:
    """One event in the line ends and spacing asked for."""
    if "nospace" in directives:
        data = data.replace(b"data: ", b"data:")
    if "noblank" in directives:
        data = data.replace(b"\n\n", b"\n")
    # JSON never contains a bare line feed, so these are all the line ends there are.
    if "crlf" in directives:
        return data.replace(b"\n", b"\r\n")
    if "cr" in directives:
        return data.replace(b"\n", b"\r")
    return data


def _closing(closing: list[bytes], directives: Directives) -> Iterable[bytes]:
    events = list(closing)
    if "nodone" in directives:
        events = [data for data in events if data != DONE]
    if "done_twice" in directives:
        events.append(DONE)
    if "after_done" in directives:
        events.append(_chunk("this comes after the end"))
    return events


def _chunk(text: str) -> bytes:
    return event({"id": "chatcmpl-odd", "object": "chat.completion.chunk", "choices": [_choice(text)]})


def _choice(text: str) -> dict[str, object]:
    return {"index": 0, "delta": {"content": text}, "finish_reason": None}


def _big(size: int) -> bytes:
    """One event of exactly *size* bytes, or of the least size there is."""
    return _chunk("x" * max(0, size - len(_chunk(""))))


_ODD_EVENTS = {
    "malformed": b'data: {"choices":[{"index":0,"delta":{"content":"cut sho\n\n',
    "badutf8": b'data: {"choices":[{"index":0,"delta":{"content":"\xff\xfe"},"finish_reason":null}]}\n\n',
    "surrogate": b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"},"finish_reason":null}]}\n\n',
    "nul": b"data: " + orjson.dumps({"choices": [_choice("a")]}) + b"\x00\n\n",
}
