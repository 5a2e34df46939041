"""
The clients: raw HTTP/1.1 over uvloop, so that asking costs little beside answering.

Three kinds of load: connections that ask again as soon as they are answered, so many requests a second whatever
becomes of them, and streams that stay open. It makes sure that every answer is a good one, times and counts; it does
not say what the numbers mean.
"""

import asyncio
import itertools
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.alarm import arrivals, at_moments
from bench.subjects import KEY

END = b"\r\n0\r\n\r\n"
"""How a chunked body ends. None of the provider's events contains it."""
DONE = b"data: [DONE]\n\n"
TOKEN = re.compile(rb'"content": ?"[^"]')
"""What an event looks like that holds text."""
WAIT = 20.0
"""Seconds anything may take that should take none."""


class LoadError(Exception):
    """A subject gave no answer, or a wrong one."""


PROMPT = "Explain in a few sentences how a reverse proxy passes a stream on without delaying it."


def request(
    model: str, stream: bool, headers: str = "", key: str = KEY, prompt: str = PROMPT, temperature: float = 0.7
) -> bytes:
    """A chat completion as OpenAI's Python client sends it; *headers* are lines on top, each with its line end."""
    body = (
        f'{{"messages":[{{"role":"system","content":"You are a helpful assistant."}},{{"role":"user","content":'
        f'"{prompt}"}}],'
        f'"model":"{model}","temperature":{temperature},"stream":{"true" if stream else "false"}}}'
    ).encode()
    if "Accept-Encoding:" not in headers:
        headers += "Accept-Encoding: gzip, deflate\r\n"
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\n"
        "Host: 127.0.0.1\r\n"
        "Connection: keep-alive\r\n"
        "Accept: application/json\r\n"
        "Content-Type: application/json\r\n"
        "User-Agent: OpenAI/Python 2.0.0\r\n"
        "X-Stainless-Lang: python\r\n"
        "X-Stainless-Package-Version: 2.0.0\r\n"
        "X-Stainless-OS: Linux\r\n"
        "X-Stainless-Arch: x64\r\n"
        "X-Stainless-Runtime: CPython\r\n"
        "X-Stainless-Runtime-Version: 3.11.0\r\n"
        f"Authorization: Bearer {key}\r\n"
        "X-Stainless-Async: async:asyncio\r\n"
        "x-stainless-retry-count: 0\r\n"
        "x-stainless-read-timeout: 600\r\n"
        f"{headers}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass(slots=True)
class Tally:
    """What all clients of one load have seen."""

    answers: int = 0
    """Whole answers, streams included."""
    events: int = 0
    size: int = 0
    """Bytes of the last body."""
    latencies: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    """Seconds to the first token of each whole stream, of those that are timed."""
    late: list[float] = field(default_factory=list)
    """Of their other tokens: seconds behind the pace of the one that was earliest by it."""
    longest_gap: float = 0.0
    """Seconds between two reads of the same timed stream, at most."""
    fault: str = ""
    """The first thing that was not as it should be."""

    def forget_times(self) -> None:
        """What was timed so far does not count."""
        for times in (self.latencies, self.firsts, self.late):
            times.clear()


