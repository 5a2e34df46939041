"""
From an answer and its directives to the steps that put it on the wire: delays, framing, cuts and endings.

Here a good answer goes wrong in exactly the way that was asked for. Nothing here reads a request or writes to a socket.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Final

from proxy.simulator.answers import Reply, refusal
from proxy.simulator.coding import coded
from proxy.simulator.directives import Directives
from proxy.simulator.events import COMMENT, Piece, pieces_of, spelt
from proxy.simulator.head import head, interim
from proxy.simulator.script import (
    NOTHING,
    Answered,
    Bill,
    Delay,
    Drip,
    DropNext,
    Fin,
    Hold,
    Repeat,
    Reset,
    Send,
    Step,
)
from proxy.simulator.streams import NUMBER, Stream

CUTS: Final = ("rst", "fin", "end", "error", "stall", "badchunk", "close_delimited_cut", "comments_forever")
"""Directives that break an answer off at a position; the first given of this order counts."""
CUT_DEFAULTS: Final = {"badchunk": 1, "close_delimited_cut": 3}
"""Where a cut happens when no position is written; elsewhere 0, right after the head."""
BANNER = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"
PAGE = (
    b"<!DOCTYPE html>\n<html>\n<head><title>502 Bad Gateway</title></head>\n"
    b"<body><center><h1>502 Bad Gateway</h1></center><hr><center>cloudflare</center></body>\n</html>\n"
)
ERRORS: Final = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    503: ("server_error", "server_is_overloaded"),
    529: ("overloaded_error", "overloaded"),
}
"""`type` and `code` of the errors whose status the `status` directive sets."""


@dataclass(frozen=True, slots=True)
class Program:
    """An answer ready to be played, any number of times."""

    steps: tuple[Step, ...]
    whole: bytes | None
    """The answer as one write, where it is no more than that: the path that has to be cheap."""
    numbered: bool
    """Whether the request's number has to be filled in."""
    bill: Bill = NOTHING
    """What a provider charges for it, where it is one write."""


def program(steps: list[Step]) -> Program:
    """Make *steps* ready: neighbours that are written at once become one write."""
    merged: list[Step] = []
    for together, group in groupby(steps, lambda step: isinstance(step, Send)):
        if together:
            sends = [step for step in group if isinstance(step, Send)]
            bill = Bill(sum(step.bill.prompt for step in sends), sum(step.bill.completion for step in sends))
            merged.append(Send(b"".join([step.data for step in sends]), bill))
        else:
            merged += group
    numbered = any(isinstance(step, Send | Drip) and NUMBER in step.data for step in merged)
    only = merged[0] if len(merged) == 1 else None
    if isinstance(only, Send):
        return Program(tuple(merged), only.data, numbered, only.bill)
    return Program(tuple(merged), None, numbered)


def written(answer: Reply | Stream, directives: Directives, *, version: str = "1.1") -> Program:
    """The program that writes *answer* the way *directives* want it, to a client of that HTTP version."""
    before: list[Step] = []
    if "keepalive_drop" in directives:
        before.append(DropNext(directives.text("keepalive_drop")))
    if "headers" in directives:
        before.append(Delay(directives.seconds("headers")))
    early = _without_head(directives)
    if early is not None:
        return program([*before, *early])
    return program(
        before + _dripped(_Writing(_substitute(answer, directives), directives, version).steps(), directives)
    )


def _without_head(directives: Directives) -> list[Step] | None:
    """The faults that happen before there is any response."""
    if "silence" in directives:
        return [Hold()]
    if "junk" in directives:
        return [Send(BANNER), Fin()]
    if "rst" in directives and directives.position("rst") is None:
        return [Reset()]
    if "fin" in directives and directives.position("fin") is None:
        return [Fin()]
    return None


