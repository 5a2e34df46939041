"""
Plays one trial and looks at what came of it, from both sides: what the client got, and what the gateway says it did.

Raises `AssertionError` for anything that is not as the catalogue has it.
"""

import asyncio
import contextlib
import json
import zlib
from typing import Any

import openai
import orjson

from proxy.core.errors import KINDS
from tests.rigs.clock import at_most
from tests.rigs.node import run_scenario

from ..wire import QUESTION, Response, ask, connect, parse_head, request
from .words import Cut, Error, First, Refusal, Second, Trial
from .world import BACKUP, KEY, PROVIDER_KEY, World

LEAKS = (b"FIRST", b"Simulated", b"cloudflare", b"<html", KEY.encode(), PROVIDER_KEY.encode(), b"127.0.0.1")
"""What no error of ours and no answer of another provider may hold."""
AUTH = f"X-API-Key: {KEY}\r\n"


def question(trial: Trial, model: str) -> bytes:
    """The request's body."""
    fields: dict[str, Any] = {"model": model, "messages": QUESTION, "stream": trial.stream}
    if trial.case.path == "/v1/responses":
        fields["input"] = fields.pop("messages")
    if trial.case.path == "/v1/messages":
        fields["max_tokens"] = 100
    return json.dumps({**fields, **trial.case.body}, separators=(",", ":")).encode()


def asked(trial: Trial) -> bytes:
    """The request as it is sent."""
    return request(trial.case.path, question(trial, trial.key), head=f"{AUTH}X-Request-ID: {trial.key}\r\n")


async def play(world: World, trial: Trial) -> None:
    """Play it."""
    if trial.client == "wire":
        await _on_the_wire(world, trial)
    elif trial.client == "python":
        await _with_python(world, trial)
    else:
        _as_node_saw(world, trial)
        return
    await _told(world, trial)


async def _on_the_wire(world: World, trial: Trial) -> None:
    expected, port = trial.expected, world.gateways[trial.gateway].port
    if isinstance(expected, Cut):
        await _cut(world, trial, expected)
        return
    answer = await ask(port, asked(trial))
    if isinstance(expected, Second):
        assert (answer.status, answer.header("x-hapax-provider")) == (200, "second"), answer
        assert answer.body == await _direct(world, "second", trial, BACKUP.partition("/")[2])
        assert not any(word in _everything(answer) for word in LEAKS)
        assert len(world.second.of(trial.key)) == 1
    elif isinstance(expected, First):
        assert (answer.status, answer.header("x-hapax-provider")) == (200, trial.key), answer
        assert answer.body == await _direct(world, "upstream", trial, trial.model)
        assert not answer.names & {"set-cookie", "server", "alt-svc", "strict-transport-security", "x-foo", "cf-ray"}
    elif isinstance(expected, Refusal):
        assert answer.status == expected.status
        error = answer.json["error"]
        assert error["code"] == expected.code
        assert error["message"]
        assert type(error["type"]) is str
        assert not any(word in _everything(answer) for word in (KEY.encode(), PROVIDER_KEY.encode()))
    else:
        _one_error(answer, expected)
    if not isinstance(expected, Second):
        assert world.second.of(trial.key) == []


def _one_error(answer: Response, expected: Error) -> None:
    assert (answer.status, answer.code) == (expected.status, expected.code), answer
    error = answer.json["error"]
    assert set(error) == {"message", "type", "param", "code", "request_id", "details"}
    assert error["request_id"] == answer.header("x-request-id")
    if error["message"] != KINDS[expected.code].message:
        # The provider told why in an error object; its words are the message, and nothing else here is its own.
        assert expected.code not in ("upstream_auth_error", "insufficient_quota"), answer
        body = answer.body.replace(orjson.dumps(error["message"]), b"")
    else:
        body = answer.body
    assert not any(word in body for word in LEAKS), answer
    assert PROVIDER_KEY.encode() not in answer.body
    waiting = answer.header("retry-after")
    if expected.wait is None:
        assert (waiting, answer.header("retry-after-ms")) == (None, None)
    else:
        assert waiting is not None
        assert expected.wait[0] <= int(waiting) <= expected.wait[1]
        assert int(answer.header("retry-after-ms") or 0) <= int(waiting) * 1000
    assert answer.header("x-should-retry") == ("false" if expected.final else None)


