"""A client of HTTP/3 for tests: aioquic's, with each answer as it comes, and a certificate to trust."""

import asyncio
import json
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import Buffer
from aioquic.h3.connection import ErrorCode, FrameType, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.tls import SessionTicket

PATIENCE = 20.0


def issue(folder: Path, name: str = "quic") -> dict[str, str]:
    """A certificate of localhost in *folder*, signed by itself: its files, as `server.http3` names them."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return {"tls_cert_file": str(certificate), "tls_key_file": str(key)}


class Reply:
    """One answer, as far as it has come."""

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self.interim: list[int] = []
        self.status = 0
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.end = ""
        """`fin`, or how the stream ended otherwise."""
        self._changed = asyncio.Event()

    def change(self) -> None:
        self._changed.set()

    def header(self, name: str) -> str | None:
        return next((value.decode() for key, value in self.fields if key == name.encode()), None)

    def json(self) -> Any:
        return json.loads(self.body)

    async def until(self, true: Any) -> "Reply":
        """Wait until *true* of it is so."""
        async with asyncio.timeout(PATIENCE):
            while not true(self):
                self._changed.clear()
                await self._changed.wait()
        return self

    async def whole(self) -> "Reply":
        return await self.until(lambda reply: reply.end)

    async def begun(self) -> "Reply":
        """Some of its body is there."""
        return await self.until(lambda reply: reply.body or reply.end)


class _Http3(H3Connection):
    """aioquic's, told that the answer to a HEAD has no body, however long it says that would be."""

    heads: set[int]

    def _check_content_length(self, stream: Any) -> None:
        if stream.stream_id not in self.heads:
            super()._check_content_length(stream)


class Client(QuicConnectionProtocol):
    """One connection."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.http = _Http3(self._quic)
        self.http.heads = set()
        self.replies: dict[int, Reply] = {}
        self.control = b""
        self.terminated: events.ConnectionTerminated | None = None
        self.early_accepted: bool | None = None
        self._control_id: int | None = None
        self.changed = asyncio.Event()

    def send(
        self,
        method: str,
        path: str,
        *fields: tuple[str, str],
        body: bytes | None = None,
        whole: bool = True,
        authority: str = "localhost",
    ) -> Reply:
        """Ask; *whole*: nothing of the body follows."""
        number = self._quic.get_next_available_stream_id()
        reply = self.replies[number] = Reply(number)
        if method == "HEAD":
            self.http.heads.add(number)
        head = {":method": method, ":scheme": "https", ":authority": authority, ":path": path}
        encoded = [(name.encode(), value.encode()) for name, value in (*head.items(), *fields)]
        self.http.send_headers(number, encoded, end_stream=whole and body is None)
        if body is not None:
            self.http.send_data(number, body, end_stream=whole)
        self.transmit()
        return reply

    def more(self, reply: Reply, data: bytes, whole: bool = False) -> None:
        self.http.send_data(reply.stream_id, data, end_stream=whole)
        self.transmit()

    async def ask(self, method: str, path: str, *fields: tuple[str, str], body: bytes | None = None) -> Reply:
        return await self.send(method, path, *fields, body=body).whole()

    def chat(self, path: str = "/v1/chat/completions", **call: Any) -> Reply:
        call = {"model": "sim-fast", "messages": [{"role": "user", "content": "Hello"}], **call}
        return self.send("POST", path, ("content-type", "application/json"), body=json.dumps(call).encode())

    def leave(self, reply: Reply) -> None:
        """Want no answer any more."""
        self._quic.stop_stream(reply.stream_id, ErrorCode.H3_REQUEST_CANCELLED)
        self.transmit()

    def break_off(self, reply: Reply) -> None:
        """Send no more of the request."""
        self._quic.reset_stream(reply.stream_id, ErrorCode.H3_REQUEST_CANCELLED)
        self.transmit()

    @property
    def went_away(self) -> list[int]:
        """What each GOAWAY said."""
        buffer, found = Buffer(data=self.control), []
        if self.control:
            buffer.pull_uint_var()
        while not buffer.eof():
            kind, size = buffer.pull_uint_var(), buffer.pull_uint_var()
            data = buffer.pull_bytes(size)
            if kind == FrameType.GOAWAY:
                found.append(Buffer(data=data).pull_uint_var())
        return found

    async def until(self, true: Any) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():
                self.changed.clear()
                await self.changed.wait()

    def quic_event_received(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.StreamDataReceived) and event.stream_id % 4 == 3:
            if self._control_id is None and event.data[:1] == b"\0":
                self._control_id = event.stream_id
            if event.stream_id == self._control_id:
                self.control += event.data
        if isinstance(event, events.HandshakeCompleted):
            self.early_accepted = event.early_data_accepted
        for each in self.http.handle_event(event):
            reply = self.replies.get(getattr(each, "stream_id", -1))
            if reply is None:
                continue
            if isinstance(each, HeadersReceived):
                status = int(dict(each.headers)[b":status"])
                if status < 200:
                    reply.interim.append(status)
                else:
                    reply.status, reply.fields = status, each.headers
            elif isinstance(each, DataReceived):
                reply.body += each.data
            if getattr(each, "stream_ended", False):
                reply.end = "fin"
            reply.change()
        if isinstance(event, events.StreamReset) and (reply := self.replies.get(event.stream_id)) is not None:
            reply.end = ErrorCode(event.error_code).name
            reply.change()
        if isinstance(event, events.ConnectionTerminated):
            self.terminated = event
            for reply in self.replies.values():
                reply.end = reply.end or "connection closed"
                reply.change()
        self.changed.set()


@asynccontextmanager
async def connect(
    port: int,
    *,
    tickets: list[SessionTicket] | None = None,
    ticket: SessionTicket | None = None,
    wait: bool = True,
    client: type[Client] = Client,
    **settings: Any,
) -> AsyncIterator[Client]:
    """A connection to this port of localhost; *tickets* gets what the server gives, *ticket* is one to show it."""
    configuration = QuicConfiguration(
        alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE, server_name="localhost", session_ticket=ticket, **settings
    )
    quic = QuicConnection(
        configuration=configuration, session_ticket_handler=None if tickets is None else tickets.append
    )
    loop = asyncio.get_running_loop()
    _, connected = await loop.create_datagram_endpoint(lambda: client(quic), local_addr=("127.0.0.1", 0))
    try:
        connected.connect(("127.0.0.1", port), transmit=wait)
        if wait:
            await connected.wait_connected()
        yield connected
        connected.close()
        await connected.wait_closed()
    finally:
        assert connected._transport is not None
        connected._transport.close()
