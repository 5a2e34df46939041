"""What the client tests share: a gateway before one upstream, how to ask for faults, how to read a stream."""

import asyncio
import json
from typing import Any

import aiohttp

from tests.rigs.simulator import Request, Simulator

KEY = "sk-client-of-the-tests"  # what clients show to the gateway; no upstream may ever see it
PROVIDER_KEY = "sk-provider-of-the-tests"  # what the gateway shows to the upstream
MODEL = "sim-fast"  # the model of the simulator that does not dawdle


def settings(base_url: str, *, api_key: str = PROVIDER_KEY, targets: int = 1, **sections: Any) -> dict[str, Any]:
    """Settings of a gateway with one client key, before one upstream that is configured as so many providers."""
    provider = {"type": "compatible", "base_url": base_url, "api_key": api_key, "models": ["*"]}
    return {
        "providers": {f"upstream-{number}": provider for number in range(1, targets + 1)},
        "auth": {"keys": [{"name": "tests", "key": KEY}]},
        "failover": {"retries": 2},
        "health_check": {"enabled": False},
        **sections,
    }


async def models_known(base_url: str) -> str:
    """The same URL, once the gateway behind it knows its models: it fetches their lists in the background."""
    async with (
        asyncio.timeout(30),
        aiohttp.ClientSession(base_url + "/", headers={"Authorization": f"Bearer {KEY}"}) as session,
    ):
        while True:
            async with session.get("models") as response:
                if (await response.json())["data"]:
                    return base_url


def asking(*directives: str) -> str:
    """The model name by which the simulator is asked for a shape or a fault; docs/simulator.md has the words."""
    return f"{MODEL}:" + ",".join(directives)


def calls(simulator: Simulator) -> list[Request]:
    """What clients asked the simulator for; the gateway's own GET of the model list is not among it."""
    return [request for request in simulator.ledger if request.method == b"POST"]


async def first_call(simulator: Simulator) -> Request:
    """The first call of a client, once it has arrived."""
    while not (seen := calls(simulator)):
        await simulator.seen(simulator.ledger.seen + 1)
    return seen[0]


async def ended_by_client(call: Request) -> bool:
    """Whether the gateway left this call before its answer was over; waits until one of them has gone."""
    async with asyncio.timeout(30):
        ending = await call.closed()
    return ending in ("client", "reset") and not call.finished


def chat_text(stream: str) -> str:
    """The text that the deltas of a chat stream add up to."""
    events = [event.removeprefix("data: ") for event in stream.split("\n\n") if event.startswith("data: {")]
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