async def _cut(world: World, trial: Trial, expected: Cut) -> None:
    """Whole events as the provider sent them, one error event, and no mark of a good end."""
    async with connect(world.gateways[trial.gateway].port) as wire:
        wire.send(asked(trial))
        status, headers = parse_head(await wire.until(b"\r\n\r\n"))
        received, how = await wire.to_end()
    assert (status, how) == (200, "fin")
    assert dict(headers)["X-Hapax-Provider"] == trial.key
    body, ended = _unchunked(received)
    assert not ended, "the terminating chunk"
    assert b"[DONE]" not in body
    *passed, last = events(body)
    error = json.loads(last.partition(b"data: ")[2])["error"]
    assert world.second.of(trial.key) == []
    sent = events(await _direct(world, "upstream", trial, trial.model))
    if expected.announced:
        assert [*passed, last] == sent
        return
    assert error["code"] == expected.code
    assert error["request_id"] == trial.key
    assert passed
    if len(body) > 65536:
        # An event that was too long to be held has begun to pass, and was closed off.
        *passed, half = passed
        assert sent[len(passed)].startswith(half.removesuffix(b"\n\n"))
    assert passed == sent[: len(passed)], "events that came are passed on as they are"
    if len(body) <= 65536:
        assert len(passed) == len([event for event in sent if event.endswith(b"\n\n")]), "none is lost"


async def _with_python(world: World, trial: Trial) -> None:
    client, expected = world.python(trial.gateway), trial.expected
    pieces = 0
    try:
        answer = await client.chat.completions.create(
            model=trial.key,
            messages=QUESTION,  # type: ignore[arg-type]
            stream=trial.stream,
            extra_body=dict(trial.case.body),
            extra_headers={"X-Request-ID": trial.key},
        )
        if isinstance(answer, openai.AsyncStream):
            async for chunk in answer:
                pieces += any(choice.delta.content for choice in chunk.choices)
        else:
            pieces = len(answer.choices)
    except openai.APIError as error:
        _raised(trial, error, pieces)
        return
    assert isinstance(expected, First), "the SDK raised nothing"
    assert pieces


def _raised(trial: Trial, error: openai.APIError, pieces: int) -> None:
    expected = trial.expected
    if isinstance(error, openai.APIStatusError):
        assert isinstance(expected, Error | Refusal), error
        assert (error.status_code, error.code) == (expected.status, expected.code)
        assert error.request_id == trial.key
    else:
        assert isinstance(expected, Cut), error
        assert pieces
        assert error.code == ("server_error" if expected.announced else expected.code)


async def ask_node(world: World, found: list[Trial]) -> None:
    """One run of Node for all trials with that SDK."""
    gateway = world.main
    calls = {
        trial.key: {"model": trial.key, "stream": trial.stream, **trial.case.body}
        for trial in found
        if trial.client == "node"
    }
    world.node = await run_scenario("faults", timeout=200, base_url=gateway.base_url, api_key=KEY, calls=calls)


def _as_node_saw(world: World, trial: Trial) -> None:
    seen, expected = world.node[trial.key], trial.expected
    if isinstance(expected, First):
        assert seen["class"] == "no error", seen
    elif isinstance(expected, Cut):
        assert seen["class"] == "APIError", seen
        assert seen["pieces"], seen
        assert seen["code"] == ("server_error" if expected.announced else expected.code)
    else:
        assert isinstance(expected, Error | Refusal)
        assert (seen["status"], seen["code"]) == (expected.status, expected.code), seen
        assert seen["request_id"]


