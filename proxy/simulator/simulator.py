"""
The simulator: an OpenAI-compatible upstream that answers, and fails, exactly as it is told to.

It is a provider for the demo, the oracle of the tests and the load of the benchmark. It understands no language and
keeps nothing on disk. What it can be told is in docs/simulator.md.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from ssl import SSLContext
from types import TracebackType
from typing import Final

import orjson

from proxy.core.loop import Loop
from proxy.simulator.answers import Reply, refusal
from proxy.simulator.directives import DirectiveError, Directives, parse
from proxy.simulator.faults import Program, written
from proxy.simulator.ledger import Connection, Ledger, Request
from proxy.simulator.multipart import Form
from proxy.simulator.service import Service
from proxy.simulator.wire import Wire

MODELS: Final = ("sim-1:pace=20ms", "sim-fast", "sim-echo:echo", "sim-embed", "sim-tts", "sim-fault")
"""The models there are unless others are given: a name and the directives it always has."""


class Simulator:
    """A provider on a port of its own, or inside another program's event loop."""

    def __init__(
        self,
        *,
        models: Sequence[str] = MODELS,
        api_key: str | None = None,
        ledger: bool = True,
        ssl: SSLContext | None = None,
    ) -> None:
        self.ledger = Ledger(keeping=ledger)
        """Every request seen."""
        self.connections: set[Wire] = set()
        """The connections open now."""
        self.accepted = 0
        """Connections accepted since the start."""
        self.port = 0
        """The port it listens on; 0 before start()."""
        self._host = ""
        self._ssl = ssl
        self._service = Service(models, api_key)
        self._numbered = 0
        self._ending = AsyncExitStack()
        self._idle = asyncio.Event()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen on *port*; 0 lets the system choose one."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Wire(self, loop), host, port, ssl=self._ssl, backlog=4096)
        self._ending.push_async_callback(self._close, server)
        self._host = host
        self.port = server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut every connection; afterwards no socket and no timer is left."""
        await self._ending.aclose()

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        for wire in list(self.connections):
            wire.reset()
        while self.connections:
            self._idle.clear()
            await self._idle.wait()
        await server.wait_closed()

    async def __aenter__(self) -> Simulator:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def base_url(self) -> str:
        """What a client takes as its base URL, `/v1` included."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'http' if self._ssl is None else 'https'}://{host}:{self.port}/v1"

    def direct(self, text: str) -> None:
        """From now on answer every request with the directives in *text*; the empty text ends that."""
        self._service.override = parse(text)

    # What connections ask.

    def opened(self, wire: Wire) -> Connection:
        self.connections.add(wire)
        self.accepted += 1
        return Connection(self.accepted, asyncio.get_running_loop().time())

    def answer(self, request: Request, body: bytes, form: Form | None) -> Program:
        if request.target.startswith(b"/_simulator/"):
            # A look at the simulator leaves no trace in what is looked at.
            return self._looked_at(request, body)
        self._numbered += 1
        request.number = self._numbered
        answer = self._service.answer(request, body, form)
        self.ledger.add(request)
        return answer

    def _looked_at(self, request: Request, body: bytes) -> Program:
        """The endpoints about the simulator itself."""
        asked = (request.method, request.path)
        reply = refusal(404, "The simulator shows /_simulator/ledger, /_simulator/connections and takes directives.")
        if asked == (b"GET", "/_simulator/ledger"):
            reply = Reply(orjson.dumps([record.as_json() for record in self.ledger.records]))
        elif asked == (b"DELETE", "/_simulator/ledger"):
            self.ledger.clear()
            reply = Reply(b"{}")
        elif asked == (b"GET", "/_simulator/connections"):
            reply = Reply(orjson.dumps([wire.connection.as_json() for wire in self.connections]))
        elif asked == (b"PUT", "/_simulator/directives"):
            try:
                self.direct(body.decode("utf-8", "replace"))
                reply = Reply(b"{}")
            except DirectiveError as error:
                reply = refusal(400, str(error), code="invalid_directive")
        return written(reply, Directives(), version=request.version)

    def refuse(self, message: str) -> Program:
        return written(refusal(400, message), Directives())

    def lost(self, wire: Wire, request: Request | None) -> None:
        self.connections.discard(wire)
        if request is not None:
            # It left in the middle of a request.
            self.ledger.add(request)
        if not self.connections:
            self._idle.set()

    def __repr__(self) -> str:
        return f"<Simulator {self.base_url if self.port else 'not started'} {len(self.connections)} connections>"


async def _serve(host: str, port: int) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stopped.set)
    simulator = Simulator()
    await simulator.start(host, port)
    body = '{"model": "sim-1", "stream": true, "messages": [{"role": "user", "content": "hello"}]}'
    print(f"The simulator listens on {simulator.base_url}; it takes any key. Try:\n")
    print(
        f"  curl -N {simulator.base_url}/chat/completions -H 'Content-Type: application/json' -d '{body}'\n", flush=True
    )
    await stopped.wait()
    await simulator.stop()


def run(host: str, port: int) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status. An address that cannot be had raises OSError."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(_serve(host, port))
    return 0
