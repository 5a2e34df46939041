"""Heavy bodies are read beside the loop: with what outcome, who waits for whom meanwhile, and what ends the reader."""

import asyncio
import hashlib
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from proxy.core import peek
from proxy.core.errors import ProxyError
from proxy.http import gist, reader
from proxy.http.reader import Reader
from proxy.relay.ids import Named
from proxy.relay.made import Tells
from tests.conftest import GatewayFactory, RunningGateway, provider
from tests.rigs.built import python_path
from tests.rigs.simulator import Simulator
from tests.spec.loop import until
from tests.spec.wire import PATIENCE, ask, chat, connect

SIZE = 300 * 1024
HEAVY = {
    "small objects": b'{"a":0},' * (SIZE // 8) + b"0",
    "deep keys": (b'{"a":' * 100 + b"0" + b"}" * 100 + b",") * (SIZE // 600) + b"0",
    "escaped quotes in names": b'{"\\u0022":0},' * (SIZE // 10) + b"0",
    "numbers": b"0," * SIZE + b"0",
    "strings": b'"",' * (SIZE // 2) + b"0",
    "one long text": b'"' + b"A" * peek.HEAVY + b'"',
}
"""What stands in an array, by what it is made of."""
REFUSED = {
    "brackets": b"[" * 10 * SIZE,
    "a key twice": HEAVY["small objects"] + b',{"deep":{"b":1,"b":2}}',
    "no number": HEAVY["numbers"] + b",NaN",
    "half a pair": HEAVY["numbers"] + b',"\\ud800"',
    "no end": HEAVY["strings"] + b",",
}


def body(what: bytes, before: bytes = b'{"model":"sim-fast",', after: bytes = b"}") -> bytes:
    return before + b'"messages":[{"role":"user","content":"x"}],"metadata":[' + what + b"]" + after


def post(body: bytes, path: str = "/v1/chat/completions") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def reader_of(running: RunningGateway) -> Reader:
    return running.listener.gateway.reader


def pid_of(each: Reader) -> int:
    assert each._child is not None
    return each._child.process.pid


def proc(each: Reader, what: str) -> str:
    return Path(f"/proc/{pid_of(each)}/{what}").read_text()


@pytest.fixture
async def alone() -> AsyncIterator[Reader]:
    """A reader without a gateway."""
    each = Reader(PATIENCE)
    yield each
    await each.stop()


async def gist_of(each: Reader, body: bytes) -> gist.Gist:
    return await each.read("POST", "/chat/completions", "", body)


# What comes of a body


@pytest.mark.parametrize("kind", HEAVY)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_heavy_body_is_relayed_as_any_other(
    gateway: GatewayFactory, simulator: Simulator, kind: str, stream: bool
) -> None:
    running = await gateway({"models": {"sim-fast": {}, "alias": {"targets": ["sim/sim-fast"]}}})
    started = []
    for model in ("sim-fast", "alias"):
        end = (
            b',"model":"'
            + model.encode()
            + b'"'
            + (b',"stream":true, "stream_options" : {"x":[{}] }}\n' if stream else b"}")
        )
        whole = body(HEAVY[kind], b"{", end)
        assert peek.is_heavy(whole)
        answer = await ask(running.port, post(whole))
        assert answer.status == 200
        sent = whole.replace(b'"alias"', b'"sim-fast"').replace(b"[{}] }", b'[{}] ,"include_usage":true}')
        assert simulator.ledger[-1].sha256 == hashlib.sha256(sent).hexdigest()
        started.append(pid_of(reader_of(running)))
    # One process reads them all.
    assert len(set(started)) == 1


@pytest.mark.parametrize("kind", REFUSED)
async def test_a_heavy_body_is_refused_as_any_other(gateway: GatewayFactory, kind: str) -> None:
    running = await gateway()
    whole = body(REFUSED[kind])
    with pytest.raises(ProxyError) as caught:
        peek.read_json(whole)
    answer = await ask(running.port, post(whole))
    assert (answer.status, answer.code) == (400, "invalid_json")
    error = answer.json["error"]
    assert error["message"] == caught.value.message
    assert {name: error["details"][name] for name in caught.value.details} == caught.value.details


async def test_a_body_that_is_not_heavy_starts_no_process(gateway: GatewayFactory) -> None:
    running = await gateway()
    for content in ("x" * 100, "x" * (peek.LIGHT + 1), "x" * (peek.HEAVY - 1000)):
        answer = await ask(running.port, chat(messages=[{"role": "user", "content": content}]))
        assert answer.status == 200
    assert reader_of(running)._child is None


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        (b'{"model":7,', b"}", "invalid_type"),
        (b'{"model":"' + b"m" * 257 + b'",', b"}", "invalid_type"),
        (b'{"model":"sim-fast","stream":1,', b"}", "invalid_type"),
        (b'{"model":"sim-fast",', b',"api_base":"http://elsewhere"}', "unsupported_parameter"),
        (b"{", b"}", "missing_required_parameter"),
    ],
)
async def test_what_it_asks_is_judged_as_ever(gateway: GatewayFactory, before: bytes, after: bytes, code: str) -> None:
    running = await gateway()
    answer = await ask(running.port, post(body(HEAVY["numbers"], before, after)))
    assert (answer.status, answer.code) == (400, code)


@pytest.mark.parametrize("model", [b'"model":"other",', b""], ids=["replaced", "added"])
@pytest.mark.parametrize("last", [b"", b',"stream_options":{"include_usage":false}'], ids=["without", "with options"])
async def test_a_deployment_overrules_the_model(
    gateway: GatewayFactory, simulator: Simulator, model: bytes, last: bytes
) -> None:
    running = await gateway({"models": {"alias": {"targets": ["sim/sim-fast"]}}})
    whole = body(HEAVY["numbers"], b"{" + model, b',"stream":true' + last + b"}")
    path = "/openai/deployments/alias/chat/completions"
    assert (await ask(running.port, post(whole, path))).status == 200
    asked = whole.replace(b"false", b"true") if last else whole[:-1] + b',"stream_options":{"include_usage":true}}'
    asked = asked.replace(b'"model":"other",', b"")
    asked = b'{"model":"sim-fast",' + asked[1:]
    assert simulator.ledger[-1].sha256 == hashlib.sha256(asked).hexdigest()


async def test_the_gist_is_what_is_read_of_any_other(alone: Reader) -> None:
    what = b'{"model":"m","max_tokens":7,"n":2,"store":true,"file_id":"file-1","metadata":[' + HEAVY["numbers"]
    what += b'],"messages":[{"content":[{"file_id":"file-2"}]}],"response_format":{"type":"text","x":{}},"tools":[]}'
    found = await alone.read("POST", "/chat/completions", "?a=b", what)
    value = peek.read_json(what)
    assert found.value == peek.outline(value)
    assert found.value["response_format"] == {"type": "text"}
    assert (found.most, found.told) == (14, Tells.MADE)
    assert found.named == Named(("file-1", "file-2"))
    assert found.places == peek.places_of(what, value)
    listed = await alone.read("POST", "/batches/batch_1/cancel", "", what)
    assert listed.named is not None
    assert listed.named.ids[0] == "batch_1"


async def test_a_gist_is_handed_over_however_long_its_texts_are(alone: Reader) -> None:
    names = b"".join(b'"%b":"%b",' % (name.encode(), b"\\u0001" * 300) for name in peek.ASKED)
    ids = b",".join(b'"%d%b"' % (number, b"\\u0001" * 250) for number in range(16))
    whole = b"{" + names + b'"file_ids":[' + ids + b'],"metadata":[' + HEAVY["numbers"] + b"]}"
    found = await alone.read("POST", "/threads/thread_1", "", whole)
    assert found.value == peek.outline(peek.read_json(whole))
    assert found.named is not None
    assert len(found.named.ids) == 16


async def test_any_bytes_may_stand_in_the_query(gateway: GatewayFactory, simulator: Simulator) -> None:
    running = await gateway()
    small, heavy = (
        post(body(what)).replace(b"completions", "completions?a=é\udcff".encode("utf-8", "surrogateescape"), 1)
        for what in (b"0", HEAVY["numbers"])
    )
    assert (await ask(running.port, heavy)).status == (await ask(running.port, small)).status


async def test_an_object_of_nothing_but_space_is_still_an_empty_one(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway()
    whole = b"{" + b" " * peek.HEAVY + b"}"
    # The provider misses the messages.
    assert (await ask(running.port, post(whole, "/openai/deployments/sim-fast/chat/completions"))).status == 400
    asked = b'{"model":"sim-fast"' + whole[1:]
    assert simulator.ledger[-1].sha256 == hashlib.sha256(asked).hexdigest()


# Paths that make another body of it


def native(content: bytes, more: bytes = b"") -> bytes:
    return b'{"model":"sim-fast","messages":[{"role":"user","content":"' + content + b'"}]' + more + b"}"


@pytest.mark.parametrize("path", ["/v1/completion", "/v1/completions"])
async def test_a_long_text_passes_where_its_body_is_made_anew(
    gateway: GatewayFactory, simulator: Simulator, path: str
) -> None:
    running = await gateway()
    answer = await ask(running.port, post(native(b"a, b: c" * 50_000), path))
    assert answer.status == 200
    assert simulator.ledger[-1].length > 350_000


@pytest.mark.parametrize("path", ["/v1/completion", "/v1/completions", "/api/generate"])
@pytest.mark.parametrize(
    "whole",
    [native(b"a", b',"metadata":[' + HEAVY["small objects"] + b"]"), native(b"A" * 5_000_000)],
    ids=["rich", "long"],
)
async def test_what_would_hold_up_the_others_does_not(gateway: GatewayFactory, path: str, whole: bytes) -> None:
    running = await gateway()
    answer = await ask(running.port, post(whole, path))
    assert answer.status == 413


# Who waits for whom


async def stopped(running: RunningGateway) -> int:
    """The reader has started, and reads nothing until it is told to go on."""
    assert (await ask(running.port, post(body(HEAVY["numbers"])))).status == 200
    pid = pid_of(reader_of(running))
    os.kill(pid, signal.SIGSTOP)
    return pid


async def test_other_calls_go_on_while_a_body_is_read(gateway: GatewayFactory) -> None:
    running = await gateway()
    pid = await stopped(running)
    async with connect(running.port) as heavy:
        heavy.send(post(body(HEAVY["small objects"])))
        await until(reader_of(running)._turn.locked)
        for _ in range(3):
            assert (await ask(running.port, chat())).status == 200
        assert reader_of(running)._turn.locked()
        os.kill(pid, signal.SIGCONT)
        assert (await heavy.response()).status == 200


async def test_a_client_that_leaves_gives_up_its_turn(gateway: GatewayFactory) -> None:
    running = await gateway()
    pid = await stopped(running)
    under_way, each = running.listener.gateway.under_way, reader_of(running)
    async with connect(running.port) as first, connect(running.port) as second, connect(running.port) as third:
        first.send(post(body(HEAVY["numbers"])))
        await until(each._turn.locked)
        second.send(post(body(HEAVY["strings"])))
        await until(lambda: under_way.count == 2)
        third.send(post(body(HEAVY["deep keys"])))
        await until(lambda: under_way.count == 3)
        # One that waits, and one whose body is being read.
        second.abort()
        await until(lambda: under_way.count == 2)
        assert each._turn.locked()
        first.abort()
        assert (await third.response()).status == 200
    assert pid_of(each) != pid


async def test_a_body_whose_turn_does_not_come_is_told_503(gateway: GatewayFactory) -> None:
    running = await gateway({"server": {"read_timeout": "300ms"}})
    pid = await stopped(running)
    async with connect(running.port) as first:
        first.send(post(body(HEAVY["numbers"])))
        await until(reader_of(running)._turn.locked)
        answer = await ask(running.port, post(body(HEAVY["strings"])))
        assert (answer.status, answer.code, answer.header("retry-after")) == (503, "overloaded", "1")
        os.kill(pid, signal.SIGCONT)
        assert (await first.response()).status == 200


async def test_a_body_that_is_read_for_too_long_is_told_503(
    alone: Reader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await gist_of(alone, body(HEAVY["numbers"]))
    os.kill(pid_of(alone), signal.SIGSTOP)
    monkeypatch.setattr(reader, "LONGEST", 0.05)
    with pytest.raises(ProxyError) as caught:
        await gist_of(alone, body(HEAVY["numbers"]))
    assert caught.value.status == 503
    assert "not read within 0.05 s" in caplog.text
    monkeypatch.undo()
    assert (await gist_of(alone, body(HEAVY["numbers"]))).value["model"] == "sim-fast"


# Its end


@pytest.mark.parametrize(
    ("number", "status", "code"),
    [(signal.SIGKILL, 503, "overloaded"), (signal.SIGSEGV, 413, "request_too_large")],
)
async def test_a_reader_that_dies_is_replaced(
    gateway: GatewayFactory, caplog: pytest.LogCaptureFixture, number: int, status: int, code: str
) -> None:
    running = await gateway()
    pid = await stopped(running)
    async with connect(running.port) as wire:
        wire.send(post(body(HEAVY["small objects"])))
        await until(reader_of(running)._turn.locked)
        os.kill(pid, number)
        with suppress(ProcessLookupError):
            # What kills at once has killed it.
            os.kill(pid, signal.SIGCONT)
        answer = await wire.response()
    assert (answer.status, answer.code) == (status, code)
    assert f"ended with {-number}" in caplog.text
    assert (await ask(running.port, post(body(HEAVY["small objects"])))).status == 200


async def test_one_that_died_while_it_had_nothing_to_do_costs_no_call(alone: Reader) -> None:
    await gist_of(alone, body(HEAVY["numbers"]))
    assert alone._child is not None
    os.kill(pid_of(alone), signal.SIGKILL)
    await alone._child.process.wait()
    assert (await gist_of(alone, body(HEAVY["numbers"]))).value["model"] == "sim-fast"


async def test_a_body_that_takes_too_much_memory_is_to_blame(alone: Reader) -> None:
    await gist_of(alone, body(HEAVY["numbers"]))
    room = int(proc(alone, "statm").split()[0]) * resource.getpagesize() + 8 * SIZE
    resource.prlimit(pid_of(alone), resource.RLIMIT_AS, (room, room))
    with pytest.raises(ProxyError) as caught:
        await gist_of(alone, body(HEAVY["small objects"] * 8))
    assert (caught.value.status, caught.value.code) == (413, "request_too_large")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_what_ends_the_gateway_does_not_end_its_reader_first(alone: Reader, number: int) -> None:
    await gist_of(alone, body(HEAVY["numbers"]))
    pid = pid_of(alone)
    os.kill(pid, number)
    await gist_of(alone, body(HEAVY["numbers"]))
    assert pid_of(alone) == pid


async def test_it_is_told_no_secret_and_limits_itself(alone: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    await gist_of(alone, body(HEAVY["numbers"]))
    assert "sk-secret" not in proc(alone, "environ")
    assert proc(alone, "oom_score_adj") == "1000\n"
    assert "5368709120" in proc(alone, "limits")


async def test_with_nothing_to_do_it_is_ended(alone: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "IDLE", 0.02)
    await gist_of(alone, body(HEAVY["numbers"]))
    assert alone._child is not None
    await alone._child.process.wait()
    await gist_of(alone, body(HEAVY["numbers"]))


async def test_it_cannot_be_started(
    alone: Reader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ProxyError) as caught:
        await gist_of(alone, body(HEAVY["numbers"]))
    assert caught.value.status == 503
    assert "cannot be started: No such file or directory" in caplog.text


SERVED = """
import asyncio, os, sys
from aiohttp import web
from proxy.app import GATEWAY, create_app
from proxy.settings import Settings

app = create_app(Settings.model_validate({"providers": {"sim": %r}, "store": {"url": ""}}))


async def read(app):
    whole = b'{"x":[' + b"0," * 300_000 + b"0]}"
    await app[GATEWAY].reader.read("POST", "/chat/completions", "", whole)
    print(app[GATEWAY].reader._child.process.pid, flush=True)


app.on_startup.append(read)
web.run_app(app, host="127.0.0.1", port=0, print=None)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_it_goes_with_a_script_that_serves_whatever_ends_that(
    simulator: Simulator, tmp_path: Path, number: int
) -> None:
    """The script has no guard for a process that imports it: none does."""
    script = tmp_path / "serve.py"
    script.write_text(SERVED % provider(simulator))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": python_path()},
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(4 * PATIENCE):
        pid = int(await process.stdout.readline())
        process.send_signal(number)
        _, said = await process.communicate()
    assert b"proxy.http.reading" not in said
    await until(lambda: not Path(f"/proc/{pid}").exists())
