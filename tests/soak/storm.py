"""
A storm: a thousand calls in the same moment, some of whose clients leave at once, some while they wait, some midway.

It only asks; what must be left of it afterwards, which is nothing, is for its tests to say.
"""

import asyncio
import random
from collections import Counter
from typing import Any

from tests.rigs.simulator import Simulator
from tests.spec.wire import connect, target

from .bursts import question

KEY, FEW = "hpx_storm_k3q8v2x7m5w9", "hpx_few_k3q8v2x7m5w9"
"""A key, and one that may have few calls at once."""
PATIENCE = 30.0
"""Seconds until the last of them has its answer."""
GONE = 0
"""What counts as the status of a call whose client left before it had one."""


def settings(simulator: Simulator) -> dict[str, Any]:
    """A queue, limits of every kind and budgets: few calls run, some more wait, most are sent away."""
    budget = {"tokens": 10**9, "per": "month"}
    keys = [
        {"name": "storm", "key": KEY, "limits": {"tokens_per_minute": 10**9}, "budget": budget},
        {"name": "few", "key": FEW, "limits": {"concurrent": 40}, "budget": budget},
    ]
    return {
        "providers": {"sim": target(simulator)},
        "auth": {"keys": keys},
        "queue": {"enabled": True, "max_running": 20, "initial_size": 100, "max_wait": "300ms"},
        "health_check": {"enabled": False},
    }


async def blow(port: int, calls: int, rng: random.Random) -> Counter[int]:
    """How many calls were answered with which status."""
    statuses: Counter[int] = Counter()
    connected = asyncio.Barrier(calls)

    async def call(patience: float | None, midway: bool, asked: bytes) -> None:
        status = GONE
        async with connect(port) as wire:
            await connected.wait()
            wire.send(asked)
            try:
                async with asyncio.timeout(patience or PATIENCE):
                    head = await wire.reader.readuntil(b"\r\n\r\n")
                    if midway and b"chunked" in head.lower():
                        raise TimeoutError
                    await wire.reader.readuntil(b"\r\n0\r\n\r\n" if b"chunked" in head.lower() else b"}")
                    status = int(head[9:12])
            except TimeoutError:
                assert patience is not None or midway, "a call was never answered"
        statuses[status] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(calls):
            patience = rng.choice((None, None, None, 0.1, 0.5, 1.0))
            stream = rng.random() < 0.5
            asked = question(
                rng.choice((KEY, FEW)),
                "sim-1:tokens=20,pace=20ms",
                stream=stream,
                max_tokens=rng.choice((20, 500)),
            )
            group.create_task(call(patience, rng.random() < 0.3, asked))
    return statuses