async def _told(world: World, trial: Trial) -> None:
    """What the gateway says of it, and that it holds on to nothing."""
    gateway, expected, case = world.gateways[trial.gateway], trial.expected, trial.case
    trail = await gateway.trail(trial.key)
    outcome = {Error: "failed", Refusal: "refused", Cut: "cut", First: "ok", Second: "ok"}[type(expected)]
    assert trail["outcome"] == outcome, trail
    first = trail["attempts"][0]
    if isinstance(expected, First | Refusal):
        assert [attempt["failure"] for attempt in trail["attempts"]] == [case.fault]
    elif isinstance(expected, Second):
        assert isinstance(case.alone, Error | Refusal)
        beside = trail["hedged"] and first["failure"] == ""
        assert beside or first["failure"] == (case.fault or case.alone.code), trail
    else:
        assert first["failure"] == (case.fault or expected.code), trail
    world.played[trial] = bool(trail["hedged"])
    if case.at == "upstream" and case.gone:
        for record in world.upstream.of(trial.key):
            async with asyncio.timeout(at_most(2)):
                await record.closed()


async def blamed(world: World) -> list[str]:
    """The trials after which a provider is blamed that should not be, or the other way round."""
    wrong = []
    for name, gateway in world.gateways.items():
        states = (await gateway.admin("providers"))["providers"]
        for trial, hedged in world.played.items():
            # One that was only slow loses to its hedge and is not blamed.
            if trial.gateway != name or hedged:
                continue
            blameless = trial.case.blameless or isinstance(trial.expected, First | Refusal)
            if (states[trial.key]["failed_attempts"] == 0) != blameless:
                wrong.append(str(trial))
    return wrong


async def _direct(world: World, upstream: str, trial: Trial, model: str) -> bytes:
    """The plain body of the same call without a gateway, as far as it comes."""
    key = (upstream, question(trial, model))
    if key not in world.references:
        body, coding = await _raw(world, upstream, trial, model)
        world.references[key] = zlib.decompressobj(31).decompress(body) if coding == "gzip" else body
    return world.references[key]


async def _raw(world: World, upstream: str, trial: Trial, model: str) -> tuple[bytes, str]:
    """What that upstream sends as a body, as far as it does, and its coding."""
    async with connect(world.upstreams[upstream].port) as wire:
        wire.send(request(trial.case.path, question(trial, model), head="Connection: close\r\n"))
        received = b""
        data = b" "
        with contextlib.suppress(ConnectionResetError, TimeoutError):
            async with asyncio.timeout(2 if trial.case.timed else 30):
                while data and not _over(received):
                    data = await wire.reader.read(65536)
                    received += data
    while received.startswith(b"HTTP/1.1 1"):
        received = received.partition(b"\r\n\r\n")[2]
    head, _, body = received.partition(b"\r\n\r\n")
    lines = dict(line.lower().split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:])
    if lines.get("transfer-encoding") == "chunked":
        body = _unchunked(body)[0]
    elif "content-length" in lines:
        body = body[: int(lines["content-length"])]
    return body, lines.get("content-encoding", "")


def _over(received: bytes) -> bool:
    return received.endswith(b"\r\n0\r\n\r\n") or b"[DONE]\n\n\r\n" in received[-200:]


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    """What came in chunks, also of one that broke off, and whether the last chunk came."""
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        try:
            length = int(size, 16)
        except ValueError:
            return body, False
        if not length:
            return body, True
        body += data[:length]
        data = data[length + 2 :]
    return body, False


def events(stream: bytes) -> list[bytes]:
    """A stream's events with their blank lines; the last may lack its own."""
    return [event for event in stream.replace(b"\n\n", b"\n\n\0").split(b"\0") if event]


def _everything(answer: Response) -> bytes:
    return answer.body + b"".join(f"{name}: {value}\n".encode() for name, value in answer.headers)
