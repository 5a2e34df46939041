"""Every fault, at the level of bytes."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from pathlib import Path

import h11
import pytest

from proxy.simulator.completion import TEXT
from proxy.simulator.directives import WORDS
from tests.rigs.simulator import Simulator

from .raw import Raw, ask, chat, events, raw_end, request, said

TERMINATOR = b"0\r\n\r\n"


def stream(directives: str) -> bytes:
    return chat(f"sim-fault:tokens=5,{directives}", stream=True)


def whole(directives: str) -> bytes:
    return chat(f"sim-fault:tokens=5,{directives}")


def lines_of(received: bytes) -> int:
    """How many whole events there are in chunked bytes."""
    return len(re.findall(rb"data: .*\n\n\r\n", received))


def test_every_directive_is_tested() -> None:
    """Each word of the grammar occurs in the tests of answers, faults and wire."""
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    assert [word for word in WORDS if not re.search(rf"\b{word}\b", tests)] == []


@pytest.mark.parametrize("kind", ["rst", "fin"])
async def test_cut_before_any_byte(simulator: Simulator, kind: str) -> None:
    """Without a position the connection ends with nothing answered."""
    assert await raw_end(simulator, stream(kind)) == (b"", kind)
    assert await raw_end(simulator, whole(kind)) == (b"", kind)
    assert [record.finished for record in simulator.ledger] == [False, False]
    assert simulator.ledger[0].ending == "ours"


async def test_reset_after_events(simulator: Simulator) -> None:
    """The events before a reset arrive whole; nothing comes after them."""
    received, how = await raw_end(simulator, stream("rst@3"))
    assert how == "rst"
    assert lines_of(received) == 3
    assert received.endswith(b"\n\n\r\n")


async def test_fin_in_the_middle_of_an_event(simulator: Simulator) -> None:
    """FIN comes within the event after the position, so the chunk is cut too."""
    received, how = await raw_end(simulator, stream("fin@3"))
    assert how == "fin"
    assert lines_of(received) == 3
    last = received.rsplit(b"\n\n\r\n", 1)[1]
    size, _, part = last.partition(b"\r\n")
    assert 0 < len(part) < int(size, 16)


async def test_a_cut_body_is_cut_at_a_byte(simulator: Simulator) -> None:
    """In an answer that is no stream the position counts bytes."""
    received, how = await raw_end(simulator, whole("rst@10"))
    assert (received.partition(b"\r\n\r\n")[2], how) == (b'{"id":"cha', "rst")
    _, headers, body = await ask(simulator, whole("end@10"))
    assert (headers["content-length"], body) == ("10", b'{"id":"cha')
    received, how = await raw_end(simulator, whole("fin@10"))
    assert how == "fin"
    assert len(received.partition(b"\r\n\r\n")[2]) > 10


async def test_end_without_finish(simulator: Simulator) -> None:
    """A body that ends in good order, too early."""
    _, _, body = await ask(simulator, stream("end@2"))
    assert len(events(body)) == 2
    _, _, body = await ask(simulator, stream("end"))
    assert body == b""


async def test_stall(simulator: Simulator) -> None:
    """A stall for ever holds the connection; a short one only delays the rest."""
    async with Raw(simulator) as raw:
        raw.send(stream("stall@1"))
        received = await raw.until(b"\n\n\r\n")
        assert b'"role":"assistant"' in received
        assert len(simulator.connections) == 1
        record = simulator.ledger[0]
        assert (record.finished, record.ending) == (False, None)
        raw.writer.close()
        assert await record.closed() == "client"
    _, _, body = await ask(simulator, stream("stall@1=5ms"))
    assert len(events(body)) == 8
    _, _, body = await ask(simulator, whole("stall@7=5ms"))
    assert json.loads(body)["choices"]


async def test_silence(simulator: Simulator) -> None:
    """The request is seen and nothing is said."""
    async with Raw(simulator) as raw:
        raw.send(whole("silence"))
        await simulator.seen(1)
        record = simulator.ledger[0]
        raw.writer.close()
        assert await record.closed() == "client"
        assert record.bytes_sent == 0


@pytest.mark.parametrize(
    "directives", ["trickle=0", "trickle=10us,segment=7", "segment=3", "trickle_head=0", "rate=200000"]
)
async def test_dripped_answers_are_the_same_answers(simulator: Simulator, directives: str) -> None:
    """Small writes change nothing but their size."""
    for sent in (stream, whole):
        _, _, slow = await ask(simulator, sent(f"id=x,{directives}"))
        _, _, fast = await ask(simulator, sent("id=x"))
        assert slow == fast


@pytest.mark.parametrize(
    "directives", ["headers=2ms", "ttft=2ms", "pace=1ms", "chunked", "interim", "interim=102,interims=50", "comments"]
)
async def test_honest_variants_are_the_same_answer(simulator: Simulator, directives: str) -> None:
    """Delays, interim heads, chunking and comments do not change what is said."""
    _, _, body = await ask(simulator, stream(directives))
    assert said(body) == "The simulator says hello. Every"
    assert (b": keep-alive\n\n" in body) == (directives == "comments")
    _, headers, body = await ask(simulator, whole(directives))
    assert json.loads(body)["choices"][0]["message"]["content"] == "The simulator says hello. Every"
    assert ("transfer-encoding" in headers) == (directives == "chunked")


async def test_interim_heads(simulator: Simulator) -> None:
    """They come before the head, as many as asked for."""
    async with Raw(simulator) as raw:
        raw.send(whole("interims=3"))
        received = await raw.until(b"HTTP/1.1 200 OK\r\n")
        assert received.count(b"HTTP/1.1 103 Early Hints\r\n") == 3


@pytest.mark.parametrize(
    ("directives", "status", "kind", "code"),
    [
        ("status=503,retry_after=7,retry_after_ms=7000", 503, "server_error", "server_is_overloaded"),
        ("status=429", 429, "requests", "rate_limit_exceeded"),
        ("code=insufficient_quota,type=insufficient_quota", 429, "insufficient_quota", "insufficient_quota"),
        ("status=418", 418, "invalid_request_error", None),
        ("status=529", 529, "overloaded_error", "overloaded"),
    ],
)
async def test_error_statuses(simulator: Simulator, directives: str, status: int, kind: str, code: str | None) -> None:
    """Errors have their usual type and code, or those asked for."""
    for sent in (stream, whole):
        found, headers, body = await ask(simulator, sent(directives))
        error = json.loads(body)["error"]
        assert (found, error["type"], error["code"]) == (status, kind, code)
        if "retry_after" in directives:
            assert (headers["retry-after"], headers["retry-after-ms"]) == ("7", "7000")


@pytest.mark.parametrize(
    ("status", "line"), [("000", b"000 Strange"), ("999", b"999 Strange"), ("201", b"201 Created")]
)
async def test_odd_statuses(simulator: Simulator, status: str, line: bytes) -> None:
    """A status that is no error keeps the good body, whether it exists or not."""
    async with Raw(simulator) as raw:
        raw.send(whole(f"status={status}"))
        assert await raw.until(b"\r\n") == b"HTTP/1.1 " + line + b"\r\n"
        await raw.until(b'"total_tokens":7}}')


async def test_no_content(simulator: Simulator) -> None:
    """204 has no body and no length."""
    status, headers, body = await ask(simulator, whole("status=204"))
    assert (status, body, "content-length" in headers) == (204, b"", False)


async def test_redirect(simulator: Simulator) -> None:
    """The default leads to the simulator itself, so that a gateway that follows it is seen."""
    status, headers, body = await ask(simulator, stream("redirect"))
    assert (status, headers["location"], body) == (307, "/v1/redirected", b"")
    status, headers, _ = await ask(simulator, whole("redirect=http://other:1/x,status=302"))
    assert (status, headers["location"]) == (302, "http://other:1/x")


async def test_headers(simulator: Simulator) -> None:
    """Cookies, the provider's own headers, one of one's own, and headers too big or too many."""
    _, headers, _ = await ask(simulator, whole("setcookie,header=x-mine:yes"))
    assert headers["set-cookie"].startswith("session=")
    assert headers["x-mine"] == "yes"
    _, headers, _ = await ask(simulator, whole("headers_p20"))
    assert {"openai-organization", "x-ratelimit-limit-tokens", "alt-svc", "cf-ray", "x-foo"} < set(headers)
    async with Raw(simulator) as raw:
        raw.send(whole("bighead=9000,manyheads=200"))
        head = (await raw.until(b"\r\n\r\n")).split(b"\r\n")
        assert max(len(line) for line in head) == 9000
        assert len([line for line in head if line.startswith(b"x-many-")]) == 200


@pytest.mark.parametrize(
    ("directives", "start"),
    [
        ("cl_te", rb"Content-Length: \d+\r\nTransfer-Encoding: chunked\r\n"),
        ("two_cl", rb"Content-Length: (\d+)\r\nContent-Length: (?!\1\r)\d+\r\n"),
        ("bad_te", rb"Transfer-Encoding: foo\r\n"),
        ("bare_lf", rb"HTTP/1.1 200 OK\n[^\r]*\n\n"),
    ],
)
async def test_ambiguous_heads(simulator: Simulator, directives: str, start: bytes) -> None:
    """Heads no client should accept."""
    async with Raw(simulator) as raw:
        raw.send(whole(directives))
        assert re.search(start, await raw.until(b'"total_tokens":7}}'))


async def test_no_proper_head(simulator: Simulator) -> None:
    """Half a head, no head, another protocol."""
    received, how = await raw_end(simulator, whole("head_cut"))
    assert (received[:8], b"\r\n\r\n" in received, how) == (b"HTTP/1.1", False, "fin")
    received, how = await raw_end(simulator, whole("http09"))
    assert (received[:6], how) == (b'{"id":', "fin")
    assert await raw_end(simulator, whole("junk")) == (b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", "fin")


async def test_bad_chunk(simulator: Simulator) -> None:
    """A chunk size that is no number, after one good event."""
    received, _ = await raw_end(simulator, stream("badchunk"))
    assert lines_of(received.partition(b"XYZ\r\n")[0]) == 1
    assert received.count(b"XYZ\r\n") == 1
    with pytest.raises(h11.RemoteProtocolError):
        await ask(simulator, whole("badchunk@5"))


async def test_bad_length(simulator: Simulator) -> None:
    """Too much promised ends in FIN; too little leaves bytes that belong to no answer."""
    for sent in (stream, whole):
        received, how = await raw_end(simulator, sent("badlength=+5"))
        head, _, body = received.partition(b"\r\n\r\n")
        assert how == "fin"
        assert b"Content-Length: %d" % (len(body) + 5) in head
    async with Raw(simulator) as raw:
        raw.send(whole("badlength=-3"))
        head = await raw.until(b"\r\n\r\n")
        body = await raw.until(b"}}")
        assert b"Content-Length: %d" % (len(body) - 3) in head


async def test_close_delimited(simulator: Simulator) -> None:
    """Without framing only FIN ends the body, and nothing tells a cut from an end."""
    received, how = await raw_end(simulator, stream("close_delimited"))
    assert how == "fin"
    assert received.endswith(b"data: [DONE]\n\n")
    assert simulator.ledger[0].finished
    received, how = await raw_end(simulator, stream("close_delimited_cut@2"))
    body = received.partition(b"\r\n\r\n")[2]
    assert how == "fin"
    assert body.count(b"\n\n") == 2
    assert not body.endswith(b"\n\n")


async def test_gzip(simulator: Simulator) -> None:
    """Whole, event by event, cut, corrupt; and a coding that does not exist."""
    _, headers, body = await ask(simulator, whole("gzip"))
    assert headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(body))["object"] == "chat.completion"
    _, _, body = await ask(simulator, stream("gzip,pace=1ms"))
    assert said(gzip.decompress(body)) == "The simulator says hello. Every"
    _, _, body = await ask(simulator, stream("gzip_cut"))
    with pytest.raises(EOFError):
        gzip.decompress(body)
    _, _, body = await ask(simulator, whole("gzip_corrupt"))
    with pytest.raises((zlib.error, gzip.BadGzipFile)):
        gzip.decompress(body)
    _, headers, body = await ask(simulator, whole("coding"))
    assert headers["content-encoding"] == "foo"
    assert json.loads(body)


async def test_bodies(simulator: Simulator) -> None:
    """HTML, nothing, not quite JSON, a list; JSON where a stream belongs."""
    status, headers, body = await ask(simulator, stream("html"))
    assert (status, headers["content-type"], body[:15]) == (502, "text/html; charset=UTF-8", b"<!DOCTYPE html>")
    assert (await ask(simulator, whole("html,status=200")))[0] == 200
    assert [(await ask(simulator, sent("empty")))[2] for sent in (stream, whole)] == [b"", b""]
    _, _, body = await ask(simulator, whole("badjson"))
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
    _, _, body = await ask(simulator, whole("list"))
    assert isinstance(json.loads(body), list)
    _, headers, body = await ask(simulator, stream("json_for_stream"))
    assert (headers["content-type"], json.loads(body)["object"]) == ("application/json", "chat.completion")
    status, _, body = await ask(simulator, stream("error_for_stream"))
    assert (status, json.loads(body)["error"]["code"]) == (200, "server_is_overloaded")


@pytest.mark.parametrize(
    ("word", "total"),
    [("zero", 0), ("negative", -7), ("huge", 2 * 10**18), ("text", "7"), ("null", None), ("none", None)],
)
async def test_usage(simulator: Simulator, word: str, total: object) -> None:
    """Usage no bill should believe."""
    _, _, body = await ask(simulator, whole(f"usage={word}"))
    assert ("usage" in json.loads(body)) == (word != "none")
    assert (json.loads(body).get("usage") or {}).get("total_tokens") == total


async def test_finish(simulator: Simulator) -> None:
    """Any finish reason can be asked for."""
    _, _, body = await ask(simulator, whole("finish=content_filter"))
    assert json.loads(body)["choices"][0]["finish_reason"] == "content_filter"


async def test_error_event(simulator: Simulator) -> None:
    """The error is the last event; as the first one it is the only one."""
    _, _, body = await ask(simulator, stream("error@2"))
    found = events(body)
    assert len(found) == 3
    assert found[-1]["error"]["code"] == "server_error"
    _, _, body = await ask(simulator, stream("error"))
    assert len(events(body)) == 1
    for path in ("/v1/responses", "/v1/messages"):
        sent = {"model": "sim-fault:error@1", "input": "x", "messages": [], "stream": True}
        _, _, body = await ask(simulator, request(path, sent))
        assert body.split(b"\n\n")[1].startswith(b'event: error\ndata: {"type":"error"')


@pytest.mark.parametrize(
    ("directives", "inside"),
    [
        ("malformed@2", b'"content":"cut sho\n\n'),
        ("badutf8", b'"content":"\xff\xfe"'),
        ("surrogate@3", b'"content":"\\ud83d"'),
        ("nul", b"}\x00\n\n"),
        ("bom", b"\xef\xbb\xbfdata:"),
        ("nospace", b'data:{"id"'),
        ("done_twice", b"data: [DONE]\n\ndata: [DONE]\n\n"),
        ("after_done", b'data: [DONE]\n\ndata: {"id":"chatcmpl-odd"'),
        ("crlf", b"data: [DONE]\r\n\r\n"),
        ("cr", b"data: [DONE]\r\r"),
        ("noblank", b"}\ndata: [DONE]\n"),
    ],
)
async def test_odd_events(simulator: Simulator, directives: str, inside: bytes) -> None:
    """Odd bytes inside a stream that is framed in good order."""
    _, _, body = await ask(simulator, stream(directives))
    assert inside in body


async def test_events_more_or_less(simulator: Simulator) -> None:
    """No [DONE]; the same event twice; one enormous event."""
    _, _, body = await ask(simulator, stream("nodone"))
    assert events(body)[-1]["choices"][0]["finish_reason"] == "stop"
    _, _, body = await ask(simulator, stream("duplicate@2"))
    assert said(body) == "TheThe simulator says hello. Every"
    _, _, body = await ask(simulator, stream("bigevent=1048576"))
    assert len(body.split(b"\n\n")[1]) + 2 == 1048576


async def test_hang_after_done(simulator: Simulator) -> None:
    """[DONE] comes, the end does not."""
    async with Raw(simulator) as raw:
        raw.send(stream("hang_after_done"))
        await raw.until(b"data: [DONE]\n\n\r\n")
        assert not simulator.ledger[0].finished


async def test_comments_forever(simulator: Simulator) -> None:
    """Comments follow the first event until the client leaves."""
    async with Raw(simulator) as raw:
        raw.send(stream("comments_forever@1,pace=1ms"))
        for _ in range(5):
            await raw.until(b": keep-alive\n\n")
        raw.writer.close()
        assert await simulator.ledger[0].closed() in ("client", "reset")


async def test_forever_stops_while_the_client_does_not_read(simulator: Simulator) -> None:
    """An endless stream is written as fast as it is read, and no faster."""
    async with Raw(simulator) as raw:
        raw.send(stream("forever"))
        for _ in range(1000):
            await raw.until(b'"content":" hello."')
        wire = next(iter(simulator.connections))
        raw.writer.transport.pause_reading()
        while not wire._paused:
            # Others are served meanwhile.
            await ask(simulator, chat("sim-fast"))
        assert wire.transport.get_write_buffer_size() < 2**20


@pytest.mark.parametrize(("how", "end"), [("", "fin"), ("=fin", "fin"), ("=rst", "rst")])
async def test_keepalive_drop(simulator: Simulator, how: str, end: str) -> None:
    """The first request is answered, the second finds the connection gone."""
    async with Raw(simulator) as raw:
        raw.send(whole(f"keepalive_drop{how}"))
        head, body = await raw.response()
        assert (head.status_code, json.loads(body)["object"]) == (200, "chat.completion")
        raw.send(whole(""))
        assert await raw.to_end() == (b"", end)
    assert [(record.finished, record.bytes_sent > 0) for record in simulator.ledger] == [(True, True), (False, False)]


async def test_keepalive_silence(simulator: Simulator) -> None:
    """The second request meets a connection that looks alive."""
    async with Raw(simulator) as raw:
        raw.send(whole("keepalive_drop=silence"))
        await raw.response()
        raw.send(whole(""))
        await simulator.seen(2)
        assert simulator.ledger[1].ending is None


@pytest.mark.parametrize(("directives", "end"), [("close_after=1ms", "fin"), ("reset_after=1ms", "rst")])
async def test_idle_connections_close(simulator: Simulator, directives: str, end: str) -> None:
    """The answer is whole; the connection goes a little later."""
    received, how = await raw_end(simulator, whole(directives))
    assert (received[-2:], how) == (b"}}", end)
    assert simulator.ledger[0].finished


async def test_connection_close(simulator: Simulator) -> None:
    """Announced and done."""
    received, how = await raw_end(simulator, stream("connection_close"))
    assert how == "fin"
    assert b"Connection: close\r\n" in received
    assert received.endswith(TERMINATOR)


async def test_times_and_share(simulator: Simulator) -> None:
    """Faults that end, and faults that happen now and then; shapes stay."""
    found = [await ask(simulator, whole("status=503,times=2")) for _ in range(4)]
    assert [status for status, _, _ in found] == [503, 503, 200, 200]
    assert json.loads(found[3][2])["usage"]["completion_tokens"] == 5
    found = [await ask(simulator, whole("status=500,share=0.25")) for _ in range(8)]
    assert [status for status, _, _ in found] == [200, 200, 200, 500] * 2


async def test_who_wins(simulator: Simulator) -> None:
    """The simulator's own directives over the header, the header over the name."""
    assert (await ask(simulator, chat("sim-fault:status=500", head="X-Simulator: status=503\r\n")))[0] == 503
    simulator.direct("status=429")
    assert (await ask(simulator, chat("sim-fault:status=500", head="X-Simulator: status=503\r\n")))[0] == 429
    assert (await ask(simulator, request("/v1/models", method="GET")))[0] == 429
    simulator.direct("")
    assert (await ask(simulator, chat("sim-fault")))[0] == 200


async def test_http_1_0(simulator: Simulator) -> None:
    """A client of HTTP/1.0 gets no chunks and a closed connection."""
    sent = chat("sim-fast", stream=True).replace(b"HTTP/1.1", b"HTTP/1.0")
    received, how = await raw_end(simulator, sent)
    head, _, body = received.partition(b"\r\n\r\n")
    assert (how, b"chunked" in head, said(body)) == ("fin", False, TEXT)
