"""
The whole core on a clock that is only a number: real pool, breakers, budgets, running and attempts; scripted providers.

A seed draws the configuration, what each provider does with each attempt, who calls when, and who leaves. Every rule
that can be seen from outside is checked as it happens or at the end; the first that is broken is told with the seed
and everything that happened until then.
"""

import asyncio
import itertools
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.core.errors import ProxyError
from proxy.core.exchange import Exchange
from proxy.core.headers import Header
from proxy.providers.breaker import Breaker
from proxy.providers.budget import RetryBudget
from proxy.providers.pool import Entry, Pool
from proxy.providers.provider import Provider
from proxy.relay.clocks import Clocks
from proxy.relay.endpoints import operation
from proxy.relay.question import Question
from proxy.relay.relay import HEDGE_SHARE, Relay
from proxy.relay.step import Rules
from proxy.upstream.source import UNKNOWN
from proxy.upstream.wire import Loss, Sink

UNCONNECTED = ("connection refused", "connect timeout")
"""What a provider does that never gets to see the request."""
EPSILON = 0.01
"""Seconds; a timer that finds its moment a rounding error away looks again a millisecond later."""
SLACK = 0.01
"""Seconds by which an attempt that begins a moment late may last longer than the deadline."""
LONG = 10_000.0
"""Seconds after which nothing is still waiting for its time."""
HEDGE_RESERVE, HEDGE_TRICKLE = 5.0, 0.2
SHORTEST_UNTOLD, LONGEST_UNTOLD, LONGEST_REST = 0.5, 5.0, 300.0
"""A rest whose length the provider did not name lasts at least and at most so many seconds."""
PARKED_REFUSED, PARKED_SPENT = 300.0, 600.0


