"""
Bursts: many calls of one key at the same moment over several processes, counted by what became of them.

The connections are made before and used again, so that a burst is as sudden as it can be.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from proxy.core.usage import estimate
from tests.spec.wire import Response, Wire, bearing, connect, request


@dataclass(frozen=True, slots=True)
class Burst:
    """What became of one."""

    admitted: int
    refused: int
    seconds: float
    """From the first question to the last answer."""
    others: Sequence[Response]
    """Answers that are neither good nor a refusal by a limit."""


class Lines:
    """Connections to several processes, taking turns."""

    def __init__(self, ports: Sequence[int], count: int) -> None:
        self._ports = ports
        self._count = count
        self._opened = AsyncExitStack()
        self.wires: list[Wire] = []

    async def __aenter__(self) -> "Lines":
        for i in range(self._count):
            port = self._ports[i % len(self._ports)]
            self.wires.append(await self._opened.enter_async_context(connect(port)))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    async def burst(self, question: bytes) -> Burst:
        """Ask *question* on every connection at once, and wait for all answers."""
        began = time.monotonic()
        for wire in self.wires:
            wire.send(question)
        answers = await asyncio.gather(*(wire.response() for wire in self.wires))
        seconds = time.monotonic() - began
        admitted = sum(answer.status == 200 for answer in answers)
        refused = sum(answer.status == 429 for answer in answers)
        return Burst(admitted, refused, seconds, [answer for answer in answers if answer.status not in (200, 429)])


def question(key: str, model: str = "sim-fast", *, id: str = "", **fields: Any) -> bytes:
    """A small chat; *id* becomes its request id."""
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **fields}
    return request("/v1/chat/completions", body, head=bearing(key) + (f"X-Request-ID: {id}\r\n" if id else ""))


ANSWER = 5
"""Tokens of the answer to `exact_question`."""


def exact_question(key: str) -> tuple[bytes, int]:
    """A chat that uses exactly what is reserved for it, and how many tokens that is."""
    words = 1
    while True:
        text = " ".join("a" * words)
        body = {
            "model": f"sim-fast:tokens={ANSWER}",
            "messages": [{"role": "user", "content": text}],
            "max_tokens": ANSWER,
        }
        payload = json.dumps(body).encode()
        if estimate(len(payload)) == words:
            return request("/v1/chat/completions", payload, head=bearing(key)), words + ANSWER
        words += 1