def _substitute(answer: Reply | Stream, directives: Directives) -> Reply | Stream:
    """The answer that is really given instead of the good one."""
    status = directives.text("status", "429" if "code" in directives else "")
    if "error_for_stream" in directives:
        return refusal(200, "The server is overloaded.", type="server_error", code="server_is_overloaded")
    if "html" in directives:
        return Reply(PAGE, int(status or 502), "text/html; charset=UTF-8")
    if "redirect" in directives:
        return Reply(b"", int(status or 307), "")
    if status.isdigit() and 400 <= int(status) <= 599:
        kind, code = ERRORS.get(int(status), ("server_error" if int(status) >= 500 else "invalid_request_error", None))
        return refusal(
            int(status),
            f"Simulated {status}.",
            type=directives.text("type", kind),
            code=directives.text("code", code or "") or None,
        )
    if "empty" in directives:
        return Stream([]) if isinstance(answer, Stream) else Reply(b"", answer.status, answer.content_type)
    if isinstance(answer, Reply) and "list" in directives:
        return Reply(b"[" + answer.body + b"]", answer.status)
    if isinstance(answer, Reply) and "badjson" in directives:
        return Reply(answer.body[:-2] + b",}", answer.status)
    return answer


class _Writing:
    """One answer on its way to becoming steps."""

    def __init__(self, answer: Reply | Stream, directives: Directives, version: str) -> None:
        self.answer = answer
        self.directives = directives
        given = directives.__contains__
        self.framing = "length"
        if isinstance(answer, Stream) or given("chunked") or given("badchunk") or given("cl_te"):
            self.framing = "chunked"
        if given("badlength") or given("two_cl"):
            self.framing = "length"
        if given("close_delimited") or given("close_delimited_cut") or given("bad_te") or given("http09"):
            self.framing = "close"
        if version == "1.0" and self.framing == "chunked":
            self.framing = "close"

    def steps(self) -> list[Step]:
        directives = self.directives
        kind, at = self._cut()
        status = directives.text("status", "") or str(getattr(self.answer, "status", 200))
        if status in ("204", "304"):
            return [Send(interim(directives) + head(status, "", [], directives))]
        pieces = self._pieces()
        if isinstance(self.answer, Reply) and kind:
            # An answer that is no stream is cut at a byte instead of an event.
            body = pieces[0].data if pieces else b""
            # It was generated before it was sent.
            pieces, at = [Piece(body[:at], bill=pieces[0].bill if pieces else NOTHING), Piece(body[at:])], 1
            if kind == "end":
                pieces = pieces[:1]
        content_type = "text/event-stream" if isinstance(self.answer, Stream) else self.answer.content_type
        opening = interim(directives) + head(status, content_type, self._framing_lines(pieces), directives)
        if "head_cut" in directives:
            return [Send(opening[: len(opening) // 2]), Fin()]
        steps: list[Step] = [] if "http09" in directives else [self._head(opening)]
        if "ttft" in directives:
            steps.append(Delay(directives.seconds("ttft")))
        if "forever" in directives and isinstance(self.answer, Stream) and not kind:
            return [*steps, *self._forever(pieces, self.answer)]
        body_steps = self._body(pieces[:at] if kind else pieces)
        return [*steps, *body_steps, *(self._broken(kind, pieces[at:]) if kind else self._ended())]

    def _head(self, data: bytes) -> Step:
        if "trickle_head" in self.directives:
            return Drip(data, 1, self.directives.seconds("trickle_head"))
        return Send(data)

    def _cut(self) -> tuple[str, int]:
        for kind in CUTS:
            if kind in self.directives:
                at = self.directives.position(kind)
                return kind, CUT_DEFAULTS.get(kind, 0) if at is None else at
        return "", 0

    def _pieces(self) -> list[Piece]:
        if isinstance(self.answer, Reply):
            answer = self.answer
            return coded([Piece(answer.body, bill=answer.bill)] if answer.body else [], self.directives)
        return coded(pieces_of(self.answer, self.directives), self.directives)

    def _framing_lines(self, pieces: list[Piece]) -> list[str]:
        total = sum(len(piece.data) for piece in pieces)
        if "bad_te" in self.directives:
            return ["Transfer-Encoding: foo"]
        if "cl_te" in self.directives:
            return [f"Content-Length: {total}", "Transfer-Encoding: chunked"]
        if "two_cl" in self.directives:
            return [f"Content-Length: {total}", f"Content-Length: {total + 1}"]
        if self.framing == "chunked":
            return ["Transfer-Encoding: chunked"]
        if self.framing == "length":
            return [f"Content-Length: {max(0, total + self.directives.count('badlength'))}"]
        return ["Connection: close"]

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self.framing == "chunked" and data else data

    def _body(self, pieces: list[Piece]) -> list[Step]:
        steps: list[Step] = []
        pace = self.directives.seconds("pace")
        for piece in pieces:
            if piece.paced and pace:
                steps.append(Delay(pace))
            steps.append(Send(self._framed(piece.data), piece.bill))
        return steps

    def _forever(self, pieces: list[Piece], stream: Stream) -> list[Step]:
        """The opening, then the tokens over and over."""
        first, last = len(stream.opening), len(pieces) - len(stream.closing)
        tokens = [*self._body(pieces[first:last]), Delay(self.directives.seconds("pace"))]
        return [*self._body(pieces[:first]), Repeat(program(tokens).steps)]

    def _ended(self) -> list[Step]:
        """How an answer ends that is not broken off."""
        directives = self.directives
        if "hang_after_done" in directives:
            return [Hold()]
        steps: list[Step] = [Send(b"0\r\n\r\n")] if self.framing == "chunked" else []
        if self.framing == "close":
            return [Answered(), Fin()]
        if directives.count("badlength") > 0:
            return [Fin()]
        if "connection_close" in directives:
            return [*steps, Answered(), Fin()]
        if "close_after" in directives:
            return [*steps, Answered(), Delay(directives.seconds("close_after")), Fin()]
        if "reset_after" in directives:
            return [*steps, Answered(), Delay(directives.seconds("reset_after")), Reset()]
        return steps

    def _broken(self, kind: str, rest: list[Piece]) -> list[Step]:
        """How an answer ends that is broken off before *rest*."""
        following = rest[0].data if rest else b""
        if kind == "rst":
            return [Reset()]
        if kind in ("fin", "close_delimited_cut"):
            # The length of the whole event is announced and half of it comes.
            framed = self._framed(following)
            return [Send(framed[: len(framed) - len(following) // 2 - 2]), Fin()] if following else [Fin()]
        if kind == "badchunk":
            return [Send(b"XYZ\r\n" + following + b"\r\n"), Fin()]
        if kind == "comments_forever":
            pause = self.directives.seconds("pace") or 0.1
            return [Repeat((Send(self._framed(spelt(COMMENT, self.directives))), Delay(pause)))]
        if kind == "stall":
            pause = self.directives.seconds("stall")
            return [Hold()] if pause < 0 else [Delay(pause), *self._body(rest), *self._ended()]
        if kind == "error" and isinstance(self.answer, Stream):
            return [Send(self._framed(spelt(self.answer.failure, self.directives))), *self._ended()]
        return self._ended()


def _dripped(steps: list[Step], directives: Directives) -> list[Step]:
    """The steps with every write cut into the small writes asked for."""
    size, every = 1, 0.0
    if "trickle" in directives:
        size, every = directives.count("segment", 1), directives.seconds("trickle")
    elif "segment" in directives:
        size = directives.count("segment")
    elif "rate" in directives:
        size, every = max(1, directives.count("rate") // 20), 0.05
    else:
        return steps
    joined = program(steps).steps
    return [Drip(step.data, max(1, size), every, step.bill) if isinstance(step, Send) else step for step in joined]
