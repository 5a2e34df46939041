"""Holdings over the real script: in any order of messages, losses and calls nothing is lost, no limit is passed."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from proxy.limits.holding_kinds import SpendHolding
from proxy.limits.holdings import Holdings
from proxy.limits.limit import Claim, Limit, Refusal, Reservation, What
from proxy.limits.redis_message import Ask, Message
from proxy.limits.redis_script import FIELDS, FORGOTTEN, SCRIPT
from tests.rigs.redis import RedisServer, redis_server

NOON = datetime(2026, 5, 20, 12, tzinfo=UTC)

# Nothing returns by itself within the life of a test.
REQUESTS = Limit("h||requests", What.REQUESTS, 2000, 1e-9)
TOKENS = Limit("h||tokens", What.TOKENS, 20_000, 1e-9)
PLACES = Limit("h||concurrent", What.CONCURRENT, 300)
BUDGET = Limit("h||budget", What.BUDGET, 50_000, per="day", unit="usd", holder="h")
SPENDING = "{t}:s:h||budget:2026-05-20T00"
LIMITS = (REQUESTS, TOKENS, PLACES, BUDGET)

FATES = ("arrived", "on its way", "too late")
"""Of a message that was not answered: the last is of a worker that is not believed alive any more."""


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


def claims(tokens: int, cost: int) -> tuple[Claim, ...]:
    return ((REQUESTS, 1), (TOKENS, tokens), (PLACES, 1), (BUDGET, cost))


class Worker:
    """Holdings whose messages are carried by hand, and may get lost on either way."""

    def __init__(self, client: "redis.Redis[bytes]", name: str) -> None:
        self.client = client
        self.holdings = Holdings(name, "{t}", 1000.0, lambda: NOON)
        self.outbox: list[Message] = []
        self.calls: list[Reservation] = []
        self.now = 0.0
        self.send(self.holdings.joining(None))

    def send(self, message: Message) -> list[Reservation | Refusal]:
        self.outbox.append(message)
        return self.deliver()

    def deliver(self) -> list[Reservation | Refusal]:
        """Everything that is to be sent, until it is answered; the last message's decisions."""
        decided: list[Reservation | Refusal] = []
        while self.outbox:
            message = self.outbox[0]
            answer = self.carry(message)
            if answer == FORGOTTEN:
                self.outbox.insert(0, self.holdings.joining(message))
                continue
            read = self.holdings.read(message, answer, self.now)
            decided = [decision for _, decision in read if isinstance(decision, Reservation | Refusal)]
            assert len(decided) == len(read), "a budget was forgotten"
            self.outbox.pop(0)
        return decided

    def carry(self, message: Message) -> bytes:
        answer = self.client.eval(SCRIPT, message.arguments[0], *message.arguments[1:])
        assert isinstance(answer, bytes)
        return answer


