"""
The ledger: every request the simulator saw, as it was on the wire, and how its connection ended.

It only records. What is answered is decided elsewhere, and switching the ledger off changes no answer.
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from typing import Any

KEPT_BODY = 64 * 1024  # bytes of each body that stay in the ledger
KEPT_REQUESTS = 10_000  # older requests are forgotten


class Connection:
    """One client connection."""

    __slots__ = ("ending", "id", "opened_at", "requests")

    def __init__(self, id: int, opened_at: float) -> None:
        self.id = id
        """Numbers connections in the order in which they were accepted, from 1."""
        self.opened_at = opened_at
        """Monotonic time of the accept."""
        self.requests = 0
        """How many requests arrived on it."""
        self.ending: str | None = None
        """None while open; then `client` (it closed), `reset` (it vanished or reset) or `ours` (we closed)."""

    def end(self, how: str) -> None:
        """Note that the connection is gone."""
        self.ending = how

    def asked(self, at: float) -> Request:
        """A request begins to arrive on it."""
        self.requests += 1
        return Request(self, self.requests, at)

    def as_json(self) -> dict[str, Any]:
        """This connection for `GET /_simulator/connections`."""
        return {"id": self.id, "opened_at": self.opened_at, "requests": self.requests, "ending": self.ending}


class Request:
    """One request and what became of it."""

    __slots__ = (
        "_digest",
        "at",
        "body",
        "bytes_sent",
        "complete",
        "completion_tokens",
        "connection",
        "finished",
        "headers",
        "keep_alive",
        "length",
        "method",
        "model",
        "number",
        "prompt_tokens",
        "sequence",
        "target",
        "version",
    )

    def __init__(self, connection: Connection, sequence: int, at: float) -> None:
        self.number = 0
        """Counts the requests of this simulator from 1; the ids in the answer carry it. 0 until it arrived whole."""
        self.connection = connection
        """The connection it came on."""
        self.sequence = sequence
        """1 for the first request of its connection."""
        self.at = at
        """Monotonic time at which its first byte was parsed."""
        self.method = b""
        self.target = b""
        """The request target exactly as sent, query included."""
        self.version = "1.1"
        self.headers: list[tuple[bytes, bytes]] = []
        """Names and values as on the wire, in order and in their case; only the white space around values is gone."""
        self.body = b""
        """The body's first 64 KiB, without transfer coding."""
        self.length = 0
        """Length of the whole body."""
        self.model = ""
        """The model asked for, directives included; empty where the request names none."""
        self.keep_alive = True
        self.complete = False
        """Whether the request arrived whole. A client that left half-way leaves a record with False here."""
        self.finished = False
        """Whether the whole answer was written."""
        self.bytes_sent = 0
        """Bytes of the answer handed to the transport so far, head included."""
        self.prompt_tokens = 0
        """What a provider would charge for the prompt; 0 until the first content of an answer was sent."""
        self.completion_tokens = 0
        """What a provider would charge for the part of the answer sent so far."""
        self._digest: Any = None

    def extend(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        room = KEPT_BODY - self.length
        self.length += len(data)
        if len(data) > room and self._digest is None:
            # Only a body that is not kept whole needs a running digest.
            self._digest = hashlib.sha256(self.body)
        if room > 0:
            self.body += data[:room]
        if self._digest is not None:
            self._digest.update(data)

    @property
    def sha256(self) -> str:
        """Hex digest of the whole body."""
        digest = self._digest if self._digest is not None else hashlib.sha256(self.body)
        return str(digest.hexdigest())

    @property
    def ending(self) -> str | None:
        """How the connection ended, None while it is open."""
        return self.connection.ending

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition(b"?")[0].decode("latin-1")

    def as_json(self) -> dict[str, Any]:
        """This record for `GET /_simulator/ledger`."""
        shown: dict[str, Any] = {
            "number": self.number,
            "connection": self.connection.id,
            "sequence": self.sequence,
            "at": self.at,
            "method": self.method.decode("latin-1"),
            "target": self.target.decode("latin-1"),
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in self.headers],
            "length": self.length,
            "sha256": self.sha256,
            "model": self.model,
            "complete": self.complete,
            "finished": self.finished,
            "bytes_sent": self.bytes_sent,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "ending": self.ending,
        }
        try:
            shown["body"] = self.body.decode()
        except UnicodeDecodeError:
            shown["body_base64"] = base64.b64encode(self.body).decode()
        return shown

    def __repr__(self) -> str:
        state = "finished" if self.finished else "unfinished"
        return (
            f"<Request {self.number} {self.method.decode()} {self.path} {self.model} {state} {self.ending or 'open'}>"
        )


class Ledger:
    """The requests seen."""

    def __init__(self, *, keeping: bool = True) -> None:
        """*keeping*: False if requests are counted but not kept."""
        self._keeping = keeping
        self.seen = 0
        """How many requests arrived since the start or the last clear()."""
        self.records: deque[Request] = deque(maxlen=KEPT_REQUESTS)
        """Oldest first."""

    def add(self, request: Request) -> None:
        """Take a request that arrived (or that the client left half-way)."""
        self.seen += 1
        if self._keeping:
            self.records.append(request)

    def clear(self) -> None:
        """Forget everything seen so far, and count from 0 again."""
        self.records.clear()
        self.seen = 0
