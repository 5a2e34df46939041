"""Answers over TLS whose provider closes the connection after them, whole whatever the client's pace."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.core.loop import Loop
from proxy.upstream.connections import Connections, verified_tls
from proxy.upstream.http_call import HttpCall
from tests.rigs.certificates import issue

from .conftest import Recorded

BODY = bytes(range(256)) * 4000
HEADS = {
    "told": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY),
    "until its end": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
}
RECORDS = (16384, 10000, 1400)
"""Bytes of a record of TLS: no number of them fits into a read."""


class Haltingly(Recorded):
    """A client that reads no further for a moment after each piece."""

    call: HttpCall

    def data(self, chunk: bytes) -> None:
        super().data(chunk)
        self.call.pause()
        asyncio.get_running_loop().call_later(0.002, self.call.resume)


@contextlib.contextmanager
def provider(folder: Path, head: bytes, record: int, *, notify: bool) -> Iterator[str]:
    """Answers each connection once and closes it, with a `close_notify` or (RFC 8446 section 6.1) against the rule."""
    issue(folder, "provider")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:
                return
            with plain, context.wrap_socket(plain, server_side=True) as wire:
                wire.recv(65536)
                wire.sendall(head)
                for start in range(0, len(BODY), record):
                    wire.sendall(BODY[start : start + record])
                if notify:
                    wire.settimeout(0)
                    with contextlib.suppress(OSError):
                        wire.unwrap()

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        yield f"https://localhost:{listening.getsockname()[1]}/v1"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        serving.join()


@pytest.mark.parametrize("notify", [True, False], ids=["with close_notify", "without"])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("sink", [Recorded, Haltingly])
@pytest.mark.parametrize("loop", [Loop, asyncio.SelectorEventLoop])
def test_all_of_it_arrives(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loop: Callable[[], asyncio.AbstractEventLoop],
    sink: type[Recorded],
    head: bytes,
    notify: bool,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))

    async def ask(url: str) -> tuple[int, bytes, bool]:
        pool, asking = Connections(url, connect_timeout=30.0), sink()
        call = pool.send(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", asking)
        if isinstance(asking, Haltingly):
            asking.call = call
        answer = await asking.answer()
        await pool.close()
        return answer

    for record in RECORDS:
        with provider(tmp_path, head, record, notify=notify) as url, asyncio.Runner(loop_factory=loop) as runner:
            verified_tls.cache_clear()
            status, body, delimited = runner.run(ask(url))
            assert (status, len(body), delimited) == (200, len(BODY), head is HEADS["told"])
            assert body == BODY
    verified_tls.cache_clear()
