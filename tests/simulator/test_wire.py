"""Connections, scripts and the ledger."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

import httptools
import pytest
import uvloop

from proxy.simulator.multipart import Form
from tests.rigs.simulator import Delay, Fin, Hold, Repeat, Reset, Send, Simulator

from .raw import QUESTION, Raw, ask, chat, events, raw_end, request, said

MODEL = {"model": "sim-fast", "messages": QUESTION}


async def test_the_ledger_keeps_requests_as_they_were(simulator: Simulator) -> None:
    """Target, header lines in order and case, and the body are the bytes that were sent."""
    body = b'{"model": "sim-fast:tokens=1",  "messages": []}'
    async with Raw(simulator) as raw:
        head = b"hOST: x\r\nX-A: 1\r\nx-a: \xff2\r\nContent-Length: %d\r\n\r\n" % len(body)
        raw.send(b"POST /v1/chat/completions?a=%2F HTTP/1.1\r\n" + head + body)
        await raw.response()
        record = simulator.ledger[0]
        assert record.target == b"/v1/chat/completions?a=%2F"
        assert record.path == "/v1/chat/completions"
        assert record.headers[:3] == [(b"hOST", b"x"), (b"X-A", b"1"), (b"x-a", b"\xff2")]
        assert (record.body, record.length, record.json()["messages"]) == (body, len(body), [])
        assert record.sha256 == hashlib.sha256(body).hexdigest()
        assert record.header("HOST") == b"x"
        assert record.header("none") is None
        assert (record.model, record.method, record.complete, record.finished) == (
            "sim-fast:tokens=1",
            b"POST",
            True,
            True,
        )
        assert repr(record) == "<Request 1 POST /v1/chat/completions sim-fast:tokens=1 finished open>"


async def test_long_bodies_are_digested_and_cut(simulator: Simulator) -> None:
    """The answer depends on the whole body; the ledger keeps its first 64 KiB, its length and its digest."""
    text = "long " * 50_000
    body = json.dumps({"model": "sim-echo", "messages": [{"role": "user", "content": text}]}).encode()
    _, _, answer = await ask(simulator, request("/v1/chat/completions", body))
    assert json.loads(answer)["choices"][0]["message"]["content"] == text
    record = simulator.ledger[0]
    assert (record.body, record.length) == (body[:65536], len(body))
    assert record.sha256 == hashlib.sha256(body).hexdigest()


async def test_chunked_requests(simulator: Simulator) -> None:
    """The body of a chunked request is recorded without its framing."""
    payload = json.dumps(MODEL).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in payload) + b"0\r\n\r\n"
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    status, _, _ = await ask(simulator, head + chunks)
    assert (status, simulator.ledger[0].body) == (200, payload)


async def test_connections_and_sequences(simulator: Simulator) -> None:
    """Requests know their connection and their place on it."""
    async with Raw(simulator) as one, Raw(simulator) as two:
        for raw in (one, one, two):
            raw.send(chat("sim-fast"))
            await raw.response()
        assert [(r.connection.id, r.sequence, r.number) for r in simulator.ledger] == [(1, 1, 1), (1, 2, 2), (2, 1, 3)]
        assert len(simulator.connections) == 2
        one.writer.close()
        assert await simulator.ledger[0].closed() == "client"
        assert simulator.ledger[2].ending is None


async def test_a_client_that_leaves_in_the_middle_of_a_request(simulator: Simulator) -> None:
    """What arrived is in the ledger, marked as incomplete."""
    async with Raw(simulator) as raw:
        raw.send(chat("sim-fast")[:-5])
        raw.writer.close()
        await simulator.seen(1)
        record = simulator.ledger[0]
        assert (record.complete, record.finished, record.ending, record.number) == (False, False, "client", 0)


async def test_a_client_that_leaves_in_the_middle_of_an_answer(simulator: Simulator) -> None:
    """A reset and an orderly close are told apart; nothing more is written for either."""
    for end in ("reset", "client"):
        simulator.ledger.clear()
        async with Raw(simulator) as raw:
            raw.send(chat("sim-fast:pace=1h", stream=True))
            await raw.until(b'"content":"The"')
            if end == "reset":
                peer = raw.writer.get_extra_info("socket")
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                raw.writer.transport.abort()
            else:
                raw.writer.close()
            assert await simulator.ledger[0].closed() == end
            assert not simulator.ledger[0].finished


async def test_pipelined_requests_are_answered_in_order(simulator: Simulator) -> None:
    """Also when the first answers take longer than the last, and when more wait than are read ahead."""
    async with Raw(simulator) as raw:
        raw.send(
            chat("sim-fast:tokens=3,pace=1ms", stream=True) + b"".join(chat(f"sim-fast:id={i}") for i in range(200))
        )
        received = await raw.until(b'"id":"chatcmpl-199"')
        places = [received.index(b'"id":"chatcmpl-%d"' % i) for i in range(200)]
        assert places == sorted(places)
        assert received.index(b"[DONE]") < places[0]
    assert [record.sequence for record in simulator.ledger] == list(range(1, 202))


async def test_requests_behind_a_reset_are_not_answered(simulator: Simulator) -> None:
    """Once the connection ends by our hand, nothing else is taken from it."""
    _, how = await raw_end(simulator, chat("sim-fault:rst") + chat("sim-fast"))
    assert how == "rst"
    assert len(simulator.ledger) == 1


async def test_expect_100_continue(simulator: Simulator) -> None:
    """The go-ahead comes before the body is there."""
    async with Raw(simulator) as raw:
        sent = chat("sim-fast", head="Expect: 100-continue\r\n")
        at = sent.index(b"\r\n\r\n") + 4
        raw.send(sent[:at])
        assert await raw.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.send(sent[at:])
        assert (await raw.response())[0].status_code == 200


async def test_an_upgrade_is_ignored(simulator: Simulator) -> None:
    """The request is answered as if it had not asked, and the connection closes."""
    received, how = await raw_end(
        simulator, request("/v1/models", method="GET", head="Connection: Upgrade\r\nUpgrade: websocket\r\n")
    )
    assert (received[:15], received.count(b"HTTP/1.1"), how) == (b"HTTP/1.1 200 OK", 1, "fin")


async def test_head_has_no_body(simulator: Simulator) -> None:
    """HEAD gets the head that GET gets."""
    async with Raw(simulator) as raw:
        raw.send(request("/v1/models", method="HEAD") + request("/v1/models", method="GET"))
        first, second = (await raw.until(b"\r\n\r\n")).split(b"\r\n"), await raw.until(b"\r\n\r\n")
        assert [line for line in second.split(b"\r\n") if line not in first] == [b"x-request-id: req_000000000002"]
        assert (await raw.until(b"}]}")).startswith(b'{"object":"list"')


async def test_scripts_answer_the_next_requests(simulator: Simulator) -> None:
    """Literal steps, in order, for what they match; afterwards everything is as before."""
    simulator.script([Send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")], match="/v1/models")
    simulator.script([Send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"), Delay(0.001), Send(b"two")], match="sim-*")
    simulator.script([Send(b"partial"), Reset()], times=2)
    assert (await ask(simulator, chat("sim-fast")))[2] == b"two"
    assert await raw_end(simulator, chat("sim-fast")) == (b"partial", "rst")
    assert (await ask(simulator, request("/v1/models", method="GET")))[2] == b"one"
    assert await raw_end(simulator, chat("none")) == (b"partial", "rst")
    assert (await ask(simulator, chat("sim-fast")))[0] == 200
    assert [record.finished for record in simulator.ledger] == [True, False, True, False, True]


async def test_greetings_come_before_requests(simulator: Simulator) -> None:
    """A connection can say something, close or stay silent before it is asked anything."""
    simulator.greet([Send(b"220 hello\r\n"), Fin()])
    simulator.greet([Hold()])
    async with Raw(simulator) as raw:
        assert await raw.to_end() == (b"220 hello\r\n", "fin")
    async with Raw(simulator) as raw, Raw(simulator) as other:
        raw.send(chat("sim-fast"))
        other.send(chat("sim-fast"))
        assert (await other.response())[0].status_code == 200
        assert simulator.ledger.seen == 1


async def test_a_large_write_before_a_reset_arrives(simulator: Simulator) -> None:
    """The reset waits until what was written has left."""
    simulator.script([Send(b"x" * 20_000_000), Reset()])
    received, how = await raw_end(simulator, chat("sim-fast"))
    # The kernel may still hold a little when the reset overtakes it; the process holds nothing.
    assert how == "rst"
    assert len(received) > 10_000_000


async def test_repeat_ends_with_the_client(simulator: Simulator) -> None:
    """Repeated steps stop when the client is gone."""
    simulator.script([Repeat((Send(b"again"), Delay(0.0)))])
    async with Raw(simulator) as raw:
        raw.send(chat("sim-fast"))
        assert await raw.reader.readexactly(50) == b"again" * 10
    assert await simulator.ledger[0].closed() in ("client", "reset")


async def test_the_simulator_can_be_looked_at(simulator: Simulator) -> None:
    """The ledger, the connections and the directives over HTTP, without traces in the ledger."""
    await ask(simulator, chat("sim-fast"))
    _, _, shown = await ask(simulator, request("/_simulator/ledger", method="GET"))
    (record,) = json.loads(shown)
    assert record["model"] == "sim-fast"
    assert json.loads(record["body"]) == MODEL
    _, _, open_now = await ask(simulator, request("/_simulator/connections", method="GET"))
    assert [connection["requests"] for connection in json.loads(open_now)] == [1]
    assert (await ask(simulator, request("/_simulator/directives", b"status=503", method="PUT")))[0] == 200
    assert (await ask(simulator, chat("sim-fast")))[0] == 503
    assert (await ask(simulator, request("/_simulator/directives", b"nonsense", method="PUT")))[0] == 400
    assert (await ask(simulator, request("/_simulator/directives", b"", method="PUT")))[0] == 200
    assert (await ask(simulator, request("/_simulator/ledger", method="DELETE")))[0] == 200
    assert (await ask(simulator, request("/_simulator/other", method="GET")))[0] == 404
    assert (len(simulator.ledger), simulator.ledger.seen) == (0, 0)
    await ask(simulator, request("/v1/chat/completions", b"\xff"))
    assert (
        json.loads((await ask(simulator, request("/_simulator/ledger", method="GET")))[2])[0]["body_base64"] == "/w=="
    )


async def test_without_a_ledger_requests_are_only_counted() -> None:
    """seen() works all the same."""
    async with Simulator(ledger=False) as simulator:
        waiting = asyncio.gather(simulator.seen(1), simulator.seen(2))
        await ask(simulator, chat("sim-fast"))
        await ask(simulator, chat("sim-fast"))
        await waiting
        assert (len(simulator.ledger), list(simulator.ledger[:1])) == (0, [])
        assert repr(simulator.ledger) == "<Ledger 2 seen, 0 kept>"


async def test_stop_leaves_nothing() -> None:
    """Open connections and running streams are cut, timers are cancelled, the port is free."""
    simulator = Simulator()
    await simulator.start()
    port = simulator.port
    async with Raw(simulator) as idle, Raw(simulator) as busy:
        busy.send(chat("sim-fast:pace=1h", stream=True))
        await busy.until(b'"content":"The"')
        await simulator.stop()
        assert [how for _, how in (await idle.to_end(), await busy.to_end())] == ["rst", "rst"]
    assert (simulator.connections, simulator.ledger[0].ending) == (set(), "ours")
    await simulator.stop()
    again = Simulator()
    await again.start(port=port)
    await again.stop()


def _multipart(size: int) -> tuple[bytes, bytes]:
    body = (
        b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nsim-fast\r\n'
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\nContent-Type: x/y\r\n\r\n'
        + b"\r\n--" * (size // 4)
        + b'\r\n--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--B--\r\n'
    )
    return b"multipart/form-data; boundary=B", body


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64, 1000])
def test_forms_do_not_depend_on_how_they_are_cut(piece: int) -> None:
    """Parts, values and sizes are the same for any pieces, also for content that looks like boundaries."""
    _, body = _multipart(400)
    form = Form(b"B")
    for start in range(0, len(body), piece):
        form.feed(body[start : start + piece])
    assert [(part.name, part.filename, part.size) for part in form.parts] == [
        ("model", None, 8),
        ("file", "a.bin", 400),
        ("purpose", None, 5),
    ]
    assert (form.value("model"), form.value("purpose"), form.value("none")) == ("sim-fast", "batch", "")


async def test_uploads_are_measured(simulator: Simulator) -> None:
    """A file's size is exact, and the model of a form counts."""
    kind, body = _multipart(4_000_000)
    head = f"Content-Type: {kind.decode()}\r\n"
    _, _, answer = await ask(simulator, request("/v1/files", body, head=head))
    assert (json.loads(answer)["bytes"], json.loads(answer)["filename"]) == (4_000_000, "a.bin")
    status, _, _ = await ask(simulator, request("/v1/audio/transcriptions", body, head=head))
    assert (status, simulator.ledger[-1].model, simulator.ledger[-1].length) == (200, "sim-fast", len(body))