class Shared(RuleBasedStateMachine):
    """Two workers, each with one message under way at most, and calls of all sizes."""

    client: "redis.Redis[bytes]"

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        # The period began after this, so that it begins with nothing spent.
        self.client.set("{t}:born", 1)
        self.workers = [Worker(self.client, name) for name in ("wa", "wb")]
        self.used = dict.fromkeys(What, 0)
        # Beyond what calls had reserved.
        self.overspent = dict.fromkeys(What, 0)

    who = st.integers(0, 1)
    sizes = st.tuples(st.integers(1, 2000), st.integers(0, 3000))

    @rule(who=who, sizes=st.lists(sizes, min_size=1, max_size=20))
    def ask(self, who: int, sizes: list[tuple[int, int]]) -> None:
        worker = self.workers[who]
        asks = [Ask(claims(*size), None, 0.0) for size in sizes]
        decided = worker.send(worker.holdings.message(asks, worker.now))
        self.judge(worker, decided, len(asks))
        if isinstance(decided[-1], Refusal) and not any(each.holdings.due for each in self.workers):
            # Where everything has been told, no call is refused that would fit.
            assert any(self.taken(limit) + amount > limit.capacity for limit, amount in claims(*sizes[-1]))

    @rule(who=who, sizes=st.lists(sizes, max_size=5), fate=st.sampled_from(FATES), later=st.integers(0, 3))
    def the_answer_is_lost(self, who: int, sizes: list[tuple[int, int]], fate: str, later: int) -> None:
        worker = self.workers[who]
        message = worker.holdings.message([Ask(claims(*size), None, 0.0) for size in sizes], worker.now)
        if fate == "arrived":
            worker.carry(message)
        for _ in range(min(later, len(worker.calls))):
            self.end(worker, 0, 50)
        if fate == "too late":
            self.client.zrem("{t}:workers", worker.holdings.worker)
        self.judge(worker, worker.send(message), len(sizes))

    @rule(who=who, which=st.integers(0, 50), part=st.integers(0, 120))
    def settle(self, who: int, which: int, part: int) -> None:
        worker = self.workers[who]
        if worker.calls:
            self.end(worker, which % len(worker.calls), part)

    @rule(who=who, ticks=st.integers(1, 6))
    def tick(self, who: int, ticks: int) -> None:
        worker = self.workers[who]
        for _ in range(ticks):
            worker.now += 0.05
            worker.holdings.sweep(worker.now)
            worker.send(worker.holdings.message((), worker.now))

    @rule(who=who)
    def silent_for_too_long(self, who: int) -> None:
        worker = self.workers[who]
        self.client.zrem("{t}:workers", worker.holdings.worker)
        worker.send(worker.holdings.message((), worker.now))

    def end(self, worker: Worker, which: int, part: int) -> None:
        call = worker.calls.pop(which)
        used = {limit.what: amount * part // 100 for limit, amount in call.claims}
        used[What.REQUESTS] = min(used[What.REQUESTS], 1)
        del used[What.CONCURRENT]
        for limit, amount in call.claims:
            if limit.what in used:
                self.used[limit.what] += used[limit.what]
                self.overspent[limit.what] += max(0, used[limit.what] - amount)
        worker.holdings.settle(call, used, worker.now)
        worker.holdings.settle(call, used, worker.now)

    def judge(self, worker: Worker, decided: list[Reservation | Refusal], count: int) -> None:
        assert len(decided) == count
        for decision in decided:
            if isinstance(decision, Reservation):
                self.admitted(worker, decision)

    def admitted(self, worker: Worker, call: Reservation) -> None:
        assert not call.local
        worker.calls.append(call)
        for limit in LIMITS:
            assert self.taken(limit) <= limit.capacity + self.overspent[limit.what], limit

    def taken(self, limit: Limit) -> int:
        """What was used of a limit, and what calls hold."""
        held = sum(
            amount for worker in self.workers for call in worker.calls for of, amount in call.claims if of is limit
        )
        return held + (0 if limit is PLACES else self.used[limit.what])

    @invariant()
    def nothing_is_lost(self) -> None:
        for limit, key in ((REQUESTS, "{t}:b:h||requests"), (TOKENS, "{t}:b:h||tokens")):
            level = float(self.client.hget(key, "level") or limit.capacity)
            here = sum(worker.holdings.holding(limit, worker.now).change for worker in self.workers)
            assert level + here + self.taken(limit) == pytest.approx(limit.capacity, abs=1e-3)
        level = int(self.client.hget(SPENDING, "level") or 0)
        here = sum(worker.holdings.holding(BUDGET, worker.now).change for worker in self.workers)
        assert level + here == self.used[What.BUDGET]
        for worker in self.workers:
            for limit, key in ((PLACES, "{t}:p:h||concurrent"), (BUDGET, SPENDING)):
                told = int(self.client.hget(key, worker.holdings.worker) or 0)
                assert told == worker.holdings.holding(limit, worker.now).told
            for holding in worker.holdings._holdings.values():
                assert holding.owes <= (holding in worker.holdings.due)
                assert holding.reserved == sum(
                    amount
                    for call in worker.calls
                    for at, (_, amount) in zip(call.about, call.claims, strict=True)
                    if at is holding
                )

    def teardown(self) -> None:
        for worker in self.workers:
            while worker.calls:
                self.end(worker, 0, 100)
            while worker.holdings.due:
                worker.send(worker.holdings.message((), worker.now))
            worker.send(worker.holdings.leaving())
        for name, limit in (("requests", REQUESTS), ("tokens", TOKENS)):
            fields = self.client.hgetall(f"{{t}}:b:h||{name}")
            if fields:
                assert float(fields[b"level"]) == pytest.approx(limit.capacity - self.used[limit.what], abs=1e-3)
                assert set(fields) == {b"level", b"at"}
        assert not self.client.exists("{t}:p:h||concurrent")
        spent = self.client.hgetall(SPENDING)
        assert int(spent.pop(b"level", b"0")) == self.used[What.BUDGET]
        assert not spent
        assert not self.client.exists("{t}:workers", "{t}:told:wa", "{t}:told:wb")


def test_no_limit_is_passed_and_no_unit_lost_in_any_order(server: RedisServer) -> None:
    with redis.Redis(port=server.port) as client:
        Shared.client = client
        run_state_machine_as_test(
            Shared,
            settings=settings(
                max_examples=40,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


def test_what_the_first_worker_tells_an_empty_redis_is_not_added_to_by_one_whose_part_is_in_it(
    server: RedisServer,
) -> None:
    with redis.Redis(port=server.port) as client:
        client.flushall()
        one, other = Worker(client, "wa"), Worker(client, "wb")
        client.flushall()
        client.set("{t}:born", 2)
        # The period began before that. Both have spent since Redis was lost, and the ledger knows of all of it.
        for worker, cost in ((one, 300), (other, 50)):
            holding = worker.holdings.holding(BUDGET, 0.0)
            assert isinstance(holding, SpendHolding)
            holding.change = cost
            worker.holdings.note(holding)
        for worker in (one, other):
            holding = worker.holdings.holding(BUDGET, 0.0)
            assert isinstance(holding, SpendHolding)
            worker.send(worker.holdings.message((), 0.0))
            assert holding.missing
            holding.learn(350, True)
            worker.holdings.note(holding)
            worker.send(worker.holdings.message((), 0.0))
            assert int(client.hget(SPENDING, "level") or 0) == 350
        # From now on what each spends is added.
        for worker in (one, other):
            holding = worker.holdings.holding(BUDGET, 0.0)
            holding.change = 10
            worker.holdings.note(holding)
            worker.send(worker.holdings.message((), 0.0))
        assert int(client.hget(SPENDING, "level") or 0) == 370


def test_without_a_ledger_an_empty_redis_is_told_what_every_worker_has_spent(server: RedisServer) -> None:
    with redis.Redis(port=server.port) as client:
        client.flushall()
        workers = one, other = Worker(client, "wa"), Worker(client, "wb")
        client.flushall()
        client.set("{t}:born", 2)
        for worker, cost in ((one, 300), (other, 50)):
            holding = worker.holdings.holding(BUDGET, 0.0)
            assert isinstance(holding, SpendHolding)
            holding.known, holding.change = 100 + cost, cost
            worker.holdings.note(holding)
        for worker in workers:
            worker.send(worker.holdings.message((), 0.0))
            holding = worker.holdings.holding(BUDGET, 0.0)
            assert isinstance(holding, SpendHolding)
            holding.learn(0, False)
            worker.holdings.note(holding)
            worker.send(worker.holdings.message((), 0.0))
        assert int(client.hget(SPENDING, "level") or 0) == 450


def test_what_is_told_later_than_the_first_message_after_a_loss_is_not_added_blindly_either(
    server: RedisServer,
) -> None:
    with redis.Redis(port=server.port) as client:
        client.flushall()
        one = Worker(client, "wa")
        client.flushall()
        # Another worker has told what the ledger knows, this one's 50 among it.
        client.set("{t}:born", 2)
        client.hset(SPENDING, "level", 350)
        holding = one.holdings.holding(BUDGET, 0.0)
        assert isinstance(holding, SpendHolding)
        holding.change = 50
        # More is to be told than fits into a message: this comes after the one that shows the loss.
        one.send(one.holdings.message((), 0.0))
        one.holdings.note(holding)
        one.send(one.holdings.message((), 0.0))
        assert holding.missing
        assert int(client.hget(SPENDING, "level") or 0) == 350


def test_every_kind_of_holding_tells_as_many_fields_as_the_script_reads() -> None:
    holdings = Holdings("w", "{t}", 5.0, lambda: NOON)
    for limit in LIMITS:
        assert len(holdings.holding(limit, 0.0).fields(NOON.timestamp())) == FIELDS
