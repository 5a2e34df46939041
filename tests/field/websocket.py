"""Both ends of a WebSocket in a case, frame by frame (RFC 6455): the provider's conversation, and the client's."""

import asyncio
import base64
import hashlib
import struct
from typing import Any

from tests.field.play import PATIENCE, Got, read_answer
from tests.field.provider import Asked

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Frames:
    """One end: whole messages out and in; *masked* is the client's end. A ping that comes is answered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, masked: bool) -> None:
        self.reader = reader
        self.writer = writer
        self.masked = masked
        self.closed: tuple[int, str] | None = None
        """Code and reason of the close frame that came; None while none did."""

    def send(self, payload: str | bytes, kind: int | None = None) -> None:
        data = payload.encode() if isinstance(payload, str) else payload
        opcode = kind if kind is not None else TEXT if isinstance(payload, str) else BINARY
        size = len(data)
        mask = 0x80 if self.masked else 0
        if size < 126:
            head = struct.pack("!BB", 0x80 | opcode, mask | size)
        elif size < 2**16:
            head = struct.pack("!BBH", 0x80 | opcode, mask | 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, mask | 127, size)
        # A mask of zeros leaves the bytes as they are.
        self.writer.write(head + (bytes(4) if self.masked else b"") + data)

    def close(self, code: int, reason: str = "") -> None:
        self.send(struct.pack("!H", code) + reason.encode(), CLOSE)

    async def receive(self) -> str | bytes | None:
        """The next message; None at the end, whether it was announced or not."""
        whole, first = b"", 0
        while True:
            try:
                start, size = await self.reader.readexactly(2)
                length = size & 0x7F
                if length > 125:
                    form, count = ("!H", 2) if length == 126 else ("!Q", 8)
                    (length,) = struct.unpack(form, await self.reader.readexactly(count))
                mask = await self.reader.readexactly(4) if size & 0x80 else bytes(4)
                data = await self.reader.readexactly(length)
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
            data = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data)) if any(mask) else data
            opcode = start & 0x0F
            if opcode == CLOSE:
                self.closed = (struct.unpack("!H", data[:2])[0] if data else 1005, data[2:].decode())
                return None
            if opcode == PING:
                self.send(data, PONG)
            elif opcode != PONG:
                whole, first = whole + data, first or opcode
                if start & 0x80:
                    return whole.decode() if first == TEXT else whole


async def converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: Asked, conversation: list[Any]
) -> None:
    """Accept the upgrade and play the provider's side: send, receive, close; then wait for the other side's end."""
    proof = base64.b64encode(hashlib.sha1(((asked.header("sec-websocket-key") or "") + GUID).encode()).digest())
    lines = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {proof.decode()}\r\n"
    if (offered := asked.header("sec-websocket-protocol")) is not None:
        lines += f"Sec-WebSocket-Protocol: {offered.split(',')[0].strip()}\r\n"
    writer.write(f"HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n".encode())
    frames = Frames(reader, writer, masked=False)
    for turn in conversation:
        if turn == "receive":
            asked.messages.append(await frames.receive())
        elif turn == "drop":
            writer.transport.abort()
            return
        elif "send" in turn:
            frames.send(turn["send"])
        else:
            frames.close(turn["close"], turn.get("reason", ""))
    while (message := await frames.receive()) is not None:
        asked.messages.append(message)
    asked.closed = frames.closed
    if frames.closed is not None:
        frames.close(frames.closed[0] if frames.closed[0] != 1005 else 1000)
    await writer.drain()


async def talk(port: int, step: dict[str, Any]) -> Got:
    """Play a client's step: ask for the upgrade and, once it is made, take the turns; `Got.closed` tells the end."""
    headers = [("Host", f"127.0.0.1:{port}"), ("Connection", "Upgrade"), ("Upgrade", "websocket")]
    headers += [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", KEY)]
    headers += [(name, value) for name, value in step.get("headers", [])]
    if "authorization" in step:
        headers.append(("Authorization", step["authorization"]))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {step['websocket']} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
        async with asyncio.timeout(PATIENCE):
            got = await read_answer(reader, "GET")
            if got.status == 101:
                await _converse(Frames(reader, writer, masked=True), got, step["conversation"])
        return got
    finally:
        writer.transport.abort()


async def _converse(frames: Frames, got: Got, conversation: list[Any]) -> None:
    for turn in conversation:
        if turn == "receive":
            got.messages.append(await frames.receive())
        elif turn == "end":
            while await frames.receive() is not None:
                pass
        elif turn == "drop":
            return
        elif "send" in turn:
            frames.send(turn["send"])
        elif "ping" in turn:
            frames.send(turn["ping"].encode(), PING)
        else:
            frames.close(turn["close"], turn.get("reason", ""))
            while await frames.receive() is not None:
                pass
    got.closed = frames.closed
