"""
The simulator as tests drive it: answers as literal steps, requests that are waited for, and a closer look at each.

It answers nothing by itself; what is not scripted, `proxy.simulator` answers.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import orjson

from proxy import simulator
from proxy.simulator import ledger
from proxy.simulator.faults import Program, program
from proxy.simulator.multipart import Form
from proxy.simulator.script import Answered, Delay, Drip, DropNext, Fin, Hold, Repeat, Reset, Send, Step
from proxy.simulator.wire import Wire

__all__ = [
    "Answered",
    "Delay",
    "Drip",
    "DropNext",
    "Fin",
    "Hold",
    "Ledger",
    "Program",
    "Repeat",
    "Request",
    "Reset",
    "Send",
    "Simulator",
    "Step",
    "program",
]


class Connection(ledger.Connection):
    """One client connection, whose end can be waited for."""

    __slots__ = ("_gone",)

    def __init__(self, id: int, opened_at: float) -> None:
        super().__init__(id, opened_at)
        self._gone = asyncio.Event()

    def end(self, how: str) -> None:
        super().end(how)
        self._gone.set()

    def asked(self, at: float) -> "Request":
        self.requests += 1
        return Request(self, self.requests, at)

    async def closed(self) -> str:
        """Wait until the connection is gone; returns how it ended."""
        await self._gone.wait()
        return self.ending or ""


class Request(ledger.Request):
    """One request and what became of it."""

    __slots__ = ()
    connection: Connection

    def header(self, name: str) -> bytes | None:
        """The first header of that name in any case, or None."""
        wanted = name.lower().encode("latin-1")
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)

    async def closed(self) -> str:
        """Wait until the client's connection is gone; returns how it ended."""
        return await self.connection.closed()


class Ledger(ledger.Ledger, Sequence[Request]):
    """The requests seen, oldest first."""

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: Any) -> Any:
        return list(self.records)[index] if isinstance(index, slice) else self.records[index]

    def __iter__(self) -> Iterator[Request]:
        return iter(list(self.records))

    def __repr__(self) -> str:
        return f"<Ledger {self.seen} seen, {len(self)} kept>"


@dataclass(frozen=True, slots=True)
class Script:
    """One scripted answer, played once."""

    program: Program
    match: str | None
    """A path such as `/v1/models`, or a model name; both may be globs. None: any request."""

    def fits(self, request: ledger.Request) -> bool:
        """Whether this script is for *request*."""
        if self.match is None:
            return True
        return fnmatchcase(request.path if self.match.startswith("/") else request.model, self.match)


class Simulator(simulator.Simulator):
    """A provider in the test's own event loop. Arguments as for the one it extends."""

    ledger: Ledger

    def __init__(self, *, ledger: bool = True, **more: Any) -> None:
        super().__init__(ledger=ledger, **more)
        self.ledger = Ledger(keeping=ledger)
        self._scripts: list[Script] = []
        self._greetings: list[Program] = []
        self._arrived = asyncio.Event()

    def script(self, steps: Iterable[Step], *, match: str | None = None, times: int = 1) -> None:
        """
        Answer the next *times* requests that *match* (a path or a model, globs allowed) with literal steps. When they
        run out, the connection waits for its next request.
        """
        # Literal: even what stands for a number elsewhere is sent as it is.
        self._scripts += [Script(replace(program(list(steps)), numbered=False), match)] * times

    def greet(self, steps: Iterable[Step], *, times: int = 1) -> None:
        """Play literal steps on the next *times* connections as they are accepted, before any request."""
        self._greetings += [program(list(steps))] * times

    async def seen(self, count: int) -> None:
        """Wait until *count* requests arrived since the start or the last `ledger.clear()`."""
        while self.ledger.seen < count:
            self._arrived.clear()
            await self._arrived.wait()

    def greeting(self) -> Program | None:
        """What the next connection is greeted with."""
        return self._greetings.pop(0) if self._greetings else None

    # What connections ask.

    def opened(self, wire: Wire) -> Connection:
        plain = super().opened(wire)
        greeting = self.greeting()
        if greeting is not None:
            # Before any byte of a request can be read, and after this connection is known.
            asyncio.get_running_loop().call_soon(wire.play, None, greeting)
        return Connection(plain.id, plain.opened_at)

    def answer(self, request: ledger.Request, body: bytes, form: Form | None) -> Program:
        answer = super().answer(request, body, form)
        self._arrived.set()
        if not request.target.startswith(b"/_simulator/"):
            for script in self._scripts:
                if script.fits(request):
                    self._scripts.remove(script)
                    return script.program
        return answer

    def lost(self, wire: Wire, request: ledger.Request | None) -> None:
        super().lost(wire, request)
        self._arrived.set()