class Broken(AssertionError):
    """A rule was broken."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop that does not wait: when nothing is due, it is later."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self._selector = self

    def time(self) -> float:
        return self.now

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Broken("every task waits and nothing will ever happen")
        self.now += timeout
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    @property
    def pending(self) -> list[asyncio.TimerHandle]:
        """Timers that have yet to fire."""
        return [handle for handle in self._scheduled if not handle.cancelled()]


# What a provider does with a request: moments after the previous one, and what it pushes then.

Push = Callable[[Sink], object]
Script = list[tuple[float, Push]]


def head(status: int, kind: bytes = b"application/json", *more: Header) -> Push:
    return lambda sink: sink.head(status, [(b"content-type", kind), *more])


def data(body: bytes) -> Push:
    return lambda sink: sink.data(body)


def lost(code: str, sent: bool = True) -> Push:
    return lambda sink: sink.lost(Loss(code, "simulated", sent=sent, received=False))


def end(sink: Sink) -> object:
    sink.ended(True)
    return None


def events(mark: int, count: int) -> list[bytes]:
    """A preamble, *count* pieces of marked text, and the end of a chat stream."""
    deltas = [{"role": "assistant", "content": ""}, *({"content": f"<{mark}>"} for _ in range(count))]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    lines = [b"data: " + orjson.dumps({"id": f"<{mark}>", "choices": [choice]}) + b"\n\n" for choice in choices]
    return [*lines, b"data: [DONE]\n\n"]


def whole(mark: int) -> bytes:
    message = {"role": "assistant", "content": f"<{mark}>"}
    return orjson.dumps({"id": f"<{mark}>", "object": "chat.completion", "choices": [{"index": 0, "message": message}]})


def error(mark: int, code: str) -> bytes:
    return orjson.dumps({"error": {"message": f"<{mark}>", "type": "simulated", "code": code}})


STREAM = b"text/event-stream"
MARK = re.compile(rb"<(\d+)>")


@dataclass(slots=True)
class Plot:
    """What one attempt will meet."""

    name: str
    script: Script
    retry_after: float | None = None
    rests: bool = False
    """Its end sends the key to rest."""
    parks: float = 0.0
    """Its end parks the key for so many seconds."""
    goodbyes: int = 0
    """Steps after the one that says it all."""

    @property
    def telling(self) -> int:
        """The step after which the gateway knows what it amounts to; past the end if that never comes."""
        if self.name in SILENT or self.name == "stall later":
            return len(self.script)
        return len(self.script) - 1 - self.goodbyes

    @property
    def has_end(self) -> bool:
        """It hangs up by itself."""
        return self.telling < len(self.script)


def answer_with(rng: random.Random, name: str, mark: int, stream: bool) -> Plot:
    """The script of what is called *name*."""
    soon = rng.choice([0.0, 0.01, rng.uniform(0.0, 0.5)])
    if name in ("answer", "slow answer", "cut later", "stall later"):
        delay = rng.uniform(0.3, 8.0) if name == "slow answer" else soon
        if not stream:
            if name in ("cut later", "stall later"):
                script: Script = [(delay, head(200)), (0.01, data(whole(mark)[:20]))]
                if name == "cut later":
                    script.append((0.1, lost("upstream_truncated")))
                return Plot(name, script)
            half = rng.randrange(1, 20)
            return Plot(
                name,
                [(delay, head(200)), (0.0, data(whole(mark)[:half])), (soon, data(whole(mark)[half:])), (0.0, end)],
            )
        told = events(mark, rng.randrange(1, 4))
        gap = rng.choice([0.0, rng.uniform(0.0, 1.0)])
        script = [(soon, head(200, STREAM)), *((delay if i == 1 else gap, data(event)) for i, event in enumerate(told))]
        if name == "answer" or name == "slow answer":
            return Plot(name, [*script, (rng.choice([0.0, 3.0]), end)])
        script = script[: rng.randrange(3, len(script) - 1)]
        if name == "cut later":
            script.append((gap, rng.choice([lost("upstream_truncated"), end])))
        return Plot(name, script)
    if name == "connection refused":
        return Plot(name, [(0.001, lost("upstream_connect_error", sent=False))])
    if name == "connect timeout":
        return Plot(name, [(1.0, lost("upstream_connect_timeout", sent=False))])
    if name == "silence":
        return Plot(name, [])
    if name == "stall":
        return Plot(name, [(soon, head(200, STREAM)), (0.0, data(events(mark, 1)[0]))])
    if name == "chatter":
        return Plot(name, [(soon, head(200, STREAM)), *[(0.4, data(SIGN + b"\n\n"))] * 60])
    if name == "cut before content":
        return Plot(
            name, [(soon, head(200, STREAM)), (0.0, data(events(mark, 1)[0])), (soon, lost("upstream_truncated"))]
        )
    if name == "no answer":
        return Plot(name, [(soon, lost("upstream_truncated"))])
    if name == "error event":
        body = b"data: " + error(mark, "rate_limit_exceeded") + b"\n\n"
        if not stream:
            return Plot(
                name, [(soon, head(200)), (0.0, data(error(mark, "rate_limit_exceeded"))), (0.0, end)], rests=True
            )
        return Plot(name, [(soon, head(200, STREAM)), (0.0, data(body)), (0.0, end)], rests=True, goodbyes=1)
    status, code, wait, parks = STATUSES[name](rng)
    headers = [] if wait is None else [(b"retry-after", str(wait).encode())]
    script = [(soon, head(status, b"application/json", *headers)), (0.0, data(error(mark, code))), (0.0, end)]
    rests = not parks and (status == 429 or wait is not None)
    return Plot(name, script, wait, rests, parks)


Answer = tuple[int, str, float | None, float]
STATUSES: dict[str, Callable[[random.Random], Answer]] = {
    "500": lambda rng: (500, "", None, 0.0),
    "502": lambda rng: (502, "", None, 0.0),
    "503": lambda rng: (503, "", None, 0.0),
    "503 with a wait": lambda rng: (503, "", rng.choice([0.5, 2, 30]), 0.0),
    "429 without a wait": lambda rng: (429, "", None, 0.0),
    "429, short": lambda rng: (429, "", rng.choice([0, 0.2, 1, 3, 5]), 0.0),
    "429, long": lambda rng: (429, "", rng.choice([7, 20, 59, 90, 1000]), 0.0),
    "401": lambda rng: (401, "", None, PARKED_REFUSED),
    "no money": lambda rng: (429, "insufficient_quota", None, PARKED_SPENT),
    "400": lambda rng: (400, "", None, 0.0),
    "too long": lambda rng: (400, "context_length_exceeded", None, 0.0),
}
SIGN = b": still there"
SILENT = frozenset(("silence", "stall", "chatter"))
MOODS: Sequence[dict[str, int]] = (
    {"answer": 20, "slow answer": 2, "cut later": 1, "429, short": 1},
    {"answer": 3, "500": 3, "503": 1, "no answer": 1, "502": 1},
    {"answer": 2, "429, short": 4, "429, long": 1, "429 without a wait": 1, "error event": 1},
    {"silence": 3, "stall": 2, "chatter": 1, "slow answer": 4, "answer": 1},
    {"connection refused": 4, "connect timeout": 1, "answer": 2, "cut before content": 2},
    {"429, short": 1},
    {"503 with a wait": 2, "429, long": 1, "answer": 1},
    {"silence": 1},
    {"401": 2, "no money": 1, "answer": 4},
    {"400": 2, "too long": 2, "answer": 3, "silence": 1},
    dict.fromkeys(
        (*STATUSES, *SILENT, "answer", "slow answer", "cut later", "stall later", "connection refused", "no answer"), 1
    ),
)


@dataclass(eq=False)
class Asked:
    """One request a provider got; also its `Call`."""

    world: "World"
    caller: "Caller"
    provider: str
    model: str
    key: int
    mark: int
    plot: Plot
    sink: Sink
    open: bool = True
    told: bool = False
    """It has said all it was going to say, before either end hung up."""
    timer: asyncio.TimerHandle | None = None
    over_at: float = math.inf

    @property
    def target(self) -> tuple[str, str]:
        return self.provider, self.model

    def begin(self) -> None:
        if self.plot.name not in UNCONNECTED:
            self.sink.connected()
        self._after(0)

    def _after(self, number: int) -> None:
        if self.open and number < len(self.plot.script):
            self.timer = self.world.loop.call_later(self.plot.script[number][0], self._push, number)

    def _push(self, number: int) -> None:
        plot = self.plot
        if number == plot.telling:
            self.world.trace(f"{self} has said {plot.name!r}")
            self.told = True
            self.world.learn(self)
        if plot.has_end and number == len(plot.script) - 1:
            self.open = False
            self.over_at = self.world.loop.time()
        plot.script[number][1](self.sink)
        self._after(number + 1)

    def cancel(self) -> None:
        if self.open:
            self.world.trace(f"{self} is hung up on")
            self.open = False
            self.over_at = self.world.loop.time()
            if self.timer is not None:
                self.timer.cancel()

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    async def write(self, chunk: bytes) -> None:
        raise AssertionError("no uploads here")

    def finish(self) -> None:
        raise AssertionError("no uploads here")

    def __str__(self) -> str:
        return f"{self.caller}: attempt {self.mark} at {self.provider}/{self.model} key {self.key}"


@dataclass
class ScriptedEndpoint:
    """A provider's API: what it does is drawn when it is asked."""

    world: "World"
    provider: str
    mood: dict[str, int]
    source = UNKNOWN

    def send(
        self,
        method: str,
        path: str,
        headers: bytes,
        request_id: str,
        body: bytes,
        key: int,
        sink: Sink,
        repeatable: bool = True,
    ) -> Asked:
        world = self.world
        model = orjson.loads(body)["model"]
        caller = world.callers[int(request_id)]
        mark = next(world.marks)
        name = world.rng.choices(list(self.mood), list(self.mood.values()))[0]
        plot = answer_with(world.rng, name, mark, caller.question.stream)
        asked = Asked(world, caller, self.provider, model, key, mark, plot, sink)
        world.check_asked(asked)
        asked.begin()
        return asked