class Client(asyncio.Protocol):
    """One connection; asks when told to, and calls back when the answer is whole or will never be."""

    def __init__(self, asking: bytes, tally: Tally, answered: Callable[["Client"], None], pace: float) -> None:
        """*pace*: seconds between two tokens of a stream that is to be timed, else 0."""
        self.asking = asking
        self._tally = tally
        self._answered = answered
        self._pace = pace
        self._tokens: list[float] = []
        """When each came."""
        self._buffer = b""
        self._missing = 0
        """Bytes of a body of known length still to come; -1 while a chunked one lasts, 0 before the head."""
        self._asked_at = 0.0
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def ask(self, due: float = 0.0) -> None:
        """Send the request, which was due then and is timed from then; from now unless given."""
        self.busy = True
        self._asked_at = due or time.perf_counter()
        self.transport.write(self.asking)

    def data_received(self, data: bytes) -> None:
        if self._missing == 0:
            data = self._begin(self._buffer + data)
        if self._missing > 0:
            self._missing -= len(data)
            if self._missing == 0:
                self._end()
        elif self._missing < 0:
            self._tally.events += data.count(b"data: ")
            if self._pace:
                self._note(data)
            self._buffer = data if len(data) >= 32 else (self._buffer + data)[-32:]
            if self._buffer.endswith(END):
                if DONE not in self._buffer[-32:]:
                    self._fail("a stream ended without [DONE]")
                self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.busy:
            self._fail("a connection was closed before the answer was whole")

    def _begin(self, data: bytes) -> bytes:
        """Read the head when it is there, and return what follows it."""
        head, found, rest = data.partition(b"\r\n\r\n")
        self._buffer = b"" if found else data
        if not found:
            return b""
        if not head.startswith(b"HTTP/1.1 200 "):
            self._fail(f"an answer was {head.partition(b' ')[2][:40].decode('latin-1')!r}: {rest[:300]!r}")
            return b""
        lower = head.lower()
        if b"\r\ntransfer-encoding: chunked" in lower:
            self._missing = -1
        else:
            self._missing = int(lower.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or b"0")
            self._tally.size = self._missing
        return rest

    def _note(self, data: bytes) -> None:
        """Keep when the tokens in *data* came."""
        now = time.perf_counter()
        found = len(TOKEN.findall(data))
        if found and self._tokens:
            self._tally.longest_gap = max(self._tally.longest_gap, now - self._tokens[-1])
        self._tokens += [now] * found

    def _end_timed(self) -> None:
        if self._tokens:
            self._tally.firsts.append(self._tokens[0] - self._asked_at)
            offsets = [at - index * self._pace for index, at in enumerate(self._tokens)]
            earliest = min(offsets)
            self._tally.late += [offset - earliest for offset in offsets[1:]]
        self._tokens = []

    def _end(self) -> None:
        if self._pace:
            self._end_timed()
        self._missing = 0
        self._buffer = b""
        self.busy = False
        tally = self._tally
        tally.answers += 1
        tally.latencies.append(time.perf_counter() - self._asked_at)
        self._answered(self)

    def _fail(self, fault: str) -> None:
        self.busy = False
        self._tally.fault = self._tally.fault or fault
        self.transport.close()
        self._answered(self)


class Load:
    """A number of clients of one port. A context manager: at its end every connection is closed."""

    def __init__(self, port: int, asking: bytes | Sequence[bytes], clients: int, pace: float = 0.0) -> None:
        """
        The *clients* ask for *asking*; of several requests each in its turn, whichever client makes it.

        With a *pace*, in seconds, their streams are timed: first tokens, and how late the others are.
        """
        self._port = port
        self._turns = itertools.cycle([asking] if isinstance(asking, bytes) else asking)
        self._count = clients
        self._pace = pace
        self._clients: list[Client] = []
        self._again = False
        self._idlers: list[Client] = []
        """While requests are made at a rate: who can make the next one."""
        self._due: deque[float] = deque()
        """While requests are made at a rate: when those were due that found no idle client."""
        self._idle = asyncio.Event()
        self.tally = Tally()

    async def __aenter__(self) -> "Load":
        loop = asyncio.get_running_loop()
        for _ in range(self._count):
            self._clients.append(Client(next(self._turns), self.tally, self._answered, self._pace))
            # The factory is called before the loop goes on.
            await loop.create_connection(lambda: self._clients[-1], "127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            client.busy = False
            client.transport.abort()
        await asyncio.sleep(0.05)

    async def keep_asking(self, seconds: float) -> None:
        """Every client asks again as soon as it was answered, for so long from now; the load then goes on."""
        if not self._again:
            self._again = True
            for client in self._clients:
                client.ask()
        await asyncio.sleep(seconds)
        self._check()

    async def stop_asking(self) -> None:
        """Let the last answers come in."""
        self._again = False
        await self.ended()

    async def ask_at(self, rate: float, seconds: float) -> None:
        """
        Make *rate* requests a second for so long, however long the answers take; the last ones are still to come in.

        They come as callers do who know nothing of each other. A request for which every client is busy waits for one,
        and its waiting counts as latency.
        """
        self._idlers = [client for client in self._clients if not client.busy]
        await at_moments(arrivals(rate, seconds), self._make)
        self._check()

    async def open_streams(self, seconds: float) -> None:
        """Every client asks once, evenly spread over so long."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        for index, client in enumerate(self._clients):
            loop.call_at(start + seconds * index / len(self._clients), client.ask)
        await asyncio.sleep(seconds)
        self._check()

    async def ended(self) -> None:
        """Wait until no client waits for anything."""
        try:
            async with asyncio.timeout(WAIT):
                while any(client.busy for client in self._clients):
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            self._check()
            raise LoadError("answers did not come to an end") from None
        self._check()

    def _make(self, due: float) -> None:
        if self._idlers:
            self._idlers.pop().ask(due)
        else:
            self._due.append(due)

    def _answered(self, client: Client) -> None:
        if self.tally.fault:
            self._idle.set()
        elif self._again:
            client.asking = next(self._turns)
            client.ask()
        elif self._due:
            client.ask(self._due.popleft())
        else:
            self._idlers.append(client)
            self._idle.set()

    def _check(self) -> None:
        if self.tally.fault:
            raise LoadError(self.tally.fault)
