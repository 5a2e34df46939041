"""
No byte of one stream appears in another.

A thousand streams at once, each of which says nothing but its own number; some clients leave, some providers fail, and
whatever is tried again is tried beside all the others.
"""

import asyncio
import json
import random
import re
from collections import Counter

from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.simulator import Simulator

from .wire import Wire, calls, connect, request, target

STREAMS = 1000
WORDS = 10
MARKER = re.compile(rb"<\d+>")
WAYS = (
    "",
    "status=503,share=0.5",
    "rst@1,share=0.5",
    "end@1,share=0.5",
    "error@1,share=0.5",
    "rst@5,share=0.5",
    "fin@6,share=0.5",
    "error@7,share=0.5",
    "stall@1=300ms",
    "segment=50",
    "comments",
    "crlf",
)
"""What the providers do to the streams: nothing, failures before and after the first content, odd timing and form."""


async def test_of_a_thousand_streams_none_shows_a_byte_of_another(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(
        {
            "providers": {"first": target(simulator), "second": target(backup)},
            "models": {"sim-*": {"balance": "round_robin"}},
            "failover": {"budget": 1},
            "circuit_breaker": {"failure_threshold": STREAMS},
        }
    )
    rng = random.Random(1)
    seen: Counter[str] = Counter()
    async with asyncio.TaskGroup() as group:
        for number in range(STREAMS):
            leaves = rng.uniform(0.0, 1.5) if rng.random() < 0.2 else None
            group.create_task(one(running, number, rng.choice(WAYS), leaves, seen))

    asked = len(calls(simulator)) + len(calls(backup))
    print(f"\n{STREAMS} streams, {seen['at once']} at once, {asked} attempts, 0 foreign bytes: {dict(seen)}")
    assert seen["at once"] > 0.9 * STREAMS
    assert asked > STREAMS
    assert min(seen["whole"], seen["cut"], seen["left"]) > 50
    await running.listener.gateway.under_way.idle.wait()
    for provider in ("first", "second"):
        assert running.metric("hapax_provider_in_flight", provider=provider) == 0


async def one(running: RunningGateway, number: int, way: str, leaves: float | None, seen: Counter[str]) -> None:
    """One stream; its client leaves after so many seconds, or stays."""
    marker = f"<{number}>"
    model = "sim-echo:pace=150ms" + (f",{way}" if way else "")
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": " ".join([marker] * WORDS)}]}
    async with connect(running.port) as wire:
        wire.send(request("/v1/chat/completions", body, head="Connection: close\r\n"))
        received, left = await read(wire, leaves)
        seen["at once"] = max(seen["at once"], running.listener.gateway.under_way.count)
    assert set(MARKER.findall(received)) <= {marker.encode()}, f"stream {number} ({way}) was told of others"
    if left:
        seen["left"] += 1
    elif b"\r\n0\r\n\r\n" in received:
        assert said(received) == " ".join([marker] * WORDS)
        seen["whole"] += 1
    elif b"HTTP/1.1 200" in received:
        assert " ".join([marker] * WORDS).startswith(said(received))
        assert b'"error"' in received
        seen["cut"] += 1
    else:
        assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]
        seen["failed"] += 1


async def read(wire: Wire, leaves: float | None) -> tuple[bytes, bool]:
    """What came, and whether the client left before its end."""
    received = b""
    try:
        async with asyncio.timeout(leaves):
            while data := await wire.reader.read(65536):
                received += data
    except TimeoutError:
        return received, True
    return received, False


def said(received: bytes) -> str:
    """The text of a stream, as far as whole events of it came."""
    text = b""
    rest = received.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        text += rest[:length]
        rest = rest[length + 2 :]
    events = [line[6:] for line in text.splitlines() if line.startswith(b"data: {")]
    chunks = [json.loads(event) for event in events]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk.get("choices", ()))