@dataclass(eq=False)
class Caller:
    """One client call, as `Client` and as a task."""

    world: "World"
    number: int
    arrives: float
    leaves: float
    question: Question
    deadline: float = math.inf
    asked: list[Asked] = field(default_factory=list)
    received: bytes = b""
    state: str = "waiting"
    """waiting, begun, answer, refusal, cut; error and cancelled are found at the end."""
    answered_at: float = math.inf
    ended_at: float = math.inf
    on_pause: Callable[[], object] | None = None
    on_resume: Callable[[], object] | None = None
    paused: bool = False

    def __str__(self) -> str:
        return f"call {self.number}"

    def _become(self, state: str, *before: str) -> None:
        self.world.trace(f"{self} gets its {state}")
        self.world.require(self.state in before, f"{self} was {self.state} and gets its {state}")
        self.state = state
        self.answered_at = min(self.answered_at, self.world.loop.time())

    def send(self, status: int, headers: list[Header], body: bytes) -> None:
        self.received = body
        self._become("answer" if status < 400 else "refusal", "waiting")

    def start(self, status: int, headers: list[Header], length: int | None, streamed: bool) -> None:
        self._become("begun", "waiting")

    def push(self, chunk: bytes) -> None:
        self.world.require(self.state == "begun", f"{self} is {self.state} and gets more")
        self.received += chunk

    def finish(self) -> None:
        self._become("answer", "begun")

    def cut(self) -> None:
        self._become("cut", "begun")

    async def run(self) -> None:
        world, loop = self.world, self.world.loop
        exchange = Exchange(str(self.number), started=loop.time())
        total = world.total
        if self.question.patience is not None:
            total = min(total, self.question.patience - min(1.0, 0.05 * self.question.patience))
        self.deadline = loop.time() + total
        world.trace(f"{self} comes, deadline {self.deadline:.3f}")
        alone = world.only_target(self.question)
        entitled = alone is not None and world.may_be_asked(alone)
        world.began += 1
        work = loop.create_task(world.relay.relay(exchange, self.question, self))
        leave = loop.call_at(self.leaves, self._leave, work) if self.leaves < math.inf else None
        try:
            await work
        except ProxyError as problem:
            world.require(self.state == "waiting", f"{self} got {self.state} and an error")
            self.state = f"error {problem.code}"
            world.trace(f"{self} gets {self.state}")
        except asyncio.CancelledError:
            self.state = f"cancelled, {self.state}"
        if leave is not None:
            leave.cancel()
        self.ended_at = loop.time()
        if entitled and not self.state.startswith("cancelled"):
            world.require(bool(self.asked), f"{self}: the only target was not asked")

    def _leave(self, work: "asyncio.Task[None]") -> None:
        self.world.trace(f"{self} leaves")
        work.cancel()


