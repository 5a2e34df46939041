"""
A mock of a provider that answers what it is told to answer next, and keeps what it was asked.

It knows no API: the SDK's process tells the shape of each answer, which it takes from the type that its method returns.
"""

import json
import re
import socketserver
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

NEXT = "/__next"
"""Where the SDK's process says what to answer."""
TEST = "/__test"
"""Where one that does not know it says what it calls next."""

MODEL = {
    # As OpenAI's and Anthropic's lists have it, both at once.
    "object": "model",
    "created": 1,
    "owned_by": "mock",
    "type": "model",
    "display_name": "M",
    "created_at": "2026-01-01T00:00:00Z",
    "lifecycle": "active",
}


@dataclass
class Recorded:
    """One request as it arrived."""

    test: str
    """What made it: a test's id, or a method's name."""
    method: str
    target: str
    content_type: str
    body: bytes


@dataclass
class Answer:
    """What is answered next."""

    test: str = ""
    status: int = 200
    content_type: str = "application/json"
    body: bytes = b"{}"


@dataclass
class Known:
    """Answers by method, path and kind, learned from one suite for another that tells none; kept in a file."""

    file: Path | None = None
    models: set[str] = field(default_factory=lambda: {"model"})
    """Those that were asked for by name, which the gateway is told of when it asks for the list."""
    answers: dict[str, list[str]] = field(default_factory=dict)
    """Content type and body, by `METHOD path stream` or `METHOD path`."""

    def __post_init__(self) -> None:
        if self.file is not None and self.file.exists():
            self.answers = json.loads(self.file.read_text())

    def learn(self, method: str, path: str, answer: Answer) -> None:
        self.answers[_place(method, path, "event-stream" in answer.content_type)] = [
            answer.content_type,
            answer.body.decode(),
        ]

    def find(self, method: str, path: str, stream: bool) -> Answer:
        """The answer whose path has most steps in common, `{}` where none fits."""
        steps = _place(method, path, stream).split("/")
        known = [place for place in self.answers if len(place.split("/")) == len(steps)]
        known = [place for place in known if place.split("/")[:3] == steps[:3] and place.endswith(" stream") == stream]
        if not known:
            return Answer()
        best = max(known, key=lambda place: sum(a == b for a, b in zip(place.split("/"), steps, strict=True)))
        content_type, body = self.answers[best]
        return Answer(content_type=content_type, body=body.encode())

    def keep(self) -> None:
        """Write it down for a run of its own."""
        if self.file is not None:
            self.file.write_text(json.dumps(self.answers))


def _place(method: str, path: str, stream: bool) -> str:
    return f"{method} {path}" + " stream" * stream


class Mock(ThreadingHTTPServer):
    """Listens on a port of its own in a thread."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, known: Known) -> None:
        """*known*: what other suites have taught."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.recorded: list[Recorded] = []
        self.answer: Answer | None = None
        self.test = ""
        self.known = known
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    def __enter__(self) -> "Mock":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def taken(self) -> list[Recorded]:
        """What was recorded since the last time."""
        recorded, self.recorded = self.recorded, []
        return recorded


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Mock

    def _any(self) -> None:
        body = self._body()
        if self.path == NEXT:
            told = json.loads(body)
            self.server.test = told["test"]
            self.server.answer = Answer(told["test"], told["status"], told["content_type"], told["body"].encode())
            self._send(Answer())
            return
        if self.path == TEST:
            self.server.test, self.server.answer = body.decode(), None
            self._send(Answer())
            return
        if self.headers.get("X-Request-ID") == "control-plane":
            data = [{"id": name, **MODEL} for name in sorted(self.server.known.models)]
            self._send(Answer(body=json.dumps({"object": "list", "data": data}).encode()))
            return
        path = self.path.partition("?")[0]
        if path.startswith("/v1/models/"):
            self.server.known.models.add(unquote(path.removeprefix("/v1/models/")))
        answer, self.server.answer = self.server.answer, None
        if answer is None:
            answer = self.server.known.find(self.command, path, b'"stream":true' in body)
        else:
            self.server.known.learn(self.command, path, answer)
        content_type = self.headers.get("Content-Type", "")
        self.server.recorded.append(
            Recorded(self.server.test, self.command, self.path, content_type, plain(content_type, body))
        )
        self._send(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _any

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size + 2)[:-2]
        self.rfile.readline()
        return body

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("x-request-id", "req_mock")
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if answer.status != 204:
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, socketserver.socket.timeout):  # type: ignore[attr-defined]
            self.close_connection = True


def plain(content_type: str, body: bytes) -> bytes:
    """*body* with the boundary of a form, which is drawn anew each time, replaced by a word."""
    found = re.search(r'boundary="?([^";]+)', content_type)
    return body.replace(found[1].encode(), b"BOUNDARY") if found else body
