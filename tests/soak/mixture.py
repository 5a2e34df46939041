"""
A mixture of calls: every dialect whole and streamed, failures, failover, resumed answers, refusals, clients that leave.

Each kind knows how it is asked and what its client sees; what its row in the ledger has to say is judged in `books`.
"""

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.rigs.simulator import Simulator
from tests.spec.wire import Response, Wire, connect, request, target

WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")
PATIENCE = 30.0
"""Seconds one call may take on a machine that does other things as well."""
UNKNOWN_KEY = "hpx_nobody_k3q8v2x7m5w9"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of call."""

    name: str
    share: int
    path: str = "/v1/chat/completions"
    model: str = "sim-fast"
    fields: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    broken: bool = False
    """The answer does not end as it should, and the connection with it."""
    leaves: bool = False
    """Its client goes away at a random point."""
    asks: str = "messages"
    """The field the question stands in."""
    key: str = ""
    """A key of its own instead of one of those that take turns."""

    @property
    def streamed(self) -> bool:
        return bool(self.fields.get("stream"))

    def body(self, rng: random.Random) -> bytes:
        """A question of it."""
        text = " ".join(rng.choices(WORDS, k=rng.choice((1, 3, 9, 27))))
        asked: Any = [{"role": "user", "content": text}] if self.asks == "messages" else text
        return json.dumps({"model": self.model, self.asks: asked, **self.fields}).encode()


STREAM: dict[str, Any] = {"stream": True}
LEFT_STREAM = "sim-1:tokens=60,pace=1ms"
KINDS = (
    Kind("chat", 12),
    Kind("chat, streamed", 12, fields=STREAM),
    Kind("chat, streamed, asks for usage", 5, fields={**STREAM, "stream_options": {"include_usage": True}}),
    Kind("chat, two choices", 3, fields={"n": 2}),
    Kind("chat, two choices, streamed", 3, fields={"n": 2, "stream": True}),
    Kind("chat, at most five tokens", 3, fields={"max_tokens": 5}),
    Kind("completion", 3, "/v1/completions", asks="prompt"),
    Kind("completion, streamed", 3, "/v1/completions", fields=STREAM, asks="prompt"),
    Kind("response", 3, "/v1/responses", asks="input"),
    Kind("response, streamed", 3, "/v1/responses", fields=STREAM, asks="input"),
    Kind("message", 3, "/v1/messages", fields={"max_tokens": 100}),
    Kind("message, streamed", 3, "/v1/messages", fields={"max_tokens": 100, "stream": True}),
    Kind("embedding", 3, "/v1/embeddings", "sim-embed", asks="input"),
    Kind("native", 3, "/v1/completion", asks="input"),
    Kind("failover", 4, model="flaky"),
    Kind("failover, streamed", 4, model="flaky", fields=STREAM),
    Kind("every attempt failed", 3, model="sim-fault:status=500", status=502),
    Kind("every attempt was reset", 2, model="sim-fault:rst", status=502),
    Kind("refused by the provider", 3, model="sim-fault:status=400", status=400),
    Kind("no such model", 2, model="nobody/has-it", status=404),
    Kind("no usage told", 2, model="sim-fault:usage=none"),
    Kind("no usage told, streamed", 2, model="sim-fault:usage=none", fields=STREAM),
    Kind("cut", 3, model="sim-fault:fin@5", fields=STREAM, broken=True),
    Kind("cut message", 2, "/v1/messages", "sim-fault:fin@6", {"max_tokens": 100, "stream": True}, broken=True),
    Kind("resumed", 4, model="breaks", fields=STREAM),
    Kind("resumed from the beginning", 3, model="breaks-anew", fields=STREAM),
    Kind("client leaves a stream", 6, model=LEFT_STREAM, fields=STREAM, leaves=True),
    Kind("client leaves before the answer", 2, model="sim-fast:headers=20ms", leaves=True),
    Kind("over its limit", 2, key="hpx_once_k3q8v2x7m5w9", status=429),
    Kind("unknown key", 1, key=UNKNOWN_KEY, status=401),
)
UNADMITTED = (401, 429)
"""Statuses of calls that never were admitted, in this mixture."""


@dataclass(slots=True)
class Asked:
    """One call as its client saw it."""

    id: str
    kind: Kind
    key: str
    body: bytes
    status: int = 0
    """0 when its client left before there was any."""
    shared: bool = False
    """It was answered with what an identical call under way was."""
    pieces: int = 0
    """Of a stream that its client left: pieces of content it had read by then."""
    text: bytes = b""
    """What else came, to look at when something is wrong."""


def settings(one: Simulator, two: Simulator, keys: Sequence[str]) -> dict[str, Any]:
    """Two providers, models that fail over and that are continued, and budgets in tokens for *keys*."""
    budget = {"tokens": 10**12, "per": "month"}
    return {
        "providers": {
            "one": target(one),
            "two": target(two),
            "anew": target(two, models=["restarts"], prefill=False),
        },
        "models": {
            "flaky": {"targets": ["one/sim-fault:status=503", "two/sim-fast"]},
            "breaks": {"targets": ["one/sim-fault:fin@5", "two/sim-fast"], "resume": True},
            "breaks-anew": {"targets": ["one/sim-fault:fin@9", "anew/sim-fast:restart"], "resume": True},
        },
        "auth": {
            "keys": [
                *({"name": f"k{i}", "key": key, "budget": budget} for i, key in enumerate(keys)),
                {"name": "once", "key": "hpx_once_k3q8v2x7m5w9", "limits": {"requests_per_minute": 1}},
            ],
            "admin_key": ADMIN,
        },
        "failover": {"retries": 2, "initial_delay": "1ms", "max_delay": "1ms", "budget": 1.0},
        # What fails here fails on purpose, and shall go on to be asked.
        "circuit_breaker": {"failure_threshold": 1_000_000_000, "interval": "1ms"},
        "health_check": {"enabled": False},
    }


ADMIN = "hpx_admin_k3q8v2x7m5w9"


async def play(
    port: int, keys: Sequence[str], count: int, rng: random.Random, prefix: str, clients: int
) -> list[Asked]:
    """*count* calls by so many *clients* at once; their ids begin with *prefix*."""
    shares = [kind.share for kind in KINDS]
    # Every kind once, and then by their shares.
    kinds = [*KINDS, *rng.choices(KINDS, shares, k=max(0, count - len(KINDS)))][:count]
    calls = [Asked(f"{prefix}-{i}", kind, kind.key or rng.choice(keys), kind.body(rng)) for i, kind in enumerate(kinds)]
    rng.shuffle(calls)
    waiting = iter(calls)

    async def client() -> None:
        async with _Line(port) as line:
            for asked in waiting:
                await _ask(line, asked, rng)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return calls


async def begin(port: int, keys: Sequence[str], prefix: str) -> tuple[list[Asked], int]:
    """
    One call with each key, asked again while its budget cannot be looked up; and how often that was so. What was spent
    before a process began is read from the ledger within moments, or the call is sent away, which is no part of the
    mixture.
    """
    rng = random.Random(len(keys))
    calls, again = [], 0
    for i, key in enumerate(keys):
        asked = Asked(f"{prefix}-{i}", KINDS[0], key, KINDS[0].body(rng))
        async with asyncio.timeout(PATIENCE), _Line(port) as line:
            while asked.status in (0, 503):
                again += asked.status == 503
                await _ask(line, asked, rng)
        calls.append(asked)
    return calls, again


class _Line:
    """A connection that is made again when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._opened: Any = None

    async def __aenter__(self) -> "_Line":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drop()

    async def wire(self) -> Wire:
        if self._opened is None:
            self._opened = connect(self._port)
            self._wire = await self._opened.__aenter__()
        return self._wire

    async def drop(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.__aexit__(None, None, None)


async def _ask(line: _Line, asked: Asked, rng: random.Random) -> None:
    kind = asked.kind
    head = f"X-API-Key: {asked.key}\r\nX-Request-ID: {asked.id}\r\n"
    wire = await line.wire()
    async with asyncio.timeout(PATIENCE):
        if kind.leaves:
            wire.send(request(kind.path, asked.body, head=head))
            await _leave(wire, asked, rng)
            await line.drop()
        elif kind.broken:
            wire.send(request(kind.path, asked.body, head=head + "Connection: close\r\n"))
            received, _ = await wire.to_end()
            asked.status, asked.text = int(received[9:12]), received
            await line.drop()
        else:
            wire.send(request(kind.path, asked.body, head=head))
            answer: Response = await wire.response()
            asked.status, asked.text = answer.status, answer.body
            asked.shared = answer.header("x-hapax-deduplicated") == "true"
            if answer.header("connection") == "close":
                await line.drop()


async def _leave(wire: Wire, asked: Asked, rng: random.Random) -> None:
    """Go away: at once, after a moment, or in the middle of a stream."""
    if not asked.kind.streamed:
        # The moment itself is what is drawn here.
        await asyncio.sleep(rng.choice((0.0, 0.002, 0.01, 0.019, 0.02, 0.021)))
        return
    wanted = rng.choice((0, 1, 2, 10, 30, 58, 59, 60, 61))
    received = b""
    while wanted and received.count(b'"content":') < wanted:
        data = await wire.reader.read(65536)
        if not data:
            break
        received += data
        # The last word of a stream, or no stream at all: a client that reads on would wait for the next answer.
        if b"[DONE]" in received or not received.startswith(b"HTTP/1.1 200"):
            break
    if received:
        asked.status, asked.text = int(received[9:12]), received
    # The first chunk says who speaks, with no content.
    asked.pieces = max(0, received.count(b'"content":') - received.count(b'"content":""'))
