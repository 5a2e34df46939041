"""
A provider of literal bytes: it answers by rules, byte for byte as they are written, and keeps what it was asked.

Nothing is added to an answer and nothing of a request is repaired: heads, lengths and chunk sizes stand in the rules.
"""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote

PIECE_DELAY = 0.002
"""Seconds between two pieces of an answer, so that each is a read of its own at the gateway."""
Rule = dict[str, Any]


@dataclass
class Asked:
    """One request as it came."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    complete: bool = False
    """Its body has come to its announced end."""
    messages: list[Any] = field(default_factory=list)
    """What came on a WebSocket after the upgrade."""
    closed: tuple[int, str] | None = None
    """Code and reason with which the gateway closed the WebSocket; None where it did not."""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def key(self) -> str | None:
        """The credential that came, whichever header it stood in."""
        bearer = self.header("authorization")
        if bearer is not None:
            return bearer.partition(" ")[2]
        return self.header("x-api-key") or self.header("api-key")

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def model(self) -> Any:
        value = self.json
        return value.get("model") if isinstance(value, dict) else None

    @property
    def housekeeping(self) -> bool:
        """The gateway asks on its own account."""
        return self.header("x-request-id") == "control-plane"


class Provider:
    """One scripted provider on a port of this machine."""

    def __init__(self, script: dict[str, Any]) -> None:
        self.script = script
        self.rules: list[Rule] = script.get("rules", [])
        self.requests: list[Asked] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=2**24)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections, and end those there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def behave(self, words: str) -> None:
        """Answer by other rules from now on: `as before`, or `answers by rules_when.NAME`."""
        name = words.rpartition("rules_when.")[2]
        self.rules = self.script.get("rules", []) if words == "as before" else self.script["rules_when"][name]

    def calls(self) -> list[Asked]:
        """What was asked for clients' sake."""
        return [asked for asked in self.requests if not asked.housekeeping]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._one(reader, writer):
                pass
        writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        asked = await self._read(reader)
        rule = self._rule(asked)
        if "conversation" in rule:
            from tests.field.websocket import converse

            await converse(reader, writer, asked, rule["conversation"])
            return False
        for piece in rule["answer"]:
            if isinstance(piece, str):
                writer.write(piece.encode("latin-1"))
                await writer.drain()
                await asyncio.sleep(PIECE_DELAY)
            elif "pause" in piece:
                await asyncio.sleep(piece["pause"])
            elif "repeat" in piece:
                writer.write(piece["repeat"].encode("latin-1") * piece["times"])
                await writer.drain()
            elif piece["then"] == "reset":
                peer = writer.get_extra_info("socket")
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            elif piece["then"] == "close":
                writer.close()
                await writer.wait_closed()
                return False
        return True

    async def _read(self, reader: asyncio.StreamReader) -> Asked:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        start, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        method, target, _ = start.split(" ", 2)
        asked = Asked(
            method, target, [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        )
        self.requests.append(asked)
        if asked.header("transfer-encoding") is not None:
            while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
                asked.body += (await reader.readexactly(size + 2))[:-2]
            await reader.readuntil(b"\r\n")
        else:
            left = int(asked.header("content-length") or 0)
            while left:
                part = await reader.read(min(left, 65536))
                if not part:
                    raise asyncio.IncompleteReadError(asked.body, left)
                asked.body += part
                left -= len(part)
        asked.complete = True
        return asked

    def _rule(self, asked: Asked) -> Rule:
        if asked.method == "GET" and asked.path.endswith("/models"):
            for query, page in self.script.get("pages", {}).items():
                if query in asked.target:
                    return {"answer": page}
            if "model_list" in self.script:
                return {"answer": self.script["model_list"]}
            listed = [
                {"id": name, "object": "model", "created": 1, "owned_by": "field"} for name in self.script["models"]
            ]
            return {"answer": [_json(200, "OK", {"object": "list", "data": listed})]}
        for rule in self.rules:
            if fits(rule["when"], asked):
                return rule
        error = {"message": "Unknown request.", "type": "invalid_request_error", "param": None, "code": "unknown_url"}
        return {"answer": [_json(404, "Not Found", {"error": error})]}


@asynccontextmanager
async def scripted(scripts: dict[str, Any]) -> AsyncIterator[dict[str, Provider]]:
    """Providers by name, each listening; stopped in the end."""
    providers = {name: Provider(script) for name, script in scripts.items()}
    try:
        for each in providers.values():
            await each.start()
        yield providers
    finally:
        for each in providers.values():
            await each.stop()


def fits(when: dict[str, Any], asked: Asked) -> bool:
    """Whether a request is what a rule speaks of."""
    value = asked.json
    value = value if isinstance(value, dict) else {}
    conditions = {
        "method": lambda wanted: asked.method == wanted,
        "path": lambda wanted: fnmatchcase(unquote(asked.path), wanted.replace("[", "[[]")),
        "model": lambda wanted: value.get("model") == wanted,
        "stream": lambda wanted: bool(value.get("stream")) == wanted,
        "has": lambda wanted: wanted.encode("latin-1") in asked.body,
        "lacks": lambda wanted: wanted.encode("latin-1") not in asked.body,
        "key": lambda wanted: asked.key == wanted,
    }
    return all(conditions[name](wanted) for name, wanted in when.items())


def _json(status: int, reason: str, value: Any) -> str:
    body = json.dumps(value)
    return f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
