"""
Proofs that processes which share limits over Redis admit exactly what one would: no call more and, in the end, no less.

Each repetition has a key of its own, so that none finds what another left.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.rigs.clock import ON_TIME, at_most
from tests.rigs.cluster import Cluster
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask, calls, get, target

from .bursts import Lines, exact_question, question

PROCESSES = 4
LIMIT = 100
ASKED = 200
RETURNED_WITHIN = at_most(2.0)
"""Seconds in which what a call of one process gave back is there for the others."""


@dataclass(slots=True)
class Admissions:
    """What the repetitions came to."""

    admitted: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    in_the_burst: list[int] = field(default_factory=list)
    """Of a budget: calls admitted at once."""
    late: int = 0
    """Repetitions that lasted long enough for a minute's limit to let one more in, and did."""

    apart: int = 0
    """Repetitions that say nothing: the machine was so busy that a process decided without Redis."""

    def __str__(self) -> str:
        counted = {count: self.admitted.count(count) for count in sorted(set(self.admitted))}
        spread = {count: self.in_the_burst.count(count) for count in sorted(set(self.in_the_burst))}
        longest = max(self.seconds, default=0.0)
        return (
            f"{len(self.admitted)} repetitions of {ASKED} calls over {PROCESSES} processes: admitted {counted}"
            f"{f', at once {spread}' if spread else ''}, {self.late} of them late, "
            f"{self.apart} decided apart; longest {longest:.2f} s"
        )


def key_of(kind: str, repetition: int) -> str:
    return f"hpx_{kind}_{repetition:05d}_k3q8v2x7m5w9"


def settings(simulator: Simulator, redis_url: str, repetitions: int) -> dict[str, Any]:
    """Keys for so many repetitions of each kind."""
    _, tokens = exact_question(key_of("budget", 0))
    limits: dict[str, dict[str, Any]] = {
        "rate": {"limits": {"requests_per_minute": LIMIT}},
        "place": {"limits": {"concurrent": LIMIT}},
        "budget": {"budget": {"tokens": LIMIT * tokens, "per": "month"}},
    }
    keys = [
        {"name": f"{kind}-{i}", "key": key_of(kind, i), **limited}
        for kind, limited in limits.items()
        for i in range(repetitions)
    ]
    return {
        "providers": {"sim": target(simulator)},
        "auth": {"keys": keys},
        "store": {"url": ""},
        "state": {"url": redis_url},
        "health_check": {"enabled": False},
    }


async def _decided_alone(running: Cluster) -> float:
    """Decisions that the processes have taken without Redis, which a machine that is late itself has them do."""
    total = 0.0
    for port in running.ports:
        page = await ask(port, get("/metrics", head=f"X-API-Key: {key_of('rate', 0)}\r\n"))
        found = re.search(rb"^hapax_state_fallbacks_total (\S+)", page.body, re.MULTILINE)
        assert found is not None, page
        total += float(found[1])
    return total


@asynccontextmanager
async def _evidence(running: Cluster, found: Admissions) -> AsyncIterator[None]:
    """What is claimed within holds while Redis decides; with HAPAX_ON_TIME it always has to."""
    before = await _decided_alone(running)
    try:
        yield
    except (AssertionError, TimeoutError):
        if ON_TIME or await _decided_alone(running) == before:
            raise
        found.apart += 1


async def requests_a_minute(running: Cluster, repetitions: range) -> Admissions:
    """Bursts against a limit of requests per minute."""
    found = Admissions()
    async with Lines(running.ports, ASKED) as lines:
        for i in repetitions:
            async with _evidence(running, found):
                burst = await lines.burst(question(key_of("rate", i)))
                assert not burst.others, burst.others[0]
                assert burst.admitted + burst.refused == ASKED
                # A hundred a minute are one more every 0.6 s.
                most = LIMIT + int(burst.seconds * LIMIT / 60)
                assert LIMIT <= burst.admitted <= most, f"{burst.admitted} admitted in {burst.seconds:.2f} s"
                found.late += burst.admitted > LIMIT
                found.admitted.append(burst.admitted)
                found.seconds.append(burst.seconds)
            _progress(i, repetitions)
    return found


async def calls_at_once(running: Cluster, simulator: Simulator, repetitions: range) -> Admissions:
    """Calls that last, against a limit of calls at once."""
    found = Admissions()
    for i in repetitions:
        async with _evidence(running, found):
            # It keeps a bounded number of requests, and these are all that count here.
            simulator.ledger.clear()
            began = time.monotonic()
            async with Lines(running.ports, ASKED) as lines:
                for wire in lines.wires:
                    wire.send(question(key_of("place", i), "sim-1:silence"))
                refused = 0
                answering = {asyncio.ensure_future(wire.response()) for wire in lines.wires}  # noqa: TID251 - held
                try:
                    async with asyncio.timeout(30):
                        while len(answering) > LIMIT or len(calls(simulator)) < LIMIT:
                            done, answering = await asyncio.wait(
                                answering, timeout=0.02, return_when=asyncio.FIRST_COMPLETED
                            )
                            for each in done:
                                assert each.result().status == 429, each.result()
                                refused += 1
                finally:
                    for each in answering:
                        each.cancel()
                    await asyncio.gather(*answering, return_exceptions=True)
            admitted = len(calls(simulator))
            assert (admitted, refused) == (LIMIT, ASKED - LIMIT)
            found.admitted.append(admitted)
            found.seconds.append(time.monotonic() - began)
        _progress(i, repetitions)
    return found


async def a_budget(running: Cluster, repetitions: range) -> Admissions:
    """Bursts against a budget: never more than it pays for, and all of that once calls have been settled."""
    found = Admissions()
    async with Lines(running.ports, ASKED) as lines:
        for i in repetitions:
            async with _evidence(running, found):
                asked, _ = exact_question(key_of("budget", i))
                burst = await lines.burst(asked)
                assert not burst.others, burst.others[0]
                admitted = burst.admitted
                assert admitted <= LIMIT
                deadline = time.monotonic() + RETURNED_WITHIN
                while admitted < LIMIT and time.monotonic() < deadline:
                    answer = await ask(running.ports[admitted % PROCESSES], asked)
                    admitted += answer.status == 200
                refusals = [(await ask(port, asked)).code for port in running.ports]
                assert (admitted, set(refusals)) == (LIMIT, {"insufficient_quota"})
                found.admitted.append(admitted)
                found.in_the_burst.append(burst.admitted)
                found.seconds.append(burst.seconds)
            _progress(i, repetitions)
    return found


def _progress(done: int, repetitions: range) -> None:
    if done % 100 == 99:
        print(f"  {done + 1} of {len(repetitions)} repetitions", flush=True)
