"""Calls over HTTP/3, by aioquic's client, a few connections each with one call after the other."""

import asyncio
from collections.abc import Callable
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent

from bench.load import request

CONNECTIONS = 8
_HEAD, _, BODY = request("sim-fast:bytes=375", False).partition(b"\r\n\r\n")
_FIELDS = [line.split(b": ", 1) for line in _HEAD.split(b"\r\n")[1:]]
HEAD = [
    *(
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", b"localhost"),
        (b":path", b"/v1/chat/completions"),
    ),
    *((name.lower(), value) for name, value in _FIELDS if name.lower() not in (b"host", b"connection")),
]


class _Client(QuicConnectionProtocol):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._http = H3Connection(self._quic)
        self._over: dict[int, asyncio.Future[None]] = {}

    async def ask(self) -> None:
        """One call, to the end of its answer."""
        number = self._quic.get_next_available_stream_id()
        over = self._over[number] = asyncio.get_running_loop().create_future()
        self._http.send_headers(number, HEAD)
        self._http.send_data(number, BODY, end_stream=True)
        self.transmit()
        await over

    def quic_event_received(self, event: QuicEvent) -> None:
        for each in self._http.handle_event(event):
            self._heard(each)

    def _heard(self, event: H3Event) -> None:
        if isinstance(event, HeadersReceived | DataReceived) and event.stream_ended:
            self._over.pop(event.stream_id).set_result(None)


async def ask_for(port: int, certificate: str, cpu: Callable[[], float], seconds: float) -> float:
    """Seconds of CPU, as *cpu* tells them, for each call to UDP *port* whose *certificate* is trusted."""
    loop, answers = asyncio.get_running_loop(), 0

    async def keep_asking(client: _Client, until: float) -> int:
        asked = 0
        while loop.time() < until:
            await client.ask()
            asked += 1
        return asked

    async with asyncio.timeout(60 + seconds), asyncio.TaskGroup() as group:
        before = 0.0
        ready = asyncio.Barrier(CONNECTIONS)

        async def one() -> None:
            nonlocal answers, before
            configuration = QuicConfiguration(alpn_protocols=["h3"], is_client=True, server_name="localhost")
            configuration.load_verify_locations(certificate)
            async with connect("127.0.0.1", port, configuration=configuration, create_protocol=_Client) as client:
                await client.ask()  # type: ignore[attr-defined]  # it is what `create_protocol` made
                if await ready.wait() == 0:
                    before = cpu()
                await asyncio.sleep(0)
                asked = await keep_asking(client, loop.time() + seconds)  # type: ignore[arg-type]  # as above
                answers += asked
                if await ready.wait() == 0:
                    before = cpu() - before

        for _ in range(CONNECTIONS):
            group.create_task(one())
    return before / answers
