"""
Plays a case: providers of literal bytes, a gateway between, and a client that takes the steps in order.

The form of configuration, providers and client is that of `cases.json`. Waits do not pass: the gateway's clock is set
forward instead.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from proxy.core import clock
from tests.conftest import GatewayFactory, RunningGateway
from tests.field.provider import Asked, Provider

PATIENCE = 30.0
"""Seconds after which something that should have come long ago is taken as missing."""
Play = Callable[..., Awaitable["Played"]]


@dataclass
class Got:
    """What the client got in one step: the last answer, where the step was repeated."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    whole: bool
    """It ended as its framing announced; a body without any framing never does."""
    messages: list[Any] = field(default_factory=list)
    """What came on a WebSocket after the upgrade."""
    closed: tuple[int, str] | None = None
    """Code and reason with which the WebSocket was closed; None where it was not."""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error it is, in OpenAI's shape."""
        error = self.json["error"]
        assert isinstance(error, dict), self.body
        assert type(error["message"]) is str, self.body
        assert error["message"], self.body
        assert type(error["type"]) is str, self.body
        assert {"param", "code"} <= error.keys(), self.body
        return error

    @property
    def events(self) -> list[bytes]:
        """The data of each event of a stream."""
        events = self.body.replace(b"\r\n", b"\n").split(b"\n\n")
        lines = [[line for line in each.split(b"\n") if line.startswith(b"data:")] for each in events]
        return [b"\n".join(line[5:].strip() for line in each) for each in lines if each]


@dataclass
class Played:
    """A case that has been played."""

    providers: dict[str, Provider]
    gateway: RunningGateway
    got: dict[str, Got]
    since: dict[str, dict[str, int]]
    """By step: how many calls each provider had seen before it."""

    def __getitem__(self, step: str) -> Got:
        return self.got[step]

    def asked(self, provider: str, step: str | None = None) -> list[Asked]:
        """What *provider* was asked for clients' sake, in one step or in all."""
        calls = self.providers[provider].calls()
        if step is None:
            return calls
        steps = list(self.since)
        after = steps[steps.index(step) + 1 :]
        return calls[self.since[step][provider] : self.since[after[0]][provider] if after else None]


@pytest.fixture
async def play(gateway: GatewayFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Play]:
    """`await play(configuration, providers, client)`; `Played` tells what came of it."""
    started: list[Provider] = []
    ahead = 0.0
    real = clock.now

    def pass_time(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds
        monkeypatch.setattr(clock, "now", lambda: real() + ahead)

    async def run(configuration: dict[str, Any], providers: dict[str, Any], client: list[dict[str, Any]]) -> Played:
        scripted = {name: Provider(script) for name, script in providers.items()}
        for each in scripted.values():
            await each.start()
            started.append(each)
        settings = filled(configuration, {**{name: each.url for name, each in scripted.items()}, "tmp": str(tmp_path)})
        if "interval" in settings.get("health_check", {}):
            settings["health_check"]["interval"] = "50ms"
        running = await gateway(settings)
        async with asyncio.timeout(PATIENCE):
            await running.listener.gateway.checks.known.wait()
        played = Played(scripted, running, {}, {})
        for step in client:
            if "wait" in step:
                await _probed(scripted) if step.get("why") == "three probes" else pass_time(step["wait"])
            elif "from_now_on" in step:
                await _turn(scripted[step["provider"]], step["from_now_on"])
            else:
                played.since[step["step"]] = {name: len(each.calls()) for name, each in scripted.items()}
                await _take(played, step, pass_time)
        return played

    yield run
    for each in started:
        await each.stop()


def filled(value: Any, places: dict[str, str]) -> Any:
    """*value* with `{name}` in its texts replaced."""
    if isinstance(value, dict):
        return {key: filled(each, places) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, places) for each in value]
    if isinstance(value, str):
        for name, place in places.items():
            value = value.replace("{" + name + "}", place)
    return value


async def _probed(providers: dict[str, Provider]) -> None:
    """Until each provider has been probed three times more."""
    targets = {each: len(each.requests) - len(each.calls()) + 3 for each in providers.values()}
    async with asyncio.timeout(PATIENCE):
        while any(len(each.requests) - len(each.calls()) < wanted for each, wanted in targets.items()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def _turn(provider: Provider, words: str) -> None:
    if words == "refuses connections":
        await provider.stop()
        return
    provider.behave(words)
    if provider._server is None:
        await provider.start()


async def _take(played: Played, step: dict[str, Any], pass_time: Callable[[float], None]) -> None:
    name = step["step"]
    ids = {f"id:{name}": str(_id_of(got)) for name, got in played.got.items()}
    if "websocket" in step:
        from tests.field.websocket import talk

        played.got[name] = await talk(played.gateway.port, filled(step, ids))
        return
    data = request_bytes(filled(step, ids), played.gateway.port)
    if name == "ledger":
        played.got[name] = await _rows(played.gateway.port, data)
        return
    for _ in range(10 if "repeat" in step else 1):
        played.got[name] = got = await exchange(played.gateway.port, data)
        if "repeat" not in step or (got.status == 200 and played.asked("a", name)):
            break
        pass_time(1.0)


async def _rows(port: int, data: bytes) -> Got:
    """The answer to a question for usage once there is some."""
    async with asyncio.timeout(PATIENCE):
        while not (got := await exchange(port, data)).json.get("lines"):  # noqa: ASYNC110 - no event tells of rows
            await asyncio.sleep(0.01)
    return got


def _id_of(got: Got) -> Any:
    try:
        return got.json.get("id")
    except (ValueError, AttributeError):
        return None


def request_bytes(step: dict[str, Any], port: int) -> bytes:
    """A step's request as it goes over the wire."""
    method, target = step["request"].split(" ", 1)
    body = step.get("body")
    kind = step.get("content_type", "application/json")
    if isinstance(body, list):
        payload = b"".join(
            each.encode("latin-1") if isinstance(each, str) else each["repeat"].encode("latin-1") * each["times"]
            for each in body
        )
    else:
        payload = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    headers = [(name, value) for name, value in step.get("headers", [])]
    if not any(name.lower() == "host" for name, _ in headers):
        headers.insert(0, ("Host", f"127.0.0.1:{port}"))
    if "authorization" in step:
        headers.append(("Authorization", step["authorization"]))
    if body is not None:
        headers.append(("Content-Type", kind))
    if body is not None or method in ("POST", "PUT", "PATCH"):
        headers.append(("Content-Length", str(len(payload))))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + payload


async def exchange(port: int, data: bytes) -> Got:
    """The answer to one request on a connection of its own, however it ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**26)
    try:
        writer.write(data)
        async with asyncio.timeout(PATIENCE):
            return await read_answer(reader, data.split(b" ", 1)[0].decode())
    finally:
        writer.transport.abort()


async def read_answer(reader: asyncio.StreamReader, method: str) -> Got:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    got = Got(
        int(start.split(" ", 2)[1]),
        [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)],
        b"",
        False,
    )
    if method == "HEAD" or got.status in (101, 204, 304):
        got.whole = True
        return got
    try:
        if got.header("transfer-encoding") == "chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                got.body += (await reader.readexactly(size + 2))[:-2]
            got.whole = await reader.readexactly(2) == b"\r\n"
        else:
            got.body = await reader.readexactly(int(got.header("content-length") or 0))
            got.whole = True
    except (asyncio.IncompleteReadError, ConnectionResetError, ValueError) as error:
        if isinstance(error, asyncio.IncompleteReadError):
            got.body += error.partial
    return got
