"""The books agree: the provider's bill, the ledger's rows, and what limits were settled with. See tests/soak too."""

import random
import time
from collections import Counter

from proxy.accounts.store import Store
from proxy.limits.limit import What
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.simulator import Simulator
from tests.soak import books, mixture, storm

KEYS = tuple(f"hpx_key_{i}_k3q8v2x7m5w9" for i in range(3))
CALLS = 2000


def name_of(key: str) -> str:
    """The name of the key in the settings of the mixture."""
    return f"k{KEYS.index(key)}" if key in KEYS else "once"


def spent(running: RunningGateway) -> int:
    """What the budgets of all keys were settled with."""
    state = running.listener.gateway.accounting
    whole = 0
    for principal in state.principals.all():
        budget = state.policy.applying(principal.name, principal.limits, principal.budget, "", "").budget
        if budget is not None:
            assert budget.what is What.BUDGET
            whole += budget.capacity - state.limits.standing(budget, 0.0).remaining
    return whole


async def test_bill_and_rows_and_budgets_agree_over_a_mixture_of_calls(
    store_url: str,
    gateway: GatewayFactory,
    simulator: Simulator,
    backup: Simulator,
) -> None:
    running = await gateway({**mixture.settings(simulator, backup, KEYS), "store": {"url": store_url}})
    began = time.monotonic()
    calls = await mixture.play(running.port, KEYS, CALLS, random.Random(4), "round", clients=32)
    took = time.monotonic() - began
    await books.settled(running.port)
    store = Store(store_url)
    sums = books.compare(calls, await books.rows_of(store, "round"), books.bills_of((simulator, backup)), name_of)
    await store.close()
    sums.settled = spent(running)
    print(f"{store.dialect}: {sums}; {CALLS / took:.0f} calls/s")
    assert sums.exact_tokens == sums.exact_billed > 0
    assert sums.settled == sums.ledgered > 0
    assert sums.estimated > 100
    assert sums.rows == sums.admitted


async def test_after_a_storm_of_a_thousand_calls_nothing_is_held_and_nothing_pending(
    store_url: str,
    gateway: GatewayFactory,
    simulator: Simulator,
) -> None:
    running = await gateway({**storm.settings(simulator), "store": {"url": store_url}})
    statuses = await storm.blow(running.port, 1000, random.Random(5))
    found = await books.settled(running.port, storm.KEY)
    assert (found["hapax_queue_running"], found["hapax_queue_waiting"]) == (0, 0)
    state = running.listener.gateway.accounting
    few = next(each for each in state.principals.all() if each.name == "few")
    (places,) = state.policy.applying("few", few.limits, few.budget, "", "").concurrent
    assert state.limits.standing(places, 0.0).remaining == places.capacity
    store = Store(store_url)
    rows = await books.all_rows(store)
    await store.close()
    outcomes = Counter(row["outcome"] for row in rows)
    print(f"{store.dialect}: statuses {dict(statuses)}, rows {dict(outcomes)}")
    assert outcomes["pending"] == 0
    assert spent(running) == sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows)
    # All of it happened: a full queue, a limit reached, clients that left.
    assert statuses.keys() == {200, 429, 503, storm.GONE}
    assert outcomes["ok"] >= statuses[200] > 0
    assert outcomes["client_gone"] > 0
    assert outcomes["failed"] == outcomes["refused"] == outcomes["cut"] == 0
