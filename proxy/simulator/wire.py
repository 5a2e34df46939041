"""
The simulator's HTTP/1.1 connections: a C parser in front, steps played straight to the transport behind.

A connection holds no task: answers without delays are written as the request arrives, paced ones have one timer.
It decides nothing: `Simulator` says what is answered.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Protocol, cast

import httptools

from proxy.simulator.faults import Program
from proxy.simulator.ledger import KEPT_BODY, Connection, Request
from proxy.simulator.multipart import Form, form_for
from proxy.simulator.script import Answered, Bill, Delay, Drip, DropNext, Fin, Hold, Repeat, Reset, Send, Step
from proxy.simulator.streams import NUMBER

PIPELINED = 64  # requests waiting behind an answer before the client is no longer read
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LINGER_ZERO = struct.pack("ii", 1, 0)  # close() then sends a reset instead of an orderly end


class Answering(Protocol):
    """What a connection asks of the simulator."""

    def opened(self, wire: Wire) -> Connection: ...
    def answer(self, request: Request, body: bytes, form: Form | None) -> Program: ...
    def refuse(self, message: str) -> Program: ...
    def lost(self, wire: Wire, request: Request | None) -> None: ...


class Wire(asyncio.Protocol):
    """One client connection."""

    def __init__(self, simulator: Answering, loop: asyncio.AbstractEventLoop) -> None:
        self._simulator = simulator
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        # What arrives: whether a request is being parsed, and those that wait for the answer before theirs to end.
        self._arriving = False
        self._body: list[bytes] = []
        self._form: Form | None = None
        self._waiting: deque[tuple[Request, bytes, Form | None]] = deque()
        # What leaves: the answer being played.
        self._current: Request | None = None
        self._steps: Iterator[Step] = iter(())
        self._playing = False
        self._number: bytes | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._paused = False
        # How it all ends.
        self._drop: str | None = None
        self._ending: str | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio transports in all but ancestry.
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("socket")
        if peer is not None:
            # Events are small and must leave when they are due, not when Nagle's algorithm lets them.
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = self._simulator.opened(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            # A defect of ours, not of the client's bytes: let the loop report it.
            self.close()
            raise
        except httptools.HttpParserUpgrade:
            # Answered like any other request, and the connection closes: the parser has no more to say about it.
            return
        except httptools.HttpParserError as error:
            self._refuse(f"Not HTTP: {error}.")

    def eof_received(self) -> None:
        # A client that closes its half is gone, as it is for every provider we know; no answer is finished for it.
        self._ending = self._ending or "client"
        self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self.connection.end(self._ending or ("client" if exc is None else "reset"))
        self._simulator.lost(self, self._request if self._arriving else None)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._playing and self._timer is None:
            self._due = self._loop.time()
            self._continue()

    # httptools callbacks

    def on_message_begin(self) -> None:
        self._arriving = True
        self._request = self.connection.asked(self._loop.time())
        self._body = []
        self._form = None

    def on_url(self, url: bytes) -> None:
        self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers.append((name, value))

    def on_headers_complete(self) -> None:
        request = self._request
        request.method = self._parser.get_method()
        request.version = self._parser.get_http_version()
        request.keep_alive = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        for name, value in request.headers:
            size = len(name)
            if size == 12 and name.lower() == b"content-type":
                self._form = form_for(value)
            elif size == 6 and name.lower() == b"expect" and not self._playing:
                self.transport.write(CONTINUE)

    def on_body(self, data: bytes) -> None:
        self._request.extend(data)
        if self._form is not None:
            self._form.feed(data)
        else:
            self._body.append(data)

    def on_message_complete(self) -> None:
        request, self._arriving = self._request, False
        if self._ending is not None:
            return
        request.complete = True
        body = request.body if request.length <= KEPT_BODY else b"".join(self._body)
        self._body = []
        if self._playing:
            self._waiting.append((request, body, self._form))
            if len(self._waiting) >= PIPELINED:
                self.transport.pause_reading()
            return
        self._begin(request, body, self._form)

    # answers

    def _begin(self, request: Request, body: bytes, form: Form | None) -> None:
        answer = self._simulator.answer(request, body, form)
        if self._drop is not None:
            self._dropped(self._drop)
            return
        if answer.whole is not None:
            # The simple path: one write, no state.
            data = answer.whole
            if answer.numbered:
                data = data.replace(NUMBER, b"%012d" % request.number)
            request.bytes_sent = len(data)
            request.prompt_tokens, request.completion_tokens = answer.bill
            self.transport.write(data)
            request.finished = True
            if not request.keep_alive:
                self.close()
            return
        self.play(request, answer)

    def play(self, request: Request | None, answer: Program) -> None:
        """Write *answer* step by step; *request* is None for what no request asked for."""
        self._current = request
        self._number = b"%012d" % request.number if request is not None and answer.numbered else None
        self._steps = iter(answer.steps)
        self._playing = True
        self._due = self._loop.time()
        self._continue()

    def _continue(self) -> None:
        """Play steps until one has to wait."""
        self._timer = None
        while not self._paused:
            step = next(self._steps, None)
            if type(step) is Send:
                self._write(step.data, step.bill)
            elif type(step) is Delay:
                self._due += step.seconds
                self._timer = self._loop.call_at(self._due, self._continue)
                return
            elif type(step) is Drip:
                self._steps = chain(_drops(step, self._number), self._steps)
            elif type(step) is Repeat:
                # A turn of the loop between rounds, or a client that reads fast would hold up every other.
                self._steps = chain.from_iterable(repeat((*step.steps, Delay(0))))
            elif type(step) is DropNext:
                self._drop = step.how
            elif type(step) is Answered:
                if self._current is not None:
                    self._current.finished = True
            elif type(step) is Hold:
                self._steps = iter(())
                return
            elif type(step) is Fin:
                self.close()
                return
            elif type(step) is Reset:
                if self.transport.get_write_buffer_size():
                    # A reset throws away what is still unsent: wait until nothing is.
                    self._steps = chain((step,), self._steps)
                    self.transport.set_write_buffer_limits(high=0)
                    continue
                self.reset()
                return
            else:
                self._finish()
                return

    def _write(self, data: bytes, bill: Bill) -> None:
        if self._number is not None:
            data = data.replace(NUMBER, self._number)
        if self._current is not None:
            self._current.bytes_sent += len(data)
            self._current.prompt_tokens += bill.prompt
            self._current.completion_tokens += bill.completion
        self.transport.write(data)

    def _finish(self) -> None:
        request, self._current = self._current, None
        self._playing = False
        if request is not None:
            request.finished = True
            if not request.keep_alive:
                self.close()
                return
        while self._waiting and not self._playing and self._ending is None:
            self._begin(*self._waiting.popleft())
        if self._ending is None and not self.transport.is_reading():
            self.transport.resume_reading()

    def _refuse(self, message: str) -> None:
        """Answer what is not a request. Behind an answer being played it can only be cut off."""
        if not self._playing and self._ending is None:
            whole = self._simulator.refuse(message).whole or b""
            self.transport.write(whole.replace(NUMBER, b"0" * len(NUMBER)))
        self.close()

    def _dropped(self, how: str) -> None:
        if how == "silence":
            self._playing = True
        elif how == "rst":
            self.reset()
        else:
            self.close()

    def close(self) -> None:
        """Close in order, after what was written."""
        self._ending = self._ending or "ours"
        self._stop()
        self.transport.close()

    def reset(self) -> None:
        """Abort with a TCP reset."""
        self._ending = self._ending or "ours"
        self._stop()
        peer = self.transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self.transport.abort()

    def _stop(self) -> None:
        self._steps = iter(())
        self._playing = False
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _drops(step: Drip, number: bytes | None) -> Iterator[Step]:
    data = step.data if number is None else step.data.replace(NUMBER, number)
    drops = -(-len(data) // step.size)
    for drop in range(drops):
        start = drop * step.size
        yield Send(data[start : start + step.size], step.bill.share(drop, drops))
        yield Delay(step.every)