class World:
    """Everything one seed draws, and the rules."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = rng = random.Random(seed)
        self.events: list[str] = []
        self.marks = itertools.count(1)
        self.stopped_at = math.inf
        # What the rules say about who may be asked, kept apart from what the product believes.
        self._rests: dict[tuple[str, str, int], float] = defaultdict(float)
        self._untold: dict[tuple[str, str, int], float] = defaultdict(float)
        """Until when a key may rest that was refused without a word about for how long."""
        self._parked: dict[tuple[str, int], float] = defaultdict(float)
        self._open: Counter[str] = Counter()
        self._hedges = 0
        self._retries = 0
        self.began = 0

        count = rng.choice([1, 2, 2, 3, 4])
        names = [f"p{i}" for i in range(count)]
        self.keys = {name: rng.choice([1, 1, 1, 2, 3]) for name in names}
        self.limits = {name: rng.choice([0, 0, 0, 1, 2, 3]) for name in names}
        self.total = rng.choice([3.0, 8.0, 20.0, 90.0])
        clocks = Clocks(
            first_token=rng.choice([0.5, 1.0, 2.5]),
            idle=rng.choice([0.7, 2.0]),
            total=self.total,
            patience=rng.choice([math.inf, 0.1, 0.4]),
            strict=rng.random() < 0.3,
        )
        self.strict = clocks.strict
        self.models = {"big": self._entry(names, ["small"] if rng.random() < 0.5 else [])}
        self.models["small"] = self._entry(names, [])
        self.models["long"] = self._entry(names, [])
        self.rules = Rules(rng.choice([0, 1, 2, 2, 3]), rng.choice([0.01, 0.1, 1.0]), 5.0, 2.0)
        self.budget = (rng.choice([0.2, 1.0]), rng.choice([0.0, 3.0, 20.0, 100.0]), rng.choice([0.0, 0.1, 1.0]))
        ratio, reserve, trickle = self.budget
        providers = [
            Provider(name, ["*"], max_concurrency=self.limits[name], key_count=self.keys[name]) for name in names
        ]
        breaker = (rng.choice([1, 3, 100]), 30.0, rng.choice([0.5, 2.0, 10.0]), rng.choice([1, 2, 5]))
        self.pool = Pool(providers, self.models, lambda: Breaker(*breaker), rng)
        self.loop = VirtualLoop()
        endpoints = {each: ScriptedEndpoint(self, each.name, rng.choice(MOODS)) for each in providers}
        self.relay = Relay(
            self.pool,
            endpoints,  # type: ignore[arg-type]
            dict.fromkeys(providers, clocks),
            self.rules,
            RetryBudget(ratio, reserve=reserve, trickle=trickle),
            rng,
        )
        self.trace(f"{self.models} {self.rules} {clocks} {self.budget} breaker {breaker}")
        moods = {each.name: endpoint.mood for each, endpoint in endpoints.items()}
        self.trace(f"keys {self.keys} limits {self.limits} moods {moods}")
        start = self.started = self.loop.time()
        span = rng.choice([0.5, 5.0, 30.0])
        self.callers = [self._caller(number, start, span) for number in range(rng.randrange(1, 11))]
        self._stops = start + rng.uniform(0.0, 2 * span) if rng.random() < 0.15 else math.inf
        self._checks = [(start + rng.uniform(0.0, span), rng.choice(providers), rng.random() < 0.5) for _ in range(4)]
        if rng.random() < 0.7:
            self._checks.clear()

    def _entry(self, names: list[str], fallbacks: list[str]) -> Entry:
        rng = self.rng
        chosen = rng.sample(names, rng.randrange(1, len(names) + 1))
        balance = rng.choice(["preference", "preference", "round_robin", "weighted", "least_requests", "fastest"])
        # Now and then a fallback leads to a target that has been asked already.
        targets = [f"{name}/{'shared' if rng.random() < 0.2 else 'own' + str(rng.randrange(3))}" for name in chosen]
        return Entry(targets, balance, fallbacks, ["long"] if rng.random() < 0.5 else [])  # type: ignore[arg-type]

    def _caller(self, number: int, start: float, span: float) -> Caller:
        rng = self.rng
        stream = rng.random() < 0.6
        value = {"model": "big", "messages": [], "stream": stream}
        question = Question(
            "POST",
            "/chat/completions",
            operation("/chat/completions"),
            b"",
            orjson.dumps(value),
            value,
            "big",
            stream,
            rng.random() < 0.9,
            rng.choice([None, None, None, 1.0, 4.0, 30.0]),
            (lambda name: True) if rng.random() < 0.9 else (lambda name: name != "small"),
        )
        arrives = start + rng.uniform(0.0, span)
        leaves = arrives + rng.choice([0.0, rng.uniform(0.0, 3.0), rng.uniform(0.0, 30.0)])
        return Caller(self, number, arrives, leaves if rng.random() < 0.25 else math.inf, question)

    # The rules, as they can be seen while it runs.

    def trace(self, event: str) -> None:
        self.events.append(event if not hasattr(self, "loop") else f"{self.loop.time():9.3f} {event}")

    def require(self, holds: bool, rule: str) -> None:
        if not holds:
            raise Broken(f"seed {self.seed}: {rule}\n" + "\n".join(self.events))

    def only_target(self, question: Question) -> tuple[str, str] | None:
        """The target of a model that has only one, and no fallback that could stand in for it."""
        entry = self.models[question.model or ""]
        targets = entry.targets
        if len(targets) > 1 or any(question.may_use(name) for name in entry.fallbacks):
            return None
        name, _, upstream = targets[0].partition("/")
        return name, upstream

    def may_be_asked(self, target: tuple[str, str]) -> bool:
        """With one of its keys it neither rests nor is parked, and it has room."""
        name, now = target[0], self.loop.time()
        limit = self.limits[name]
        if limit and self._in_flight(name) >= limit:
            return False
        return any(
            max(self._rests[(*target, key)], self._untold[(*target, key)]) <= now and self._parked[(name, key)] <= now
            for key in range(self.keys[name])
        )

    def _in_flight(self, name: str) -> int:
        return next(provider.in_flight for provider in self.pool.providers if provider.name == name)

    def learn(self, asked: Asked) -> None:
        """The gateway is about to hear something that binds it."""
        now, plot = self.loop.time(), asked.plot
        if plot.rests:
            key = (*asked.target, asked.key)
            if plot.retry_after is None:
                self._untold[key] = now + LONGEST_UNTOLD
            if plot.retry_after is not None or self._rests[key] <= now:
                wait = SHORTEST_UNTOLD if plot.retry_after is None else plot.retry_after
                self._rests[key] = max(self._rests[key], now + min(wait, LONGEST_REST))
        if plot.parks:
            self._parked[(asked.provider, asked.key)] = now + plot.parks

    def check_asked(self, asked: Asked) -> None:
        """A provider is being asked: whether it may be."""
        now, caller, target = self.loop.time(), asked.caller, asked.target
        before = caller.asked
        beside = any(other.open for other in before)
        self.trace(f"{asked} begins{' beside another' if beside else ''}")
        require = self.require
        require(now < caller.deadline, f"{asked}: after the deadline")
        require(caller.state == "waiting", f"{asked}: the call is {caller.state}")
        require(now < self.stopped_at or caller.arrives >= self.stopped_at, f"{asked}: after the gateway stopped")
        require(self._rests[(*target, asked.key)] <= now + 1e-6, f"{asked}: the key rests")
        require(self._parked[(asked.provider, asked.key)] <= now + 1e-6, f"{asked}: the key is parked")
        limit = self.limits[asked.provider]
        require(not limit or self._in_flight(asked.provider) <= limit, f"{asked}: more than {limit} in flight")
        for other in before:
            require(beside or not other.open, f"{asked}: {other} still runs")
            if other.target == target:
                require(not other.open, f"{asked}: the target is being asked")
                require(other.told, f"{asked}: {other} was silent or slow")
                require(other.plot.name != "too long", f"{asked}: {other} found it too long")
            require(not (other.told and other.plot.name == "400"), f"{asked}: {other} refused the request")
            unseen = other.told or other.plot.name in UNCONNECTED
            require(unseen or caller.question.repeatable, f"{asked}: must not be repeated")
        require(sum(other.open for other in before) <= 1, f"{asked}: the third at once")
        before.append(asked)
        if beside:
            self._hedges += 1
            allowed = HEDGE_RESERVE + HEDGE_TRICKLE * (now - self.started) + HEDGE_SHARE * self.began
            require(self._hedges <= allowed + 1e-6, f"{asked}: hedge {self._hedges} of {allowed:.1f}")
        elif len(before) > 1:
            self._retries += 1
            ratio, reserve, trickle = self.budget
            allowed = reserve + trickle * (now - self.started) + ratio * self.began
            require(self._retries <= allowed + 1e-6, f"{asked}: retry {self._retries} of {allowed:.1f}")

    # The run.

    def run(self) -> "World":
        """Play it to its end."""
        try:
            self.loop.set_exception_handler(self._failed)
            self.loop.run_until_complete(self._play())
        finally:
            self.loop.close()
        return self

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.error = context.get("exception") or Broken(context["message"])

    error: BaseException | None = None

    async def _play(self) -> None:
        loop = self.loop
        tasks = []
        for caller in self.callers:
            tasks.append(loop.create_task(self._at(caller.arrives, caller)))
        for at, provider, healthy in self._checks:
            loop.call_at(at, self._check, provider, healthy)
        if self._stops < math.inf:
            loop.call_at(self._stops, self._stop)
        await asyncio.wait(tasks)
        if self.error is not None:
            raise self.error
        for task in tasks:
            task.result()
        # A provider that has told the client everything may take a moment to hang up.
        await asyncio.sleep(100.0)
        if self.error is not None:
            raise self.error
        self._check_end()

    async def _at(self, moment: float, caller: Caller) -> None:
        await asyncio.sleep(max(0.0, moment - self.loop.time()))
        await caller.run()

    def _check(self, provider: Provider, healthy: bool) -> None:
        self.trace(f"{provider.name} is found {'healthy' if healthy else 'unhealthy'}")
        for _ in range(2):
            provider.health.record(healthy, self.loop.time(), 0.0)

    def _stop(self) -> None:
        self.trace("the gateway stops")
        self.stopped_at = self.loop.time()
        self.relay.cut_all("shutting_down", "simulated")

    def _check_end(self) -> None:
        require, now = self.require, self.loop.time()
        for target in self.pool.all_targets:
            require(target.in_flight == 0, f"{target}: {target.in_flight} still in flight")
            require(target.breaker.allow(now + LONG) is not None, f"{target}: {target.breaker} never probes again")
        for provider in self.pool.providers:
            require(provider.in_flight == 0, f"{provider.name}: {provider.in_flight} still in flight")
        require(not self.relay._running, "a attempts is still known")
        require(not self.loop.pending, f"timers are left: {self.loop.pending}")
        require(len(asyncio.all_tasks()) == 1, "tasks are left")
        for caller in self.callers:
            self._check_caller(caller)

    def _check_caller(self, caller: Caller) -> None:
        require, state = self.require, caller.state
        word = state.partition(" ")[0].rstrip(",")
        require(word in ("answer", "refusal", "cut", "error", "cancelled"), f"{caller} ended {state}")
        marks = {int(mark) for mark in MARK.findall(caller.received)}
        require(len(marks) <= 1, f"{caller} got answers of attempts {marks}")
        require(not marks or word != "error", f"{caller} got content and an error")
        # Comments of a provider that is at work for long begin an answer too.
        alive = word == "cut" and SIGN in caller.received
        require(bool(marks) or alive or word not in ("answer", "cut"), f"{caller} ended {state} without content")
        require(marks <= {asked.mark for asked in caller.asked}, f"{caller} got what was not for it")
        source = next((asked for asked in caller.asked if asked.mark in marks), None)
        if word == "answer":
            require(source is not None and source.plot.name.endswith("answer"), f"{caller}: {source} is no answer")
        for asked in caller.asked:
            require(not asked.open, f"{asked} was left running")
            # (A gateway that stops says so: another instance will answer.)
            stopped = state == "error shutting_down"
            if asked.told and asked.plot.name == "400" and asked is not source and not stopped:
                require(
                    word in ("answer", "cut", "refusal", "cancelled"), f"{caller} ended {state}, though {asked} said"
                )
        last = caller.asked[-1] if caller.asked else None
        if not self.strict and last is not None and not last.told and caller.question.stream and word == "error":
            # (A target that could have been asked may have gone while another was waited for.)
            at_once = caller.ended_at < last.over_at + EPSILON
            early = caller.ended_at < min(caller.deadline, self.stopped_at) - EPSILON
            require(not (at_once and early), f"{caller}: {last} was given up though no other target was asked")
        done = caller.ended_at if word == "error" else caller.answered_at
        if word != "cancelled":
            require(
                done <= caller.deadline + SLACK + EPSILON,
                f"{caller}: {state} at {done}, after {caller.deadline}",
            )
            if caller.arrives <= self.stopped_at < caller.ended_at:
                late = caller.ended_at - self.stopped_at
                require(late < EPSILON, f"{caller} ended {late:.3f} s after the gateway stopped")
        self._check_count(caller)

    def _check_count(self, caller: Caller) -> None:
        """Per model one attempt and its retries, whether they were waited for or not."""
        asked = {asked.target for asked in caller.asked}
        reached = [e for e in self.models.values() if any(tuple(target.split("/")) in asked for target in e.targets)]
        allowed = (1 + self.rules.retries) * len(reached)
        self.require(len(caller.asked) <= allowed, f"{caller}: {len(caller.asked)} attempts, {allowed} allowed")