def test_the_parser_reports_our_own_defects(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception inside the simulator is not taken for a client's bad bytes."""

    async def provoke() -> list[dict[str, object]]:
        reported: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        async with Simulator() as simulator:
            monkeypatch.setattr(simulator, "answer", lambda *_: 1 / 0)
            await raw_end(simulator, chat("sim-fast"))
        return reported

    reported = asyncio.run(provoke())
    assert isinstance(reported[0]["exception"], httptools.HttpParserCallbackError)


async def _on_uvloop() -> None:
    async with Simulator() as simulator:
        _, _, body = await ask(simulator, chat("sim-1:pace=2ms,tokens=4", stream=True))
        assert said(body) == "The simulator says hello."
        received, how = await raw_end(simulator, chat("sim-fault:rst@2", stream=True))
        assert how == "rst"
        assert received.endswith(b"\n\n\r\n")
        assert (await raw_end(simulator, chat("sim-fault:fin")))[1] == "fin"
        async with Raw(simulator) as raw:
            raw.send(chat("sim-fault:stall@1", stream=True))
            await raw.until(b"\n\n\r\n")
            raw.writer.close()
            assert await simulator.ledger[-1].closed() == "client"


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_both_event_loops(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Streams, resets and closes are the same under asyncio and uvloop."""
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_on_uvloop())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_serves_until_it_is_told_to_stop(number: signal.Signals) -> None:
    """The command prints where it listens and something to try, and exits with 0 on a signal."""
    command = [sys.executable, "-c", "from proxy.simulator import run; raise SystemExit(run('127.0.0.1', 0))"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("The simulator listens on http://127.0.0.1:")
        process.stdout.readline()
        assert process.stdout.readline().startswith("  curl -N http://127.0.0.1:")
        process.send_signal(number)
        assert process.wait(10) == 0


def test_events_helper_reads_done() -> None:
    """The tests' own reader tells [DONE] from JSON."""
    assert events(b'data: {"a":1}\n\ndata: [DONE]\n\n') == [{"a": 1}, "[DONE]"]
