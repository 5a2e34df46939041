"""The wire to a provider, byte by byte: every trap in it, and how connections are kept and let go."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.core import clock
from proxy.upstream.connections import Connections, verified_tls
from tests.rigs.clock import at_most
from tests.rigs.simulator import Delay, Drip, DropNext, Fin, Hold, Repeat, Reset, Send, Simulator, Step

from .conftest import Recorded

ASK = b"POST /v1/chat/completions HTTP/1.1\r\nHost: provider\r\nContent-Length: 2\r\n\r\n{}"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FRAMED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
KEPT = (200, b"hello", True)


def answered(simulator: Simulator, *steps: bytes | Step) -> None:
    """Script the answer to the next request."""
    simulator.script([Send(step) if isinstance(step, bytes) else step for step in steps], match="/v1/chat/*")


def ask(connections: Connections) -> Recorded:
    sink = Recorded()
    connections.send(ASK, sink)
    return sink


async def turns(count: int = 50) -> None:
    """Let the event loop do what it would do."""
    for _ in range(count):
        await asyncio.sleep(0)


@asynccontextmanager
async def origin(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A provider that does what *talk* does with each connection; yields its base URL."""
    running: set[asyncio.Task[None] | None] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.current_task())
        try:
            await talk(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    async with asyncio.timeout(30):
        await asyncio.gather(*(task for task in running if task is not None), return_exceptions=True)
        await server.wait_closed()


# Answers that are good.


async def test_an_answer_is_pushed_as_it_came(simulator: Simulator, connections: Connections) -> None:
    answered(simulator, b"HTTP/1.1 201 Made\r\nX-A:  1 \r\nx-a: 2\r\nContent-Length: 3\r\n\r\na\x00b")
    sink = ask(connections)
    assert await sink.answer() == (201, b"a\x00b", True)
    assert sink.headers == [(b"x-a", b"1"), (b"x-a", b"2"), (b"content-length", b"3")]
    assert sink.connections == 1
    record = simulator.ledger[-1]
    assert (record.method, record.target, record.body) == (b"POST", b"/v1/chat/completions", b"{}")


@pytest.mark.parametrize(
    ("wire", "answer"),
    [
        (OK, KEPT),
        (CHUNKED + b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: x\r\n\r\n", KEPT),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, KEPT),
        (b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK, KEPT),
        (b"HTTP/1.1 199 Odd\r\n\r\n" + CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", KEPT),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"", True)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (200, b"", True)),
        (b"HTTP/1.1 429 \r\nContent-Length: 5\r\n\r\nhello", (429, b"hello", True)),
    ],
    ids=["length", "chunked", "100", "103 and 102", "199", "204", "empty", "no reason"],
)
async def test_an_answer_is_the_same_wherever_it_is_cut(
    simulator: Simulator, connections: Connections, wire: bytes, answer: tuple[int, bytes, bool]
) -> None:
    for cut in range(1, len(wire)):
        answered(simulator, wire[:cut], Delay(0), wire[cut:])
        assert await ask(connections).answer() == answer, wire[:cut]
    answered(simulator, Drip(wire, 1, 0))
    assert await ask(connections).answer() == answer
    assert simulator.accepted == 1, "each answer left the connection fit for the next"


async def test_a_body_that_lasts_until_the_connection_closes_has_no_mark(
    simulator: Simulator, connections: Connections
) -> None:
    answered(simulator, b"HTTP/1.1 200 OK\r\n\r\nhel", Delay(0), b"lo", Fin())
    assert await ask(connections).answer() == (200, b"hello", False)
    answered(simulator, b"HTTP/1.0 200 OK\r\n\r\nhello", Fin())
    assert await ask(connections).answer() == (200, b"hello", False)


async def test_such_a_body_that_ends_in_a_reset_is_lost(simulator: Simulator, connections: Connections) -> None:
    answered(simulator, b"HTTP/1.1 200 OK\r\n\r\nhello", Delay(0.01), Reset())
    sink = ask(connections)
    loss = await sink.loss()
    assert (loss.code, loss.sent, loss.received) == ("upstream_truncated", True, True)


# Answers that are not.

MALFORMED: dict[str, bytes] = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>\r\n\r\n",
    "HTTP/2 preface": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "version": b"HTTP/3.7 200 OK\r\n\r\n",
    "status letters": b"HTTP/1.1 2x0 OK\r\n\r\n",
    "status 000": b"HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 Nothing\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 Beyond\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 Beyond\r\nContent-Length: 5\r\n\r\nhello",
    "status of four": b"HTTP/1.1 2000 OK\r\n\r\n",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello",
    "bare 101": b"HTTP/1.1 101 Switching Protocols\r\n\r\nhello",
    "header without colon": b"HTTP/1.1 200 OK\r\nNonsense\r\n\r\n",
    "space before colon": b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 5\r\n\r\nhello",
    "empty header name": b"HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 5\r\n\r\nhello",
    "length and chunked": FRAMED + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunked and length": CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "two lengths": FRAMED + b"Content-Length: 6\r\n\r\nhello!",
    "three lengths": FRAMED + b"Content-Length: 5\r\nX: y\r\nContent-Length: 6\r\n\r\nhello!",
    "a list of two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!",
    "a list without a length": b"HTTP/1.1 200 OK\r\nContent-Length: 5,\r\n\r\nhello",
    "one length twice and chunked": FRAMED + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "signed lengths": b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\nContent-Length: +5\r\n\r\nhello",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    "length with a plus": b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    "length in hex": b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello",
    "endless length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nhello",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: foo\r\n\r\nhello",
    "gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "header of 70 KB": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\nContent-Length: 5\r\n\r\nhello",
    "300 headers": b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 300 + b"Content-Length: 5\r\n\r\nhello",
    "interim answers for ever": b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" * 5000,
}


@pytest.mark.parametrize("segments", ["one write", "in pieces"])
@pytest.mark.parametrize("wire", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_head_is_the_providers_fault(
    simulator: Simulator, connections: Connections, wire: bytes, segments: str
) -> None:
    answered(simulator, wire if segments == "one write" else Drip(wire, 7 if len(wire) < 1000 else 9973, 0), Hold())
    sink = ask(connections)
    loss = await sink.loss()
    assert (loss.code, loss.sent, loss.received) == ("upstream_protocol_error", True, True)
    assert (sink.status, sink.body) == (0, b"")
    assert await simulator.ledger[-1].closed() in ("client", "reset")
    answered(simulator, OK)
    assert await ask(connections).answer() == KEPT


LENIENT: dict[str, bytes] = {
    "sizes padded with spaces": CHUNKED + b"5  \r\nhello\r\n0  \r\n\r\n",
    "a size padded with tabs": CHUNKED + b"5\t\t\r\nhello\r\n0\r\n\r\n",
    "a padded size with an extension": CHUNKED + b"5  ;a=b\r\nhello\r\n0\r\n\r\n",
    "an extension in quotes": CHUNKED + b'5;a="b; c"\r\nhello\r\n0\r\n\r\n',
    "zeros before the size": CHUNKED + b"00000005\r\nhello\r\n000\r\n\r\n",
    "a trailer": CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: abc\r\n\r\n",
    "the coding twice": CHUNKED[:-2] + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "the same length twice": FRAMED + b"Content-Length: 5\r\n\r\nhello",
    "the same length three times": FRAMED + b"X: y\r\ncontent-length:5 \r\nZ: y\r\nCONTENT-LENGTH: 5\r\n\r\nhello",
    "a list of equal lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
    "the same length twice behind early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    + FRAMED
    + b"Content-Length: 5\r\n\r\nhello",
    "zeros before the length": b"HTTP/1.1 200 OK\r\nContent-Length: 0005\r\n\r\nhello",
    "HTTP/1.0 and no reason": b"HTTP/1.0 200\r\nContent-Length: 5\r\n\r\nhello",
    "blank lines before the answer": b"\r\n\r\n" + FRAMED + b"\r\nhello",
}


@pytest.mark.parametrize("segments", ["one write", "byte by byte"])
@pytest.mark.parametrize("wire", LENIENT.values(), ids=LENIENT.keys())
async def test_framing_that_sdks_accept_is_accepted(
    simulator: Simulator, connections: Connections, wire: bytes, segments: str
) -> None:
    answered(simulator, wire if segments == "one write" else Drip(wire, 1, 0), Hold())
    sink = ask(connections)
    assert (await sink.answer())[:2] == (200, b"hello")
    assert [value for name, value in sink.headers if name == b"content-length"] in ([], [b"5"], [b"0005"])


async def test_a_head_that_had_to_be_mended_ends_its_connection(simulator: Simulator, connections: Connections) -> None:
    answered(simulator, FRAMED + b"Content-Length: 5\r\n\r\nhello", Hold())
    await ask(connections).answer()
    assert await simulator.ledger[-1].closed() in ("client", "reset")


@pytest.mark.parametrize(
    "chunks",
    [b"zz\r\nlo\r\n", b"-2\r\nlo\r\n", b"2 2\r\nlo\r\n", b"fffffffffffffffff\r\n", b"2\r\nloX", b"\r\n", b"0x2\r\nlo"],
)
@pytest.mark.parametrize("segments", ["one write", "byte by byte"])
async def test_bad_chunks_break_the_body(
    simulator: Simulator, connections: Connections, chunks: bytes, segments: str
) -> None:
    wire = CHUNKED + b"3\r\nhel\r\n" + chunks
    answered(simulator, wire if segments == "one write" else Drip(wire, 1, 0), Hold())
    sink = ask(connections)
    loss = await sink.loss()
    assert (loss.code, loss.received) == ("upstream_protocol_error", True)
    assert b"hello".startswith(sink.body)
    assert await simulator.ledger[-1].closed() in ("client", "reset")


@pytest.mark.parametrize("end", [Fin(), Reset()], ids=["FIN", "RST"])
@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (b"HTTP/1.1 2", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Le", b""),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", b""),
        (FRAMED + b"\r\n", b""),
        (FRAMED + b"\r\nhel", b"hel"),
        (CHUNKED + b"3\r\nhel\r\n", b"hel"),
        (CHUNKED + b"5\r\nhel", b"hel"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n", b"hello"),
    ],
)
async def test_an_answer_cut_short_is_lost(
    simulator: Simulator, connections: Connections, wire: bytes, body: bytes, end: Step
) -> None:
    answered(simulator, wire, Delay(0.01), end)
    sink = ask(connections)
    loss = await sink.loss()
    assert (loss.code, loss.sent, loss.received) == ("upstream_truncated", True, True)
    assert sink.body == body


EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"


@pytest.mark.parametrize("answer", [OK, CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"], ids=["length", "chunked"])
@pytest.mark.parametrize(
    "surplus", [EVIL, EVIL[:9], b"H", b"EVIL", b"\x00" * 5], ids=["answer", "head", "H", "junk", "0"]
)
@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
async def test_bytes_behind_an_answer_reach_no_client_and_end_the_connection(
    simulator: Simulator, connections: Connections, answer: bytes, surplus: bytes, later: bool
) -> None:
    answered(simulator, answer, Delay(0.01), surplus) if later else answered(simulator, answer + surplus)
    assert await ask(connections).answer() == KEPT
    assert await simulator.ledger[-1].closed() in ("client", "reset")
    answered(simulator, OK)
    assert await ask(connections).answer() == KEPT
    assert simulator.ledger[-1].connection.id == 2


# Connections: kept, aged, let go.


async def test_a_connection_serves_again(simulator: Simulator, connections: Connections) -> None:
    for _ in range(3):
        answered(simulator, OK)
        assert await ask(connections).answer() == KEPT
    assert [record.connection.id for record in simulator.ledger] == [1, 1, 1]


@pytest.mark.parametrize(
    "wire",
    [
        FRAMED + b"Connection: close\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"5\r\nhello\r\n0\r\n\r\n",
    ],
)
async def test_one_that_is_about_to_close_does_not(simulator: Simulator, connections: Connections, wire: bytes) -> None:
    answered(simulator, wire)
    assert await ask(connections).answer() == KEPT
    answered(simulator, OK)
    assert await ask(connections).answer() == KEPT
    assert [record.connection.id for record in simulator.ledger] == [1, 2]


async def test_the_one_used_last_is_used_first(simulator: Simulator, connections: Connections) -> None:
    for delay in (0.03, 0.0, 0.015):
        answered(simulator, Delay(delay), OK)
    first, second, third = (ask(connections) for _ in range(3))
    for sink in (second, third, first):
        assert await sink.answer() == KEPT
    answered(simulator, OK)
    assert await ask(connections).answer() == KEPT
    # The first to arrive was answered last.
    assert simulator.ledger[-1].connection.id == simulator.ledger[0].connection.id


async def test_an_old_one_is_not_used(
    simulator: Simulator, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(simulator, OK)
    assert await ask(connections).answer() == KEPT
    later = clock.now() + 15.1
    monkeypatch.setattr(clock, "now", lambda: later)
    answered(simulator, OK)
    assert await ask(connections).answer() == KEPT
    assert [record.connection.id for record in simulator.ledger] == [1, 2]
    assert await simulator.ledger[0].closed() in ("client", "reset")


async def test_an_idle_one_closes_by_itself(simulator: Simulator) -> None:
    pool = Connections(simulator.base_url, connect_timeout=30.0, keep_alive=0.02)
    answered(simulator, OK)
    assert await ask(pool).answer() == KEPT
    async with asyncio.timeout(30):
        assert await simulator.ledger[-1].closed() in ("client", "reset")
    await pool.close()
    assert "0 open, 0 idle, 0 connecting" in repr(pool)


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_keep_alive_that_ends_as_it_is_used_is_noticed_by_no_caller(
    simulator: Simulator, connections: Connections, how: str
) -> None:
    answered(simulator, OK, DropNext(how))
    assert await ask(connections).answer() == KEPT
    sink = ask(connections)
    # The simulator counts the request it dropped too, and that one took the script away unplayed.
    answered(simulator, OK)
    answered(simulator, OK)
    assert await sink.answer() == KEPT
    assert [record.connection.id for record in simulator.ledger] == [1, 1, 2]
    assert simulator.ledger[-1].body == b"{}"


async def test_it_goes_out_again_only_once(simulator: Simulator, connections: Connections) -> None:
    answered(simulator, OK, DropNext("fin"))
    assert await ask(connections).answer() == KEPT
    sink = ask(connections)
    answered(simulator, OK)
    answered(simulator, Fin())
    loss = await sink.loss()
    assert (loss.sent, loss.received) == (True, False)
    assert len(simulator.ledger) == 3


async def test_it_goes_out_again_only_while_no_byte_was_answered(
    simulator: Simulator, connections: Connections
) -> None:
    answered(simulator, OK)
    assert await ask(connections).answer() == KEPT
    answered(simulator, b"HTTP", Delay(0.01), Fin())
    loss = await ask(connections).loss()
    assert (loss.sent, loss.received) == (True, True)
    assert len(simulator.ledger) == 2


async def test_a_fresh_connection_that_dies_unanswered_is_a_loss(
    simulator: Simulator, connections: Connections
) -> None:
    answered(simulator, Fin())
    loss = await ask(connections).loss()
    assert (loss.code, loss.sent, loss.received) == ("upstream_truncated", True, False)
    assert len(simulator.ledger) == 1


# Connecting.


@pytest.fixture
def silent() -> Iterator[str]:
    """The base URL of an address that neither takes nor refuses a connection: its backlog is full."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listening.getsockname())
        fillers.append(filler)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    for filler in fillers:
        filler.close()
    listening.close()


async def test_a_reason_of_70_kb_is_too_long_a_head(simulator: Simulator, connections: Connections) -> None:
    answered(simulator, Drip(b"HTTP/1.1 200 " + b"x" * 70_000, 9973, 0), Hold())
    loss = await ask(connections).loss()
    assert (loss.code, loss.reason) == ("upstream_protocol_error", "head too large")


async def test_a_refused_connection_was_never_sent_anything() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        pool = Connections(f"http://127.0.0.1:{free.getsockname()[1]}", connect_timeout=30.0)
        sink = ask(pool)
        loss = await sink.loss()
    assert (loss.code, loss.sent, loss.received) == ("upstream_connect_error", False, False)
    assert sink.connections == 0
    await pool.close()


async def test_a_silent_address_is_given_up_in_time(silent: str) -> None:
    pool = Connections(silent, connect_timeout=0.1)
    began = clock.now()
    loss = await ask(pool).loss()
    assert (loss.code, loss.sent) == ("upstream_connect_timeout", False)
    assert 0.09 < clock.now() - began < at_most(1.0)
    await pool.close()


async def test_a_name_that_does_not_resolve_cannot_be_reached() -> None:
    pool = Connections("http://nowhere.invalid", connect_timeout=30.0)
    loss = await ask(pool).loss()
    assert (loss.code, loss.sent) == ("upstream_connect_error", False)
    await pool.close()


async def test_an_error_of_no_known_kind_is_heard_of_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def confused(*addresses: object, **options: object) -> socket.socket:
        raise RuntimeError("File descriptor 7 is used by transport")

    monkeypatch.setattr("aiohappyeyeballs.start_connection", confused)
    pool = Connections("http://127.0.0.1:9", connect_timeout=60.0)
    loss = await ask(pool).loss()
    assert (loss.code, loss.reason, loss.sent) == ("upstream_connect_error", "connect: RuntimeError", False)
    await pool.close()


# Giving up.


async def test_giving_up_while_connecting_is_not_told_to_the_sink(silent: str) -> None:
    pool = Connections(silent, connect_timeout=60.0)
    sink = Recorded()
    call = pool.send(ASK, sink)
    await turns()
    assert "1 connecting" in repr(pool)
    call.cancel()
    await turns()
    assert "[0 open, 0 idle, 0 connecting]" in repr(pool)
    assert not sink.over.done()
    await pool.close()


async def test_giving_up_before_the_first_turn_connects_nowhere(simulator: Simulator, connections: Connections) -> None:
    sink = Recorded()
    connections.send(ASK, sink).cancel()
    await turns()
    assert simulator.accepted == 0
    assert not sink.over.done()


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nConte", FRAMED + b"\r\n", FRAMED + b"\r\nhel", CHUNKED + b"3\r\nhel\r\n"],
    ids=["waiting", "half a head", "head", "half a body", "chunk"],
)
async def test_giving_up_closes_the_connection_at_once(
    simulator: Simulator, connections: Connections, answer: bytes
) -> None:
    answered(simulator, answer, Hold())
    sink = Recorded()
    call = connections.send(ASK, sink)
    await simulator.seen(1)
    await turns()
    call.cancel()
    async with asyncio.timeout(at_most(1)):
        assert await simulator.ledger[-1].closed() in ("client", "reset")
    assert not sink.over.done()
    call.cancel()  # again, and nothing happens


async def test_giving_up_after_the_end_keeps_the_connection(simulator: Simulator, connections: Connections) -> None:
    for _ in range(2):
        answered(simulator, OK)
        sink = Recorded()
        call = connections.send(ASK, sink)
        assert await sink.answer() == KEPT
        call.cancel()
    assert simulator.accepted == 1


async def test_closing_all_closes_the_busy_and_the_connecting(simulator: Simulator, silent: str) -> None:
    pool = Connections(simulator.base_url, connect_timeout=30.0)
    answered(simulator, FRAMED + b"\r\nhel", Hold())
    busy = ask(pool)
    await busy.began.wait()
    await pool.close()
    assert not simulator.connections or await simulator.ledger[-1].closed() in ("client", "reset")
    other = Connections(silent, connect_timeout=60.0)
    ask(other)
    await turns()
    await other.close()
    assert "[0 open, 0 idle, 0 connecting]" in repr(other)


# The pace.


async def test_a_paused_answer_brings_nothing_until_it_is_resumed(
    simulator: Simulator, connections: Connections
) -> None:
    answered(simulator, CHUNKED, Repeat((Send(b"1000\r\n" + b"x" * 4096 + b"\r\n"),)))
    sink = Recorded()
    call = connections.send(ASK, sink)
    await sink.began.wait()
    call.pause()
    call.pause()
    held = len(sink.body)
    await turns(200)
    assert len(sink.body) == held
    call.resume()
    while len(sink.body) < held + 500_000:
        sink.began.clear()
        await sink.began.wait()
    assert sink.body == b"x" * len(sink.body)
    call.cancel()


async def test_the_next_answer_is_read_though_the_last_was_paused(
    simulator: Simulator, connections: Connections
) -> None:
    answered(simulator, OK[:-5], Delay(0), OK[-5:])
    sink = Recorded()
    call = connections.send(ASK, sink)
    call.pause()
    await turns()
    call.resume()
    assert await sink.answer() == KEPT
    answered(simulator, OK)
    assert await ask(connections).answer() == KEPT
    assert simulator.accepted == 1


# Bodies that are sent as they come.

UPLOAD = b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: provider\r\nContent-Length: %d\r\n\r\n"


async def test_an_upload_arrives_as_it_is_written(simulator: Simulator, connections: Connections) -> None:
    simulator.script([Send(OK)], match="/v1/audio/*")
    sink = Recorded()
    call = connections.send_streamed(UPLOAD % 6, sink)
    for part in (b"abc", b"de", b"f"):
        await call.write(part)
    call.finish()
    assert await sink.answer() == KEPT
    assert simulator.ledger[-1].body == b"abcdef"


async def test_an_upload_never_meets_a_stale_connection(simulator: Simulator, connections: Connections) -> None:
    answered(simulator, OK)
    assert await ask(connections).answer() == KEPT
    simulator.script([Send(OK)], match="/v1/audio/*")
    sink = Recorded()
    call = connections.send_streamed(UPLOAD % 1, sink)
    await call.write(b"a")
    call.finish()
    assert await sink.answer() == KEPT
    assert simulator.accepted == 2


async def test_an_answer_may_come_before_the_upload_has_ended() -> None:
    closed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nhello")
        try:
            while await reader.read(65536):
                pass
        except ConnectionResetError:
            pass
        closed.set()

    async with origin(talk) as base_url:
        pool = Connections(base_url, connect_timeout=30.0)
        sink = Recorded()
        call = pool.send_streamed(UPLOAD % 10_000_000, sink)
        await call.write(b"x" * 1000)
        assert await sink.answer() == (413, b"hello", True)
        # The rest of the upload has nowhere to go, and the connection cannot be used again.
        with pytest.raises(ConnectionError):
            await call.write(b"x" * 1000)
        async with asyncio.timeout(30):
            await closed.wait()
        assert "0 idle" in repr(pool)
        await pool.close()


async def test_a_provider_that_does_not_read_holds_the_upload_up() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        await gone.wait()

    gone = asyncio.Event()
    async with origin(talk) as base_url:
        pool = Connections(base_url, connect_timeout=30.0)
        call = pool.send_streamed(UPLOAD % 10**12, Recorded())
        written = 0

        async def upload() -> None:
            nonlocal written
            while True:
                await call.write(b"x" * 65536)
                written += 65536

        uploading = asyncio.get_running_loop().create_task(upload())
        while True:
            before = written
            await turns(200)
            if written == before > 0:
                break
        assert written < 64 * 1024 * 1024
        call.cancel()
        async with asyncio.timeout(30):
            with pytest.raises(ConnectionError):
                await uploading
        gone.set()
        await pool.close()


async def test_an_upload_that_cannot_connect_is_told(silent: str) -> None:
    pool = Connections(silent, connect_timeout=0.05)
    sink = Recorded()
    call = pool.send_streamed(UPLOAD % 3, sink)
    with pytest.raises(ConnectionError):
        await call.write(b"abc")
    assert not (await sink.loss()).sent
    await pool.close()


# What other clients do by themselves, and this one does not.


async def test_a_redirect_is_an_answer_like_any_other(simulator: Simulator, connections: Connections) -> None:
    wire = b"HTTP/1.1 302 Found\r\nLocation: %b/models\r\nContent-Length: 0\r\n\r\n" % simulator.base_url.encode()
    answered(simulator, wire)
    assert await ask(connections).answer() == (302, b"", True)
    await turns()
    assert len(simulator.ledger) == 1


async def test_cookies_are_not_kept(simulator: Simulator, connections: Connections) -> None:
    answered(simulator, FRAMED + b"Set-Cookie: session=another; Path=/\r\n\r\nhello")
    assert await ask(connections).answer() == KEPT
    answered(simulator, OK)
    assert await ask(connections).answer() == KEPT
    assert simulator.ledger[-1].header("cookie") is None
    assert simulator.ledger[-1].headers == simulator.ledger[0].headers


async def test_proxy_variables_are_not_read(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    pool = Connections(simulator.base_url, connect_timeout=30.0)
    answered(simulator, OK)
    assert await ask(pool).answer() == KEPT
    assert simulator.ledger[-1].target == b"/v1/chat/completions"
    await pool.close()


# TLS.


def certificate(directory: Path, subject: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate for *subject* signed by itself, and a server's context with it."""
    path, key = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(key), "-out", str(path), "-days", "1", "-subj", "/CN=test"),
            *("-addext", f"subjectAltName={subject}"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path, key)
    return path, context


@pytest.fixture
def trust(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Makes the authority in a file trusted, the way an operator would."""

    def add(path: Path) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        verified_tls.cache_clear()

    verified_tls.cache_clear()
    yield add
    verified_tls.cache_clear()


async def test_a_trusted_certificate_of_the_right_host_is_taken(tmp_path: Path, trust: Callable[[Path], None]) -> None:
    path, context = certificate(tmp_path, "IP:127.0.0.1")
    trust(path)
    async with Simulator(ssl=context) as simulator:
        pool = Connections(simulator.base_url, connect_timeout=30.0)
        for _ in range(2):
            answered(simulator, OK)
            assert await ask(pool).answer() == KEPT
        assert simulator.accepted == 1
        await pool.close()


async def refused_by_tls(simulator: Simulator) -> str:
    """Why TLS refused the simulator; fails if it saw as much as one request."""
    pool = Connections(simulator.base_url, connect_timeout=30.0)
    sink = ask(pool)
    loss = await sink.loss()
    assert (loss.code, loss.sent, loss.received) == ("upstream_connect_error", False, False)
    assert simulator.accepted == 1 or not simulator.connections
    assert len(simulator.ledger) == 0
    await pool.close()
    return loss.reason


async def test_a_certificate_no_authority_vouches_for_is_refused(tmp_path: Path, trust: Callable[[Path], None]) -> None:
    _, context = certificate(tmp_path, "IP:127.0.0.1")
    async with Simulator(ssl=context) as simulator:
        assert await refused_by_tls(simulator) == "TLS: CERTIFICATE_VERIFY_FAILED"


@pytest.mark.parametrize("subject", ["DNS:provider.example", "IP:127.0.0.2", "DNS:127.0.0.1"])
async def test_a_certificate_of_another_host_is_refused(
    tmp_path: Path, trust: Callable[[Path], None], subject: str
) -> None:
    path, context = certificate(tmp_path, subject)
    trust(path)
    async with Simulator(ssl=context) as simulator:
        assert await refused_by_tls(simulator) == "TLS: CERTIFICATE_VERIFY_FAILED"


def test_tls_is_never_older_than_1_2_and_never_unchecked(trust: Callable[[Path], None]) -> None:
    assert verified_tls().minimum_version is ssl.TLSVersion.TLSv1_2
    assert verified_tls().check_hostname
    assert verified_tls().verify_mode is ssl.CERT_REQUIRED


async def test_no_request_is_sent_in_clear_where_tls_was_asked_for(simulator: Simulator) -> None:
    pool = Connections(simulator.base_url.replace("http://", "https://"), connect_timeout=30.0)
    loss = await ask(pool).loss()
    assert (loss.code, loss.sent) == ("upstream_connect_error", False)
    # What a TLS handshake looks like to a server that expects a request.
    assert not any(record.complete or record.target for record in simulator.ledger)
    await pool.close()


@pytest.mark.parametrize("end", [Fin(), Reset()], ids=["FIN", "RST"])
@pytest.mark.parametrize("words", [b"", b"SSH-2.0\r\n", OK], ids=["silent", "banner", "answer"])
async def test_a_provider_that_hangs_up_at_once_leaves_nothing_behind(
    simulator: Simulator, connections: Connections, words: bytes, end: Step
) -> None:
    for _ in range(5):
        simulator.greet([Send(words), end] if words else [end])
        sink = ask(connections)
        async with asyncio.timeout(30):
            await sink.over  # an answer that came too early may be taken for one, nothing else may
        assert sink.body in (b"", b"hello")
    async with asyncio.timeout(30):
        await connections.close()
    assert "[0 open, 0 idle, 0 connecting]" in repr(connections)
